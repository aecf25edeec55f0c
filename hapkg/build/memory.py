"""Memory: the bytes that a build holds, and those that are left.

Counted is memory that the kernel cannot take back: the pages that processes have written (RssAnon). Every user may
read that of every process, so a build is measured from outside, by the tree of processes below its schroot.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

_PROC = Path("/proc")
_FACTS = re.compile(r"^(Name|PPid|RssAnon):\s*(\S+)", re.MULTILINE)
_AVAILABLE = re.compile(r"^MemAvailable:\s*(\d+) kB", re.MULTILINE)


class Gauge:
    """The memory of one build, when it was looked at last and at its peak, and the number of its processes."""

    def __init__(self) -> None:
        self.now = 0
        self.peak = 0
        self.processes = 0

    def look(self, session: str) -> None:
        """Measure the build in a session of schroot."""
        self.now, self.processes = measure(session)
        self.peak = max(self.peak, self.now)


def measure(session: str, proc: Path = _PROC) -> tuple[int, int]:
    """Bytes that the processes below the schroot of a session hold, and how many these are."""
    held: dict[str, int] = {}
    children: defaultdict[str, list[str]] = defaultdict(list)
    waiting: list[str] = []
    for folder in proc.glob("[0-9]*"):
        try:
            facts = dict(_FACTS.findall((folder / "status").read_text("utf-8", "replace")))
            if facts["Name"] == "schroot" and session.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                waiting.append(folder.name)
            children[facts["PPid"]].append(folder.name)
            held[folder.name] = int(facts.get("RssAnon", 0)) * 1024  # the kernel's own threads have none
        except (OSError, KeyError):
            continue  # it has ended
    found: set[str] = set()
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += children[number]
    return sum(held.get(number, 0) for number in found), len(found)


def read_available(proc: Path = _PROC) -> int:
    """Bytes that programs can have before the machine has to swap."""
    found = _AVAILABLE.search((proc / "meminfo").read_text("utf-8"))
    return int(found[1]) * 1024 if found else 0
