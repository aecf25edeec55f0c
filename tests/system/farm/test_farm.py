"""A farm of three workers that are killed, cut off and full: nothing lost, nothing built wrongly (`make farm`)."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import shutil
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hapkg.chroot import schroot, sessions
from hapkg.control import Suite
from hapkg.locations import State
from tests.support.farm import DASK, Farm, make_worker, start_scheduler
from tests.support.machine import NOTHING, SUITE, Done, Hapkg, find_leftovers, find_sessions, wait_until
from tests.support.miniature import CHECKOUT, Miniature, add_stack, make_plain_source

SEED = 20131
RUNS = 10
CUT = "192.168.141.0/30"
HERE, THERE = "192.168.141.1", "192.168.141.2"


@dataclass(frozen=True, kw_only=True)
class Field:
    """A farm with three workers, and the stack as this machine builds it alone."""

    farm: Farm
    hapkg: Hapkg
    workers: tuple[Hapkg, ...]
    place: Path
    own: dict[str, bytes]

    @property
    def run(self) -> tuple[str, ...]:
        """Words of a build by the workers."""
        return ("build-all", "--json", "--scheduler", self.farm.address, "--build-cache", str(self.place / "files"))


def read_debs(hapkg: Hapkg, done: Done) -> dict[str, bytes]:
    """Packages of a run by name."""
    folders = [hapkg.folder(outcome) for outcome in done.outcomes.values()]
    return {deb.name: deb.read_bytes() for folder in folders for deb in folder.glob("*.deb")}


def name_chroot(worker: Hapkg) -> str:
    """The name of a worker's base chroot in schroot's configuration."""
    return schroot.name_chroot(State(worker.cache), Suite(SUITE))


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hapkg-test-", dir="/var/tmp")))
        place.chmod(0o755)
        project = Miniature.create(place / "project", suite=SUITE)
        add_stack(project)
        hapkg = Hapkg(project=project.root, cache=place / "cache", home=place / "home")
        workers = tuple(make_worker(hapkg, place / f"worker-{number}") for number in range(3))
        for program in (hapkg, *workers):
            stack.callback(remove_state, program)
        own = read_debs(hapkg, hapkg.succeed("build-all", "--json"))
        for worker in workers:  # with all that builds need: namespaces do not reach the archive
            subprocess.run(["cp", "-a", "--reflink=auto", str(hapkg.cache), str(worker.cache)], check=True)
            shutil.rmtree(worker.cache / "builds")
            schroot.write_configuration(State(worker.cache), Suite(SUITE))
        address = stack.enter_context(start_scheduler(place))
        farm = Farm(address=address, hapkg=hapkg)
        stack.callback(farm.end)
        yield Field(farm=farm, hapkg=hapkg, workers=workers, place=place, own=own)


def remove_state(program: Hapkg) -> None:
    """Take back what schroot was told of a state folder."""
    program.end()
    state = State(program.cache)
    sessions.reclaim(state)
    schroot.remove_chroot(state, Suite(SUITE))


def clean(field: Field) -> None:
    """Forget all builds."""
    field.hapkg.succeed("clean", "one", "two", "three", "stack")


def test_a_worker_is_killed_at_a_random_moment_of_each_run(field: Field) -> None:
    chance = random.Random(SEED)
    for worker in field.workers:
        field.farm.start(worker)
    clean(field)
    begun = time.monotonic()
    assert read_debs(field.hapkg, field.hapkg.succeed(*field.run)) == field.own
    length = time.monotonic() - begun
    for number in range(RUNS):
        clean(field)
        victim = chance.choice(field.workers)
        running = field.hapkg.start(*field.run)
        time.sleep(chance.uniform(0.1, 0.9) * length)
        field.farm.kill(victim)
        time.sleep(chance.uniform(0, 5))
        field.farm.start(victim)
        done = running.finish()
        assert done.status == 0, f"run {number}: {done.stderr}"
        assert set(done.endings.values()) == {"built"}
        assert read_debs(field.hapkg, done) == field.own
        for worker in field.workers:
            wait_until(
                lambda: find_leftovers(name_chroot(worker), worker.cache) == NOTHING,  # noqa: B023 - at once
                f"{worker.cache.name} without sessions",
                seconds=60,
            )
    field.farm.end()


@pytest.fixture
def cable() -> Iterator[tuple[str, ...]]:
    """A network namespace with a cable to this one; the command that enters it."""
    for line in (
        "ip netns add hapkg-far",
        "ip link add hapkg-near type veth peer name eth0 netns hapkg-far",
        f"ip address add {HERE}/30 dev hapkg-near",
        "ip link set hapkg-near up",
        f"ip netns exec hapkg-far ip address add {THERE}/30 dev eth0",
        "ip netns exec hapkg-far ip link set eth0 up",
        "ip netns exec hapkg-far ip link set lo up",
    ):
        subprocess.run(line.split(), check=True)
    yield ("ip", "netns", "exec", "hapkg-far")
    subprocess.run(["ip", "netns", "delete", "hapkg-far"], check=True)


def test_a_cut_network_moves_the_order_and_a_healed_one_brings_the_worker_back(
    field: Field, cable: tuple[str, ...]
) -> None:
    far, near = field.workers[0], field.workers[1]
    project = Miniature.create(field.place / "cut", suite=SUITE)
    project.add("cut-long", make_plain_source(build=["sleep 20"]))
    hapkg = field.hapkg.on(project.root)
    with start_scheduler(field.place, HERE) as address:
        farm = Farm(address=address, hapkg=hapkg)
        quick = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "15s"}
        farm.start(far, within=cable, **quick)
        running = hapkg.start(
            "build-all", "--json", "--scheduler", address, "--build-cache", str(field.place / "files"), **quick
        )
        try:
            wait_until(lambda: find_sessions(name_chroot(far)) != [], "session of the far worker", seconds=180)
            farm.start(near, **quick)
            subprocess.run(["ip", "link", "set", "hapkg-near", "down"], check=True)
            done = running.finish()
            assert done.status == 0, done.stderr
            assert done.endings == {"ha-cut-long": "built"}
            wait_until(
                lambda: find_leftovers(name_chroot(far), far.cache) == NOTHING, "end of the lost build", seconds=120
            )
            told = farm.running[far.cache.name].stderr
            before = told.read_text().count("takes orders")
            subprocess.run(["ip", "link", "set", "hapkg-near", "up"], check=True)
            wait_until(lambda: told.read_text().count("takes orders") > before, "return of the worker", seconds=180)
        finally:
            running.end()
            farm.end()


def test_an_order_leaves_a_worker_whose_disk_is_full(field: Field) -> None:
    full, good = make_worker(field.hapkg, field.place / "full"), field.workers[2]
    full.cache.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=50m", "hapkg-full", str(full.cache)], check=True)
    project = Miniature.create(field.place / "full-project", suite=SUITE)
    project.add("full-one", make_plain_source())
    project.add("full-two", make_plain_source())
    hapkg = field.hapkg.on(project.root)
    try:
        field.farm.start(full)
        refused = hapkg.run(*field.run)
        assert refused.status == 9, refused.stderr
        assert {outcome.get("fault") for outcome in refused.outcomes.values()} <= {"machine", None}
        assert any("the disk is full" in complaint.brief for complaint in refused.complaints), refused.stderr
        field.farm.start(good)
        done = hapkg.succeed(*field.run)
        assert set(done.endings.values()) == {"built"}
    finally:
        field.farm.end()
        remove_state(full)
        subprocess.run(["umount", str(full.cache)], check=True)
        shutil.rmtree(full.cache)


GUIDE = CHECKOUT / "docs/workers.md"
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")


def read_block(start: str) -> str:
    """An indented block of the guide, by its first line."""
    lines = GUIDE.read_text("utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.strip().startswith(start))
    depth = len(lines[first]) - len(lines[first].lstrip())
    block = itertools.takewhile(lambda line: not line.strip() or line.startswith(" " * depth), lines[first:])
    return textwrap.dedent("\n".join(block)).strip() + "\n"


@pytest.fixture
def machines() -> Iterator[tuple[tuple[str, ...], ...]]:
    """Three network namespaces on one switch, with the guide's addresses; the commands that enter them."""
    names = [f"hapkg-farm{number}" for number in range(len(ADDRESSES))]
    subprocess.run(["ip", "link", "add", "hapkg-switch", "type", "bridge"], check=True)
    subprocess.run(["ip", "link", "set", "hapkg-switch", "up"], check=True)
    try:
        for name, address in zip(names, ADDRESSES, strict=True):
            for line in (
                f"ip netns add {name}",
                f"ip link add {name} type veth peer name eth0 netns {name}",
                f"ip link set {name} master hapkg-switch up",
                f"ip netns exec {name} ip address add {address}/24 dev eth0",
                f"ip netns exec {name} ip link set eth0 up",
                f"ip netns exec {name} ip link set lo up",
            ):
                subprocess.run(line.split(), check=True)
        yield tuple(("ip", "netns", "exec", name) for name in names)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)
        subprocess.run(["ip", "link", "delete", "hapkg-switch"], check=True)


def test_the_guide_makes_a_farm_of_three_machines(field: Field, machines: tuple[tuple[str, ...], ...]) -> None:
    """docs/workers.md, step by step: its certificate, its configuration, its commands, in three namespaces."""
    here, *there = machines
    secrets = field.place / "etc"
    secrets.mkdir()
    subprocess.run(["sh", "-ec", read_block("openssl req")], cwd=secrets, check=True)
    configuration = read_block("distributed:").replace("/etc/hapkg", str(secrets))
    for program in (field.hapkg, *field.workers[:2]):
        (program.home / ".config/dask").mkdir(parents=True)
        (program.home / ".config/dask/hapkg.yaml").write_text(configuration)
    clean(field)
    command = re.search("`dask (scheduler --protocol tls [^`]+)`", GUIDE.read_text("utf-8"))
    address = re.search("`hapkg worker --scheduler ([^` ]+)`", GUIDE.read_text("utf-8"))
    assert command is not None
    assert address is not None
    argv = [*here, str(DASK), *command[1].split(), "--no-dashboard"]
    log = field.place / "guide.log"
    environment = {**os.environ, "HOME": str(field.hapkg.home)}
    with log.open("wb") as out, subprocess.Popen(argv, stdout=out, stderr=out, env=environment) as scheduler:
        try:
            wait_until(lambda: b"Scheduler at:" in log.read_bytes(), "scheduler", seconds=60, evidence=log.read_text)
            farm = Farm(address=address[1], hapkg=field.hapkg)
            for worker, within in zip(field.workers, there, strict=False):
                farm.start(worker, within=within)
            words = ("build-all", "--json", "--scheduler", address[1], "--build-cache", str(field.place / "files"))
            done = field.hapkg.run(*words, within=here)
            assert done.status == 0, done.stderr
            assert read_debs(field.hapkg, done) == field.own
            assert "note: whoever" not in done.stderr, "the way is encrypted"
            outsider = make_worker(field.hapkg, field.place / "outsider")
            clean(field)
            refused = outsider.run("worker", "--scheduler", address[1], within=there[0])
            assert refused.status == 9
            assert "cannot speak to" in refused.complaint.brief, "who has no certificate gets no order"
            farm.end()
        finally:
            scheduler.terminate()
