"""A farm: Dask's scheduler, and workers of hapkg with state folders of their own."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.machine import PROGRAM, Hapkg, Running, wait_until

DASK = PROGRAM.with_name("dask")


def find_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(kw_only=True)
class Farm:
    """A scheduler that runs, and workers that are started and ended one by one."""

    address: str
    hapkg: Hapkg
    """The coordinator."""
    running: dict[str, Running] = field(default_factory=dict)

    def start(self, worker: Hapkg, *options: str, within: Sequence[str] = (), **environment: str) -> None:
        """Start a worker over its state folder, and wait until it takes orders."""
        words = ("worker", "--scheduler", self.address, "--jobs", "1", *options)
        self.running[worker.cache.name] = begun = worker.start(*words, within=within, **environment)
        begun.wait_for("takes orders")

    def kill(self, worker: Hapkg) -> None:
        """End a worker without a word, as a machine ends."""
        process = self.running.pop(worker.cache.name).process
        process.send_signal(signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        """End all workers."""
        for name in list(self.running):
            self.running.pop(name).end()


@contextlib.contextmanager
def start_scheduler(folder: Path, host: str = "127.0.0.1", within: Sequence[str] = ()) -> Iterator[str]:
    """Start Dask's scheduler; its address."""
    port = find_port()
    argv = [*within, str(DASK), "scheduler", "--host", host, "--port", str(port), "--no-dashboard"]
    with (folder / "scheduler.log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            wait_until(
                lambda: b"Scheduler at:" in (folder / "scheduler.log").read_bytes(),
                "scheduler",
                seconds=60,
                evidence=(folder / "scheduler.log").read_text,
            )
            yield f"tcp://{host}:{port}"
        finally:
            process.terminate()
            process.wait()


def make_worker(coordinator: Hapkg, folder: Path, environment: Mapping[str, str] | None = None) -> Hapkg:
    """hapkg with a state folder of its own, and no project."""
    home = folder.with_name(f"{folder.name}-home")
    home.mkdir(parents=True, exist_ok=True)
    return replace(coordinator, project=home, cache=folder, home=home, environment=dict(environment or {}), started=[])
