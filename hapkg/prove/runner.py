"""A proof: steps that are done in order, each timed, with its checks and all that was said on the machines.

A check that fails ends its step and the proof. Later steps are then reported as not reached: on a cluster that is not
what it should be they would prove nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from hapkg.errors import HapkgError, ProofError
from hapkg.prove.host_service import GuestService
from hapkg.prove.qmp import Answer
from hapkg.prove.vm import Guest
from hapkg.site.model import Site

_SHOWN = 40
"""Lines of evidence in the report; a step's log has all of it."""


class StepEnding(StrEnum):
    """How a step ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One statement about the cluster, and what shows that it is true."""

    claim: str
    ok: bool
    evidence: str


@dataclass
class StepResult:
    """Result of one step."""

    name: str
    title: str
    ending: StepEnding = StepEnding.NOT_REACHED
    started: float = 0.0
    """Seconds since the proof began."""
    seconds: float = 0.0
    checks: list[Check] = field(default_factory=list)
    error: tuple[str, ...] = ()
    log: str = ""
    """Name of its log in the result folder."""


@dataclass(frozen=True, kw_only=True)
class ProofStep:
    """One thing that a reader of the how-to does."""

    name: str
    title: str
    act: Callable[[Scene], None]
    short: bool = True
    """Part of the short form, too."""
    after: str = ""
    """Step that has to come before, beside those that form the cluster."""


@dataclass
class Scene:
    """The machines, and what the current step finds out."""

    site: Site
    suite: str
    guests: tuple[Guest, Guest]
    service: GuestService
    folder: Path
    """Where results go."""
    sources: str
    """The .sources file of the repository, for guests."""
    older: Mapping[str, str] = field(default_factory=dict)
    """Packages and versions of the ha-stack before the newest one, where the repository has such: upgraded later."""
    module: str = ""
    """Package with DRBD's module for the kernel of the machines, where the repository has such: it is installed too."""
    slowness: float = 1.0
    """How much slower than an idle host this one is."""
    added_volumes: int = 0
    """Volumes that steps added to those of the site."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Head of the report: versions, times."""
    record: StepResult = field(default_factory=lambda: StepResult(name="", title=""))
    _began: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def one(self) -> Guest:
        """The first node."""
        return self.guests[0]

    @property
    def two(self) -> Guest:
        """The second node."""
        return self.guests[1]

    @property
    def names(self) -> str:
        """Both nodes, as crm_mon lists them."""
        return " ".join(sorted(guest.name for guest in self.guests))

    def find_other(self, guest: Guest) -> Guest:
        """The node beside this one."""
        return self.one if guest is self.two else self.two

    def allow(self, seconds: float) -> float:
        """How long something may take here: on a host that booted the machines slowly everything is slow."""
        return seconds * self.slowness

    @property
    def elapsed(self) -> float:
        """Seconds since the proof began."""
        return time.monotonic() - self._began

    def run(self, guest: Guest, script: str, *, seconds: float = 120, check: bool = True, stdin: bytes = b"") -> str:
        """Run a script on a machine and keep what it says. Raises ProofError when it fails."""
        return self.ask(guest, script, seconds=seconds, check=check, stdin=stdin).output

    def ask(
        self, guest: Guest, script: str, *, seconds: float = 120, check: bool = False, stdin: bytes = b""
    ) -> Answer:
        """Run a script on a machine; return its output and its exit status, which may be any. Raises ProofError."""
        began = time.monotonic()
        answer = Answer(status=-1, output="no answer")
        try:
            answer = guest.run(script, seconds=self.allow(seconds), check=False, stdin=stdin)
        finally:
            self._write(guest.name, script, answer, time.monotonic() - began)
        if check and answer.status != 0:
            raise ProofError(
                f"{guest.name}: a command failed with exit status {answer.status}",
                details=(f"command: {script.strip()}", *answer.output.splitlines()[-30:]),
            )
        return answer

    def run_on_both(self, script: str, *, seconds: float = 120, check: bool = True) -> tuple[str, str]:
        """Run a script on both machines at the same time."""
        with ThreadPoolExecutor(2) as pool:
            one, two = pool.map(lambda guest: self.run(guest, script, seconds=seconds, check=check), self.guests)
        return one, two

    def put(self, guest: Guest, path: str, content: bytes, mode: str = "644") -> None:
        """Write a file on a machine, as an administrator copies one there."""
        self.run(guest, f"install -D -m {mode} /dev/stdin {path}", stdin=content)

    def check(self, claim: str, ok: bool, evidence: str) -> None:
        """State something. Raises ProofError when it is not so."""
        self.record.checks.append(Check(claim=claim, ok=ok, evidence=shorten(evidence)))
        if not ok:
            raise ProofError(f"not so: {claim}", details=evidence.splitlines()[-30:])

    def wait(self, claim: str, look: Callable[[], tuple[bool, str]], *, seconds: float, pause: float = 1.0) -> float:
        """Wait until something is so; how long that took. Raises ProofError with the last look."""
        began, seconds = time.monotonic(), self.allow(seconds)
        while True:
            ok, evidence = look()
            waited = time.monotonic() - began
            if ok or waited > seconds:
                self.check(f"{claim} ({waited:.0f} s)" if ok else f"{claim} within {seconds:.0f} s", ok, evidence)
                return waited
            time.sleep(pause)

    def _write(self, name: str, script: str, answer: Answer, seconds: float) -> None:
        text = f"[{self.elapsed:8.1f}] {name}$ {script.strip()}\n{answer.output.rstrip()}\n"
        text += f"-- exit status {answer.status}, {seconds:.1f} s\n\n"
        with self._lock, (self.folder / self.record.log).open("a", encoding="utf-8", errors="replace") as log:
            log.write(text)


def run_steps(steps: Sequence[ProofStep], scene: Scene) -> Iterator[StepResult]:
    """Do the steps; a record of each as it begins and again as it ends. After one that failed the others only pass by.

    What is no failure of the proof, an interruption, goes through.
    """
    failed = False
    for number, step in enumerate(steps, 1):
        record = StepResult(name=step.name, title=step.title, log=f"{number:02}-{step.name}.log")
        if failed:
            yield record
            continue
        scene.record, record.started = record, scene.elapsed
        (scene.folder / record.log).touch()
        yield record
        try:
            step.act(scene)
            record.ending = StepEnding.PASSED
        except ProofError as error:
            failed, record.ending = True, StepEnding.FAILED
            record.error = (error.brief, *error.details)
        except HapkgError as error:
            record.ending, record.error = StepEnding.FAILED, (error.brief, *error.details)
            raise
        finally:
            record.seconds = scene.elapsed - record.started
        yield record


def shorten(text: str) -> str:
    """The first and last lines of a long text."""
    lines = text.strip("\n").splitlines()
    if len(lines) <= _SHOWN:
        return "\n".join(lines)
    half = _SHOWN // 2
    return "\n".join([*lines[:half], f"… {len(lines) - 2 * half} lines …", *lines[-half:]])
