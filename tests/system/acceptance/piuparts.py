"""Debian's piuparts on a node: what a life of packages leaves behind."""

from __future__ import annotations

import os
import subprocess
import tempfile

from tests.system.acceptance.conftest import SUITE, Node

NOT_OURS = (
    "/etc/default/locale",
    "/etc/vconsole.conf",
    "/root/.ssh/",
    "/var/cache/debconf/tmp.ci/",
    "/var/cache/private/",
    "/var/lib/private/",
    "/var/lib/systemd/coredump/",
    "/var/lib/systemd/pstore/",
    "/var/log/private/",
    "/opt/",
)
"""Made and left by Debian's systemd and debconf, which come along; and /opt, which no package of Debian's
owns, so that dpkg takes it away with the last file in it."""


def forbid_services(node: Node) -> None:
    """Keep packages of Debian's from starting daemons on this machine."""
    policy = node.root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)


def piuparts(node: Node, *arguments: str) -> str:
    """Run it over a copy of a node. Fails with the end of its story when it finds something; what it told else."""
    ignored = [argument for path in NOT_OURS for argument in ("--ignore", path)]
    argv = ["piuparts", "--existing-chroot", str(node.root), "--keep-sources-list", "--no-eatmydata"]
    with tempfile.TemporaryDirectory(dir=node.root.parent) as scratch:
        argv += ["--distribution", SUITE, "--tmpdir", scratch, *ignored, *arguments]
        # The package of a site goes to its nodes alone, unless an image is made.
        environment = {**os.environ, "HA_STACK_ANY_MACHINE": "1"}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    story = [line for line in done.stdout.splitlines() if " DEBUG: " not in line and " DUMP: " not in line]
    assert done.returncode == 0, "\n".join(story[-60:])
    return done.stdout
