"""However a run ends, nothing of it goes on, and the next one starts as if nothing had happened."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine import (
    NOTHING,
    SUITE,
    Hapkg,
    Running,
    count_asleep,
    find_configuration,
    find_leftovers,
    find_mounts,
    find_processes,
    find_sessions,
    wait_until,
)
from tests.support.miniature import Miniature, make_plain_source, make_sleeper


@pytest.fixture
def asleep(hapkg: Hapkg, project: Miniature) -> Iterator[Running]:
    """A run with two builds that do not end, both compiling."""
    project.add("dozing", make_sleeper())
    project.add("snoring", make_sleeper())
    running = hapkg.on(project.root).start("build-all", "--jobs", "2", "--no-lintian")
    wait_until(lambda: count_asleep(hapkg.chroot) == 2, "two builds asleep", seconds=300)
    yield running
    running.end()


def test_a_second_hapkg_is_refused_and_ctrl_c_ends_the_first_with_all_its_builds(
    hapkg: Hapkg, project: Miniature, asleep: Running
) -> None:
    second = hapkg.on(project.root).run("build-all")
    assert second.status == 12
    assert str(asleep.process.pid) in second.complaint.brief
    assert count_asleep(hapkg.chroot) == 2
    done = asleep.stop(signal.SIGINT)
    assert done.status == 130
    assert done.seconds < 60
    assert "Traceback" not in done.stderr
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING


def test_sigterm_while_dependencies_are_installed_ends_apt_too(hapkg: Hapkg, project: Miniature) -> None:
    project.add("early", make_plain_source(), build_depends=["libglib2.0-dev"])  # no layer of other tests has it
    running = hapkg.on(project.root).start("build", "early", "--no-lintian")
    log = hapkg.cache / "failed" / SUITE / "ha-early" / "build.log"
    wait_until(lambda: log.exists() and "Setting up" in log.read_text(), "package set up", seconds=300)
    done = running.stop(signal.SIGTERM)
    assert done.status == 130
    assert done.seconds < 60
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING


def test_a_killed_hapkg_takes_its_builds_along_and_the_next_run_clears_up(hapkg: Hapkg, project: Miniature) -> None:
    project.add("dozing", make_sleeper())
    program = hapkg.on(project.root)
    running = program.start("build", "dozing", "--no-lintian")
    wait_until(lambda: count_asleep(hapkg.chroot) == 1, "build asleep", seconds=300)
    assert running.stop(signal.SIGKILL).status == -signal.SIGKILL
    wait_until(lambda: find_processes(hapkg.chroot) == [], "end of the killed run's processes", seconds=60)
    assert len(find_sessions(hapkg.chroot)) == 1
    project.add("dozing", make_plain_source())
    assert program.succeed("build", "dozing", "--no-lintian", "--json").endings == {"ha-dozing": "built"}
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_chroot_create_leaves_no_process_mount_or_configuration(
    hapkg: Hapkg, place: Path, number: signal.Signals
) -> None:
    cache = place / "unfinished"
    program = Hapkg(project=hapkg.project, cache=cache, home=hapkg.home)
    running = program.start("chroot", "create")
    root = cache / "chroots" / f".new-{SUITE}" / "root"
    wait_until((root / "var/lib/dpkg/status").exists, "package unpacked", seconds=300)
    done = running.stop(number)
    assert done.status == (130 if number == signal.SIGTERM else -number)
    assert done.seconds < 60
    wait_until(lambda: find_processes(str(root)) == [], "end of mmdebstrap", seconds=60)
    assert find_mounts(str(cache)) == []
    assert find_configuration(cache) == []
    assert program.succeed("chroot", "list", "--json").stdout.strip() == "[]"
    program.succeed("clean")
    assert list((cache / "chroots").iterdir()) == []
    shutil.rmtree(cache)
