"""A node that runs the distribution's own cluster: the stack must not touch it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine import wait_until
from tests.system.acceptance.cluster import Machine, make_switch, start_machine
from tests.system.acceptance.conftest import Stack, find_version, make_node

CONFIGURATION = """
totem {
    version: 2
    cluster_name: theirs
    transport: udpu
}
nodelist {
    node {
        name: theirs
        nodeid: 1
        ring0_addr: 192.168.132.21
    }
}
quorum {
    provider: corosync_votequorum
}
logging {
    to_syslog: yes
}
"""
PACKAGES = "dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n'; dpkg --audit"
FILES = """find /etc /opt /usr /var/lib -xdev -type f ! -path '/var/lib/apt/*' ! -path '/var/lib/dpkg/*' |
    sort | xargs sha256sum"""
"""Everything but the books of apt and dpkg, which PACKAGES asks."""


@pytest.fixture(scope="module")
def theirs(bare_node: Path, stack: Stack) -> Iterator[Machine]:
    """A machine with Debian's corosync and pacemaker, of which corosync runs."""
    with make_node(bare_node, stack, None) as node, make_switch() as switch:
        policy = node.root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        # With what apt would recommend, but not with what that would recommend in turn: hundreds of agents.
        theirs = "corosync pacemaker pacemaker-cli-utils"
        node.run(f"apt-get update && apt-get install -y --no-install-recommends systemd iproute2 {theirs}")
        node.run("apt-get install -y --download-only ha-stack")  # a machine with its own network reaches no archive
        (node.root / "etc/corosync/corosync.conf").write_text(CONFIGURATION)
        with start_machine(node.root, switch, name="theirs", address="192.168.132.21/24") as machine:
            machine.run("mkdir -p /var/lib/corosync; corosync")  # in later suites systemd-tmpfiles makes it
            wait_until(lambda: "Quorate:" in machine.tell("/usr/sbin/corosync-quorumtool -s"), "corosync", seconds=60)
            yield machine
            machine.run("kill $(pidof corosync)", check=False)


def test_a_running_cluster_of_the_distribution_is_left_alone(theirs: Machine) -> None:
    looks = (PACKAGES, FILES, "pidof corosync")
    before = [theirs.tell(look) for look in looks]
    assert "ii  corosync" in before[0]
    assert before[2]
    done = theirs.run("apt-get install -y ha-stack 2>&1", check=False)
    assert done.returncode != 0
    assert "the distribution's cluster runs on this node: corosync" in done.stdout
    assert "    apt remove corosync pacemaker pacemaker-cli-utils\n" in done.stdout
    assert "REMOVED" not in done.stdout
    assert [theirs.tell(look) for look in looks] == before
    assert "Quorate:" in theirs.tell("/usr/sbin/corosync-quorumtool -s")


def test_a_stopped_one_has_to_be_removed_by_its_owner(theirs: Machine) -> None:
    theirs.run("kill $(pidof corosync); while pidof corosync; do sleep 0.2; done")
    before = theirs.tell(PACKAGES)
    done = theirs.run("apt-get install -y ha-stack 2>&1", check=False)
    assert done.returncode != 0
    assert "the distribution's corosync is installed" in done.stdout
    assert theirs.tell(PACKAGES) == before
    (advice,) = {line.strip() for line in done.stdout.splitlines() if line.startswith("    apt remove ")}
    theirs.run(f"{advice} -y")
    theirs.run("apt-get install -y ha-stack")
    assert "ii  ha-stack" in theirs.tell(PACKAGES)
    assert find_version("corosync") in theirs.run("/opt/ha/sbin/corosync -v").stdout


@pytest.mark.parametrize("package", ["corosync", "pacemaker"])
def test_the_distributions_daemons_do_not_come_over_the_stack(theirs: Machine, package: str) -> None:
    before = [theirs.tell(look) for look in (PACKAGES, FILES)]
    done = theirs.run(f"apt-get install -y {package} 2>&1", check=False)
    assert done.returncode != 0
    assert "has no installation candidate" in done.stdout
    assert [theirs.tell(look) for look in (PACKAGES, FILES)] == before
    done = theirs.run(f"dpkg --unpack /var/cache/apt/archives/{package}_*.deb 2>&1", check=False)
    assert done.returncode != 0
    assert re.search(r"trying to overwrite '\S+', which is also in package ha-stack", done.stdout)
    theirs.run(f"echo {package} deinstall | dpkg --set-selections")  # dpkg keeps what it was asked for
    assert [theirs.tell(look) for look in (PACKAGES, FILES)] == before
    theirs.run("apt-get --simulate install iproute2")  # apt has nothing to mend
