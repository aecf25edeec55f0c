"""Limits of a build: what it may write, hold and start, and how long it may take. One that passes a limit is ended.

Once a second a build is looked at from outside: its log, its processes and the memory that these hold. The kernel
itself keeps the size of a file and, coarsely, the number of processes.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg.build.memory import Gauge
from hapkg.recipe.settings import Limits

MEGABYTE = 1 << 20
_MOUNTS = Path("/run/schroot/mount")
_BURST = 2
"""Times the limit of processes at which the kernel refuses more: other builds of the same account count as well."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Resources that a build uses: bytes, seconds and processes."""

    log: int = 0
    silent: float = 0
    seconds: float = 0
    memory: int = 0
    processes: int = 0
    shm: int = 0


def find_excess(limits: Limits, usage: Usage) -> str:
    """A clause about the first limit that a build passes, with its key; "" for none."""
    found = (
        (usage.log > limits.log_megabytes * MEGABYTE, "log-megabytes", "writes a log of more than {} MB"),
        (usage.silent > limits.silence_seconds, "silence-seconds", "says nothing for {} seconds"),
        (usage.seconds > limits.total_seconds, "total-seconds", "takes more than {} seconds"),
        (usage.memory > limits.memory_megabytes * MEGABYTE, "memory-megabytes", "holds more than {} MB of memory"),
        (usage.processes > limits.processes, "processes", "runs more than {} processes"),
        (usage.shm > limits.shm_megabytes * MEGABYTE, "shm-megabytes", "puts more than {} MB into /dev/shm"),
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


class LimitGuard:
    """Ends a build that passes a limit."""

    def __init__(self, limits: Limits, session: str, log: Path, gauge: Gauge, end: Callable[[], None]) -> None:
        self.reason = ""
        """The clause about the limit that it passed."""
        self._limits, self._session, self._log, self._gauge, self._end = limits, session, log, gauge, end
        self._since = self._heard = time.monotonic()
        self._before = self._size = log.stat().st_size

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
        )
        if not self.reason and (reason := find_excess(self._limits, usage)):
            self.reason = reason
            self._end()


def _measure_shm(session: str) -> int:
    """Bytes in /dev/shm of a session; 0 where nothing is mounted."""
    with contextlib.suppress(OSError):
        found = os.statvfs(_MOUNTS / session / "dev/shm")
        return (found.f_blocks - found.f_bfree) * found.f_frsize
    return 0
