"""Distributions: those that hapkg brings, and those of a project."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hapkg.apt.mirror import Mirror
from hapkg.build.context import find_build_mirror, find_debian_mirror
from hapkg.control import Suite
from hapkg.distribution import FOLDER, read_debian, read_distributions
from hapkg.errors import ConfigError
from hapkg.locations import State
from hapkg.recipe.settings import find_project

OTHER = """\
vendor = "Other"
keyring = "/usr/share/keyrings/other.gpg"
kernel-headers = "linux-headers-{architecture}"
[suites]
first = "1.0"
second = "1.10"
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A project with these files in its folder distributions/."""

    def make(**files: str) -> Path:
        (tmp_path / FOLDER).mkdir()
        for name, text in files.items():
            (tmp_path / FOLDER / f"{name}.toml").write_text(text)
        return tmp_path

    return make


def test_debian_and_ubuntus_long_releases_are_known() -> None:
    known = {suite: (found.vendor, found.suites[suite]) for suite, found in read_distributions().items()}
    assert known == {
        "bookworm": ("Debian", "12"),
        "trixie": ("Debian", "13"),
        "forky": ("Debian", "14"),
        "jammy": ("Ubuntu", "22.04"),
        "noble": ("Ubuntu", "24.04"),
        "resolute": ("Ubuntu", "26.04"),
    }


def test_debians_headers_are_named_by_architecture_and_ubuntus_are_not() -> None:
    known = read_distributions()
    assert known[Suite("trixie")].name_kernel_headers("arm64") == "linux-headers-arm64"
    assert known[Suite("noble")].name_kernel_headers("arm64") == "linux-headers-generic"


def test_packages_that_a_distribution_split_are_named_beside_debians() -> None:
    known, names = read_distributions(), ("sbd", "resource-agents")
    assert known[Suite("trixie")].name_packages(*names) == names
    assert known[Suite("noble")].name_packages(*names) == (*names, "resource-agents-base", "resource-agents-extra")


def test_later_suites_go_by_their_numbers_whatever_the_order_of_the_file(write: Write) -> None:
    text = OTHER.replace('first = "1.0"\nsecond = "1.10"', 'third = "1.10"\nfirst = "1.2"\nsecond = "1.9"')
    own = read_distributions(write(other=f'rolling-suites = ["tip"]\n{text}'))[Suite("first")]
    assert own.bases == ("first", "second", "third", "tip")
    assert own.list_later(Suite("second")) == ("third", "tip")
    assert own.known_suites == {*own.bases}
    assert read_debian().list_later(Suite("bookworm")) == (*[*read_debian().suites][1:], "sid")


def test_a_project_adds_a_distribution_by_one_file(write: Write) -> None:
    root = write(other=OTHER)
    settings = '[tool.hapkg]\nmaintainer = "A <a@example.org>"\nsuite = "first"\nsuites = ["first", "trixie"]\n'
    (root / "pyproject.toml").write_text(settings)
    project = find_project(root)
    assert project.distributions[project.pick_suite(None)].vendor == "Other"
    assert project.distributions[Suite("trixie")] == read_debian()


def test_a_file_of_a_project_replaces_one_of_hapkgs(write: Write) -> None:
    root = write(ubuntu=OTHER)
    assert set(read_distributions(root)) == {"bookworm", "trixie", "forky", "first", "second"}


def test_an_older_file_has_the_pockets_that_there_always_were(write: Write) -> None:
    other = read_distributions(write(other=OTHER))[Suite("first")]
    assert other.list_pockets("first") == ("first-updates", "first-security")
    assert other.ports == {}
    assert read_debian().list_pockets("sid") == ()
    for known in read_distributions().values():
        assert known.pockets == other.pockets


def test_architectures_of_the_ports_are_read_from_their_own_archive(write: Write, tmp_path: Path) -> None:
    ports = "http://ports.example.org/other"
    root = write(other=OTHER + f'[ports]\narm64 = "{ports}"\n')
    settings = '[tool.hapkg]\nmaintainer = "A <a@example.org>"\nsuite = "first"\nsuites = ["first"]\n'
    (root / "pyproject.toml").write_text(settings)
    project, state, first = find_project(root), State(tmp_path / "state"), Suite("first")
    arm = replace(state, architecture="arm64")
    found = find_build_mirror(project, first, None, arm)
    assert [line.split()[1:3] for line in found.lines(first)] == [
        [ports, name] for name in ("first", "first-updates", "first-security")
    ]
    named = "http://near.example.org/ports/"
    assert find_build_mirror(project, first, named, arm).uri == named
    assert find_build_mirror(project, first, None, state).uri is None, "this host has no entry for it"
    debian = read_debian().model_copy(update={"ports": {"arm64": ports}})
    own = Mirror(distribution=debian, uri=ports, security=ports)
    assert find_debian_mirror(project, own, arm).uri != ports
    main = replace(own, uri="http://deb.example.org/debian")
    assert find_debian_mirror(project, main, arm) is main


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('"1.10"', '"2"'), "suites: releases must have the same number of parts (1.0, 2)"),
        (('"1.10"', '"1.00"'), "other.toml suites.second: release 1.00 is taken by "),
        (('first = "1.0"\nsecond = "1.10"', 'first = "12"'), "other.toml suites.first: release 12 is taken by "),
        (("second =", "trixie ="), "other.toml suites.trixie: the suite is taken by "),
        (('"1.10"', "2"), "suites.second: must be a string"),
        (('"1.10"', '"1.10+x"'), "suites.second"),
        (('"1.10"', '"01"'), "suites.second"),
        (("second =", '"se/cond" ='), "suites.se/cond"),
        (("vendor", "vendors"), "unknown key vendors"),
        (('"Other"', '"An other"'), "vendor"),
        (('"/usr', '"usr'), "keyring"),
        (("[suites]", "components = []\n[suites]"), "components: must not be empty"),
        (("[suites]", '[split-packages]\none = ["An other"]\n[suites]'), "split-packages.one[1]"),
        (("[suites]", 'debug-packages = "udeb"\n[suites]'), "debug-packages"),
        (("[suites]", "[suites"), "is not valid TOML"),
        (("[suites]", 'pockets = ["a b"]\n[suites]'), "pockets[1]"),
        (("[suites]", '[ports]\narm64 = "ports.example.org"\n[suites]'), "ports.arm64: string should match"),
        (
            ("[suites]", '[ports]\narm64 = "http://me@p.example.org"\n[suites]'),
            "ports.arm64: the address of the archive",
        ),
    ],
)
def test_what_is_wrong_is_named(write: Write, change: tuple[str, str], told: str) -> None:
    assert change[0] in OTHER
    with pytest.raises(ConfigError) as caught:
        read_distributions(write(other=OTHER.replace(*change)))
    words = " ".join((caught.value.brief, *caught.value.details))
    assert "other.toml" in words
    assert told in words
