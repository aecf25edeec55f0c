"""Timings of runs: phases of a build, read from its log, and the records of runs that built something."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from hapkg import disk
from hapkg.build.events import Ending, Outcome, Progress
from hapkg.control import SourceName
from hapkg.errors import UsageError
from hapkg.locations import State
from hapkg.records import format_record, read_record

BUILD_PHASES = ("unpack", "configure", "compile", "package")
"""Phases inside dpkg-buildpackage, in order."""
AFTERWARDS = ("test", "lint")
"""Phases of a source whose packages others use already."""
ALL_PHASES = ("fetch", "layer", "source", "dependencies", *BUILD_PHASES, "collect", "check", *AFTERWARDS)
"""Every phase of a source, in order."""
_MARKS: Mapping[str, str] = {
    "update_autotools_config": "configure",
    "autoreconf": "configure",
    "auto_configure": "configure",
    "auto_build": "compile",
    "testroot": "package",
    "prep": "package",
    "auto_install": "package",
    "install": "package",
}
_MARK = re.compile(r"^\s*(?:debian/rules (?:override|execute_before)_)?dh_([a-z_]+)\b")
WAIT = "wait"
CREATE = "create"
"""The phase of a base chroot while it is made."""
KEPT_RECORDS = 50


@dataclass(frozen=True, kw_only=True)
class Span:
    """A phase of a source, in seconds since the run began."""

    phase: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class SourceTimes:
    """One source of a run."""

    source: str
    ending: str
    needs: Sequence[str]
    spans: Sequence[Span]
    memory: int = 0
    """Bytes its build held at its peak; 0 where nothing was built or measured."""
    machine: str = ""
    """Name of the worker that built it; "": this machine."""

    @property
    def usable(self) -> float:
        """The second since the run began at which others could use the packages; tests and lintian come later."""
        ends = [span.end for span in self.spans if span.phase not in (*AFTERWARDS, WAIT)]
        return max(ends, default=0.0)

    @property
    def end(self) -> float:
        """The time at which the last phase ended, in seconds since the run began."""
        return max((span.end for span in self.spans), default=0.0)

    def sum(self, *, waiting: bool = True) -> dict[str, float]:
        """Seconds by phase, with those it waited for its turn or without."""
        sums: dict[str, float] = {}
        for span in self.spans:
            if waiting or span.phase != WAIT:
                sums[span.phase] = sums.get(span.phase, 0.0) + span.end - span.start
        return sums


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run."""

    started: str
    suite: str
    jobs: int
    seconds: float
    sources: Sequence[SourceTimes]

    def find_critical_path(self) -> tuple[SourceTimes, ...]:
        """The chain of sources that decided when the run ended: each was the last that the next one waited for."""
        by_name = {times.source: times for times in self.sources if times.spans and times.ending != "skipped"}
        if not by_name:
            return ()
        chain = [max(by_name.values(), key=lambda times: (times.end, times.source))]
        # Each once: a record by hand may name a circle.
        while needs := [by_name[need] for need in chain[-1].needs if need in by_name and by_name[need] not in chain]:
            chain.append(max(needs, key=lambda times: (times.usable, times.source)))
        return tuple(reversed(chain))

    def break_down(self) -> dict[str, float]:
        """The wall time by what the source on the critical path did; what no phase covers is waiting for a turn."""
        sums: dict[str, float] = {}
        since = 0.0
        path = self.find_critical_path()
        for times in path:
            until = times.end if times is path[-1] else times.usable
            for span in times.spans:
                length = min(span.end, until) - max(span.start, since)
                if length > 0:
                    sums[span.phase] = sums.get(span.phase, 0.0) + length
            since = until
        sums[WAIT] = sums.get(WAIT, 0.0) + max(0.0, self.seconds - sum(sums.values()))
        return sums


def read_records(state: State) -> tuple[RunRecord, ...]:
    """The records of a state folder, the newest at the end; a damaged one is left out."""
    records = (read_record(file, RunRecord) for file in sorted(state.runs.glob("[0-9]*.json")))
    return tuple(record for record in records if record is not None)


def pick_record(state: State, number: int) -> RunRecord:
    """A run, 1 for the last one. Raises UsageError when there is none."""
    records = read_records(state)
    if not records:
        option = f" --architecture {state.architecture}" if state.architecture else ""
        raise UsageError("no run is recorded yet", hint=f"run: hapkg build-all{option}")
    if not 1 <= number <= len(records):
        one = len(records) == 1
        raise UsageError(
            f"{'1 run is' if one else f'{len(records)} runs are'} recorded, {number} is not one of them",
            hint="leave --run out" if one else f"say --run 1, which is the last one, to --run {len(records)}",
        )
    return records[-number]


def order_phases(found: Sequence[str]) -> list[str]:
    """Phases in the order in which a source goes through them."""
    known = [CREATE, *ALL_PHASES[:3], WAIT, *ALL_PHASES[3:]]
    return sorted(set(found), key=lambda phase: known.index(phase) if phase in known else len(known))


class Recorder:
    """Listener that makes the record of a run."""

    def __init__(self, started: float, suite: str, jobs: int, needs: Mapping[SourceName, Sequence[str]]) -> None:
        self._started = started
        self._when = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        self._suite = suite
        self._jobs = jobs
        self._needs = needs
        self._open: dict[str, tuple[str, float]] = {}
        self._spans: dict[str, list[Span]] = {}
        self._endings: dict[str, str] = {}
        self._memory: dict[str, int] = {}
        self._machines: dict[str, str] = {}
        self._last = started

    def notify(self, event: Progress | Outcome) -> None:
        """Take note of one event."""
        name, at = str(event.source), max(event.at, self._started)
        self._last = max(self._last, at)
        if name in self._open:
            phase, since = self._open.pop(name)
            span = Span(phase=phase, start=round(since - self._started, 2), end=round(at - self._started, 2))
            self._spans.setdefault(name, []).append(span)
        if isinstance(event, Progress):
            self._open[name] = (event.phase, at)
        else:
            self._endings[name] = str(event.ending)
            if event.artifact and event.ending is Ending.BUILT:
                self._memory[name], self._machines[name] = event.artifact.memory, event.artifact.machine

    def save(self, state: State) -> Path | None:
        """Write the record of a run that built something, and forget the oldest ones."""
        if not {Ending.BUILT, Ending.FAILED} & set(self._endings.values()):
            return None
        bases = sorted(self._spans.keys() - self._needs.keys())  # a base chroot, which all sources wait for
        record = RunRecord(
            started=self._when,
            suite=self._suite,
            jobs=self._jobs,
            seconds=round(self._last - self._started, 2),
            sources=[
                SourceTimes(
                    source=name,
                    ending=self._endings.get(name, ""),
                    needs=[] if name in bases else [*bases, *self._needs.get(SourceName(name), ())],
                    spans=self._spans.get(name, []),
                    memory=self._memory.get(name, 0),
                    machine=self._machines.get(name, ""),
                )
                for name in sorted({*self._endings, *self._spans})
            ],
        )
        file = state.runs / f"{self._when.replace(':', '')}-{self._suite}.json"
        disk.make_folder(file.parent)
        disk.replace(file, format_record(asdict(record)))
        for old in sorted(file.parent.glob("[0-9]*.json"))[:-KEPT_RECORDS]:
            old.unlink()
        return file


def follow(lines: Sequence[str], phase: str) -> Iterator[str]:
    """The phases that these lines enter, after this one. Phases never go back: dh calls some commands twice."""
    for line in lines:
        match = _MARK.match(line)
        found = _MARKS.get(match[1]) if match else None
        if found is not None and BUILD_PHASES.index(found) > BUILD_PHASES.index(phase):
            phase = found
            yield phase


class Clock:
    """Tells and times the phases of one build."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self.phase = ""
        self._report = report
        self._since = time.monotonic()
        self._seconds: dict[str, float] = {}

    def enter(self, phase: str, log: IO[bytes] | None = None) -> None:
        """The phase before ends, this one begins."""
        self._settle()
        self.phase = phase
        self._report(phase)
        if log is not None:
            log.write(f"=== {phase}\n".encode())

    def stop(self) -> dict[str, float]:
        """The last phase ends: the seconds of all."""
        self._settle()
        return {phase: round(seconds, 2) for phase, seconds in self._seconds.items()}

    def _settle(self) -> None:
        now = time.monotonic()
        if self.phase:
            self._seconds[self.phase] = self._seconds.get(self.phase, 0.0) + now - self._since
        self._since = now
