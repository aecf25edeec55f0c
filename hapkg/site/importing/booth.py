"""The table of booth in a site file from a booth.conf."""

from __future__ import annotations

import re
from typing import Any

from hapkg.errors import SiteError
from hapkg.site.booth import Ticket
from hapkg.site.importing.imported import Imported, read_value
from hapkg.tables import to_key

_TICKET = tuple(to_key(name) for name in Ticket.model_fields if name != "name")


def parse_booth(text: str) -> tuple[dict[str, list[str]], list[dict[str, str]]]:
    """Settings of a booth.conf, and those of each ticket. Raises SiteError for what is none."""
    settings: dict[str, list[str]] = {}
    tickets: list[dict[str, str]] = []
    for number, line in enumerate((line.strip() for line in text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        told = re.fullmatch(r'([A-Za-z_-]+)\s*=\s*"?([^"]*?)"?', line)
        if told is None:
            raise SiteError(f"booth.conf, line {number}: {line!r} is no line of one", hint="NAME = VALUE")
        key, value = told[1], told[2]
        if key == "ticket":
            tickets.append({"name": value})
        elif tickets:
            tickets[-1][key] = value
        else:
            settings.setdefault(key, []).append(value)
    return settings, tickets


def import_booth(found: Imported, text: str) -> None:
    """Take over sites, arbitrators and tickets; which of the sites this cluster is, pacemaker's configuration tells."""
    settings, tickets = parse_booth(text)
    table: dict[str, Any] = {"sites": settings.get("site", [])}
    if "arbitrator" in settings:
        table["arbitrators"] = settings["arbitrator"]
    if (port := settings.get("port", ["9929"])[-1]) != "9929":
        table["port"] = read_value(port)
    for name in settings:
        if name not in ("site", "arbitrator", "port", "transport", "authfile"):
            found.notes.append(f"booth.conf: {name} is left out: the site file has no key for it")
    table["tickets"] = []
    for ticket in tickets:
        own = {name: read_value(value) for name, value in ticket.items() if name == "name" or name in _TICKET}
        table["tickets"].append(own)
        lost = [name for name in ticket if name not in own]
        found.notes += [f"booth.conf: {name} of ticket {ticket['name']} is left out" for name in lost]
    found.table["booth"] = table
