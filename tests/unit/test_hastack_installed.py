"""ha-stack verify: files of real packages against a tree, signatures by real keys, and what apt's lists say."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hastack.installed import check_release, compare_files, find_stanza, read_signed_by, strip_armor

from hapkg.repository.keys import lifecycle
from hapkg.repository.keys.signing import KeyChoice, export_key, find_key, sign
from tests.support.packages import make_deb

OWNER = "Test <test@hapkg.invalid>"
INDEX = """\
Package: ha-one
Version: 1.0-1
Description: two lines
 Package: ha-two
SHA256: aaaa

Package: ha-one
Version: 1.0-2
SHA256: bbbb

Package: ha-one-dev
Version: 1.0-2
SHA256: cccc
"""


SOURCES = """\
# Debian's
Types: deb
URIs: https://archive.example.org/debian
Suites: bookworm


Types: deb
# with its key
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 AAAA
URIs: https://packages.example.org

Types: deb
signed-by: /usr/share/keyrings/ha-archive-keyring.gpg
"""


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("x.sources:1", ""),
        ("x.sources:2", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n AAAA"),
        ("x.sources:3", "/usr/share/keyrings/ha-archive-keyring.gpg"),
        ("x.sources:4", ""),
        ("x.list:1", ""),
        ("x.list:2", "/etc/key.gpg"),
        ("x.list:9", ""),
        ("gone.sources:1", ""),
        ("", ""),
    ],
)
def test_the_key_of_an_entry_is_read_where_apt_does_not_tell_it(tmp_path: Path, entry: str, found: str) -> None:
    (tmp_path / "x.sources").write_text(SOURCES)
    lines = (
        "# deb [signed-by=/etc/other] x y z",
        "deb [arch=amd64 signed-by=/etc/key.gpg] file:/srv/apt bookworm main",
    )
    (tmp_path / "x.list").write_text("\n".join(lines))
    assert read_signed_by(f"{tmp_path}/{entry}" if entry else entry) == found


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deb")
    files = {
        "opt/ha/bin/tool": b"program\n",
        "opt/ha/etc/one.conf": b"one = 1\n",
        "usr/share/doc/ha-one/copyright": b"free\n",
        "DEBIAN/conffiles": b"/opt/ha/etc/one.conf\n",
    }
    return make_deb(folder, "ha-one", "1.0-1", files=files)


@pytest.fixture
def tree(deb: Path, tmp_path: Path) -> Path:
    """The package as it is installed."""
    subprocess.run(["dpkg-deb", "-x", str(deb), str(tmp_path / "root")], check=True)
    return tmp_path / "root"


def test_installed_files_are_those_of_the_package(deb: Path, tree: Path) -> None:
    assert compare_files(deb, tree) == ([], [])


def test_a_changed_program_is_found(deb: Path, tree: Path) -> None:
    (tree / "opt/ha/bin/tool").write_text("program, and more\n")
    assert compare_files(deb, tree) == (["/opt/ha/bin/tool"], [])


def test_a_missing_program_is_found_and_a_missing_document_is_none(deb: Path, tree: Path) -> None:
    (tree / "usr/share/doc/ha-one/copyright").unlink()
    assert compare_files(deb, tree) == ([], [])
    (tree / "opt/ha/bin/tool").unlink()
    assert compare_files(deb, tree) == (["/opt/ha/bin/tool"], [])


def test_a_link_in_the_place_of_a_program_is_compared_by_what_it_leads_to(deb: Path, tree: Path) -> None:
    (tree / "opt/ha/bin/tool").unlink()
    (tree / "opt/ha/bin/tool").symlink_to("/dev/null")
    assert compare_files(deb, tree) == (["/opt/ha/bin/tool"], [])


def test_edited_configuration_is_no_fault(deb: Path, tree: Path) -> None:
    (tree / "opt/ha/etc/one.conf").write_text("one = 2\n")
    assert compare_files(deb, tree) == ([], ["/opt/ha/etc/one.conf"])


@pytest.mark.parametrize(
    ("name", "version", "digest"),
    [
        ("ha-one", "1.0-1", "aaaa"),
        ("ha-one", "1.0-2", "bbbb"),
        ("ha-one-dev", "1.0-2", "cccc"),
        ("ha-two", "1.0-1", ""),
        ("ha-one", "1.0-3", ""),
    ],
)
def test_the_index_is_asked_for_a_version(name: str, version: str, digest: str) -> None:
    assert find_stanza(INDEX, name, version) == digest


@pytest.fixture(scope="module")
def choice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyChoice]:
    choice = KeyChoice(home=tmp_path_factory.mktemp("keys") / "home")
    lifecycle.create(choice.home, OWNER)
    yield choice


def test_a_signature_is_checked_by_the_keyring_or_the_key_of_apts_entry(choice: KeyChoice, tmp_path: Path) -> None:
    key = find_key(choice, owner=OWNER)
    plain, keyring = tmp_path / "Release", tmp_path / "key.gpg"
    plain.write_text("Suite: bookworm\n")
    keyring.write_bytes(export_key(key, armored=False))
    release = tmp_path / "x_InRelease"
    release.write_bytes(sign(key, plain)[0])
    inline = export_key(key, armored=True).decode()
    for signed_by in (
        str(keyring),
        f"{keyring},/another",
        inline,
        inline.replace("\n", "\n "),
        inline.replace("\n", "\\n"),
    ):
        assert check_release(release, signed_by) == ("", True)
    assert strip_armor(inline) == keyring.read_bytes()
    assert check_release(release, "") == ("", False)
    good = release.read_bytes()
    for around in (b"Suite: other\n" + good, good + b"Suite: other\n", good + good):
        release.write_bytes(around)
        assert check_release(release, str(keyring)) == ("x_InRelease has lines that no signature is over", True)
    release.write_bytes(good.replace(b"bookworm", b"bullworm"))
    fault, checked = check_release(release, str(keyring))
    assert (checked, "no good signature" in fault) == (True, True)
    assert check_release(tmp_path / "none", str(keyring)) == ("none is missing", True)
