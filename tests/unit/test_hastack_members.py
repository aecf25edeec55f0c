"""ha-stack diff, and what is left in a cluster of a node that goes."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hastack import drift, site
from hastack.difference import Difference, compare, compare_engine, flatten, split_commands
from hastack.members import find_leftovers

CIB = """<cib><configuration><crm_config><cluster_property_set id="o">
<nvpair id="o1" name="no-quorum-policy" value="freeze"/><nvpair id="o2" name="dc-version" value="3"/>
</cluster_property_set></crm_config>
<nodes><node id="1" uname="n1"><instance_attributes id="x"><nvpair id="x1" name="rack" value="a"/>
</instance_attributes></node></nodes>
<resources><primitive id="f3" class="stonith" type="fence_ipmilan"><instance_attributes id="i">
<nvpair id="i1" name="pcmk_host_list" value="n3"/></instance_attributes></primitive>
<primitive id="f12" class="stonith" type="fence_apc"><instance_attributes id="j">
<nvpair id="j1" name="pcmk_host_list" value="n1 n3"/></instance_attributes></primitive>
<group id="g"><primitive id="a" class="ocf" type="A"><operations><op id="p" name="monitor" interval="10s"/></operations>
</primitive><primitive id="b" class="ocf" type="B"/></group></resources>
<constraints><rsc_location id="f3_elsewhere" rsc="f3" node="n3" score="-INFINITY"/>
<rsc_location id="likes" rsc="g" node="n3" score="10"/><rsc_location id="stays" rsc="g" node="n1" score="10"/>
</constraints>
<fencing-topology><fencing-level id="l1" target="n3" index="1" devices="f3"/></fencing-topology>
</configuration></cib>"""
SHOWN = """node 1: n1 \\
\tattributes rack=a
primitive a A \\
\top monitor interval=10s
primitive b B
group g a b
location stays g 10: n1
fencing_topology \\
\tn3: f3"""


def test_what_is_of_a_node_that_goes_is_found_and_no_more() -> None:
    assert list(find_leftovers("n3", "primitive x Dummy\n", CIB)) == [
        ("fencing-level", "l1"),
        ("rsc_location", "f3_elsewhere"),
        ("rsc_location", "likes"),
        ("primitive", "f3"),
    ]
    named = "primitive f3 stonith:fence_ipmilan params pcmk_host_list=n3\nlocation likes g 10: n3\n"
    assert ("primitive", "f3") not in list(find_leftovers("n3", named, CIB))
    assert ("rsc_location", "likes") not in list(find_leftovers("n3", named, CIB))
    assert list(find_leftovers("n2", "", CIB)) == []


def test_nothing_differs_from_what_only_looks_otherwise() -> None:
    other = CIB.replace('id="p"', 'id="q"').replace('id="i1"', 'id="elsewhere"').replace('value="3"', 'value="4"')
    assert list(compare(CIB, other, SHOWN, SHOWN)) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (
            'value="freeze"',
            'value="stop"',
            ("no-quorum-policy", "property no-quorum-policy=freeze", "property no-quorum-policy=stop"),
        ),
        ('name="rack" value="a"', 'name="room" value="a"', ("n1 rack", "node n1 rack=a", "")),
        ('interval="10s"', 'interval="9s"', ("g", "group g a b", "group g a b")),
        ('<rsc_location id="stays" rsc="g" node="n1" score="10"/>', "", ("stays", "location stays g 10: n1", "")),
        (
            'index="1"',
            'index="2"',
            ("fencing_topology", "fencing_topology \\\n\tn3: f3", "fencing_topology \\\n\tn3: f3"),
        ),
    ],
)
def test_what_differs_is_told_in_the_words_of_crm(old: str, new: str, found: tuple[str, str, str]) -> None:
    assert Difference(*found) in list(compare(CIB, CIB.replace(old, new), SHOWN, SHOWN))
    name, ours, theirs = found
    assert Difference(name, theirs, ours) in list(compare(CIB.replace(old, new), CIB, SHOWN, SHOWN))


def test_commands_are_told_apart_by_name() -> None:
    assert split_commands(SHOWN)["a"] == "primitive a A \\\n\top monitor interval=10s"
    assert set(split_commands(SHOWN)) == {"1", "a", "b", "g", "stays", "fencing_topology"}


CONF = """totem {
  version: 2
  interface {
    linknumber: 0
    mcastport: 5405
  }
}
nodelist {
  node {
    name: n1
    ring0_addr: 192.0.2.1
  }
  node {
    name: n2
  }
}
logging {
  debug: off
}
"""
CMAP = """nodelist.local_node_pos (u32) = 0
nodelist.node.0.name (str) = n1
nodelist.node.0.ring0_addr (str) = 192.0.2.1
nodelist.node.1.name (str) = n2
totem.interface.0.linknumber (str) = 0
totem.interface.0.mcastport (str) = 5405
totem.version (u32) = 2
"""


def test_what_corosync_runs_with_is_compared_with_its_file() -> None:
    assert set(flatten(CONF)) == {line.split()[0] for line in CMAP.splitlines()[1:]}
    assert list(compare_engine(CONF, CMAP)) == []
    assert list(compare_engine(CONF.replace("version: 2", "version: 2\n  transport: knet"), CMAP)) == []
    (told,) = compare_engine(CONF.replace("    name: n2", "    name: n2\n    nodeid: 2"), CMAP)
    assert told.startswith("nodelist.node.1.nodeid is not there")
    more = "nodelist.node.2.name (str) = n3\n"
    (told,) = compare_engine(CONF, CMAP + more)
    assert told.startswith("nodelist.node.2.name is n3")
    told, port = sorted(compare_engine(CONF.replace("n2", "n9").replace("5405", "5406"), CMAP))
    assert told.startswith("nodelist.node.1.name is n2")
    assert port.startswith("totem.interface.0.mcastport is 5405")


def test_attributes_of_nodes_are_drift_like_everything_else() -> None:
    wanted = drift.parse_crm("node 1: n1 attributes rack=b utilization cpu=8\nprimitive a A utilization cpu=2\n")
    found = drift.compare(wanted, ET.fromstring(CIB))
    assert found.changed == (
        "n1: rack is a, the site says b",
        "n1: cpu is not set, the site says 8",
        "a: cpu is not set, the site says 2",
    )
    assert found.missing == ()


def test_a_site_of_before_lists_no_nodes_for_its_commands() -> None:
    facts = {"format": 1, "cluster": "c", "nodes": [], "crypto": False, "fencing": None, "files": {}}
    assert site.parse_facts({**facts, "prepare": ["drbdadm up r0"]}).prepare == ()
    steps = [{"nodes": ["n1", "n2"], "command": "drbdadm up r0"}]
    assert site.parse_facts({**facts, "prepare": steps}).prepare == ((("n1", "n2"), "drbdadm up r0"),)
