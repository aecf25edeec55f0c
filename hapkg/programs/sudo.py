"""Refusals of sudo, through which an ordinary user's programs run that need root."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hapkg.errors import MachineError

REMEDY = "sudo -v, then run hapkg again within its time; or run hapkg as root"
"""The remedy where sudo wants a password."""
_CALL = "sudo -n -- "
# sudo-rs, which Ubuntu has, says the last one of the first three.
_ASKS = re.compile(
    r"^sudo: (a password is required|a terminal is required|interactive authentication is required)", re.M
)
_FORBIDS = re.compile(r"^(\S+ is not in the sudoers file|[Ss]orry, user \S+ (is not allowed|may not) )", re.M)


def goes_through_sudo(argv: Sequence[str]) -> bool:
    """Tell whether a command is one that sudo starts: itself, or in the script of a shell."""
    return argv[0] == "sudo" or (argv[0] == "sh" and any(_CALL in word for word in argv[1:3]))


def check_refusal(said: str) -> None:
    """Raise MachineError where sudo has refused to start a program, by the first words of its output."""
    if _ASKS.search(said):
        raise MachineError("sudo asks for a password", hint=REMEDY)
    if _FORBIDS.search(said):
        raise MachineError(
            "sudo is not allowed to this user", hint="have root allow it in sudoers(5), or run hapkg as root"
        )
