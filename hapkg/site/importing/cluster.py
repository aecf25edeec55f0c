"""A site file from a cluster that runs: its corosync.conf, what pacemaker has, DRBD's resources, booth.conf.

What the site file has keys for becomes keys; the rest goes to [crm] extra as it stands, and is named. Afterwards the
files that follow are read again and compared with what they came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hapkg.site.extra import Command, read_commands
from hapkg.site.importing.booth import import_booth, parse_booth
from hapkg.site.importing.corosync import find_differences, import_corosync
from hapkg.site.importing.drbd import find_drbd_differences, import_drbd
from hapkg.site.importing.imported import Imported
from hapkg.site.importing.pacemaker import import_crm, modernise


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Texts that say what a cluster is."""

    corosync: str
    crm: str = ""
    """As crm configure show prints it."""
    drbd: Mapping[str, str] = field(default_factory=dict)
    """By name of the file."""
    booth: str = ""
    notes: tuple[str, ...] = ()


def import_site(sources: Sources) -> Imported:
    """The tables of a site file that says what these say. Raises SiteError where they are not of a cluster."""
    found = Imported(notes=list(sources.notes))
    import_corosync(found, sources.corosync)
    import_drbd(found, sources.drbd)
    if sources.booth:
        import_booth(found, sources.booth)
    import_crm(found, sources.crm)
    devices = found.table.get("fencing", {}).get("devices", [])
    by_hand = any("stonith:" in text for text in found.extra)
    if len(found.table["nodes"]) > 1 and not devices and not by_hand:
        found.table["fencing"] = {"opt-out": "as it was imported: nothing switches off a lost node"}
        found.notes.append("nothing switches off a lost node: opt-out says so, devices would be better")
    if found.extra:
        found.table.setdefault("crm", {})["extra"] = "\n".join(found.extra) + "\n"
    return found


def compare_sources(sources: Sources, files: Mapping[str, str], etc: str) -> list[str]:
    """Find what the files of a site, by path, say otherwise than those that it came from, by reading both."""
    found = find_differences(sources.corosync, files[f"{etc}/corosync/corosync.conf"])
    resources = {path.removeprefix(f"{etc}/"): text for path, text in files.items() if path.endswith(".res")}
    names = [re.sub(r".*/|\.res$", "", path) for path in resources]
    found += find_drbd_differences(sources.drbd, resources, names)
    if booth := files.get(f"{etc}/booth/booth.conf"):
        (old, old_tickets), (new, new_tickets) = parse_booth(sources.booth), parse_booth(booth)
        same = all(old.get(name) == new.get(name) for name in ("site", "arbitrator"))
        if not same or [t["name"] for t in old_tickets] != [t["name"] for t in new_tickets]:
            found.append("booth: sites, arbitrators or tickets differ")
    before = dict(_list_objects("\n".join(modernise(sources.crm))))
    after = dict(_list_objects(files[f"{etc}/ha-stack/cluster.crm"]))
    for name, words in before.items():
        if name in after and after[name] != words:
            found += [f"crm: {name}: {word} went" for word in sorted(words - after[name])]
            found += [f"crm: {name}: {word} came" for word in sorted(after[name] - words)]
        elif name not in after:
            found.append(f"crm: {name} went, or is called otherwise")
    return found + [f"crm: {name} came" for name in after if name not in before]


def _list_objects(crm: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Objects of crm's configuration, by name, as their words whatever the order; without what follows by itself."""
    for command in read_commands(crm):
        if command.name:
            words = (_plain(command, word) for word in command.words[2:])
            yield command.name, frozenset(word for word in words if word)


def _plain(command: Command, word: str) -> str:
    if word == command.agent.removeprefix("ocf:heartbeat:"):
        return command.agent
    return "" if word in ("params", "meta", "op", "interval=0", "interval=0s") else word
