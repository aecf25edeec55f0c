"""Every published package, installed, removed, installed again and purged: `make piuparts`."""

from __future__ import annotations

import re
from pathlib import Path

from tests.system.acceptance.conftest import Stack, bare_node, make_node, stack
from tests.system.acceptance.piuparts import forbid_services, piuparts

__all__ = ["bare_node", "stack"]


def test_no_package_leaves_anything(bare_node: Path, stack: Stack) -> None:
    with make_node(bare_node, stack, None) as node:
        forbid_services(node)
        node.run("apt-get update")
        names = sorted(set(re.findall(r"(?m)^(ha-\S+)", node.run("apt-cache pkgnames ha-").stdout)))
        assert {"ha-booth", "ha-corosync-qnetd", "ha-drbd-module-source", "ha-pacemaker-dev", "ha-stack"} <= set(names)
        told = piuparts(node, "--apt", "--install-remove-install", "--no-upgrade-test", *names)
    assert "PASS: Installation and purging test." in told
