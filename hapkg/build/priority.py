"""Priorities of sources by the longest way behind each, and their memory, as earlier runs measured them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hapkg.build.store import Artifact
from hapkg.build.timings import AFTERWARDS, RunRecord
from hapkg.control import SourceName, Suite
from hapkg.recipe.graph import Graph

UNKNOWN_SECONDS = 60.0
"""Seconds that a source is taken to need when it was never built."""
UNKNOWN_BYTES = 512 << 20
"""Bytes that it is taken to hold."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Time and memory of the last build of a source."""

    seconds: float = UNKNOWN_SECONDS
    """Until others may use its packages."""
    afterwards: float = 0.0
    """Upstream's tests and lintian."""
    memory: int = UNKNOWN_BYTES


def find_measured(suite: Suite, builds: Sequence[Artifact], records: Sequence[RunRecord]) -> dict[SourceName, Measured]:
    """Time and memory of the last build of each source: of the store, or of the records where the build is gone.

    Both are given oldest first.
    """
    found: dict[SourceName, Measured] = {}
    for record in records:
        for times in record.sources if record.suite == suite else ():
            if times.ending == "built":
                found[SourceName(times.source)] = _measure(times.sum(waiting=False), times.memory)
    for build in builds:
        if build.suite == suite:
            found[build.source] = _measure(build.seconds, build.memory)
    return found


def _measure(seconds: Mapping[str, float], memory: int) -> Measured:
    afterwards = sum(seconds.get(phase, 0.0) for phase in AFTERWARDS)
    usable = sum(took for phase, took in seconds.items() if phase not in AFTERWARDS)
    return Measured(seconds=usable, afterwards=afterwards, memory=memory or UNKNOWN_BYTES)


def measure_paths(
    graph: Graph, names: Iterable[SourceName], measured: Mapping[SourceName, Measured]
) -> dict[SourceName, float]:
    """For each source, the seconds from its start to the end of the longest chain of sources that wait for it.

    A source is used before its tests have ended; they end a chain where nothing longer waits for it.
    """
    wanted = set(names)
    known = {name: measured.get(name, Measured()) for name in wanted}
    rest: dict[SourceName, float] = {name: known[name].afterwards for name in wanted}
    for name in reversed(graph.order):  # whoever needs a source comes after it
        if name in wanted:
            rest[name] += known[name].seconds
            for need in graph.needs[name]:
                if need in wanted:
                    rest[need] = max(rest[need], rest[name])
    return rest


def find_longest(graph: Graph, rest: Mapping[SourceName, float]) -> tuple[SourceName, ...]:
    """The longest chain of sources that wait for each other, by measure_paths(): no run ends before it."""
    dependents: defaultdict[SourceName, list[SourceName]] = defaultdict(list)
    for name in rest:
        for need in graph.needs[name]:
            dependents[need].append(name)
    chain: list[SourceName] = []
    waiting = list(rest)
    while waiting:
        chain.append(min(waiting, key=lambda name: (-rest[name], name)))
        waiting = dependents[chain[-1]]
    return tuple(chain)


def fits(peak: int, available: int, running: Sequence[tuple[int, int]]) -> bool:
    """True when a build of this peak may start beside those that run, each given as (peak, held now), in bytes.

    Memory that a running build will still take is not there for another. Alone, every build may start: waiting would
    not help.
    """
    promised = sum(max(0, expected - held) for expected, held in running)
    return not running or peak <= available - promised
