"""Secrets in a site file, told by the meaning of their names: its package is read by everybody."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SECRET = re.compile(
    r"passw|passphrase|secret|token|credential|community|api[_-]?key|(?:\A|[_-])(?:key|pin|psk|pass)(?:\Z|[_-])",
    re.IGNORECASE,
)
_HARMLESS = re.compile(r".*[_-](?:script|file|path|dir|name|id|type|timeout|length|size|prot)\Z", re.IGNORECASE)
"""Where a secret lies, what it is called, how long it is: none of it is the secret."""
_RESERVATION_AGENTS = ("fence_scsi", "fence_mpath")
"""Their key is the number of a SCSI reservation, which every node shows to the disk."""
_ASSIGNMENT = re.compile(r"""([A-Za-z][\w-]*)=(?:"[^"]*"|'[^']*'|\S+)""")


def is_secret(name: str, value: object = "") -> bool:
    """Tell whether a setting of this name is a secret; a switch that is on or off never is one."""
    return not isinstance(value, bool) and bool(_SECRET.search(name)) and not _HARMLESS.match(name)


def refuse_secrets(table: Mapping[str, object], *, agent: str = "") -> None:
    """Raise ValueError for the first setting of a table that is a secret. agent is the fencing agent it is for.

    With passwd_method = "file" the passwd of an agent of cluster-glue is the path of a file.
    """
    for name, value in table.items():
        is_path = name == "passwd" and agent.startswith("external/") and table.get("passwd_method") == "file"
        if is_secret(name, value) and not (name == "key" and agent in _RESERVATION_AGENTS) and not is_path:
            raise ValueError(_explain(name, agent))


def refuse_secret_words(lines: str) -> None:
    """Raise ValueError for the first NAME=VALUE in lines for crm configure whose name is a secret's."""
    for found in _ASSIGNMENT.finditer(lines):
        reserved = any(agent in _find_line(lines, found.start()) for agent in _RESERVATION_AGENTS)
        if is_secret(found[1]) and not (found[1] == "key" and reserved):
            raise ValueError(_explain(found[1]))


def _find_line(lines: str, place: int) -> str:
    """The command that a place in lines belongs to: lines that end with a backslash go on."""
    commands = re.split(r"(?<!\\)\n", lines)
    for command in commands:
        if place <= len(command):
            return command
        place -= len(command) + 1
    return ""


def _explain(name: str, agent: str = "") -> str:
    if agent.startswith("external/"):
        file = "/opt/ha/etc/ha-stack/secret"
        way = f'name a file on the node that root alone reads: passwd_method = "file", passwd = "{file}"'
        return f"{name} is a secret, and packages are read by everybody: {way}"
    if name == "shared-secret":
        way = "say authenticate = true of each DRBD resource, and ha-stack keygen makes one on a node"
        return f"{name} is a secret, and packages are read by everybody: {way}"
    script = f"{re.sub(r'passwd$', 'password', name)}_script"
    way = (
        f'name a script on the node that prints it, readable by root alone: {script} = "/opt/ha/etc/ha-stack/secret"'
        if re.search(r"passw", name, re.IGNORECASE)
        else "leave it out, and keep it in a file on the nodes that root alone reads, where the program looks for it"
    )
    return f"{name} is a secret, and packages are read by everybody: {way}"
