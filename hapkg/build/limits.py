"""Limits of a build: what it may write, hold and start, and how long it may take. One that passes a limit is ended.

Once a second a build is looked at from outside: its log, its files, its processes and the memory that these hold, by
the tree of processes below its schroot, which every user may read. The kernel itself keeps the size of a file and,
coarsely, the number of processes. Memory is what the kernel cannot take back: pages that were written (RssAnon).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg.recipe.settings import Limits

MEGABYTE = 1 << 20
_OVERLAYS = Path("/var/lib/schroot/union/overlay")
_MOUNTS = Path("/run/schroot/mount")
_BURST = 2
"""Times the limit of processes at which the kernel refuses more: other builds of the same account count as well."""
_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")
_FACTS = re.compile(r"^(Name|PPid|RssAnon):\s*(\S+)", re.MULTILINE)
_AVAILABLE = re.compile(r"^MemAvailable:\s*(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Resources that a build uses: bytes, seconds and processes."""

    log: int = 0
    silent: float = 0
    seconds: float = 0
    memory: int = 0
    processes: int = 0
    shm: int = 0
    disk: int = 0


def find_excess(limits: Limits, usage: Usage) -> str:
    """A clause about the first limit that a build passes, with its key; "" for none."""
    found = (
        (usage.log > limits.log_megabytes * MEGABYTE, "log-megabytes", "writes a log of more than {} MB"),
        (usage.silent > limits.silence_seconds, "silence-seconds", "says nothing for {} seconds"),
        (usage.seconds > limits.total_seconds, "total-seconds", "takes more than {} seconds"),
        (usage.memory > limits.memory_megabytes * MEGABYTE, "memory-megabytes", "holds more than {} MB of memory"),
        (usage.processes > limits.processes, "processes", "runs more than {} processes"),
        (usage.shm > limits.shm_megabytes * MEGABYTE, "shm-megabytes", "puts more than {} MB into /dev/shm"),
        (usage.disk > limits.disk_megabytes * MEGABYTE, "disk-megabytes", "puts more than {} MB on the disk"),
    )
    for passed, key, clause in found:
        if passed:
            value = getattr(limits, key.replace("-", "_"))
            return f"{clause.format(value)} ({key})"
    return ""


def find_refusal(limits: Limits, lines: Sequence[str]) -> str:
    """A clause where the end of a log says that the kernel refused a program something for a limit; "" elsewhere."""
    text = "\n".join(lines)
    if "File size limit exceeded" in text:
        return f"writes a file of more than {limits.file_megabytes} MB (file-megabytes)"
    if re.search(r"[Cc]annot fork|fork: .*Resource temporarily unavailable", text):
        most = limits.processes * _BURST
        return f"makes {most} processes, with other builds, or more than the machine can have (processes)"
    return ""


def make_command(limits: Limits) -> list[str]:
    """Words before a command by which the kernel keeps what cannot be looked at in time."""
    return [
        "prlimit",
        f"--nproc={limits.processes * _BURST}",
        f"--fsize={limits.file_megabytes * MEGABYTE}",
        "--",
    ]


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


def read_available(proc: Path = _PROC, groups: Path = _GROUPS) -> int:
    """Bytes that programs can have before the machine has to swap, or a control group of this process is full."""
    found = _AVAILABLE.search((proc / "meminfo").read_text("utf-8"))
    return min([int(found[1]) * 1024 if found else 0, *_read_groups(proc, groups)])


def _read_groups(proc: Path, groups: Path) -> Iterator[int]:
    """Bytes that are left in each control group that limits this process; groups is their file system."""
    own = None
    with contextlib.suppress(OSError):
        own = re.search(r"^0::/(.*)$", (proc / "self/cgroup").read_text("utf-8"), re.MULTILINE)
    folder = groups / (own[1] if own else "")
    for group in (folder, *(parent for parent in folder.parents if parent.is_relative_to(groups))):
        with contextlib.suppress(OSError, ValueError):  # no such file, "max"
            used = int((group / "memory.current").read_text("ascii"))
            yield max(0, int((group / "memory.max").read_text("ascii")) - used)


class LimitGuard:
    """Ends a build that passes a limit."""

    def __init__(self, limits: Limits, session: str, log: Path, gauge: Gauge, end: Callable[[], None]) -> None:
        self.reason = ""
        """The clause about the limit that it passed."""
        self._limits, self._session, self._log, self._gauge, self._end = limits, session, log, gauge, end
        self._since = self._heard = time.monotonic()
        self._before = self._size = log.stat().st_size
        self._free = _measure_free()

    def look(self) -> None:
        """Measure the build, and end it if it passes a limit."""
        self._gauge.look(self._session)
        now, size = time.monotonic(), self._log.stat().st_size
        if size != self._size:
            self._size, self._heard = size, now
        usage = Usage(
            log=size - self._before,
            silent=now - self._heard,
            seconds=now - self._since,
            memory=self._gauge.now,
            processes=self._gauge.processes,
            shm=_measure_shm(self._session),
            disk=self._measure_disk(),
        )
        if not self.reason and (reason := find_excess(self._limits, usage)):
            self.reason = reason
            self._end()

    def _measure_disk(self) -> int:
        """Bytes that the session has written. The disk is asked first: files are counted only where it can be so much.

        An ordinary user cannot count all of them; then it is what the disk has lost meanwhile, to whomever.
        """
        lost = self._free - _measure_free()
        if lost <= self._limits.disk_megabytes * MEGABYTE:
            return 0
        return min(lost, measure_blocks(_OVERLAYS / self._session)) if os.geteuid() == 0 else lost


def measure_blocks(folder: Path) -> int:
    """Bytes that all below a folder takes on its disk, holes left out. What vanishes meanwhile counts nothing."""
    total, folders = 0, [folder]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
    return total


def _measure_free() -> int:
    """Bytes that are free where sessions write; 0 where that folder is missing."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(_OVERLAYS).free
    return 0


def _measure_shm(session: str) -> int:
    """Bytes in /dev/shm of a session; 0 where nothing is mounted."""
    with contextlib.suppress(OSError):
        found = os.statvfs(_MOUNTS / session / "dev/shm")
        return (found.f_blocks - found.f_bfree) * found.f_frsize
    return 0
