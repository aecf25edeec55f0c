"""One jobserver over several builds: who gets a token, and what happens to those of a dead build."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hapkg.build.jobserver import Jobserver, share
from tests.support.samples import CHECKOUT


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


@pytest.fixture
def make(tmp_path: Path) -> Path:
    """make of a build chroot, which calls a program in the place of Debian's make that tells how it was called."""
    debian = tmp_path / "debian-make"
    debian.write_text(
        """#!/bin/sh
        printf '%s\n' "$*"
        printf '%s\n' "$MAKEFLAGS"
        for descriptor in $(printf '%s' "$MAKEFLAGS" | grep -o '[0-9]*,[0-9]*' | tr , ' '); do
            readlink "/proc/$$/fd/$descriptor" || true
        done
        """.replace("\n        ", "\n")
    )
    debian.chmod(0o755)
    ours = tmp_path / "make"
    ours.write_text((CHECKOUT / "hapkg/data/hapkg-make").read_text().replace("/usr/libexec/hapkg/make", str(debian)))
    ours.chmod(0o755)
    return ours


def call(make: Path, *arguments: str, **environment: str) -> list[str]:
    """Arguments and MAKEFLAGS that Debian's make gets, and the jobserver's two ends as it finds them open."""
    done = subprocess.run(
        [make, *arguments], env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "rest"),
    [
        (["-j4"], ""),
        (["-j", "4", "all"], "all"),
        (["--jobs=4", "-C", "lib", "all"], "-C lib all"),
        (["-C", "lib", "-j4", "CFLAGS=-O2 -g"], "-C lib CFLAGS=-O2 -g"),
    ],
)
def test_a_make_that_asks_for_jobs_gets_the_builds_fifo_instead(
    make: Path, tmp_path: Path, arguments: list[str], rest: str
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    passed, flags, *ends = call(make, *arguments, HAPKG_JOBS=str(fifo))
    assert passed == rest
    assert re.fullmatch(r" -j --jobserver-auth=[0-9]+,[0-9]+", flags)
    assert ends == [str(fifo)] * 2


def test_flags_and_variables_of_a_make_above_stay(make: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    _, flags, *ends = call(make, "-j4", HAPKG_JOBS=str(fifo), MAKEFLAGS="k -- V=1 W=2")
    assert re.fullmatch(r"k -j --jobserver-auth=[0-9]+,[0-9]+ -- V=1 W=2", flags)
    assert ends == [str(fifo)] * 2


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        (["all"], ""),
        (["-j1", "all"], ""),
        (["-j", "all"], ""),
        (["-j4", "all"], " -j4 --jobserver-auth=3,4"),
    ],
    ids=["none asked", "one asked", "no number", "below another make"],
)
def test_any_other_make_is_called_as_it_is(make: Path, tmp_path: Path, arguments: list[str], flags: str) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert call(make, *arguments, HAPKG_JOBS=str(fifo), MAKEFLAGS=flags)[:2] == [" ".join(arguments), flags]


@pytest.mark.parametrize("fifo", ["", "/nowhere/fifo", "/etc/passwd"])
def test_without_a_fifo_make_is_make(make: Path, fifo: str) -> None:
    assert call(make, "-j4", "all", HAPKG_JOBS=fifo) == ["-j4 all", ""]


def test_real_makes_below_each_other_take_from_the_fifo_and_give_back(make: Path, tmp_path: Path) -> None:
    make.write_text(make.read_text().replace(str(tmp_path / "debian-make"), "/usr/bin/make"))
    fifo, place = tmp_path / "fifo", tmp_path / "place"
    os.mkfifo(fifo)
    place.mkdir()
    names = [f"t{number}" for number in range(6)]
    together = "until [ `ls -d seen-* | wc -l` -ge 3 ]; do sleep 0.01; done"  # the first three wait for each other
    count = f"mkdir $@ seen-$@; ls -d t* | wc -l >> counts; {together}; rmdir $@"
    rules = f"all:\n\t+$(MAKE) below\nbelow: {' '.join(names)}\n{' '.join(names)}:\n\t@{count}\n"
    (place / "Makefile").write_text(rules)
    opened = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(opened, b"++")
        subprocess.run(
            [make, "-j8"], cwd=place, env={"PATH": os.environ["PATH"], "HAPKG_JOBS": str(fifo)}, check=True, timeout=60
        )
        assert max(map(int, (place / "counts").read_text().split())) == 3, "one of its own, and two tokens"
        assert os.read(opened, 9) == b"++"
    finally:
        os.close(opened)
