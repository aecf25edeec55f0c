"""The command ha-stack on the nodes of a real cluster."""

from __future__ import annotations

import functools
import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.acceptance.cluster import Machine
from tests.system.acceptance.conftest import CHECKOUT, SITE, SUITE, Stack, run_hapkg
from tests.system.acceptance.formation import FOLDER, Cluster, is_at, locate, start

JOURNAL = "opt/ha/var/lib/ha-stack/upgrade.json"
NEWER = "1.99.0"
FACTS = "/opt/ha/etc/ha-stack/site.json"
TAKE_BACK = f"mv /root/site.json {FACTS}"


def list_findings(machine: Machine) -> list[dict[str, Any]]:
    """Everything that ha-stack check finds."""
    findings: list[dict[str, Any]] = json.loads(machine.tell("ha-stack check --json"))
    return findings


def check(machine: Machine) -> list[dict[str, Any]]:
    """Findings of ha-stack check that are not as they should be, warnings of every such machine aside."""
    findings = list_findings(machine)
    # There is no time server and no power switch here, and other tests have installed packages under running daemons.
    expected = {"clock", "daemons", "fencing", "site"}
    return [finding for finding in findings if finding["level"] != "ok" and finding["check"] not in expected]


def test_a_good_node_has_nothing_to_mend(cluster: Cluster) -> None:
    cluster.two.run("ha-stack check")
    assert check(cluster.one) == []
    assert check(cluster.two) == []
    found = {finding["found"] for finding in list_findings(cluster.two) if finding["check"] == "clock"}
    assert any(text.startswith("fiesta-ha1 has the same time") for text in found)


def want(key: str, value: str) -> str:
    """A script that makes a node's site need something; its file stays in root's home."""
    return f"""cp -p {FACTS} /root; sed -i 's|"{key}": \\[\\]|"{key}": ["{value}"]|' {FACTS}"""


SQUAT = """setsid python3 -c 'import socket, time
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.bind(("127.0.0.1", 5405))
time.sleep(900)' </dev/null >/dev/null 2>&1 & echo $! > /root/squatter
until ss -H -l -n --udp | grep -q 127.0.0.1:5405; do sleep 0.1; done"""
"""A program that is none of the cluster's listens on its port."""


@pytest.mark.parametrize(
    ("harm", "mend", "check_name", "words"),
    [
        (f"chmod 0644 {FOLDER}/authkey", f"chmod 0400 {FOLDER}/authkey", "authkey", "chmod 0400"),
        (f"mv {FOLDER}/authkey /root", f"mv /root/authkey {FOLDER}", "authkey", "ha-stack keygen"),
        (
            f"cp -p {FOLDER}/corosync.conf /root; echo '#' >> {FOLDER}/corosync.conf",
            f"mv /root/corosync.conf {FOLDER}",
            "configuration",
            "apt install --reinstall",
        ),
        ("cp /etc/hosts /root; sed -i /fiesta-ha1/d /etc/hosts", "mv /root/hosts /etc", "resolution", "192.168.132.11"),
        (
            "ip address del 192.168.132.12/24 dev ring0",
            "ip address add 192.168.132.12/24 dev ring0",
            "address",
            "ip add",
        ),
        ("hostname other", "hostname fiesta-ha2", "name", "hostnamectl"),
        (SQUAT, "kill $(cat /root/squatter)", "port", "move python3 to another port"),
        (want("modules", "no_such_module"), TAKE_BACK, "module", "linux-"),
        (want("modules", "dlm"), TAKE_BACK, "configfs", "mount -t configfs none /sys/kernel/config"),
        (want("devices", "/dev/vgha/lvdrbd0"), TAKE_BACK, "device", "lvcreate --name lvdrbd0 --size SIZE vgha"),
        (want("devices", "/dev/sdz9"), TAKE_BACK, "device", "lsblk"),
    ],
)
def test_what_is_wrong_is_named_with_what_mends_it(
    cluster: Cluster, harm: str, mend: str, check_name: str, words: str
) -> None:
    if check_name == "address":  # without its address the running node would leave
        cluster.two.run("service pacemaker stop; service corosync stop")
    cluster.two.run(harm)
    try:
        done = cluster.two.run("ha-stack check --json", check=False)
    finally:
        cluster.two.run(mend)
    findings = json.loads(done.stdout)
    found = [f for f in findings if f["check"] == check_name and f["level"] != "ok"]
    assert found
    assert words in (found[0]["remedy"] or found[0]["advice"])
    assert done.returncode == (1 if "FAIL" in {finding["level"] for finding in findings} else 0)
    if check_name == "address":
        start(cluster.two)
        cluster.wait_until_served()


def test_a_node_with_another_configuration_is_named_by_the_others(cluster: Cluster) -> None:
    cluster.one.run(f"cp -p {FOLDER}/corosync.conf /root; echo '#' >> {FOLDER}/corosync.conf")
    try:
        assert cluster.one.run("ha-stack check", check=False).returncode == 1  # it tells the others, too
        found = [finding for finding in check(cluster.two) if finding["check"] == "same"]
    finally:
        cluster.one.run(f"mv /root/corosync.conf {FOLDER}; ha-stack check", check=False)
    assert [(f["level"], f["found"]) for f in found] == [("FAIL", "fiesta-ha1 has another configuration")]
    assert "same ha-stack-site" in found[0]["advice"]
    assert check(cluster.two) == []


def test_clocks_that_are_seconds_apart_are_named(cluster: Cluster) -> None:
    # Namespaces have one clock; the command alone is told another time.
    findings = json.loads(cluster.two.tell("faketime -f +5s ha-stack check --json"))
    (found,) = (f for f in findings if f["check"] == "clock" and f["found"].startswith("fiesta-ha1"))
    assert found["level"] == "warn"
    assert re.fullmatch(r"fiesta-ha1 is [45]\.\d s behind", found["found"])
    assert found["advice"] == "let chrony or systemd-timesyncd run on both"


def test_the_key_is_made_once(cluster: Cluster) -> None:
    before = cluster.one.run(f"sha256sum {FOLDER}/authkey; stat -c '%a %U' {FOLDER}/authkey").stdout
    assert "400 root" in before
    done = cluster.one.run("ha-stack keygen 2>&1", check=False)
    assert done.returncode == 3
    assert "never replaced" in done.stdout
    assert "root@192.168.132.12" in done.stdout
    assert cluster.one.run(f"sha256sum {FOLDER}/authkey; stat -c '%a %U' {FOLDER}/authkey").stdout == before


def test_what_runs_is_loaded_once_and_never_changed_unasked(cluster: Cluster) -> None:
    assert "nothing to do" in cluster.one.run("ha-stack bootstrap").stdout
    cluster.one.run("crm_resource --resource follower --meta --set-parameter priority --parameter-value 7")
    done = cluster.one.run("ha-stack bootstrap 2>&1", check=False)
    assert done.returncode == 3
    assert "follower" in done.stdout
    assert "--force" in done.stdout
    assert "priority" in cluster.one.tell("crm configure show follower")
    cluster.one.run("crm_resource --resource follower --meta --delete-parameter priority")
    done = cluster.stranger.run("ha-stack bootstrap 2>&1", check=False)
    assert (done.returncode, "install ha-stack-site" in done.stdout) == (6, True)


def test_status_tells_what_runs_where(cluster: Cluster) -> None:
    facts = json.loads(cluster.one.run("ha-stack status --json").stdout)
    assert facts["quorate"] is True
    assert facts["nodes"] == {"fiesta-ha1": "online", "fiesta-ha2": "online"}
    assert any(line.startswith("follower: Started") for line in facts["resources"])
    assert "quorate     yes" in cluster.one.run("ha-stack status").stdout


@pytest.fixture(scope="module")
def newer(cluster: Cluster, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A newer ha-stack in the repository of both nodes: its version."""
    project = tmp_path_factory.mktemp("newer")
    for name in ("recipes", "debian-templates", "locks"):
        shutil.copytree(CHECKOUT / name, project / name)
    shutil.copy(CHECKOUT / "pyproject.toml", project)
    recipe = project / "recipes/stack/recipe.toml"
    recipe.write_text(re.sub(r'(?m)^version = ".*"$', f'version = "{NEWER}"', recipe.read_text(), count=1))
    shutil.copytree(stack.repository, project / "apt", symlinks=True)
    for arguments in (["build-all"], ["publish", "--repo", str(project / "apt")]):
        done = run_hapkg("--project", project, *arguments, "--suite", SUITE, "--site", SITE)
        assert done.returncode == 0, done.stderr
    for machine in cluster.nodes:
        shutil.rmtree(machine.root / "srv/apt")
        shutil.copytree(project / "apt", machine.root / "srv/apt", symlinks=True)
    shutil.rmtree(project)
    yield NEWER


def installed(machine: Machine) -> str:
    return machine.run("dpkg-query -W -f '${Version}' ha-stack").stdout


class Watch(threading.Thread):
    """Looks, once a second, whether the follower runs; a daemon of the cluster's own would be no witness."""

    def __init__(self, witness: Machine) -> None:
        super().__init__(daemon=True)
        self._witness, self._end = witness, threading.Event()
        self.places: list[str] = []

    def run(self) -> None:
        while not self._end.wait(0.5):
            self.places.append(locate(self._witness, "follower"))

    def stop(self) -> list[str]:
        """Where it ran, one look after the other."""
        self._end.set()
        self.join()
        return self.places


def test_a_node_is_upgraded_while_the_other_serves(cluster: Cluster, newer: str) -> None:
    one, two = cluster.nodes
    cluster.wait_until_served()
    name = locate(one, "follower")
    node, other = (one, two) if name == one.name else (two, one)
    files = f"sha256sum {FOLDER}/corosync.conf {FOLDER}/authkey"
    sums, pids = node.run(files).stdout, other.find("pacemaker-based")
    planned = node.run("ha-stack upgrade-node --dry-run").stdout
    assert f"({newer}" in planned
    assert not installed(node).startswith(newer)
    watch = Watch(other)
    watch.start()
    told = node.run("ha-stack upgrade-node").stdout
    places = watch.stop()
    assert "done:" in told
    assert installed(node).startswith(newer)
    cluster.wait_until_served()
    assert node.run(files).stdout == sums
    assert other.find("pacemaker-based") == pids
    assert locate(one, "follower") == other.name
    gap = max((len(run) for run in re.findall("x+", "".join("x" if not place else "." for place in places))), default=0)
    assert gap <= 8, places  # the move itself; a look takes some half a second
    assert "from before an upgrade" not in node.tell("ha-stack check")
    findings = check(node)
    assert [f["found"] for f in findings if f["check"] == "same"] == [f"{other.name} has ha-stack {installed(other)}"]


def kill_midway(node: Machine, command: str, *steps: str) -> None:
    """Run an upgrade, and kill it with no chance to tidy up when it has come to one of these steps."""
    journal = node.root / JOURNAL
    started = threading.Thread(target=node.run, args=(command,), kwargs={"check": False})
    started.start()
    end = time.monotonic() + 300
    while not (journal.exists() and json.loads(journal.read_text())["step"] in steps):
        assert time.monotonic() < end
        assert started.is_alive()
        time.sleep(0.02)
    node.run("kill -9 $(pgrep -f '^/usr/bin/python3 .*ha-stack upgrade-node')")
    started.join()
    assert journal.exists()


def test_an_upgrade_that_was_killed_is_given_up(cluster: Cluster, newer: str) -> None:
    node = next(machine for machine in cluster.nodes if not installed(machine).startswith(newer))
    before = installed(node)
    kill_midway(node, "ha-stack upgrade-node", "drain", "stop")
    assert "given up" in node.run("ha-stack upgrade-node --abort").stdout
    assert installed(node) == before
    assert not (node.root / JOURNAL).exists()
    cluster.wait_until_served()
    assert "standby" not in cluster.one.tell("crm_mon -1")
    assert "yes" not in cluster.one.tell("attrd_updater --name ha-stack-leaving --query --all")
    assert node.run("ha-stack upgrade-node --abort 2>&1", check=False).returncode == 3


def test_an_upgrade_that_was_killed_goes_on(cluster: Cluster, newer: str) -> None:
    node = next(machine for machine in cluster.nodes if not installed(machine).startswith(newer))
    journal = node.root / JOURNAL
    kill_midway(node, "ha-stack upgrade-node", "install")  # apt works on, and is waited for
    assert "interrupted" in node.tell("ha-stack check; ha-stack status 2>&1")
    told = node.run("ha-stack upgrade-node").stdout
    assert "going on" in told
    assert "done:" in told
    assert not journal.exists()
    assert installed(node).startswith(newer)
    cluster.wait_until_served()
    assert "standby" not in cluster.one.tell("crm_mon -1")


def test_a_node_goes_back_to_an_older_version(cluster: Cluster, stack: Stack, newer: str) -> None:
    old = next(outcome["version"] for outcome in stack.outcomes if outcome["source"] == "ha-stack")
    kill_midway(cluster.two, f"ha-stack upgrade-node --to {old}", "drain", "stop")
    assert f"is to {old}" in cluster.two.tell(f"ha-stack upgrade-node --to {installed(cluster.two)} 2>&1")
    cluster.two.run("ha-stack upgrade-node")  # goes on to the version that was asked for, not to the newest
    assert installed(cluster.two) == old
    cluster.wait_until_served()
    cluster.two.run("ha-stack upgrade-node")
    assert installed(cluster.two).startswith(newer)
    cluster.wait_until_served()


def test_a_node_whose_departure_costs_service_stays(cluster: Cluster, stack: Stack, newer: str) -> None:
    old = next(outcome["version"] for outcome in stack.outcomes if outcome["source"] == "ha-stack")
    refused = f"ha-stack upgrade-node --to {old} 2>&1"
    cluster.one.run("crm_attribute --node fiesta-ha1 --name standby --update on")
    cluster.wait_until(lambda: locate(cluster.two, "follower") == "fiesta-ha2", "move of the follower")
    done = cluster.two.run(refused, check=False)
    assert done.returncode == 3
    assert "node fiesta-ha1 does not serve: standby" in done.stdout
    assert "resource follower would run nowhere" in done.stdout
    cluster.one.run("crm_attribute --node fiesta-ha1 --name standby --delete")
    cluster.wait_until_served()
    cluster.one.run("crm configure location only-here follower -inf: fiesta-ha1")
    cluster.wait_until(lambda: locate(cluster.one, "follower") == "fiesta-ha2", "move of the follower")
    done = cluster.two.run(refused, check=False)
    cluster.one.run("crm configure delete only-here")
    assert (done.returncode, "resource follower would run nowhere" in done.stdout) == (3, True)
    cluster.wait_until_served()
    cluster.one.run("service pacemaker stop; service corosync stop")
    cluster.wait_until(lambda: "Online: [ fiesta-ha2 ]" in cluster.two.tell("crm_mon -1"), "node alone")
    done = cluster.two.run(refused, check=False)
    assert (done.returncode, "node fiesta-ha1 does not serve: OFFLINE" in done.stdout) == (3, True)
    assert "no quorum" in done.stdout
    start(cluster.one)
    assert installed(cluster.two).startswith(newer)
    assert not (cluster.two.root / JOURNAL).exists()
    cluster.wait_until_served()


def test_what_apt_upgraded_before_runs_after_it(cluster: Cluster, newer: str) -> None:
    node, stale = cluster.two, "from before an upgrade"
    node.run("apt-get install -y --reinstall ha-corosync ha-pacemaker")
    (found,) = (f for f in list_findings(node) if f["check"] == "daemons")
    assert (stale in found["found"], found["remedy"]) == (True, "ha-stack upgrade-node")
    assert {"corosync", "pacemakerd"} <= set(json.loads(node.tell("ha-stack status --json"))["outdated"])
    pids = node.find("corosync"), node.find("pacemakerd")
    assert "nothing was changed" in node.run("ha-stack upgrade-node --dry-run").stdout
    assert (node.find("corosync"), node.find("pacemakerd")) == pids
    assert "done:" in node.run("ha-stack upgrade-node").stdout
    cluster.wait_until_served()
    assert stale not in node.tell("ha-stack check")
    assert json.loads(node.tell("ha-stack status --json"))["outdated"] == []
    pids = node.find("corosync"), node.find("pacemakerd")
    told = node.tell("ha-stack upgrade-node 2>&1")  # Debian's own repository is out of reach here, and it says so
    assert "apt knows nothing newer" in told
    assert (node.find("corosync"), node.find("pacemakerd")) == pids


def test_nodes_are_upgraded_one_at_a_time(cluster: Cluster, stack: Stack, newer: str) -> None:
    old = next(outcome["version"] for outcome in stack.outcomes if outcome["source"] == "ha-stack")
    cluster.one.run("attrd_updater --private --wait cluster --name ha-stack-leaving --update yes")
    done = cluster.two.run(f"ha-stack upgrade-node --to {old} 2>&1", check=False)
    cluster.one.run("attrd_updater --private --wait cluster --name ha-stack-leaving --delete")
    assert (done.returncode, "node fiesta-ha1 is being upgraded" in done.stdout) == (3, True)
    lock = f"/{JOURNAL.replace('.json', '.lock')}"
    done = cluster.two.run(f"flock {lock} ha-stack upgrade-node --to {old} 2>&1", check=False)
    assert (done.returncode, "another ha-stack upgrade-node" in done.stdout) == (3, True)
    assert installed(cluster.two).startswith(newer)


def test_fencing_devices_of_single_nodes_keep_none_of_them(cluster: Cluster, stack: Stack, newer: str) -> None:
    old = next(outcome["version"] for outcome in stack.outcomes if outcome["source"] == "ha-stack")
    pairs = (("fiesta-ha1", "off-one"), ("fiesta-ha2", "off-two"))
    lines = [f"primitive {device} stonith:null params hostlist={name}" for name, device in pairs]
    lines += [f"location {device}-elsewhere {device} -inf: {name}" for name, device in pairs]
    cluster.one.run("\n".join(f"crm --force configure {line}" for line in lines))
    try:
        cluster.one.run("crm_attribute --name stonith-enabled --update true")
        cluster.wait_until(lambda: all(locate(cluster.one, device) for _, device in pairs), "fencing devices")
        assert [f["found"] for f in list_findings(cluster.two) if f["check"] == "fencing"] == ["by off-one, off-two"]
        told = cluster.two.run(f"ha-stack upgrade-node --dry-run --to {old}").stdout
        assert "nothing was changed" in told
    finally:
        cluster.one.run("crm_attribute --name stonith-enabled --update false")
        for _, device in pairs:
            cluster.one.run(f"crm --force configure delete {device}-elsewhere; crm --force resource stop {device}")
            cluster.wait_until(functools.partial(is_at, cluster.one, device, ""), "end of the device")
            cluster.one.run(f"crm --force configure delete {device}")
    cluster.wait_until_served()


@pytest.mark.parametrize("arguments", ["", "nosuch", "check --nosuch", "upgrade-node --to"])
def test_a_wrong_command_line_is_told(cluster: Cluster, arguments: str) -> None:
    done = cluster.stranger.run(f"ha-stack {arguments} 2>&1", check=False)
    assert done.returncode == 2
    assert "usage: ha-stack" in done.stdout
    assert "Traceback" not in done.stdout
