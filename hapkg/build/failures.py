"""Failures: the fault of recipe, machine or network, and notes of those that would come again by themselves.

Only a fault of the recipe would: what machine or network did may go well the next time, and is never saved.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg import disk
from hapkg.control import SourceName
from hapkg.errors import BuildError, FetchError, HapkgError, MachineError, ProcessError, SourceError
from hapkg.records import format_record, read_record

_FILE = "failure.json"
_LACKS = (
    (r"fatal error: ([\w./+-]+): No such file or directory", "header {} is missing"),
    (r"cannot find -l([\w.+-]+)", "library lib{}.so is missing"),
    (r"(?:No package '|Package |Dependency \"?)([\w.+-]+)(?:' found|\"? (?:was )?not found)", "{}.pc is missing"),
    (r"(?:ModuleNotFoundError|ImportError): No module named '([\w.]+)'", "Python module {} is missing"),
    (r"(?:^|: )([\w.+-]+): (?:command not found|not found)$", "program {} is missing"),
    (r"^make(?:\[\d+\])?: ([\w.+-]+): No such file or directory", "program {} is missing"),
)
"""Patterns of lines that tell of something missing, and the same in one form."""
_UNTAKEN = r"^dh_missing: (?:warning|error): (\S+) exists in debian/tmp but is not installed"
_UNMADE = r'^dh_install: (?:warning|error): Cannot find \(any matches for\) "([^"]+)"'
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


def find_remedy(lines: Sequence[str]) -> str:
    """Words on what to change in recipe.toml, by the first line of a log that tells what a build lacks; or ""."""
    for line in lines:
        for pattern, text in _LACKS:
            if match := re.search(pattern, line):
                return f"{text.format(match[1])}: name its package in build-depends of recipe.toml"
        if match := re.search(_UNMADE, line):
            return f"upstream installs no {match[1]}: correct files of the package in recipe.toml"
        if match := re.search(_UNTAKEN, line):
            return f"no package takes {match[1]}: add it to files of a package in recipe.toml, or to not-installed"
    return ""


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
