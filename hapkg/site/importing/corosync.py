"""Tables of a site file from a corosync.conf."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hapkg.errors import SiteError
from hapkg.site.importing.imported import Imported, Section, read_value
from hapkg.site.tables import ClusterTable
from hapkg.tables import to_key

_TOTEM = (
    *("transport", "link_mode", "crypto_cipher", "crypto_hash", "token", "token_coefficient", "join", "consensus"),
    *("token_retransmits_before_loss_const", "max_messages", "netmtu", "ip_version"),
)
_WRITTEN = (
    *("version", "cluster_name", "crypto_model", "interface", "config_version", *_TOTEM),
    *("knet_compression_model", "knet_compression_level", "knet_compression_threshold"),
)
_QUORUM = ("wait_for_all", "last_man_standing", "last_man_standing_window")


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


def import_corosync(found: Imported, text: str) -> None:
    """Take over cluster, nodes and quorum. Raises SiteError where the text is of no cluster."""
    tree = parse_corosync(text)
    _import_totem(found, tree)
    _import_nodes(found, tree)
    _import_quorum(found, (tree.get("quorum") or [{}])[0])


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
            value = read_value(totem[name])
            if value != defaults.get(name):
                cluster[to_key(name)] = value
    compression = {"model": "compression", "level": "compression-level", "threshold": "compression-threshold"}
    for name, key in compression.items():
        if (said := totem.get(f"knet_compression_{name}", "none")) != "none":
            cluster[key] = read_value(said)
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
        link = {name: read_value(value) for name, value in said.items()}
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
