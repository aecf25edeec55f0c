"""The engine dies under load: nothing crashes, and the line that `ha-stack check` prints brings the node back."""

from __future__ import annotations

import os

import pytest

from tests.system.acceptance.formation import Cluster
from tests.system.acceptance.test_check import find

ROUNDS = int(os.environ.get("HAPKG_ROUNDS", "3"))
"""How often it dies; `make endurance` has it die more often."""
ALONE = "pacemaker runs without corosync"
REMEDY = "service corosync start && service pacemaker restart"
CORES = "/opt/ha/var/lib/pacemaker/cores"
LOAD = """
for client in "crm_mon -1" "cibadmin --query" "crm_node -l" "attrd_updater --name load --update 1 --delay 0"; do
    (while [ -e /run/load ]; do timeout 5 $client; done) </dev/null >/dev/null 2>&1 &
done
"""


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_node_survives_the_death_of_its_engine(cluster: Cluster, round_: int) -> None:
    node = cluster.two
    cluster.wait_until_served()
    node.run(f"touch /run/load; {LOAD}")
    try:
        # At once, and later and later: pacemaker's daemons end one after the other.
        node.run(f"kill -9 $(pidof corosync); sleep {0.2 * (round_ // 2):.1f}")
        told = find(node, "pacemaker", ALONE) if round_ % 2 else []
        node.run(told[0]["remedy"] if told else REMEDY)
        cluster.wait_until_whole()
    finally:
        node.run("rm -f /run/load")
    cluster.wait_until_served()
    assert node.tell(f"find {CORES} -type f") == ""
    assert node.tell(r"grep -E 'terminated with signal (4|6|7|8|11)\b' /opt/ha/var/log/pacemaker/pacemaker.log") == ""


def test_nothing_is_started_while_pacemaker_stops(cluster: Cluster) -> None:
    node = cluster.two
    cluster.wait_until_served()
    # The fencer is the last but one to be stopped: what is started while it is waited for would be left behind.
    node.run("kill -STOP $(pidof pacemaker-fenced); kill -9 $(pidof corosync)")
    node.run(
        "(sleep 4; kill -CONT $(pidof pacemaker-fenced)) </dev/null >/dev/null 2>&1 & service pacemaker stop & "
        "sleep 0.5; service corosync start; wait"
    )
    assert node.tell("pidof pacemaker-attrd pacemaker-based pacemaker-controld pacemaker-fenced") == ""
    node.run("service pacemaker start")
    cluster.wait_until_served()
