"""DRBD in a site file: disks by node, more than two nodes, and what would stand there twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hapkg.errors import SiteError
from tests.unit.site.samples import BASE, read_text, render_text

VOLUME = 'volumes = [{ number = 0, minor = 0, disk = "/dev/vg0/r0" }]\n'
THIRD = """
[[nodes]]
name = "n3"
id = 3
addresses = ["192.0.2.13"]
[[fencing.devices]]
name = "f3"
agent = "fence_ipmilan"
nodes = ["n3"]
"""


def drbd(more: str = "", *, name: str = "r0", volumes: str = VOLUME) -> str:
    return f'[[drbd]]\nname = "{name}"\n{more}\n{volumes}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (drbd(name="all"), "'all' means something to drbdadm"),
        (drbd('net = { protocol = "A" }'), "protocol would stand there twice: say protocol of the resource"),
        (drbd('disk = { fencing = "dont-care" }'), "fencing would stand there twice: it follows from [fencing]"),
        (drbd("net = { allow-two-primaries = true }"), "say dual-primary = true"),
        (drbd('net = { cram-hmac-alg = "sha256", shared-secret = "x" }'), "shared-secret is a secret"),
        (drbd('net = { shared-secret = "x" }'), "say authenticate = true of each DRBD resource"),
        (
            drbd("authenticate = true") + drbd("port = 7790", name="r1", volumes=VOLUME.replace("0", "1")),
            "authenticate is for all or for none",
        ),
        (drbd('options = { quorum = "majority" }'), "options are of module 9"),
        (
            drbd("snapshots = true", volumes=VOLUME.replace("/dev/vg0/r0", "/dev/sdb1")),
            "/dev/sdb1 is no logical volume",
        ),
        (
            drbd("snapshots = true", volumes=VOLUME.replace("/dev/vg0/r0", "/dev/disk/by-id/wwn-0x5")),
            "is no logical volume",
        ),
        (drbd(volumes=VOLUME.replace('"/dev/vg0/r0"', '{ n1 = "/dev/sdb1" }')), "disk names n1, and the resource"),
        (drbd(volumes=VOLUME.replace('"/dev/vg0/r0"', '{ n1 = "sdb1", n2 = "/dev/x" }')), "'sdb1' must be an absolute"),
        (drbd(volumes=VOLUME.replace('"/dev/vg0/r0"', "7")), "7 must be a path, or a table of paths"),
        (THIRD + drbd(), 'joins 3 nodes: name two in nodes, or say module = "9"'),
        (THIRD + drbd('module = "9"\ndual-primary = true'), "dual-primary is for two nodes, and it joins 3"),
        (THIRD + drbd('module = "9"\nnodes = ["n1"]'), "joins 1 nodes"),
    ],
)
def test_what_breaks_a_rule_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SiteError) as caught:
        read_text(tmp_path, BASE + text)
    assert words in caught.value.brief


def test_options_that_are_only_a_default_are_written_once(tmp_path: Path) -> None:
    more = 'dual-primary = true\nnet = { after-sb-0pri = "disconnect" }\ndisk = { on-io-error = "detach" }\n'
    text = render_text(tmp_path, BASE + drbd(more))["drbd.d/r0.res"]
    assert text.count("after-sb-0pri") == 1
    assert "after-sb-0pri disconnect;" in text
    assert "after-sb-1pri discard-secondary;" in text
    assert text.count("on-io-error") == 1
    assert "on-io-error detach;" in text


def test_values_are_quoted_where_drbd_needs_it(tmp_path: Path) -> None:
    more = r"""net = { verify-alg = "crc32c", odd = 'a "b" \ ü;' }"""
    text = render_text(tmp_path, BASE + drbd(more))["drbd.d/r0.res"]
    assert "verify-alg crc32c;" in text
    assert r'odd "a \"b\" \\ ü;";' in text


def test_a_disk_by_node_stands_below_each_node(tmp_path: Path) -> None:
    by_node = VOLUME.replace('"/dev/vg0/r0"', '{ n1 = "/dev/sdb1", n2 = "/dev/vdb1" }')
    text = render_text(tmp_path, BASE + drbd(volumes=by_node))["drbd.d/r0.res"]
    first, second = (text.partition(f"on {name} {{")[2].partition("\n        }\n")[0] for name in ("n1", "n2"))
    assert "disk      /dev/sdb1;" in first
    assert "disk      /dev/vdb1;" in second
    assert read_text(tmp_path, BASE + drbd(volumes=by_node)).drbd[0].volumes[0].disks == ("/dev/sdb1", "/dev/vdb1")
    same_disk_twice = by_node + drbd("port = 7790", name="r1", volumes=VOLUME.replace("minor = 0", "minor = 1"))
    read_text(tmp_path, BASE + drbd(volumes=same_disk_twice))  # /dev/vg0/r0 is r1's alone
    clash = drbd("port = 7790", name="r1", volumes=VOLUME.replace("minor = 0", "minor = 1").replace("vg0/r0", "vdb1"))
    with pytest.raises(SiteError, match="disk /dev/vdb1 stands there twice"):
        read_text(tmp_path, BASE + drbd(volumes=by_node) + clash)


def test_three_nodes_are_a_mesh_and_the_minority_does_not_write(tmp_path: Path) -> None:
    files = render_text(tmp_path, BASE + THIRD + drbd('module = "9"'))
    text = files["drbd.d/r0.res"]
    assert "hosts n1 n2 n3;" in text
    assert "quorum majority;" in text
    assert "on-no-quorum io-error;" in text
    assert [line.split()[-1] for line in text.splitlines() if "node-id" in line] == ["0;", "1;", "2;"]
    assert "clone-max=3" in files["ha-stack/cluster.crm"]
    other = render_text(tmp_path, BASE + THIRD + drbd('module = "9"\noptions = { on-no-quorum = "suspend-io" }'))
    assert "on-no-quorum suspend-io;" in other["drbd.d/r0.res"]


def test_snapshots_with_module_9_are_warned_of(tmp_path: Path) -> None:
    two = VOLUME.replace("}]", '}, { number = 1, minor = 1, disk = "/dev/vg0/r1" }]')
    site = read_text(tmp_path, BASE + drbd('module = "9"\nsnapshots = true', volumes=two))
    assert any("a snapshot that fails for one stops the resync" in warning for warning in site.warnings)
    assert not read_text(tmp_path, BASE + drbd("snapshots = true", volumes=two)).warnings


def test_the_secret_of_peers_is_included_and_nowhere_in_the_package(tmp_path: Path) -> None:
    files = render_text(tmp_path, BASE + drbd("authenticate = true"))
    text = files["drbd.d/r0.res"]
    assert text.index('include "/opt/ha/etc/ha-stack/drbd-secret.conf";') < text.index("resource r0")
    assert json.loads(files["ha-stack/site.json"])["drbd_secret"] is True
    assert "shared-secret" not in "".join(files.values())
    plain = render_text(tmp_path, BASE + drbd())
    assert "include" not in plain["drbd.d/r0.res"]
    assert json.loads(plain["ha-stack/site.json"])["drbd_secret"] is False
