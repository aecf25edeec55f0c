"""The request for a file of known content, as every origin of files gets it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hapkg.apt.mirror import Mirror
from hapkg.locations import State

MOST_BYTES = 10_000_000_000
"""More than this no source has: a server that sends on has no end."""
BOUNDED = ("prlimit", f"--fsize={MOST_BYTES}", "timeout", "--kill-after=10", "14400")
"""Words before a program that fetches from a server: four hours, and files of a size that sources have."""
FINAL = "asking again will not help"
"""The hint of a failure that another attempt would only repeat."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Where an origin may look and write."""

    state: State
    mirror: Mirror | None
    """Debian's archive, if there is one to ask."""
    scratch: Path
    """An empty folder that takes the file, and goes when the file was taken out of it."""
    most_bytes: int = MOST_BYTES
    """The largest file that is taken."""
