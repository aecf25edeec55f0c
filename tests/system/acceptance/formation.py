"""The how-to's cluster: two nodes that install the published stack and their site, and a machine that is none of it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.machine import wait_until
from tests.system.acceptance.cluster import Machine, make_switch, start_machine

FOLDER = "/opt/ha/etc/corosync"
NAMES = ("fiesta-ha1", "fiesta-ha2", "stranger")
PATIENCE = 180
"""Seconds. A cluster waits for its own timeouts, here on a machine that may be busy."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Two nodes of one cluster and a machine that is none of its."""

    one: Machine
    two: Machine
    stranger: Machine

    @property
    def nodes(self) -> tuple[Machine, Machine]:
        """Its members."""
        return self.one, self.two

    def is_whole(self) -> bool:
        """Tell whether both nodes see both online, under one designated controller."""
        return all(
            re.search(r"Online: \[ fiesta-ha1 fiesta-ha2 \]", (text := node.tell("crm_mon -1")))
            and "partition with quorum" in text
            for node in self.nodes
        )

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that the cluster does. Fails with what both nodes see, and the first one's log."""
        wait_until(condition, what, seconds=PATIENCE, evidence=self.describe)

    def wait_until_whole(self) -> None:
        """Wait until both nodes are online."""
        self.wait_until(self.is_whole, "cluster of two nodes")

    def wait_until_served(self) -> None:
        """Wait until both nodes are online and the resources run."""
        self.wait_until_whole()
        self.wait_until(lambda: locate(self.one, "follower") != "", "follower")

    def describe(self) -> str:
        """Logs and states to look at when something does not happen."""
        seen = [node.tell("crm_mon -1 --inactive --failcounts --operations; crm configure show") for node in self.nodes]
        log = [node.tell("grep -vE ' (info|debug)' /opt/ha/var/log/pacemaker/pacemaker.log") for node in self.nodes]
        return "\n".join((*seen, *(text[-6000:] for text in log)))


def start(machine: Machine) -> None:
    """Start the cluster's services as an administrator does."""
    machine.run("service corosync start")
    machine.run("service pacemaker start")


def locate(node: Machine, resource: str) -> str:
    """The node that a resource runs on, as another one sees it; for a clone where it is promoted."""
    told = node.tell(f"crm_resource --resource {resource} --locate 2>&1")
    places = re.findall(r"is running on: (\S+)( Promoted)?", told)
    return next((name for name, _ in sorted(places, key=lambda place: not place[1])), "")


def is_at(node: Machine, resource: str, place: str) -> bool:
    """Tell whether a resource runs on a node, as another one sees it."""
    return locate(node, resource) == place


@contextlib.contextmanager
def form_cluster(roots: Sequence[Path]) -> Iterator[Cluster]:
    """Boot three root folders with ha-stack; two of them have the site, too, and form its cluster by its commands."""
    with contextlib.ExitStack() as scope:
        switch = scope.enter_context(make_switch())
        machines = [
            scope.enter_context(start_machine(root, switch, name=name, address=f"192.168.132.{11 + number}/24"))
            for number, (root, name) in enumerate(zip(roots, NAMES, strict=True))
        ]
        for machine in machines:
            lines = [f"{other.address} {other.name}" for other in machines]
            (machine.root / "etc/hosts").write_text("\n".join(("127.0.0.1 localhost", *lines, "")))
        cluster = Cluster(one=machines[0], two=machines[1], stranger=machines[2])
        cluster.one.run("ha-stack keygen")
        key = cluster.two.root / FOLDER[1:] / "authkey"
        key.write_bytes((cluster.one.root / FOLDER[1:] / "authkey").read_bytes())
        key.chmod(0o400)
        for node in cluster.nodes:
            node.run("rsyslogd")  # the package has a unit, no init script
            start(node)
        cluster.wait_until_whole()
        cluster.one.run("ha-stack bootstrap")
        cluster.wait_until_served()
        yield cluster
        for node in cluster.nodes:
            node.run("service pacemaker stop; service corosync stop", check=False)
