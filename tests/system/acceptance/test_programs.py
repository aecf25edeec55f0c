"""Every program of the installed stack runs, and finds the rest of the stack at the prefix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.system.acceptance.conftest import Node, Stack, make_node

PREFIX = "/opt/ha"
ON_PATH = f"PATH={PREFIX}/sbin:{PREFIX}/bin:$PATH; export PATH OCF_ROOT={PREFIX}/usr/lib/ocf\n"

VERSIONS: Mapping[str, str] = {
    "corosync -v": r"Corosync Cluster Engine, version '3\.",
    "pacemakerd --version": r"Pacemaker 3\.",
    "crm --version": r"crm 5\.",
    "dlm_controld -V": r"dlm_controld 4\.",
    "mkfs.gfs2 -V": r"mkfs\.gfs2 3\.",
    "drbdadm --version": r"DRBDADM_VERSION=9\.",
    "stonith -V": r"stonith: 1\.",
}


def list_silent(node: Node, programs: str, argument: str) -> str:
    """Agents that give no metadata when asked, with what they say instead."""
    return node.run(f"""{ON_PATH}
        for agent in {programs}; do
            [ -f "$agent" ] && [ -x "$agent" ] || continue
            timeout 60 "$agent" {argument} > /tmp/metadata 2> /tmp/errors
            grep -q '<resource-agent ' /tmp/metadata || {{ echo "$agent"; cat /tmp/errors; }}
        done
        """).stdout


@pytest.mark.parametrize("command", VERSIONS)
def test_a_program_tells_its_version(node: Node, command: str) -> None:
    # Without a driver drbdadm says so, and what it was built as.
    assert re.search(VERSIONS[command], node.run(f"{ON_PATH}{command} 2>&1").stdout)


def test_pacemaker_is_built_for_this_stack(node: Node) -> None:
    features = node.run(f"{ON_PATH}pacemakerd --features").stdout
    assert {"corosync-ge-2", "systemd", "lha"} <= set(features.split("Supporting")[1].split())


def test_there_is_one_root_of_ocf_agents(node: Node) -> None:
    folders = node.run("find / -xdev -type d -name ocf").stdout.split()
    assert folders == [f"{PREFIX}/usr/lib/ocf"]


def test_every_resource_agent_describes_itself(node: Node) -> None:
    agents = f"{PREFIX}/usr/lib/ocf/resource.d/*/*"
    assert list_silent(node, agents, "meta-data") == ""


def test_pacemaker_finds_the_agents_of_every_provider(node: Node) -> None:
    providers = node.run(f"{ON_PATH}crm_resource --list-ocf-providers").stdout.split()
    assert {"heartbeat", "linbit", "pacemaker"} <= set(providers)
    agents = node.run(f"{ON_PATH}crm_resource --list-agents ocf:heartbeat").stdout.split()
    assert {"Filesystem", "IPaddr2"} <= set(agents)
    assert len(agents) > 100


def test_every_fence_agent_describes_itself(node: Node) -> None:
    assert list_silent(node, f"{PREFIX}/sbin/fence_*", "-o metadata") == ""


def test_stonith_finds_its_plugins(node: Node) -> None:
    plugins = node.run(f"{ON_PATH}stonith -L").stdout.split()
    assert {"external/ipmi", "external/libvirt", "meatware"} <= set(plugins)


def test_what_is_loaded_by_name_comes_from_the_prefix(node: Node) -> None:
    # dlm_stonith loads Pacemaker's fencing library when it runs, and legacy agents load libstonith's plugins.
    trace = "LD_DEBUG=libs LD_DEBUG_OUTPUT=/tmp/loaded"
    loaded = node.run(f"""{ON_PATH}
        {trace} dlm_stonith -n 1 -t 1 -d >/dev/null 2>&1 || true
        {trace} stonith -t external/libvirt -n >/dev/null 2>&1 || true
        cat /tmp/loaded.*; rm /tmp/loaded.*
        """).stdout
    paths = set(re.findall(r"calling init: (\S+)", loaded))
    assert {f"{PREFIX}/lib/libstonithd.so.56", f"{PREFIX}/lib/libstonith.so.1"} <= paths
    ours = re.compile(r"/lib(qb|crm|stonith|plumb|pils|cib|lrmd|pe_|pacemaker|cfg|cmap|cpg|quorum|corosync)")
    assert {path for path in paths if ours.search(path) and not path.startswith(f"{PREFIX}/lib/")} == set()


def test_crm_writes_and_reads_a_configuration(node: Node) -> None:
    # Without a cluster: on a file, through Pacemaker's own tools, agents and schemas.
    shown = node.run(f"""{ON_PATH}set -e
        export CIB_file=/tmp/cib.xml
        cibadmin --empty > $CIB_file
        crm configure property stonith-enabled=false
        crm configure primitive address ocf:heartbeat:IPaddr2 params ip=192.168.132.20 op monitor interval=10s
        crm configure clone check address
        crm configure show
        crm_verify --xml-file $CIB_file
        crm ra info ocf:heartbeat:IPaddr2 | head -1
        rm $CIB_file
        """).stdout
    assert "primitive address IPaddr2" in shown
    assert "clone check address" in shown
    assert "ocf:heartbeat:IPaddr2" in shown


def test_todays_schema_has_promotable_clones_and_no_masters(node: Node) -> None:
    state = '<primitive id="state" class="ocf" provider="pacemaker" type="Stateful"/>'
    promotable = '<nvpair id="promotable" name="promotable" value="true"/>'
    clone = f'<clone id="ms"><meta_attributes id="meta">{promotable}</meta_attributes>{state}</clone>'
    property_ = '<nvpair id="off" name="stonith-enabled" value="false"/>'
    off = f'<crm_config><cluster_property_set id="set">{property_}</cluster_property_set></crm_config>'
    ends = []
    for text in (clone, f'<master id="ms">{state}</master>'):
        script = f"""{ON_PATH}cibadmin --empty > /tmp/cib.xml
            sed -i -e 's|<crm_config */>|{off}|' -e 's|<resources */>|<resources>{text}</resources>|' /tmp/cib.xml
            grep -c 'type="Stateful"' /tmp/cib.xml
            crm_verify --verbose --xml-file /tmp/cib.xml 2>&1"""
        ends.append(node.run(script, check=False))
    assert [done.stdout.startswith("1\n") for done in ends] == [True, True]
    assert ends[0].returncode == 0, ends[0].stdout
    assert ends[1].returncode != 0
    assert "master" in ends[1].stdout


def test_crm_names_no_place_of_the_distributions_stack(node: Node) -> None:
    programs = "/usr/sbin/(pacemaker|crm|corosync)"
    folders = r"/etc/(corosync|crm|drbd)\b|/var/lib/(pacemaker|corosync|heartbeat)|/usr/share/(crmsh|pacemaker)"
    where = f"{PREFIX}/lib/python3 {PREFIX}/share/crmsh {PREFIX}/sbin/crm"
    found = node.run(f"grep -rnE '(^|[^[:alnum:]_./-])({programs}|{folders})' {where}", check=False)
    assert found.stdout == ""


def test_a_third_machine_gives_its_vote_or_arbitrates(bare_node: Path, stack: Stack) -> None:
    with make_node(bare_node, stack, stack.url) as node:
        node.run("apt-get update && apt-get install -y ha-corosync-qnetd ha-booth")
        enabled = {link.name for link in (node.root / "etc/systemd/system").rglob("*.service")}
        assert not [name for name in enabled if "corosync" in name or "booth" in name], "nothing starts by itself"
        told = node.run(
            f"""{ON_PATH}set -e
            systemd-tmpfiles --create ha-corosync-qnetd.conf ha-booth.conf
            corosync-qnetd-certutil -i >/dev/null
            stat -c '%U %a' {PREFIX}/etc/corosync/qnetd/nssdb
            install -d -o coroqnetd -m 770 /run/corosync-qnetd
            ip link set lo up
            setpriv --reuid coroqnetd --clear-groups --inh-caps=-all {PREFIX}/bin/corosync-qnetd -f > /tmp/log 2>&1 &
            until corosync-qnetd-tool -s 2>/dev/null; do kill -0 $! || {{ cat /tmp/log; exit 1; }}; sleep 0.2; done
            booth-keygen
            stat -c %a {PREFIX}/etc/booth/authkey
            boothd --version
            """,
            address="192.168.132.30",
        ).stdout
        assert told.startswith("coroqnetd 770")
        assert re.search(r"QNetd address:\s+\*:5403", told)
        assert re.search(r"^600\n.*1\.2", told, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("command", ["cluster init -y", "cluster join -c elsewhere -y"])
def test_crm_says_what_sets_a_node_up(node: Node, command: str) -> None:
    done = node.run(f"{ON_PATH}crm {command} 2>&1", check=False)
    assert done.returncode != 0
    assert "set up by ha-stack-site" in done.stdout


def test_scripts_of_crm_find_its_modules(node: Node) -> None:
    share = f"{PREFIX}/share/crmsh"
    for script in (f"{share}/scripts/health/collect.py", f"{share}/utils/crm_rpmcheck.py"):
        told = node.run(f"echo '{{}}' | PYTHONPATH={share}/utils python3 {script} 2>&1", check=False).stdout
        assert "ModuleNotFoundError" not in told, told
