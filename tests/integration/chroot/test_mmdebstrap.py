"""The runner of mmdebstrap: what it tells apt, and who sees that. Nothing is installed: the archive here is empty."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hapkg.apt.mirror import Mirror
from hapkg.build.run import create_chroot
from hapkg.build.store import Store
from hapkg.chroot import mmdebstrap
from hapkg.chroot.mmdebstrap import bootstrap
from hapkg.control import Suite
from hapkg.distribution import read_debian
from hapkg.errors import ProcessError
from hapkg.programs import process

PROXY = "http://builder:for-this-test@proxy.example.org:3128"


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Every program that hapkg starts, as --verbose tells it."""
    lines: list[str] = []
    process.observe(lambda argv: lines.append(shlex.join(argv)))
    yield lines
    process.observe(None)


@pytest.fixture
def archive(tmp_path: Path) -> Mirror:
    """An archive of one suite, without a package."""
    suite = tmp_path / "archive/dists/bookworm"
    (suite / "main/binary-all").mkdir(parents=True)
    (suite / "main/binary-all/Packages").touch()
    (suite / "Release").write_text("Codename: bookworm\nArchitectures: all\nComponents: main\nSHA256:\n")
    return Mirror(distribution=read_debian(), uri=f"[trusted=yes] copy:{tmp_path}/archive", security=None)


def test_a_password_of_a_proxy_is_seen_by_nobody(
    tmp_path: Path, told: list[str], archive: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmdebstrap, "read_apt_options", lambda: {"Acquire::http::Proxy": PROXY})
    root, kept, log = tmp_path / "root", tmp_path / "kept", tmp_path / "log"
    look = f'--essential-hook=stat -c "%a %U" "$1"/etc/apt/apt.conf.d/99mmdebstrap > {kept}'
    options = [look, f'--essential-hook=cat "$1"/etc/apt/apt.conf.d/99mmdebstrap >> {kept}']
    with log.open("wb") as opened:
        bootstrap(
            root,
            Suite("bookworm"),
            archive,
            variant="custom",
            log=opened,
            options=[*options, '--aptopt=APT::Sandbox::User "root"'],
            files={"/etc/apt/apt.conf.d/50own": 'Acquire::Retries "3";\n'},
        )
    mode, *lines = kept.read_text().splitlines()
    assert mode == "600 root"
    assert {f'Acquire::http::Proxy "{PROXY}";', 'APT::Sandbox::User "root";'} <= set(lines)
    assert told and not any("for-this-test" in line for line in told)
    assert "for-this-test" not in log.read_text()
    assert [file.name for file in (root / "etc/apt/apt.conf.d").iterdir()] == ["50own"]
    assert not any(b"for-this-test" in file.read_bytes() for file in root.rglob("*") if file.is_file())


def test_a_host_without_options_leaves_nothing_either(
    tmp_path: Path, archive: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmdebstrap, "read_apt_options", dict)
    with (tmp_path / "log").open("wb") as opened:
        bootstrap(tmp_path / "root", Suite("bookworm"), archive, variant="custom", log=opened, files={})
    assert not [*(tmp_path / "root/etc/apt/apt.conf.d").iterdir()]


def test_an_archive_that_gives_no_base_is_named_with_the_entry_that_it_is_from(tmp_path: Path, archive: Mirror) -> None:
    store = Store(root=tmp_path / "state").narrow(Suite("bookworm"))
    mirror = replace(archive, remark="the archive is the one of /etc/apt/sources.list.d/aaa.sources")
    with pytest.raises(ProcessError) as told:
        create_chroot(store, Suite("bookworm"), mirror, None)
    assert told.value.brief == "the base chroot of bookworm cannot be made: mmdebstrap failed"
    assert told.value.hint == f"check the network and --mirror ({mirror.remark}); hapkg doctor checks the rest"
