"""A remote node: a machine with ha-pacemaker-remote alone, which serves for the cluster and is no member of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.acceptance.cluster import Machine, start_machine
from tests.system.acceptance.conftest import Stack, make_node
from tests.system.acceptance.formation import Cluster, is_at, locate

NAME, ADDRESS = "far", "192.168.132.20"
KEY = "/opt/ha/etc/pacemaker/authkey"


@pytest.fixture(scope="module")
def far(cluster: Cluster, bare_node: Path, stack: Stack) -> Iterator[Machine]:
    """A machine of the cluster's network that has the remote daemon and no key."""
    with make_node(bare_node, stack, None) as node:
        node.run("apt-get update && apt-get install -y iproute2 ha-pacemaker-remote")
        with start_machine(node.root, cluster.one.switch, name=NAME, address=f"{ADDRESS}/24") as machine:
            yield machine
            machine.run("service pacemaker_remote stop", check=False)


def test_a_remote_node_has_nothing_of_a_members(far: Machine) -> None:
    installed = far.run("dpkg-query -W -f '${Package} '").stdout.split()
    assert "ha-pacemaker-remote" in installed
    assert not {"ha-pacemaker", "ha-corosync", "ha-kronosnet", "ha-stack"} & set(installed)
    assert "libcorosync" not in far.run("ldd /opt/ha/sbin/pacemaker-remoted /opt/ha/sbin/crm_resource").stdout


def test_without_a_key_it_starts_nothing(far: Machine) -> None:
    done = far.run("service pacemaker_remote start", check=False)
    assert done.returncode == 6
    assert f"{KEY} is missing" in done.stdout
    assert not far.find("pacemaker-remoted")


def test_the_cluster_runs_a_service_on_it_and_takes_it_away(cluster: Cluster, far: Machine) -> None:
    cluster.wait_until_served()
    for machine in (*cluster.nodes, far):
        machine.run(f"install -d -m 750 -g haclient {Path(KEY).parent}")
        machine.run(f"printf 'a key that three machines have' > {KEY}; chgrp haclient {KEY}; chmod 640 {KEY}")
    far.run("service pacemaker_remote start")
    try:
        cluster.one.run(
            f"crm configure primitive {NAME} ocf:pacemaker:remote params server={ADDRESS} op monitor interval=10s\n"
            "crm configure primitive guest ocf:pacemaker:Dummy op monitor interval=10s\n"
            f"crm configure location guest-{NAME} guest inf: {NAME}"
        )
        cluster.wait_until(functools.partial(is_at, cluster.one, "guest", NAME), "the service on the remote node")
        assert f"RemoteOnline: [ {NAME} ]" in cluster.two.tell("crm_mon -1")
        assert NAME in far.run("crm_node --name").stdout  # a tool there asks the cluster through the daemon
        # Stopped, it lets the cluster take the service away first.
        far.run("service pacemaker_remote stop")
        assert locate(cluster.one, "guest") != NAME
    finally:
        for line in (
            f"crm configure delete guest-{NAME}",
            f"crm --wait resource stop guest; crm --wait resource stop {NAME}",
            f"crm configure delete guest {NAME}",
            f"crm_node --force --remove {NAME}",
        ):
            cluster.one.run(line, check=False)
        for machine in cluster.nodes:
            machine.run(f"rm -r {Path(KEY).parent}", check=False)
        cluster.wait_until_served()


def test_a_purge_leaves_what_was_written_and_nothing_else(far: Machine) -> None:
    far.run("apt-get purge -y 'ha-*'")
    left = far.run("find /opt/ha -type f").stdout.split()
    assert set(left) <= {KEY, "/opt/ha/var/log/pacemaker/pacemaker.log"}, left
