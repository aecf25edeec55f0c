"""The host: its architecture, its cores."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from pathlib import Path

from hapkg import process

_DPKG = re.compile(r"^Package: dpkg\n(?:.+\n)*?Architecture: (\S+)$", re.MULTILINE)


@functools.cache
def read_architecture() -> str:
    """Debian's name of this machine's architecture: that of the dpkg that is installed.

    Read where dpkg keeps it; dpkg is asked where that cannot be read.
    """
    with contextlib.suppress(OSError):
        if found := _DPKG.search(Path("/var/lib/dpkg/status").read_text("utf-8", "replace")):
            return found[1]
    return process.run(["dpkg", "--print-architecture"]).output.strip()


def count_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))
