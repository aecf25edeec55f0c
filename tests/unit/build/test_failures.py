"""Whose a failure is, and which one is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.build.failures import Lack, classify, find_cause, load, save
from hapkg.control import SourceName
from hapkg.errors import (
    BuildError,
    FetchError,
    HapkgError,
    IntegrityError,
    MachineError,
    ProcessError,
    SourceError,
)

ONE = SourceName("ha-one")
BROKEN = BuildError("ha-one fails in phase compile with exit status 2", details=["main.c:1: error"], hint="look there")


@pytest.mark.parametrize(
    ("error", "whose"),
    [
        (BROKEN, "recipe"),
        (SourceError("ha-one: patch x.patch does not apply"), "recipe"),
        (IntegrityError("ha-one is not what the lock says"), "recipe"),
        (FetchError("ha-one: no origin delivers the source"), "network"),
        (MachineError("ha-one: the disk is full"), "machine"),
        (ProcessError("schroot failed with exit status 1"), "machine"),
        (BuildError("ha-one fails in phase compile", details=["cc1: fatal error: Killed"]), "machine"),
        (BuildError("ha-one fails in phase compile", details=["virtual memory exhausted"]), "machine"),
        (BuildError("ha-one fails in phase test with signal SIGKILL"), "machine"),
    ],
)
def test_a_failure_is_the_recipes_the_machines_or_the_networks(error: HapkgError, whose: str) -> None:
    assert classify(error) == whose


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (BROKEN, True),
        (SourceError("ha-one: patch x.patch does not apply", hint="refresh it"), True),
        (FetchError("ha-one: no origin delivers the source"), False),
        (MachineError("ha-one: the disk is full"), False),
        (ProcessError("schroot failed"), False),
        (BuildError("ha-one fails in phase test with signal SIGKILL"), False),
        (IntegrityError("ha-one is not what the lock says"), False),
    ],
)
def test_only_what_the_recipe_does_wrong_is_remembered(tmp_path: Path, error: HapkgError, kept: bool) -> None:
    save(tmp_path, "a key", error)
    assert (load(tmp_path, "a key", ONE) is not None) is kept
    assert len(list(tmp_path.iterdir())) == kept


def test_a_remembered_failure_says_that_it_is_one_and_how_to_try_again(tmp_path: Path) -> None:
    save(tmp_path, "a key", BROKEN)
    told = load(tmp_path, "a key", ONE)
    assert isinstance(told, BuildError)
    assert told.brief == "ha-one fails in phase compile with exit status 2, as before with the same inputs"
    assert told.details == BROKEN.details
    assert told.hint == "to try it again: hapkg build ha-one; look there"


def test_a_failure_keeps_its_exit_code(tmp_path: Path) -> None:
    save(tmp_path, "a key", SourceError("ha-one: patch x.patch does not apply"))
    assert isinstance(load(tmp_path, "a key", ONE), SourceError)


def test_other_inputs_no_note_and_a_damaged_one_are_no_failure(tmp_path: Path) -> None:
    assert load(tmp_path, "a key", ONE) is None
    save(tmp_path, "a key", BROKEN)
    assert load(tmp_path, "another key", ONE) is None
    save(tmp_path, None, BROKEN)
    (note,) = tmp_path.iterdir()
    for text in ("", "[]", "{}", '{"key": "a key"}'):
        note.write_text(text)
        assert load(tmp_path, "a key", ONE) is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a.c:3:10: fatal error: libxml/tree.h: No such file or directory", "header libxml/tree.h is missing"),
        ("/usr/bin/ld: cannot find -lgnutls: No such file or directory", "library libgnutls.so is missing"),
        ("No package 'libnl-3.0' found", "libnl-3.0.pc is missing"),
        ("configure: error: Package libqb was not found in the pkg-config search path.", "libqb.pc is missing"),
        ('meson.build:9:7: ERROR: Dependency "glib-2.0" not found, tried pkgconfig', "glib-2.0.pc is missing"),
        ("ModuleNotFoundError: No module named 'lxml.etree'", "Python module lxml.etree is missing"),
        ("/bin/sh: 1: help2man: not found", "program help2man is missing"),
        ("./build.sh: line 4: a2x: command not found", "program a2x is missing"),
        ("make[2]: flex: No such file or directory", "program flex is missing"),
        (
            'dh_install: warning: Cannot find (any matches for) "opt/ha/bin/two" (tried in ., debian/tmp)',
            "upstream installs no opt/ha/bin/two: correct files of the package in recipe.toml",
        ),
        (
            "dh_missing: warning: opt/ha/share/x exists in debian/tmp but is not installed to anywhere",
            "no package takes opt/ha/share/x: add it to files of a package in recipe.toml, or to not-installed",
        ),
        (
            "ha-one: /opt/ha/bin/one: loads libx.so.5 of libx5 or libx5t64, which its package neither depends on nor "
            "recommends",
            "ha-one loads a library of libx5: name it in recommends or depends of recipe.toml",
        ),
        (
            "dh_autoreconf: error: autoreconf -f -i returned exit code 1",
            "autoreconf fails: mend it by a patch, or take upstream's own configure (docs/styles.md, autoreconf)",
        ),
        (
            "E: ha-one: python3-script-but-no-python3-dep /usr/bin/python3 (does not satisfy …) [opt/ha/bin/x]",
            "ha-one has scripts of python3: name it in depends of recipe.toml",
        ),
        (
            "E: ha-one: embedded-library libyaml [opt/ha/lib/libyaml-0.so.2.0.9]",
            "ha-one has libyaml: build with the package of it, or say why in lintian-overrides",
        ),
        (
            "configure: error: unrecognized options: --with-a, --enable-b",
            "configure does not know --with-a, --enable-b: remove it from configure of recipe.toml",
        ),
    ],
)
def test_what_a_build_lacks_is_read_from_its_log(line: str, told: str) -> None:
    found = find_cause(["checking for gcc... gcc", line, "make: *** [debian/rules:7: binary] Error 2"])
    assert found
    assert found.remedy in (told, f"{told}: name its package in build-depends of recipe.toml")


def test_a_log_that_names_nothing_missing_has_no_remedy() -> None:
    lines = ["checking for help2man... no", "config.h: 3 not found", "make: *** [Makefile:3: all] Error 2"]
    assert find_cause([]) is find_cause(lines) is None


def test_files_that_are_amiss_are_told_all_at_once() -> None:
    untaken = [
        f"dh_missing: warning: opt/ha/{path} exists in debian/tmp but is not installed to anywhere" for path in "ab"
    ]
    found = find_cause(["make: done", *untaken, *untaken])
    assert found
    assert (found.lack, found.words) == (Lack.UNTAKEN, ("opt/ha/a", "opt/ha/b"))


def test_what_programs_load_is_told_with_the_package_that_lacks_it() -> None:
    lines = [
        f"ha-one: /opt/ha/bin/{word}: loads lib{word}.so.1 of lib{word}1, which its package neither depends on nor "
        "recommends"
        for word in ("x", "y", "x")
    ]
    found = find_cause(lines)
    assert found
    assert (found.lack, found.words) == (Lack.UNRELATED, ("ha-one libx1", "ha-one liby1"))
