"""Init scripts on a machine without a cluster: they end in time, and leave nothing half started."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.system.acceptance.cluster import Machine
from tests.system.acceptance.formation import FOLDER, Cluster

ALONE = """totem {
  version: 2
  cluster_name: demo
  transport: knet
}
nodelist {
  node {
    name: stranger
    nodeid: 1
    ring0_addr: 192.168.132.13
  }
}
quorum {
  provider: corosync_votequorum
}
"""
FREEZE = "(until [ -s /run/corosync.pid ]; do :; done; kill -STOP $(cat /run/corosync.pid)) & "


@pytest.fixture
def alone(cluster: Cluster) -> Iterator[Machine]:
    """The machine outside the cluster, configured as a cluster of one."""
    machine = cluster.stranger
    file = machine.root / FOLDER[1:] / "corosync.conf"
    file.write_text(ALONE)
    machine.run("rm -f /run/corosync.pid")
    yield machine
    machine.run("kill -9 $(pidof corosync); rm -f /etc/default/corosync", check=False)
    file.unlink()


def test_services_start_and_stop(alone: Machine) -> None:
    alone.run("service corosync start; service pacemaker start; service pacemaker status; service corosync status")
    alone.run("service pacemaker stop; service corosync restart; service corosync stop")
    assert alone.find("corosync") == ""
    assert alone.run("service corosync status", check=False).returncode == 3


def test_what_corosync_refuses_is_said(alone: Machine) -> None:
    alone.run(f"sed -i s/knet/kent/ {FOLDER}/corosync.conf")
    done = alone.run("service corosync start 2>&1", check=False)
    assert (done.returncode, "Invalid transport type" in done.stdout) == (6, True)


def test_a_corosync_that_serves_nobody_is_stopped_again(alone: Machine) -> None:
    (alone.root / "etc/default/corosync").write_text("PATIENCE=5\n")
    begun = time.monotonic()
    done = alone.run(f"{FREEZE} service corosync start 2>&1", check=False)
    assert time.monotonic() - begun < 90
    assert (done.returncode, "serves nobody after 5 s" in done.stdout) == (1, True), done.stdout
    assert alone.find("corosync") == ""


def test_pacemaker_does_not_wait_for_a_corosync_that_serves_nobody(alone: Machine) -> None:
    alone.run("service corosync start; kill -STOP $(cat /run/corosync.pid)")
    begun = time.monotonic()
    done = alone.run("service pacemaker start 2>&1", check=False)
    assert time.monotonic() - begun < 30
    assert (done.returncode, "serves nobody" in done.stdout) == (1, True), done.stdout
    assert alone.find("pacemakerd") == ""


def test_a_start_that_is_interrupted_leaves_nothing(alone: Machine) -> None:
    alone.run(f"{FREEZE} timeout --signal=TERM 5 /etc/init.d/corosync start", check=False)
    assert alone.find("corosync") == ""
