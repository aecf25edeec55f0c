"""One jobserver over several builds: who gets a token, and what happens to those of a dead build."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hapkg.jobserver import Jobserver, share


@pytest.mark.parametrize(
    ("cores", "builds", "changes"),
    [
        (4, [], []),
        (4, [(0, 0)], [1]),
        (4, [(1, 1)], [0]),
        (4, [(3, 0)], [0]),
        (4, [(3, 3)], [-2]),
        (4, [(0, 0), (0, 0)], [1, 1]),
        (3, [(0, 0), (0, 0)], [1, 0]),
        (3, [(0, 0), (1, 1)], [1, -1]),
        (3, [(1, 1), (0, 0)], [0, 0]),
        (2, [(1, 1), (0, 0)], [-1, 0]),
        (2, [(1, 0), (0, 0)], [0, 0]),
        (1, [(0, 0), (0, 0)], [0, 0]),
    ],
)
def test_tokens_go_where_they_are_used_and_never_exceed_the_cores(
    cores: int, builds: list[tuple[int, int]], changes: list[int]
) -> None:
    assert share(cores, builds) == changes


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def take(fifo: Path, tokens: int) -> None:
    """Take tokens as the jobs of a build do, one after the other, and keep them."""
    opened = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)

    def take_one() -> bool:
        with contextlib.suppress(BlockingIOError):
            return os.read(opened, 1) == b"+"
        return False

    try:
        for _ in range(tokens):
            wait_for(take_one)
    finally:
        os.close(opened)


def test_what_a_dead_build_held_goes_to_the_others(tmp_path: Path) -> None:
    with Jobserver(tmp_path, cores=5) as jobserver, jobserver.join() as living:
        with jobserver.join() as dying:
            take(tmp_path / dying, 2)  # two jobs of the build run, and it is killed
            wait_for(lambda: jobserver.count_out() == 3)  # and one lies ready for the first job of the other build
        take(tmp_path / living, 4)
        assert jobserver.count_out() == 4
    assert list(tmp_path.iterdir()) == []


def test_two_makes_together_run_as_many_jobs_as_there_are_cores(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    names = [f"t{number}" for number in range(8)]
    count = "mkdir $@; ls -d ../*/t* | wc -l >> ../counts; sleep 0.2; rmdir $@"
    text = f"all: {' '.join(names)}\n{' '.join(names)}:\n\t@{count}\n"
    with Jobserver(folder, cores=3) as jobserver, jobserver.join() as one, jobserver.join() as two:
        running = []
        for fifo in (one, two):
            place = tmp_path / fifo
            place.mkdir()
            (place / "Makefile").write_text(text)
            opened = [os.open(folder / fifo, os.O_RDWR) for _ in range(2)]
            flags = f" -j --jobserver-auth={opened[0]},{opened[1]}"
            running.append(
                subprocess.Popen(["make"], cwd=place, env={**os.environ, "MAKEFLAGS": flags}, pass_fds=opened)
            )
            for descriptor in opened:
                os.close(descriptor)
        assert [make.wait(60) for make in running] == [0, 0]
    counts = [int(line) for line in (tmp_path / "counts").read_text().split()]
    assert len(counts) == 16
    assert max(counts) == 3
