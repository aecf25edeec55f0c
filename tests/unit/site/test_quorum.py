"""Votes, links, booth and remote nodes: rules, and the lines that corosync, booth and pacemaker get."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hapkg.errors import SiteError
from hapkg.recipe.settings import find_project
from hapkg.site.package import make_site_recipe
from tests.support.samples import CHECKOUT
from tests.unit.site.samples import BASE, FENCING, NODES, read_text, render_text

DEVICE = '[quorum.device]\nhost = "192.0.2.90"\n'
REMOTE = '[[remote]]\nname = "r1"\naddress = "192.0.2.21"\n'
R1 = '[[fencing.devices]]\nname = "f3"\nagent = "fence_ipmilan"\nnodes = ["r1"]\n'
BOOTH = '[booth]\naddress = "192.0.2.100"\nsites = ["192.0.2.100", "198.51.100.1"]\ntickets = [{ name = "t" }]\n'
ARBITRATOR = 'arbitrators = ["203.0.113.5"]\n'
TWO_LINKS = BASE.replace('"192.0.2.11"]', '"192.0.2.11", "198.51.100.11"]').replace(
    '"192.0.2.12"]', '"192.0.2.12", "198.51.100.12"]'
)


def cluster(more: str, base: str = BASE) -> str:
    return base.replace('name = "demo"\n', f'name = "demo"\n{more}\n', 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BASE + "[quorum]\ntwo-node = true\n" + DEVICE, "two-node beside a device"),
        (BASE + '[quorum]\nauto-tie-breaker = "lowest"\n' + DEVICE, "auto-tie-breaker beside a device"),
        (BASE + "[quorum]\nlast-man-standing = true\n" + DEVICE, "last-man-standing beside a device"),
        (BASE + '[quorum]\ntwo-node = true\nauto-tie-breaker = "lowest"\n', "auto-tie-breaker beside two-node"),
        (BASE + "[quorum]\ntwo-node = true\nwait-for-all = false\n", "wait-for-all = false beside two-node"),
        (BASE + "[quorum]\nwait-for-all = false\n", "wait-for-all = false beside two-node"),
        (BASE + "[quorum]\nlast-man-standing-window = 5\n", "needs last-man-standing"),
        (BASE + '[quorum.device]\nhost = "two words"\n', "must be a host name or an address"),
        (BASE + DEVICE + '[quorum.device.heuristics]\nexec = { ping = "ping" }\n', "must be the path of a program"),
        (BASE + DEVICE + '[quorum.device.heuristics]\nexec = { ping = "/bin/a }" }\n', "must be the path of a program"),
        (cluster("token = 5000\nconsensus = 5000"), "must be at least 1.2 times token: 6000"),
        (cluster("consensus = 3000"), "must be at least 1.2 times token: 3600"),
        (cluster("compression-level = 3"), "need compression"),
        (cluster("links = [{ number = 1 }]"), "there is no link 1, nodes have 1"),
        (cluster("links = [{ number = 0 }, { number = 0 }]"), "options of link 0 stands there twice"),
        (cluster("links = [{ number = 0, port = 5406 }]", TWO_LINKS), "UDP port 5406 stands there twice"),
        (
            cluster('transport = "udpu"\ncrypto-cipher = "none"\ncrypto-hash = "none"\nlinks = [{ number = 0 }]'),
            "links is of transport knet",
        ),
        (cluster("netmtu = 100"), "cluster.netmtu"),
        (BASE + REMOTE, "no fencing device can switch off r1"),
        (BASE + REMOTE.replace("r1", "n1"), "node name n1 stands there twice"),
        (BASE + REMOTE + "guest = true\n", "leave address out"),
        (BASE + R1 + REMOTE + '[crm]\nextra = "primitive r1 Dummy"\n', "would be called r1"),
        (BASE + BOOTH, "2 voters can be split into halves"),
        (BASE + BOOTH.replace("192.0.2.100", "192.0.2.7", 1) + ARBITRATOR, "is none of booth.sites"),
        (BASE + BOOTH + ARBITRATOR.replace("203.0.113.5", "198.51.100.1"), "address 198.51.100.1 stands there twice"),
        (
            BASE + BOOTH.replace('{ name = "t" }', '{ name = "t", timeout = 60 }') + ARBITRATOR,
            "must be more than twice",
        ),
    ],
)
def test_what_breaks_a_rule_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SiteError) as caught:
        read_text(tmp_path, text)
    assert words in "\n".join((caught.value.brief, *caught.value.details))


def test_a_device_votes_and_two_node_is_left_out(tmp_path: Path) -> None:
    more = '[quorum.device.heuristics]\nexec = { ping = "/usr/bin/ping -q -c 1 192.0.2.1" }\ninterval = 30000\n'
    text = NODES + FENCING.replace("delay = 10\n", "") + DEVICE + more
    conf = render_text(tmp_path, text)["corosync/corosync.conf"]
    for line in ("expected_votes: 3", "model: net", "votes: 1", "host: 192.0.2.90", "algorithm: ffsplit", "tls: on"):
        assert f" {line}\n" in conf
    assert "exec_ping: /usr/bin/ping -q -c 1 192.0.2.1" in conf
    assert "two_node" not in conf
    site = read_text(tmp_path, text)
    assert not site.warnings, "with a device one half alone has quorum, and fences"
    recipe = make_site_recipe(find_project(CHECKOUT), site)
    assert recipe.packages[0].depends == ("ha-stack", "ha-corosync-qdevice")
    facts = json.loads(render_text(tmp_path, text)["ha-stack/site.json"])
    command = "corosync-qdevice-net-certutil -Q -n demo 192.0.2.90 n1 n2"
    assert {"nodes": ["n1"], "command": command} in facts["prepare"]
    lms = render_text(tmp_path, text.replace(DEVICE, DEVICE + 'algorithm = "lms"\n'))["corosync/corosync.conf"]
    assert " votes: 1\n" in lms


def test_options_of_totem_and_of_links(tmp_path: Path) -> None:
    more = (
        'token = 5000\nconsensus = 6000\njoin = 160\nnetmtu = 1400\ncompression = "zlib"\ncompression-threshold = 500\n'
    )
    more += (
        'links = [{ number = 0, priority = 10, port = 5414 }, { number = 1, transport = "sctp", ping-timeout = 900 }]'
    )
    conf = render_text(tmp_path, cluster(more, TWO_LINKS))["corosync/corosync.conf"]
    for line in ("consensus: 6000", "join: 160", "netmtu: 1400", "knet_compression_model: zlib"):
        assert f"\n        {line}\n" in conf
    first, second = conf.split("interface {")[1:]
    assert "mcastport: 5414" in first
    assert "knet_link_priority: 10" in first
    assert "mcastport: 5406" in second
    assert "knet_transport: sctp" in second
    facts = json.loads(render_text(tmp_path, cluster(more, TWO_LINKS))["ha-stack/site.json"])
    assert facts["udp_ports"] == [5414, 5406]


def test_votes_of_nodes_and_halves(tmp_path: Path) -> None:
    four = BASE.replace("id = 1\n", "id = 1\nvotes = 2\n")
    conf = render_text(tmp_path, four)["corosync/corosync.conf"]
    assert "quorum_votes: 2" in conf
    assert "expected_votes: 3" in conf
    assert "two_node" not in conf
    broken = render_text(tmp_path, BASE + '[quorum]\nauto-tie-breaker = "lowest"\n')["corosync/corosync.conf"]
    assert "auto_tie_breaker: 1\n        auto_tie_breaker_node: lowest" in broken
    site = read_text(tmp_path, BASE + '[quorum]\nauto-tie-breaker = "lowest"\n')
    assert any("the one that breaks no tie stops" in warning for warning in site.warnings)


def test_addresses_may_be_names_and_that_is_said(tmp_path: Path) -> None:
    named = cluster(
        'ip-version = "ipv4"', BASE.replace('"192.0.2.11"', '"n1-ring"').replace('"192.0.2.12"', '"n2-ring"')
    )
    conf = render_text(tmp_path, named)["corosync/corosync.conf"]
    assert "ring0_addr: n1-ring" in conf
    assert "ip_version: ipv4" in conf
    (warning,) = read_text(tmp_path, named).warnings
    assert warning.startswith("n1-ring, n2-ring: each node resolves names by itself")


def test_lock_managers_use_all_links_by_sctp(tmp_path: Path) -> None:
    gfs2 = '[[gfs2]]\nname = "g"\ndevice = "/dev/vg0/g"\nmount = "/srv/g"\n'
    files = render_text(tmp_path, TWO_LINKS + gfs2)
    facts = json.loads(files["ha-stack/site.json"])
    assert "protocol=sctp" in files["dlm/dlm.conf"]
    assert (facts["tcp_ports"], facts["sctp_ports"], facts["modules"]) == ([], [21064], ["dlm", "gfs2", "sctp"])
    one = render_text(tmp_path, BASE + gfs2)
    assert "protocol" not in one["dlm/dlm.conf"]
    chosen = render_text(tmp_path, TWO_LINKS + gfs2 + '[dlm]\noptions = { protocol = "tcp" }\n')
    assert "protocol=tcp" in chosen["dlm/dlm.conf"]


def test_remote_nodes_are_resources_and_have_a_device(tmp_path: Path) -> None:
    files = render_text(tmp_path, BASE + R1 + REMOTE)
    assert "primitive r1 ocf:pacemaker:remote" in files["ha-stack/cluster.crm"]
    assert "server=192.0.2.21 reconnect_interval=60s" in files["ha-stack/cluster.crm"]
    facts = json.loads(files["ha-stack/site.json"])
    assert (facts["remote"], facts["tcp_ports"]) == (["r1"], [3121])
    guest = BASE + '[[remote]]\nname = "g1"\nguest = true\n'
    assert any("no resource of extra has meta remote-node=g1" in text for text in read_text(tmp_path, guest).warnings)
    assert "ocf:pacemaker:remote" not in render_text(tmp_path, guest)["ha-stack/cluster.crm"]


def test_booth_has_its_file_and_its_group(tmp_path: Path) -> None:
    files = render_text(tmp_path, BASE + BOOTH + ARBITRATOR)
    lines = files["booth/booth.conf"].splitlines()
    assert lines[-6:] == [
        "authfile = /opt/ha/etc/booth/booth.key",
        "site = 192.0.2.100",
        "site = 198.51.100.1",
        "arbitrator = 203.0.113.5",
        'ticket = "t"',
        "    expire = 600",
    ]
    assert "group booth booth_ip booth_site" in files["ha-stack/cluster.crm"]
    recipe = make_site_recipe(find_project(CHECKOUT), read_text(tmp_path, BASE + BOOTH + ARBITRATOR))
    assert "ha-booth" in recipe.packages[0].depends
