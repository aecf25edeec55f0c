"""Nodes are lost in the ways that nodes are, and come back. Each time the same must be so:

the lost one is switched off before the other writes on, nothing that was acknowledged is lost, and the cluster is whole
in the end, with the same files on both nodes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from hapkg.prove import probes
from hapkg.prove.formation import start_service
from hapkg.prove.runner import Scene
from hapkg.prove.vm import Guest
from hapkg.prove.workload import (
    check_file,
    find_longest_gap,
    list_acks,
    read_acks,
    start_writers,
    stop_writers,
    wait_for_service,
)


def lose_power(scene: Scene) -> None:
    """One node's plug is pulled while both write: the other makes sure that it is off, and goes on."""
    lose(scene, "power", scene.two.power_off)


def come_back(scene: Scene) -> None:
    """The node is switched on: it joins, resyncs, mounts, and has what was written meanwhile."""
    scene.facts["return"] = bring_back(scene, scene.two, "power")


def hang(scene: Scene) -> None:
    """One node hangs with all that it holds: it is really switched off, or it would wake up and write."""
    lose(scene, "hang", scene.two.freeze, killed=True)
    bring_back(scene, scene.two, "hang")


def lose_link(scene: Scene) -> None:
    """The cable is cut and both live: fencing decides, one goes on, and there is no split brain."""

    def cut() -> None:
        for guest in scene.guests:
            guest.cut_links(cut=True)

    lost = lose(scene, "link", cut, killed=True)
    scene.find_other(lost).cut_links(cut=False)
    bring_back(scene, lost, "link")


def lose_corosync(scene: Scene) -> None:
    """corosync is killed on one node, which goes on writing until the other switches it off."""
    lose(scene, "corosync", lambda: scene.two.run("kill -9 $(pidof corosync)"), killed=True)
    bring_back(scene, scene.two, "corosync")


def lose_disk(scene: Scene) -> None:
    """The disk below DRBD is pulled out of one node: its handler switches the node off."""
    lose(scene, "disk", scene.two.pull_disk)
    bring_back(scene, scene.two, "disk")


def lose_while_resyncing(scene: Scene) -> None:
    """A node that comes back loses power again in the middle of its resync."""
    mount = scene.site.gfs2[0].mount
    lose(scene, "resync", scene.two.power_off)
    scene.run(scene.one, f"dd if=/dev/urandom of={mount}/large bs=1M count=60 conv=fsync 2>&1", seconds=300)
    scene.two.boot(scene.allow(240))
    scene.run(scene.two, "\n".join(("set -e", start_service("corosync"), start_service("pacemaker"))), seconds=240)

    def resyncs() -> probes.Observation:
        told = scene.run(scene.one, "cat /proc/drbd")
        return "cs:SyncSource" in told, told

    scene.wait("the resync has begun", resyncs, seconds=300, pause=0.2)
    scene.two.power_off()
    scene.wait("it is lost again", lambda: probes.is_offline(scene, scene.one, scene.two), seconds=200)
    bring_back(scene, scene.two, "resync")


def jump_clock(scene: Scene) -> None:
    """The clock of one node jumps by an hour, there and back: nothing happens."""
    mount, before = scene.site.gfs2[0].mount, len(scene.service.switched)
    start_writers(scene, f"{mount}/clock", 600)
    for jump in ("+1 hour", "-1 hour"):
        scene.run(scene.two, f"date -s '{jump}'")
        time.sleep(20)
        scene.check(f"the cluster is whole {jump} later", *probes.is_healthy(scene))
    for guest in scene.guests:
        stop_writers(scene, guest)
    scene.check("nobody was fenced", len(scene.service.switched) == before, str(scene.service.switched))
    check_file(scene, scene.one, f"{mount}/clock", list_acks(scene))


def fill_disk(scene: Scene) -> None:
    """The root disk of one node is full for a minute: the cluster serves, and is whole afterwards."""
    mount, before = scene.site.gfs2[0].mount, len(scene.service.switched)
    start_writers(scene, f"{mount}/full", 600)
    told = scene.run(scene.two, "dd if=/dev/zero of=/fill bs=1M 2>&1; df / | tail -1", seconds=600, check=False)
    scene.check("the disk is full", "No space left" in told, told)
    time.sleep(45)
    told = scene.run(scene.two, "rm /fill; df / | tail -1")
    scene.wait("the cluster is whole", lambda: probes.is_healthy(scene), seconds=300, pause=3)
    for guest in scene.guests:
        stop_writers(scene, guest)
    scene.check("nobody was fenced", len(scene.service.switched) == before, str(scene.service.switched))
    check_file(scene, scene.one, f"{mount}/full", list_acks(scene))


def lose(scene: Scene, name: str, act: Callable[[], object], *, killed: bool = False) -> Guest:
    """Both nodes write, something happens to one of them; which one was lost.

    With killed the node was alive, and only the power switch can have ended it.
    """
    path = f"{scene.site.gfs2[0].mount}/{name}"
    start_writers(scene, path, 1800)
    before = [len(acks) for acks in read_acks(scene)]
    asked = len(scene.service.switched)
    act()
    happened = time.monotonic()
    survivor = wait_for_service(scene, asked, before, scene.allow(180))
    lost = scene.find_other(survivor)
    fenced = scene.service.switched[asked:]
    evidence = "\n".join(f"{when - happened:.1f} s after it happened: {who} {told}" for when, who, told in fenced)
    names = {who for _, who, _ in fenced}
    scene.check(f"{lost.name} was fenced before {survivor.name} wrote on", names == {lost.name}, evidence)
    if killed:
        scene.check("the power switch ended it", any(told == "killed" for _, _, told in fenced), evidence)
    scene.check(f"the process of {lost.name} is gone", not lost.alive, evidence)
    scene.facts.setdefault("fenced after", round(fenced[0][0] - happened, 1))
    scene.wait(
        f"{survivor.name} sees {lost.name} OFFLINE", lambda: probes.is_offline(scene, survivor, lost), seconds=60
    )
    told = scene.run(
        survivor, "stonith_admin --history '*' 2>&1; dmesg | grep -E 'GFS2|dlm: |drbd' | tail -30", check=False
    )
    scene.check("it keeps quorum", *probes.is_quorate(scene, survivor))
    scene.check("it keeps the file system", probes.is_mounted(scene, survivor)[0], told)
    time.sleep(3)
    stop_writers(scene, survivor)
    acks = read_acks(scene)
    gap = find_longest_gap(ack for ack in acks[scene.guests.index(survivor)] if ack.path == path)
    scene.facts["failover" if name == "power" else f"failover ({name})"] = round(gap, 1)
    scene.check(f"writes stood still for {gap:.1f} s", gap < scene.allow(120), evidence)
    check_file(scene, survivor, path, (*acks[0], *acks[1]))
    return lost


def bring_back(scene: Scene, back: Guest, name: str, *, unasked: bool = False) -> float:
    """Switch a lost node on and wait until the cluster is whole; how long that took.

    With unasked its services are enabled, and nobody starts them.
    """
    mount = scene.site.gfs2[0].mount
    other = scene.find_other(back)
    scene.run(other, f"dd if=/dev/urandom of={mount}/meanwhile bs=1M count=4 conv=fsync 2>&1", seconds=180)
    began = time.monotonic()
    back.boot(scene.allow(240))
    if not unasked:
        scene.run(back, "\n".join(("set -e", start_service("corosync"), start_service("pacemaker"))), seconds=240)
    scene.wait("the cluster is whole again", lambda: probes.is_healthy(scene), seconds=500, pause=3)
    took = round(time.monotonic() - began, 1)
    sums = scene.run_on_both(f"cd {mount} && sha256sum *", seconds=300)
    scene.check("both nodes read the same", sums[0] == sums[1], "\n".join(sums))
    check_file(scene, back, f"{mount}/{name}", list_acks(scene))
    constraints = scene.run(other, "cibadmin --query --scope constraints")
    scene.check("DRBD's handler took back its constraint", "drbd-fence-by-handler" not in constraints, constraints)
    return took
