"""Tables of a site file from the files of DRBD, drbd.conf(5) with what it includes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hapkg.errors import SiteError
from hapkg.site.importing.imported import Imported, read_value
from hapkg.site.secrets import is_secret

_TOKEN = re.compile(r'\s+|#[^\n]*|"((?:[^"\\\n]|\\.)*)"|([{};])|([^\s{};"#]+)')
_DEEPEST = 8
_LEFT_OUT = ("floating", "stacked-on-top-of", "proxy", "connection", "template-file")
"""Sections that the site file has no keys for."""
_OWN = ("protocol", "fencing", "allow-two-primaries", "cram-hmac-alg", "shared-secret")
_DEFAULTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "net": (
        ("after-sb-0pri", "discard-zero-changes"),
        ("after-sb-1pri", "discard-secondary"),
        ("after-sb-2pri", "disconnect"),
    ),
    "disk": (("on-io-error", "call-local-io-error"),),
    "options": (("quorum", "majority"), ("on-no-quorum", "io-error")),
}
"""Options that the package of a site writes by itself: the first where both nodes write, the last for three nodes."""


@dataclass
class Section:
    """One section of drbd.conf: its words, its options, and its inner sections."""

    words: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)

    def find(self, kind: str) -> Iterator[Section]:
        """Inner sections of a kind."""
        return (section for section in self.sections if section.words[:1] == (kind,))

    def merge(self, kind: str) -> dict[str, str]:
        """All options of its inner sections of a kind."""
        return {name: value for section in self.find(kind) for name, value in section.options.items()}


def parse_drbd(text: str, name: str = "drbd.conf") -> Section:
    """Sections of a file of DRBD's. Raises SiteError for what is none."""
    root = Section()
    path, words, place = [root], list[str](), 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            line = text.count("\n", 0, place) + 1
            raise SiteError(f"{name}, line {line}: quotes without an end", hint="drbdadm dump tells more")
        place = token.end()
        quoted, sign, word = token.groups()
        if quoted is not None or word:
            words.append(word if word else re.sub(r"\\(.)", r"\1", quoted))
        elif sign == "{":
            if len(path) > _DEEPEST or not words:
                raise SiteError(f"{name}: sections that are none of DRBD's", hint="drbdadm dump tells more")
            inner = Section(tuple(words))
            path[-1].sections.append(inner)
            path.append(inner)
            words = []
        elif sign == ";" and words:
            path[-1].options[words[0]] = " ".join(words[1:]) or "yes"
            words = []
        elif sign == "}":
            if len(path) == 1 or words:
                raise SiteError(f"{name}: a bracket or a semicolon is missing", hint="drbdadm dump tells more")
            path.pop()
    if len(path) > 1 or words:
        raise SiteError(f"{name} ends inside a section", hint="drbdadm dump tells more")
    return root


def import_drbd(found: Imported, files: Mapping[str, str]) -> None:
    """Take over every resource whose files say no more than the site file has keys for; name the others."""
    for resource in _read_resources(files):
        name = resource.words[-1]
        try:
            table = _make_table(found, resource)
        except ValueError as reason:
            found.notes.append(f"DRBD resource {name} is left to drbd.d by hand: {reason}")
            continue
        found.table.setdefault("drbd", []).append({"name": name, **table})
        for handler in resource.merge("handlers"):
            found.notes.append(f"DRBD resource {name}: handler {handler} is the site package's own now")


def _read_resources(files: Mapping[str, str]) -> Iterator[Section]:
    """Every resource, with what the common sections say of all of them."""
    trees = [parse_drbd(text, name) for name, text in sorted(files.items())]
    common = [section for tree in trees for section in tree.find("common")]
    for resource in (section for tree in trees for section in tree.find("resource")):
        whole = Section(resource.words, {}, [*(s for c in common for s in c.sections), *resource.sections])
        for section in (*common, resource):
            whole.options |= section.options
        if "protocol" in whole.options:  # it may stand beside the options of connections
            whole.sections.append(Section(("net",), {"protocol": whole.options["protocol"]}))
        yield whole


def _make_table(found: Imported, resource: Section) -> dict[str, Any]:
    """The keys of a resource. Raises ValueError that says what has no key."""
    if odd := next((kind for kind in _LEFT_OUT for _ in resource.find(kind)), ""):
        raise ValueError(f"the site file has no key for its {odd}")
    hosts = {host: section for section in resource.find("on") for host in section.words[1:]}
    if len(hosts) < 2:
        raise ValueError("it has no two sections on HOST")
    known = {node["name"]: node["addresses"] for node in found.table["nodes"]}
    if strange := [host for host in hosts if host not in known]:
        raise ValueError(f"{', '.join(strange)} is no node of the cluster")
    net, disk, options = (resource.merge(kind) for kind in ("net", "disk", "options"))
    table: dict[str, Any] = {} if set(hosts) == set(known) else {"nodes": list(hosts)}
    link, port = _find_link(hosts, known)
    nine = len(hosts) > 2 or bool(options) or any("node-id" in section.options for section in hosts.values())
    dual = net.get("allow-two-primaries", "no") in ("yes", "true")
    keys: dict[str, tuple[object, object]] = {
        "link": (link, 0),
        "port": (port, 7789),
        "protocol": (net.get("protocol", "C").upper(), "C"),
        "module": ("9" if nine else "8.4", "8.4"),
        "dual-primary": (dual, False),
        "authenticate": ("shared-secret" in net, False),
        "snapshots": ("snapshot-resync-target" in resource.merge("handlers").get("before-resync-target", ""), False),
    }
    table |= {key: value for key, (value, default) in keys.items() if value != default}
    if "shared-secret" in net:
        found.notes.append(f"DRBD resource {resource.words[-1]}: shared-secret is left out; ha-stack keygen makes one")
    for kind, told in (("net", net), ("disk", disk), ("options", options)):
        own = dict(_DEFAULTS[kind]) if kind == "disk" or (dual if kind == "net" else len(hosts) > 2) else {}
        rest = {name: read_value(value) for name, value in told.items() if name not in _OWN and own.get(name) != value}
        if rest:
            table[kind] = rest
    if any(is_secret(name) for name in {**net, **disk, **options} if name not in _OWN):
        raise ValueError("it has a secret that the site file has no key for")
    table["volumes"] = list(_make_volumes(resource, hosts))
    return table


def _find_link(hosts: Mapping[str, Section], known: Mapping[str, Sequence[str]]) -> tuple[int, int]:
    found = set()
    for host, section in hosts.items():
        told = section.options.get("address", "").removeprefix("ipv4 ").removeprefix("ipv6 ").strip()
        address, _, port = told.rpartition(":")
        bare = address.strip("[] ")
        if bare not in known[host] or not port.isdigit():
            raise ValueError(f"its address {told or 'of ' + host} is none of the cluster's links")
        found.add((list(known[host]).index(bare), int(port)))
    if len(found) > 1:
        raise ValueError("its nodes use different links or ports")
    return found.pop()


def _make_volumes(resource: Section, hosts: Mapping[str, Section]) -> Iterator[dict[str, Any]]:
    """Volumes, each with what all nodes have in common, or by node."""
    numbers: dict[int, dict[str, dict[str, str]]] = {}
    for host, section in hosts.items():
        everywhere = {volume.words[1]: volume.options for volume in resource.find("volume") if len(volume.words) > 1}
        own = {volume.words[1]: volume.options for volume in section.find("volume") if len(volume.words) > 1}
        plain = {**resource.options, **section.options}
        if not everywhere and not own and "disk" in plain:
            own = {"0": plain}  # as resources of one volume are written
        for number in {**everywhere, **own}:
            if not number.isdigit():
                raise ValueError(f"volume {number} has no number")
            numbers.setdefault(int(number), {})[host] = {**everywhere.get(number, {}), **own.get(number, {})}
    if not numbers:
        raise ValueError("it has no volume")
    for volume_number, by_host in sorted(numbers.items()):
        minors = {_find_minor(options.get("device", "")) for options in by_host.values()}
        if len(minors) != 1 or set(by_host) != set(hosts):
            raise ValueError(f"volume {volume_number} has another device from node to node")
        volume: dict[str, Any] = {"number": volume_number, "minor": minors.pop()}
        for key, default in (("disk", ""), ("meta-disk", "internal")):
            values = {host: options.get(key, default) for host, options in by_host.items()}
            if any(value == "" or " " in value or "[" in value for value in values.values()):
                raise ValueError(f"volume {volume_number} has no {key} of a form that the site file has")
            same = len(set(values.values())) == 1
            if not same or key == "disk" or next(iter(values.values())) != default:
                volume[key] = next(iter(values.values())) if same else values
        yield volume


def _find_minor(device: str) -> int:
    told = re.search(r"minor (\d+)$", device) or re.fullmatch(r"/dev/drbd(\d+)", device)
    if told is None:
        raise ValueError(f"its device {device or ''} tells no minor".replace("  ", " "))
    return int(told[1])


def find_drbd_differences(before: Mapping[str, str], after: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Find what the files of resources say otherwise than those that they came from, by resource, host and option."""
    old, new = _flatten_all(before, names), _flatten_all(after, names)
    found = [f"drbd: {line} went" for line in sorted(old - new)]
    return found + [f"drbd: {line} came" for line in sorted(new - old)]


def _flatten_all(files: Mapping[str, str], names: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for resource in (resource for resource in _read_resources(files) if resource.words[-1] in names):
        name = resource.words[-1]
        for kind in ("net", "disk", "options"):
            told = {**({"protocol": "C"} if kind == "net" else {}), **resource.merge(kind)}
            found |= {
                f"{name} {kind} {key} {value}"
                for key, value in told.items()
                if key not in ("cram-hmac-alg", "shared-secret")
            }
        hosts = {host: section for section in resource.find("on") for host in section.words[1:]}
        for host, section in hosts.items():
            address = section.options.get("address", "").removeprefix("ipv4 ")
            found.add(f"{name} on {host} address {' '.join(address.split())}")
        for volume in _make_volumes(resource, hosts):
            found |= {
                f"{name} volume {volume['number']} {key} {value}" for key, value in volume.items() if key != "number"
            }
    return found
