"""add-node, remove-node, replace-node: what has to happen on which node, and what this node can do of it.

Each is run again after what it asks for was done elsewhere, until nothing is left. The site's package says who belongs
to the cluster: it is changed first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from hastack import bootstrap, check, cluster, drift
from hastack.difference import compare_engine
from hastack.site import AUTHKEY, CONFIGURATION, CRM, DRBD_SECRET, Node, Site, read_crm, read_site
from hastack.system import REFUSED, Problem, need, run, say


@dataclass(frozen=True)
class Next:
    """A step that is left to do."""

    where: str
    command: str


def add_node(name: str) -> int:
    """Take a node into the running cluster, which the site's package already names."""
    site, state = _look(name)
    new = _find(site, name)
    own = _be_same(site, state, without=name)
    _reload(site)
    member = state.find(name)
    if member is None or not member.online:
        return _tell([*_bring(site, new), Next("here", f"ha-stack add-node {name}")])
    say(f"done  {name} is {member.describe()}")
    if cluster.read_published(cluster.REPORT).get(name) != own:  # it tells when check runs there
        return _tell([Next(name, "ha-stack check"), Next("here", f"ha-stack add-node {name}")])
    return _tell(_load())


def replace_node(name: str) -> int:
    """Put another machine in the place of a lost one: with its name, its id and its addresses."""
    site, state = _look(name)
    node = _find(site, name)
    member = state.find(name)
    if member and member.online:
        raise Problem(
            f"{name} is {member.describe()}, in the cluster",
            f"to replace it: crm node standby {name}; on {name}, service pacemaker stop; service corosync stop",
            REFUSED,
        )
    _be_off(member)
    say(f"done  {name} is off")
    _be_same(site, state)
    return _tell([*_bring(site, node, replacing=True), Next("here", f"ha-stack status: {name} is online")])


def remove_node(name: str) -> int:
    """Take a node out of the running cluster, which the site's package no longer names."""
    site, state = _look(name)
    if any(node.name == name for node in site.nodes):
        raise Problem(
            f"the site still names {name}",
            f"remove its [[nodes]] and devices from the site file; hapkg build-all && hapkg publish; then on each node "
            f"that stays: apt update && apt install {site.package}",
            REFUSED,
        )
    member = state.find(name)
    if member and member.online:
        _keep_quorum(name)
        leave = "crm node standby; service pacemaker stop; service corosync stop"
        purge = "apt purge 'ha-stack-site*'"
        return _tell([Next(name, leave), Next(name, purge), Next("here", f"ha-stack remove-node {name}")])
    _be_off(member)
    _be_same(site, state, without=name)
    _reload(site)
    for kind, leftover in find_leftovers(name, read_crm(), bootstrap.read_cib()):
        need(run("cibadmin", "--delete", "--xml-text", f'<{kind} id="{leftover}"/>'), f"{leftover} cannot be deleted")
        say(f"done  deleted {leftover}, which was of {name} alone")
    if member:
        need(run("crm_node", "--force", "--remove", name), f"{name} cannot be removed")
        say(f"done  pacemaker knows {name} no more")
    return _tell(_load())


def _look(name: str) -> tuple[Site, cluster.State]:
    """The site and the cluster. Raises Problem where this node can do nothing for another one."""
    site = read_site()
    if not site.packaged:
        raise Problem("this cluster was made by hand, without a site file", "docs/day.md tells the steps", REFUSED)
    own = site.find_own()
    if own and own.name == name:
        raise Problem(f"this is {name}: run it on a node that is in the cluster and stays", code=REFUSED)
    if not cluster.is_running():
        raise Problem("the cluster does not run on this node", "run it on a node where it does", REFUSED)
    state = cluster.read_state()
    if not state.quorate or not state.controller:
        raise Problem("the cluster has no quorum", "ha-stack status", REFUSED)
    return site, state


def _be_off(member: cluster.Member | None) -> None:
    """Raise Problem for a node that was lost and that nobody switched off."""
    if member and member.unclean:
        raise Problem(
            f"{member.name} was lost and not switched off: nobody knows what it still writes",
            f"switch it off; where no device can, pull its plug, and only then: stonith_admin --confirm {member.name}",
            REFUSED,
        )


def _find(site: Site, name: str) -> Node:
    for node in site.nodes:
        if node.name == name:
            return node
    raise Problem(
        f"the site has no node {name}: {', '.join(node.name for node in site.nodes)}",
        "add its [[nodes]] and a device to the site file; hapkg build-all && hapkg publish; then on each node: "
        f"apt update && apt install {site.package}",
        REFUSED,
    )


def _be_same(site: Site, state: cluster.State, *, without: str = "") -> str:
    """The report that all nodes here have told alike. Raises Problem that names those who have not."""
    own = check.tell_report(site)
    reports = cluster.read_published(cluster.REPORT)
    here = [member.name for member in state.members if member.online and member.name != without]
    others = [name for name in here if reports.get(name) != own]
    if others:
        raise Problem(
            f"{', '.join(others)} has another configuration, or has not told which",
            f"on {', '.join(others)}: apt update && apt install {site.package} && ha-stack check",
            REFUSED,
        )
    say(f"done  {', '.join(sorted(here))} have the same configuration")
    return own


def _reload(site: Site) -> None:
    """Have corosync take up who its members are, where it has not. Raises Problem where it does not."""

    def differ() -> list[str]:
        told = run("corosync-cmapctl").output
        return [line for line in compare_engine(CONFIGURATION.read_text("utf-8"), told) if "nodelist.node." in line]

    if differ():
        need(run("corosync-cfgtool", "-R"), "corosync does not read its configuration again", "its log tells why")
        if left := differ():
            raise Problem(f"corosync did not take it up: {left[0]}", "its log tells why")
        say("done  corosync has read its configuration again, on all nodes")
    say(f"done  corosync's members: {', '.join(node.name for node in site.nodes)}")


def _bring(site: Site, node: Node, *, replacing: bool = False) -> Iterator[Next]:
    """Steps that make a machine a node."""
    yield Next(node.name, f"apt install ha-stack {site.package}")
    for key, wanted in ((AUTHKEY, site.crypto), (DRBD_SECRET, site.drbd_secret)):
        if wanted and node.addresses:
            yield Next("here", f"scp -p {key} root@{node.addresses[0]}:{key}")
    for nodes, command in site.prepare if replacing else ():
        # Its disks are empty, and the other nodes have the data: never the steps that make a disk the source.
        if node.name in nodes and command.startswith("drbdadm create-md"):
            yield Next(node.name, command)
    yield Next(node.name, "ha-stack check")
    yield Next(node.name, "service corosync start; service pacemaker start")


def _keep_quorum(name: str) -> None:
    told = run("corosync-quorumtool", "-s").output
    if not cluster.has_quorum_without_one(told):
        raise Problem(f"without {name} the others would have no quorum", "start the nodes that are off first", REFUSED)


def find_leftovers(name: str, crm: str, cib: str) -> Iterator[tuple[str, str]]:
    """Kind and id of what the cluster has for a node alone and the site no longer names: constraints first."""
    configuration = ET.fromstring(cib).find("configuration")
    wanted = drift.parse_crm(crm).objects
    if configuration is None:
        return
    devices = []
    for device in configuration.findall("resources/primitive[@class='stonith']"):
        hosts = device.find("instance_attributes/nvpair[@name='pcmk_host_list']")
        if hosts is not None and re.split(r"[\s,;]+", hosts.get("value", "")) == [name]:
            devices.append(device.get("id", ""))
    devices = [device for device in devices if device not in wanted]
    for level in configuration.findall(f"fencing-topology/fencing-level[@target='{name}']"):
        yield "fencing-level", level.get("id", "")
    for constraint in configuration.findall("constraints/*"):
        named = {constraint.get(key, "") for key in ("node", "rsc", "with-rsc", "first", "then")}
        if constraint.get("id") not in wanted and named & {name, *devices}:
            yield constraint.tag, constraint.get("id", "")
    yield from (("primitive", device) for device in devices)


def _load() -> list[Next]:
    """Steps that are left when the members are right: for what the site has pacemaker run."""
    found = drift.compare(drift.parse_crm(read_crm()), ET.fromstring(bootstrap.read_cib()))
    if found.changed:
        return [Next("here", "ha-stack diff"), Next("here", "ha-stack bootstrap --force")]
    return [Next("here", "ha-stack bootstrap")] if found.missing else []


def _tell(steps: list[Next]) -> int:
    for step in steps:
        say(f"next  {step.where}: {step.command}")
    if not steps:
        say(f"done  the cluster has what {CRM} names")
    return 0


COMMANDS: dict[str, tuple[Callable[[str], int], str]] = {
    "add-node": (
        add_node,
        "Take a node into the cluster that the site's package names: what is done, what is next, where.",
    ),
    "replace-node": (replace_node, "Put another machine in the place of a lost node: what is next, and where."),
    "remove-node": (remove_node, "Take a node out of the cluster that the site's package no longer names."),
}
