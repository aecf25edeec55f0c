"""Workers: what an order costs the coordinator and Dask's scheduler, and a small stack by 1, 2 and 3 workers.

    .venv/bin/python benchmarks/farm.py [--orders 500] [--bytes 59000] [--runs 3] [--suite bookworm] [--orders-alone]

Orders of that size go to four processes through TLS, and answers of a build's size come back: the processor time is
that of this process, in which scheduler and client both run. The miniature stack of the tests is built by this machine
alone and by workers that have base chroot and layers already, one job each, in the same run: all on the same cores, so
that the ratio says what the way through Dask and the build cache costs, not what machines bring.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from distributed import Client, LocalCluster
from tables import describe_machine, keep, make_table

from hapkg.chroot import schroot, sessions
from hapkg.control import Suite
from hapkg.farm.local import make_security
from hapkg.locations import State
from tests.support.farm import Farm, make_worker, start_scheduler
from tests.support.machine import Hapkg
from tests.support.miniature import Miniature, add_stack

SOURCES = ("one", "two", "three", "stack")


def main() -> None:
    """Measure both, and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=500)
    parser.add_argument("--bytes", type=int, default=59000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--orders-alone", action="store_true")
    options = parser.parse_args()
    wall, processor = measure_orders(options.orders, options.bytes)
    rows = [(f"{options.orders} orders of {options.bytes:,} bytes", f"{wall * 1000:.1f}", f"{processor * 1000:.1f}")]
    text = make_table(("", "ms an order", "ms of processor, scheduler and client"), rows)
    if not options.orders_alone:
        text += "\n" + make_table(("the miniature stack", "seconds", "÷ alone"), measure_stack(options))
    print(text)
    keep("farm", f"{text}\n{describe_machine()}\n")


def answer(order: bytes) -> tuple[int, bytes]:
    """Take an order, and give as much back as a build does."""
    return len(order), b"x" * 1500


def measure_orders(number: int, size: int) -> tuple[float, float]:
    """Seconds for each order: wall time, and processor time of scheduler and client."""
    with tempfile.TemporaryDirectory() as folder:
        security = make_security(Path(folder))
        with (
            LocalCluster(
                n_workers=4, threads_per_worker=2, protocol="tls://", security=security, dashboard_address=None
            ) as cluster,
            Client(cluster.scheduler_address, security=security) as client,
        ):
            client.gather([client.submit(answer, os.urandom(size), pure=False) for _ in range(16)])
            orders = [os.urandom(size) for _ in range(number)]
            wall, processor = time.monotonic(), time.process_time()
            futures = [client.submit(answer, order, pure=False, priority=-rank) for rank, order in enumerate(orders)]
            client.gather(futures)
            return (time.monotonic() - wall) / number, (time.process_time() - processor) / number


def measure_stack(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Rows of the miniature stack, by this machine alone and by workers."""
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hapkg-bench-", dir="/var/tmp")))
        place.chmod(0o755)
        project = Miniature.create(place / "project", suite=options.suite)
        add_stack(project)
        hapkg = Hapkg(project=project.root, cache=place / "cache", home=place / "home")
        workers = [make_worker(hapkg, place / f"worker-{number}") for number in range(3)]
        for program in (hapkg, *workers):
            stack.enter_context(cleared(program, options.suite))
        hapkg.succeed("build-all")
        alone = measure_run(hapkg, options.runs, "build-all")
        rows = [("this machine alone", f"{alone:.1f}", "1.00")]
        for number in (1, 2, 3):
            with start_scheduler(place) as address:
                farm = Farm(address=address, hapkg=hapkg)
                for worker in workers[:number]:
                    farm.start(worker)
                argv = ("build-all", "--scheduler", address, "--build-cache", str(place / "files"))
                measure_run(hapkg, 1, *argv)
                seconds = measure_run(hapkg, options.runs, *argv)
                farm.end()
            rows.append((f"{number} workers", f"{seconds:.1f}", f"{seconds / alone:.2f}"))
        return rows


def measure_run(hapkg: Hapkg, runs: int, *argv: str) -> float:
    """The median of the seconds that building all sources takes."""
    figures = []
    for _ in range(runs):
        hapkg.succeed("clean", *SOURCES)
        figures.append(hapkg.succeed(*argv).seconds)
    return statistics.median(figures)


@contextlib.contextmanager
def cleared(program: Hapkg, suite: str) -> Iterator[None]:
    """Take back, at the end, what schroot was told of a state folder."""
    try:
        yield
    finally:
        program.end()
        state = State(program.cache)
        sessions.reclaim(state)
        schroot.remove_chroot(state, Suite(suite))


if __name__ == "__main__":
    main()
