"""The real scheduler in simulated time on made graphs: how near it comes to what is possible, and what it costs.

    .venv/bin/python benchmarks/scale.py [--cache DIR] [--sources 16 100 1000] [--places 1 4 16 64] [--seed 1]

Each source of a made graph needs some that come before it, as the stack's do, and takes the seconds that a source of
the recorded runs took, picked at random. No schedule is shorter than the longest chain, nor than all work shared by the
places: efficiency is the larger of both, as a part of the schedule's length. Of the scheduler itself, the time is real.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from schedule import read_times
from tables import keep, make_table

from hapkg.build.timings import RunRecord
from hapkg.locations import State, find_state
from hapkg.records import read_record
from tests.support.simulation import Times, simulate

NEEDS = (0, 0, 1, 1, 2, 3, 5)
"""How many others a source needs: the stack's sources, roughly."""
NEAR = 40
"""How far before it they are."""


def main() -> None:
    """Simulate them all; print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--sources", type=int, nargs="+", default=[16, 100, 1000, 10000])
    parser.add_argument("--places", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    recorded = list_times(find_state(options.cache))
    chance = random.Random(options.seed)
    rows = []
    for number in options.sources:
        graph = make_graph(number, recorded, chance)
        longest, work = measure(graph)
        for places in options.places:
            begun = time.monotonic()
            seconds = simulate(graph, jobs=places)
            own = (time.monotonic() - begun) / number * 1000
            bound = max(longest, work / places)
            rows.append(
                (f"{number:,}", str(places), tell(seconds), tell(bound), f"{bound / seconds:.0%}", f"{own:.1f}")
            )
            print(" | ".join(rows[-1]), flush=True)
    head = ("sources", "places", "length", "at least", "efficiency", "scheduler, ms a source")
    keep("scale", f"{make_table(head, rows)}\n{len(recorded)} recorded builds, seed {options.seed}\n")


def list_times(state: State) -> list[Times]:
    """Times of every build that a run of the state folder recorded."""
    records = (read_record(file, RunRecord) for file in sorted(state.runs.glob("*.json")))
    return [times for record in records if record for times in read_times(record).values() if times.compile]


def make_graph(number: int, recorded: Sequence[Times], chance: random.Random) -> dict[str, Times]:
    """A graph of sources, each with the times of one that was recorded."""
    found: dict[str, Times] = {}
    for place in range(number):
        near = [f"ha-{other}" for other in range(max(0, place - NEAR), place)]
        needs = chance.sample(near, min(len(near), chance.choice(NEEDS)))
        times = chance.choice(recorded)
        found[f"ha-{place}"] = Times(
            needs=" ".join(needs), prepare=times.prepare, compile=times.compile, test=times.test, lint=times.lint
        )
    return found


def measure(graph: Mapping[str, Times]) -> tuple[float, float]:
    """Seconds of the longest chain, tests and lintian of its last source included, and of all work."""
    ends: dict[str, float] = {}
    longest = 0.0
    for name, times in graph.items():
        ends[name] = max((ends[need] for need in times.needs.split()), default=0.0) + times.prepare + times.compile
        longest = max(longest, ends[name] + max(times.test, times.lint))
    return longest, sum(times.prepare + times.compile + times.test + times.lint for times in graph.values())


def tell(seconds: float) -> str:
    """Minutes, or hours of many."""
    return f"{seconds / 60:.0f} min" if seconds < 36000 else f"{seconds / 3600:.0f} h"


if __name__ == "__main__":
    main()
