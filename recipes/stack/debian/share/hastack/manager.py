"""pacemaker on this node: its daemons, and what an administrator left behind in the cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from hastack import engine
from hastack.cluster import State
from hastack.finding import FAIL, OK, WARN, Finding
from hastack.system import find, find_pids, run

DAEMONS = tuple(f"pacemaker-{name}" for name in ("attrd", "based", "controld", "execd", "fenced", "schedulerd"))
_NEEDS = (
    (r"fence_(ipmilan|ilo[345]|ilo\d|idrac|imm|ipmilanplus)|external/ipmi", "ipmitool", "ipmitool"),
    (
        r"fence_(apc_snmp|brocade|cisco_mds|eaton_snmp|emerson|eps|ibmblade|ifmib|intelmodular|tripplite_snmp)",
        "snmpget",
        "snmp",
    ),
    (r"external/(rackpdu|riello)", "snmpset", "snmp"),
    (r"fence_(ilo\d?_ssh|ilo_ssh|virsh)|external/ssh", "ssh", "openssh-client"),
    (r"external/libvirt", "virsh", "libvirt-clients"),
    (r"fence_scsi", "sg_persist", "sg3-utils"),
    (r"fence_mpath", "mpathpersist", "multipath-tools"),
)
"""Fencing agents, the program that each runs, and Debian's package of it."""


def check_daemons() -> Iterator[Finding]:
    """All daemons of pacemaker, and the engine under them."""
    restart = "service pacemaker restart"
    if engine.is_alone():
        text = "pacemaker runs without corosync: nothing is watched, started or fenced here"
        yield Finding("pacemaker", FAIL, text, f"service corosync start && {restart}")
    elif find_pids("pacemakerd"):
        missing = [daemon for daemon in DAEMONS if not find_pids(daemon)]
        if missing:
            yield Finding("pacemaker", FAIL, f"{', '.join(missing)} missing: pacemaker gave up here", restart)
        else:
            yield Finding("pacemaker", OK, f"pacemakerd and its {len(DAEMONS)} daemons run")


def check_memory_of_hands(state: State) -> Iterator[Finding]:
    """Settings made for a while and easily forgotten: maintenance, unmanaged resources, bans and preferences."""
    if not state.controller:
        text = "none: nodes join for some seconds after a start"
        advice = "wait a minute; then see /opt/ha/var/log/pacemaker/pacemaker.log"
        yield Finding("controller", WARN, text, advice=advice)
        return
    yield Finding("controller", OK, state.controller)
    if state.maintenance:
        remedy = "crm configure property maintenance-mode=false"
        yield Finding("maintenance", WARN, "the whole cluster: nothing is watched or moved", remedy)
    for member in state.members:
        if member.maintenance and not state.maintenance:
            yield Finding("maintenance", WARN, f"node {member.name}", f"crm node ready {member.name}")
    if not state.maintenance:
        for name in sorted({r.id for r in state.resources if not r.managed and not r.blocked}):
            yield Finding("unmanaged", WARN, f"{name} is left alone", f"crm resource manage {name}")
    told = run("cibadmin", "--query", "--xpath", "//rsc_location")
    for name, resource in find_leftovers(told.output):
        yield Finding("constraint", WARN, f"{name} is left from a move or ban", f"crm resource clear {resource}")


def find_leftovers(xml: str) -> tuple[tuple[str, str], ...]:
    """Constraints that crm resource move and ban made, with their resource, in XML of the CIB."""
    found = []
    for element in re.findall(r"<rsc_location [^>]*>", xml):
        facts = dict(re.findall(r'(id|rsc)="([^"]*)"', element))
        if re.match(r"cli-(ban|prefer|standby)-", facts.get("id", "")):
            found.append((facts["id"], facts.get("rsc", "?")))
    return tuple(sorted(set(found)))


def check_agents(agents: Iterable[str]) -> Iterator[Finding]:
    """Programs that fencing agents run, here: Debian's packages of them are only recommended."""
    for agent in sorted(set(agents)):
        for pattern, program, package in _NEEDS:
            if re.fullmatch(pattern, agent) and not find(program):
                yield Finding("fencing", FAIL, f"{agent} needs {program}, which is missing", f"apt install {package}")
