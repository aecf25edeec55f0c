"""Locks of base chroots: the same bytes again, and addresses in an archive."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hapkg.apt.mirror import Mirror
from hapkg.chroot.archives import Archive
from hapkg.chroot.base_lock import BaseLock, make_entry, read_base_lock, write_base_lock
from hapkg.control import Suite
from hapkg.distribution import read_debian
from hapkg.errors import FetchError, IntegrityError

SUITE = Suite("bookworm")
POOL = "http://a.invalid/debian/pool/main/g/gcc/g%2b%2b_12.2_amd64.deb"
GCC = Archive(version="4:12.2", file="g++_4%3a12.2_amd64.deb", uri=POOL, bytes=9, sha256="a" * 64)
SECURITY = "http://s.invalid/debian-security/pool/updates/main/a/apt/apt_2.6_amd64.deb"
APT = Archive(version="2.6", file="apt_2.6_amd64.deb", uri=SECURITY, bytes=8, sha256="b" * 64)
MIRROR = Mirror(
    distribution=read_debian(), uri="[trusted=yes] http://b.invalid/debian/", security="http://t.invalid/security/"
)
LOCK = BaseLock(
    suite=SUITE, architecture="amd64", base={"apt": make_entry(APT, {})}, depends={"g++": make_entry(GCC, {})}
)


def test_what_is_written_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    file = write_base_lock(tmp_path, LOCK)
    before = file.read_bytes()
    found = read_base_lock(tmp_path, SUITE, "amd64")
    assert found == LOCK
    assert write_base_lock(tmp_path, found).read_bytes() == before
    assert '\n"g++" = { version = "4:12.2", path = "pool/main/g/gcc/g++_12.2_amd64.deb", ' in before.decode()


def test_packages_are_where_the_archive_of_today_has_its_pools() -> None:
    found = LOCK.locate(MIRROR)
    assert found["g++"] == dataclasses.replace(
        GCC, uri="http://b.invalid/debian/pool/main/g/gcc/g%2B%2B_12.2_amd64.deb"
    )
    assert found["apt"].uri == "http://t.invalid/security/pool/updates/main/a/apt/apt_2.6_amd64.deb"


def test_the_digest_follows_the_bytes_and_not_the_archive() -> None:
    moved = dataclasses.replace(APT, uri="http://x.invalid/pool/main/apt_2.6_amd64.deb")
    assert dataclasses.replace(LOCK, base={"apt": make_entry(moved, {})}).digest == LOCK.digest
    other = dataclasses.replace(APT, sha256="c" * 64)
    assert dataclasses.replace(LOCK, base={"apt": make_entry(other, {})}).digest != LOCK.digest


def test_a_package_from_a_pinned_base_keeps_its_path() -> None:
    local = dataclasses.replace(APT, uri="copy:/srv/pinned/./apt_2.6_amd64.deb")
    assert make_entry(local, {APT.sha256: LOCK.base["apt"].path}) == LOCK.base["apt"]
    with pytest.raises(FetchError, match="no address in an archive"):
        make_entry(local, {})


@pytest.mark.parametrize(("suite", "architecture"), [("trixie", "amd64"), ("bookworm", "arm64")])
def test_a_lock_of_another_suite_or_machine_is_refused(tmp_path: Path, suite: str, architecture: str) -> None:
    file = write_base_lock(tmp_path, LOCK)
    file.rename(file.with_name(f"{suite}.base.toml"))
    with pytest.raises(IntegrityError, match=f"and not of {suite if suite != SUITE else architecture}"):
        read_base_lock(tmp_path, Suite(suite), architecture)
