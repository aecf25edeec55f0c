"""Which of several sources goes first: the one with the longest way behind it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hapkg.control import SourceName
from hapkg.graph import Graph

UNKNOWN_SECONDS = 60.0
"""What a source that was never built is taken to need."""


def measure_paths(
    graph: Graph, names: Iterable[SourceName], seconds: Mapping[SourceName, float]
) -> dict[SourceName, float]:
    """For each source, the seconds from its start to the end of the longest chain of sources that wait for it."""
    wanted = set(names)
    rest: dict[SourceName, float] = dict.fromkeys(wanted, 0.0)
    for name in reversed(graph.order):  # whoever needs a source comes after it
        if name in wanted:
            rest[name] += seconds.get(name, UNKNOWN_SECONDS)
            for need in graph.needs[name]:
                if need in wanted:
                    rest[need] = max(rest[need], rest[name])
    return rest
