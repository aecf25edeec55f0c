"""Debian's versions out of an archive's own indexes: apt reads one that the test makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.apt.mirror import Mirror
from hapkg.control import Suite
from hapkg.currency.debian_archive import DebianIndexes, DebianRelease, read_indexes
from hapkg.distribution import read_debian, read_distributions
from hapkg.locations import State
from tests.support.archive import ORIG, write_suite


@pytest.fixture
def indexes(tmp_path: Path) -> DebianIndexes:
    """Indexes of trixie and its neighbours, of which sid is missing."""
    archive, security = tmp_path / "debian", tmp_path / "security"
    headers = "linux-headers-6.12.118+deb13-amd64, linux-headers-6.12.118+deb13-rt-amd64, linux-doc"
    write_suite(archive, "bookworm", ("one", "0.9-1", "one"))
    write_suite(archive, "trixie", ("one", "1.2-1", "one"), ("linux", "6.12.1-1", "linux-headers-6.12.1+deb13-amd64"))
    write_suite(archive, "trixie-updates")
    write_suite(archive, "trixie-backports", ("one", "1.9-1~bpo13+1", "one"))
    write_suite(archive, "forky", ("one", "1.10-1", "one"))
    write_suite(security, "trixie-security", ("one", "1.2-1+deb13u1", "one"), ("linux", "6.12.118-1", headers))
    uri, updates = (f"[trusted=yes] {folder.as_uri()}" for folder in (archive, security))
    mirror = Mirror(distribution=read_debian(), uri=uri, security=updates)
    return read_indexes(State(tmp_path / "state"), mirror, mirror, Suite("trixie"), ["one", "none"])


def version(release: DebianRelease | None) -> str:
    return release.version if release else ""


def test_each_index_tells_its_own(indexes: DebianIndexes) -> None:
    assert version(indexes.of_suite("one")) == "1.2-1+deb13u1"
    assert version(indexes.newest("one", ["trixie-backports"])) == "1.9-1~bpo13+1"
    assert version(indexes.newest("one", ["forky", "sid"])) == "1.10-1"
    assert indexes.of_suite("none") is None


def test_later_suites_are_those_of_the_distribution(indexes: DebianIndexes) -> None:
    assert indexes.later == ("forky", "sid")


def test_an_index_that_is_not_there_is_told(indexes: DebianIndexes) -> None:
    assert [*indexes.unasked] == ["sid"]
    assert not indexes.is_whole


def test_a_suite_that_has_no_backports_yet_is_not_called_silent(tmp_path: Path) -> None:
    for suite in ("bookworm", "trixie", "forky", "sid"):
        write_suite(tmp_path / "debian", suite, ("one", "1.2-1", "one"))
    mirror = Mirror(distribution=read_debian(), uri=f"[trusted=yes] {(tmp_path / 'debian').as_uri()}", security=None)
    indexes = read_indexes(State(tmp_path / "state"), mirror, mirror, Suite("forky"), ["one"])
    assert indexes.unasked == {}
    assert version(indexes.of_suite("one")) == "1.2-1"


def test_origins_are_found_by_their_content(indexes: DebianIndexes) -> None:
    assert indexes.has_orig(ORIG, "one")
    assert not indexes.has_orig("cd" * 32, "one"), "that is the .dsc"
    assert indexes.has_version("one", "1.10-1")
    assert not indexes.has_version("one", "1.2-1+deb13u1"), "origins are not fetched from security"


def test_the_kernel_is_that_of_the_newest_linux_without_flavour(indexes: DebianIndexes) -> None:
    assert indexes.find_kernel("amd64") == "6.12.118+deb13-amd64"
    assert indexes.find_kernel("arm64") == ""


@pytest.mark.parametrize(
    ("signed", "kernel"),
    [("linux-image-6.1.0-56-amd64, linux-image-6.1.0-56-rt-amd64", "6.1.0-56-amd64"), ("", "6.1.0-57-amd64")],
)
def test_a_kernel_that_is_not_signed_yet_is_on_no_node(signed: str, kernel: str) -> None:
    def release(version: str, binaries: str) -> tuple[DebianRelease, ...]:
        return (DebianRelease(version=version, origs=frozenset(), binaries=tuple(binaries.split(", "))),)

    found = {"linux": release("6.1.192-3", "linux-headers-6.1.0-57-amd64, linux-headers-6.1.0-57-cloud-amd64")}
    if signed:
        found["linux-signed-amd64"] = release("6.1.192+2", signed)
    indexes = DebianIndexes(suite=Suite("bookworm"), releases={"bookworm-security": found}, unasked={})
    assert indexes.find_kernel("amd64") == kernel


def test_a_suite_of_another_distribution_is_asked_in_its_own_archive(tmp_path: Path) -> None:
    for suite in ("bookworm", "trixie", "forky", "sid"):
        write_suite(tmp_path / "debian", suite, ("one", "1.2-1", "one"))
    write_suite(tmp_path / "ubuntu", "noble", ("one", "1.1-1ubuntu1", "one"))
    debian, ubuntu = (f"[trusted=yes] {(tmp_path / name).as_uri()}" for name in ("debian", "ubuntu"))
    ubuntus = Mirror(distribution=read_distributions()[Suite("noble")], uri=ubuntu, security=None)
    debians = Mirror(distribution=read_debian(), uri=debian, security=None)
    indexes = read_indexes(State(tmp_path / "state"), debians, ubuntus, Suite("noble"), ["one"])
    assert indexes.unasked == {}
    assert version(indexes.of_suite("one")) == "1.1-1ubuntu1"
    assert version(indexes.newest("one", ["sid"])) == "1.2-1"
    assert indexes.later == ("resolute", "sid"), "of which its mirror has not the first"
    write_suite(tmp_path / "ubuntu", "resolute", ("one", "1.3-1ubuntu1", "one"))
    indexes = read_indexes(State(tmp_path / "state"), debians, ubuntus, Suite("noble"), ["one"])
    assert version(indexes.newest("one", indexes.later)) == "1.3-1ubuntu1"


def test_a_suite_whose_own_archive_has_it_not_is_told(tmp_path: Path) -> None:
    for suite in read_debian().bases:
        write_suite(tmp_path / "debian", suite, ("one", "1.2-1", "one"))
    debian, ubuntu = (f"[trusted=yes] {(tmp_path / name).as_uri()}" for name in ("debian", "ubuntu"))
    ubuntus = Mirror(distribution=read_distributions()[Suite("noble")], uri=ubuntu, security=None)
    debians = Mirror(distribution=read_debian(), uri=debian, security=None)
    indexes = read_indexes(State(tmp_path / "state"), debians, ubuntus, Suite("noble"), ["one"])
    assert [*indexes.unasked] == ["noble"]
