"""Parts of a site besides services: attributes of nodes, alerts, defaults, volume groups that all nodes use."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.errors import SiteError
from hapkg.site.package import make_site_recipe
from tests.unit.recipe.test_golden import PROJECT
from tests.unit.site.samples import BASE, FENCING, NODES, read_text, render_text

RACKS = NODES.replace("id = 1", 'id = 1\nattributes = { rack = "a b", ssd = true }\nutilization = { cpu = 8 }')
MAIL = '[[alert]]\nname = "mail"\npath = "/usr/local/sbin/tell"\n'
SHARED = '[lvm]\nshared = ["vg_one", "vg-two"]\n'
GFS2 = '[[gfs2]]\nname = "data"\ndevice = "{}"\nmount = "/srv/data"\n'


def crm(folder: Path, text: str) -> str:
    return render_text(folder, text)["ha-stack/cluster.crm"]


def test_a_node_has_attributes_and_what_it_can_give(tmp_path: Path) -> None:
    text = crm(tmp_path, RACKS + FENCING)
    assert 'node 1: n1 \\\n    attributes rack="a b" ssd=true \\\n    utilization cpu=8\n' in text
    assert "node 2" not in text


def test_defaults_and_alerts(tmp_path: Path) -> None:
    more = 'recipients = ["ops@example.org", "#ops"]\noptions = { verbose = 1 }\ntimeout = 30\n'
    more += 'events = ["nodes", "fencing"]\n'
    defaults = "[crm]\nresource-defaults = { resource-stickiness = 100 }\noperation-defaults = { timeout = '60s' }\n"
    text = crm(tmp_path, BASE + MAIL + more + defaults)
    assert "rsc_defaults resource-stickiness=100\n" in text
    assert "op_defaults timeout=60s\n" in text
    head, *parts = text.partition("alert mail ")[2].partition("\nprimitive")[0].split(" \\\n    ")
    assert head == '"/usr/local/sbin/tell"'
    assert parts == [
        "attributes verbose=1",
        "meta timeout=30s",
        "select nodes fencing",
        'to "ops@example.org" to "#ops"',
    ]
    assert 'alert mail "/usr/local/sbin/tell"\nprimitive' in crm(tmp_path, BASE + MAIL)


def test_a_shared_volume_group_waits_for_its_locks_and_the_file_system_for_it(tmp_path: Path) -> None:
    for device in ("/dev/vg-two/data", "/dev/mapper/vg--two-data"):
        text = crm(tmp_path, BASE + SHARED + GFS2.format(device))
        assert "order dlm_before_lvmlockd Mandatory: dlm_clone lvmlockd_clone" in text
        assert "params vgname=vg-two vg_access_mode=lvmlockd activation_mode=shared" in text
        assert "order lvmlockd_before_vg_vg_one Mandatory: lvmlockd_clone vg_vg_one_clone" in text
        assert "order vg_before_fs_data Mandatory: vg_vg-two_clone fs_data_clone" in text
    assert "vg_before_fs" not in crm(tmp_path, BASE + SHARED + GFS2.format("/dev/vg-two-other/data"))
    site = read_text(tmp_path, BASE + SHARED)
    assert site.uses_dlm
    assert make_site_recipe(PROJECT, site).packages[0].depends == ("ha-stack", "lvm2-lockd")


def test_a_service_takes_a_shared_volume_group_for_itself(tmp_path: Path) -> None:
    service = '[[service]]\nname = "web"\nvolume-groups = ["vg_one"]\naddresses = ["192.0.2.100/24"]\n'
    text = crm(tmp_path, BASE + SHARED + service)
    assert "params vgname=vg_one vg_access_mode=lvmlockd \\\n" in text
    assert "order web_after_lvmlockd Mandatory: lvmlockd_clone web" in text
    assert "vg_vg_one" not in text
    assert "vg_access_mode=system_id" in crm(tmp_path, BASE + service)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NODES.replace("id = 1", "id = 1\nattributes = { standby = true }") + FENCING, "standby is a node's state"),
        (NODES.replace("id = 1", 'id = 1\nattributes = { api_key = "x" }') + FENCING, "api_key is a secret"),
        (NODES.replace("id = 1", "id = 1\nutilization = { cpu = -1 }") + FENCING, "utilization.cpu"),
        (BASE + MAIL + MAIL, "alert mail would be called mail in pacemaker, as alert mail is"),
        (BASE + MAIL + "options = { password = 'x' }\n", "password is a secret"),
        (BASE + MAIL.replace("/usr", "usr"), "must be an absolute path"),
        (BASE + '[lvm]\nshared = ["a", "a"]\n', "volume group a stands there twice"),
        (BASE + "[lvm]\nshared = []\n", "must not be empty"),
        (
            BASE + SHARED + '[[service]]\nname = "web"\nvolume-groups = ["vg3"]\n',
            "volume group vg3 would be told apart by system ID",
        ),
        (NODES + '[fencing]\nopt-out = "a laboratory"\n' + SHARED.replace("vg-two", "vg two"), "lvm.shared"),
    ],
)
def test_what_breaks_a_rule_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SiteError) as caught:
        read_text(tmp_path, text)
    assert words in "\n".join((caught.value.brief, *caught.value.details, caught.value.hint))
