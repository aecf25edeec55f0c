"""Site files: every rule, and what follows from a file that keeps them."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hapkg.errors import RecipeError, SiteError
from hapkg.recipe.model import read_recipe
from hapkg.site.files import describe_site, render_site
from hapkg.site.model import Site, read_site
from hapkg.site.package import make_site_recipe
from tests.support.samples import CHECKOUT, META, SETTINGS, STYLES, TEMPLATES, format_toml, write_recipe
from tests.unit.recipe.test_golden import PROJECT
from tests.unit.site.samples import BASE, read_text

EXAMPLE = tomllib.loads((CHECKOUT / "docs/site.example.toml").read_text())
ETC = "/opt/ha/etc"
FILESYSTEM = {"name": "commfs", "mount": "/mnt/fiestacomm"}


def write(folder: Path, table: dict[str, Any]) -> Path:
    """A site file with these tables."""
    file = folder / "site.toml"
    file.write_text("".join(f"{key} = {format_toml(value)}\n" for key, value in table.items()))
    return file


def read(folder: Path, table: dict[str, Any]) -> Site:
    return read_site(write(folder, table))


def change(path: str, value: object) -> dict[str, Any]:
    """The example with one value changed; a part of the path that is a number counts from 0. None removes the key."""
    table = copy.deepcopy(EXAMPLE)
    *parents, last = path.split(".")
    place: Any = table
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    key = int(last) if isinstance(place, list) else last
    if value is None:
        del place[key]
    else:
        place[key] = value
    return table


def render(site: Site) -> dict[str, str]:
    return {path: text.decode() for path, text in render_site(site, SETTINGS, (TEMPLATES,)).items()}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("cluster.name", "two words", "cluster.name"),
        ("cluster.nmae", "x", "did you mean name?"),
        ("cluster.name", None, "missing key cluster.name"),
        ("cluster.transport", "carrier", "cluster.transport"),
        ("cluster.transport", "udpu", "cannot encrypt"),
        ("cluster.crypto-hash", "none", "a cipher needs a hash"),
        ("nodes", [], "nodes: must not be empty"),
        ("nodes.1.name", "fiesta-ha1", "node name fiesta-ha1 stands there twice"),
        ("nodes.1.id", 1, "node id 1 stands there twice"),
        ("nodes.1.id", 0, "nodes[2].id"),
        ("nodes.1.addresses", ["192.168.132.11"], "address 192.168.132.11 stands there twice"),
        ("nodes.1.addresses", ["ha2.example.org"], "DRBD resource ha0 needs addresses, and ha2.example.org is a name"),
        ("nodes.1.addresses", ["10.1.0.1/24"], "is a network: leave out /24"),
        ("nodes.1.addresses", ["10.1.0.999"], "is not an IP address, and no host name"),
        ("nodes.1.addresses", ["127.0.0.1"], "is the machine's own"),
        ("nodes.1.addresses", ["0.0.0.0"], "is no machine's address"),
        ("nodes.1.addresses", ["224.0.0.1"], "is a group's address"),
        ("nodes.1.addresses", ["fe80::1"], "is of one link alone"),
        ("nodes.1.addresses", ["255.255.255.255"], "is a broadcast"),
        ("nodes.1.addresses", ["192.168.132.12", "10.0.0.2"], "every node has one for each link"),
        ("nodes.1.addresses", ["fd01::2"], "mixes IPv4 and IPv6"),
        ("logging.file", "relative.log", "must be an absolute path"),
        ("logging.file", "/var/log/../x", "must be an absolute path"),
        ("logging.facility", "mail", "logging.facility"),
        ("fencing.devices.0.parameters.password", "s3cret", "password_script"),
        ("fencing.devices.0.parameters.passwd", "s3cret", "password_script"),
        ("fencing.devices.0.parameters.secret_key", "s3cret", "secret_key is a secret"),
        ("drbd.0.net.shared-secret", "s3cret", "shared-secret is a secret"),
        ("crm", {"extra": "primitive st stonith:fence_ipmilan params passwd=s3cret\n"}, "passwd is a secret"),
        ("fencing.devices.0.parameters.username", "a\nb", "must be one line: it has a control character"),
        ("fencing.devices.0.parameters.username", "Büro", "crm would load ü as &#252;"),
        ("fencing.devices.0.parameters.username", [1], "must be a string, a whole number, true or false"),
        ("fencing.devices.0.parameters.username", "C:\\", "crm reads no backslash before a quote or at the end"),
        ("fencing.devices.0.parameters.username", "", "is empty: leave the key out"),
        ("fencing.devices.0.nodes", ["fiesta-ha3"], "there is no node fiesta-ha3"),
        ("fencing.devices.1", None, "no fencing device can switch off fiesta-ha2"),
        ("fencing.opt-out", "brave", "fencing has devices and opt-out"),
        ("fencing", None, "fencing is missing, and resource ha0 is dual-primary"),
        ("drbd.0.protocol", "A", "dual-primary needs protocol C"),
        ("drbd.0.link", 1, "there is no link 1"),
        ("drbd.0.nodes", ["fiesta-ha1"], "joins 1 nodes"),
        ("drbd.0.port", 21064, "port 21064 stands there twice"),
        ("drbd.0.volumes.1.minor", 0, "minor 0 stands there twice"),
        ("drbd.0.volumes.1.number", 0, "volume ha0/0 stands there twice"),
        ("drbd.0.volumes.1.disk", "/dev/vgha/lvdrbd0", "disk /dev/vgha/lvdrbd0 stands there twice"),
        ("drbd.0.volumes.1.disk", "vgha/lv", "must be an absolute path"),
        ("drbd.0.volumes.1.meta-disk", "/dev/vgha/lvdrbd1", "disk /dev/vgha/lvdrbd1 stands there twice"),
        ("drbd.0.volumes.1.meta-disk", "/dev/vgha/lvdrbd2", "disk /dev/vgha/lvdrbd2 stands there twice"),
        ("drbd.0.volumes.1.meta-disk", "external", "must be an absolute path"),
        ("drbd.0.volumes", [], "must not be empty"),
        ("crm", {"extra": "property maintenance-mode=true\n"}, "crm takes one line of properties"),
        ("crm", {"properties": {"stonith-enabled": False}}, "follows from [fencing]"),
        ("drbd.0.dual-primary", False, "resource ha0 needs dual-primary = true"),
        ("dlm.options", {"log_debgu": 1}, "did you mean log_debug?"),
        ("gfs2.0.volume", "ha0/7", "there is no volume ha0/7"),
        ("gfs2.0.volume", None, "one of them"),
        ("gfs2.0.device", "/dev/sdb", "one of them"),
        ("gfs2.0", {**FILESYSTEM, "device": "/dev/vgha/lvdrbd1"}, "from under DRBD: /dev/vgha/lvdrbd1 belongs"),
        ("gfs2.0", {**FILESYSTEM, "device": "/dev/drbd0"}, "instead of device = /dev/drbd0"),
        ("gfs2.0", {**FILESYSTEM, "device": "/dev/drbd/by-res/ha0/0"}, "say volume = RESOURCE/NUMBER"),
        ("gfs2.0.journals", 1, "1 journals for 2 nodes"),
        ("gfs2.0.lock-table", "otherha:commfs", "must be fiestaha:commfs"),
        ("gfs2.0.mount", "mnt", "must be an absolute path"),
        ("quorum.two-node", "yes", "quorum.two-node: must be true or false"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_file_and_key(tmp_path: Path, path: str, value: object, words: str) -> None:
    with pytest.raises(SiteError) as caught:
        read(tmp_path, change(path, value))
    told = f"{caught.value.brief} {caught.value.hint}"
    assert words in told
    assert str(tmp_path / "site.toml") in told
    assert caught.value.exit_code == 14


@pytest.mark.parametrize(
    ("text", "words"), [("[cluster\n", "not valid TOML"), ("", "missing key cluster"), (b"\xff", "not UTF-8")]
)
def test_a_file_that_is_no_site_is_refused(tmp_path: Path, text: str | bytes, words: str) -> None:
    file = tmp_path / "site.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SiteError, match=words):
        read_site(file)
    with pytest.raises(SiteError, match="does not exist"):
        read_site(tmp_path / "other.toml")


def test_the_crm_configuration_starts_what_needs_what_in_order(tmp_path: Path) -> None:
    crm = render(read(tmp_path, EXAMPLE))[f"{ETC}/ha-stack/cluster.crm"]
    assert "promotable=true promoted-max=2" in crm
    assert "order drbd_ha0_before_dlm Mandatory: ms_drbd_ha0:promote dlm_clone:start" in crm
    assert "order dlm_before_fs_commfs Mandatory: dlm_clone fs_commfs_clone" in crm
    assert "colocation fs_commfs_with_drbd inf: fs_commfs_clone ms_drbd_ha0:Promoted" in crm
    assert "no-quorum-policy=freeze" in crm
    assert "device=/dev/drbd0 directory=/mnt/fiestacomm" in crm
    assert "\nms " not in crm


def test_a_site_without_fencing_says_so_everywhere(tmp_path: Path) -> None:
    table = change("fencing", {"opt-out": "a laboratory"})
    site = read(tmp_path, table)
    files = render(site)
    assert "stonith-enabled=false" in files[f"{ETC}/ha-stack/cluster.crm"]
    assert "allow_stonith_disabled=true" in files[f"{ETC}/ha-stack/cluster.crm"]
    assert "fencing" not in files[f"{ETC}/drbd.d/ha0.res"]
    assert "fence-peer" not in files[f"{ETC}/drbd.d/ha0.res"]
    assert any("a laboratory" in warning for warning in site.warnings)
    assert json.loads(files[f"{ETC}/ha-stack/site.json"])["fencing"] is False


def test_a_module_of_series_9_has_its_fencing_in_net(tmp_path: Path) -> None:
    text = render(read(tmp_path, change("drbd.0.module", "9")))[f"{ETC}/drbd.d/ha0.res"]
    net, _, rest = text.partition("        disk {")
    assert "fencing resource-and-stonith;" in net
    assert "fencing " not in rest.partition("handlers")[0]
    assert "unfence-peer" in rest
    assert "node-id   1;" in rest


def three_nodes(table: dict[str, Any]) -> None:
    table["nodes"].append({"name": "fiesta-ha3", "id": 3, "addresses": ["192.168.132.13"]})
    table["fencing"]["devices"].append({"name": "fence_ha3", "agent": "fence_ipmilan", "nodes": ["fiesta-ha3"]})
    table["drbd"][0]["nodes"] = ["fiesta-ha1", "fiesta-ha3"]
    table["gfs2"][0]["journals"] = 3


def two_links(table: dict[str, Any]) -> None:
    for number, node in enumerate(table["nodes"]):
        node["addresses"].append(f"fd01::{number + 1}")
    table["drbd"][0]["link"] = 1


def shared_disk(table: dict[str, Any]) -> None:
    del table["drbd"]
    del table["gfs2"][0]["volume"]
    table["gfs2"][0]["device"] = "/dev/mapper/shared"


def properties(table: dict[str, Any]) -> None:
    table["crm"] = {"properties": {"maintenance-mode": True, "no-quorum-policy": "stop"}}


def other_log(table: dict[str, Any]) -> None:
    table["logging"] = {"facility": "local3", "file": "/var/log/ring.log"}


@pytest.mark.parametrize(
    ("edit", "path", "words"),
    [
        (three_nodes, "corosync/corosync.conf", ["expected_votes: 3"]),
        (three_nodes, "ha-stack/cluster.crm", ["drbd_ha0_not_on_fiesta-ha2", "clone-max=2"]),
        (three_nodes, "drbd.d/ha0.res", ["on fiesta-ha1 {", "on fiesta-ha3 {"]),
        (two_links, "corosync/corosync.conf", ["link_mode: passive", "ring1_addr: fd01::2", "mcastport: 5406"]),
        (two_links, "drbd.d/ha0.res", ["address   ipv6 [fd01::1]:7789;"]),
        (shared_disk, "ha-stack/cluster.crm", ["device=/dev/mapper/shared"]),
        (
            properties,
            "ha-stack/cluster.crm",
            ["property stonith-enabled=true maintenance-mode=true no-quorum-policy=stop\n"],
        ),
        (other_log, "corosync/corosync.conf", ["syslog_facility: local3"]),
        (other_log, "/etc/rsyslog.d/ha-stack-site.conf", ["local3.* /var/log/ring.log"]),
        (other_log, "/etc/logrotate.d/ha-stack-site", ["/var/log/ring.log {"]),
    ],
)
def test_other_clusters(tmp_path: Path, edit: Callable[[dict[str, Any]], None], path: str, words: list[str]) -> None:
    table = copy.deepcopy(EXAMPLE)
    edit(table)
    files = render(read(tmp_path, table))
    text = files[path if path.startswith("/") else f"{ETC}/{path}"]
    for word in words:
        assert word in text
    if edit is three_nodes:
        assert "two_node" not in files[f"{ETC}/corosync/corosync.conf"]
    if edit is shared_disk:
        assert "drbd" not in text


def test_the_log_of_the_stack_has_no_second_rule(tmp_path: Path) -> None:
    assert not [path for path in render(read(tmp_path, EXAMPLE)) if path.startswith("/etc/")]


def test_a_node_learns_what_it_needs(tmp_path: Path) -> None:
    files = render(read(tmp_path, EXAMPLE))
    facts = json.loads(files[f"{ETC}/ha-stack/site.json"])
    assert facts["modules"] == ["dlm", "gfs2", "drbd"]
    assert facts["tcp_ports"] == [7789, 21064]
    both, one = ["fiesta-ha1", "fiesta-ha2"], ["fiesta-ha1"]
    assert facts["prepare"] == [
        {"nodes": both, "command": "drbdadm create-md ha0"},
        {"nodes": both, "command": "drbdadm up ha0"},
        {"nodes": one, "command": "drbdadm primary --force ha0"},
        {"nodes": one, "command": "mkfs.gfs2 -p lock_dlm -j 2 -t fiestaha:commfs /dev/drbd0"},
    ]
    assert set(facts["files"]) == set(files) - {f"{ETC}/ha-stack/site.json"}


def test_a_disk_of_meta_data_belongs_to_drbd_alone(tmp_path: Path) -> None:
    table = change("drbd.0.volumes.1.meta-disk", "/dev/vgha/meta")
    site = read(tmp_path, table)
    assert "meta-disk /dev/vgha/meta;" in render(site)[f"{ETC}/drbd.d/ha0.res"]
    assert "/dev/vgha/meta" in describe_site(site)["devices"]
    table["gfs2"][0] = {**FILESYSTEM, "device": "/dev/vgha/meta"}
    with pytest.raises(SiteError, match="from under DRBD: /dev/vgha/meta belongs to volume ha0/1"):
        read(tmp_path, table)


def test_a_cluster_without_disks_needs_little(tmp_path: Path) -> None:
    parts = {key: EXAMPLE[key] for key in ("cluster", "nodes")}
    site = read(tmp_path, {**parts, "fencing": {"devices": EXAMPLE["fencing"]["devices"]}})
    assert describe_site(site)["modules"] == []
    assert set(render(site)) == {
        f"{ETC}/{n}" for n in ("corosync/corosync.conf", "ha-stack/cluster.crm", "ha-stack/site.json")
    }
    assert not site.warnings


def test_the_package_of_a_site_pins_nothing_of_the_stack(tmp_path: Path) -> None:
    recipe = make_site_recipe(PROJECT, read(tmp_path, EXAMPLE))
    assert recipe.native
    assert not recipe.needs
    assert recipe.packages[0].depends == ("ha-stack",)


def test_a_recipe_cannot_be_a_site(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path, {**META, "style": "site"})
    with pytest.raises(RecipeError, match="name the site file with --site"):
        read_recipe(folder, package_prefix="ha-", styles=STYLES)


@pytest.mark.parametrize(
    ("key", "words"),
    [('crypto-cipher = "none"', "can be read on the network of the ring"), ('crypto-hash = "md5"', "its day is over")],
)
def test_weak_crypto_is_warned_of(tmp_path: Path, key: str, words: str) -> None:
    assert not any(words in warning for warning in read_text(tmp_path, BASE).warnings)
    weak = BASE.replace("[cluster]\n", f"[cluster]\n{key}\n")
    assert any(words in warning for warning in read_text(tmp_path, weak).warnings)
