"""The package of a site on a node: the how-to's cluster, as the programs of the stack read it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.acceptance.conftest import CHECKOUT, Node, Stack, build_site, make_node, run_hapkg

EXAMPLE = (CHECKOUT / "docs/site.example.toml").read_text()
OTHER = EXAMPLE.replace("start-at-boot = false", "start-at-boot = true") + (
    '\n[logging]\nfacility = "local3"\nfile = "/var/log/ring.log"\n'
)
"""That cluster with the other choice at boot, and a log of its own."""
SCRIPTS = "/opt/ha/lib/drbd"
VOLUMES = {
    f"volume {number}": {
        "device": f"/dev/drbd{number} minor {number}",
        "disk": f"/dev/vgha/lvdrbd{number}",
        "meta-disk": "internal",
    }
    for number in range(3)
}
HA0: dict[str, Any] = {
    "net": {
        "protocol": "C",
        "allow-two-primaries": "yes",
        "after-sb-0pri": "discard-zero-changes",
        "after-sb-1pri": "discard-secondary",
        "after-sb-2pri": "disconnect",
        "sndbuf-size": "0",
        "max-buffers": "4000",
        "max-epoch-size": "4000",
    },
    "startup": {"become-primary-on": "both"},
    "disk": {"fencing": "resource-and-stonith", "on-io-error": "call-local-io-error"},
    "handlers": {
        "pri-on-incon-degr": f"{SCRIPTS}/notify-pri-on-incon-degr.sh; {SCRIPTS}/notify-emergency-reboot.sh; "
        "echo b > /proc/sysrq-trigger ; reboot -f",
        "pri-lost-after-sb": f"{SCRIPTS}/notify-pri-lost-after-sb.sh; {SCRIPTS}/notify-emergency-reboot.sh; "
        "echo b > /proc/sysrq-trigger ; reboot -f",
        "local-io-error": f"{SCRIPTS}/notify-io-error.sh; {SCRIPTS}/notify-emergency-shutdown.sh; "
        "echo o > /proc/sysrq-trigger ; halt -f",
        "fence-peer": f"{SCRIPTS}/crm-fence-peer.sh",
        "before-resync-target": f"{SCRIPTS}/snapshot-resync-target-lvm.sh -p 15 -- -c 16k",
        "after-resync-target": f"{SCRIPTS}/unsnapshot-resync-target-lvm.sh; {SCRIPTS}/crm-unfence-peer.sh",
    },
    **{f"on fiesta-ha{number}": {**VOLUMES, "address": f"ipv4 192.168.132.1{number}:7789"} for number in (1, 2)},
}
"""The how-to's resource, with its fencing where a module of series 8.4 has it."""


@pytest.fixture(scope="module")
def packages(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The package of each site."""
    folder = tmp_path_factory.mktemp("sites")
    return {name: build_site(text, folder / name) for name, text in (("example", EXAMPLE), ("other", OTHER))}


@pytest.fixture(scope="module")
def member(node: Node, stack: Stack, packages: dict[str, Path]) -> Iterator[Node]:
    """A node with ha-stack and the how-to's site."""
    with make_node(node.root, stack, stack.url) as made:
        put_site(made, packages["example"])
        yield made


def put_site(node: Node, package: Path) -> None:
    """Install the package of a site over another one."""
    shutil.copy(package, node.root / "root/site.deb")
    node.run("apt-get install -y --allow-downgrades --reinstall /root/site.deb", hostname="fiesta-ha1")


def parse_drbd(text: str) -> dict[str, Any]:
    """Sections and values of what drbdadm dumps."""
    root: dict[str, Any] = {}
    path = [root]
    for line in (line.strip() for line in text.splitlines()):
        if line.endswith("{"):
            path.append(path[-1].setdefault(" ".join(line[:-1].split()), {}))
        elif line == "}":
            path.pop()
        elif line and not line.startswith("#"):
            key, _, value = line.removesuffix(";").partition(" ")
            path[-1][key] = " ".join(value.strip().strip('"').split())
    return root


def test_drbdadm_reads_every_value_of_the_how_to(member: Node) -> None:
    command = "DRBD_DRIVER_VERSION_OVERRIDE=8.4.0 /opt/ha/sbin/drbdadm --config-file /opt/ha/etc/drbd.conf dump ha0"
    for number in (1, 2):
        told = member.run(command, hostname=f"fiesta-ha{number}", address=f"192.168.132.1{number}").stdout
        (resource,) = (section for name, section in parse_drbd(told).items() if name == "resource ha0")
        assert resource == HA0


def test_every_program_of_a_handler_is_there(member: Node) -> None:
    named = {word.strip(";") for text in HA0["handlers"].values() for word in text.split() if word.startswith(SCRIPTS)}
    assert len(named) == 9
    for program in sorted(named):
        member.run(f"test -x {program}")


def test_the_readers_of_the_sites_log_take_its_files(member: Node, packages: dict[str, Path]) -> None:
    put_site(member, packages["other"])
    member.run("apt-get install -y rsyslog logrotate")
    told = member.run("rsyslogd -N1 2>&1 && logrotate --debug /etc/logrotate.d/ha-stack-site 2>&1").stdout
    assert "error" not in told.lower()
    assert "considering log /var/log/ring.log" in told
    written = member.run(
        """rsyslogd -i /tmp/rsyslogd.pid
        until [ -S /dev/log ]; do sleep 0.1; done
        logger --priority local3.info ring-speaks
        until grep -s ring-speaks /var/log/ring.log; do sleep 0.1; done
        kill $(cat /tmp/rsyslogd.pid)"""
    ).stdout
    assert "ring-speaks" in written


def test_the_site_says_what_starts_at_boot_and_starts_nothing_now(member: Node, packages: dict[str, Path]) -> None:
    for name, state, links in (("other", "enabled", "S"), ("example", "disabled", "K")):
        shutil.copy(packages[name], member.root / "root/site.deb")
        told = member.run(
            """apt-get install -y --allow-downgrades --reinstall /root/site.deb >/dev/null 2>&1
            readlink /proc/[0-9]*/exe | grep ^/opt/ha || true
            systemctl --root=/ is-enabled corosync pacemaker || true
            ls /etc/rc2.d | grep -E 'corosync|pacemaker' | cut -c1""",
            hostname="fiesta-ha1",
        ).stdout
        assert told.split() == [state, state, links, links]


def test_a_warning_tells_of_a_quorum_option_that_is_better_left_out(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    warnings = []
    for text in (EXAMPLE, EXAMPLE.replace("log_debug = 1", "enable_quorum_lockspace = 0, log_debug = 1")):
        site.write_text(text)
        done = run_hapkg("site", "check", "--quick", "--json", site)
        warnings.append(json.loads(done.stdout)["warnings"])
    assert warnings[0] == []
    assert [text.partition(" ")[0] for text in warnings[1]] == ["enable_quorum_lockspace"]
