"""Nodes that come, go and are replaced while a service runs, by what ha-stack prints; and what ha-stack diff tells."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.acceptance.cluster import Machine
from tests.system.acceptance.conftest import SITE_PACKAGE, Stack, build_site, install_cluster
from tests.system.acceptance.fencing import AGENT, FENCED_SITE, install_devices
from tests.system.acceptance.formation import NAMES, Cluster, locate

ONE, TWO, THIRD = NAMES
DEB = "/root/wider.deb"
MORE = f"""[[nodes]]
name = "{THIRD}"
id = 3
addresses = ["192.168.132.13"]

[[fencing.devices]]
name = "fence_third"
agent = "fence_standin"
nodes = ["{THIRD}"]
parameters = {{ outlet = "red" }}

"""
WIDER = FENCED_SITE.replace("[[fencing.devices]]", f"{MORE}[[fencing.devices]]", 1)


@pytest.fixture(scope="module")
def fenced(bare_node: Path, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with a site that has devices, loaded. Its own: its nodes are emptied and made again."""
    with (
        install_cluster(bare_node, stack) as cluster,
        install_devices(cluster, tmp_path_factory.mktemp("narrow")) as made,
    ):
        made.one.run("ha-stack bootstrap --force")
        for machine in made.nodes:
            shutil.copy(machine.root / "root/site.deb", machine.root / "root/narrow.deb")
        yield made


def follow(cluster: Cluster, here: Machine, command: str) -> list[str]:
    """Do what a command of ha-stack prints as next, on the machines that it names, until nothing is: all of it."""
    machines = {machine.name: machine for machine in (cluster.one, cluster.two, cluster.stranger)}
    followed: list[str] = []
    for _ in range(5):
        told = here.run(command).stdout
        steps = re.findall(r"(?m)^next  (\S+): (.*)$", told)
        for where, line in steps:
            followed.append(f"{where}: {line}")
            if line.startswith("scp -p"):  # no sshd runs here
                source, _, target = line.removeprefix("scp -p ").partition(" root@")
                address, _, path = target.partition(":")
                receiver = next(machine for machine in machines.values() if machine.address == address)
                shutil.copy2(here.root / source[1:], receiver.root / path[1:])
            elif line.startswith("apt install"):
                packages = DEB if machines[where] is cluster.stranger else line.removeprefix("apt install")
                machines[where].run(f"apt-get install -y {packages}")
            elif line.startswith("apt purge"):
                machines[where].run(line.replace("apt purge", "apt-get purge -y"))
            elif line != command and not line.startswith("ha-stack status"):
                (here if where == "here" else machines[where]).run(line)
        if not steps:
            return followed
        wait_for_members(cluster)
        if command.startswith("ha-stack replace-node"):
            return followed
    raise AssertionError(f"{command} is never done: {followed}")


def wait_for_members(cluster: Cluster) -> None:
    """Wait until nobody is about to join or leave."""

    def is_settled() -> bool:
        running = [m for m in (cluster.one, cluster.two, cluster.stranger) if m.find("pacemakerd")]
        told = cluster.one.tell("crm_mon -1")
        return "pending" not in told and all(re.search(rf"Online: .* {m.name} ", told) for m in running)

    cluster.wait_until(is_settled, "members that stay")


def find_start(node: Machine) -> tuple[str, str]:
    """Where the service runs, and since when."""
    place = locate(node, "follower")
    state = node.run(f"cibadmin --query --xpath \"//node_state[@uname='{place}']//lrm_rsc_op[@id='follower_last_0']\"")
    changed = re.search(r'last-rc-change="(\d+)"', state.stdout)
    assert changed, state.stdout
    return place, changed[1]


def keep_service_here(cluster: Cluster) -> Machine:
    """The node that the service runs on, which stays while others come and go."""
    cluster.wait_until_served()
    return next(node for node in cluster.nodes if node.name == locate(cluster.one, "follower"))


def ask_diff(node: Machine) -> tuple[int, str]:
    done = node.run("ha-stack diff 2>&1", check=False)
    return done.returncode, done.stdout


def test_a_difference_is_told_in_both_directions(fenced: Cluster) -> None:
    node = fenced.one
    assert ask_diff(node) == (0, "the cluster runs what /opt/ha/etc/ha-stack/cluster.crm says, and nothing else\n")
    node.run(
        "crm configure primitive guest ocf:pacemaker:Dummy meta target-role=Stopped; crm configure delete "
        "state-then-follower; crm_resource --resource follower --set-parameter op_sleep --parameter-value 1; "
        "crm_attribute --name batch-limit --update 7; crm_attribute --node fiesta-ha2 --name rack --update a"
    )
    try:
        code, told = ask_diff(node)
        assert code == 1, told
        lines = told.splitlines()
        assert "- primitive guest ocf:pacemaker:Dummy \\" in lines
        assert "+ order state-then-follower Mandatory: state-clone:promote follower:start" in lines
        assert "- property batch-limit=7" in lines
        assert "- node fiesta-ha2 rack=a" in lines
        assert any(line.startswith("- ") and "op_sleep=1" in line for line in lines)
        assert "-> ha-stack bootstrap --force loads the lines with +" in lines
        names = {part["name"] for part in json.loads(node.tell("ha-stack diff --json"))["pacemaker"]}
        assert names == {"guest", "state-then-follower", "follower", "batch-limit", "fiesta-ha2 rack"}
    finally:
        node.run(
            "crm configure delete guest; crm_resource --resource follower --delete-parameter op_sleep; "
            "crm_attribute --name batch-limit --delete; crm_attribute --node fiesta-ha2 --name rack --delete"
        )
    node.run("ha-stack bootstrap --force")
    assert ask_diff(node)[0] == 0


def test_a_node_comes_and_goes_while_a_service_runs(fenced: Cluster, tmp_path: Path) -> None:
    here, third = keep_service_here(fenced), fenced.stranger
    refused = here.run(f"ha-stack add-node {THIRD} 2>&1", check=False)
    assert (refused.returncode, f"the site has no node {THIRD}" in refused.stdout) == (3, True)
    package = build_site(WIDER, tmp_path / "wider")
    for machine in (*fenced.nodes, third):
        shutil.copy(package, machine.root / DEB[1:])
    agent = third.root / "opt/ha/sbin/fence_standin"
    agent.write_text(AGENT)
    agent.chmod(0o755)
    before = find_start(here)

    here.run(f"apt-get install -y {DEB}")
    other = next(node for node in fenced.nodes if node is not here)
    refused = here.run(f"ha-stack add-node {THIRD} 2>&1", check=False)
    assert refused.returncode == 3
    assert f"on {other.name}: apt update && apt install {SITE_PACKAGE} && ha-stack check" in refused.stdout
    other.run(f"apt-get install -y {DEB}; ha-stack check", check=False)
    followed = follow(fenced, here, f"ha-stack add-node {THIRD}")
    assert f"{THIRD}: apt install ha-stack {SITE_PACKAGE}" in followed
    assert "here: ha-stack bootstrap" in followed
    flags = here.run("corosync-quorumtool -s").stdout
    assert "2Node" not in flags
    assert re.search(r"Total votes: +3\n", flags)
    assert locate(here, "fence_third") not in ("", THIRD)
    assert ask_diff(here)[0] == 0
    assert find_start(here) == before

    refused = here.run(f"ha-stack remove-node {THIRD} 2>&1", check=False)
    assert (refused.returncode, f"the site still names {THIRD}" in refused.stdout) == (3, True)
    for node in fenced.nodes:
        node.run("apt-get install -y --allow-downgrades /root/narrow.deb; ha-stack check", check=False)
    here.run("crm configure location likes-third follower 1: stranger")
    followed = follow(fenced, here, f"ha-stack remove-node {THIRD}")
    assert f"{THIRD}: apt purge 'ha-stack-site*'" in followed
    assert THIRD not in here.run("cibadmin --query --scope configuration").stdout
    assert THIRD not in here.run("corosync-cmapctl").stdout
    flags = here.run("corosync-quorumtool -s").stdout
    assert re.search(r"Total votes: +2\n", flags)
    assert "2Node" in flags
    assert ask_diff(here)[0] == 0
    assert find_start(here) == before
    agent.unlink()
    (third.root / "opt/ha/etc/corosync/authkey").unlink()


def test_a_lost_machine_is_replaced_by_an_empty_one(fenced: Cluster) -> None:
    here = keep_service_here(fenced)
    lost = next(node for node in fenced.nodes if node is not here)
    before = find_start(here)
    refused = here.run(f"ha-stack replace-node {lost.name} 2>&1", check=False)
    assert (refused.returncode, f"{lost.name} is online, in the cluster" in refused.stdout) == (3, True)
    lost.run("service pacemaker stop; service corosync stop; apt-get purge -y 'ha-*'; rm -rf /opt/ha")
    agent = lost.root / "opt/ha/sbin/fence_standin"
    agent.parent.mkdir(parents=True)
    agent.write_text(AGENT)
    agent.chmod(0o755)
    lines = here.run(f"ha-stack replace-node {lost.name}").stdout.splitlines()
    assert f"done  {lost.name} is off" in lines
    lost.run("apt-get install -y ha-stack; apt-get install -y /root/narrow.deb")
    follow(fenced, here, f"ha-stack replace-node {lost.name}")
    fenced.wait_until_served()
    assert ask_diff(here)[0] == 0
    assert find_start(here) == before
