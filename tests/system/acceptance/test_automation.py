"""Questions to a node from outside a login shell: ssh, cron, pcs, an exporter, a member of haclient."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.machine import wait_until
from tests.system.acceptance.cluster import Machine
from tests.system.acceptance.commands import EXPORTER, PCS, Command
from tests.system.acceptance.conftest import Node
from tests.system.acceptance.formation import Cluster, locate

TOOLS = "ansible-core cron curl openssh-client openssh-server pcs prometheus-hacluster-exporter"
ONLINE = "Online: [ fiesta-ha1 fiesta-ha2 ]"
QUIET = "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d"
REACH = """mkdir -p /run/sshd /root/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
echo 'StrictHostKeyChecking no' > /root/.ssh/config
/usr/sbin/sshd"""


@pytest.fixture(scope="module")
def reached(cluster: Cluster) -> Iterator[Machine]:
    """The first node, with Debian's tools and a running sshd; joe is a member of haclient, and eve is not."""
    node = cluster.one
    disk = Node(root=node.root)
    # Nothing of theirs starts while they are installed: the installation uses this machine's network.
    disk.run(f"{QUIET}; apt-get update; apt-get install -y --no-install-recommends {TOOLS}; rm /usr/sbin/policy-rc.d")
    node.run(f"{REACH}; useradd -m joe; usermod -aG haclient joe; useradd -m eve")
    yield node
    node.run("kill $(cat /run/sshd.pid); userdel -r joe; userdel -r eve; rm -r /root/.ssh", check=False)
    disk.run(f"apt-get purge -y --autoremove {TOOLS}")


@pytest.fixture(scope="module")
def linked(reached: Machine) -> Iterator[Machine]:
    """The node with ha-stack-links."""
    disk = Node(root=reached.root)
    disk.run("apt-get install -y ha-stack-links")
    yield reached
    disk.run("apt-get purge -y ha-stack-links")


def test_ssh_finds_the_programs(reached: Machine) -> None:
    assert ONLINE in reached.run("ssh localhost crm_mon -1").stdout
    assert ONLINE in reached.run("ssh localhost crm status").stdout
    assert "connected" in reached.run("ssh localhost corosync-cfgtool -s").stdout


def test_sudo_keeps_the_administrators_own_path(reached: Machine) -> None:
    line = 'Defaults secure_path="/usr/sbin:/usr/bin:/sbin:/bin:/srv/tools"'
    told = "sudo sh -c 'echo $PATH'"
    reached.run(f"cp -p /etc/sudoers /root; sed -i 's|^Defaults.*secure_path.*|{line}|' /etc/sudoers")
    try:
        reached.run("dpkg-reconfigure ha-stack")
        assert reached.run(told).stdout == "/opt/ha/sbin:/opt/ha/bin:/usr/sbin:/usr/bin:/sbin:/bin:/srv/tools\n"
        reached.run("sed -i /secure_path/d /etc/sudoers; dpkg-reconfigure ha-stack; visudo -c")
        assert not (reached.root / "etc/sudoers.d/ha-stack").exists()
    finally:
        reached.run("cp -p /root/sudoers /etc/sudoers; dpkg-reconfigure ha-stack")
    assert "/opt/ha/sbin" in reached.run(told).stdout


def test_ansible_finds_the_programs(reached: Machine) -> None:
    ask = "ansible all --inventory fiesta-ha1, --module-name command --args"
    assert ONLINE in reached.run(f"{ask} 'crm_mon -1'").stdout
    assert ONLINE in reached.run(f"{ask} 'crm status' --become").stdout


def test_a_member_of_the_group_may_ask_and_nobody_else(reached: Machine) -> None:
    ask = "/opt/ha/sbin/crm_mon -1"
    assert ONLINE in reached.run(f"su joe -c '{ask}'").stdout
    done = reached.run(f"su eve -c '{ask}' 2>&1", check=False)
    assert (done.returncode != 0, "Permission denied" in done.stdout) == (True, True)


def test_what_a_user_may_change_is_said_by_acls(reached: Machine) -> None:
    change = "su joe -c '/opt/ha/sbin/crm_attribute --name batch-limit --update 5' 2>&1"
    reached.run("crm configure role watch read xpath:/cib; crm configure acl_target joe watch")
    reached.run("crm_attribute --name enable-acl --update true")
    try:
        assert ONLINE in reached.run("su joe -c '/opt/ha/sbin/crm_mon -1'").stdout
        done = reached.run(change, check=False)
        assert (done.returncode != 0, "Permission denied" in done.stdout) == (True, True), done.stdout
    finally:
        reached.run("crm_attribute --name enable-acl --delete; crm configure delete joe watch")


def test_the_primary_group_of_an_older_node_is_mended(reached: Machine) -> None:
    reached.run("groupadd former; usermod -g former hacluster; dpkg-reconfigure ha-stack; groupdel former")
    assert reached.run("id -gn hacluster").stdout == "haclient\n"


def test_the_links_refuse_the_distributions_programs(reached: Machine) -> None:
    disk = Node(root=reached.root)
    disk.run("apt-get install -y --no-install-recommends drbd-utils")
    try:
        done = disk.run("apt-get install -y ha-stack-links 2>&1", check=False)
        assert done.returncode != 0
        assert "the distribution's drbd-utils is installed" in done.stdout
        assert "apt remove drbd-utils" in done.stdout
    finally:
        disk.run("apt-get purge -y drbd-utils; apt-get -f install -y; dpkg --purge ha-stack-links; dpkg --audit")
    assert not (reached.root / "usr/sbin/crm").exists()


def test_every_link_leads_to_a_program_or_folder(linked: Machine) -> None:
    links = [
        path for path in linked.run("dpkg -L ha-stack-links").stdout.split() if (linked.root / path[1:]).is_symlink()
    ]
    assert "/usr/sbin/crm" in links
    assert [link for link in links if linked.run(f"test -e {link}", check=False).returncode] == []


def test_cron_finds_the_programs(linked: Machine) -> None:
    job = "* * * * * {0} crm_mon -1 > /home/{0}/seen 2>&1\n"
    (linked.root / "etc/cron.d/seen").write_text("".join(job.format(user) for user in ("joe", "eve")))
    linked.run("cron")
    try:
        wait_until(lambda: ONLINE in linked.tell("cat /home/joe/seen"), "what cron's job saw", seconds=130)
    finally:
        linked.run("kill $(cat /run/crond.pid); rm /etc/cron.d/seen")


@pytest.mark.parametrize("row", PCS, ids=[row.line for row in PCS])
def test_pcs_works(cluster: Cluster, linked: Machine, row: Command) -> None:
    done = linked.run(f"pcs {row.line} 2>&1", check=False)
    assert (done.returncode, row.words in done.stdout) == (row.status, True), done.stdout
    assert "Traceback" not in done.stdout
    cluster.wait_until(lambda: bool(locate(linked, "follower")), "follower")


def test_an_exporter_tells_the_state_of_the_cluster(linked: Machine) -> None:
    linked.run("(ha_cluster_exporter > /root/exporter 2>&1 & echo $! > /root/exporter.pid)")
    try:
        metrics = "curl -s http://localhost:9664/metrics"
        wait_until(lambda: "ha_cluster_corosync_quorate 1" in linked.tell(metrics), "metrics", seconds=30)
        seen = linked.run(metrics).stdout
    finally:
        linked.run("kill $(cat /root/exporter.pid)")
    assert [row.words for row in EXPORTER if row.words not in seen] == []
