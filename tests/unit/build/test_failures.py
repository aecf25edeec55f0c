"""Whose a failure is, and which one is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.build.failures import classify, load, save
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
    assert save(tmp_path, "a key", error) is kept
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
    assert not save(tmp_path, None, BROKEN)
    (note,) = tmp_path.iterdir()
    for text in ("", "[]", "{}", '{"key": "a key"}'):
        note.write_text(text)
        assert load(tmp_path, "a key", ONE) is None
