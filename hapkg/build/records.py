"""The records of runs: when each source was in which phase, and what decided when a run ended. times.py writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg.build.phases import ALL_PHASES
from hapkg.errors import UsageError
from hapkg.locations import State

WAIT = "wait"
CREATE = "create"
"""What a base chroot is in while it is made."""


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

    @property
    def usable(self) -> float:
        """When others could use it: lintian looks at it afterwards."""
        ends = [span.end for span in self.spans if span.phase != "lint"]
        return max(ends, default=0.0)

    @property
    def end(self) -> float:
        """When all was done."""
        return max((span.end for span in self.spans), default=0.0)

    def sum(self, *, waiting: bool = True) -> dict[str, float]:
        """Seconds by phase, with those it waited for its turn or without."""
        sums: dict[str, float] = {}
        for span in self.spans:
            if waiting or span.phase != WAIT:
                sums[span.phase] = sums.get(span.phase, 0.0) + span.end - span.start
        return sums


@dataclass(frozen=True, kw_only=True)
class Record:
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
        while needs := [by_name[need] for need in chain[-1].needs if need in by_name]:
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


def read_records(state: State) -> tuple[Record, ...]:
    """The records of a cache, the newest at the end; a damaged one is left out."""
    records = (_read_record(file) for file in sorted(state.runs.glob("[0-9]*.json")))
    return tuple(record for record in records if record is not None)


def pick_record(state: State, number: int) -> Record:
    """A run, 1 for the last one. Raises UsageError when there is none."""
    records = read_records(state)
    if not 1 <= number <= len(records):
        raise UsageError(f"{len(records)} runs are recorded, {number} is not one of them", hint="run: hapkg build-all")
    return records[-number]


def order_phases(found: Sequence[str]) -> list[str]:
    """Phases in the order in which a source goes through them."""
    known = [CREATE, *ALL_PHASES[:3], WAIT, *ALL_PHASES[3:]]
    return sorted(set(found), key=lambda phase: known.index(phase) if phase in known else len(known))


def _read_record(file: Path) -> Record | None:
    try:
        table = json.loads(file.read_text("utf-8"))
        sources = [
            SourceTimes(**{**entry, "spans": [Span(**span) for span in entry["spans"]]}) for entry in table["sources"]
        ]
        return Record(**{**table, "sources": sources})
    except (OSError, ValueError, TypeError, KeyError):
        return None
