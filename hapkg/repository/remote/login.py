"""The program by which a host is reached, with the options and variables that the user chose for it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass

from hapkg.repository.remote.location import HostFolder

_AGENT = ("SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY", "XDG_RUNTIME_DIR")
"""Variables by which ssh finds the user's agent."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """A way to a host."""

    host: str
    words: tuple[str, ...]
    """The program and its options."""
    environment: dict[str, str]

    @property
    def batch(self) -> tuple[str, ...]:
        """The program where nobody is there to answer its questions."""
        return (*self.words, "-o", "BatchMode=yes")

    def give_hint(self, command: str) -> str:
        """A remedy: the login itself, to be tried by hand."""
        return f"see whether this works: {shlex.join([*self.words, self.host, command])}"


def find_login(location: HostFolder) -> Login:
    """The way to a host: ssh, or the program that $RSYNC_RSH names, as for rsync."""
    port = ("-p", str(location.port)) if location.port else ()
    return Login(
        host=location.host,
        words=(*(shlex.split(os.environ.get("RSYNC_RSH", "")) or ["ssh"]), *port),
        environment={name: os.environ[name] for name in _AGENT if name in os.environ},
    )
