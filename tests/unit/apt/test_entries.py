"""Entries of apt's sources, as apt itself lists them and their files have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.apt.entries import AptEntry, list_entries
from hapkg.apt.settings import make_options
from hapkg.host import read_architecture

STANZAS = f"""\
# a file of a company

# and of nobody else

Types: deb-src deb
URIs: http://one.example.org/debian
Suites: bookworm bookworm-updates
Components: main
Architectures: {read_architecture()}
# inside
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://off.example.org/debian
Suites: bookworm
Components: main


Types: deb
URIs: http://two.example.org/debian http://three.example.org/debian
Suites: trixie
Components: main
signed-by: /a.gpg
 /b.gpg
CHECK-valid-until: no
Date-Max-Future: 10
Languages: none
"""
LINES = """\
deb http://four.example.org/debian stable main

deb [ trusted=YES  check-date=no arch=amd64 ] https://me:secret@five.example.org/debian buster/updates main # why
"""


@pytest.fixture
def entries(tmp_path: Path) -> dict[tuple[str, str], AptEntry]:
    """Entries of both files, by address and suite."""
    (tmp_path / "etc/sources.list.d").mkdir(parents=True)
    (tmp_path / "etc/sources.list.d/x.sources").write_text(STANZAS)
    (tmp_path / "etc/sources.list").write_text(LINES)
    listed = list_entries(make_options({"Dir::Etc": f"{tmp_path}/etc", "Dir::State::Lists": f"{tmp_path}/lists"}))
    return {(entry.site.split(".")[0].split("/")[-1], entry.release): entry for entry in listed}


def test_every_entry_has_its_own_options(entries: dict[tuple[str, str], AptEntry]) -> None:
    key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQINBF\n-----END PGP PUBLIC KEY BLOCK-----\n"
    assert {place: (entry.signers, entry.key, dict(entry.options)) for place, entry in entries.items()} == {
        ("one", "bookworm"): ((), key, {}),
        ("one", "bookworm-updates"): ((), key, {}),
        ("two", "trixie"): (("/a.gpg", "/b.gpg"), "", {"check-valid-until": "no", "date-max-future": "10"}),
        ("three", "trixie"): (("/a.gpg", "/b.gpg"), "", {"check-valid-until": "no", "date-max-future": "10"}),
        ("four", "stable"): ((), "", {}),
        ("five", "buster/updates"): ((), "", {"trusted": "YES", "check-date": "no"}),
    }
    assert [entry.is_trusted for entry in entries.values()].count(True) == 1


def test_no_entry_holds_a_password_or_says_what_was_never_fetched(entries: dict[tuple[str, str], AptEntry]) -> None:
    assert "secret" not in str(entries)
    assert {(entry.origin, entry.codename) for entry in entries.values()} == {("", "")}
    assert {(entry.base, *sorted(entry.names - {""})) for entry in entries.values()} == {
        (name, name) for name in ("bookworm", "trixie", "stable", "buster")
    }


def test_sources_that_apt_refuses_have_no_entries(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb\n")
    assert list_entries(make_options({"Dir::Etc": f"{tmp_path}", "Dir::State::Lists": f"{tmp_path}/lists"})) == []
