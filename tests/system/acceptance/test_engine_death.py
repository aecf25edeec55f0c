"""The engine or a daemon dies: nothing crashes or hangs, and the line that `ha-stack check` prints brings it back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

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
LATE = """
#include <sys/syscall.h>
#include <unistd.h>
pid_t setsid(void) {
    if (access("/run/late", F_OK) == 0)
        sleep(5);
    return syscall(SYS_setsid);
}
"""
"""Loaded into pacemakerd: as long as /run/late is there, its children take five seconds to become daemons."""


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


def test_a_client_that_waits_for_a_node_outlives_its_departure(cluster: Cluster) -> None:
    one, two = cluster.nodes
    cluster.wait_until_served()
    before = one.find("pacemaker-attrd")
    # What is stopped does not answer, and so it is waited for until it is known to have left.
    two.run("kill -STOP $(pidof pacemaker-attrd)")
    wait = "attrd_updater --private --wait cluster --name waiting --update 1"
    one.run(f"rm -f /root/waited; ({wait}; echo $? > /root/waited) </dev/null >/dev/null 2>&1 & sleep 1")
    assert not (one.root / "root/waited").exists()
    two.run("kill -9 $(pidof pacemaker-attrd)")
    cluster.wait_until(lambda: one.tell("cat /root/waited") == "0\n", "answer to the client")
    assert one.find("pacemaker-attrd") == before
    one.run("attrd_updater --private --name waiting --delete")
    cluster.wait_until_served()


def test_a_daemon_that_is_told_to_stop_as_it_starts_does(cluster: Cluster, tmp_path: Path) -> None:
    node = cluster.two
    cluster.wait_until_served()
    (tmp_path / "late.c").write_text(LATE)
    library = node.root / "root/late.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "late.c")], check=True)
    node.run("service pacemaker stop; LD_PRELOAD=/root/late.so /etc/init.d/pacemaker start")
    try:
        cluster.wait_until_whole()
        node.run("touch /run/late; kill -9 $(pidof pacemaker-controld)")
        cluster.wait_until(
            lambda: len(node.tell("pidof pacemakerd").split()) == 2, "a controller that is being started"
        )
        assert node.run("timeout 90 service pacemaker stop", check=False).returncode == 0
        assert node.tell("pidof pacemakerd pacemaker-controld") == ""
    finally:
        node.run("rm -f /run/late; kill -9 $(pidof pacemakerd pacemaker-controld)", check=False)
        library.unlink()
        node.run("service pacemaker start")
    cluster.wait_until_served()
