"""A running cluster becomes a site file: what is rendered from it says the same again."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from hapkg.errors import SiteError
from hapkg.site.extra import read_commands
from hapkg.site.files import render_site
from hapkg.site.importing import find_differences, import_site, parse_corosync, write_site
from hapkg.site.model import Site, read_site
from tests.support.samples import CHECKOUT, SETTINGS, TEMPLATES
from tests.unit.site.samples import ETC

CLUSTERS = [
    *sorted((CHECKOUT / "docs/sites").glob("*.toml")),
    *(
        file
        for file in sorted((Path(__file__).parent / "kinds").glob("*.toml"))
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


def render(site: Site) -> tuple[str, str]:
    files = render_site(site, SETTINGS, (TEMPLATES,))
    return files[f"{ETC}/corosync/corosync.conf"].decode(), files[f"{ETC}/ha-stack/cluster.crm"].decode()


def read_back(tmp_path: Path, text: str) -> Site:
    file = tmp_path / "site.toml"
    file.write_text(text, "utf-8")
    return read_site(file)


@pytest.mark.parametrize("file", CLUSTERS, ids=lambda file: file.stem)
def test_what_was_rendered_is_imported_and_means_the_same(tmp_path: Path, file: Path) -> None:
    conf, crm = render(read_site(file))
    imported = import_site(conf, crm)
    site = read_back(tmp_path, write_site(imported.table))
    again, crm_again = render(site)
    assert find_differences(conf, again) == []
    wanted, got = ({frozenset(c.words) for c in read_commands(text)} for text in (crm, crm_again))
    assert {line for line in wanted ^ got if "property" not in line} == set()
    assert [n.name for n in site.nodes] == [n.name for n in read_site(file).nodes]


def test_what_has_keys_becomes_keys_and_the_rest_is_named(tmp_path: Path) -> None:
    imported = import_site(CONF, CRM)
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
    assert "node 1: n1 attributes rack=a" in extra
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
    imported = import_site(CONF, "property stonith-enabled=false\nprimitive a Dummy\n")
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
        import_site(conf, crm)
    assert words in caught.value.brief


def test_sections_and_values_are_read() -> None:
    tree = parse_corosync("# no\ntotem {\n a: b: c\n interface {\n x:1\n }\n}\n")
    assert tree == {"totem": [{"a": "b: c", "interface": [{"x": "1"}]}]}
