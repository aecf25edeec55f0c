"""The .buildinfo file that a rebuild goes by, and the words where it does not serve."""

from __future__ import annotations

from pathlib import Path

from hapkg.errors import IntegrityError
from hapkg.evidence.buildinfo import BuildInfo, parse_buildinfo
from hapkg.repository.paths import read_file

_MOST_BYTES = 16 << 20


def read_buildinfo(file: Path) -> BuildInfo:
    """Read a .buildinfo file. Raises IntegrityError for one that is none, or lacks what a rebuild needs."""
    try:
        return parse_buildinfo(read_file(file, most=_MOST_BYTES).decode())
    except ValueError as cause:
        fault = "it is not UTF-8 text" if isinstance(cause, UnicodeDecodeError) else str(cause)
        raise IntegrityError(
            f"{file} is no .buildinfo file that can be built from: {fault}",
            hint="restore it from a copy, or build the package anew: hapkg build",
        ) from cause
