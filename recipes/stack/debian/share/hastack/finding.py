"""The result of a look at a node."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    level: str
    found: str
    remedy: str = ""
    """A command line that mends it as it stands."""
    advice: str = ""
    """Advice where no command can be named."""
