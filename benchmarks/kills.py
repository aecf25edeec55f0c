"""hapkg under hard ends and races, as the tests do it, only longer; both figures are kept in results/.

    .venv/bin/python benchmarks/kills.py [--kills 200] [--seconds 20]

The tests are those of test_kills.py: kill -9 at random moments of publish, rollback, promote, prune and refresh,
after each of which the repository must be whole and apt must read it; and `apt-get update` over HTTP against a publish
in a loop.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from tables import keep, make_table


def main() -> None:
    """Run both tests, print what they say of themselves, and keep it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-s",
            "-p",
            "no:cacheprovider",
            "tests/integration/repository/test_kills.py",
        ],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "HAPKG_KILLS": str(options.kills), "HAPKG_RACE_SECONDS": str(options.seconds)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(done.stdout)
    kills = re.search(r"(\d+) acts, (\d+) of them killed, (\d+) whole repositories", done.stdout)
    race = re.search(r"(\d+) updates, (\d+) publishes, none failed", done.stdout)
    assert kills, done.stdout
    assert race, done.stdout
    rows = [
        ("acts with a kill -9 at a random moment", kills[1]),
        ("… that fell before the act had ended", kills[2]),
        ("… whole repositories afterwards", kills[3]),
        (f"`apt-get update` over HTTP in a race of {options.seconds} s", race[1]),
        ("… publishes meanwhile", race[2]),
        ("… updates that failed", "0"),
    ]
    keep("kills", make_table(("figure", "measured"), rows))


if __name__ == "__main__":
    main()
