"""A cluster of two nodes through cut cables, killed processes and restarts."""

from __future__ import annotations

import functools
import re
import subprocess

from tests.system.acceptance.conftest import SITE_PACKAGE, find_version
from tests.system.acceptance.formation import FOLDER, Cluster, is_at, locate, start


def test_both_nodes_have_quorum(cluster: Cluster) -> None:
    for node in cluster.nodes:
        told = node.tell("corosync-quorumtool -s")
        assert re.search(r"Flags:\s+2Node Quorate WaitForAll", told)
        assert re.search(r"Quorum:\s+1 ", told)


def test_the_configuration_names_nodes_and_infrastructure(cluster: Cluster) -> None:
    shown = cluster.two.run("crm configure show").stdout
    assert "node 1: fiesta-ha1" in shown
    assert "node 2: fiesta-ha2" in shown
    assert re.search(rf"dc-version={re.escape(find_version('pacemaker'))}\b", shown)
    assert "cluster-infrastructure=corosync" in shown


def test_the_log_tells_the_start_in_order(cluster: Cluster) -> None:
    log = (cluster.one.root / "var/log/corosync.log").read_text()
    story = (
        f"Cluster Engine {find_version('corosync')} starting up",
        "Initializing transport (Kronosnet)",
        "Service engine loaded: corosync configuration map access",
        "Service engine loaded: corosync configuration service",
        "Service engine loaded: corosync cluster closed process group service",
        "Service engine loaded: corosync vote quorum service",
        "Service engine loaded: corosync cluster quorum service",
        "Configured link number 0: local addr: 192.168.132.11, port=5405",
        "A new membership",
        "Completed service synchronization, ready to provide service",
        "Resetting MTU for link 0 because host 2 joined",  # as knet says that it is up
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
    cluster.wait_until_served()
    here = locate(cluster.one, "follower")
    assert locate(cluster.one, "state-clone") == here
    there = ({"fiesta-ha1", "fiesta-ha2"} - {here}).pop()
    for origin, target in ((here, there), (there, here)):
        node = next(machine for machine in cluster.nodes if machine.name == origin)
        node.run("crm node standby")  # for another node than its own crm wants ssh
        cluster.wait_until(functools.partial(is_at, cluster.one, "follower", target), "move of the follower")
        assert locate(cluster.one, "state-clone") == target
        assert f"Node {origin}: standby" in cluster.one.tell("crm_mon -1")
        node.run(f"crm node online {origin}")
        cluster.wait_until_whole()


def test_one_node_sends_another_to_standby_without_ssh(cluster: Cluster) -> None:
    cluster.wait_until_served()
    cluster.one.run("crm_attribute --node fiesta-ha2 --name standby --update on")
    cluster.wait_until(functools.partial(is_at, cluster.one, "follower", "fiesta-ha1"), "move of the follower")
    cluster.one.run("crm_attribute --node fiesta-ha2 --name standby --delete")
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
    packages = f"ha-stack {SITE_PACKAGE}"  # the site's goes before the one that it needs
    assert cluster.two.run(f"dpkg-query -W -f '${{db:Status-Status}} ' {packages}").stdout == "installed installed "


def test_a_container_in_its_cluster_is_not_its_hosts_affair(cluster: Cluster) -> None:
    """The scripts of the node, run where the node is a container: its corosync is seen, and belongs to another root."""
    scripts = cluster.one.root / "var/lib/dpkg/info"
    for script, argument in (("ha-stack.prerm", "remove"), (f"{SITE_PACKAGE}.prerm", "remove")):
        (look, _) = (scripts / script).read_text().split("\nfi\n", 1)
        assert f"{FOLDER.removesuffix('/etc/corosync')}/sbin/corosync" in look
        argv = ["sh", "-c", f"{look}\nfi", script, argument]
        assert subprocess.run(argv, check=False, capture_output=True, text=True).stderr == ""


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
    cluster.stranger.run("service corosync start")
    cluster.wait_until(lambda: "Nodes:" in cluster.stranger.tell("corosync-quorumtool -s"), "answer of the stranger")
    for _ in range(10):
        assert re.search(r"Nodes:\s+1\n", cluster.stranger.tell("corosync-quorumtool -s; sleep 1"))
        assert re.search(r"Nodes:\s+2\n", cluster.one.tell("corosync-quorumtool -s"))
    assert cluster.is_whole()
    cluster.stranger.run(f"service corosync stop; rm {FOLDER}/corosync.conf {FOLDER}/authkey")


def test_a_node_with_another_key_is_kept_out(cluster: Cluster) -> None:
    # A member that all configurations name: the key alone keeps it out, and lets it in again.
    node, key = cluster.two, f"{FOLDER}/authkey"
    node.run(f"service pacemaker stop; service corosync stop; mv {key} {key}.right; corosync-keygen -l")
    try:
        assert node.run(f"cmp {key} {key}.right", check=False).returncode == 1
        node.run("service corosync start")
        cluster.wait_until(lambda: "Nodes:" in node.tell("corosync-quorumtool -s"), "answer of the node")
        for _ in range(10):
            for machine in cluster.nodes:
                assert re.search(r"Nodes:\s+1\n", machine.tell("corosync-quorumtool -s; sleep 0.5"))
        node.run("service corosync stop")
    finally:
        node.run(f"mv {key}.right {key}")
    start(node)
    cluster.wait_until_served()


def test_the_lock_manager_refuses_a_cluster_without_fencing(cluster: Cluster) -> None:
    # Its agent, with stand-ins for what the kernel brings and for the daemon: there is no module here.
    node, tools = cluster.one, "/root/standin"
    node.run(f"""set -e
        mkdir -p {tools} /sys/kernel/config/dlm
        printf '#!/bin/sh\nexit 0\n' > {tools}/mount
        printf '#!/bin/sh\ntouch {tools}/started\n' > {tools}/dlm_standin
        chmod +x {tools}/*""")
    agent = "/opt/ha/usr/lib/ocf/resource.d/pacemaker/controld start 2>&1"
    setting = f"PATH={tools}:$PATH OCF_ROOT=/opt/ha/usr/lib/ocf OCF_RESOURCE_INSTANCE=dlm HA_LOGFACILITY=none"
    setting += f" HA_LOGFILE={tools}/log OCF_RESKEY_daemon={tools}/dlm_standin"
    ends = []
    for allowed in ("false", "true"):
        done = node.run(f"{setting} OCF_RESKEY_allow_stonith_disabled={allowed} {agent}", check=False)
        ends.append((done.returncode, (node.root / tools[1:] / "started").exists()))
        if allowed == "false":
            told = done.stdout + node.tell(f"cat {tools}/log")
            assert "stonith-enabled may not be deactivated to use the DLM" in told
    node.run(f"rm -r {tools} /sys/kernel/config")
    assert ends == [(6, False), (7, True)]  # not configured; not running, as the stand-in ends at once
