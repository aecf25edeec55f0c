"""Hard ends at any moment, and races: what apt sees is always a whole state."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hapkg.control import Suite
from hapkg.repository.change import PublishTarget
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.pruning import prune
from hapkg.repository.publishing import promote, publish, refresh, rollback
from hapkg.repository.snapshots import list_snapshots
from tests.support.packages import BOOKWORM, IDENTITY, Builds, Client, fork, serve, verify_here

KILLS = int(os.environ.get("HAPKG_KILLS", "12"))
"""benchmarks/README.md runs 200."""
TESTING = Suite("bookworm-testing")


def make_acts(site: PublishTarget, stacks: Builds, number: int) -> tuple[Callable[[], object], ...]:
    """The ways to change a repository, each of which changes it indeed."""

    def roll_back() -> object:
        held = list_snapshots(site.root, BOOKWORM)
        return rollback(site, BOOKWORM, held[-2].number if len(held) > 1 else held[-1].number)

    add = partial(publish, PublishTarget(root=site.root, identity=IDENTITY, choice=site.choice), [stacks(number)])
    return (
        add,
        partial(add, pocket="testing"),
        roll_back,
        partial(promote, site, TESTING, BOOKWORM),
        partial(prune, site, keep=1, days=0, at_once=True),
        partial(refresh, site),
    )


def test_kills_at_random_moments_leave_whole_repositories(
    root: Path, key: KeyChoice, stacks: Builds, client: Callable[[str], Client]
) -> None:
    site = PublishTarget(root=root, identity=IDENTITY, choice=key)
    for pocket in ("", "testing"):
        publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [stacks(1)], pocket=pocket)
    machine = client((root / "ha-stack-bookworm.sources").read_text())
    dice = random.Random(KILLS)
    spans = []  # how long each act takes here, left alone
    for number in range(2, 8):
        begun = time.monotonic()
        _, status = os.waitpid(fork(make_acts(site, stacks, number)[number % 6]), 0)
        spans.append(time.monotonic() - begun)
        assert os.waitstatus_to_exitcode(status) == 0, number
    killed = 0
    for number in range(8, KILLS + 8):
        pid = fork(make_acts(site, stacks, number)[number % 6])
        moment = dice.uniform(0, spans[(number - 2) % 6])
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert ended in (0, -signal.SIGKILL), (number, ended)
        if ended == -signal.SIGKILL:
            killed += 1
        else:
            spans[(number - 2) % 6] *= 0.7  # the machine is less busy than it was at first
        where = f"kill {number}, after {moment:.3f} s"
        assert verify_here(root).faults == (), where
        assert not machine.refuses(), where
        assert machine.candidate("ha-stack"), where
    print(f"{KILLS} acts, {killed} of them killed, {KILLS} whole repositories")
    assert killed > KILLS / 3
    publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [stacks(KILLS + 8)])
    prune(site, keep=1, days=0, at_once=True)
    report = verify_here(root)
    assert (report.faults, report.unfinished, report.surplus) == ((), (), ())
    assert machine.candidate("ha-stack")
    machine.update()
    assert machine.candidate("ha-stack") == f"1.2-{KILLS + 8}+ha12.0"
    assert not list((root / ".hapkg").glob("staging"))
    assert len(list((root / ".hapkg/incoming").iterdir())) == 0


def test_no_update_fails_while_a_suite_is_published_again_and_again(
    root: Path, key: KeyChoice, stacks: Builds, client: Callable[[str], Client]
) -> None:
    seconds = float(os.environ.get("HAPKG_RACE_SECONDS", "5"))
    with serve(root) as url:
        first = publish(PublishTarget(root=root, identity=IDENTITY, choice=key, url=url), [stacks(1)])
        machine = client(first.sources[0].read_text())
        stop = threading.Event()
        published = [1]

        def publish_on() -> None:
            while not stop.is_set():
                number = published[-1] + 1
                publish(PublishTarget(root=root, identity=IDENTITY, choice=key, url=url), [stacks(number)])
                published.append(number)

        publisher = threading.Thread(target=publish_on)
        publisher.start()
        try:
            updates = 0
            deadline = time.monotonic() + seconds
            # A busy machine does less in that time, and goes on until there was a race.
            while time.monotonic() < deadline or (publisher.is_alive() and min(updates, len(published)) < 3):
                machine.update()
                updates += 1
        finally:
            stop.set()
            publisher.join()
        machine.update()
    print(f"{updates} updates, {len(published)} publishes, none failed")
    assert updates > 2
    assert len(published) > 2
    assert machine.candidate("ha-stack") == f"1.2-{published[-1]}+ha12.0"
