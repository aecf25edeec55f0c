"""diff: what the cluster runs and the site does not say, and back, in crm's own words."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

from hastack import bootstrap, cluster
from hastack.site import CONFIGURATION, CRM, read_crm, read_entries, read_site
from hastack.system import FAILED, REFUSED, Problem, need, run, say

_OPTIONS = {"crm_config": "property", "rsc_defaults": "rsc_defaults", "op_defaults": "op_defaults"}
_OBJECTS = ("resources", "constraints", "tags", "alerts", "acls")
_SELF_MADE = ("have-watchdog", "dc-version", "cluster-infrastructure", "cluster-name", "last-lrm-refresh")
"""Properties that pacemaker and crm write themselves."""
_NUMBERED = ("nodelist.node", "totem.interface")
"""Sections of corosync.conf of which there are several; corosync counts them."""


@dataclass(frozen=True)
class Difference:
    """One object, as crm writes it: on one side alone, or otherwise on both."""

    name: str
    cluster: str
    """As the cluster has it; empty where it has none."""
    site: str
    """As the site has it; empty where it has none."""


def show_differences(*, as_json: bool) -> int:
    """Print what differs; what the command ends with. Raises Problem where nothing can be compared."""
    site = read_site()
    read_crm()
    if not cluster.is_running():
        raise Problem(
            "the cluster does not run on this node", "service corosync start; service pacemaker start", REFUSED
        )
    live = bootstrap.read_cib()
    wanted = bootstrap.load_into(_empty(live))
    found = tuple(compare(live, wanted, _show(live), _show(wanted)))
    engine = tuple(compare_engine(CONFIGURATION.read_text("utf-8"), run("corosync-cmapctl").output))
    if as_json:
        facts = [{"name": d.name, "cluster": d.cluster, "site": d.site} for d in found]
        say(json.dumps({"pacemaker": facts, "corosync": list(engine)}, indent=2))
        return FAILED if found or engine else 0
    for line in engine:
        say(f"corosync: {line}")
    if engine:
        say("-> corosync-cfgtool -R has all nodes read corosync.conf again; what it cannot take up its log says")
    if found:
        say(f"--- the cluster {site.cluster}\n+++ {CRM}")
    for difference in found:
        for line in difflib.ndiff(difference.cluster.splitlines(), difference.site.splitlines()):
            if not line.startswith("?"):
                say(line)
    if any(difference.site for difference in found):
        changes = any(difference.site and difference.cluster for difference in found)
        say(f"-> ha-stack bootstrap{' --force' if changes else ''} loads the lines with +")
    if any(not difference.site for difference in found):
        say("-> what stands with - alone: name it in the site file ([crm] extra), or crm configure delete it")
    if not found and not engine:
        say(f"the cluster runs what {CRM} says, and nothing else")
    return FAILED if found or engine else 0


def _empty(cib: str) -> str:
    """The cluster's nodes without what they run."""
    root = ET.fromstring(cib)
    for section in root.findall("configuration/*"):
        if section.tag != "nodes":
            for child in list(section):
                section.remove(child)
    for node in root.findall("configuration/nodes/node"):
        for child in list(node):
            node.remove(child)
    return ET.tostring(root, "unicode")


def _show(cib: str) -> str:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "cib.xml"
        file.write_text(cib, "utf-8")
        done = run("crm", "--display", "plain", "configure", "show", extra={"CIB_file": str(file)})
        return need(done, "crm does not show the configuration")


def compare(live: str, wanted: str, shown: str, shown_wanted: str) -> Iterator[Difference]:
    """Objects that differ between two CIBs, in the words in which crm shows both."""
    ours, theirs = _list_objects(live), _list_objects(wanted)
    words, words_wanted = split_commands(shown), split_commands(shown_wanted)
    for name in dict.fromkeys((*ours, *theirs)):
        if ours.get(name) != theirs.get(name):
            kind, _, rest = name.partition(" ")
            sides = []
            for objects, told in ((ours, words), (theirs, words_wanted)):
                text = told.get(rest if kind == "object" else kind, "") or objects.get(name, "")
                if kind in ("node", *_OPTIONS.values()):
                    text = f"{name}={objects.get(name)}"
                sides.append(text if name in objects else "")
            yield Difference(rest or kind, *sides)


def _list_objects(cib: str) -> dict[str, str]:
    """Everything that a CIB configures, by kind and name, as text that depends on neither layout nor inner ids."""
    found: dict[str, str] = {}
    configuration = ET.fromstring(cib).find("configuration")
    if configuration is None:
        raise Problem("the cluster's answer has no configuration")
    for section, kind in _OPTIONS.items():
        for pair in configuration.findall(f"{section}//nvpair"):
            if pair.get("name") not in _SELF_MADE:
                found[f"{kind} {pair.get('name')}"] = pair.get("value", "")
    for node in configuration.findall("nodes/node"):
        for pair in node.iter("nvpair"):
            found[f"node {node.get('uname')} {pair.get('name')}"] = pair.get("value", "")
    for section in _OBJECTS:
        for element in configuration.findall(f"{section}/*"):
            found[f"object {element.get('id')}"] = _describe(element)
    if levels := [_describe(level) for level in configuration.findall("fencing-topology/*")]:
        found["fencing_topology"] = "\n".join(sorted(levels))
    return found


def _describe(element: ET.Element) -> str:
    named = element.tag in ("primitive", "group", "clone", "bundle", "template")
    own = sorted((key, value) for key, value in element.items() if key != "id" or named)
    inner = [_describe(child) for child in element]
    ordered = inner if element.tag in ("group", "resource_set") else sorted(inner)
    return f"{element.tag}{own}({', '.join(ordered)})"


def split_commands(text: str) -> dict[str, str]:
    """Commands as crm shows them, by the name of what they make."""
    found: dict[str, str] = {}
    for command in re.split(r"\n(?=\S)", text):
        kind, *words = command.split(maxsplit=2) or [""]
        found[words[0].removesuffix(":") if words and kind != "fencing_topology" else kind] = command.rstrip()
    return found


def compare_engine(text: str, cmap: str) -> Iterator[str]:
    """Settings that corosync runs with otherwise than its file says, by what corosync-cmapctl prints."""
    wanted = flatten(text)
    lines = re.findall(r"(?m)^(\S+) \(\w+\) = (.*)$", cmap)
    running: Mapping[str, str] = {
        key: value for key, value in lines if key.startswith(("totem.", "nodelist.", "quorum."))
    }
    for key, value in wanted.items():
        # What is left out of the others has its default, or another name here: only members are compared whole.
        if running.get(key, "" if key.startswith("nodelist.") else value) != value:
            yield f"{key} is {running.get(key, 'not there')}, {CONFIGURATION} says {value}"
    for key in running:
        if key not in wanted and re.fullmatch(r"nodelist\.node\.\d+\.\w+", key):
            yield f"{key} is {running[key]}, {CONFIGURATION} says nothing of it"


def flatten(text: str) -> dict[str, str]:
    """The keys of corosync.conf's totem, nodelist and quorum as corosync-cmapctl(8) calls them."""
    found: dict[str, str] = {}
    for entry in read_entries(text):
        if entry.section.partition(".")[0] in ("totem", "nodelist", "quorum"):
            place = f"{entry.section}.{entry.number}" if entry.section in _NUMBERED else entry.section
            found[f"{place}.{entry.key}"] = entry.value
    return found
