"""The real scheduler in simulated time on made graphs: how near it comes to what is possible, and what it costs.

    .venv/bin/python benchmarks/scale.py [--cache DIR] [--sources 16 100 1000] [--places 1 4 16 64] [--seed 1]

Each source of a made graph needs some that come before it, as the stack's do, and takes the seconds that a source of
the recorded runs took, picked at random. In a wide graph it needs any of those, as an archive's sources do; in a tall
one only near ones: a stack that was piled up as far. A place compiles one source, and tests another one beside that.
No schedule is shorter than the longest chain, nor than all compiling, or all tests, shared by the places: efficiency is
the largest of the three, as a part of the schedule's length. Of the scheduler itself it is the time of the processor.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from schedule import read_times
from tables import keep, make_table

from hapkg.build.timings import RunRecord
from hapkg.locations import State, find_state
from hapkg.records import read_record
from tests.support.simulation import Times, make_graph_of, simulate

NEEDS = (0, 0, 1, 1, 2, 3, 5)
"""How many others a source needs: the stack's sources, roughly."""
NEAR = 40
"""How far before it they are at most, in a tall graph."""


def main() -> None:
    """Simulate them all; print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--sources", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--tall", type=int, nargs="*", default=[1000], help="sources of tall graphs")
    parser.add_argument("--places", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 256, 1000])
    parser.add_argument("--first", action="store_true", help="as a first run, which has no times to go by")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    recorded = list_times(find_state(options.cache))
    chance = random.Random(options.seed)
    rows = []
    for number, near in (*((number, None) for number in options.sources), *((number, NEAR) for number in options.tall)):
        sources = make_sources(number, recorded, chance, near or number)
        begun = time.process_time()
        graph = make_graph_of(sources)
        made = time.process_time() - begun
        bounds = measure(sources)
        for places in options.places:
            begun = time.process_time()
            seconds = simulate(sources, jobs=places, graph=graph, first=options.first)
            own = (time.process_time() - begun) / number * 1000
            least = [bounds[0], *(work / places for work in bounds[1:])]
            row = (
                f"{number:,} {'tall' if near else 'wide'}",
                f"{places:,}",
                *map(tell, (seconds, *least)),
                f"{max(least) / seconds:.0%}",
                f"{own:.2f}",
            )
            rows.append(row)
            print(" | ".join(row), flush=True)
        needs = sum(map(len, graph.needs.values())) / number
        print(f"needs of a source: {needs:.1f}; graph made in {made:.1f} s", flush=True)
    head = ("sources", "places", "length", "longest chain", "compiling ÷ places", "tests ÷ places", "efficiency")
    table = make_table((*head, "scheduler, ms a source"), rows)
    keep(
        "scale-first" if options.first else "scale", f"{table}\n{len(recorded)} recorded builds, seed {options.seed}\n"
    )


def list_times(state: State) -> list[Times]:
    """Times of every build that a run of the state folder recorded."""
    records = (read_record(file, RunRecord) for file in sorted(state.runs.glob("*.json")))
    return [times for record in records if record for times in read_times(record).values() if times.compile]


def make_sources(number: int, recorded: Sequence[Times], chance: random.Random, near: int) -> dict[str, Times]:
    """Sources that need some of those that come near before them, each with the times of one that was recorded."""
    found: dict[str, Times] = {}
    for place in range(number):
        before = range(max(0, place - near), place)
        needs = chance.sample(before, min(len(before), chance.choice(NEEDS)))
        words = " ".join(f"ha-{other}" for other in needs)
        found[f"ha-{place}"] = replace(chance.choice(recorded), needs=words)
    return found


def measure(sources: Mapping[str, Times]) -> tuple[float, float, float]:
    """Seconds of the longest chain, tests and lintian of its last source included, of all compiling and all tests."""
    ends: dict[str, float] = {}
    longest = 0.0
    for name, times in sources.items():
        ends[name] = max((ends[need] for need in times.needs.split()), default=0.0) + times.prepare + times.compile
        longest = max(longest, ends[name] + times.test + times.lint)
    return longest, sum(times.compile for times in sources.values()), sum(times.test for times in sources.values())


def tell(seconds: float) -> str:
    """Minutes, or hours."""
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    main()
