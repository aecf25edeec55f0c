"""Work of administrators on a cluster: try its parts by hand, add a volume, upgrade it, take it away."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

from hapkg.prove import probes
from hapkg.prove.formation import ETC, LV_MEGABYTES
from hapkg.prove.runner import Scene
from hapkg.prove.workload import check_file, list_acks, start_writers, stop_writers


def try_by_hand(scene: Scene) -> None:
    """dlm_controld and the mounts by hand, as the how-to tests them before pacemaker has them; then all is stopped."""
    filesystem = scene.site.gfs2[0]
    device, mount = scene.site.find_device(filesystem), filesystem.mount
    scene.run_on_both(
        "modprobe dlm && modprobe gfs2 && { mountpoint -q /sys/kernel/config || "
        "mount -t configfs configfs /sys/kernel/config; } && dlm_controld"
    )

    def joined() -> probes.Observation:
        told = "\n".join(scene.run_on_both("dlm_tool status 2>&1", check=False))
        members = [re.findall(r"^node (\d+) M", part, re.MULTILINE) for part in told.split("cluster nodeid")[1:]]
        return len(members) == 2 and all(len(ids) == 2 for ids in members), told

    scene.wait("dlm_tool status: both nodes are members", joined, seconds=120)
    log = scene.run(scene.one, "dlm_tool dump | grep protocol", check=False)
    scene.check("dlm_controld agreed with its peer on a protocol", "protocol" in log, log)
    scene.run(scene.one, f"mount -t gfs2 -o noatime {device} {mount}", seconds=180)
    scene.run(scene.two, f"mount -t gfs2 -o noatime {device} {mount}", seconds=180)
    for guest in scene.guests:
        scene.check(f"{guest.name} has mounted it", *probes.is_mounted(scene, guest))
        kernel = scene.run(guest, "dmesg | grep -iE 'gfs2|dlm'", check=False)
        scene.check(f"{guest.name}: Joined cluster", "Joined cluster" in kernel, kernel)
    first = "".join(scene.run_on_both("dmesg | grep 'first mount'", check=False))
    scene.check("first mount done, others may mount", "first mount done" in first, first)
    scene.run(scene.two, f"echo by hand > {mount}/by-hand && sync {mount}/by-hand")
    told = scene.run(scene.one, f"cat {mount}/by-hand")
    scene.check("a file of one node is read on the other", told.strip() == "by hand", told)
    listed = scene.run(scene.one, "dlm_tool ls")
    scene.check("dlm_tool ls: the lockspace has both nodes", re.search(r"members +1 2", listed) is not None, listed)
    scene.run_on_both(f"umount {mount}", seconds=180)
    wait = "for n in $(seq 60); do pidof dlm_controld >/dev/null || exit 0; sleep 0.5; done"
    stopped = scene.run_on_both(f"kill $(pidof dlm_controld); {wait}; exit 1", check=False)
    left = "".join(scene.run_on_both("pidof dlm_controld", check=False))
    scene.check("dlm_controld ends once nothing is mounted", not left.strip(), "\n".join(stopped))


def add_volume(scene: Scene) -> None:
    """A volume is added to the running resource under maintenance-mode, while both nodes write to another one."""
    resource = scene.site.drbd[0]
    mount = scene.site.gfs2[0].mount
    number = max(volume.number for volume in resource.volumes) + 1
    minor = max(volume.minor for r in scene.site.drbd for volume in r.volumes) + 1
    group = resource.volumes[0].disks[0].split("/")[2]
    disk = f"/dev/{group}/lvdrbd{number}"
    start_writers(scene, f"{mount}/volume", 600)
    scene.run(scene.one, "crm configure property maintenance-mode=true", seconds=180)
    stanza = f"volume {number} {{ device /dev/drbd{minor}; disk {disk}; meta-disk internal; }}"
    file = f"{ETC}/drbd.d/{resource.name}.res"
    edited = insert_volume(scene.run(scene.one, f"cat {file}"), stanza)
    for guest in scene.guests:
        scene.put(guest, file, edited.encode())
    scene.run_on_both(
        f"set -e; lvcreate -q -y -W n -n lvdrbd{number} -L {LV_MEGABYTES[-1]}M {group}; "
        f"drbdadm create-md --force {resource.name}/{number}; drbdadm adjust {resource.name}",
        seconds=180,
    )

    def connected() -> probes.Observation:
        told = scene.run(scene.one, "cat /proc/drbd")
        return re.search(rf"^ *{minor}: cs:Connected", told, re.MULTILINE) is not None, told

    scene.wait("the new volume is connected", connected, seconds=90)
    scene.run(scene.one, f"drbdadm primary --force {resource.name}/{number}")
    scene.added_volumes += 1
    scene.run(scene.two, f"drbdadm primary {resource.name}/{number}", check=False)
    scene.wait("the new volume is UpToDate on both sides", lambda: probes.is_replicated(scene), seconds=300, pause=2)
    scene.run(scene.one, "crm configure property maintenance-mode=false", seconds=180)
    scene.wait("the cluster is whole", lambda: probes.is_healthy(scene), seconds=240, pause=2)
    for guest in scene.guests:
        stop_writers(scene, guest)
    check_file(scene, scene.one, f"{mount}/volume", list_acks(scene))


def insert_volume(text: str, stanza: str) -> str:
    """A resource's file with one more volume, as an administrator writes it: before the hosts."""
    return re.sub(r"(?m)^(\s*on \S+ \{)", lambda match: f"        {stanza}\n{match[1]}", text, count=1)


def upgrade(scene: Scene) -> None:
    """ha-stack upgrade-node on one node after the other; the file system is served all the time."""
    mount, newest = scene.site.gfs2[0].mount, scene.facts["upgrade to"]
    sums = f"sha256sum {ETC}/corosync/authkey {ETC}/corosync/corosync.conf"
    before = scene.run_on_both(sums)
    for guest, other in (scene.guests, scene.guests[::-1]):
        start_writers(scene, f"{mount}/upgrade-{guest.name}", 1800, (other,))
        began = time.monotonic()
        scene.run(guest, "apt-get update -q")
        told = scene.run(guest, "ha-stack upgrade-node 2>&1", seconds=1500)
        version = scene.run(guest, "dpkg-query -W -f '${Version}' ha-stack")
        scene.check(f"{guest.name} runs ha-stack {newest}", version == newest, told)
        scene.facts[f"upgrade of {guest.name}"] = f"{time.monotonic() - began:.0f} s"
        scene.wait("the cluster is whole", lambda: probes.is_healthy(scene), seconds=300, pause=3)
        stop_writers(scene, other)
        check_file(scene, other, f"{mount}/upgrade-{guest.name}", list_acks(scene))
    scene.check("key and corosync.conf are as they were", before == scene.run_on_both(sums), "\n".join(before))


def purge(scene: Scene) -> None:
    """The stack is stopped, then taken away: nothing of the packages is left but what the cluster wrote."""
    refused = scene.ask(scene.two, "apt-get purge -y 'ha-*' 2>&1", seconds=300)
    told = refused.output
    scene.check("a node in its cluster is not removed", refused.status != 0 and "stop the cluster" in told, told)
    with ThreadPoolExecutor(2) as pool:
        stop = "service pacemaker stop && service corosync stop"
        list(pool.map(lambda guest: scene.run(guest, stop, seconds=400), scene.guests))
    look = "cat /proc/drbd; grep gfs2 /proc/mounts; pgrep -ax 'corosync|pacemaker.*|dlm_controld'"
    told = scene.run(scene.two, look, check=False)
    scene.check("nothing runs or is mounted", "cs:" not in told and "gfs2" not in told and "dlm_" not in told, told)
    outputs = scene.run_on_both("apt-get purge -y 'ha-*' 2>&1 && apt-get autoremove -y 2>&1", seconds=600)
    left = scene.run(scene.one, "dpkg -l 'ha-*'; find /opt/ha -type f | sort; command -v crm", check=False)
    scene.check(
        "no package is left", not re.search(r"^(ii|rc|iU|iF) ", left, re.MULTILINE), "\n".join((*outputs, left))
    )
    files = [line for line in left.splitlines() if line.startswith("/opt/ha/")]
    strange = [
        file
        for file in files
        if not re.match(rf"/opt/ha/(var|etc/corosync/authkey|etc/drbd\.d|sbin/fence_prove)|{ETC}/.*\.dpkg-", file)
    ]
    scene.check("what is left is what the cluster wrote", not strange, "\n".join(files))
