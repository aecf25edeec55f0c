"""Failures: the fault of recipe, machine or network, and notes of those that would come again by themselves.

Only a fault of the recipe would: what machine or network did may go well the next time, and is never saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hapkg import disk
from hapkg.control import SourceName
from hapkg.errors import BuildError, FetchError, HapkgError, MachineError, ProcessError, SourceError
from hapkg.records import format_record, read_record

_FILE = "failure.json"
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
