"""Services: the group, its order and what it follows; the examples of docs/sites."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hapkg.errors import SiteError
from hapkg.site.files import render_site
from hapkg.site.model import read_site
from tests.support.samples import CHECKOUT, SETTINGS, TEMPLATES
from tests.unit.site.samples import BASE, read_text, render_text

EXAMPLES = sorted((CHECKOUT / "docs/sites").glob("*.toml"))
DRBD = '[[drbd]]\nname = "r0"\nvolumes = [{ number = 0, minor = 0, disk = "/dev/vg0/r0" }]\n'


def service(more: str, name: str = "web") -> str:
    return f'[[service]]\nname = "{name}"\n{more}\n'


FILES = service('mounts = [{ volume = "r0/0", mount = "/srv/a" }]\naddresses = ["192.0.2.100/24"]')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (service(""), "service web has nothing to run"),
        (service('addresses = ["192.0.2.100"]'), "must be an address with the length of its network"),
        (service('addresses = ["192.0.2.100/99"]'), "must be an address with the length of its network"),
        (service('addresses = ["host/24"]'), "must be an address with the length of its network"),
        (service('addresses = ["127.0.0.1/8"]'), "is the machine's own"),
        (service('addresses = ["192.0.2.11/24"]'), "address 192.0.2.11/24 is a node's own"),
        (service('addresses = ["192.0.2.9/24"]') + service('addresses = ["192.0.2.9/24"]', "b"), "stands there twice"),
        (service('addresses = ["192.0.2.9/24"]\nprefer = ["n9"]'), "there is no node n9"),
        (service('mounts = [{ mount = "/srv/a" }]'), "needs volume (of DRBD) or device"),
        (service('mounts = [{ volume = "r0/0", mount = "/srv/a" }]'), "there is no DRBD resource r0; known: none"),
        (DRBD + FILES.replace("r0/0", "r0/7"), "there is no volume r0/7"),
        (DRBD + service('mounts = [{ device = "/dev/vg0/r0", mount = "/srv/a" }]'), "mounted from under DRBD"),
        (DRBD + service('mounts = [{ device = "/dev/drbd0", mount = "/srv/a" }]'), "say volume = RESOURCE/NUMBER"),
        (DRBD.replace("volumes", "dual-primary = true\nvolumes") + FILES, "r0 is dual-primary, and the service writes"),
        (DRBD + FILES + FILES.replace('"web"', '"b"').replace("100", "101"), "mount point /srv/a stands there twice"),
        (service('resources = [{ name = "a", agent = "two words" }]'), "must be an agent: ocf:PROVIDER:NAME"),
        (service('resources = [{ name = "a", agent = "mysql", parameters = { test_passwd = "x" } }]'), "is a secret"),
        (service('clone = { name = "a", agent = "ping", promoted-max = 2 }'), "promoted-max needs promotable"),
        (
            DRBD + service('drbd = "r0"\nclone = { name = "a", agent = "ping" }'),
            "cannot follow the DRBD resource of one",
        ),
        (
            service('addresses = ["192.0.2.9/24"]', "f1"),
            "service f1 would be called f1 in pacemaker, as fencing device",
        ),
    ],
)
def test_what_breaks_a_rule_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SiteError) as caught:
        read_text(tmp_path, BASE + text)
    told = "\n".join((caught.value.brief, *caught.value.details))
    assert words in told


def test_a_service_on_drbd_follows_it(tmp_path: Path) -> None:
    files = render_text(tmp_path, BASE + DRBD + FILES)
    crm = files["ha-stack/cluster.crm"]
    assert "group web web_fs1 web_ip1\n" in crm
    assert "colocation web_with_drbd inf: web ms_drbd_r0:Promoted" in crm
    assert "order web_after_drbd Mandatory: ms_drbd_r0:promote web:start" in crm
    assert "device=/dev/drbd0 directory=/srv/a fstype=ext4" in crm
    facts = json.loads(files["ha-stack/site.json"])
    assert facts["prepare"][-1] == {"nodes": ["n1"], "command": "mkfs.ext4 /dev/drbd0"}
    assert read_text(tmp_path, BASE + DRBD + FILES).mount_points == ("/srv/a",)


def test_addresses_may_come_last(tmp_path: Path) -> None:
    program = '\nresources = [{ name = "srv", agent = "systemd:x", meta = { migration-threshold = 3 } }]'
    first = render_text(tmp_path, BASE + service('addresses = ["192.0.2.9/24"]' + program))["ha-stack/cluster.crm"]
    last = service('addresses = ["192.0.2.9/24"]\naddresses-last = true\nvolume-groups = ["vg1"]' + program)
    second = render_text(tmp_path, BASE + last)["ha-stack/cluster.crm"]
    assert "group web web_ip1 web_srv\n" in first
    assert "group web web_vg1 web_srv web_ip1\n" in second
    assert "vgname=vg1 vg_access_mode=system_id" in second
    assert "primitive web_srv systemd:x \\\n    meta migration-threshold=3 \\\n    op monitor" in second


def test_addresses_follow_what_is_promoted(tmp_path: Path) -> None:
    clone = '[service.clone]\nname = "pg"\nagent = "pgsql"\npromotable = true\n'
    text = service('addresses = ["192.0.2.9/24"]\nprefer = ["n2", "n1"]') + clone
    crm = render_text(tmp_path, BASE + text)["ha-stack/cluster.crm"]
    assert "colocation web_with_pg inf: web web_pg_clone:Promoted" in crm
    assert "order web_after_pg Mandatory: web_pg_clone:promote web:start symmetrical=false" in crm
    assert "op monitor role=Promoted interval=30s" in crm
    assert "op monitor role=Unpromoted interval=31s" in crm
    assert "location web_prefers_n2 web 100: n2\nlocation web_prefers_n1 web 50: n1\n" in crm


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_is_a_site_without_a_warning(file: Path) -> None:
    site = read_site(file)
    assert site.service
    assert site.warnings == ()
    assert render_site(site, SETTINGS, (TEMPLATES,))


def test_there_are_six_examples() -> None:
    assert [file.stem for file in EXAMPLES] == ["galera", "haproxy", "iscsi", "nfs", "postgresql", "web"]
