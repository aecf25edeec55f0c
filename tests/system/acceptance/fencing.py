"""A cluster whose site has fencing devices: stand-ins for power switches, which write down whom they switch off."""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.system.acceptance.conftest import SITE, SITE_PACKAGE, build_site
from tests.system.acceptance.formation import Cluster, is_at

DEVICES = ("fence_ha1", "fence_ha2")
SITE_OF_DEVICES = "".join(
    f'[[fencing.devices]]\nname = "fence_ha{number}"\nagent = "fence_standin"\nnodes = ["fiesta-ha{number}"]\n'
    'parameters = { outlet = "red" }\n'
    for number in (1, 2)
)
FENCED_SITE = re.sub(r"(?ms)^\[fencing\]\n.*?\n\n", f"{SITE_OF_DEVICES}\n", SITE.read_text())
STRUCK = "/root/struck"
AGENT = f"""#!/bin/sh
# A power switch that writes down whom it switches off.
action=reboot outlet= plug=
[ $# -eq 0 ] || action=$2
while [ $# -eq 0 ] && read -r line; do
    case $line in
        action=*) action=${{line#*=}} ;;
        outlet=*) outlet=${{line#*=}} ;;
        port=* | plug=*) plug=${{line#*=}} ;;
    esac
done
case $action in
    metadata)
        cat <<'END'
<?xml version="1.0" ?>
<resource-agent name="fence_standin" shortdesc="Stand-in for a power switch">
<longdesc>Stand-in for a power switch.</longdesc>
<vendor-url>https://www.clusterlabs.org</vendor-url>
<parameters>
<parameter name="action" required="1"><content type="string" default="reboot"/></parameter>
<parameter name="outlet" required="1"><content type="string"/></parameter>
<parameter name="plug" required="1"><content type="string"/></parameter>
</parameters>
<actions>
<action name="off"/><action name="reboot"/><action name="status"/><action name="monitor"/><action name="metadata"/>
</actions>
</resource-agent>
END
        ;;
    off | reboot) echo "$action $plug $outlet" >> {STRUCK} ;;
    status | monitor) ;;
    *) exit 1 ;;
esac
"""


@contextlib.contextmanager
def install_devices(cluster: Cluster, folder: Path) -> Iterator[Cluster]:
    """The cluster with a site that has devices, not loaded yet; afterwards it is as before."""
    package = build_site(FENCED_SITE, folder)
    cluster.wait_until_served()
    before = cluster.one.run("dpkg-query -W -f '${Version}' " + SITE_PACKAGE).stdout
    for machine in cluster.nodes:
        agent = machine.root / "opt/ha/sbin/fence_standin"
        agent.write_text(AGENT)
        agent.chmod(0o755)
        shutil.copy(package, machine.root / "root/site.deb")
        machine.run("apt-get install -y --allow-downgrades --reinstall /root/site.deb")
    yield cluster
    cluster.one.run("crm_attribute --name stonith-enabled --update false")
    for device in DEVICES:
        cluster.one.run(f"crm --force configure delete {device}_elsewhere; crm --force resource stop {device}")
        cluster.wait_until(functools.partial(is_at, cluster.one, device, ""), "end of the device")
        cluster.one.run(f"crm --force configure delete {device}")
    for machine in cluster.nodes:
        deb = next(Path(machine.root / "srv/apt/pool").rglob(f"{SITE_PACKAGE}_{before}_all.deb"))
        machine.run(f"apt-get install -y --allow-downgrades --reinstall /{deb.relative_to(machine.root)}")
        (machine.root / "opt/ha/sbin/fence_standin").unlink()
    cluster.wait_until_served()
    for machine in cluster.nodes:
        machine.run("ha-stack check", check=False)  # each tells the other what it has now, the first one too early
