"""The request for a file of known content, as every origin of files gets it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hapkg.apt import Mirror
from hapkg.locations import State

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
