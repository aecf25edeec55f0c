"""ha-stack check of a node: what is read of corosync and pacemaker, and what is found in it."""

from __future__ import annotations

import os
import subprocess
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hastack import age, check, drift, engine, manager, metrics, network, site, units
from hastack.distribution import Distribution, read_distribution
from hastack.finding import Finding

BY_HAND = """totem {
  cluster_name: demo
}
nodelist {
  node {
    name: n1
    nodeid: 1
    ring0_addr: 192.0.2.11
  }
  node {
    name: n2
    nodeid: 2
    ring0_addr: 192.0.2.12
  }
}
quorum {
  # two nodes
  provider: corosync_votequorum
}
"""


CFGTOOL = """Local node ID 1, transport knet
LINK ID 0 udp
\taddr\t= 192.168.132.11
\tstatus:
\t\tnodeid:          1:\tlocalhost
\t\tnodeid:          2:\tconnected
LINK ID 1 udp
\taddr\t= 10.0.0.11
\tstatus:
\t\tnodeid:          1:\tlocalhost
\t\tnodeid:          2:\tdisconnected
"""


BOOKWORM = Distribution(names=frozenset({"debian"}), architecture="amd64", kernel="6.1.0-40-amd64", netplan=False)


def test_each_link_of_each_ring_is_read() -> None:
    assert engine.parse_links(CFGTOOL) == (engine.Link(0, 2, True), engine.Link(1, 2, False))
    assert engine.parse_links("Could not initialize corosync configuration API error CS_ERR_LIBRARY\n") == ()


@pytest.mark.parametrize(
    ("told", "quorate"),
    [("Quorate:          Yes\n", True), ("Date: x\nQuorate:          No\n", False), ("Cannot initialize QUORUM", None)],
)
def test_quorum_is_read(told: str, quorate: bool | None) -> None:
    assert engine.read_quorum(told) is quorate


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "Nov 29 01:08:09.162 error   [MAIN  ] failed to parse node address 'x'\n"
            "Nov 29 01:08:09.162 error   [MAIN  ] Corosync Cluster Engine exiting with status 8 at main.c:1428.\n",
            "failed to parse node address 'x'",
        ),
        ("parser error: /c.conf:6: Extra characters after opening bracket '{'\n", "/c.conf:6: Extra characters"),
        ("", "without a word"),
    ],
)
def test_the_reason_of_corosync_is_its_own(said: str, reason: str) -> None:
    assert engine.read_refusal(said).startswith(reason)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("nodeid: 2", "id: 2", "line 12: corosync knows no id of a node: nodeid"),
        (
            "ring0_addr: 192.0.2.12",
            "ring0_adr: 192.0.2.12",
            "line 13: corosync knows no ring0_adr of a node: ring0_addr",
        ),
        ("nodeid: 2", "nodeid: 1", "line 12: nodeid 1 stands in line 7, too"),
        ("cluster_name: demo", "cluster_name: demo # ours", "line 2: what follows # is part of the value"),
        ("    ring0_addr: 192.0.2.12", "\u00a0ring0_addr: 192.0.2.12", "line 13: a no-break space"),
        ("  provider: corosync_votequorum\n", "", "section quorum names no provider"),
        ("node {", "host {", "there is no nodelist"),
    ],
)
def test_what_corosync_takes_and_nobody_means_is_named(old: str, new: str, words: str) -> None:
    assert engine.find_oversights(BY_HAND) == ()
    found = engine.find_oversights(BY_HAND.replace(old, new))
    assert any(line.startswith(words) for line in found), found


def test_ports_are_those_of_each_link() -> None:
    assert site.parse_corosync(BY_HAND).udp_ports == (5405,)
    two = BY_HAND.replace("    nodeid: 2\n", "    nodeid: 2\n    ring1_addr: 198.51.100.12\n")
    assert site.parse_corosync(two).udp_ports == (5405, 5406)
    interfaces = (
        "totem {\n  interface {\n    linknumber: 0\n    mcastport: 5414\n  }\n  interface {\n    linknumber: 1\n"
    )
    assert site.parse_corosync(f"{interfaces}    mcastport: 5415\n  }}\n}}\n{two}").udp_ports == (5414, 5415)


def test_a_section_with_a_comment_still_has_nodes() -> None:
    text = BY_HAND.replace("nodelist {", "nodelist {   # both machines").replace("nodeid: 1", "nodeid: one")
    assert [(node.name, node.id) for node in site.parse_corosync(text).nodes] == [("n1", 0), ("n2", 2)]


@pytest.mark.parametrize(
    ("address", "level", "words"),
    [
        ("127.0.0.1", "ok", "127.0.0.1 is this node's"),
        ("localhost", "ok", "localhost, which is 127.0.0.1, is this node's"),
        ("192.0.2.7", "FAIL", "ip address add 192.0.2.7/24 dev lan0"),
        ("fd00:9::11", "FAIL", "ip address add fd00:9::11/64 dev lan0"),
        ("no-such-name.invalid", "FAIL", "add to /etc/hosts: ADDRESS no-such-name.invalid"),
    ],
)
def test_an_address_may_be_a_name(address: str, level: str, words: str) -> None:
    finding = network.judge_address(address, frozenset({"127.0.0.1"}), ("lan0",), BOOKWORM)
    assert finding.level == level
    assert words in f"{finding.found} {finding.remedy} {finding.advice}"


def test_what_move_and_ban_left_is_found() -> None:
    xml = (
        '<xpath-query><rsc_location id="cli-ban-web-on-one" rsc="web" role="Started" node="one" score="-INFINITY"/>'
        '<rsc_location id="mine" rsc="web" node="two" score="5"/>'
        '<rsc_location id="cli-prefer-db" rsc="db"/></xpath-query>'
    )
    assert manager.find_leftovers(xml) == (("cli-ban-web-on-one", "web"), ("cli-prefer-db", "db"))
    assert manager.find_leftovers("Call failed: No such device or address") == ()


@pytest.mark.parametrize(
    ("agents", "remedies"),
    [
        (["fence_ipmilan", "external/ipmi"], ["apt install ipmitool", "apt install ipmitool"]),
        (["fence_apc_snmp", "fence_dummy", "fence_pve"], ["apt install snmp"]),
        (["external/ssh", "fence_virsh"], ["apt install openssh-client", "apt install openssh-client"]),
    ],
)
def test_a_fencing_agent_needs_its_program(
    agents: list[str], remedies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "find", lambda _: None)
    assert [finding.remedy for finding in manager.check_agents(agents)] == remedies
    monkeypatch.setattr(manager, "find", lambda program: f"/usr/bin/{program}")
    assert list(manager.check_agents(agents)) == []


@pytest.mark.parametrize(("mib", "level"), [(1000, "ok"), (100, "warn"), (3, "FAIL")])
def test_space_for_the_clusters_state_is_watched(mib: int, level: str) -> None:
    finding = check.judge_space("/opt/ha/var", mib * 2**20)
    assert (finding.level, finding.found.startswith(f"{mib} MiB are free below /opt/ha/var")) == (level, True)


def test_findings_are_metrics() -> None:
    bad = [Finding("quorum", "FAIL", "none"), Finding("link", "ok", 'to "x"'), Finding("link", "warn", "down")]
    text = metrics.describe(bad)
    assert 'ha_stack_findings{check="quorum",level="fail"} 1\n' in text
    assert 'ha_stack_findings{check="link",level="warn"} 1\n' in text
    assert text.endswith("ha_stack_healthy 0\n")
    assert metrics.describe(bad[1:]).endswith("ha_stack_healthy 1\n")


COMPONENTS = """{"version": "1.3.0", "date": "2026-11-29", "components": [
 {"source": "ha-a", "version": "3.1", "date": "2024-05-01", "closed": ["CVE-2026-1", "CVE-2026-2"], "decided": [
  {"id": "CVE-2026-3", "status": "affected", "why": "nothing calls it"},
  {"id": "CVE-2026-4", "status": "not-affected", "why": "not built"}]},
 {"source": "ha-b", "version": "0.9", "date": "2025-02-01", "closed": [], "decided": []}]}"""


@pytest.mark.parametrize(
    ("today", "level", "words"),
    [
        (
            "2026-11-29",
            "ok",
            "0 days old; 2 holes that were known then are closed by patches, 1 are open",
        ),
        ("2027-05-28", "ok", "its newest release is ha-b 0.9 of 2025-02-01"),
        ("2027-05-29", "warn", "181 days old"),
    ],
)
def test_an_old_stack_is_told(today: str, level: str, words: str) -> None:
    made = age.read_made(COMPONENTS)
    finding = age.judge_age(made, date.fromisoformat(today))
    assert (finding.level, words in finding.found) == (level, True), finding.found
    assert finding.remedy == ("ha-stack upgrade-node" if level == "warn" else "")
    assert made.open == ("CVE-2026-3 in ha-a: nothing calls it",)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "1", "date": "x", "components": []}'])
def test_a_broken_list_of_components_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        age.read_made(text)


CRM = r"""# What pacemaker runs
property stonith-enabled=true no-quorum-policy=freeze
rsc_defaults resource-stickiness=1
primitive disk ocf:x:y \
    params device="/dev/a b" fs=gfs2 \
    op monitor interval=10s \
    meta priority=3
primitive plain ocf:pacemaker:Dummy state=/run/x
clone all disk meta interleave=true
order first Mandatory: disk plain
tag few: disk plain
"""
CIB = """<cib><configuration>
<crm_config><cluster_property_set id="o"><nvpair id="o-1" name="stonith-enabled" value="true"/>
<nvpair id="o-2" name="no-quorum-policy" value="freeze"/></cluster_property_set></crm_config>
<rsc_defaults><meta_attributes id="r"><nvpair id="r-1" name="resource-stickiness" value="1"/></meta_attributes>
</rsc_defaults>
<resources><clone id="all"><meta_attributes id="m"><nvpair id="i" name="interleave" value="true"/></meta_attributes>
<primitive id="disk"><instance_attributes id="p"><nvpair id="p1" name="device" value="/dev/a b"/>
<nvpair id="p2" name="fs" value="gfs2"/></instance_attributes>
<meta_attributes id="n"><nvpair id="n1" name="priority" value="3"/></meta_attributes></primitive></clone>
<primitive id="plain"><instance_attributes id="q"><nvpair id="q1" name="state" value="/run/x"/></instance_attributes>
</primitive></resources>
<constraints><rsc_order id="first"/><rsc_location id="cli-ban-plain-on-n1"/></constraints>
<tags><tag id="few"/></tags></configuration></cib>"""


@pytest.mark.parametrize(
    ("old", "new", "drift_"),
    [
        ("", "", ((), (), ())),
        ('value="gfs2"', 'value="xfs"', ((), ("disk: fs is xfs, the site says gfs2",), ())),
        ('name="priority"', 'name="weight"', ((), ("disk: priority is not set, the site says 3",), ())),
        ('value="freeze"', 'value="stop"', ((), ("no-quorum-policy is stop, the site says freeze",), ())),
        ('id="first"', 'id="other"', (("first",), (), ("other",))),
        ('<primitive id="plain">', '<primitive id="plain2">', (("plain",), (), ("plain2",))),
        ("<tags>", "<tags><!-- -->", ((), (), ())),
    ],
)
def test_drift_is_what_a_site_names_and_a_cluster_has_otherwise(
    old: str, new: str, drift_: tuple[tuple[str, ...], ...]
) -> None:
    found = drift.compare(drift.parse_crm(CRM), ET.fromstring(CIB.replace(old, new) if old else CIB))
    assert (found.missing, found.changed, found.foreign) == drift_


def test_a_site_without_resources_finds_none_foreign() -> None:
    wanted = drift.parse_crm("property no-quorum-policy=freeze")
    assert drift.compare(wanted, ET.fromstring(CIB)) == drift.Drift((), (), ())


def test_settings_under_a_rule_are_left_out() -> None:
    wanted = drift.parse_crm("primitive a ocf:x:y params rule #uname eq n1 ip=1 params ip=2 meta target-role=Started")
    assert wanted.objects == {"a": {("instance_attributes", "ip"): "2", ("meta_attributes", "target-role"): "Started"}}


def test_an_interface_is_named_where_there_is_one() -> None:
    told = '[{"ifname":"lo","flags":["LOOPBACK","UP"]},{"ifname":"lan0","flags":["BROADCAST","UP"]}]'
    assert network.parse_interfaces(told) == ("lan0",)
    assert network.parse_interfaces("Cannot open") == ()
    finding = network.judge_address("192.0.2.7", frozenset(), ("lan0", "lan1"), BOOKWORM)
    assert (finding.remedy, "interface" in finding.advice) == ("", True)


def test_an_engine_that_hangs_is_killed_first() -> None:
    finding = engine.judge_silence()
    assert (finding.level, finding.remedy.startswith("kill -9 $(pidof corosync); service")) == ("FAIL", True)


def test_units_of_services_are_read_of_the_configuration() -> None:
    crm = (
        "primitive web systemd:apache2.service \\\n    op monitor interval=10s\n"
        "primitive db ocf:heartbeat:pgsql\n"
        "primitive gate systemd:haproxy@1\n"
        "primitive lvmlockd ocf:heartbeat:lvmlockd \\\n    op start interval=0\n"
        "clone web_clone web\n# primitive x systemd:commented\n"
    )
    assert units.find_units(crm) == ("apache2", "haproxy@1", "lvmlockd", "lvmlocks")
    assert units.find_units("primitive db ocf:heartbeat:pgsql\nprimitive ip IPaddr2\n") == ()


DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n'
UBUNTU = 'NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\nUBUNTU_CODENAME=noble\n'
MINT = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nBUG_REPORT_URL='https://bugs.example.org/?ID=debian'\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (DEBIAN, {"debian"}),
        (UBUNTU, {"ubuntu", "debian"}),
        (MINT, {"linuxmint", "ubuntu", "debian"}),
        ("VERSION_ID=1\n", set()),
        (None, set()),
    ],
    ids=["debian", "ubuntu", "mint", "nameless", "no file"],
)
def test_a_distribution_is_known_by_its_file(tmp_path: Path, text: str | None, names: set[str]) -> None:
    (tmp_path / "etc").mkdir()
    if text is not None:
        (tmp_path / "etc/os-release").write_text(text)
    found = read_distribution(tmp_path)
    assert found.names == frozenset(names)
    assert not found.netplan
    own = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
    assert (found.architecture, found.kernel) == (own, os.uname().release)


@pytest.mark.parametrize(
    ("names", "architecture", "words"),
    [
        ({"debian"}, "amd64", "linux-image-amd64 does"),
        ({"debian"}, "arm64", "linux-image-arm64 does"),
        ({"debian"}, "ppc64el", "linux-image-powerpc64le does"),
        ({"raspbian", "debian"}, "armhf", "linux-image-armmp does"),
        ({"ubuntu", "debian"}, "arm64", "apt-get install linux-modules-extra-6.8.0-31-generic;"),
        ({"linuxmint", "ubuntu", "debian"}, "amd64", "linux-modules-6.8.0-31-generic has all modules"),
        (set(), "amd64", "the distribution's whole one"),
    ],
)
def test_a_missing_module_has_the_package_of_its_distribution(names: set[str], architecture: str, words: str) -> None:
    known = Distribution(names=frozenset(names), architecture=architecture, kernel="6.8.0-31-generic", netplan=False)
    finding = check.judge_lack("drbd", known)
    assert (finding.check, finding.level, finding.remedy) == ("module", "FAIL", "")
    assert finding.found == "kernel 6.8.0-31-generic has no drbd"
    assert words in finding.advice
    assert ("Debian's" in finding.advice) == ("debian" in names and "ubuntu" not in names)


def test_an_address_stands_for_good_where_the_node_has_its_addresses(tmp_path: Path) -> None:
    def advise() -> str:
        return network.judge_address("192.0.2.7", frozenset(), ("lan0",), read_distribution(tmp_path)).advice

    assert "in /etc/network/interfaces, with" in advise()
    (tmp_path / "etc/netplan").mkdir(parents=True)
    assert "in a file of /etc/netplan, then netplan apply, with" in advise()
