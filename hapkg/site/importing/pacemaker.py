"""Tables of a site file from crm's configuration; lines that the file has no key for go to extra as they stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from hapkg.errors import SiteError
from hapkg.site.extra import Command, read_commands
from hapkg.site.fencing import FencingDevice, read_host_map
from hapkg.site.importing.imported import Imported, read_value
from hapkg.site.secrets import is_secret

_SELF_MADE = (
    *("have-watchdog", "dc-version", "cluster-infrastructure", "cluster-name", "last-lrm-refresh"),
    *("stonith-enabled", "fencing-enabled"),
)
"""Properties that pacemaker writes itself, and those that follow from [fencing]."""
_NOWADAYS = (
    (r"\b(\$?role)=([\"']?)(?i:master)\b", r"\1=\2Promoted"),
    (r"\b(\$?role)=([\"']?)(?i:slave)\b", r"\1=\2Unpromoted"),
    (r":(?i:master)\b", ":Promoted"),
    (r":(?i:slave)\b", ":Unpromoted"),
    (r"\bmaster-max=", "promoted-max="),
    (r"\bmaster-node-max=", "promoted-node-max="),
)
"""Forms of other times, and what crm writes now."""


def import_crm(found: Imported, text: str) -> None:
    """Take over what crm configure show prints. Raises SiteError where it is none of that."""
    lines = modernise(text)
    try:
        commands = list(read_commands("\n".join(lines)))
    except ValueError as cause:
        raise SiteError(f"crm's configuration: {cause}", hint="take what crm configure show prints") from cause
    renamed = {**_find_drbd(found, commands), **_find_booth(found, commands)}
    for command in commands:
        if command.name in renamed:
            if renamed[command.name] != command.name:
                found.notes.append(
                    f"{command.name} is called {renamed[command.name]} now: before bootstrap, delete the old one in "
                    "maintenance mode"
                )
            continue
        text = lines[command.line - 1]
        for old, new in renamed.items():
            text = re.sub(rf"(?<![\w-]){re.escape(old)}(?![\w-])", new, text)
        _import_command(found, command, text)


def _find_drbd(found: Imported, commands: Sequence[Command]) -> dict[str, str]:
    """Names of what pacemaker runs of the DRBD resources that have a table, and how the site calls it."""
    tables = {table["name"] for table in found.table.get("drbd", ())}
    renamed: dict[str, str] = {}
    for command in commands:
        if command.agent == "ocf:linbit:drbd":
            name = next((word.partition("=")[2] for word in command.words if word.startswith("drbd_resource=")), "")
            if name in tables:
                renamed[command.name] = f"drbd_{name}"
    for command in commands:
        if command.words[0].lower() in ("clone", "ms") and len(command.words) > 2 and command.words[2] in renamed:
            renamed[command.name] = f"ms_{renamed[command.words[2]]}"
    for name in tables - {new.removeprefix("drbd_") for new in renamed.values()}:
        found.notes.append(f"DRBD resource {name}: pacemaker has not run it so far, and will")
    return renamed


def _find_booth(found: Imported, commands: Sequence[Command]) -> dict[str, str]:
    """Names of what pacemaker runs of booth, and how the site calls it; without it there is no table of booth."""
    if "booth" not in found.table:
        return {}
    sites = found.table["booth"]["sites"]
    renamed: dict[str, str] = {}
    for command in commands:
        told = dict(word.partition("=")[::2] for word in command.words)
        if command.agent == "ocf:heartbeat:IPaddr2" and told.get("ip") in sites:
            renamed[command.name] = "booth_ip"
            found.table["booth"] = {"address": told["ip"], **found.table["booth"]}
            if told.get("cidr_netmask", "24") != "24":
                found.table["booth"]["netmask"] = read_value(told["cidr_netmask"])
        elif command.agent == "ocf:pacemaker:booth-site":
            renamed[command.name] = "booth_site"
    if set(renamed.values()) != {"booth_ip", "booth_site"}:
        del found.table["booth"]
        found.notes.append("booth.conf is left out: pacemaker runs no booth-site with one of its addresses here")
        return {}
    for command in commands:
        if command.words[0].lower() == "group" and set(command.words[2:4]) == set(renamed):
            renamed[command.name] = "booth"
            found.notes += [f"{command.name}: {word} is left out" for word in command.words[4:] if "=" in word]
            break
    return renamed


def _import_command(found: Imported, command: Command, text: str) -> None:
    """Put one command of crm where it belongs."""
    kind = command.words[0].lower()
    names = {node["name"] for node in found.table["nodes"]}
    if kind == "node" and _import_node(found, command):
        return
    if kind == "property":
        _import_properties(found, command)
        return
    defaults = {"rsc_defaults": "resource-defaults", "op_defaults": "operation-defaults"}
    if kind in defaults and "rule" not in command.words:
        told = dict(word.partition("=")[::2] for word in command.words[1:] if "=" in word)
        own = found.table.setdefault("crm", {}).setdefault(defaults[kind], {})
        own.update({name: read_value(value) for name, value in told.items()})
        return
    if kind == "primitive" and command.fences and (device := _make_device(found, command, names)):
        found.table.setdefault("fencing", {}).setdefault("devices", []).append(device)
        return
    devices = {device["name"]: device for device in found.table.get("fencing", {}).get("devices", [])}
    own_device = command.words[2] if kind == "location" and len(command.words) > 2 else ""
    if own_device in devices and command.name == f"{own_device}_elsewhere":
        return
    kept = text
    for name, value in re.findall(r"""([A-Za-z][\w-]*)=("[^"]*"|'[^']*'|\S+)""", text):
        if is_secret(name):
            kept = kept.replace(f"{name}={value}", "")
            found.notes.append(f"{command.name or kind}: {name} is a secret and left out: keep it on the nodes")
    found.notes.append(f"{kind} {command.name} is in extra".replace("  ", " "))
    found.extra.append(" ".join(kept.split()))


def _import_node(found: Imported, command: Command) -> bool:
    """Take over attributes and utilization of a node; False where it is none of the members."""
    words = [word for word in command.words[1:] if not re.fullmatch(r"\d+:", word)]
    node = next((node for node in found.table["nodes"] if words and node["name"] == words[0]), None)
    if node is None:
        return False
    place = "attributes"
    for word in words[1:]:
        name, sign, value = word.partition("=")
        if not sign:
            place = word
        elif name in ("standby", "maintenance") or is_secret(name):
            found.notes.append(f"node {node['name']}: {name} is left out: it is a state, or a secret")
        elif place in ("attributes", "utilization"):
            node.setdefault(place, {})[name] = read_value(value)
    return True


def _import_properties(found: Imported, command: Command) -> None:
    for name, _, value in (word.partition("=") for word in command.words[1:] if "=" in word):
        if name not in _SELF_MADE:
            found.table.setdefault("crm", {}).setdefault("properties", {})[name] = read_value(value)
        elif name in ("stonith-enabled", "fencing-enabled") and value.lower() in ("false", "off", "no", "0"):
            found.notes.append(f"{name}={value} is not taken over: with devices fencing is on, without it opts out")


def _make_device(found: Imported, command: Command, names: set[str]) -> dict[str, Any] | None:
    """The table of a fencing device; None where it has no form in the site file."""
    parts = _read_sections(command.words[3:])
    if parts is None:
        return None
    parameters, meta, operations = parts
    hosts = re.split(r"[\s,;]+", parameters.pop("pcmk_host_list", "")) if "pcmk_host_list" in parameters else []
    plugs = dict(read_host_map(parameters.get("pcmk_host_map", "")))
    nodes = [name for name in (hosts or plugs) if name]
    secret = [name for name in parameters if is_secret(name) and command.agent.split(":")[-1] != "fence_scsi"]
    device: dict[str, Any] = {
        "name": command.name,
        "agent": command.agent.removeprefix("stonith:"),
        "nodes": nodes,
        "parameters": {name: read_value(value) for name, value in parameters.items() if name not in secret},
    }
    device |= {"meta": meta} if meta and meta != {"provides": "unfencing"} else {}
    device |= {"op": operations} if operations else {}
    try:
        FencingDevice.model_validate({**device, "nodes": tuple(nodes)})
    except ValidationError:
        return None
    if not nodes or not set(nodes) <= names:
        return None
    for name in secret:
        found.notes.append(f"{command.name}: {name} is a secret and left out: a script on the node can print it")
    return device


def _read_sections(
    words: Sequence[str],
) -> tuple[dict[str, str], dict[str, Any], dict[str, dict[str, str]]] | None:
    """Parameters, meta attributes and operations of a primitive; None for what has more than these."""
    parameters: dict[str, str] = {}
    meta: dict[str, Any] = {}
    operations: dict[str, dict[str, str]] = {}
    place, action = "params", ""
    for word in words:
        name, sign, value = word.partition("=")
        if not sign:
            if place == "op" and not action:
                action = word
                operations.setdefault(action, {})
            elif word in ("params", "meta", "op"):
                place, action = word, ""
            else:
                return None
        elif place == "op" and name in ("interval", "timeout"):
            operations.setdefault(action or "monitor", {})[name] = value
        elif place == "op":
            return None
        else:
            (parameters if place == "params" else meta)[name] = value
    return parameters, meta, operations


def modernise(text: str) -> list[str]:
    """Commands of crm, a line each, in today's words for what older ones said otherwise."""
    found = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        command = " ".join(line.split())
        for old, new in _NOWADAYS:
            command = re.sub(old, new, command)
        if told := re.match(r"(?:ms|master) (\S+ \S+)(?: (.*))?$", command):
            meta = re.sub(r"(^| )meta( |$)", r"\1", told[2] or "").strip()
            command = f"clone {told[1]} meta promotable=true {meta}".strip()
        found.append(command)
    return found
