"""The host: its architecture, its cores."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from pathlib import Path

from hapkg.errors import MachineError, UsageError
from hapkg.programs import launch, process

EMULATION = (
    "apt-get install qemu-user-static arch-test; since trixie qemu-user-binfmt arch-test; "
    "where no service manager runs, binfmt-support too, and: update-binfmts --enable"
)
_DPKG = re.compile(r"^Package: dpkg\n(?:.+\n)*?Architecture: (\S+)$", re.MULTILINE)


@functools.cache
def read_architecture() -> str:
    """Debian's name of this machine's architecture: that of the dpkg that is installed.

    Read where dpkg keeps it; dpkg is asked where that cannot be read.
    """
    with contextlib.suppress(OSError):
        if found := find_architecture(Path("/var/lib/dpkg/status")):
            return found
    return process.run(["dpkg", "--print-architecture"]).output.strip()


def find_architecture(status: Path) -> str:
    """The architecture of a root, by dpkg's own package in its status; "" where that is not installed yet."""
    found = _DPKG.search(status.read_text("utf-8", "replace"))
    return found[1] if found else ""


def check_architecture(architecture: str) -> None:
    """Raise UsageError for a name that is no architecture, MachineError for one that this machine cannot run."""
    check_architecture_name(architecture)
    if architecture == read_architecture():
        return
    if launch.find_program("arch-test") is None:
        raise MachineError("the program arch-test is not installed", hint=EMULATION)
    if process.run(["arch-test", architecture], check=False).status != 0:
        raise MachineError(f"this machine runs no programs of {architecture}", hint=EMULATION)


def check_architecture_name(architecture: str) -> None:
    """Raise UsageError for a name that is no architecture of Debian."""
    if architecture == read_architecture():
        return
    named = re.fullmatch(r"[a-z0-9-]+", architecture)  # for no name at all, dpkg says its own
    asked = ["dpkg-architecture", "--host-arch", architecture, "-qDEB_HOST_ARCH"]
    if not named or process.run(asked, check=False).status != 0:
        raise UsageError(f"Debian has no architecture {architecture!a}", hint="list them: dpkg-architecture -L")


def count_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))
