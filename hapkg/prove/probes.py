"""Probes of a cluster from outside: the state that it should be in, and the words of its programs that show it."""

from __future__ import annotations

import re

from hapkg.prove.runner import Scene
from hapkg.prove.vm import Guest

Observation = tuple[bool, str]
"""An answer and its evidence."""


def are_online(scene: Scene) -> Observation:
    """Both nodes see both online, with quorum."""
    told = [scene.run(guest, "crm_mon -1 2>&1", check=False) for guest in scene.guests if guest.alive]
    good = all(f"Online: [ {scene.names} ]" in text and "partition with quorum" in text for text in told)
    return good and len(told) == len(scene.guests), "\n".join(told)


def is_offline(scene: Scene, guest: Guest, lost: Guest) -> Observation:
    """A node sees the other one OFFLINE, not only unclean."""
    told = scene.run(guest, "crm_mon -1 -r 2>&1", check=False)
    return f"OFFLINE: [ {lost.name} ]" in told, told


def is_quorate(scene: Scene, guest: Guest) -> Observation:
    """corosync's own word for it."""
    told = scene.run(guest, "corosync-quorumtool -s 2>&1", check=False)
    return bool(re.search(r"Quorate:\s+Yes", told)), told


def parse_drbd(text: str) -> tuple[tuple[str, str, str], ...]:
    """Connection, roles and disks of each minor, from /proc/drbd of a module of series 8."""
    return tuple(re.findall(r"^ *\d+: cs:(\S+) ro:(\S+) ds:(\S+)", text, re.MULTILINE))


def is_replicated(scene: Scene, roles: str = "Primary/Primary") -> Observation:
    """Every volume is connected, in these roles, and up to date on both sides."""
    count = sum(len(resource.volumes) for resource in scene.site.drbd) + scene.added_volumes
    told = scene.run(scene.one, "cat /proc/drbd", check=False)
    found = parse_drbd(told)
    wanted = {("Connected", role, "UpToDate/UpToDate") for role in {roles, "/".join(reversed(roles.split("/")))}}
    return len(found) == count and set(found) <= wanted, told


def is_mounted(scene: Scene, guest: Guest) -> Observation:
    """Every GFS2 of the site is mounted on a node."""
    told = scene.run(guest, "grep gfs2 /proc/mounts", check=False)
    return all(f" {filesystem.mount} gfs2 " in told for filesystem in scene.site.gfs2), told


def are_started(scene: Scene, *clones: str) -> Observation:
    """Pacemaker has started these clones on both nodes."""
    told = scene.run(scene.one, "crm_mon -1 -r 2>&1", check=False)
    started = (re.search(rf"Clone Set: {name} .*\n +\* Started: \[ {scene.names} \]", told) for name in clones)
    return all(started), told


def are_resources_up(scene: Scene) -> Observation:
    """Pacemaker has started every clone of the site on both nodes, and both have fencing for the other."""
    wanted = [f"fs_{filesystem.name}_clone" for filesystem in scene.site.gfs2]
    wanted += ["dlm_clone"] if scene.site.uses_dlm else []
    up, told = are_started(scene, *wanted)
    promoted = all(
        re.search(rf"Clone Set: ms_drbd_{resource.name} .*\n +\* Promoted: \[ {scene.names} \]", told)
        for resource in scene.site.drbd
        if resource.dual_primary
    )
    fencing = all(re.search(rf"\* {device.name}\s.*Started", told) for device in scene.site.fencing.devices)
    return up and promoted and fencing and "FAILED" not in told, told


def is_healthy(scene: Scene) -> Observation:
    """The cluster is as it should be: members, replication, resources, mounts."""
    looks = []
    for look in (are_online, are_resources_up, is_replicated):
        ok, evidence = look(scene)
        if not ok:
            return False, evidence
        looks.append(evidence)
    for guest in scene.guests:
        ok, evidence = is_mounted(scene, guest)
        if not ok:
            return False, f"{guest.name}:\n{evidence}"
        looks.append(evidence)
    return True, "\n".join(looks)
