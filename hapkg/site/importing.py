"""A site file from a cluster that runs: its corosync.conf, and what crm says that pacemaker has.

What the site file has keys for becomes keys; the rest goes to [crm] extra as it stands, and is named. Afterwards the
files that follow are read again and compared with what they came from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from hapkg.errors import SiteError
from hapkg.site.extra import Command, read_commands
from hapkg.site.fencing import FencingDevice, read_host_map
from hapkg.site.secrets import is_secret
from hapkg.site.tables import ClusterTable
from hapkg.tables import to_key

_SELF_MADE = (
    *("have-watchdog", "dc-version", "cluster-infrastructure", "cluster-name", "last-lrm-refresh"),
    *("stonith-enabled", "fencing-enabled"),
)
"""Properties that pacemaker writes itself, and those that follow from [fencing]."""
_TOTEM = (
    *("transport", "link_mode", "crypto_cipher", "crypto_hash", "token", "token_coefficient", "join", "consensus"),
    *("token_retransmits_before_loss_const", "max_messages", "netmtu", "ip_version"),
)
_WRITTEN = (
    *("version", "cluster_name", "crypto_model", "interface", "config_version", *_TOTEM),
    *("knet_compression_model", "knet_compression_level", "knet_compression_threshold"),
)
_QUORUM = ("wait_for_all", "last_man_standing", "last_man_standing_window")

Section = dict[str, Any]


@dataclass
class Imported:
    """A site file's tables, and what a person should know of them."""

    table: dict[str, Any] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def parse_corosync(text: str) -> Section:
    """Sections and values of a corosync.conf; sections of one name are lists. Raises SiteError for what is none."""
    root: Section = {}
    path = [root]
    for number, line in enumerate((line.strip() for line in text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        if line.endswith("{"):
            inner: Section = {}
            path[-1].setdefault(line[:-1].strip(), []).append(inner)
            path.append(inner)
        elif line == "}" and len(path) > 1:
            path.pop()
        elif ":" in line:
            key, _, value = line.partition(":")
            path[-1][key.strip()] = value.strip()
        else:
            raise SiteError(f"corosync.conf, line {number}: {line!r} is no line of one", hint="corosync -t tells more")
    if len(path) > 1:
        raise SiteError("corosync.conf ends inside a section", hint="corosync -t tells more")
    return root


def import_site(corosync: str, crm: str) -> Imported:
    """The tables of a site file that says what these two say. Raises SiteError where they are not of a cluster."""
    found = Imported()
    tree = parse_corosync(corosync)
    _import_totem(found, tree)
    _import_nodes(found, tree)
    _import_quorum(found, (tree.get("quorum") or [{}])[0])
    try:
        commands = list(read_commands(crm))
    except ValueError as cause:
        raise SiteError(f"crm's configuration: {cause}", hint="take what crm configure show prints") from cause
    texts = _join_lines(crm)
    for command in commands:
        _import_command(found, command, texts[command.line])
    devices = found.table.get("fencing", {}).get("devices", [])
    by_hand = any("stonith:" in text for text in found.extra)
    if len(found.table["nodes"]) > 1 and not devices and not by_hand:
        found.table["fencing"] = {"opt-out": "as it was imported: nothing switches off a lost node"}
        found.notes.append("nothing switches off a lost node: opt-out says so, devices would be better")
    if found.extra:
        found.table.setdefault("crm", {})["extra"] = "\n".join(found.extra) + "\n"
    return found


def _import_totem(found: Imported, tree: Section) -> None:
    totem = (tree.get("totem") or [{}])[0]
    cluster: dict[str, Any] = {"name": totem.get("cluster_name", "")}
    if not cluster["name"]:
        raise SiteError(
            "corosync.conf has no cluster_name", hint="a site's cluster has a name: totem { cluster_name: }"
        )
    defaults = {name: field.default for name, field in ClusterTable.model_fields.items()}
    if totem.get("transport", "knet") == "knet":
        totem = {"crypto_cipher": "none", "crypto_hash": "none", **totem}  # corosync's own, where nothing is said
        if totem.get("secauth") == "on":
            totem |= {"crypto_cipher": "aes256", "crypto_hash": "sha256"}
    for name in _TOTEM:
        if name in totem:
            value = _read_value(totem[name])
            if value != defaults.get(name):
                cluster[to_key(name)] = value
    compression = {"model": "compression", "level": "compression-level", "threshold": "compression-threshold"}
    for name, key in compression.items():
        if (said := totem.get(f"knet_compression_{name}", "none")) != "none":
            cluster[key] = _read_value(said)
    for name in totem:
        if name not in (*_WRITTEN, "secauth"):
            found.notes.append(f"totem.{name} = {totem[name]} is left out: the site file has no key for it")
    links = list(_import_links(totem))
    if links:
        cluster["links"] = links
    found.table["cluster"] = cluster


def _import_links(totem: Section) -> Iterator[dict[str, Any]]:
    names = {"knet_transport": "transport", "knet_link_priority": "priority", "mcastport": "port"}
    names |= {f"knet_{name}": name.replace("_", "-") for name in ("ping_interval", "ping_timeout", "pong_count")}
    for interface in totem.get("interface", []):
        number = _read_number(interface, "linknumber", _read_number(interface, "ringnumber", 0))
        said = {own: interface[name] for name, own in names.items() if name in interface}
        link = {name: _read_value(value) for name, value in said.items()}
        if link.get("port") == 5405 + number:
            del link["port"]
        if link:
            yield {"number": number, **link}


def _read_number(section: Section, name: str, otherwise: int) -> int:
    text = str(section.get(name, otherwise))
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise SiteError(f"corosync.conf: {name}: {text!r} is no number", hint="corosync -t tells more")
    return int(text)


def _import_nodes(found: Imported, tree: Section) -> None:
    members = [node for part in tree.get("nodelist", []) for node in part.get("node", [])]
    if not members:
        raise SiteError(
            "corosync.conf has no nodelist", hint="multicast without one is of another time: name the nodes"
        )
    nodes = []
    for number, node in enumerate(members, 1):
        addresses = [node[key] for key in sorted(node) if re.fullmatch(r"ring\d_addr", key)]
        name = node.get("name") or (addresses[0] if addresses else f"node{number}")
        if "name" not in node:
            found.notes.append(f"node {number} had no name: it is called {name}, which has to be its uname -n")
        nodes.append({"name": name, "id": _read_number(node, "nodeid", number), "addresses": addresses})
        if node.get("quorum_votes", "1") != "1":
            nodes[-1]["votes"] = _read_number(node, "quorum_votes", 1)
    found.table["nodes"] = nodes


def _import_quorum(found: Imported, quorum: Section) -> None:
    told: dict[str, Any] = {}
    for name in _QUORUM:
        if name in quorum:
            told[to_key(name)] = _read_number(quorum, name, 0) if name.endswith("window") else quorum[name] == "1"
    two = len(found.table["nodes"]) == 2
    if two and quorum.get("two_node", "0") != "1" and "device" not in quorum:
        told["two-node"] = False
    if quorum.get("two_node") == "1":
        told.pop("wait-for-all", None)
    if quorum.get("auto_tie_breaker") == "1":
        told["auto-tie-breaker"] = quorum.get("auto_tie_breaker_node", "lowest")
    for device in quorum.get("device", []):
        net = (device.get("net") or [{}])[0]
        known = ("host", "algorithm", "tls", "tie_breaker")
        told["device"] = {to_key(name): net[name] for name in known if name in net}
        for heuristics in device.get("heuristics", []):
            programs = {name[5:]: text for name, text in heuristics.items() if name.startswith("exec_")}
            if programs:
                told["device"]["heuristics"] = {"mode": heuristics.get("mode", "on"), "exec": programs}
    if told:
        found.table["quorum"] = told


def _import_command(found: Imported, command: Command, text: str) -> None:
    """Put one command of crm where it belongs."""
    kind = command.words[0].lower()
    names = {node["name"] for node in found.table["nodes"]}
    if kind == "node" and len(command.words) <= 3 and command.words[-1] in names:
        return
    if kind == "property":
        _import_properties(found, command)
        return
    if kind == "primitive" and command.fences and (device := _make_device(found, command, names)):
        found.table.setdefault("fencing", {}).setdefault("devices", []).append(device)
        return
    devices = {device["name"]: device for device in found.table.get("fencing", {}).get("devices", [])}
    own = command.words[2] if kind == "location" and len(command.words) > 2 else ""
    if own in devices and command.name == f"{own}_elsewhere":
        return
    kept = text
    for name, value in re.findall(r"""([A-Za-z][\w-]*)=("[^"]*"|'[^']*'|\S+)""", text):
        if is_secret(name):
            kept = kept.replace(f"{name}={value}", "")
            found.notes.append(f"{command.name or kind}: {name} is a secret and left out: keep it on the nodes")
    found.notes.append(f"{kind} {command.name} is in extra".replace("  ", " "))
    found.extra.append(" ".join(kept.split()))


def _import_properties(found: Imported, command: Command) -> None:
    for name, _, value in (word.partition("=") for word in command.words[1:] if "=" in word):
        if name not in _SELF_MADE:
            found.table.setdefault("crm", {}).setdefault("properties", {})[name] = _read_value(value)
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
        "parameters": {name: _read_value(value) for name, value in parameters.items() if name not in secret},
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


def _read_value(text: str) -> str | int | bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return int(text) if re.fullmatch(r"0|[1-9][0-9]{0,9}", text) else text


def _join_lines(text: str) -> dict[int, str]:
    """Commands by the line that they begin on, as read_commands() counts."""
    found: dict[int, str] = {}
    begun, parts = 0, list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        begun = begun or number
        parts.append(stripped.rstrip("\\") if stripped.endswith("\\") else stripped)
        if not stripped.endswith("\\"):
            found[begun] = " ".join("".join(f"{part} " for part in parts).split(" ")).strip()
            begun, parts = 0, []
    return found


def write_site(table: Mapping[str, Any]) -> str:
    """A site file with these tables."""
    lines: list[str] = []
    for name, value in table.items():
        if isinstance(value, list):
            for part in value:
                lines += [f"[[{name}]]", *_write_keys(part), ""]
        else:
            inner = {key: part for key, part in value.items() if key != "devices"}
            lines += [f"[{name}]", *_write_keys(inner), ""] if inner else []
            for device in value.get("devices", []):
                lines += [f"[[{name}.devices]]", *_write_keys(device), ""]
    return "\n".join(lines)


def _write_keys(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        if key == "extra":
            quotes = "'''" if "'''" not in value else '"""'
            yield f"extra = {quotes}\n{value}{quotes}"
        else:
            yield f"{_write_key(key)} = {_write_value(value)}"


def _write_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _write_value(value: object) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_write_key(key)} = {_write_value(part)}" for key, part in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_write_value(part) for part in value)}]"
    return json.dumps(value, ensure_ascii=False)


def find_differences(corosync: str, rendered: str) -> list[str]:
    """Find what a corosync.conf that follows from the site file says otherwise than the one that it came from."""
    before, after = parse_corosync(corosync), parse_corosync(rendered)
    found = []
    for place in ("totem", "nodelist", "quorum"):
        old = _flatten((before.get(place) or [{}])[0])
        new = _flatten((after.get(place) or [{}])[0])
        found += [f"{place}: {line} went" for line in sorted(old - new) if not _is_default(line)]
        found += [f"{place}: {line} came" for line in sorted(new - old) if not _is_default(line)]
    return found


_DEFAULTS = re.compile(
    r"(version|config_version|crypto_model|expected_votes|secauth|node\.name|rrp_mode|clear_node_high_bit): .*"
    r"|transport: knet|link_mode: passive|interface\.(linknumber|ringnumber|mcastport): .*|provider: .*"
    r"|wait_for_all: 1|device\.(votes|net\.(port|tls|tie_breaker)): .*|crypto_(cipher|hash): none"
)


def _is_default(line: str) -> bool:
    """Tell whether a line says what would be so without it, or what is written for people."""
    return bool(_DEFAULTS.fullmatch(line))


def _flatten(section: Section, path: str = "") -> set[str]:
    found: set[str] = set()
    for key, value in section.items():
        if isinstance(value, list):
            for inner in value:
                found |= _flatten(inner, f"{path}{key}.")
        else:
            found.add(f"{path}{key}: {value}")
    return found
