"""Fencing: what would switch off the wrong machine, or none, is refused; the rest is written as pacemaker reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hapkg.errors import SiteError
from hapkg.site.fencing import read_host_map
from tests.unit.site.samples import BASE, FENCING, NODES, read_text, render_text


def device(agent: str, parameters: str = "", more: str = "", nodes: str = '"n1", "n2"', name: str = "pdu") -> str:
    """A device of both nodes."""
    lines = [f'name = "{name}"', f'agent = "{agent}"', f"nodes = [{nodes}]", more, f"parameters = {{ {parameters} }}"]
    return "\n".join(["[[fencing.devices]]", *lines, ""])


def crm(folder: Path, text: str) -> str:
    return render_text(folder, text)["ha-stack/cluster.crm"]


SHARED = device("fence_apc_snmp", 'ip = "192.0.2.50"', "plugs = { n1 = 3, n2 = 7 }\ndelays = { n1 = 10 }")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NODES, "fencing is missing, and a lost node that is alive goes on writing"),
        (NODES + "[fencing]\nopt-out = ''\n", "opt-out"),
        (
            BASE + '[fencing]\nopt-out = "a laboratory"\n',
            "fencing has devices and opt-out: remove one of them (f1, f2)",
        ),
        (NODES + device("fence_apc", 'ip = "192.0.2.50", plug = "1"'), "plug = '1' would be switched off whichever"),
        (NODES + device("fence_apc", 'ip = "192.0.2.50", port = 1'), "say plugs = { n1 = ..., n2 = ... }"),
        (NODES + device("fence_ipmilan", 'ip = "192.0.2.50"'), "fence_ipmilan speaks to one machine's board"),
        (NODES + device("fence_ilo4_ssh", 'ip = "192.0.2.50"'), "make a device for each node"),
        (NODES + device("external/ipmi", 'ipaddr = "192.0.2.50"'), "external/ipmi speaks to one machine's board"),
        (NODES + device("fence_ipmilan", "port_as_ip = true"), "port_as_ip needs plugs"),
        (NODES + device("fence_apc", more="plugs = { n1 = 3 }"), "plugs says nothing of n2"),
        (NODES + device("fence_apc", more="plugs = { n1 = 3, n2 = 3 }"), "plug 3 stands there for two nodes"),
        (NODES + device("fence_apc", more="plugs = { n1 = [1, 2], n2 = [2, 3] }"), "plug 2 stands there for two"),
        (NODES + device("fence_apc", more="plugs = { n1 = 3, n2 = 4, n3 = 5 }"), "plugs names n3"),
        (NODES + device("fence_apc", more="plugs = { n1 = 3.5, n2 = 4 }"), "must be an outlet or a name"),
        (NODES + device("fence_apc", "plug = 1", "plugs = { n1 = 3 }", '"n1"'), "plug beside plugs"),
        (NODES + device("fence_apc", 'pcmk_host_map = "n1:3,n2:7"'), "pairs are parted by ; or a blank"),
        (NODES + device("fence_apc", 'pcmk_host_map = "n1:3"'), "plugs says nothing of n2"),
        (NODES + device("fence_apc", 'pcmk_host_map = "n1:3;n2:7;n4:1"'), "plugs names n4"),
        (NODES + device("fence_apc", 'pcmk_host_map = "n1:3;n2:4"', "plugs = { n1 = 1, n2 = 2 }"), "say the same"),
        (NODES + device("fence_apc", 'pcmk_host_list = "n1"'), "pcmk_host_list: it follows from nodes"),
        (NODES + device("fence_apc", more="delay = 5\ndelays = { n1 = 1 }"), "delay is for all its nodes"),
        (NODES + device("fence_apc", 'pcmk_delay_base = "5s"', "delay = 5"), "delay and parameters.pcmk_delay_base"),
        (NODES + device("fence_apc", more="delay = 'soon'"), "must be a time: 10 (seconds), 10s, 2m"),
        (NODES + device("fence_apc", more="delays = { n9 = 1 }"), "delays names n9"),
        (NODES + device("Fence_APC"), "must be fence_NAME, external/NAME, or a plug-in of cluster-glue"),
        (BASE + "[fencing.levels]\nn1 = [['f9']]\n", "there is no device f9; known: f1, f2"),
        (BASE + "[fencing.levels]\nn1 = [['f2']]\n", "device f2 cannot switch it off"),
        (BASE + "[fencing.levels]\nn7 = [['f1']]\n", "there is no node n7"),
        (NODES + device("fence_apc", more="op = { monitor = { every = 5 } }"), "unknown key"),
    ],
)
def test_what_would_hurt_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SiteError) as caught:
        read_text(tmp_path, text)
    assert words in "\n".join((caught.value.brief, *caught.value.details, caught.value.hint))
    assert "function-" not in caught.value.brief


def test_devices_and_an_opt_out_contradict_each_other(tmp_path: Path) -> None:
    extra = '[crm]\nextra = "primitive st stonith:fence_apc params ip=192.0.2.50"\n'
    with pytest.raises(SiteError, match=r"fencing has devices and opt-out: remove one of them \(st\)"):
        read_text(tmp_path, NODES + '[fencing]\nopt-out = "a laboratory"\n' + extra)


def test_devices_of_extra_count_and_are_never_switched_off(tmp_path: Path) -> None:
    extra = '[crm]\nextra = """\nprimitive st \\\\\n  stonith:fence_apc params pcmk_host_map=\\"n1:1;n2:2\\"\n"""\n'
    assert "stonith-enabled=true" in crm(tmp_path, NODES + extra)
    site = read_text(tmp_path, NODES + extra)
    assert site.fenced
    assert any("st of extra: which nodes they switch off is not checked" in warning for warning in site.warnings)


def test_a_node_alone_needs_no_fencing(tmp_path: Path) -> None:
    alone = NODES.partition('[[nodes]]\nname = "n2"')[0]
    assert not read_text(tmp_path, alone).warnings


def test_plugs_and_delays_are_written_as_pacemaker_reads_them(tmp_path: Path) -> None:
    text = crm(tmp_path, NODES + SHARED)
    assert 'pcmk_host_list="n1 n2" pcmk_host_map="n1:3;n2:7" pcmk_delay_base="n1:10s" ip="192.0.2.50" \\' in text
    many = crm(tmp_path, NODES + device("fence_apc", more="plugs = { n1 = [3, 4], n2 = ['App Server 1', 'a:b'] }"))
    assert r'pcmk_host_map="n1:3,4;n2:App\\ Server\\ 1,a\\:b"' in many
    assert dict(read_host_map(r"n1:3,4;n2:App\ Server\ 1,a\:b")) == {"n1": "3,4", "n2": "App Server 1,a:b"}


@pytest.mark.parametrize("written", ["n1:3;n2:7", "n1:3 n2:7", "n1=3;n2=7", "n1:3,4;n2:7,8"])
def test_a_map_of_ones_own_is_kept(tmp_path: Path, written: str) -> None:
    text = NODES + device("fence_apc_snmp", f'pcmk_host_map = "{written}", pcmk_delay_base = "n1:0s;n2:10s"')
    assert f'pcmk_host_map="{written}"' in crm(tmp_path, text)
    assert not read_text(tmp_path, text).warnings


def test_meta_operations_and_priority(tmp_path: Path) -> None:
    more = 'priority = 5\nmeta = { "resource-stickiness" = 1 }\ndelay-max = "5s"\n'
    more += "op = { monitor = { interval = '5m' }, start = { timeout = 90 } }\n"
    text = crm(tmp_path, NODES + device("fence_apc", more=more + "plugs = { n1 = 1, n2 = 2 }"))
    assert "meta priority=5 resource-stickiness=1 \\\n" in text
    assert "op monitor interval=5m timeout=60s \\\n    op start interval=0 timeout=90s\n" in text
    assert 'pcmk_delay_max="5s"' in text


@pytest.mark.parametrize("agent", ["fence_scsi", "fence_mpath"])
def test_a_disk_by_reservation_is_given_back_at_the_start(tmp_path: Path, agent: str) -> None:
    text = NODES + device(agent, 'devices = "/dev/disk/by-id/wwn-0x5", pcmk_monitor_action = "metadata"')
    assert "meta provides=unfencing \\\n" in crm(tmp_path, text)
    said = device(agent, 'devices = "/dev/disk/by-id/wwn-0x5"', 'meta = { provides = "unfencing" }')
    assert crm(tmp_path, NODES + said).count("provides=unfencing") == 1
    assert not read_text(tmp_path, text).warnings


def test_levels_are_a_topology(tmp_path: Path) -> None:
    pdus = "".join(
        device("fence_apc", 'ip = "192.0.2.5"', f"plugs = {{ n1 = {n}, n2 = {n + 1} }}", name=f"p{n}") for n in (1, 3)
    )
    levels = '[fencing.levels]\nn1 = ["f1", ["p1", "p3"]]\nn2 = [["f2"], ["p1", "p3"]]\n'
    text = crm(tmp_path, BASE + pdus + levels)
    assert "fencing_topology \\\n    n1: f1 p1,p3 \\\n    n2: f2 p1,p3\n" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FENCING.replace("delay = 10\n", ""), "f1 needs delay = 10"),
        (
            FENCING.replace(
                'agent = "fence_ipmilan"\nnodes = ["n2"]', 'agent = "fence_ipmilan"\nnodes = ["n2"]\ndelay = 10'
            ),
            "f1 needs",
        ),
        (device("fence_apc", more="plugs = { n1 = 1, n2 = 2 }"), "pdu needs delays = { n1 = 10 }"),
    ],
)
def test_two_nodes_that_can_race_are_told(tmp_path: Path, text: str, words: str) -> None:
    (warning,) = read_text(tmp_path, NODES + text).warnings
    assert "switch each other off at once" in warning
    assert words in warning


@pytest.mark.parametrize(
    "text",
    [
        FENCING,
        SHARED,
        device("fence_apc", 'pcmk_delay_max = "10s"', "plugs = { n1 = 1, n2 = 2 }"),
        device("fence_apc", more="plugs = { n1 = 1, n2 = 2 }")
        + '[crm]\nproperties = { "priority-fencing-delay" = "15s" }\n',
    ],
)
def test_a_delay_ends_the_race(tmp_path: Path, text: str) -> None:
    assert not read_text(tmp_path, NODES + text).warnings


def test_three_nodes_do_not_race(tmp_path: Path) -> None:
    third = '[[nodes]]\nname = "n3"\nid = 3\naddresses = ["192.0.2.13"]\n'
    devices = device("fence_apc", nodes='"n1", "n2", "n3"', more="plugs = { n1 = 1, n2 = 2, n3 = 3 }")
    assert not read_text(tmp_path, NODES + third + devices).warnings


DISK = '[fencing.sbd]\ndevices = ["/dev/disk/by-id/wwn-0x7"]\n'


def test_a_disk_carries_the_messages(tmp_path: Path) -> None:
    files = render_text(tmp_path, NODES + DISK)
    assert 'SBD_DEVICE="/dev/disk/by-id/wwn-0x7"\n' in files["/etc/default/sbd"]
    text = files["ha-stack/cluster.crm"]
    assert 'primitive sbd stonith:fence_sbd \\\n    params devices="/dev/disk/by-id/wwn-0x7"' in text
    assert "sbd_path=/opt/ha/sbin/sbd pcmk_delay_max=30s" in text
    assert "stonith-enabled=true" in text
    facts = json.loads(files["ha-stack/site.json"])
    assert facts["prepare"] == [{"nodes": ["n1"], "command": "sbd -d /dev/disk/by-id/wwn-0x7 -1 5 -4 10 create"}]
    assert facts["devices"] == ["/dev/disk/by-id/wwn-0x7"]
    site = read_text(tmp_path, NODES + DISK)
    assert (site.fenced, site.parts, site.warnings) == (True, ("stack", "sbd"), ())


def test_without_a_disk_who_loses_quorum_ends(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="one of two nodes never does"):
        read_text(tmp_path, NODES + "[fencing.sbd]\n")
    device = '[quorum.device]\nhost = "192.0.2.90"\n'
    text = render_text(tmp_path, NODES + "[fencing.sbd]\nwatchdog-timeout = 8\n" + device)["ha-stack/cluster.crm"]
    assert "stonith-watchdog-timeout=16s" in text
    assert "fence_sbd" not in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[fencing.sbd]\ndevices = ["/dev/a", "/dev/b"]\n', "two disks are one too few or one too many"),
        ('[fencing.sbd]\ndevices = ["/dev/a", "/dev/a", "/dev/b"]\n', "a disk stands there twice"),
        (DISK + '[fencing]\nopt-out = "x"\n', "remove one of them (sbd)"),
        (DISK + '[crm]\nextra = "primitive sbd Dummy"\n', "would be called sbd"),
    ],
)
def test_what_sbd_cannot_be_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SiteError) as caught:
        read_text(tmp_path, NODES + text)
    assert words in caught.value.brief
