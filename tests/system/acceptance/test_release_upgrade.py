"""Debian's next release, with the stack that is built for it, on one node after the other while the cluster serves."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hapkg.distribution import read_debian
from tests.system.acceptance.cluster import Machine
from tests.system.acceptance.conftest import SITE, SUITE, Node, Stack, install_cluster, succeed
from tests.system.acceptance.formation import FOLDER, Cluster, is_at, locate, start
from tests.system.acceptance.test_check import find

NEXT = dict(zip(read_debian().suites, [*read_debian().suites][1:], strict=False)).get(SUITE, "")
pytestmark = pytest.mark.skipif(not NEXT, reason=f"{SUITE} is the last suite: there is nothing to upgrade to")

UPGRADE = "apt-get update -q && apt-get -y -o Dpkg::Options::=--force-confold full-upgrade"
AGAIN = f"dpkg --configure -a; apt-get -y --fix-broken install; {UPGRADE}"
"""Where apt gives up in the middle, as docs/node.md says."""
FILES = f"sha256sum {FOLDER}/corosync.conf {FOLDER}/authkey"


@pytest.fixture(scope="module")
def pair(bare_node: Path, stack: Stack) -> Iterator[Cluster]:
    """A cluster of the suite, whose nodes' repository has the next one, too."""
    succeed("build-all", "--suite", NEXT, "--site", str(SITE))
    succeed("publish", "--repo", str(stack.repository), "--suite", NEXT, "--site", str(SITE))
    with contextlib.ExitStack() as scope:
        yield scope.enter_context(install_cluster(bare_node, stack))


def turn(machine: Machine) -> Node:
    """The root folder of a machine whose apt has the next release of Debian and of the stack."""
    for file in (machine.root / "etc/apt").rglob("*"):
        if file.suffix in (".list", ".sources"):
            file.write_text(re.sub(rf"\b{SUITE}\b", NEXT, file.read_text()))
    return Node(root=machine.root)  # whose apt reaches Debian


def list_releases(cluster: Cluster) -> list[str]:
    """Number of Debian's release in the version of each node's pacemaker."""
    told = [node.run("dpkg-query -W -f '${Version}' ha-pacemaker").stdout for node in cluster.nodes]
    return [re.sub(r".*\+ha(\d+)\..*", r"\1", version) for version in told]


def move_to_and_fro(cluster: Cluster) -> None:
    """The service runs on either node, and is asked for by the other."""
    for node, other in (cluster.nodes, cluster.nodes[::-1]):
        other.run(f"crm node standby {node.name}")
        cluster.wait_until(lambda other=other: is_at(other, "follower", other.name), f"follower on {other.name}")  # type: ignore[misc]
        other.run(f"crm node online {node.name}")
        cluster.wait_until_served()


def test_a_node_that_leaves_for_the_next_release_comes_back_into_its_cluster(pair: Cluster) -> None:
    one, two = pair.nodes
    releases = read_debian().suites
    sums = two.run(FILES).stdout
    two.run("crm --wait node standby; service pacemaker stop; service corosync stop")
    pair.wait_until(lambda: is_at(one, "follower", one.name), "follower on the node that stays")
    done = turn(two).run(UPGRADE, hostname=two.name, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f"VERSION_CODENAME={NEXT}" in (two.root / "etc/os-release").read_text()
    assert locate(one, "follower") == one.name
    start(two)
    pair.wait_until(lambda: f"Node {two.name}: standby" in one.tell("crm_mon -1"), "return of the node, in standby")
    two.run(f"crm node online {two.name}")
    pair.wait_until_served()
    assert list_releases(pair) == [releases[SUITE], releases[NEXT]]
    assert two.run(FILES).stdout == sums
    move_to_and_fro(pair)
    two.run("ha-stack check", check=False)  # it tells the other one
    (found,) = find(one, "same", two.name)
    assert (found["level"], found["found"].split("+ha")[-1].split(".")[0]) == ("warn", releases[NEXT])
    assert [f for f in json.loads(two.tell("ha-stack check --json")) if f["level"] == "FAIL"] == []


def test_a_release_that_is_upgraded_under_a_node_goes_on_serving(pair: Cluster) -> None:
    one, two = pair.nodes
    two.run(f"crm --wait node standby {two.name}; crm node online {two.name}")
    pair.wait_until(lambda: is_at(two, "follower", one.name), "follower on the node of before")
    daemons = [one.find(name) for name in ("corosync", "pacemakerd", "pacemaker-execd")]
    disk = turn(one)
    if disk.run(UPGRADE, hostname=one.name, check=False).returncode:
        assert find(one, "packages", "dpkg has not finished") != []
        disk.run(AGAIN, hostname=one.name)
    assert [one.find(name) for name in ("corosync", "pacemakerd", "pacemaker-execd")] == daemons
    assert (pair.is_whole(), locate(two, "follower")) == (True, one.name)
    (found,) = find(one, "daemons", "from before an upgrade")
    one.run(found["remedy"])
    pair.wait_until_served()
    assert list_releases(pair) == [read_debian().suites[NEXT]] * 2
    assert find(one, "daemons", "") == []
    move_to_and_fro(pair)
