"""Two machines with corosync alone, on one switch: they form a cluster, and see one another leave and come back."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from tests.support.machine import wait_until
from tests.system.acceptance.cluster import Machine, make_switch, start_machine

NAMES = ("one", "two")
CONFIGURATION_FILE = "opt/ha/etc/corosync/corosync.conf"
CONFIGURATION = """\
totem {
    version: 2
    cluster_name: pair
    transport: knet
    crypto_cipher: none
    crypto_hash: none
    token: 10000
}
nodelist {
    node {
        ring0_addr: 192.168.140.11
        name: one
        nodeid: 1
    }
    node {
        ring0_addr: 192.168.140.12
        name: two
        nodeid: 2
    }
}
quorum {
    provider: corosync_votequorum
    two_node: 1
}
logging {
    to_syslog: no
    to_logfile: yes
    logfile: /var/log/corosync.log
}
"""
SITE = """\
[cluster]
name = "pair"
token = 10000
crypto-cipher = "none"
crypto-hash = "none"

[[nodes]]
name = "one"
id = 1
addresses = ["192.168.140.11"]

[[nodes]]
name = "two"
id = 2
addresses = ["192.168.140.12"]

[fencing]
opt-out = "machines in namespaces have no power switch"
"""
"""That cluster as a site file says it."""


@contextlib.contextmanager
def start_pair(roots: Mapping[str, Path]) -> Iterator[dict[str, Machine]]:
    """Machines of these roots, by name: those of NAMES."""
    with contextlib.ExitStack() as scope:
        switch = scope.enter_context(make_switch())
        yield {
            name: scope.enter_context(start_machine(roots[name], switch, name=name, address=f"192.168.140.{last}/24"))
            for last, name in enumerate(NAMES, 11)
        }


def run_inside(root: Path, script: str) -> str:
    """Run a script in a root that nothing runs in; what it says."""
    environment = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive")
    mounted = 'mount -t proc proc "$0/proc"; exec chroot "$0" "$@"'  # without it systemd-tmpfiles makes nothing
    argv = ["unshare", "--mount", "sh", "-ec", mounted, str(root), *environment, "sh", "-ec", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def install_stack(root: Path) -> None:
    """Install ha-stack from the sources that a root has, and before it what makes the folders of packages."""
    run_inside(root, "apt-get -q update && apt-get -q install -y --no-install-recommends iproute2 procps systemd")
    run_inside(root, "apt-get -q install -y --no-install-recommends ha-stack")


def install_site(root: Path) -> None:
    """Install the package of the site from the sources that a root has, under whatever name the root has now."""
    run_inside(root, "HA_STACK_ANY_MACHINE=1 apt-get -q install -y --no-install-recommends ha-stack-site")


def show_that_they_form_and_part(machines: Mapping[str, Machine], configuration: str | None = CONFIGURATION) -> None:
    """Start corosync on both; then the second one is alone for a while. None: they are configured already."""
    for machine in machines.values():
        assert "Corosync Cluster Engine, version '3." in machine.run("corosync -v").stdout
        if configuration is not None:
            (machine.root / CONFIGURATION_FILE).write_text(configuration)
        machine.run("service corosync start")

    def sees(machine: Machine, number: int) -> bool:
        listed = machine.tell("corosync-quorumtool -l 2>/dev/null || true")
        return len(re.findall(r"(?m)^ +[12] +1 ", listed)) == number

    def show() -> str:
        return "\n".join(
            machine.tell("tail -20 /var/log/corosync.log; corosync-cfgtool -s 2>&1") for machine in machines.values()
        )

    for machine in machines.values():
        wait_until(partial(sees, machine, 2), f"{machine.name} sees both", seconds=120, evidence=show)
        assert "Quorate:          Yes" in machine.tell("corosync-quorumtool -s")
    machines["two"].unplug()
    wait_until(partial(sees, machines["one"], 1), "one sees two leave", seconds=120, evidence=show)
    machines["two"].plug()
    for machine in machines.values():
        wait_until(partial(sees, machine, 2), f"{machine.name} sees both again", seconds=120, evidence=show)
