"""A node that stops by itself, as administrators stop one: it leaves in order, and is fenced only when it cannot."""

from __future__ import annotations

import re

from hapkg.prove import probes
from hapkg.prove.faults import bring_back, lose
from hapkg.prove.runner import Scene
from hapkg.prove.vm import Guest
from hapkg.prove.workload import check_file, find_longest_gap, list_acks, read_acks, start_writers, stop_writers

_ORDER = (
    r"Stopping pacemaker\.service",
    r"Stopped pacemaker\.service",
    r"Stopping corosync\.service",
    r"Stopped corosync\.service",
)
_SLOW_SECONDS = 12
"""More than the patience that systemd is given below."""
HANGING = """#!/bin/sh
# A service that starts at once, and whose stop does not end.
case $1 in
    start) touch /run/hanging ;;
    status) [ -e /run/hanging ] || exit 3 ;;
    stop) [ ! -e /run/hanging ] || sleep 3600 ;;
esac
"""


def shut_down(scene: Scene) -> None:
    """A node is shut down while both write, and boots: it leaves in order, nobody is fenced, and it joins unasked."""
    path, before = f"{scene.site.gfs2[0].mount}/shutdown", len(scene.service.switched)
    keep = "mkdir -p /var/log/journal && systemctl restart systemd-journald && journalctl --flush"
    scene.run(scene.two, f"{keep} && systemctl enable corosync pacemaker")
    start_writers(scene, path, 1800)
    scene.run(scene.two, "systemctl poweroff --no-block")
    scene.wait(f"{scene.two.name} is off", lambda: (not scene.two.alive, "it still runs"), seconds=300)
    scene.wait(
        f"{scene.one.name} sees {scene.two.name} OFFLINE",
        lambda: probes.is_offline(scene, scene.one, scene.two),
        seconds=60,
    )
    told = scene.run(scene.one, "crm_mon -1 -r; stonith_admin --history '*' 2>&1", check=False)
    scene.check("it said good-bye: it is not unclean", "UNCLEAN" not in told, told)
    _end_writing(scene, path, before, "shutdown")
    took = bring_back(scene, scene.two, "shutdown", unasked=True)
    scene.facts["boot to whole"] = took
    # A guest's journal of before: the one with the shutdown.
    journal = scene.run(scene.two, "journalctl --no-pager -b -1 -o short-monotonic | tail -400", seconds=180)
    scene.check("pacemaker stopped before corosync did", is_in_order(journal), journal)
    forced = re.search(r"(corosync|pacemaker)\.service: .*(Killing|timed out|Failed with)", journal)
    scene.check("neither had to be killed", forced is None, journal)
    scene.run(scene.two, "systemctl disable corosync pacemaker")


def is_in_order(journal: str) -> bool:
    """True for a journal in which pacemaker had stopped before corosync began to."""
    places = [found.start() if (found := re.search(words, journal)) else -1 for words in _ORDER]
    return -1 not in places and places == sorted(places)


def restart_engine(scene: Scene) -> None:
    """systemctl restart corosync while the other node writes: pacemaker goes and comes with it, nobody is fenced."""
    path, before = f"{scene.site.gfs2[0].mount}/restart", len(scene.service.switched)
    look = "pidof corosync; pidof pacemakerd"
    old = scene.run(scene.two, look)
    start_writers(scene, path, 1800, (scene.one,))
    scene.run(scene.two, "systemctl restart corosync", seconds=400)
    scene.wait("the cluster is whole", lambda: probes.is_healthy(scene), seconds=400, pause=3)
    new = scene.run(scene.two, look)
    scene.check("both are new processes", not set(old.split()) & set(new.split()), f"{old}\n{new}")
    _end_writing(scene, path, before, "restart of corosync")


def stop_slowly(scene: Scene) -> None:
    """A stop that takes longer than systemd's patience with others is waited for."""
    path, before = f"{scene.site.gfs2[0].mount}/slow", len(scene.service.switched)
    drop = "/etc/systemd/system.conf.d/impatient.conf"
    scene.put(scene.two, drop, b"[Manager]\nDefaultTimeoutStopSec=5s\n")
    # A probe sleeps as long, and takes its patience from the monitor.
    limits = " ".join(
        f"op {name} timeout=120s" for name in ("start interval=0", "stop interval=0", "monitor interval=1h")
    )
    scene.run(scene.two, "systemctl daemon-reexec", seconds=240)
    _configure(
        scene,
        f"primitive slow ocf:pacemaker:Dummy params op_sleep={_SLOW_SECONDS} {limits}",
        f"location slow-there slow inf: {scene.two.name}",
    )
    scene.wait("the slow service runs", lambda: _runs_on_two(scene, scene.two, "slow"), seconds=240)
    start_writers(scene, path, 1800, (scene.one,))
    told = scene.run(scene.two, "time -p systemctl stop pacemaker; systemctl show -p Result pacemaker", seconds=600)
    scene.check("systemd waited for it", "Result=success" in told, told)
    told = scene.run(scene.one, "crm_mon -1 -r -f", check=False)
    scene.check("its stop did not fail", "slow_stop" not in told and "UNCLEAN" not in told, told)
    scene.run(scene.two, f"rm {drop}; systemctl daemon-reexec; service pacemaker start", seconds=240)
    scene.wait("the cluster is whole", lambda: probes.is_healthy(scene), seconds=400, pause=3)
    scene.run(scene.one, "crm --wait resource stop slow; crm configure delete slow-there slow", seconds=300)
    _end_writing(scene, path, before, "slow stop")


def hang_at_shutdown(scene: Scene) -> None:
    """A service's stop does not end while its node is shut down: the power switch ends the node."""
    for guest in scene.guests:
        scene.put(guest, "/etc/init.d/hanging", HANGING.encode(), "755")
    _configure(
        scene,
        "primitive hanging lsb:hanging op stop interval=0 timeout=15s",
        f"location hanging-there hanging -inf: {scene.one.name}",
    )
    scene.wait("the service that will hang runs", lambda: _runs_on_two(scene, scene.one, "hanging"), seconds=240)
    lose(scene, "hanging-stop", lambda: scene.two.run("systemctl poweroff --no-block"), killed=True)
    scene.run(scene.one, "crm --force configure delete hanging-there hanging", seconds=240)
    bring_back(scene, scene.two, "hanging-stop")


def _configure(scene: Scene, *lines: str) -> None:
    """Load lines of crm at once: a service never runs, not for a moment, where a later line forbids it."""
    scene.put(scene.one, "/root/more.crm", "".join(f"{line}\n" for line in lines).encode())
    # crm's status also tells of warnings.
    scene.run(scene.one, "crm configure load update /root/more.crm", seconds=240, check=False)


def _runs_on_two(scene: Scene, asked: Guest, resource: str) -> probes.Observation:
    told = scene.run(asked, f"crm_resource --resource {resource} --locate 2>&1", check=False)
    return f"is running on: {scene.two.name}" in told, told


def _end_writing(scene: Scene, path: str, before: int, name: str) -> None:
    """Stop the writers that are left: nobody was fenced meanwhile, and nothing is lost."""
    for guest in scene.guests:
        if guest.alive:
            stop_writers(scene, guest)
    scene.check("nobody was fenced", len(scene.service.switched) == before, str(scene.service.switched))
    gap = find_longest_gap(ack for ack in read_acks(scene)[0] if ack.path == path)
    scene.facts[f"writes stood still ({name})"] = round(gap, 1)
    check_file(scene, scene.one, path, list_acks(scene))
