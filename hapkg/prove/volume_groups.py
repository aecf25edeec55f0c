"""A volume group that both nodes use at once, as the site key `[lvm]` has pacemaker run it."""

from __future__ import annotations

import re

from hapkg.prove import probes
from hapkg.prove.runner import Scene

GROUP = "vgshared"
COMMANDS = f"""\
primitive lvmlockd ocf:heartbeat:lvmlockd \\
    op start interval=0 timeout=90s op stop interval=0 timeout=90s op monitor interval=30s timeout=90s
clone lvmlockd_clone lvmlockd meta interleave=true
colocation lvmlockd_with_dlm inf: lvmlockd_clone dlm_clone
order dlm_before_lvmlockd Mandatory: dlm_clone lvmlockd_clone
primitive vg_{GROUP} ocf:heartbeat:LVM-activate \\
    params vgname={GROUP} vg_access_mode=lvmlockd activation_mode=shared \\
    op start interval=0 timeout=90s op stop interval=0 timeout=90s op monitor interval=30s timeout=90s
clone vg_{GROUP}_clone vg_{GROUP} meta interleave=true
colocation vg_{GROUP}_with_lvmlockd inf: vg_{GROUP}_clone lvmlockd_clone
order lvmlockd_before_vg_{GROUP} Mandatory: lvmlockd_clone vg_{GROUP}_clone
"""
"""Lines of cluster.crm that a site with this group has more than the proof's; a test compares them."""
_CLONES = (f"vg_{GROUP}_clone", "lvmlockd_clone")


def share_volume_group(scene: Scene) -> None:
    """LVM on a DRBD volume that both nodes see, with what `[lvm] shared` writes: its locks are of the stack's DLM."""
    resource = scene.site.drbd[0]
    spare = max(resource.volumes, key=lambda volume: volume.number)
    device, volume = f"/dev/drbd{spare.minor}", f"{GROUP}/data"
    scene.run_on_both("cp -p /etc/lvm/lvm.conf /root/lvm.conf")
    # As docs/site.md says: a daemon that systemd started before is one that the agent never sets lvm.conf for.
    scene.run_on_both("systemctl disable --now lvmlockd lvmlocks", seconds=90)
    scene.put(scene.one, "/root/lvm.crm", COMMANDS.encode())
    scene.run(scene.one, "crm configure load update /root/lvm.crm", seconds=240, check=False)
    claim = "pacemaker runs lvmlockd on both"
    scene.wait(claim, lambda: probes.are_started(scene, "lvmlockd_clone"), seconds=240, pause=2)
    # As docs/site.md says: the group is made when its locks are there, on one node, then pacemaker looks again.
    create = f"vgcreate --shared {GROUP} {device} && lvcreate -q -y -W n -an -L 8M -n data {GROUP}"
    scene.run(scene.one, create, seconds=180)
    scene.run(scene.one, "crm_resource --refresh", seconds=180, check=False)
    scene.wait("the group is active on both", lambda: probes.are_started(scene, *_CLONES), seconds=240, pause=2)
    listed = scene.run(scene.two, "dlm_tool ls", check=False)
    spaces = [f"lvm_{GROUP}", "lvm_global"]
    whole = all(re.search(rf"name +{name}\n(?:(?!name ).*\n)*?members +1 2", listed) for name in spaces)
    scene.check("both nodes are in lvmlockd's lockspaces of the stack's DLM", whole, listed)

    scene.run(scene.one, f"echo shared by locks | dd of=/dev/{volume} bs=512 conv=sync oflag=direct")
    read = scene.run(scene.two, f"dd if=/dev/{volume} bs=512 count=1 iflag=direct 2>/dev/null | head -c 15")
    scene.check("shared, one reads what the other wrote", read == "shared by locks", read)
    scene.run(scene.one, f"crm --wait resource stop {_CLONES[0]}", seconds=300)
    scene.run_on_both(f"vgchange --lockstart {GROUP}", seconds=180)
    scene.run(scene.one, f"lvchange -aey {volume}")
    refused = scene.ask(scene.two, f"lvchange -aey {volume}")
    told = "LV locked by other host" in refused.output
    scene.check("a volume of one node alone is refused on the other", refused.status != 0 and told, refused.output)
    scene.run(scene.one, f"lvchange -an {volume}")
    scene.run(scene.two, f"lvchange -aey {volume} && lvchange -an {volume}")

    scene.run(scene.two, f"vgchange --lockstop {GROUP}")
    scene.run(scene.one, f"vgremove -q -y {GROUP} && pvremove -q -y {device}")
    stop = f"crm --wait resource stop {_CLONES[1]}; crm --force configure delete {' '.join(_CLONES)}"
    scene.run(scene.one, f"{stop} vg_{GROUP} lvmlockd; cibadmin --query --scope resources", seconds=400, check=False)
    left = scene.run(scene.one, "crm configure show", seconds=180)
    scene.check("pacemaker has nothing of it left", "lvmlockd" not in left and GROUP not in left, left)
    scene.run_on_both("mv /root/lvm.conf /etc/lvm/lvm.conf")

    def gone() -> probes.Observation:
        listed = "".join(scene.run_on_both("dlm_tool ls; pgrep -a lvmlockd", check=False))
        return "lvm" not in listed, listed

    scene.wait("nothing of it is left in the DLM", gone, seconds=60)
    scene.wait("the cluster is whole", lambda: probes.is_healthy(scene), seconds=240, pause=2)
