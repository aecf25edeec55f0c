"""Units of services that pacemaker runs: where systemd starts them too, two nodes may have one service."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hastack import cluster
from hastack.finding import FAIL, OK, WARN, Finding
from hastack.site import CRM
from hastack.system import SYSTEMD, run

_UNIT = re.compile(r"^primitive \S+ systemd:([\w@.-]+)", re.MULTILINE)
_LOCKS = re.compile(r"^primitive \S+ (ocf:heartbeat:)?lvmlockd\b", re.MULTILINE)
_LVMLOCKD = ("lvmlockd", "lvmlocks")
"""Debian's units of LVM's lock daemon; it starts the first one when the package is installed."""


def find_units(crm: str) -> tuple[str, ...]:
    """Names of units, without .service, that belong to the services of a configuration of crm."""
    found = [name.removesuffix(".service") for name in _UNIT.findall(crm)]
    return tuple(dict.fromkeys([*found, *(_LVMLOCKD if _LOCKS.search(crm) else ())]))


def check_units() -> Iterator[Finding]:
    """Units that start by themselves although pacemaker runs them, and what that spoils."""
    if not SYSTEMD.is_dir() or not CRM.is_file():
        return
    units = find_units(CRM.read_text("utf-8", "replace"))
    enabled = [name for name in units if run("systemctl", "is-enabled", name).output.strip() == "enabled"]
    running = cluster.is_running()
    for name in enabled:
        remedy = f"systemctl disable {name}" if running else f"systemctl disable --now {name}"
        yield Finding("units", WARN, f"systemd starts {name} at boot, and pacemaker runs it", remedy)
    if running and "lvmlockd" in units and not _uses_locks():
        # Pacemaker's probe found it running, so the agent's start, which writes lvm.conf, was left out.
        remedy = "crm resource restart lvmlockd_clone"
        yield Finding("units", FAIL, "lvm.conf does not use lvmlockd: it ran before pacemaker started it", remedy)
    elif units and not enabled:
        yield Finding("units", OK, f"{', '.join(units)}: for pacemaker alone")


def _uses_locks() -> bool:
    return "=1" in run("lvmconfig", "global/use_lvmlockd").output.replace(" ", "")
