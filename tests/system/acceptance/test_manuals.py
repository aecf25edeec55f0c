"""Manual pages and completion of a node, read and asked as its administrator does."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from tests.system.acceptance.conftest import Node

TOOLS = "bash-completion groff-base man-db zsh"
MAN = "/opt/ha/share/man"
LOGIN = ". /etc/profile.d/ha-stack.sh; "


@pytest.fixture(scope="module")
def reader(node: Node) -> Iterator[Node]:
    """The node with man and two shells."""
    node.run(f"apt-get install -y --no-install-recommends {TOOLS}")
    yield node
    node.run(f"apt-get purge -y --autoremove {TOOLS}")


@pytest.mark.parametrize(
    ("section", "page", "words"),
    [
        ("8", "crm", "cluster"),
        ("8", "drbdadm", "/opt/ha/etc/drbd.conf"),
        ("5", "drbd.conf", "/opt/ha/etc/drbd.conf"),
        ("8", "drbdsetup", "drbdsetup"),
        ("7", "ocf_heartbeat_IPaddr2", "cidr_netmask"),
        ("7", "ocf_heartbeat_Filesystem", "fstype"),
        ("7", "ocf_pacemaker_ping", "host_list"),
        ("7", "ocf_linbit_drbd", "drbd_resource"),
        ("7", "pacemaker", "pacemakerd(8)"),
        ("7", "pacemaker-controld", "dc-deadtime"),
        ("7", "pacemaker-schedulerd", "no-quorum-policy"),
        ("8", "cibsecret", "stash"),
        ("8", "ha-stack", "upgrade-node"),
        ("5", "corosync.conf", "knet"),
    ],
)
def test_a_manual_page_is_found_and_names_our_places(reader: Node, section: str, page: str, words: str) -> None:
    assert reader.run(f"{LOGIN}man -w {section} {page}").stdout.startswith(f"{MAN}/man{section}/")
    text = reader.run(f"{LOGIN}MANWIDTH=200 man {section} {page} 2>&1").stdout
    assert words in text
    assert " /etc/drbd" not in text


def test_every_agent_has_its_page(reader: Node) -> None:
    agents = reader.run("cd /opt/ha/usr/lib/ocf/resource.d && ls -d heartbeat/* pacemaker/* linbit/*").stdout.split()
    described = set(reader.run(f"ls {MAN}/man7").stdout.split())
    without = []
    for agent in agents:
        provider, _, name = agent.partition("/")
        if not name.startswith(".") and not name.endswith((".sh", ".py")):
            page = f"ocf_{provider}_{name}.7"
            if page not in described:
                without.append(agent)
    # Upstream writes none for this one.
    without = [agent for agent in without if agent != "heartbeat/ldirectord"]
    libraries = set(reader.run("cd /opt/ha/usr/lib/ocf/resource.d && grep -L meta-data */*").stdout.split())
    assert set(without) <= libraries


TYPE = """
import os, pty, select, sys, time
shell, line, wanted = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(TERM="dumb", PATH="/opt/ha/sbin:/opt/ha/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    argv = {"bash": ["bash", "--norc", "-i"], "zsh": ["zsh", "-f", "-i"]}[shell]
    os.execvp(shell, argv)
seen = ""
def read(words, seconds=60):
    global seen
    end = time.monotonic() + seconds
    while words not in seen:
        assert time.monotonic() < end, seen
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")
prepare = {"bash": ". /usr/share/bash-completion/bash_completion", "zsh": "autoload -U compinit; compinit -u -D"}[shell]
os.write(terminal, (prepare + "; echo rea''dy\\n").encode())
read("ready\\r\\n")
seen = ""
os.write(terminal, (line + "\\t").encode())
read(wanted)
"""
"""Types the beginning of a line and the tabulator key into a shell, until it has written the rest."""


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("ha-stack upg", "ha-stack upgrade-node"),
        ("ha-stack check --me", "ha-stack check --metrics"),
        ("crm resou", "crm resource"),
        ("crm configure prim", "crm configure primitive"),
        ("drbdadm second", "drbdadm secondary"),
    ],
)
def test_a_shell_completes(reader: Node, shell: str, line: str, wanted: str) -> None:
    mount = "mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts; mount --bind /dev/pts/ptmx /dev/ptmx"
    reader.run(f"{mount}; python3 -c {shlex.quote(TYPE)} {shell} '{line}' '{wanted}'")
