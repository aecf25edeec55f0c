"""Drift: what the cluster runs against what the site's package says, by names and settings.

crm's own comparison, which bootstrap makes, asks every agent for its parameters and takes too long to look each minute.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

from hastack.finding import OK, WARN, Finding
from hastack.site import CRM, Site, read_crm
from hastack.system import run

_RESOURCES = ("primitive", "group", "clone", "bundle")
_CONSTRAINTS = ("location", "colocation", "order", "rsc_ticket")
_OBJECTS = (*_RESOURCES, *_CONSTRAINTS, "tag", "role", "acl_target", "rsc_template", "alert")
_OPTIONS = {"property": "crm_config", "rsc_defaults": "rsc_defaults", "op_defaults": "op_defaults"}
_SETS = {
    "params": "instance_attributes",
    "attributes": "instance_attributes",
    "meta": "meta_attributes",
    "utilization": "utilization",
}
_SECTIONS = ("op", "operations", "rule", *_SETS)
_TOLD = 5
"""Names in one line."""


@dataclass(frozen=True)
class Wanted:
    """The site's configuration of pacemaker, as far as it can be compared without crm."""

    objects: Mapping[str, Mapping[tuple[str, str], str]] = field(default_factory=dict)
    """By id; of resources also settings, by kind of set and name."""
    options: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """By section and name."""
    resources: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Drift:
    """The difference between a site and a cluster."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    """One remark for each setting."""
    foreign: tuple[str, ...]


def check_drift(site: Site) -> Iterator[Finding]:
    """The running configuration against the one of ha-stack-site."""
    if not site.packaged:
        return
    try:
        wanted = parse_crm(read_crm())
        found = compare(wanted, ET.fromstring(run("cibadmin", "--query").output))
    except (OSError, ValueError, ET.ParseError) as cause:
        yield Finding("drift", WARN, f"{CRM} cannot be compared with the cluster: {cause}")
        return
    if found.missing:
        text = f"{_list(found.missing)} of {CRM} is not in the cluster"
        yield Finding("drift", WARN, text, "ha-stack bootstrap --force" if found.changed else "ha-stack bootstrap")
    for remark in found.changed:
        yield Finding("drift", WARN, remark, "ha-stack bootstrap --force")
    if found.foreign:
        text = f"{_list(found.foreign)} is not in {CRM}: name it in the site file ([crm] extra), or delete it"
        yield Finding("drift", WARN, text)
    if found == Drift((), (), ()):
        yield Finding("drift", OK, f"the cluster has what {CRM} names, and nothing else")


def _list(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more


def parse_crm(text: str) -> Wanted:
    """Objects and settings in the language of crm. Raises ValueError where a quotation mark is not closed."""
    objects: dict[str, dict[tuple[str, str], str]] = {}
    options: dict[tuple[str, str], str] = {}
    resources = set()
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        kind, *words = shlex.split(line)
        if kind in _OPTIONS:
            options.update({(_OPTIONS[kind], name): value for name, value in _read_pairs(words)})
        elif kind == "node" and words:
            name = words[1] if words[0].endswith(":") and len(words) > 1 else words[0]
            objects.setdefault(name, dict(_read_settings(words[1:])))
        elif kind in _OBJECTS and words:
            name = words[0].removesuffix(":")
            objects[name] = dict(_read_settings(words[2:])) if kind in _RESOURCES else {}
            if kind in _RESOURCES:
                resources.add(name)
    return Wanted(objects, options, frozenset(resources))


def _read_pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, equals, value = word.partition("=")
        if equals and not name.startswith("$"):
            yield name, value


def _read_settings(words: list[str]) -> Iterator[tuple[tuple[str, str], str]]:
    """Parameters and meta attributes; not those that a rule makes depend on something."""
    section = "params"
    for word in words:
        if word in _SECTIONS:
            section = word
        elif section in _SETS:
            yield from (((_SETS[section], name), value) for name, value in _read_pairs([word]))


def compare(wanted: Wanted, cib: ET.Element) -> Drift:
    """Find what the cluster lacks, has otherwise, and has beside it: the last only where the site names resources."""
    configuration = cib.find("configuration")
    if configuration is None:
        raise ValueError("the cluster's answer has no configuration")
    elements = {element.get("id", ""): element for element in configuration.iter() if element.get("id")}
    elements |= {node.get("uname", ""): node for node in configuration.findall("nodes/node")}
    missing = [name for name in wanted.objects if name not in elements]
    changed = []
    for name, settings in wanted.objects.items():
        for (kind, setting), value in settings.items() if name in elements else ():
            found = {pair.get("name"): pair.get("value") for pair in elements[name].findall(f"{kind}/nvpair")}
            if found.get(setting) != value:
                changed.append(_remark(f"{name}: {setting}", found.get(setting), value))
    for (section, option), value in wanted.options.items():
        pairs = configuration.findall(f"{section}//nvpair")
        told = {pair.get("name"): pair.get("value") for pair in pairs}.get(option)
        if told != value:
            changed.append(_remark(option, told, value))
    return Drift(tuple(missing), tuple(changed), tuple(_find_foreign(wanted, configuration)))


def _remark(setting: str, found: str | None, wanted: str) -> str:
    return f"{setting} is {'not set' if found is None else found}, the site says {wanted}"


def _find_foreign(wanted: Wanted, configuration: ET.Element) -> Iterator[str]:
    if not wanted.resources:
        return
    for element in configuration.findall("resources//*"):
        if element.tag in _RESOURCES and element.get("id") not in wanted.objects:
            yield element.get("id", "?")
    for element in configuration.findall("constraints/*"):
        if element.get("id") not in wanted.objects and not element.get("id", "").startswith("cli-"):
            yield element.get("id", "?")
