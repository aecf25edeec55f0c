"""The last run of a state folder, by the real scheduler in simulated time: how long it would take with other places.

    .venv/bin/python benchmarks/schedule.py [--cache DIR] [--run NUMBER] [--jobs 2 4 8]

Every stage takes the seconds that were recorded, however many run beside it: what is simulated is who waits for whom. A
machine with more cores also compiles each source faster, which is left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tables import make_table

from hapkg.build.timings import RunRecord, pick_record
from hapkg.locations import find_state
from tests.support.simulation import Times, simulate

AHEAD = ("fetch", "layer", "source")


def read_times(record: RunRecord) -> dict[str, Times]:
    """Times of each source that was built."""
    built = {times.source: times for times in record.sources if times.ending == "built"}
    found = {}
    for name, times in built.items():
        seconds = times.sum(waiting=False)
        test, lint = seconds.pop("test", 0.0), seconds.pop("lint", 0.0)
        prepare = sum(seconds.pop(phase, 0.0) for phase in AHEAD)
        needs = " ".join(need for need in times.needs if need in built)
        found[name] = Times(needs=needs, prepare=prepare, compile=sum(seconds.values()), test=test, lint=lint)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", type=Path, help="whose records to use")
    parser.add_argument("--run", type=int, default=1)
    parser.add_argument("--jobs", type=int, nargs="*", default=[2, 4, 8])
    options = parser.parse_args()
    times = read_times(pick_record(find_state(options.cache), options.run))
    rows = []
    for jobs in options.jobs:
        before, now = (simulate(times, jobs=jobs, beside=beside) for beside in (False, True))
        rows.append((str(jobs), f"{before:.0f} s", f"{now:.0f} s", f"{now / before:.2f}"))
    print(make_table(("places", "tests before packages", "tests beside", "ratio"), rows))


if __name__ == "__main__":
    main()
