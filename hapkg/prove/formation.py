"""Two empty machines become a cluster, as a reader of the how-to makes one."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

from hapkg.locations import DATA
from hapkg.prove import probes
from hapkg.prove.runner import Scene
from hapkg.prove.vm import SERVICE, Guest
from hapkg.site.files import describe_site

ETC = "/opt/ha/etc"
_LOG = (
    "Corosync Cluster Engine",
    "Initializing transport (Kronosnet)",
    "Service engine loaded: corosync configuration map access",
    "Service engine loaded: corosync cluster closed process group service",
    "Service engine loaded: corosync vote quorum service",
    "Service engine loaded: corosync cluster quorum service",
    "A new membership",
    "Completed service synchronization, ready to provide service",
    "This node is within the primary component and will provide service",
)
"""Lines of corosync's log as it starts, in this order."""
_MOST_BOOT_SECONDS = 400
_USUAL_BOOT_SECONDS = 50
"""With two emulated machines on two idle cores."""
LV_MEGABYTES = (160, 32, 32)
"""Sizes of the volumes, and of one that is added later."""


def boot(scene: Scene) -> None:
    """Two machines with Debian's kernel, their addresses, and volume groups for DRBD."""
    for guest in scene.guests:  # here and not in threads of the pool: a machine ends with the thread that started it
        guest.power_on()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda guest: guest.boot(_MOST_BOOT_SECONDS), scene.guests))
    scene.slowness = max(1.0, min(4.0, scene.elapsed / _USUAL_BOOT_SECONDS))
    hosts = "".join(f"{node.addresses[0]} {node.name}\n" for node in scene.site.nodes)
    disks = [volume.disks[0].split("/") for resource in scene.site.drbd for volume in resource.volumes]
    groups = sorted({parts[2] for parts in disks})
    script = f"cat >> /etc/hosts <<'END'\n{hosts}END\npvcreate -q /dev/vdb && vgcreate -q {groups[0]} /dev/vdb\n"
    for (*_, name), size in zip(disks, LV_MEGABYTES, strict=False):
        script += f"lvcreate -q -y -W n -n {name} -L {size}M {groups[0]}\n"
    scene.run_on_both("set -e\n" + script)
    for guest, other in (scene.guests, reversed(scene.guests)):
        address = scene.site.find_node(other.name).addresses[0]
        told = scene.run(guest, f"hostname; uname -r; ping -c 2 -i 0.3 -W 5 {address}", check=False)
        scene.check(f"{guest.name} reaches {other.name} over their link", "2 received" in told, told)
        refused = scene.ask(guest, "python3 -c 'import socket; socket.create_connection((\"10.0.2.2\", 22), 3)'")
        scene.check(f"{guest.name} reaches nothing of the host but its service", refused.status != 0, refused.output)
    scene.facts["kernel"] = scene.run(scene.one, "uname -r").strip()


def install(scene: Scene) -> None:
    """apt install ha-stack ha-stack-site, from the published repository alone."""
    text = re.sub(r"(?m)^URIs:.*$", f"URIs: http://{SERVICE}/repository", scene.sources)
    for guest in scene.guests:
        scene.put(guest, "/etc/apt/sources.list.d/ha-stack.sources", text.encode())
    names = [*(f"{name}={version}" for name, version in scene.older.items()), "ha-stack-site"]
    packages = " ".join((*(names if scene.older else ("ha-stack", "ha-stack-site")), scene.module)).strip()
    told = scene.run_on_both(f"apt-get update && apt-get install -y {packages}", seconds=900)
    for guest, output in zip(scene.guests, told, strict=True):
        scene.check(f"apt installs the stack on {guest.name}", "Setting up ha-stack-site" in output, output)
        versions = scene.run(guest, "dpkg-query -W -f '${Package} ${Version}\\n' 'ha-*'")
        scene.facts.setdefault("versions", dict(w for line in versions.splitlines() if len(w := line.split()) == 2))
        facts = json.loads(scene.run(guest, f"cat {ETC}/ha-stack/site.json"))
        same = {key: facts.get(key) for key in describe_site(scene.site)} == describe_site(scene.site)
        scene.check("the published ha-stack-site is the site of this proof", same, json.dumps(facts, indent=1))
        told_state = scene.run(guest, "systemctl is-active corosync pacemaker; ss -Hlnu 'sport 5405'", check=False)
        scene.check("nothing of it runs yet", told_state.split() == ["inactive", "inactive"], told_state)
        scene.put(guest, "/opt/ha/sbin/fence_prove", (DATA / "fence_prove").read_bytes(), "755")
        scene.put(guest, "/usr/local/lib/prove_writer.py", (DATA / "prove_writer.py").read_bytes())
        listed = scene.run(guest, "fence_prove -o metadata | head -2; fence_prove -o list", check=False)
        scene.check(f"{guest.name} reaches the power switch", all(g.name in listed for g in scene.guests), listed)


def keys(scene: Scene) -> None:
    """ha-stack keygen on one node, and a copy of the key to the other."""
    first = scene.ask(scene.one, "ha-stack check", seconds=240)
    scene.check("ha-stack check misses the key and says how to make it", "keygen" in first.output, first.output)
    scene.run(scene.one, "ha-stack keygen")
    encoded = scene.run(scene.one, f"base64 -w0 {ETC}/corosync/authkey")
    scene.run(
        scene.two,
        f"base64 -d | install -m 400 /dev/stdin {ETC}/corosync/authkey",
        stdin=encoded.encode(),
    )
    sums = scene.run_on_both(f"sha256sum {ETC}/corosync/authkey; stat -c '%a %U' {ETC}/corosync/authkey")
    scene.check("both nodes have the same key, for root alone", sums[0] == sums[1] and "400 root" in sums[0], sums[0])


def start(scene: Scene) -> None:
    """service corosync start, service pacemaker start, on both: one cluster with quorum."""
    scene.run_on_both(start_service("corosync"), seconds=180)
    scene.wait("corosync has quorum", lambda: probes.is_quorate(scene, scene.one), seconds=120)
    told = scene.run(scene.one, "corosync-quorumtool -s; corosync-cfgtool -s")
    flags = re.search(r"Flags:\s+2Node Quorate WaitForAll", told) is not None
    scene.check("Flags: 2Node Quorate WaitForAll", flags, told)
    scene.run_on_both(start_service("pacemaker"), seconds=180)
    scene.wait("both nodes are Online for both", lambda: probes.are_online(scene), seconds=240)
    # Pacemaker starts one thing at a time on a machine with a high load, and emulated ones always have that.
    for name, value in (("load-threshold", "800%"), ("node-action-limit", "8")):
        scene.run(scene.one, f"crm_attribute --type crm_config --name {name} --update {value}")
    log = scene.run(scene.one, "cat /var/log/corosync.log")
    places = [log.find(text) for text in _LOG]
    missing = [text for text, place in zip(_LOG, places, strict=True) if place < 0]
    evidence = "\n".join([*(f"missing: {text}" for text in missing), *log.splitlines()[:60]])
    scene.check("corosync's log tells its start in order", not missing and places == sorted(places), evidence)


def start_service(name: str) -> str:
    """A script that starts a service. On a host that is too busy systemctl may lose its answer, and is asked again."""
    return f"service {name} start || {{ sleep 5; service {name} start; }}"


def replicate(scene: Scene) -> None:
    """DRBD: create-md, up, primary --force once, both UpToDate, both primary."""
    resources = _drbd(scene)
    scene.run_on_both(f"modprobe drbd; drbdadm create-md --force {resources} 2>&1 && drbdadm up {resources}")
    if scene.module:
        for guest in scene.guests:
            check_module(scene, guest)
    count = sum(len(resource.volumes) for resource in scene.site.drbd)

    def connected() -> probes.Observation:
        told = scene.run(scene.one, "cat /proc/drbd")
        return told.count("cs:Connected ro:Secondary/Secondary") == count, told

    scene.wait("both nodes are connected", connected, seconds=90)
    scene.run(scene.one, f"drbdadm primary --force {_drbd(scene)}", seconds=120)
    replicated = scene.wait(
        "both sides of every volume are UpToDate",
        lambda: probes.is_replicated(scene, "Primary/Secondary"),
        seconds=600,
        pause=2,
    )
    scene.facts["first sync"] = round(replicated, 1)
    scene.run(scene.two, f"drbdadm primary {_drbd(scene)}")
    scene.check("both nodes are Primary", *probes.is_replicated(scene))
    version = scene.run(scene.one, "head -2 /proc/drbd")
    scene.facts["drbd module"] = version.splitlines()[0]


def check_module(scene: Scene, guest: Guest) -> None:
    """The DRBD that runs is the one of module-assistant's package, not the kernel's own."""
    shipped = f"realpath $(dpkg-query --listfiles {scene.module} | grep '/drbd[.]ko')"
    looked = "realpath $(modinfo -F filename drbd); cat /sys/module/drbd/srcversion; modinfo -F srcversion drbd"
    own, found, *versions = scene.run(guest, f"{shipped}; {looked}").split()
    same = own == found and len(set(versions)) == 1
    scene.check(
        f"the module of {scene.module} runs on {guest.name}", same, scene.run(guest, "modinfo drbd; cat /proc/drbd")
    )


def make_filesystems(scene: Scene) -> None:
    """mkfs.gfs2 with the lock table of this cluster, as the site says."""
    for command in (step["command"] for step in describe_site(scene.site)["prepare"]):
        if command.startswith("mkfs"):
            told = scene.run(scene.one, command.replace("mkfs.gfs2", "mkfs.gfs2 -O"), seconds=300)
            table = re.search(r"-t (\S+)", command)
            fields = ("Device:", "Block size:", "Journals:", "Locking protocol:", "Lock table:", "UUID:")
            shown = all(name in told for name in fields) and table is not None and f'"{table[1]}"' in told
            scene.check("mkfs.gfs2 shows the fields of the how-to, and its lock table", shown, told)


def hand_over(scene: Scene) -> None:
    """Stop what was started by hand; ha-stack bootstrap loads what pacemaker runs, and that starts all, in order."""
    for guest in scene.guests:  # not both at once: either may refuse that the other one leaves while it leaves itself
        scene.run(guest, f"drbdadm down {_drbd(scene)}")
    told = scene.run(scene.one, "ha-stack bootstrap", seconds=600)
    scene.check("ha-stack bootstrap loads the site", "loaded" in told, told)
    follow_start(scene)


def follow_start(scene: Scene) -> None:
    """Pacemaker starts what was loaded: everything comes up, in order, and the kernels say so."""
    waited = scene.wait("pacemaker started everything", lambda: probes.are_resources_up(scene), seconds=500, pause=3)
    scene.facts["resources up"] = round(waited, 1)
    scene.wait("the cluster is whole", lambda: probes.is_healthy(scene), seconds=120)
    for guest in scene.guests:
        check_order(scene, guest)
        kernel = scene.run(guest, "dmesg | grep -E 'GFS2|gfs2|dlm: '", check=False)
        scene.check(f"the kernel of {guest.name} joined the file system's cluster", "Joined cluster" in kernel, kernel)
    both = scene.run_on_both("dmesg | grep 'first mount'", check=False)
    scene.check("one of them mounted first", "first mount done" in "".join(both), "\n".join(both))
    told = scene.run(scene.two, "ha-stack check 2>&1; ha-stack status", seconds=300, check=False)
    scene.check("ha-stack status names both nodes", all(guest.name in told for guest in scene.guests), told)


def check_order(scene: Scene, guest: Guest) -> None:
    """Pacemaker's log tells that DRBD was promoted first, then DLM started, then the file system."""
    log = scene.run(guest, "grep -h 'Result of' /opt/ha/var/log/pacemaker/pacemaker.log", check=False)
    wanted = [
        f"Result of promote operation for drbd_{r.name} " for r in scene.site.drbd if r.name in scene.site.mounted
    ]
    wanted += ["Result of start operation for dlm ", f"Result of start operation for fs_{scene.site.gfs2[0].name} "]
    places = [log.find(text) for text in wanted]
    good = -1 not in places and places == sorted(places)
    scene.check(f"{guest.name}: DRBD promoted, then DLM, then the file system", good, log)


def _drbd(scene: Scene) -> str:
    return " ".join(resource.name for resource in scene.site.drbd)
