"""Under systemd as PID 1: boot, the order of a shutdown, stops that hang, restarts, and what check prints then."""

from __future__ import annotations

import contextlib
import os
import re
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hapkg.prove.stops import HANGING, is_in_order
from tests.support.machine import wait_until
from tests.system.acceptance.cluster import Machine, boot_systemd, make_switch
from tests.system.acceptance.conftest import CHECKOUT, SITE_PACKAGE, Node, Stack, make_node
from tests.system.acceptance.fencing import AGENT, STRUCK
from tests.system.acceptance.formation import FOLDER, NAMES, PATIENCE, locate
from tests.system.acceptance.test_check import find

SERVICES = ("corosync", "pacemaker")
WHOLE = "Online: [ fiesta-ha1 fiesta-ha2 ]"
# Of no use without hardware, and each would be started, and fail, at every boot.
UNUSED = "console-getty getty@tty1 systemd-logind e2scrub_reap e2scrub_all.timer apt-daily.timer"


class Pair:
    """Two nodes that are booted and shut down, and the cluster that they form while both are up."""

    def __init__(self, roots: tuple[Path, Path], switch: int) -> None:
        self._roots = dict(zip(NAMES, roots, strict=False))
        self._switch = switch
        self._running: dict[str, tuple[Machine, contextlib.ExitStack]] = {}

    def __getitem__(self, name: str) -> Machine:
        return self._running[name][0]

    @property
    def machines(self) -> tuple[Machine, ...]:
        """Those that are up."""
        return tuple(machine for machine, _ in self._running.values())

    def boot(self, name: str) -> Machine:
        """Switch a node on."""
        scope = contextlib.ExitStack()
        number = NAMES.index(name)
        machine = boot_systemd(self._roots[name], self._switch, name=name, address=f"192.168.132.{11 + number}/24")
        self._running[name] = (scope.enter_context(machine), scope)
        return self[name]

    def shut_down(self, name: str) -> None:
        """Switch a node off by itself, and wait until it is."""
        machine, scope = self._running[name]
        machine.run("systemctl poweroff")
        wait_until(lambda: not _lives(machine.pid), f"end of {name}", seconds=PATIENCE)
        scope.close()
        del self._running[name]

    def pull_plug(self, name: str) -> None:
        """End a node at once, as a power switch does."""
        self._running.pop(name)[1].close()

    def close(self) -> None:
        """Switch everything off."""
        for _, scope in self._running.values():
            scope.close()

    def is_served(self) -> bool:
        """Tell whether both nodes see both, and the follower runs."""
        return len(self.machines) == len(SERVICES) and all(
            WHOLE in (text := node.tell("crm_mon -1")) and "partition with quorum" in text and locate(node, "follower")
            for node in self.machines
        )

    def wait_until_served(self) -> None:
        """Wait until both nodes are online and the resources run."""
        wait_until(self.is_served, "cluster that serves", seconds=PATIENCE, evidence=self.describe)

    def describe(self) -> str:
        """Evidence of both nodes, when something does not happen."""
        look = "crm_mon -1rf; systemctl --no-pager status corosync pacemaker; journalctl --no-pager -b -n 60"
        return "\n".join(node.tell(look) for node in self.machines)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


@pytest.fixture(scope="module")
def pair(bare_node: Path, stack: Stack) -> Iterator[Pair]:
    """The how-to's cluster on two nodes with systemd, formed by its commands. Tests leave it whole."""
    with contextlib.ExitStack() as scope:
        nodes = [scope.enter_context(make_node(bare_node, stack, None)) for _ in range(2)]
        packages = f"systemd-sysv dbus iproute2 procps ha-stack {SITE_PACKAGE}"
        # Nothing can be enabled while nobody runs systemd.
        mask = f"systemctl mask {UNUSED}; mkdir -p /var/log/journal"
        exporter = "apt-get install -y --no-install-recommends prometheus-node-exporter"
        script = f"apt-get update && apt-get install -y {packages} && {exporter} && {mask}"
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda pair: pair[0].run(script, hostname=pair[1]), zip(nodes, NAMES[:2], strict=True)))
        for node in nodes:
            lines = [f"192.168.132.{11 + number} {name}" for number, name in enumerate(NAMES[:2])]
            (node.root / "etc/hosts").write_text("\n".join(("127.0.0.1 localhost", *lines, "")))
        pair = Pair((nodes[0].root, nodes[1].root), scope.enter_context(make_switch()))
        scope.callback(pair.close)
        for name in NAMES[:2]:
            pair.boot(name)
        yield pair


@pytest.fixture(scope="module")
def formed(pair: Pair) -> Pair:
    """The pair as a cluster whose services start at boot."""
    one, two = pair.machines
    one.run("ha-stack keygen")
    key = FOLDER[1:] + "/authkey"
    (two.root / key).write_bytes((one.root / key).read_bytes())
    (two.root / key).chmod(0o400)
    for node in pair.machines:
        node.run("systemctl enable --now corosync pacemaker")
    wait_until(
        lambda: all(WHOLE in node.tell("crm_mon -1") for node in pair.machines),
        "cluster of two nodes",
        seconds=PATIENCE,
        evidence=pair.describe,
    )
    one.run("ha-stack bootstrap")
    pair.wait_until_served()
    return pair


def test_nothing_starts_unasked(pair: Pair) -> None:
    for node in pair.machines:
        assert node.tell("systemctl is-active corosync pacemaker").split() == ["inactive", "inactive"]
        assert node.tell("systemctl is-enabled corosync pacemaker").split() == ["disabled", "disabled"]


def test_a_unit_without_its_configuration_is_skipped(pair: Pair) -> None:
    node = pair["fiesta-ha1"]
    node.run(f"mv {FOLDER}/corosync.conf /root")
    try:
        node.run("systemctl start pacemaker", check=False)
        assert node.tell("systemctl is-failed corosync pacemaker").split() == ["inactive", "inactive"]
        assert "ConditionPathExists" in node.tell("journalctl -b -u corosync; systemctl status corosync")
    finally:
        node.run(f"mv /root/corosync.conf {FOLDER}")


def test_a_shutdown_stops_resources_then_pacemaker_then_corosync_and_a_boot_joins(formed: Pair) -> None:
    name = locate(formed["fiesta-ha1"], "follower")
    other = formed[next(other for other in NAMES[:2] if other != name)]
    root = formed[name].root
    formed.shut_down(name)
    # The cluster was told: nobody is unclean, and the service has moved.
    wait_until(lambda: locate(other, "follower") == other.name, "move of the follower", seconds=PATIENCE)
    seen = other.tell("crm_mon -1")
    assert f"OFFLINE: [ {name} ]" in seen
    assert "UNCLEAN" not in seen
    told = Node(root=root).run("journalctl --no-pager -D /var/log/journal -o short-monotonic").stdout
    assert is_in_order(told), told
    assert not re.search(r"(corosync|pacemaker)\.service: .*(Killing|timed out|Failed with)", told)
    formed.boot(name)
    formed.wait_until_served()
    assert formed[name].tell("systemctl is-active corosync pacemaker").split() == ["active", "active"]


def test_a_restart_of_corosync_takes_pacemaker_with_it(formed: Pair) -> None:
    node = formed["fiesta-ha2"]
    before = [node.find(daemon) for daemon in ("corosync", "pacemakerd")]
    node.run("systemctl restart corosync")
    formed.wait_until_served()
    after = [node.find(daemon) for daemon in ("corosync", "pacemakerd")]
    assert all(after)
    assert not set(after) & set(before)
    assert node.tell("systemctl is-failed corosync pacemaker").split() == ["active", "active"]


def test_a_stop_that_takes_long_is_waited_for(formed: Pair) -> None:
    node = formed["fiesta-ha2"]
    # Whatever systemd's own patience is: another service would be killed.
    drop = node.root / "etc/systemd/system.conf.d/impatient.conf"
    drop.parent.mkdir(exist_ok=True)
    drop.write_text("[Manager]\nDefaultTimeoutStopSec=3s\n")
    node.run(
        "systemctl daemon-reexec\n"
        "crm configure primitive slow ocf:pacemaker:Dummy params op_sleep=12 "
        "op start interval=0 timeout=60s op stop interval=0 timeout=60s\n"
        "crm configure location slow-2 slow inf: fiesta-ha2"
    )
    try:
        wait_until(lambda: locate(node, "slow") == node.name, "slow service", seconds=PATIENCE)
        begun = time.monotonic()
        node.run("systemctl stop pacemaker")
        assert time.monotonic() - begun >= 12
        assert node.tell("systemctl show -p Result --value pacemaker").strip() == "success"
        assert "slow_stop" not in formed["fiesta-ha1"].tell("crm_mon -1rf")
    finally:
        drop.unlink()
        node.run("systemctl daemon-reexec; systemctl start pacemaker")
    formed.wait_until_served()
    node.run("crm --wait resource stop slow; crm configure delete slow-2 slow")


def test_a_unit_that_systemd_starts_too_is_told_and_the_printed_line_ends_that(formed: Pair) -> None:
    node = formed["fiesta-ha2"]
    crm = node.root / "opt/ha/etc/ha-stack/cluster.crm"
    brought = crm.read_text()
    unit = node.root / "etc/systemd/system/served.service"
    unit.write_text("[Service]\nExecStart=/bin/sleep infinity\n\n[Install]\nWantedBy=multi-user.target\n")
    crm.write_text(f"{brought}primitive served systemd:served\n")
    try:
        assert find(node, "units", "") == []
        for state, remedy in (("running", "systemctl disable served"), ("down", "systemctl disable --now served")):
            if state == "down":
                node.run("systemctl stop corosync")
            node.run("systemctl daemon-reload; systemctl enable --now served")
            (found,) = find(node, "units", "systemd starts served at boot, and pacemaker runs it")
            assert (found["level"], found["remedy"]) == ("warn", remedy)
            node.run(found["remedy"])
            assert find(node, "units", "at boot") == []
            assert node.tell("systemctl is-active served").strip() == ("active" if state == "running" else "inactive")
    finally:
        crm.write_text(brought)
        unit.unlink()
        node.run("systemctl start pacemaker")
    formed.wait_until_served()


def test_a_corosync_that_hangs_is_told_and_the_printed_line_brings_it_back(formed: Pair) -> None:
    node = formed["fiesta-ha2"]
    node.run("kill -STOP $(pidof corosync)")
    # A stop waits for corosync, and would do so for half an hour: pacemaker is never killed.
    node.run("systemctl stop --no-block pacemaker")
    (found,) = find(node, "engine", "does not answer")
    assert node.tell("systemctl is-active pacemaker").strip() == "deactivating"
    node.run(found["remedy"])
    formed.wait_until_served()
    assert find(node, "engine", "") == []


def test_a_corosync_that_is_killed_is_told_and_the_printed_line_brings_it_back(formed: Pair) -> None:
    node = formed["fiesta-ha2"]
    node.run("kill -9 $(pidof corosync)")
    wait_until(lambda: find(node, "pacemaker", "without corosync") != [], "the finding", seconds=PATIENCE)
    (found,) = find(node, "pacemaker", "without corosync")
    node.run(found["remedy"])
    formed.wait_until_served()


def test_a_shutdown_that_hangs_ends_at_the_power_switch(formed: Pair) -> None:
    one, two = formed["fiesta-ha1"], formed["fiesta-ha2"]
    struck = one.root / STRUCK[1:]
    for node in (one, two):
        for file, text in (("opt/ha/sbin/fence_standin", AGENT), ("etc/init.d/hanging", HANGING)):
            (node.root / file).write_text(text)
            (node.root / file).chmod(0o755)
    one.run(
        "crm --force configure primitive switch stonith:fence_standin params outlet=red pcmk_host_list=fiesta-ha2\n"
        "crm --force configure location switch-1 switch -inf: fiesta-ha2\n"
        "crm_attribute --name stonith-enabled --update true\n"
        "crm configure primitive hanging lsb:hanging op stop interval=0 timeout=10s\n"
        "crm configure location hanging-2 hanging -inf: fiesta-ha1"
    )
    wait_until(
        lambda: (locate(one, "switch"), locate(one, "hanging")) == (one.name, two.name), "services", seconds=PATIENCE
    )
    two.run("systemctl poweroff --no-block")
    wait_until(struck.exists, "act of the power switch", seconds=PATIENCE, evidence=formed.describe)
    assert "fiesta-ha2 red" in struck.read_text()
    formed.pull_plug(two.name)
    wait_until(lambda: locate(one, "follower") == one.name, "follower on the node left", seconds=PATIENCE)
    one.run(
        "crm_attribute --name stonith-enabled --update false\n"
        "crm --force configure delete hanging-2 hanging; crm --force resource stop switch"
    )
    wait_until(lambda: locate(one, "switch") == "", "end of the device", seconds=PATIENCE)
    one.run("crm --force configure delete switch-1 switch")
    formed.boot(two.name)
    formed.wait_until_served()


UNIT = re.compile(r"((?:^    \[?[A-Z].*\n|^\n(?=    ))+)", re.MULTILINE)
"""A unit in the documentation."""


def test_metrics_reach_prometheus_by_the_timer_of_the_documentation(formed: Pair) -> None:
    node, folder = formed["fiesta-ha1"], "/etc/systemd/system"
    text = (CHECKOUT / "docs/automation.md").read_text()
    for kind in ("service", "timer"):
        unit = textwrap.dedent(UNIT.search(text, text.index(f"ha-stack-metrics.{kind}"))[1])  # type: ignore[index]
        (node.root / folder[1:] / f"ha-stack-metrics.{kind}").write_text(unit)
    node.run("systemctl daemon-reload; systemctl enable --now ha-stack-metrics.timer")
    try:
        assert "ha-stack-metrics.service" in node.run("systemctl list-timers --no-pager").stdout
        node.run("systemctl start ha-stack-metrics.service")
        ask = "import urllib.request as u; print(u.urlopen('http://localhost:9100/metrics').read().decode())"
        seen = node.run(f'python3 -c "{ask}"').stdout
    finally:
        node.run(f"systemctl disable --now ha-stack-metrics.timer; rm {folder}/ha-stack-metrics.*")
    assert "\nha_stack_healthy " in seen
    assert '\nha_stack_findings{check="quorum",level="ok"} 1\n' in seen
    assert "\nnode_textfile_scrape_error 0\n" in seen
