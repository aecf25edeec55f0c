"""Every command of crm, once, on a formed cluster whose nodes reach each other by ssh."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.system.acceptance.commands import ANY, CRM, NAVIGATION, TOOLS, Command
from tests.system.acceptance.conftest import Node
from tests.system.acceptance.formation import Cluster

SSH = "openssh-client openssh-server"
QUIET = "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d"
LISTEN = "mkdir -p /run/sshd; chmod 700 /root/.ssh; /usr/sbin/sshd"
PLACES = re.compile(
    r"(?<![\w/.-])/(etc/(corosync|crm|drbd\.d)|var/(lib|log)/(pacemaker|corosync|crmsh)|usr/share/crmsh)\b"
)
"""Where the distribution has what lies below the prefix here."""


@pytest.fixture(scope="module")
def reached(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with sshd on its nodes, and a key by which root of each reaches the other."""
    script = f"{QUIET}; apt-get update; apt-get install -y --no-install-recommends {SSH}; rm /usr/sbin/policy-rc.d"
    disks = [Node(root=machine.root) for machine in cluster.nodes]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda disk: disk.run(script), disks))
    one, two = cluster.nodes
    one.run(
        "mkdir -p /root/.ssh; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519\n"
        "cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys\n"
        "printf 'StrictHostKeyChecking no\\nLogLevel ERROR\\n' > /root/.ssh/config"
    )
    (two.root / "root/.ssh").mkdir(exist_ok=True)
    for name in ("id_ed25519", "id_ed25519.pub", "authorized_keys", "config"):
        (two.root / "root/.ssh" / name).write_bytes((one.root / "root/.ssh" / name).read_bytes())
        (two.root / "root/.ssh" / name).chmod(0o600)
    for node in cluster.nodes:
        node.run(LISTEN)
    one.run("cibadmin --query --scope configuration > /root/before.xml")
    yield cluster
    one.run("cibadmin --replace --scope configuration --xml-file /root/before.xml; crm_resource --refresh")
    one.run("rm -rf /tmp/report*")
    for node, disk in zip(cluster.nodes, disks, strict=True):
        node.run("kill $(cat /run/sshd.pid); rm -r /root/.ssh", check=False)
        disk.run(f"apt-get purge -y --autoremove {SSH}")
    cluster.wait_until_served()


WALK = """
import sys
sys.path.insert(0, "/opt/ha/lib/python3/dist-packages")
from crmsh import ui_root
levels, paths = [(ui_root.Root, ())], {ui_root.Root: ()}
while levels:
    level, path = levels.pop(0)
    for name, child in sorted(level.children().items()):
        if name in child.aliases or name.startswith("_"):
            continue
        if child.type == "level":
            if child.level not in paths:
                paths[child.level] = (*path, name)
                levels.append((child.level, (*path, name)))
        else:
            print(" ".join((*path, name)))
"""
"""Prints every command that crm has, by the shortest path to it; what begins with _ is for its own tests."""


def test_the_table_has_every_command(cluster: Cluster) -> None:
    known = set(cluster.one.run(f"python3 - <<'E'\n{WALK}\nE").stdout.splitlines())
    assert len(known) > 200
    moving = {command for command in known if command.split()[-1] in NAVIGATION}
    tried = {next((c for c in known - moving if f"{row.path} ".startswith(f"{c} ")), row.path) for row in CRM}
    assert tried == known - moving


def test_every_level_can_be_entered_listed_and_left(cluster: Cluster) -> None:
    known = cluster.one.run(f"python3 - <<'E'\n{WALK}\nE").stdout.splitlines()
    levels = {command.rpartition(" ")[0] for command in known if command.endswith(" ls")}
    assert {"configure", "corosync link", "resource"} <= levels
    lines: list[str] = []
    for level in sorted(levels - {"sbd"}):  # its door is closed without the package
        words = level.split()
        lines += [*words, "ls", "cd .", *("up" for _ in words)]
    done = cluster.one.run("crm <<'E'\n" + "\n".join((*lines, "help", "quit", "")) + "E", check=False)
    assert (done.returncode, "ERROR" in done.stdout + done.stderr) == (0, False), done.stdout + done.stderr


@pytest.mark.parametrize("row", CRM, ids=[row.line for row in CRM])
def test_a_command_of_crm_does_what_the_table_says(reached: Cluster, row: Command) -> None:
    done = reached.one.run(f"EDITOR=true crm {row.line} 2>&1", check=False)
    told = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert (row.status in (done.returncode, ANY), row.words in told) == (True, True), told
    assert ("Traceback" in told) == ("fault of crm's own" in row.outcome), told
    assert not re.search(r": \d+: \S+: not found|command not found", told), told
    assert not PLACES.search(told), told
    if row.after:
        reached.one.run(row.after)
    if row.settles:
        reached.wait_until_served()


@pytest.mark.parametrize("row", TOOLS, ids=[row.line for row in TOOLS])
def test_a_program_that_crm_does_not_call_does_what_the_table_says(reached: Cluster, row: Command) -> None:
    done = reached.one.run(f"{row.line} 2>&1", check=False)
    assert (done.returncode, row.words in done.stdout) == (row.status, True), done.stdout
    if row.after:
        reached.one.run(row.after)


def test_a_report_names_the_versions_of_all_that_is_installed(reached: Cluster) -> None:
    node = reached.one
    installed = node.run("dpkg-query -W -f '${db:Status-Status} ${Package}    ${Version}.${Architecture}\\n' 'ha-*'")
    wanted = {
        line.removeprefix("installed ") for line in installed.stdout.splitlines() if line.startswith("installed ")
    }
    assert len(wanted) > 12
    node.run("crm report -S -f 1H /tmp/versions; tar -C /root -xf /tmp/versions.tar.*; rm /tmp/versions.tar.*")
    text = node.run("cat /root/versions/sysinfo.txt; rm -r /root/versions").stdout
    told = text.partition("##### Installed cluster related packages #####\n")[2].partition("\n\n")[0]
    assert {line for line in told.splitlines() if line.startswith("ha-")} == wanted
