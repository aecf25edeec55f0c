"""Leftovers of packages, found by Debian's own tool. `make piuparts` asks it about every package."""

from __future__ import annotations

import re
from pathlib import Path

from hapkg.deb import read_deb_control
from tests.system.acceptance.conftest import Stack, make_node
from tests.system.acceptance.piuparts import forbid_services, piuparts
from tests.system.acceptance.repack import repack


def test_nothing_is_left_after_a_purge(bare_node: Path, stack: Stack) -> None:
    with make_node(bare_node, stack, None) as node:
        forbid_services(node)
        told = piuparts(node, "--apt", "--no-upgrade-test", "ha-stack", "ha-stack-site")
    assert "PASS: Installation and purging test." in told


def test_nothing_is_left_after_an_upgrade_and_a_purge(bare_node: Path, stack: Stack) -> None:
    with make_node(bare_node, stack, None) as node:
        forbid_services(node)
        node.run("apt-get update")
        planned = node.run("apt-get install --simulate ha-stack ha-stack-site").stdout
        names = re.findall(r"(?m)^Inst (ha-\S+)", planned)
        debs = [
            deb
            for outcome in stack.outcomes
            for deb in sorted(Path(outcome["log"]).parent.glob("*.deb"))
            if read_deb_control(deb)["Package"] in names
        ]
        assert len(debs) == len(names) > 10
        # The version before: apt knows that one alone, and piuparts upgrades it to what is published.
        repack(debs, node.root / "srv/earlier", "~earlier1")
        source = "deb [trusted=yes] file:/srv/earlier ./\n"
        (node.root / "etc/apt/sources.list.d/ha-stack.sources").unlink()
        (node.root / "etc/apt/sources.list.d/earlier.list").write_text(source)
        told = piuparts(node, "--no-install-purge-test", *map(str, debs))
    assert "PASS: Installation, upgrade and purging tests." in told
