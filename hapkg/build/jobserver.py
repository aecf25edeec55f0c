"""One jobserver over all running builds: as many compilers at once as the machine has cores, whoever starts them.

Every build has a fifo of its own, which GNU make takes for its jobserver: a byte in it is the right to run one job more
than the one that each make has anyway. A broker moves bytes between the builds and the machine's stock. It knows how
many each build has, so what a build held when it died goes to the others.

A shared fifo would need no broker, but nobody could tell what a killed build had taken out of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import struct
import termios
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICK_SECONDS = 0.02
_TOKEN = b"+"


@dataclass(kw_only=True)
class _Build:
    """What a running build has."""

    fifo: Path
    opened: int
    given: int = 0
    """Tokens that are in its fifo or with its jobs."""

    def count_idle(self) -> int:
        """Tokens in the fifo, which no job holds."""
        return int(struct.unpack("i", fcntl.ioctl(self.opened, termios.FIONREAD, b"\0" * 4))[0])


def share(cores: int, builds: Sequence[tuple[int, int]]) -> list[int]:
    """How many tokens each build gets, or below zero gives back. builds are (given, idle), first served first.

    Each running build has one job without a token. Every build keeps one idle token, so that a make that can use it
    finds it, unless another one has none.
    """
    stock = cores - len(builds) - sum(given for given, _ in builds)
    changes = [-max(0, idle - 1) for _, idle in builds]
    stock -= sum(changes)
    for number, (_, idle) in enumerate(builds):  # too many are out, or an earlier build has none to start a job with
        starving = any(other == 0 for _, other in builds[:number])
        if idle > 0 and (stock < 0 or (stock == 0 and starving)):
            changes[number] -= 1
            stock += 1
    for number, (_, idle) in enumerate(builds):
        if idle == 0 and stock > 0:
            changes[number] += 1
            stock -= 1
    return changes


class Jobserver:
    """The broker, and the folder of its fifos, which every session of a chroot sees."""

    def __init__(self, folder: Path, cores: int) -> None:
        self._folder = folder
        self._cores = cores
        self._builds: list[_Build] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def __enter__(self) -> Jobserver:
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob("*"):
            left.unlink()
        threading.Thread(target=self._broke, daemon=True).start()
        return self

    def __exit__(self, *why: object) -> None:
        self._ended.set()

    @contextlib.contextmanager
    def join(self) -> Iterator[str]:
        """Take part while a build runs: the name of its fifo. Whatever it held afterwards is the others'."""
        fifo = self._folder / secrets.token_hex(16)
        os.mkfifo(fifo)
        fifo.chmod(0o666)  # the build user opens it; who does not know its name does not find it
        build = _Build(fifo=fifo, opened=os.open(fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        with self._lock:
            self._builds.append(build)
        try:
            yield fifo.name
        finally:
            with self._lock:
                self._builds.remove(build)
            os.close(build.opened)
            fifo.unlink()

    def count_out(self) -> int:
        """Tokens that builds have."""
        with self._lock:
            return sum(build.given for build in self._builds)

    def _broke(self) -> None:
        while not self._ended.wait(_TICK_SECONDS):
            with self._lock:
                changes = share(self._cores, [(build.given, build.count_idle()) for build in self._builds])
                for build, change in zip(self._builds, changes, strict=True):
                    with contextlib.suppress(BlockingIOError):  # a make was faster
                        if change > 0:
                            build.given += os.write(build.opened, _TOKEN * change)
                        elif change < 0:
                            build.given -= len(os.read(build.opened, -change))
