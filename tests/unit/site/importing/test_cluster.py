"""A running cluster becomes a site file: what is rendered from it says the same again."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from hapkg.errors import SiteError
from hapkg.site.extra import read_commands
from hapkg.site.files import render_site
from hapkg.site.importing.cluster import Sources, compare_sources, import_site
from hapkg.site.importing.corosync import find_differences, parse_corosync
from hapkg.site.importing.imported import write_site
from hapkg.site.model import Site, read_site
from tests.support.samples import CHECKOUT, SETTINGS, TEMPLATES
from tests.unit.site.samples import ETC

CLUSTERS = [
    *sorted((CHECKOUT / "docs/sites").glob("*.toml")),
    *(
        file
        for file in sorted((Path(__file__).parents[1] / "kinds").glob("*.toml"))
        if "verdict: accepted" in file.read_text() and "remote" not in file.stem
    ),
]
CONF = """
totem {
  version: 2
  cluster_name: demo
  transport: knet
  token: 5000
  rrp_mode: none
  heartbeat_failures_allowed: 3
  interface {
    linknumber: 0
    knet_link_priority: 5
  }
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
  provider: corosync_votequorum
  two_node: 1
}
"""
CRM = r"""
node 1: n1 \
	attributes rack=a
node 2: n2
primitive ip IPaddr2 \
	params ip=192.0.2.100 cidr_netmask=24 \
	op monitor interval=10s
primitive db mysql params test_passwd="s3 cret" binary=/usr/sbin/mysqld
primitive st1 stonith:fence_ipmilan \
	params pcmk_host_list=n1 ip=192.0.2.51 passwd=hunter2 lanplus=true \
	op monitor interval=60s timeout=20s
primitive st2 stonith:fence_ipmilan params pcmk_host_map="n2:board2" ip=192.0.2.52
primitive odd stonith:fence_ipmilan params ip=192.0.2.53
location st1_elsewhere st1 -inf: n1
location ip_likes ip 50: n1
property cib-bootstrap-options: \
	have-watchdog=false \
	dc-version=3.0.1 \
	cluster-infrastructure=corosync \
	cluster-name=demo \
	stonith-enabled=true \
	no-quorum-policy=stop \
	maintenance-mode=true
rsc_defaults rsc-options: resource-stickiness=100
"""


def render_all(site: Site) -> dict[str, str]:
    return {path: content.decode() for path, content in render_site(site, SETTINGS, (TEMPLATES,)).items()}


def render(site: Site) -> tuple[str, str]:
    files = render_all(site)
    return files[f"{ETC}/corosync/corosync.conf"], files[f"{ETC}/ha-stack/cluster.crm"]


def read_back(tmp_path: Path, text: str) -> Site:
    file = tmp_path / "site.toml"
    file.write_text(text, "utf-8")
    return read_site(file)


def collect(files: dict[str, str]) -> Sources:
    """Rendered files of a site as what an import reads."""
    drbd = {path.removeprefix(f"{ETC}/"): text for path, text in files.items() if path.endswith(".res")}
    conf, crm = files[f"{ETC}/corosync/corosync.conf"], files[f"{ETC}/ha-stack/cluster.crm"]
    return Sources(corosync=conf, crm=crm, drbd=drbd, booth=files.get(f"{ETC}/booth/booth.conf", ""))


@pytest.mark.parametrize("file", CLUSTERS, ids=lambda file: file.stem)
def test_what_was_rendered_is_imported_and_means_the_same(tmp_path: Path, file: Path) -> None:
    original = read_site(file)
    sources = collect(render_all(original))
    imported = import_site(sources)
    site = read_back(tmp_path, write_site(imported.table))
    again = render_all(site)
    assert compare_sources(sources, again, ETC) == []
    wanted, got = ({frozenset(c.words) for c in read_commands(text)} for text in (sources.crm, collect(again).crm))
    assert {line for line in wanted ^ got if "property" not in line} == set()
    assert [n.name for n in site.nodes] == [n.name for n in original.nodes]
    assert [r.name for r in site.drbd] == [r.name for r in original.drbd]
    assert [(r.module, r.dual_primary, r.snapshots, r.volumes) for r in site.drbd] == [
        (r.module, r.dual_primary, r.snapshots, r.volumes) for r in original.drbd
    ]
    assert bool(site.booth) == bool(original.booth)


def test_what_has_keys_becomes_keys_and_the_rest_is_named(tmp_path: Path) -> None:
    imported = import_site(Sources(corosync=CONF, crm=CRM))
    table = tomllib.loads(write_site(imported.table))
    assert table["cluster"] == {
        "name": "demo",
        "token": 5000,
        "crypto-cipher": "none",
        "crypto-hash": "none",
        "links": [{"number": 0, "priority": 5}],
    }
    assert [device["name"] for device in table["fencing"]["devices"]] == ["st1", "st2"]
    assert table["fencing"]["devices"][0]["op"] == {"monitor": {"interval": "60s", "timeout": "20s"}}
    assert table["crm"]["properties"] == {"no-quorum-policy": "stop", "maintenance-mode": True}
    extra = table["crm"]["extra"].splitlines()
    assert table["nodes"][0]["attributes"] == {"rack": "a"}
    assert table["crm"]["resource-defaults"] == {"resource-stickiness": 100}
    assert "location ip_likes ip 50: n1" in extra
    assert any(line.startswith("primitive odd stonith:") for line in extra)
    assert not any("elsewhere" in line for line in extra)
    assert "s3 cret" not in write_site(imported.table)
    assert "hunter2" not in write_site(imported.table)
    told = "\n".join(imported.notes)
    for words in ("totem.heartbeat_failures_allowed = 3 is left out", "st1: passwd is a secret", "db: test_passwd is"):
        assert words in told
    site = read_back(tmp_path, write_site(imported.table))
    assert site.fenced
    assert find_differences(CONF, render(site)[0]) == ["totem: heartbeat_failures_allowed: 3 went"]


def test_a_cluster_without_devices_opts_out_and_that_is_said(tmp_path: Path) -> None:
    imported = import_site(Sources(corosync=CONF, crm="property stonith-enabled=false\nprimitive a Dummy\n"))
    site = read_back(tmp_path, write_site(imported.table))
    assert "nothing switches off a lost node" in (site.fencing.opt_out or "")
    assert any("stonith-enabled=false is not taken over" in note for note in imported.notes)


@pytest.mark.parametrize(
    ("conf", "crm", "words"),
    [
        ("totem {\n", "", "ends inside a section"),
        ("totem {\nx\n}\n", "", "line 2: 'x' is no line of one"),
        ("", "", "has no cluster_name"),
        (CONF.partition("nodelist")[0], "", "has no nodelist"),
        (CONF.replace("nodeid: 2", "nodeid: two"), "", "nodeid: 'two' is no number"),
        (CONF, "primitive a Dummy params x='\n", "quotes without an end"),
    ],
)
def test_what_is_no_cluster_is_refused(conf: str, crm: str, words: str) -> None:
    with pytest.raises(SiteError) as caught:
        import_site(Sources(corosync=conf, crm=crm))
    assert words in caught.value.brief


def test_sections_and_values_are_read() -> None:
    tree = parse_corosync("# no\ntotem {\n a: b: c\n interface {\n x:1\n }\n}\n")
    assert tree == {"totem": [{"a": "b: c", "interface": [{"x": "1"}]}]}


RESOURCE = """
# as people write it
resource r0 {
  protocol C;
  handlers { split-brain "/usr/lib/drbd/notify-split-brain.sh root"; }
  net { max-buffers 8000; cram-hmac-alg sha1; shared-secret "for this test"; }
  disk { on-io-error detach; }
  device /dev/drbd1 minor 1;
  meta-disk internal;
  on n1 { address 192.0.2.11:7790; disk /dev/sdb1; }
  on n2 { address ipv4 192.0.2.12:7790; disk /dev/vdb1; }
}
"""
RUN = """
primitive p_drbd_r0 ocf:linbit:drbd params drbd_resource=r0 op monitor interval=15s role=Promoted
ms ms_r0 p_drbd_r0 meta notify=true clone-max=2
primitive p_drbd_r09 Dummy
primitive fs Filesystem params device=/dev/drbd1 directory=/srv fstype=xfs
colocation fs_on_drbd inf: fs ms_r0:Promoted
primitive st1 stonith:fence_ipmilan params pcmk_host_list=n1 ip=192.0.2.51
primitive st2 stonith:fence_ipmilan params pcmk_host_list=n2 ip=192.0.2.52
"""
BOOTH = """
transport = UDP
port = 9930
authfile = /etc/booth/booth.key
site = "192.0.2.100"
site = 192.0.2.200
arbitrator=198.51.100.1
maxtimeskew = 600
ticket = "db"
  expire = 300
  mode = manual
"""
BOOTHED = """
primitive ip IPaddr2 params ip=192.0.2.100 cidr_netmask=25
primitive b ocf:pacemaker:booth-site params config=/etc/booth/booth.conf
group g-booth ip b meta target-role=Started
group g-plain ip b
rsc_ticket t db: g-booth
"""


def test_resources_of_drbd_are_taken_over_with_what_pacemaker_runs_of_them(tmp_path: Path) -> None:
    sources = Sources(corosync=CONF, crm=RUN, drbd={"r0.res": RESOURCE, "global_common.conf": "common { net { } }"})
    imported = import_site(sources)
    text = write_site(imported.table)
    (table,) = tomllib.loads(text)["drbd"]
    assert table == {
        "name": "r0",
        "port": 7790,
        "authenticate": True,
        "net": {"max-buffers": 8000},
        "disk": {"on-io-error": "detach"},
        "volumes": [{"number": 0, "minor": 1, "disk": {"n1": "/dev/sdb1", "n2": "/dev/vdb1"}}],
    }
    site = read_back(tmp_path, text)
    assert "colocation fs_on_drbd inf: fs ms_drbd_r0:Promoted" in site.crm.extra
    assert "primitive p_drbd_r09 Dummy" in site.crm.extra
    assert "ms_r0" not in site.crm.extra
    told = "\n".join(imported.notes)
    for words in ("handler split-brain is the site package's own", "shared-secret is left out", "p_drbd_r0 is called"):
        assert words in told
    assert "for this test" not in text + told
    differences = compare_sources(sources, render_all(site), ETC)
    assert [line for line in differences if line.startswith("drbd:")] == ["drbd: r0 disk fencing resource-only came"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("on n2", "on n7", "n7 is no node of the cluster"),
        ("192.0.2.12:7790", "192.0.2.77:7790", "address 192.0.2.77:7790 is none of the cluster's links"),
        ("192.0.2.12:7790", "192.0.2.12:7791", "its nodes use different links or ports"),
        ("minor 1", "", "tells no minor"),
        ("on n2", "stacked-on-top-of", "no key for its stacked-on-top-of"),
        ("on n1", "floating", "no key for its floating"),
        ("meta-disk internal", "meta-disk /dev/sdc[0]", "no meta-disk of a form"),
        ("device /dev/drbd1 minor 1;", "", "tells no minor"),
    ],
)
def test_what_the_site_file_cannot_say_of_drbd_stays_where_it_is(old: str, new: str, words: str) -> None:
    text = RESOURCE.replace(old, new) if old != "minor 1" else RESOURCE.replace("/dev/drbd1 minor 1", "/dev/drbd_x")
    imported = import_site(Sources(corosync=CONF, crm=RUN, drbd={"r0.res": text}))
    assert "drbd" not in imported.table
    assert any("DRBD resource r0 is left to drbd.d by hand" in note and words in note for note in imported.notes)
    assert "clone ms_r0 p_drbd_r0 meta promotable=true notify=true" in "\n".join(imported.extra)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resource r0 {", "ends inside a section"),
        ("resource r0 { net { x 1 } }", "a bracket or a semicolon is missing"),
        ("}", "a bracket or a semicolon is missing"),
        ('resource "r0', "quotes without an end"),
        ("{", "sections that are none of DRBD's"),
        ("a {" * 5000, "sections that are none of DRBD's"),
    ],
)
def test_what_is_no_file_of_drbd_is_refused(text: str, words: str) -> None:
    with pytest.raises(SiteError) as caught:
        import_site(Sources(corosync=CONF, crm=RUN, drbd={"r0.res": text}))
    assert words in caught.value.brief


def test_booth_is_taken_over_where_pacemaker_runs_it(tmp_path: Path) -> None:
    crm = BOOTHED.replace("group g-plain ip b\n", "")
    imported = import_site(Sources(corosync=CONF, crm=crm, booth=BOOTH))
    text = write_site(imported.table)
    assert tomllib.loads(text)["booth"] == {
        "address": "192.0.2.100",
        "netmask": 25,
        "sites": ["192.0.2.100", "192.0.2.200"],
        "arbitrators": ["198.51.100.1"],
        "port": 9930,
        "tickets": [{"name": "db", "expire": 300}],
    }
    told = "\n".join(imported.notes)
    assert "maxtimeskew is left out" in told
    assert "mode of ticket db is left out" in told
    assert "rsc_ticket t db: booth" in read_back(tmp_path, text).crm.extra
    elsewhere = import_site(Sources(corosync=CONF, crm="primitive x Dummy\n", booth=BOOTH))
    assert "booth" not in elsewhere.table
    with pytest.raises(SiteError, match="line 2: 'site' is no line of one"):
        import_site(Sources(corosync=CONF, booth="\nsite\n"))
