"""The program under test, and what it may leave on the machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support.miniature import SLEEP

PROGRAM = Path(sys.executable).with_name("hapkg")
SUITE = os.environ.get("HAPKG_SUITE", "bookworm")


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """One error as a person reads it."""

    brief: str
    details: tuple[str, ...]
    hint: str


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished run of hapkg."""

    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def outcomes(self) -> dict[str, dict[str, Any]]:
        """Outcomes that --json printed, by source."""
        return {outcome["source"]: outcome for outcome in json.loads(self.stdout)}

    @property
    def endings(self) -> dict[str, str]:
        """How each source ended."""
        return {source: outcome["outcome"] for source, outcome in self.outcomes.items()}

    @property
    def complaints(self) -> tuple[Complaint, ...]:
        """The errors on standard error."""
        blocks = re.findall(r"^error: (.*)\n((?:  .*\n)*)(?:hint: (.*)\n)?", self.stderr, re.MULTILINE)
        return tuple(
            Complaint(brief=brief, details=tuple(line[2:] for line in details.splitlines()), hint=hint)
            for brief, details, hint in blocks
        )

    @property
    def complaint(self) -> Complaint:
        """The one error, which must be clear: a sentence, a remedy, no traceback."""
        assert "Traceback" not in self.stderr, self.stderr
        assert len(self.complaints) == 1, self.stderr
        (complaint,) = self.complaints
        assert complaint.hint, self.stderr
        return complaint


@dataclass(frozen=True, kw_only=True)
class Running:
    """hapkg at work."""

    process: subprocess.Popen[str]
    stdout: Path
    stderr: Path
    started: float

    def wait_for(self, pattern: str, *, seconds: float = 300) -> None:
        """Wait until standard error says something."""
        wait_until(
            lambda: (
                re.search(pattern, self.stderr.read_text(), re.MULTILINE) is not None or self.process.poll() is not None
            ),
            f"{pattern!r} on standard error",
            seconds=seconds,
        )
        assert self.process.poll() is None, self.stderr.read_text()

    def stop(self, number: signal.Signals) -> Done:
        """Send a signal and wait for the end; seconds are those since the signal."""
        sent = time.monotonic()
        self.process.send_signal(number)
        return self.finish(since=sent)

    def finish(self, *, since: float | None = None) -> Done:
        """Wait for the end."""
        status = self.process.wait(timeout=900)
        return Done(
            status=status,
            stdout=self.stdout.read_text(),
            stderr=self.stderr.read_text(),
            seconds=time.monotonic() - (since or self.started),
        )

    def end(self) -> None:
        """End it, unless it has ended."""
        if self.process.poll() is None:
            self.stop(signal.SIGTERM)


@dataclass(frozen=True, kw_only=True)
class Hapkg:
    """The real program with a project, a cache and a home of its own."""

    project: Path
    cache: Path
    home: Path
    argv: tuple[str, ...] = (str(PROGRAM),)
    environment: Mapping[str, str] = field(default_factory=dict)
    started: list[Running] = field(default_factory=list)

    def run(self, *arguments: str, within: Sequence[str] = (), **environment: str) -> Done:
        """Run a command to its end, within another program if one is given."""
        running = self.start(*arguments, within=within, **environment)
        try:
            return running.finish()
        finally:
            running.end()

    def start(self, *arguments: str, within: Sequence[str] = (), **environment: str) -> Running:
        """Start a command."""
        self.home.mkdir(parents=True, exist_ok=True)
        number = len(list(self.home.glob("*.err")))
        out, err = self.home / f"{number}.out", self.home / f"{number}.err"
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "HAPKG_CACHE": str(self.cache),
            "HAPKG_KEYS": str(self.home / "keys"),
        }
        with out.open("w") as stdout, err.open("w") as stderr:
            started = time.monotonic()
            process = subprocess.Popen(
                [*within, *self.argv, *arguments],
                cwd=self.project,
                env={**base, **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        self.started.append(Running(process=process, stdout=out, stderr=err, started=started))
        return self.started[-1]

    def end(self) -> None:
        """End what a test that failed or was stopped left running."""
        for running in self.started:
            running.end()

    def succeed(self, *arguments: str, **environment: str) -> Done:
        """Run a command that must succeed."""
        done = self.run(*arguments, **environment)
        assert done.status == 0, f"{arguments}: exit status {done.status}\n{done.stdout}\n{done.stderr}"
        return done

    @property
    def chroot(self) -> str:
        """The name of the base chroot in schroot's configuration."""
        (made,) = json.loads(self.succeed("chroot", "list", "--json").stdout)
        return str(made["name"])

    def on(self, project: Path) -> Hapkg:
        """A program with this cache and another project."""
        return replace(self, project=project)

    def folder(self, outcome: Mapping[str, Any]) -> Path:
        """The store's folder of a finished build."""
        folder = Path(outcome["log"]).parent
        assert folder.parent == self.cache / "builds"
        return folder


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float, evidence: Callable[[], str] = str) -> None:
    """Look ten times a second until something is true. Fails with what was waited for, and the evidence."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"after {seconds} s still no {what}\n{evidence()}"
        time.sleep(0.1)


def find_sessions(chroot: str) -> list[str]:
    """Sessions of a chroot that schroot knows."""
    listing = subprocess.run(["schroot", "--list", "--all-sessions"], capture_output=True, text=True, check=True)
    return [line for line in listing.stdout.splitlines() if line.startswith(f"session:{chroot}-")]


def find_mounts(*marks: str) -> list[str]:
    """Mounts of this machine that mention one of these."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if any(mark in line for mark in marks)]


def find_configuration(cache: Path) -> list[Path]:
    """The files in which schroot is told of the chroots of a cache; others may come and go meanwhile."""
    found = []
    for file in Path("/etc/schroot").rglob("*"):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            if re.search(rf"{re.escape(str(cache))}/", file.read_text()):
                found.append(file)
    return sorted(found)


def find_processes(chroot: str) -> list[str]:
    """Processes inside a chroot's sessions, and those that were started to enter one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            roots = [line for line in (folder / "mountinfo").read_text().splitlines() if line.split()[4] == "/"]
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended
        except OSError:
            continue  # a zombie has no mounts
        if any(chroot in line for line in roots) or any(chroot in word for word in words):
            found.append(f"{folder.name}: {' '.join(words)}")
    return found


def count_asleep(chroot: str) -> int:
    """How many builds in a chroot's sessions do not end."""
    return sum(process.partition(": ")[2].strip() == SLEEP for process in find_processes(chroot))


def find_leftovers(chroot: str, cache: Path) -> dict[str, list[str]]:
    """Everything that a run must not leave behind."""
    return {
        "processes": find_processes(chroot),
        "sessions": find_sessions(chroot),
        "mounts": find_mounts(chroot, str(cache)),
        "overlays": [str(path) for path in Path("/var/lib/schroot/union").glob(f"*/{chroot}-*")],
        "half-written": [str(path) for folder in ("builds", "chroots") for path in (cache / folder).glob(".*")],
    }


NOTHING: dict[str, list[str]] = {
    "processes": [],
    "sessions": [],
    "mounts": [],
    "overlays": [],
    "half-written": [],
}
