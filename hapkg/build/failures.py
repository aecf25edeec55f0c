"""Whose a failure is, and the memory of those that come again by themselves: what the recipe does wrong.

What the machine or the network did may go well the next time, so it is never remembered.
"""

from __future__ import annotations

import json
from pathlib import Path

from hapkg import disk
from hapkg.control import SourceName
from hapkg.errors import BuildError, FetchError, HapkgError, MachineError, ProcessError, SourceError

_FILE = "failure.json"
_KILLED = ("Killed", "Cannot allocate memory", "virtual memory exhausted", "signal SIGKILL")


def classify(error: HapkgError) -> str:
    """Whose fault a failure is: of the recipe, the machine or the network."""
    if isinstance(error, FetchError):
        return "network"
    text = "\n".join((error.brief, *error.details))
    if isinstance(error, MachineError | ProcessError) or any(sign in text for sign in _KILLED):
        return "machine"
    return "recipe"


def remember(folder: Path, key: str | None, error: HapkgError) -> bool:
    """Note in a source's folder what a build of this key ended with. False for what would not come again."""
    if key is None or classify(error) != "recipe" or not isinstance(error, BuildError | SourceError):
        return False
    note = {"key": key, "brief": error.brief, "details": error.details, "hint": error.hint, "code": error.exit_code}
    disk.replace(folder / _FILE, json.dumps(note).encode())
    return True


def recall(folder: Path, key: str | None, source: SourceName) -> HapkgError | None:
    """What a build of exactly this key ended with before, in words that say so."""
    try:
        note = json.loads((folder / _FILE).read_text("utf-8"))
        if key is None or note["key"] != key:
            return None
        kind = SourceError if note["code"] == SourceError.exit_code else BuildError
        return kind(
            f"{note['brief']}, as before with the same inputs",
            details=note["details"],
            hint=f"to try it again: hapkg build {source}; {note['hint']}",
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
