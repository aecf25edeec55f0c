"""Failures: the fault of recipe, machine or network, and notes of those that would come again by themselves.

Only a fault of the recipe would: what machine or network did may go well the next time, and is never saved.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hapkg import disk
from hapkg.control import SourceName
from hapkg.errors import BuildError, FetchError, HapkgError, MachineError, ProcessError, SourceError
from hapkg.records import format_record, read_record

_FILE = "failure.json"
_LACKS = (
    (r"fatal error: ([\w./+-]+): No such file or directory", "{}", "header {} is missing"),
    (r"cannot find -l([\w.+-]+)", "-l{}", "library lib{}.so is missing"),
    (
        r"(?:No package '|Package |Dependency \"?)([\w.+-]+)(?:' found|\"? (?:was )?not found)",
        "{}.pc",
        "{}.pc is missing",
    ),
    (r"(?:ModuleNotFoundError|ImportError): No module named '([\w.]+)'", "{}.py", "Python module {} is missing"),
    (r"(?:^|: )([\w.+-]+): (?:command not found|not found)$", "{}", "program {} is missing"),
    (r"^make(?:\[\d+\])?: ([\w.+-]+): No such file or directory", "{}", "program {} is missing"),
)
"""Patterns of lines that tell of something missing, its word as drafts look for packages by, and the line's sense."""
_UNTAKEN = r"^dh_missing: (?:warning|error): (\S+) exists in debian/tmp but is not installed"
_UNMADE = r'^dh_install: (?:warning|error): Cannot find \(any matches for\) "([^"]+)"'
_UNRELATED = r"^(\S+): /\S+: loads \S+ of (\S+)(?: or \S+)*, which its package neither depends on nor recommends"
_UNKNOWN_SWITCHES = r"^configure: error: unrecognized options: (--[^\s,]+(?:, --[^\s,]+)*)"
_SEARCHED_LINES = 500
_TAIL_BYTES = 1 << 18
_LONGEST = 400
"""Letters of a line of a log that are looked at."""
_KILLED = ("Killed", "Cannot allocate memory", "virtual memory exhausted", "signal SIGKILL")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The end of a source that failed."""

    error: HapkgError
    log: Path


@dataclass(frozen=True, kw_only=True)
class _FailureNote:
    """A failure as it is kept, with the key of its build."""

    key: str
    brief: str
    details: tuple[str, ...]
    hint: str
    code: int


class Repeated:
    """Mark of the failure of an earlier run that is told again."""


class _RepeatedBuildError(Repeated, BuildError):
    pass


class _RepeatedSourceError(Repeated, SourceError):
    pass


def classify(error: HapkgError) -> str:
    """The fault behind a failure: "recipe", "machine" or "network"."""
    if isinstance(error, FetchError):
        return "network"
    text = "\n".join((error.brief, *error.details))
    if isinstance(error, MachineError | ProcessError) or any(sign in text for sign in _KILLED):
        return "machine"
    return "recipe"


class Lack(StrEnum):
    """Kinds of what a recipe has too little or too much of."""

    DEPENDENCY = "build dependency"
    UNMADE = "file that upstream does not install"
    UNTAKEN = "file that no package takes"
    UNRELATED = "package of a library that a program loads"
    SWITCH = "switch that configure does not know"


@dataclass(frozen=True, kw_only=True)
class Cause:
    """The cause of a failed build, as its log tells it."""

    lack: Lack
    words: tuple[str, ...]
    """At least one: foo.h, -lfoo, foo.pc, foo.py for a module of Python, a program; paths and patterns of files;
    binary packages, each after the one that should recommend it and a blank; switches.
    """
    remedy: str
    """Words on what to change in recipe.toml."""


def find_cause(lines: Sequence[str]) -> Cause | None:
    """The first cause that the lines of a log tell; None where no line tells any.

    Files come all at once: debhelper lists every one that is amiss before it ends.
    """
    for line in lines:
        for pattern, form, text in _LACKS:
            if match := re.search(pattern, line):
                word, told = form.format(match[1]), text.format(match[1])
                remedy = f"{told}: name its package in build-depends of recipe.toml"
                return Cause(lack=Lack.DEPENDENCY, words=(word,), remedy=remedy)
        if unmade := re.search(_UNMADE, line):
            remedy = f"upstream installs no {unmade[1]}: correct files of the package in recipe.toml"
            return Cause(lack=Lack.UNMADE, words=_list_matches(_UNMADE, lines), remedy=remedy)
        if untaken := re.search(_UNTAKEN, line):
            remedy = f"no package takes {untaken[1]}: add it to files of a package in recipe.toml, or to not-installed"
            return Cause(lack=Lack.UNTAKEN, words=_list_matches(_UNTAKEN, lines), remedy=remedy)
        if unrelated := re.search(_UNRELATED, line):
            remedy = (
                f"{unrelated[1]} loads a library of {unrelated[2]}: name it in recommends or depends of recipe.toml"
            )
            found = (re.search(_UNRELATED, line) for line in lines)
            words = tuple(dict.fromkeys(f"{match[1]} {match[2]}" for match in found if match))
            return Cause(lack=Lack.UNRELATED, words=words, remedy=remedy)
        if unknown := re.search(_UNKNOWN_SWITCHES, line):
            remedy = f"configure does not know {unknown[1]}: remove it from configure of recipe.toml"
            return Cause(lack=Lack.SWITCH, words=tuple(unknown[1].split(", ")), remedy=remedy)
    return None


def read_cause(log: Path) -> Cause | None:
    """The first cause that the end of a log tells; None where none is told, or there is no log."""
    try:
        return find_cause(read_tail(log, _SEARCHED_LINES))
    except OSError:
        return None


def read_tail(log: Path, most: int) -> list[str]:
    """The last lines of a log that are not empty, cut where they are long.

    A build may have written it without an end to a line.
    """
    with log.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = stream.read().decode("utf-8", "replace").splitlines()
    return [line[:_LONGEST] for line in lines if line.strip()][-most:]


def _list_matches(pattern: str, lines: Sequence[str]) -> tuple[str, ...]:
    """The first group of every line that has the pattern, each once."""
    return tuple(dict.fromkeys(match[1] for line in lines if (match := re.search(pattern, line))))


def save(folder: Path, key: str | None, error: HapkgError) -> bool:
    """Note in a source's folder how a build of this key failed. False for a failure that would not come again."""
    if key is None or classify(error) != "recipe" or not isinstance(error, BuildError | SourceError):
        return False
    note = _FailureNote(key=key, brief=error.brief, details=error.details, hint=error.hint, code=error.exit_code)
    disk.replace(folder / _FILE, format_record(vars(note)))
    return True


def load(folder: Path, key: str | None, source: SourceName) -> HapkgError | None:
    """The failure of an earlier build of exactly this key, in words that say so; it is Repeated."""
    note = read_record(folder / _FILE, _FailureNote)
    if note is None or note.key != key:
        return None
    kind = _RepeatedSourceError if note.code == SourceError.exit_code else _RepeatedBuildError
    return kind(
        f"{note.brief}, as before with the same inputs",
        details=note.details,
        hint=f"to try it again: hapkg build {source}; {note.hint}",
    )
