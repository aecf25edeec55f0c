"""Where the time of a run went: the record of every run that built something, and its timeline as a picture."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from hapkg import disk
from hapkg.control import SourceName
from hapkg.errors import UsageError
from hapkg.phases import ALL_PHASES
from hapkg.pipeline import Ending, Outcome, Progress

KEPT_RECORDS = 50
WAIT = "wait"
_COLOURS = {
    "fetch": "#8ecae6",
    "source": "#bde0fe",
    "layer": "#cdb4db",
    WAIT: "#eeeeee",
    "dependencies": "#b5838d",
    "unpack": "#ffe5d9",
    "configure": "#ffd166",
    "compile": "#ef8354",
    "test": "#06d6a0",
    "package": "#118ab2",
    "collect": "#adb5bd",
    "check": "#90be6d",
    "lint": "#577590",
}
_ROW, _LEFT, _WIDTH = 22, 170, 900


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

    @property
    def usable(self) -> float:
        """When others could use it: lintian looks at it afterwards."""
        ends = [span.end for span in self.spans if span.phase != "lint"]
        return max(ends, default=0.0)

    @property
    def end(self) -> float:
        """When all was done."""
        return max((span.end for span in self.spans), default=0.0)

    def sum(self) -> dict[str, float]:
        """Seconds by phase."""
        sums: dict[str, float] = {}
        for span in self.spans:
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
        by_name = {times.source: times for times in self.sources if times.spans}
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


class Recorder:
    """Listens to a run."""

    def __init__(self, started: float, suite: str, jobs: int, needs: Mapping[SourceName, Sequence[str]]) -> None:
        self._started = started
        self._when = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        self._suite = suite
        self._jobs = jobs
        self._needs = needs
        self._open: dict[str, tuple[str, float]] = {}
        self._spans: dict[str, list[Span]] = {}
        self._endings: dict[str, str] = {}
        self._last = started

    def tell(self, event: Progress | Outcome) -> None:
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

    def save(self, cache: Path) -> Path | None:
        """Write the record of a run that built something, and forget the oldest ones."""
        if not {Ending.BUILT, Ending.FAILED} & set(self._endings.values()):
            return None
        record = Record(
            started=self._when,
            suite=self._suite,
            jobs=self._jobs,
            seconds=round(self._last - self._started, 2),
            sources=[
                SourceTimes(
                    source=name,
                    ending=self._endings.get(name, ""),
                    needs=list(self._needs.get(SourceName(name), ())),
                    spans=self._spans.get(name, []),
                )
                for name in sorted({*self._endings, *self._spans})
            ],
        )
        file = cache / "runs" / f"{self._when.replace(':', '')}.json"
        disk.make_folder(file.parent)
        disk.replace(file, json.dumps(asdict(record), indent=1).encode() + b"\n")
        for old in sorted(file.parent.glob("[0-9]*.json"))[:-KEPT_RECORDS]:
            old.unlink()
        return file


def read_records(cache: Path) -> tuple[Record, ...]:
    """The records of a cache, the newest at the end; a damaged one is left out."""
    records = (_read_record(file) for file in sorted((cache / "runs").glob("[0-9]*.json")))
    return tuple(record for record in records if record is not None)


def pick_record(cache: Path, number: int) -> Record:
    """A run, 1 for the last one. Raises UsageError when there is none."""
    records = read_records(cache)
    if not 1 <= number <= len(records):
        raise UsageError(f"{len(records)} runs are recorded, {number} is not one of them", hint="run: hapkg build-all")
    return records[-number]


def draw(record: Record) -> str:
    """The timeline of a run as SVG."""
    rows = sorted((times for times in record.sources if times.spans), key=lambda times: times.spans[0].start)
    critical = {times.source for times in record.find_critical_path()}
    scale = _WIDTH / max(record.seconds, 1.0)
    height = (len(rows) + 3) * _ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 20}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f"<title>{html.escape(f'{record.suite}, {record.started}, {record.seconds:.0f} s')}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    step = next((step for step in (1, 5, 10, 30, 60, 300, 600, 1800) if record.seconds / step <= 15), 3600)
    for second in range(0, int(record.seconds) + 1, step):
        x = _LEFT + second * scale
        parts.append(f'<line x1="{x:.1f}" y1="{_ROW}" x2="{x:.1f}" y2="{height - _ROW}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{_ROW - 6}" fill="#666666">{second} s</text>')
    for number, times in enumerate(rows, 1):
        y = number * _ROW + 4
        weight = ' font-weight="bold"' if times.source in critical else ""
        parts.append(f'<text x="4" y="{y + 13}"{weight}>{html.escape(times.source)}</text>')
        for span in times.spans:
            label = html.escape(f"{times.source}: {span.phase}, {span.end - span.start:.1f} s")
            parts.append(
                f'<rect x="{_LEFT + span.start * scale:.1f}" y="{y}" width="{(span.end - span.start) * scale:.1f}" '
                f'height="{_ROW - 6}" fill="{_COLOURS.get(span.phase, "#999999")}"><title>{label}</title></rect>'
            )
    x = 4
    for phase, colour in _COLOURS.items():
        parts.append(f'<rect x="{x}" y="{height - 18}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16}" y="{height - 8}">{phase}</text>')
        x += 30 + 7 * len(phase)
    return "\n".join((*parts, "</svg>", ""))


def order_phases(found: Sequence[str]) -> list[str]:
    """Phases in the order in which a source goes through them."""
    known = [*ALL_PHASES[:3], WAIT, *ALL_PHASES[3:]]
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
