"""Two nodes that install the published stack form a cluster, and stay one through what happens to clusters."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.cluster import Machine, make_switch, start_machine
from tests.acceptance.conftest import Stack, make_node
from tests.chroot.machine import wait_until

FOLDER = "/opt/ha/etc/corosync"
PATIENCE = 180
"""Seconds. A cluster waits for its own timeouts, here on a machine that may be busy."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Two nodes of one cluster and a machine that is none of its."""

    one: Machine
    two: Machine
    stranger: Machine

    @property
    def nodes(self) -> tuple[Machine, Machine]:
        """Its members."""
        return self.one, self.two

    def is_whole(self) -> bool:
        """Whether both nodes see both online, under one designated controller."""
        return all(
            re.search(r"Online: \[ fiesta-ha1 fiesta-ha2 \]", (text := node.tell("crm_mon -1")))
            and "partition with quorum" in text
            for node in self.nodes
        )

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that the cluster does. Fails with what both nodes see, and the first one's log."""
        wait_until(condition, what, seconds=PATIENCE, evidence=self.describe)

    def wait_until_whole(self) -> None:
        """Wait until both nodes are online."""
        self.wait_until(self.is_whole, "cluster of two nodes")

    def describe(self) -> str:
        """What there is to look at when something does not happen."""
        seen = [node.tell("crm_mon -1 --inactive --failcounts --operations; crm configure show") for node in self.nodes]
        log = [node.tell("grep -vE ' (info|debug)' /opt/ha/var/log/pacemaker/pacemaker.log") for node in self.nodes]
        return "\n".join((*seen, *(text[-6000:] for text in log)))


def start(machine: Machine) -> None:
    """Start the cluster's services as an administrator does."""
    machine.run("service corosync start")
    machine.run("service pacemaker start")


@pytest.fixture(scope="module")
def cluster(bare_node: Path, stack: Stack) -> Iterator[Cluster]:
    """The how-to's two nodes, installed, configured and started."""
    with contextlib.ExitStack() as scope:
        roots = [scope.enter_context(make_node(bare_node, stack, stack.url)) for _ in range(3)]
        with ThreadPoolExecutor(2) as pool:
            script = "apt-get update && apt-get install -y ha-stack rsyslog iproute2"
            list(pool.map(lambda node: node.run(script), roots))
        switch = scope.enter_context(make_switch())
        names = ("fiesta-ha1", "fiesta-ha2", "stranger")
        one, two, stranger = (
            scope.enter_context(start_machine(node.root, switch, name=name, address=f"192.168.132.{11 + number}/24"))
            for number, (node, name) in enumerate(zip(roots, names, strict=True))
        )
        cluster = Cluster(one=one, two=two, stranger=stranger)
        one.run(f"cp {FOLDER}/corosync.conf.example {FOLDER}/corosync.conf; corosync-keygen -l")
        for name in ("corosync.conf", "authkey"):
            file = two.root / FOLDER[1:] / name
            file.write_bytes((one.root / FOLDER[1:] / name).read_bytes())
            file.chmod(0o400)
        for node in cluster.nodes:
            node.run("rsyslogd")  # the package has a unit, no init script
            start(node)
        cluster.wait_until_whole()
        one.run("crm configure property stonith-enabled=false")  # no node of this test has a power switch
        yield cluster
        for node in cluster.nodes:
            node.run("service pacemaker stop; service corosync stop", check=False)


def test_both_nodes_have_quorum(cluster: Cluster) -> None:
    for node in cluster.nodes:
        told = node.tell("corosync-quorumtool -s")
        assert re.search(r"Flags:\s+2Node Quorate WaitForAll", told)
        assert re.search(r"Quorum:\s+1 ", told)


def test_the_configuration_names_nodes_and_infrastructure(cluster: Cluster) -> None:
    shown = cluster.two.run("crm configure show").stdout
    assert "node 1: fiesta-ha1" in shown
    assert "node 2: fiesta-ha2" in shown
    assert re.search(r"dc-version=3\.0\.1", shown)
    assert "cluster-infrastructure=corosync" in shown


def test_the_log_tells_the_start_in_order(cluster: Cluster) -> None:
    log = (cluster.one.root / "var/log/corosync.log").read_text()
    story = (
        "Cluster Engine 3.1.9 starting up",
        "Initializing transport (Kronosnet)",
        "Service engine loaded: corosync configuration map access",
        "Service engine loaded: corosync configuration service",
        "Service engine loaded: corosync cluster closed process group service",
        "Service engine loaded: corosync vote quorum service",
        "Service engine loaded: corosync cluster quorum service",
        "A new membership",
        "Completed service synchronization, ready to provide service",
        "This node is within the primary component and will provide service",
    )
    places = [log.find(text) for text in story]
    assert -1 not in places, log
    assert places == sorted(places)


def test_pacemaker_refuses_to_start_without_corosync(cluster: Cluster) -> None:
    assert cluster.stranger.run("service pacemaker start", check=False).returncode == 6
    cluster.stranger.run(f"cp {FOLDER}/corosync.conf.example {FOLDER}/corosync.conf")
    done = cluster.stranger.run("service pacemaker start", check=False)
    assert done.returncode == 1
    assert "corosync is not running" in done.stdout
    cluster.stranger.run(f"rm {FOLDER}/corosync.conf")


RESOURCES = """
crm configure <<END
primitive state ocf:pacemaker:Stateful op monitor role=Promoted interval=10s op monitor role=Unpromoted interval=11s
clone state-clone state meta promotable=true promoted-max=1 clone-max=2 notify=true interleave=true
primitive follower ocf:pacemaker:Dummy op monitor interval=10s
colocation follower-with-state inf: follower state-clone:Promoted
order state-then-follower Mandatory: state-clone:promote follower:start
property no-quorum-policy=freeze
commit
END
"""


def locate(node: Machine, resource: str) -> str:
    """The node that a resource runs on, as another one sees it; for a clone where it is promoted."""
    told = node.tell(f"crm_resource --resource {resource} --locate 2>&1")
    places = re.findall(r"is running on: (\S+)( Promoted)?", told)
    return next((name for name, _ in sorted(places, key=lambda place: not place[1])), "")


def is_at(node: Machine, resource: str, place: str) -> bool:
    """Whether a resource runs on a node, as another one sees it."""
    return locate(node, resource) == place


def test_a_promoted_resource_and_its_follower_move_together(cluster: Cluster) -> None:
    cluster.one.run(RESOURCES)
    cluster.wait_until(lambda: locate(cluster.one, "follower") != "", "follower")
    here = locate(cluster.one, "follower")
    assert locate(cluster.one, "state-clone") == here
    there = ({"fiesta-ha1", "fiesta-ha2"} - {here}).pop()
    for origin, target in ((here, there), (there, here)):
        cluster.one.run(f"crm_attribute --node {origin} --name standby --update on")
        cluster.wait_until(functools.partial(is_at, cluster.one, "follower", target), "move of the follower")
        assert locate(cluster.one, "state-clone") == target
        cluster.one.run(f"crm_attribute --node {origin} --name standby --delete")
        cluster.wait_until_whole()


def test_an_upgrade_touches_no_daemon_resource_or_file_of_the_site(cluster: Cluster) -> None:
    daemons = ("corosync", "pacemakerd", "pacemaker-based", "pacemaker-controld", "pacemaker-fenced")
    before = {name: cluster.one.find(name) for name in daemons}
    assert all(before.values())
    place = locate(cluster.two, "follower")
    files = f"sha256sum {FOLDER}/corosync.conf {FOLDER}/authkey; stat -c '%a %Y' {FOLDER}/authkey"
    sums = cluster.one.run(files).stdout
    cluster.one.run("apt-get install -y --reinstall ha-stack ha-corosync ha-pacemaker ha-libqb ha-kronosnet")
    assert {name: cluster.one.find(name) for name in daemons} == before
    assert cluster.one.run(files).stdout == sums
    assert cluster.is_whole()
    assert locate(cluster.two, "follower") == place


def test_a_node_in_its_cluster_is_not_removed(cluster: Cluster) -> None:
    done = cluster.two.run("apt-get purge -y ha-stack 2>&1", check=False)
    assert done.returncode != 0
    assert "stop the cluster on this node first" in done.stdout
    assert cluster.is_whole()
    assert cluster.two.run("dpkg-query -W -f '${db:Status-Status}' ha-stack").stdout == "installed"


def test_the_services_go_on_when_a_node_loses_corosync(cluster: Cluster) -> None:
    cluster.two.run("kill -9 $(pidof corosync)")
    cluster.wait_until(lambda: "Online: [ fiesta-ha1 ]" in cluster.one.tell("crm_mon -1"), "node alone")
    assert "Quorate:          Yes" in cluster.one.tell("corosync-quorumtool -s")
    cluster.wait_until(lambda: locate(cluster.one, "follower") == "fiesta-ha1", "follower on the node left")
    cluster.two.run("service corosync start")  # pacemaker waits for it, and comes back by itself
    cluster.wait_until_whole()


def test_a_cut_cable_heals(cluster: Cluster) -> None:
    cluster.two.unplug()
    cluster.wait_until(lambda: "Online: [ fiesta-ha1 ]" in cluster.one.tell("crm_mon -1"), "node alone")
    cluster.two.plug()
    cluster.wait_until_whole()
    cluster.wait_until(lambda: locate(cluster.one, "follower") != "", "follower")


def test_a_node_that_the_cluster_does_not_know_is_kept_out(cluster: Cluster) -> None:
    known = (cluster.one.root / FOLDER[1:] / "corosync.conf").read_text()
    third = "nodelist {\n node {\n name: stranger\n nodeid: 3\n ring0_addr: 192.168.132.13\n }\n"
    place = cluster.stranger.root / FOLDER[1:]
    (place / "corosync.conf").write_text(known.replace("nodelist {\n", third))
    (place / "authkey").write_bytes((cluster.one.root / FOLDER[1:] / "authkey").read_bytes())
    keep_out(cluster)


def test_a_node_with_another_key_is_kept_out(cluster: Cluster) -> None:
    cluster.stranger.run("corosync-keygen -l")
    keep_out(cluster)


def keep_out(cluster: Cluster) -> None:
    """The stranger starts, is alone, and the cluster takes no notice."""
    cluster.stranger.run("service corosync start")
    cluster.wait_until(lambda: "Nodes:" in cluster.stranger.tell("corosync-quorumtool -s"), "answer of the stranger")
    for _ in range(10):
        assert re.search(r"Nodes:\s+1\n", cluster.stranger.tell("corosync-quorumtool -s; sleep 1"))
        assert re.search(r"Nodes:\s+2\n", cluster.one.tell("corosync-quorumtool -s"))
    assert cluster.is_whole()
    cluster.stranger.run("service corosync stop")
