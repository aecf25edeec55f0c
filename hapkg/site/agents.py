"""Agents that a site names: which of them the built stack has, and which it cannot have and are not its affair."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hapkg.site.model import Site

_OF_THE_MACHINE = ("systemd", "lsb", "service")
"""Classes whose agents are units and scripts of whatever a node has installed."""


@dataclass(frozen=True, order=True)
class Agent:
    """An agent as pacemaker names it."""

    kind: str
    """Its class: ocf, stonith, systemd, lsb, service."""
    provider: str
    """Of OCF agents; "" where crm looks for it."""
    type: str
    user: str
    """Resource that uses it."""

    @property
    def name(self) -> str:
        """CLASS:PROVIDER:TYPE."""
        return ":".join(part for part in (self.kind, self.provider, self.type) if part)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Verdict on the agents of a site."""

    refusals: tuple[str, ...]
    warnings: tuple[str, ...]


def list_agents(site: Site) -> tuple[Agent, ...]:
    """The agents of a site's devices and of the commands in extra, each with the first resource that uses it."""
    found: dict[str, Agent] = {}
    for agent in _find_agents(site):
        found.setdefault(agent.name, agent)
    return tuple(found.values())


def _find_agents(site: Site) -> Iterator[Agent]:
    for device in site.fencing.devices:
        yield Agent("stonith", "", device.agent, device.name)
    for service in site.service:
        for resource in (*service.resources, *([service.clone] if service.clone else [])):
            kind, *provider, name = resource.agent.split(":")
            yield Agent(kind, provider[0] if provider else "", name, f"{service.name}_{resource.name}")
    for command in site.commands:
        parts = command.agent.split(":")
        if len(parts) == 3 and parts[0] == "ocf":
            yield Agent("ocf", parts[1], parts[2], command.name)
        elif len(parts) == 2 and parts[0] == "ocf":
            yield Agent("ocf", "", parts[1], command.name)
        elif len(parts) == 2:
            yield Agent(parts[0], "", parts[1], command.name)


def look_for_agents(site: Site, agents: Sequence[Agent], prefix: str) -> str:
    """A script that prints which agents are there, which providers the stack has, and what devices say of plugs."""
    folders = (f"{prefix}/usr/lib/ocf/resource.d", "/usr/lib/ocf/resource.d")
    looks = [f'for p in {prefix}/usr/lib/ocf/resource.d/*/; do echo "provider $(basename "$p")"; done']
    for agent in agents:
        there = f"echo {shlex.quote(f'there {agent.name}')}"
        kind = shlex.quote(agent.type)
        if agent.kind == "ocf":
            provider = shlex.quote(agent.provider) if agent.provider else "*"
            places = " ".join(f"{folder}/{provider}/{kind}" for folder in folders)
            looks.append(f'for f in {places}; do if [ -x "$f" ]; then {there}; fi; done')
        elif agent.kind == "stonith" and agent.type.startswith("fence_"):
            looks.append(f"if [ -x {prefix}/sbin/{kind} ]; then {there}; fi")
        elif agent.kind == "stonith":
            looks.append(f"if {prefix}/sbin/stonith -L 2>/dev/null | grep -Fqx {kind}; then {there}; fi")
    for name in sorted({device.agent for device in site.fencing.devices if device.agent.startswith("fence_")}):
        looks.append(
            f"if {prefix}/sbin/{name} -o metadata 2>/dev/null | grep -q port_as_ip; then echo 'board {name}'; fi"
        )
    return "\n".join(looks)


def judge_agents(site: Site, agents: Sequence[Agent], told: Sequence[str]) -> Judgement:
    """Judge agents by what the script of look_for_agents() printed."""
    lines = set(told)
    providers = {line.partition(" ")[2] for line in lines if line.startswith("provider ")}
    refusals, warnings = [], []
    for agent in agents:
        if f"there {agent.name}" in lines:
            continue
        if agent.kind in _OF_THE_MACHINE:
            warnings.append(f"{agent.user}: {agent.name} cannot be checked here: it is of each node's own packages")
        elif agent.kind == "ocf" and agent.provider and agent.provider not in providers:
            warnings.append(
                f"{agent.user}: {agent.name} cannot be checked here: the stack has nothing of that provider"
            )
        elif agent.kind in ("ocf", "stonith"):
            refusals.append(f"{agent.user}: there is no agent {agent.name}")
        else:
            refusals.append(f"{agent.user}: there is no class of agents {agent.kind} ({agent.name})")
    for device in site.fencing.devices:
        by_address = "port_as_ip" in device.parameters
        if len(device.nodes) > 1 and f"board {device.agent}" in lines and not by_address:
            refusals.append(
                f"{device.name}: {device.agent} speaks to one machine's board, by its metadata, and would switch off "
                f"that one whichever of {', '.join(device.nodes)} is meant"
            )
    return Judgement(refusals=tuple(refusals), warnings=tuple(warnings))
