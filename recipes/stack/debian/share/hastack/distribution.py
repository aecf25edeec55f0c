"""The distribution of this node: what Debian, Ubuntu and their like do each in a way of its own."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from hastack.system import run

_FLAVOURS = {"armhf": "armmp", "i386": "686-pae", "ppc64el": "powerpc64le"}
"""Names of Debian's kernels where they are not those of the architectures."""


@dataclass(frozen=True)
class Distribution:
    """Facts of a node that advice depends on."""

    names: frozenset[str]
    """ID and ID_LIKE of os-release; empty where there is none."""
    architecture: str
    """In dpkg's words."""
    kernel: str
    """The release that runs."""
    netplan: bool
    """Addresses are written in netplan's files."""

    def advise_kernel(self) -> str:
        """The package that has kernel modules which a small kernel comes without."""
        if "ubuntu" in self.names:
            return (
                f"apt-get install linux-modules-extra-{self.kernel}; where Ubuntu has none (since 25.10), "
                f"linux-modules-{self.kernel} has all modules"
            )
        if "debian" in self.names:
            flavour = _FLAVOURS.get(self.architecture, self.architecture)
            return f"Debian's cloud kernel has none: linux-image-{flavour} does, after a reboot"
        return "a kernel for clouds may have none: install the distribution's whole one, and reboot"

    def advise_address(self) -> str:
        """The place where an address stands for good."""
        place = "a file of /etc/netplan, then netplan apply" if self.netplan else "/etc/network/interfaces"
        return f"for good in {place}, with the length of the network's prefix and the interface that it is on"


def read_distribution(root: Path = Path("/")) -> Distribution:
    """The distribution whose files are below root, with the architecture and the kernel of this machine."""
    try:
        text = (root / "etc/os-release").read_text("utf-8", "replace")
    except OSError:
        text = ""
    names = re.findall(r"""(?m)^ID(?:_LIKE)?=["']?([^"'\n]*)""", text)
    told = run("dpkg", "--print-architecture")
    return Distribution(
        names=frozenset(" ".join(names).split()),
        architecture=told.output.strip() if told.status == 0 else os.uname().machine,
        kernel=os.uname().release,
        netplan=(root / "etc/netplan").is_dir(),
    )
