"""Writers on the nodes, and the rule that a cluster must not break: no acknowledged write is lost."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hapkg.errors import ProofError
from hapkg.prove import probes
from hapkg.prove.runner import Scene
from hapkg.prove.vm import Guest


@dataclass(frozen=True, kw_only=True)
class Ack:
    """One record that was written, synced, and told to the host."""

    node: str
    number: int
    milliseconds: int
    """By the clock of its node, which only counts forward."""
    path: str


def parse_acks(text: str) -> tuple[Ack, ...]:
    """Acknowledgements in the output of a writer. A last line that was cut off counts for nothing: it was not told."""
    found = []
    for line in text.splitlines(keepends=True):
        words = line.split()
        if line.endswith("\n") and len(words) == 4 and words[1].isdigit() and words[2].isdigit():
            found.append(Ack(node=words[0], number=int(words[1]), milliseconds=int(words[2]), path=words[3]))
    return tuple(found)


def find_lost(acks: Iterable[Ack], content: str) -> tuple[Ack, ...]:
    """The acknowledged records that a file does not have."""
    there = set(content.splitlines())
    return tuple(ack for ack in acks if f"{ack.node} {ack.number}" not in there)


def find_damage(content: str) -> tuple[str, ...]:
    """Lines of a file that no writer wrote so, or that stand there twice."""
    seen: set[str] = set()
    damaged = []
    for line in content.splitlines():
        words = line.split(" ")
        if len(words) != 2 or not words[1].isdigit() or line in seen:
            damaged.append(line)
        seen.add(line)
    return tuple(damaged)


def find_longest_gap(acks: Iterable[Ack]) -> float:
    """The longest time in seconds that one node's writer waited for an acknowledgement."""
    times = [ack.milliseconds for ack in acks]
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0) / 1000


def share(scene: Scene) -> None:
    """A file written on one node is read on the other; writers on both nodes lose nothing under locks."""
    mount = scene.site.gfs2[0].mount
    scene.run(scene.one, f"echo hello from $(hostname) > {mount}/hello && sync {mount}/hello")
    told = scene.run(scene.two, f"cat {mount}/hello")
    scene.check("a file of one node is read on the other", told.strip() == f"hello from {scene.one.name}", told)
    before = read_acks(scene)
    with ThreadPoolExecutor(2) as pool:
        writer = f"python3 /usr/local/lib/prove_writer.py {mount}/shared 15 0.05"
        list(pool.map(lambda guest: scene.run(guest, writer, seconds=180), scene.guests))
    acks = tuple(tuple(mine[len(old) :]) for mine, old in zip(read_acks(scene), before, strict=True))
    check_file(scene, scene.one, f"{mount}/shared", (*acks[0], *acks[1]))
    counts = ", ".join(f"{guest.name} {len(mine)}" for guest, mine in zip(scene.guests, acks, strict=True))
    scene.check("both wrote at the same time, under locks", all(len(mine) > 5 for mine in acks), counts)


def read_acks(scene: Scene) -> tuple[tuple[Ack, ...], tuple[Ack, ...]]:
    """All writes that each node's writers told to the host so far."""
    one, two = (parse_acks((g.plan.folder / f"{g.name}.acks").read_text("utf-8", "replace")) for g in scene.guests)
    return one, two


def list_acks(scene: Scene) -> tuple[Ack, ...]:
    """Acknowledged writes of both nodes so far."""
    one, two = read_acks(scene)
    return (*one, *two)


def check_file(scene: Scene, guest: Guest, path: str, acks: tuple[Ack, ...]) -> None:
    """No acknowledged record of a file is lost, and none is damaged."""
    mine = tuple(ack for ack in acks if ack.path == path)
    content = scene.run(guest, f"cat {path}", seconds=180)
    lost, damage = find_lost(mine, content), find_damage(content)
    evidence = (
        f"{len(mine)} acknowledged, {len(content.splitlines())} in the file; lost: {lost[:10]}; damaged: {damage[:10]}"
    )
    scene.check(f"no acknowledged write of {path} is lost", bool(mine) and not lost and not damage, evidence)


def start_writers(scene: Scene, path: str, seconds: int, guests: Sequence[Guest] = ()) -> None:
    """Nodes, left out: both, write in the background; returns when each has writes acknowledged."""
    guests = guests or scene.guests
    before = read_acks(scene)
    unit = f"systemd-run -q --collect python3 /usr/local/lib/prove_writer.py {path} {seconds}"
    for guest in guests:
        scene.run(guest, f"rm -f /run/prove-writer.stop; {unit}")

    def write() -> probes.Observation:
        news = zip(scene.guests, before, read_acks(scene), strict=True)
        counts = {guest.name: len(now) - len(old) for guest, old, now in news if guest in guests}
        return all(count > 5 for count in counts.values()), f"writes acknowledged: {counts}"

    scene.wait(f"{' and '.join(guest.name for guest in guests)} write", write, seconds=90)


def stop_writers(scene: Scene, guest: Guest) -> None:
    """End a node's writer and wait for it."""
    scene.run(guest, "touch /run/prove-writer.stop; while pgrep -f '[p]rove_writer' >/dev/null; do sleep 0.5; done")


def wait_for_service(scene: Scene, asked: int, before: Sequence[int], seconds: float) -> Guest:
    """Wait until a node was fenced and another one writes again; which one that is.

    asked counts what the power switch was asked before, before the writes of each node at that time. Raises ProofError.
    """
    deadline = time.monotonic() + seconds
    counts: list[int] = list(before)
    while time.monotonic() < deadline:
        fenced = {name for _, name, _ in scene.service.switched[asked:]}
        now = [len(acks) for acks in read_acks(scene)]
        if fenced:
            for guest, count, last in zip(scene.guests, now, counts, strict=True):
                if guest.name not in fenced and count > last:
                    return guest
        else:
            counts = now
        time.sleep(0.1)
    state = "\n".join(
        scene.run(guest, "crm_mon -1 -rf; cat /proc/drbd; dlm_tool ls; dlm_tool status", check=False)
        for guest in scene.guests
        if guest.alive
    )
    switched = [entry[1:] for entry in scene.service.switched[asked:]]
    raise ProofError(
        f"nobody writes {seconds:.0f} s after a node was lost; the power switch: {switched or 'was not asked'}",
        details=state.splitlines(),
    )
