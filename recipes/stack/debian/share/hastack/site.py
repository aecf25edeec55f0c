"""The cluster that this node belongs to: from ha-stack-site, or read out of a corosync.conf that was made by hand."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hastack.system import ETC, UNCONFIGURED, Problem, run

CONFIGURATION = ETC / "corosync/corosync.conf"
AUTHKEY = ETC / "corosync/authkey"
DRBD_SECRET = ETC / "ha-stack/drbd-secret.conf"
FACTS = ETC / "ha-stack/site.json"
CRM = ETC / "ha-stack/cluster.crm"
_OLD_NAMES = re.compile(r"\bstonith-(?=(enabled|timeout|watchdog-timeout|max-attempts|action)(=|\s|$))")
"""Of properties that pacemaker calls fencing-… since 3.0.2. It takes these as well, unless the cluster has both."""
FORMAT = 1
COMMON = "ha-stack-site"
"""How the packages of sites are called together, and how they all were before they had their clusters' names."""


@dataclass(frozen=True)
class Node:
    """A member."""

    name: str
    id: int
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Site:
    """The cluster as it is meant to be."""

    cluster: str
    nodes: tuple[Node, ...]
    crypto: bool
    modules: tuple[str, ...] = ()
    udp_ports: tuple[int, ...] = ()
    tcp_ports: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()
    drbd: tuple[str, ...] = ()
    drbd_secret: bool = False
    """True where DRBD's peers prove that they know a secret."""
    mounts: tuple[str, ...] = ()
    fencing: bool | None = None
    """None: nobody says."""
    warnings: tuple[str, ...] = ()
    prepare: tuple[tuple[tuple[str, ...], str], ...] = ()
    """Nodes, and the command that makes the site's devices on them."""
    files: tuple[tuple[str, str], ...] = ()
    """Path and sha256 of what the package brought."""
    package: str = ""
    """Package that brought its files; "" where they were made by hand."""

    @property
    def packaged(self) -> bool:
        """True where a package brought its files."""
        return bool(self.package)

    def find_own(self) -> Node | None:
        """The member that this machine is, by its name; as corosync does, also by what is before the first dot."""
        name = os.uname().nodename
        members = {node.name: node for node in self.nodes}
        return members.get(name) or members.get(name.partition(".")[0])

    @property
    def others(self) -> tuple[Node, ...]:
        """The members that this machine is not."""
        own = self.find_own()
        return tuple(node for node in self.nodes if node != own)


def make_reinstall(package: str) -> str:
    """The command line that brings back what a site's package brought, whatever became of it."""
    # confask: dpkg looks at a changed file although the package's own is the one of before.
    options = " ".join(f"-o Dpkg::Options::=--force-conf{word}" for word in ("ask", "miss", "new"))
    return f"apt install --reinstall {options} {package}"


def find_package() -> str:
    """The package of the site, by dpkg: for a site.json that does not tell it."""
    told = run("dpkg-query", "--search", str(FACTS))
    return told.output.partition(":")[0] if told.status == 0 else COMMON


def read_site() -> Site:
    """The site of this node. Raises Problem when it is not configured, or when its files cannot be read."""
    try:
        if FACTS.is_file():
            return parse_facts(json.loads(FACTS.read_text("utf-8")))
        if CONFIGURATION.is_file():
            return parse_corosync(CONFIGURATION.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise Problem(
            f"{FACTS if FACTS.is_file() else CONFIGURATION} cannot be read: {cause!r}",
            f"{make_reinstall(find_package())} brings it back"
            if FACTS.is_file()
            else "corosync -t tells what is wrong",
        ) from cause
    raise Problem(
        f"this node is not configured: there is no {CONFIGURATION}",
        f"install ha-stack-site, or start from {CONFIGURATION}.example",
        UNCONFIGURED,
    )


def parse_facts(facts: dict[str, Any]) -> Site:
    """The site in site.json of ha-stack-site. Raises ValueError for a format that this program does not know."""
    if facts["format"] != FORMAT:
        raise ValueError(f"format {facts['format']} is not known; ha-stack and ha-stack-site are of different times")
    lists = ("modules", "udp_ports", "tcp_ports", "devices", "drbd", "mounts", "warnings")
    return Site(
        cluster=facts["cluster"],
        nodes=tuple(Node(node["name"], node["id"], tuple(node["addresses"])) for node in facts["nodes"]),
        crypto=facts["crypto"],
        fencing=facts["fencing"],
        files=tuple(sorted(facts["files"].items())),
        drbd_secret=facts.get("drbd_secret", False),
        package=facts.get("package", COMMON),
        # A package of before listed commands alone.
        prepare=tuple((tuple(x["nodes"]), x["command"]) for x in facts.get("prepare", ()) if isinstance(x, dict)),
        **{name: tuple(facts.get(name, ())) for name in lists},
    )


@dataclass(frozen=True)
class Entry:
    """A line of corosync.conf that sets something."""

    line: int
    section: str
    """Names of the sections that it stands in, as "nodelist.node"."""
    number: int
    """How many of the innermost section's name and place stand before it."""
    key: str
    value: str


def read_entries(text: str) -> Iterator[Entry]:
    """The entries of corosync.conf, from the first to the last."""
    path: list[tuple[str, int]] = []
    counts: dict[str, int] = {}
    for line, bare in enumerate(map(str.strip, text.splitlines()), 1):
        section = path[-1][0] if path else ""
        if bare.startswith("#"):
            continue
        if opened := re.match(r"([^:{]*)\{", bare):
            section = f"{section}.{opened[1].strip()}".removeprefix(".")
            path.append((section, counts.get(section, 0)))
            counts[section] = counts.get(section, 0) + 1
        elif bare.startswith("}"):
            path = path[:-1]
        elif ":" in bare:
            key, _, value = bare.partition(":")
            yield Entry(line, section, path[-1][1] if path else 0, key.strip(), value.strip())


def parse_corosync(text: str) -> Site:
    """As much of a site as corosync.conf tells."""
    tables: dict[str, dict[int, dict[str, str]]] = {}
    for entry in read_entries(text):
        tables.setdefault(entry.section, {}).setdefault(entry.number, {})[entry.key] = entry.value
    totem = {key: value for table in tables.get("totem", {}).values() for key, value in table.items()}
    nodes = tuple(map(_parse_node, tables.get("nodelist.node", {}).values()))
    ports = {}
    for table in tables.get("totem.interface", {}).values():
        link = _read_number(table.get("linknumber") or table.get("ringnumber", ""), 0)
        ports[link] = _read_number(table.get("mcastport", ""), 5405 + link)
    links = max([1, *(len(node.addresses) for node in nodes)])
    return Site(
        cluster=totem.get("cluster_name", "?"),
        nodes=nodes,
        crypto=totem.get("crypto_hash", "none") != "none" or totem.get("secauth") == "on",
        udp_ports=tuple(ports.get(link, 5405 + link) for link in range(links)),
    )


def _parse_node(table: dict[str, str]) -> Node:
    addresses = tuple(value for key, value in sorted(table.items()) if re.fullmatch(r"ring\d_addr", key))
    name = table.get("name") or (addresses[0] if addresses else "?")
    return Node(name, _read_number(table.get("nodeid", ""), 0), addresses)


def _read_number(text: str, otherwise: int) -> int:
    """A number of corosync.conf; what is none is corosync's to refuse."""
    return int(text) if text.isascii() and text.isdigit() else otherwise


def prefer(text: str) -> str:
    """The properties in a configuration by the names that the installed pacemaker prefers."""
    if "fencing-enabled" not in run("crm_attribute", "--list-options=cluster").output:
        return text
    return re.sub(r"^property .*", lambda line: _OLD_NAMES.sub("fencing-", line[0]), text, flags=re.MULTILINE)


def read_crm() -> str:
    """The configuration that pacemaker is to run. Raises Problem without ha-stack-site."""
    if not FACTS.is_file() or not CRM.is_file():
        raise Problem(
            "there is nothing to load: ha-stack-site is not installed", "apt install ha-stack-site", UNCONFIGURED
        )
    return prefer(CRM.read_text("utf-8"))
