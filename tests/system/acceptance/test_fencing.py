"""Fencing devices of a site file in a cluster that runs: loaded, checked, and used on a node that is lost."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.acceptance.conftest import SITE, SITE_PACKAGE, Stack, build_site
from tests.system.acceptance.formation import Cluster, is_at, locate, start

DEVICES = ("fence_ha1", "fence_ha2")
SITE_OF_DEVICES = "".join(
    f'[[fencing.devices]]\nname = "fence_ha{number}"\nagent = "fence_standin"\nnodes = ["fiesta-ha{number}"]\n'
    'parameters = { outlet = "red" }\n'
    for number in (1, 2)
)
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


@pytest.fixture(scope="module")
def fenced(cluster: Cluster, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster with a site that has devices, not loaded yet; afterwards it is as before."""
    text = re.sub(r"(?ms)^\[fencing\]\n.*?\n\n", f"{SITE_OF_DEVICES}\n", SITE.read_text())
    package = build_site(text, tmp_path_factory.mktemp("fenced"))
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
        machine.run("ha-stack check")  # each tells the other what it has now


def test_devices_of_a_site_are_loaded_when_it_is_asked_for(fenced: Cluster) -> None:
    asked = fenced.one.run("ha-stack bootstrap 2>&1", check=False)
    assert asked.returncode == 3
    assert "stonith-enabled" in asked.stdout
    (found,) = (f for f in json.loads(fenced.one.tell("ha-stack check --json")) if f["check"] == "fencing")
    assert found["level"] == "FAIL"
    assert "ha-stack bootstrap" in found["remedy"]
    told = fenced.one.run("ha-stack bootstrap --force").stdout
    assert all(device in told for device in DEVICES)
    for number, device in enumerate(DEVICES, 1):
        place = f"fiesta-ha{3 - number}"  # never on the node that it switches off
        fenced.wait_until(functools.partial(is_at, fenced.one, device, place), f"{device} on {place}")
    for machine in fenced.nodes:
        (found,) = (f for f in json.loads(machine.tell("ha-stack check --json")) if f["check"] == "fencing")
        assert (found["level"], found["found"]) == ("ok", "by fence_ha1, fence_ha2")
    assert "nothing to do" in fenced.two.run("ha-stack bootstrap").stdout


def test_a_lost_node_is_switched_off_by_its_device_alone(fenced: Cluster) -> None:
    one, two = fenced.nodes
    struck = one.root / STRUCK[1:]
    assert not struck.exists()
    two.run("kill -9 $(pidof corosync)")
    fenced.wait_until(lambda: struck.exists() and struck.read_text().endswith("\n"), "act of the device")
    assert struck.read_text() == "reboot fiesta-ha2 red\n"
    fenced.wait_until(lambda: locate(one, "follower") == one.name, "follower on the node left")
    assert not (two.root / STRUCK[1:]).exists()
    two.run("service pacemaker stop; service corosync stop", check=False)
    start(two)
    fenced.wait_until_served()
    assert struck.read_text() == "reboot fiesta-ha2 red\n"
    struck.unlink()
