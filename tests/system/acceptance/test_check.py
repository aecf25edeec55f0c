"""ha-stack check on a formed cluster: it names what is wrong, and the line that it prints cures it."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.system.acceptance.cluster import Machine
from tests.system.acceptance.conftest import Node
from tests.system.acceptance.cures import CURES, Cure
from tests.system.acceptance.formation import FOLDER, Cluster, start
from tests.system.acceptance.repack import repack

FACTS = "/opt/ha/etc/ha-stack/site.json"


def look(machine: Machine) -> list[dict[str, Any]]:
    """Findings of ha-stack check."""
    findings: list[dict[str, Any]] = json.loads(machine.tell("ha-stack check --json"))
    return findings


def find(machine: Machine, check: str, words: str) -> list[dict[str, Any]]:
    """The finding of one check that has these words."""
    return [f for f in look(machine) if f["check"] == check and f["level"] != "ok" and words in f["found"]]


def apply(machine: Machine, remedy: str) -> None:
    """Run a line that was printed, as a person who says yes to apt."""
    machine.run(remedy.replace("apt install", "apt-get -y install"))


@pytest.mark.parametrize("cure", CURES, ids=[f"{cure.check} {cure.words}" for cure in CURES])
def test_the_printed_line_cures_what_it_is_printed_for(cluster: Cluster, cure: Cure) -> None:
    node, check, words = cluster.two, cure.check, cure.words
    cluster.wait_until_served()
    assert find(node, check, words) == []
    node.run(cure.harm)
    cluster.wait_until(lambda: find(node, check, words) != [], f"{check}: {words}")
    remedy = find(node, check, words)[0]["remedy"]
    assert remedy.startswith(cure.remedy)
    apply(node, remedy)
    cluster.wait_until(lambda: find(node, check, words) == [], f"cure of {check}: {words}")
    cluster.wait_until_served()


def test_an_address_that_is_gone_comes_back_by_the_printed_line(cluster: Cluster) -> None:
    node = cluster.two
    # corosync is stopped: one that runs leaves the cluster without its address.
    node.run("service pacemaker stop; service corosync stop; ip address del 192.168.132.12/24 dev ring0")
    (found,) = find(node, "address", "no interface has 192.168.132.12")
    apply(node, found["remedy"])
    assert find(node, "address", "") == []
    start(node)
    cluster.wait_until_served()


def test_a_broken_list_of_facts_comes_back_by_the_printed_line(cluster: Cluster) -> None:
    node = cluster.two
    node.run(f"truncate -s 0 {FACTS}")
    told = node.run("ha-stack check 2>&1", check=False)
    assert told.returncode == 1
    assert f"{FACTS} cannot be read" in told.stdout
    (remedy,) = re.findall(r"^(apt install .*) brings it back$", told.stdout, re.MULTILINE)
    apply(node, remedy)
    cluster.two.run("ha-stack check")


def grow_old(tree: Path) -> None:
    """Date the list of components in a tree of ha-stack 200 days back."""
    file = tree / "opt/ha/share/ha-stack/components.json"
    facts = json.loads(file.read_text())
    facts["date"] = f"{datetime.now(UTC).date() - timedelta(days=200)}"
    file.write_text(json.dumps(facts))


def test_an_old_stack_is_told_and_the_printed_line_brings_the_newest(cluster: Cluster, tmp_path: Path) -> None:
    node = cluster.two
    cluster.wait_until_served()
    version = node.run("dpkg-query -W -f '${Version}' ha-stack").stdout
    (deb,) = (node.root / "srv/apt/pool").rglob(f"ha-stack_{version}_*.deb")
    repack([deb], tmp_path / "old", "~old", grow_old)
    (old,) = (tmp_path / "old").glob("*.deb")
    shutil.copy(old, node.root / "srv/old.deb")
    assert find(node, "age", "") == []
    node.run("dpkg -i /srv/old.deb; rm /srv/old.deb")
    (found,) = find(node, "age", "200 days old")
    assert found["remedy"] == "ha-stack upgrade-node"
    apply(node, found["remedy"])
    assert node.run("dpkg-query -W -f '${Version}' ha-stack").stdout == version
    assert find(node, "age", "") == []
    cluster.wait_until_served()


AGENTS = {
    "fence_ipmilan": "ipmitool",
    "fence_apc_snmp": "snmp",
    "external/rackpdu": "snmp",
    "fence_virsh": "openssh-client",
    "external/libvirt": "libvirt-clients",
    "fence_scsi": "sg3-utils",
    "fence_mpath": "multipath-tools",
}
"""One fencing agent for each program that one may need, and Debian's package of it."""


def test_programs_of_fencing_agents_come_by_the_printed_lines(cluster: Cluster) -> None:
    node, file = cluster.two, cluster.two.root / "opt/ha/etc/ha-stack/cluster.crm"
    disk = Node(root=node.root)  # whose apt reaches Debian
    packages = " ".join(sorted(set(AGENTS.values())))
    had = disk.run(f"dpkg-query -W -f '${{db:Status-Status}} ${{Package}}\\n' {packages} || true").stdout
    disk.run(f"apt-get purge -y {packages}")
    before = file.read_bytes()
    lines = [f"primitive f{number} stonith:{agent}\n" for number, agent in enumerate(AGENTS)]
    file.write_bytes(before + "".join(lines).encode())
    try:
        found = find(node, "fencing", "which is missing")
        assert {f["found"].split()[0]: f["remedy"] for f in found} == {
            agent: f"apt install {package}" for agent, package in AGENTS.items()
        }
        for remedy in sorted({f["remedy"] for f in found}):
            disk.run(remedy.replace("apt install", "apt-get install -y --no-install-recommends"))
        assert find(node, "fencing", "which is missing") == []
    finally:
        file.write_bytes(before)
        again = " ".join(line.split()[1] for line in had.splitlines() if line.startswith("installed "))
        disk.run(
            f"apt-get purge -y --autoremove {packages}; apt-get install -y --no-install-recommends {again} iproute2"
        )


def test_a_cut_cable_is_a_link_that_is_down(cluster: Cluster) -> None:
    cluster.two.unplug()
    try:
        cluster.wait_until(lambda: find(cluster.one, "link", "fiesta-ha2") != [], "link that is down")
        (found,) = find(cluster.one, "link", "fiesta-ha2")
        assert found["found"] == "no link to fiesta-ha2, which does not answer ping either"
        assert "DOWN" in cluster.one.tell("ha-stack status")
    finally:
        cluster.two.plug()
    cluster.wait_until_served()
    assert find(cluster.one, "link", "") == []


def test_another_key_is_named_while_the_node_answers_ping(cluster: Cluster) -> None:
    node, key = cluster.two, f"{FOLDER}/authkey"
    mark = r"fingerprint ([0-9a-f]{8})"
    node.run(f"service pacemaker stop; service corosync stop; cp -p {key} /root; corosync-keygen -l -k {key}")
    try:
        start(node)
        cluster.wait_until(lambda: find(node, "link", "answers ping") != [], "a silent link")
        (found,) = find(node, "link", "answers ping")
        assert "another key" in found["found"]
        assert "fingerprint" in found["advice"]
        marks = [re.search(mark, machine.tell("ha-stack check")) for machine in cluster.nodes]
        assert all(marks)
        assert marks[0][1] != marks[1][1]  # type: ignore[index]
    finally:
        node.run(f"service pacemaker stop; service corosync stop; cp -p /root/authkey {key}")
        start(node)
    cluster.wait_until_served()


def test_a_daemon_that_pacemaker_gave_up_is_missed(cluster: Cluster) -> None:
    node = cluster.two
    node.run("kill -STOP $(pidof pacemakerd); kill -9 $(pidof pacemaker-schedulerd)")  # nobody starts it anew
    try:
        (found,) = find(node, "pacemaker", "pacemaker-schedulerd")
        assert found["level"] == "FAIL"
    finally:
        node.run("kill -CONT $(pidof pacemakerd)")
    apply(node, found["remedy"])
    cluster.wait_until(lambda: find(node, "pacemaker", "") == [], "all daemons")
    cluster.wait_until_served()


def test_a_quorate_engine_is_told_before_pacemaker_knows(cluster: Cluster) -> None:
    node = cluster.two
    node.run("service pacemaker stop")
    try:
        assert [f["level"] for f in look(node) if f["check"] == "quorum"] == ["ok"]
        assert [f["found"] for f in look(node) if f["check"] == "cluster"] == ["pacemaker does not run on this node"]
    finally:
        node.run("service pacemaker start")
    cluster.wait_until_served()


BY_HAND = """totem {
  version: 2
  cluster_name: demo
  transport: knet
}
nodelist {
  node {
    name: stranger
    nodeid: 1
    ring0_addr: stranger
  }
}
quorum {
  provider: corosync_votequorum
}
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ring0_addr: stranger", "ring0_adr: stranger", "no ring0_adr of a node"),
        ("transport: knet", "transport: kent", "Invalid transport type"),
        ("nodeid: 1", "id: 1", "no id of a node: nodeid"),
        ("nodeid: 1", "nodeid: one", "expected to be integer"),
        ("nodelist {", "nodelist { # x", "Extra characters"),
        ("cluster_name: demo", "cluster_name: demo # ours", "comments have lines of their own"),
        ("  provider: corosync_votequorum\n", "", "no provider"),
        ("    nodeid: 1", "\u00a0   nodeid: 1", "no-break space"),
    ],
)
def test_a_file_made_by_hand_is_judged(cluster: Cluster, old: str, new: str, words: str) -> None:
    file = cluster.stranger.root / FOLDER[1:] / "corosync.conf"
    file.write_text(BY_HAND)
    try:
        assert [f["found"] for f in look(cluster.stranger) if f["check"] in ("address", "configuration")] == [
            "stranger, which is 192.168.132.13, is this node's",
            f"{FOLDER}/corosync.conf, made by hand",
        ]
        file.write_text(BY_HAND.replace(old, new))
        found = [f for f in look(cluster.stranger) if f["check"] == "configuration"]
        assert any(words in f["found"] for f in found), found
        assert all("reinstall" not in f["remedy"] for f in found)
    finally:
        file.unlink()


def test_ports_are_those_that_a_file_made_by_hand_gives_each_link(cluster: Cluster) -> None:
    file = cluster.stranger.root / FOLDER[1:] / "corosync.conf"
    links = "".join(f"  interface {{\n    linknumber: {link}\n    mcastport: {5414 + link}\n  }}\n" for link in (0, 1))
    two = BY_HAND.replace("    ring0_addr: stranger\n", "    ring0_addr: stranger\n    ring1_addr: stranger\n")
    file.write_text(two.replace("transport: knet\n", f"transport: knet\n{links}"))
    try:
        ports = [f["found"] for f in look(cluster.stranger) if f["check"] == "port" and f["found"].startswith("udp")]
        assert ports == ["udp 5414 is free for the cluster", "udp 5415 is free for the cluster"]
    finally:
        file.unlink()


def test_a_disk_that_is_nearly_full_is_told(cluster: Cluster) -> None:
    machine, file = cluster.stranger, cluster.stranger.root / FOLDER[1:] / "corosync.conf"
    file.write_text(BY_HAND)
    machine.run("mount -t tmpfs -o size=8m tmpfs /opt/ha/var")
    try:
        (found,) = find(machine, "space", "8 MiB are free below /opt/ha/var")
        assert found["level"] == "FAIL"
    finally:
        machine.run("umount /opt/ha/var")
        file.unlink()


def test_metrics_are_what_prometheus_reads(cluster: Cluster) -> None:
    cluster.one.run("ha-stack check", check=False)
    text = cluster.two.run("ha-stack check --metrics").stdout
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? \d+', line), line
    assert 'ha_stack_findings{check="quorum",level="ok"} 1' in text
    assert "ha_stack_healthy 1" in text
