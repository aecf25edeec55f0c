"""What a cluster of two nodes does through what happens to clusters."""

from __future__ import annotations

import functools
import re

from tests.acceptance.formation import FOLDER, Cluster, is_at, locate


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


def test_a_promoted_resource_and_its_follower_move_together(cluster: Cluster) -> None:
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
    assert re.search("corosync, pacemakerd.* run from before an upgrade", cluster.one.tell("ha-stack check"))


def test_a_node_in_its_cluster_is_not_removed(cluster: Cluster) -> None:
    done = cluster.two.run("apt-get purge -y ha-stack 2>&1", check=False)
    assert done.returncode != 0
    assert "stop the cluster on this node first" in done.stdout
    assert cluster.is_whole()
    packages = "ha-stack ha-stack-site"  # the site's goes before the one that it needs
    assert cluster.two.run(f"dpkg-query -W -f '${{db:Status-Status}} ' {packages}").stdout == "installed installed "


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
