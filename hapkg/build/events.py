"""Events of a run, yielded while it works: a source entered a phase, a source ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from hapkg.build.store import Artifact
from hapkg.control import SourceName
from hapkg.errors import HapkgError


class Ending(StrEnum):
    """The ending of a source of a run."""

    BUILT = "built"
    REUSED = "reused"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One source at the end of a run."""

    source: SourceName
    ending: Ending
    version: str | None
    reason: str
    seconds: float
    log: Path | None = None
    artifact: Artifact | None = None
    error: HapkgError | None = None
    fault: str | None = None
    """Behind a failure: recipe, machine or network."""
    at: float = field(default_factory=time.monotonic, compare=False)
    """Time of the event in seconds, on the monotonic clock."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A source, or the base chroot, entered a phase."""

    source: str
    phase: str
    at: float = field(default_factory=time.monotonic, compare=False)
    """Time of the event in seconds, on the monotonic clock."""
