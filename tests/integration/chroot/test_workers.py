"""Sources built by workers: as on this machine, whatever ends in between."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hapkg.chroot import schroot, sessions
from hapkg.control import Suite
from hapkg.locations import State
from tests.support.farm import Farm, make_worker, start_scheduler
from tests.support.machine import NOTHING, SUITE, Done, Hapkg, count_asleep, find_leftovers, find_sessions, wait_until
from tests.support.miniature import SLEEP, Miniature, make_plain_source

RUN = ("build-all", "--no-lintian", "--json")


@pytest.fixture(scope="module")
def farm(hapkg: Hapkg, place: Path) -> Iterator[Farm]:
    """A scheduler without workers, and files that travel through a folder."""
    with start_scheduler(place) as address:
        farm = Farm(address=address, hapkg=hapkg)
        try:
            yield farm
        finally:
            farm.end()


@pytest.fixture(scope="module")
def known(hapkg: Hapkg, place: Path, seed: Path) -> Iterator[Hapkg]:
    """A worker whose base chroot is the coordinator's already."""
    worker = make_worker(hapkg, place / "known")
    subprocess.run(["cp", "-a", "--reflink=auto", str(seed), str(worker.cache)], check=True)
    shutil.rmtree(worker.cache / "builds", ignore_errors=True)
    schroot.write_configuration(State(worker.cache), Suite(SUITE))
    yield from _clear(worker)


@pytest.fixture(scope="module")
def fresh(hapkg: Hapkg, place: Path) -> Iterator[Hapkg]:
    """A worker that has nothing."""
    yield from _clear(make_worker(hapkg, place / "fresh"))


def _clear(worker: Hapkg) -> Iterator[Hapkg]:
    yield worker
    worker.end()
    state = State(worker.cache)
    sessions.reclaim(state)
    schroot.remove_chroot(state, Suite(SUITE))
    assert [str(file) for file in Path("/etc/schroot").rglob(f"*{name_chroot(worker)}*")] == []


def name_chroot(worker: Hapkg) -> str:
    """The name of a worker's base chroot in schroot's configuration."""
    return schroot.name_chroot(State(worker.cache), Suite(SUITE))


@pytest.fixture
def order(hapkg: Hapkg, project: Miniature) -> Hapkg:
    """The coordinator with a project of the test's own."""
    return hapkg.on(project.root)


@pytest.fixture(scope="module")
def far(farm: Farm, place: Path) -> tuple[str, ...]:
    """Words of a build by workers."""
    return (*RUN, "--scheduler", farm.address, "--build-cache", f"{place}/files")


def read_debs(program: Hapkg, done: Done) -> dict[str, bytes]:
    """Packages of a run by name."""
    folders = [program.folder(outcome) for outcome in done.outcomes.values()]
    return {deb.name: deb.read_bytes() for folder in folders for deb in folder.glob("*.deb")}


def test_a_fresh_worker_makes_the_packages_that_this_machine_makes(
    farm: Farm, far: tuple[str, ...], order: Hapkg, fresh: Hapkg, project: Miniature
) -> None:
    project.add("far-below", make_plain_source(check=["echo checked here"]))
    project.add("far-above", make_plain_source(), build_depends=["ha-far-below"])
    farm.start(fresh)
    try:
        done = order.succeed(*far)
        assert done.endings == {"ha-far-below": "built", "ha-far-above": "built"}
        found = read_debs(order, done)
        log = (order.folder(done.outcomes["ha-far-below"]) / "build.log").read_text()
        assert log.index("=== unpack") < log.index("=== test") < log.index("checked here")
        assert find_leftovers(name_chroot(fresh), fresh.cache) == NOTHING
        assert not (fresh.cache / "builds").exists(), "builds are the coordinator's"
        assert order.succeed(*far).endings == {
            "ha-far-below": "reused",
            "ha-far-above": "reused",
        }
    finally:
        farm.end()
    order.succeed("clean", "far-below", "far-above")
    own = order.succeed(*RUN)
    assert set(own.endings.values()) == {"built"}
    assert read_debs(order, own) == found


def test_a_failing_build_is_told_as_one_of_this_machine(
    farm: Farm, far: tuple[str, ...], order: Hapkg, known: Hapkg, project: Miniature
) -> None:
    project.add("far-wrong", make_plain_source(build=["echo this cannot be >&2", "false"]))
    project.add("far-beside", make_plain_source(check=["echo nor this", "false"]))
    project.add("far-on-top", make_plain_source(), build_depends=["ha-far-beside"])
    farm.start(known)
    try:
        done = order.run(*far, "--keep-going")
    finally:
        farm.end()
    assert done.status == 10
    assert done.endings == {"ha-far-wrong": "failed", "ha-far-beside": "failed", "ha-far-on-top": "skipped"}
    wrong, beside = done.outcomes["ha-far-wrong"], done.outcomes["ha-far-beside"]
    assert (wrong["fault"], beside["fault"]) == ("recipe", "recipe")
    assert str(known.cache) not in done.stderr, "paths are those of this machine"
    assert "this cannot be" in Path(wrong["log"]).read_text()
    assert "nor this" in order.succeed("logs", "far-beside").stdout
    again = order.run(*far, "--keep-going")
    assert again.status == 9, "no worker is left"
    assert "hapkg worker --scheduler" in again.complaint.hint
    assert find_leftovers(name_chroot(known), known.cache) == NOTHING


def test_another_worker_takes_over_from_one_that_is_killed(
    farm: Farm, far: tuple[str, ...], order: Hapkg, known: Hapkg, fresh: Hapkg, project: Miniature
) -> None:
    project.add("far-long", make_plain_source(build=["sleep 12"]))
    farm.start(known)
    running = order.start(*far)
    try:
        wait_until(lambda: find_sessions(name_chroot(known)) != [], "session", seconds=120)
        farm.start(fresh)
        farm.kill(known)
        done = running.finish()
        assert done.status == 0, done.stderr
        assert done.endings == {"ha-far-long": "built"}
        farm.start(known)  # what the dead one left is swept when its machine is back
        assert find_leftovers(name_chroot(known), known.cache) == NOTHING
    finally:
        running.end()
        farm.end()


def test_a_worker_compiles_one_source_while_it_tests_another(
    farm: Farm, far: tuple[str, ...], order: Hapkg, known: Hapkg, project: Miniature
) -> None:
    project.add("far-tested", make_plain_source(check=["sleep 40"]))
    project.add("far-second", make_plain_source(build=["sleep 4"]), build_depends=["ha-far-tested"])
    farm.start(known)  # it has one job
    running = order.start(*far)
    try:
        wait_until(lambda: len(find_sessions(name_chroot(known))) > 1, "second session", seconds=120)
        done = running.finish()
    finally:
        running.end()
        farm.end()
    assert done.endings == {"ha-far-tested": "built", "ha-far-second": "built"}
    assert find_leftovers(name_chroot(known), known.cache) == NOTHING


def test_a_worker_that_is_ended_while_it_tests_leaves_nothing(
    farm: Farm, far: tuple[str, ...], order: Hapkg, known: Hapkg, project: Miniature
) -> None:
    project.add("far-untested", make_plain_source(check=[SLEEP]))
    farm.start(known)
    running = order.start(*far)
    try:
        wait_until(lambda: count_asleep(name_chroot(known)) > 0, "endless test", seconds=120)
        farm.end()
        assert find_leftovers(name_chroot(known), known.cache) == NOTHING
        assert running.stop(signal.SIGINT).status == 130
    finally:
        running.end()
        farm.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_worker_is_free_again_when_its_coordinator_ends(
    farm: Farm, far: tuple[str, ...], order: Hapkg, known: Hapkg, project: Miniature, number: signal.Signals
) -> None:
    project.add("far-endless", make_plain_source(build=[SLEEP]))
    farm.start(known)
    running = order.start(*far)
    try:
        wait_until(lambda: count_asleep(name_chroot(known)) > 0, "endless build", seconds=120)
        done = running.stop(number)
        assert done.status == (130 if number is signal.SIGINT else -signal.SIGKILL)
        wait_until(lambda: find_leftovers(name_chroot(known), known.cache) == NOTHING, "free worker", seconds=60)
        shutil.rmtree(project.root / "recipes/far-endless")
        project.add(f"far-short-{number}", make_plain_source())
        again = order.succeed(*far)
        assert again.endings == {f"ha-far-short-{number}": "built"}
    finally:
        running.end()
        farm.end()


def test_a_worker_of_another_hapkg_gets_no_order(
    farm: Farm, far: tuple[str, ...], order: Hapkg, known: Hapkg, project: Miniature, tmp_path: Path
) -> None:
    shutil.copytree(Path(schroot.__file__).parents[1], tmp_path / "other/hapkg")
    (tmp_path / "other/hapkg/later.py").write_text("")
    farm.start(known, PYTHONPATH=str(tmp_path / "other"))
    project.add("far-other", make_plain_source())
    try:
        done = order.run(*far)
    finally:
        farm.end()
    assert done.status == 9
    assert "and the coordinator has" in done.complaint.brief
    assert done.outcomes["ha-far-other"]["fault"] == "machine"


@pytest.mark.parametrize(
    ("options", "status", "word"),
    [
        (("--scheduler", "nowhere"), 2, "no address of a scheduler"),
        (("--scheduler", "tcp://127.0.0.1:9"), 9, "cannot be reached"),
        (("--scheduler", "tcp://127.0.0.1:9", "--workers", "2"), 2, "contradict each other"),
    ],
)
def test_a_farm_that_is_none_is_said_to_be_none(
    order: Hapkg, project: Miniature, options: tuple[str, ...], status: int, word: str
) -> None:
    project.add("far-nowhere", make_plain_source())
    done = order.run(*RUN, "--build-cache", "files", *options)
    assert done.status == status
    assert word in done.complaint.brief


def test_files_need_a_place_that_all_reach(farm: Farm, hapkg: Hapkg, project: Miniature) -> None:
    project.add("far-placeless", make_plain_source())
    program = hapkg.on(project.root)
    assert "--build-cache" in program.run(*RUN, "--scheduler", farm.address).complaint.hint
    refused = program.run(*RUN, "--scheduler", farm.address, "--build-cache", "https://127.0.0.1:9/builds")
    assert refused.status == 2
    assert "only read" in refused.complaint.brief


def test_workers_on_this_machine_for_a_try(hapkg: Hapkg, project: Miniature) -> None:
    project.add("far-near", make_plain_source())
    program = hapkg.on(project.root)
    done = program.succeed(*RUN, "--workers", "1")
    assert done.endings == {"ha-far-near": "built"}
    assert not (hapkg.cache / "workers").exists()
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING
    assert json.loads(program.succeed("plan", "--json").stdout)[0]["action"] == "reuse"
