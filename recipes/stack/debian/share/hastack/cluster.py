"""The state of the cluster, as pacemaker tells it, and the acts that it permits."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from hastack.system import Problem, find_pids, need, run

_RANKS = {"Stopped": 0, "Starting": 1, "Stopping": 1, "Started": 2, "Unpromoted": 2, "Promoted": 3}
REPORT = "ha-stack-report"
"""Attribute by which nodes tell each other their versions; private: it lives in the daemons' memory alone."""
LEAVING = "ha-stack-leaving"
"""Attribute of a node that is about to leave for its upgrade, private as well."""


@dataclass(frozen=True)
class Member:
    """A node as the cluster sees it."""

    name: str
    online: bool
    standby: bool
    maintenance: bool
    unclean: bool
    pending: bool
    resources: int
    """Running there."""

    @property
    def serves(self) -> bool:
        """True where resources can run."""
        return self.online and not (self.standby or self.maintenance or self.unclean or self.pending)

    def describe(self) -> str:
        """Its state in a word."""
        words = ("unclean", "pending", "standby", "maintenance")
        found = [word for word in words if getattr(self, word)]
        return ", ".join([*found] if found else ["online" if self.online else "OFFLINE"])


@dataclass(frozen=True)
class Resource:
    """One instance of a resource."""

    id: str
    role: str
    failed: bool
    managed: bool
    nodes: tuple[str, ...]
    fences: bool = False
    """A fencing device."""
    blocked: bool = False
    """Pacemaker does nothing with it any more: it could not be stopped."""


@dataclass(frozen=True)
class State:
    """The cluster at one moment."""

    controller: str
    """The designated one; empty without."""
    quorate: bool
    maintenance: bool
    fencing: bool
    members: tuple[Member, ...]
    resources: tuple[Resource, ...]
    failures: tuple[str, ...]

    def find(self, name: str) -> Member | None:
        """A member by its name."""
        return next((member for member in self.members if member.name == name), None)


def is_running() -> bool:
    """Tell whether this node's engine runs."""
    return bool(find_pids("corosync"))


def read_state() -> State:
    """The cluster now. Raises Problem when pacemaker does not answer."""
    if not find_pids("pacemakerd"):
        raise Problem("pacemaker does not run on this node", "service corosync start && service pacemaker start")
    told = need(run("crm_mon", "--one-shot", "--inactive", "--output-as=xml"), "pacemaker does not answer")
    return parse_state(told)


def parse_state(text: str) -> State:
    """The cluster in the XML that crm_mon prints. Raises Problem when it is none."""
    root = _parse(text)
    controller = root.find("summary/current_dc")
    options = root.find("summary/cluster_options")
    present = controller is not None and controller.get("present") == "true"
    return State(
        controller=controller.get("name", "") if controller is not None and present else "",
        quorate=controller is not None and controller.get("with_quorum") == "true",
        maintenance=options is not None and options.get("maintenance-mode") == "true",
        fencing=options is not None and options.get("stonith-enabled") == "true",
        members=tuple(_read_member(node) for node in root.findall("nodes/node") if node.get("type") == "member"),
        resources=_read_resources(root.find("resources")),
        failures=tuple(
            f"{failure.get('op_key') or failure.get('id')} on {failure.get('node')}: {failure.get('exitstatus', '')}"
            for failure in root.findall("failures/failure")
        ),
    )


def _parse(text: str) -> ET.Element:
    start = text.find("<")  # warnings come first, on the same stream
    try:
        return ET.fromstring(text[max(start, 0) :])
    except ET.ParseError as cause:
        raise Problem(f"pacemaker's answer is not understood: {cause}") from cause


def _read_member(node: ET.Element) -> Member:
    flags = {name: node.get(name) == "true" for name in ("online", "standby", "maintenance", "unclean", "pending")}
    return Member(name=node.get("name", "?"), resources=int(node.get("resources_running", 0)), **flags)


def _read_resources(part: ET.Element | None) -> tuple[Resource, ...]:
    return tuple(
        Resource(
            id=element.get("id", "?"),
            role=element.get("role", "Stopped"),
            failed=element.get("failed") == "true",
            managed=element.get("managed") == "true",
            nodes=tuple(node.get("name", "?") for node in element.findall("node")),
            fences=element.get("resource_agent", "").startswith("stonith:"),
            blocked=element.get("blocked") == "true",
        )
        for element in (part.iter("resource") if part is not None else ())
    )


def rank_roles(resources: Iterable[Resource]) -> dict[str, int]:
    """The best role that some instance of each resource has."""
    best: dict[str, int] = {}
    for resource in resources:
        best[resource.id] = max(best.get(resource.id, 0), _RANKS.get(resource.role, 1))
    return best


def find_losses(before: Iterable[Resource], after: Iterable[Resource]) -> tuple[str, ...]:
    """Resources that serve before and, with the same role, nowhere after."""
    later = rank_roles(after)
    return tuple(sorted(name for name, rank in rank_roles(before).items() if later.get(name, 0) < rank))


def select_services(resources: Iterable[Resource], staying: int) -> tuple[Resource, ...]:
    """Resources that must go on running on the nodes that stay.

    A fencing device that none of them may run is the one that switches off the only node left, which never does that
    to itself.
    """
    return tuple(resource for resource in resources if not (resource.fences and staying == 1))


def foresee_losses(node: str, staying: int) -> tuple[str, ...]:
    """Resources that pacemaker says would not run any more, were this node in standby. Changes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cib.xml"
        file.write_text(need(run("cibadmin", "--query"), "the cluster's configuration cannot be read"), "utf-8")
        update = ("crm_attribute", "--node", node, "--name", "standby", "--update", "on")
        need(run(*update, extra={"CIB_file": str(file)}), "the standby of this node cannot be tried out")
        simulate = ("crm_simulate", "--xml-file", str(file), "--simulate", "--output-as=xml")
        root = _parse(need(run(*simulate), "the standby of this node cannot be tried out"))
    before = _read_resources(root.find("cluster_status/resources"))
    after = _read_resources(root.find("revised_cluster_status/resources"))
    return find_losses(select_services(before, staying), after)


def has_quorum_without_one(quorumtool: str) -> bool:
    """Tell whether the others keep quorum when one node leaves, by what corosync-quorumtool -s prints."""
    facts = {key.strip(): value.split() for key, _, value in (x.partition(":") for x in quorumtool.splitlines())}
    flags = facts.get("Flags", [])
    own = re.search(r"^ *\d+ +(\d+) .*\(local\)$", quorumtool, re.MULTILINE)
    try:
        total, quorum = int(facts["Total votes"][0]), int(facts["Quorum"][0])
    except (KeyError, IndexError, ValueError):
        return False
    votes = int(own[1]) if own else 1
    return "Quorate" in flags and (total - votes >= quorum if "2Node" not in flags else total == 2)


def find_objections(
    state: State, node: str, quorumtool: str, losses: Iterable[str] = (), leaving: Iterable[str] = ()
) -> tuple[str, ...]:
    """Why this node must not leave the cluster now; nothing when it may."""
    found = []
    if not state.quorate:
        found.append("the cluster has no quorum")
    if not has_quorum_without_one(quorumtool):
        found.append("the nodes that stay would have no quorum")
    if state.maintenance:
        found.append("the cluster is in maintenance mode: resources would not move")
    for member in state.members:
        if member.name != node and not member.serves:
            found.append(f"node {member.name} does not serve: {member.describe()}")
    found += [f"node {name} is being upgraded" for name in leaving if name != node]
    if state.find(node) is None:
        found.append(f"the cluster does not know this node, {node}")
    found += [f"failed: {failure}" for failure in state.failures]
    found += [f"resource {name} would run nowhere" for name in losses]
    return tuple(found)


def find_name() -> str:
    """The name by which the cluster knows this node."""
    return need(run("crm_node", "--name"), "pacemaker does not tell the name of this node").strip()


def publish(attribute: str, value: str) -> None:
    """Tell the other nodes something about this one; an empty value takes it back. They know it afterwards."""
    change = ("--update", value) if value else ("--delete",)
    done = run("attrd_updater", "--private", "--wait", "cluster", "--name", attribute, *change)
    need(done, f"the other nodes cannot be told {attribute}")


def read_published(attribute: str) -> dict[str, str]:
    """The last word of each node."""
    done = run("attrd_updater", "--name", attribute, "--query", "--all", "--output-as=xml")
    if done.status:  # nobody has told anything yet
        return {}
    found = _parse(done.output).iter("attribute")
    return {e.get("host", "?"): value for e in found if (value := e.get("value", ""))}
