"""However a run ends, nothing of it goes on, and the next one starts as if nothing had happened."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.chroot.machine import (
    NOTHING,
    SUITE,
    Hapkg,
    Running,
    find_leftovers,
    find_processes,
    find_sessions,
    wait_until,
)
from tests.chroot.miniature import Miniature, make_plain_source

SLEEP = "sleep 7391"
"""What a build that never ends runs: no other process of the machine has this name."""


def make_sleepers(project: Miniature, *names: str) -> None:
    """Sources whose builds do not end."""
    for name in names:
        project.add(name, make_plain_source(build=[SLEEP]))


def count_asleep(chroot: str) -> int:
    """How many builds are in their sleep."""
    return sum(1 for process in find_processes(chroot) if process.partition(": ")[2].strip() == SLEEP)


@pytest.fixture
def asleep(hapkg: Hapkg, project: Miniature) -> Iterator[Running]:
    """A run with two builds that do not end, both compiling."""
    make_sleepers(project, "dozing", "snoring")
    running = hapkg.on(project.root).start("build-all", "--jobs", "2", "--no-lintian")
    chroot = hapkg.chroot
    wait_until(lambda: count_asleep(chroot) == 2, "two builds asleep", seconds=120)
    yield running
    if running.process.poll() is None:
        running.stop(signal.SIGTERM)


def test_ctrl_c_ends_every_build_at_once_and_a_second_hapkg_is_refused_until_then(
    hapkg: Hapkg, project: Miniature, asleep: Running
) -> None:
    second = hapkg.on(project.root).run("build-all")
    assert second.status == 12
    assert str(asleep.process.pid) in second.complaint.brief
    assert count_asleep(hapkg.chroot) == 2
    done = asleep.stop(signal.SIGINT)
    assert done.status == 130
    assert done.seconds < 15
    assert done.stderr.splitlines()[-1] == "stopped"
    assert "Traceback" not in done.stderr
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING


def test_sigterm_ends_a_build_that_compiles(hapkg: Hapkg, project: Miniature) -> None:
    make_sleepers(project, "dozing")
    running = hapkg.on(project.root).start("build", "dozing", "--no-lintian")
    running.wait_for("^ha-dozing: dependencies")
    ...


def test_sigterm_while_dependencies_are_installed_ends_apt_too(hapkg: Hapkg, project: Miniature) -> None:
    project.add("early", make_plain_source())
    running = hapkg.on(project.root).start("build", "early", "--no-lintian")
    log = hapkg.cache / "failed" / SUITE / "ha-early" / "build.log"
    wait_until(lambda: log.exists() and "Setting up" in log.read_text(), "package set up", seconds=60)
    done = running.stop(signal.SIGTERM)
    assert (done.status, done.stderr.splitlines()[-1]) == (130, "stopped")
    assert done.seconds < 15
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING


def test_a_killed_hapkg_takes_its_builds_along_and_the_next_run_clears_up(hapkg: Hapkg, project: Miniature) -> None:
    make_sleepers(project, "dozing")
    program = hapkg.on(project.root)
    chroot = hapkg.chroot
    running = program.start("build", "dozing", "--no-lintian")
    wait_until(lambda: count_asleep(chroot) == 1, "build asleep", seconds=120)
    assert running.stop(signal.SIGKILL).status == -signal.SIGKILL
    wait_until(lambda: find_processes(chroot) == [], "end of the killed run's processes", seconds=5)
    assert len(find_sessions(chroot)) == 1
    project.add("dozing", make_plain_source())
    assert program.succeed("build", "dozing", "--no-lintian", "--json").endings == {"ha-dozing": "built"}
    assert find_leftovers(chroot, hapkg.cache) == NOTHING
