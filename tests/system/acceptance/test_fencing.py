"""Fencing devices of a site file in a cluster that runs: loaded, checked, and used on a node that is lost."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator

import pytest

from tests.system.acceptance.conftest import Stack
from tests.system.acceptance.fencing import DEVICES, STRUCK, install_devices
from tests.system.acceptance.formation import Cluster, is_at, locate, start
from tests.system.acceptance.test_check import apply, find


@pytest.fixture(scope="module")
def fenced(cluster: Cluster, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster with a site that has devices."""
    with install_devices(cluster, tmp_path_factory.mktemp("fenced")) as made:
        yield made


def test_devices_of_a_site_are_loaded_when_it_is_asked_for(fenced: Cluster) -> None:
    asked = fenced.one.run("ha-stack bootstrap 2>&1", check=False)
    assert asked.returncode == 3
    assert "stonith-enabled" in asked.stdout
    (found,) = (f for f in json.loads(fenced.one.tell("ha-stack check --json")) if f["check"] == "fencing")
    assert found["level"] == "FAIL"
    assert "ha-stack bootstrap" in found["remedy"]
    told = fenced.one.run("ha-stack bootstrap --force").stdout
    assert all(device in told for device in DEVICES)
    for number, device in enumerate(DEVICES, 1):
        place = f"fiesta-ha{3 - number}"  # never on the node that it switches off
        fenced.wait_until(functools.partial(is_at, fenced.one, device, place), f"{device} on {place}")
    for machine in fenced.nodes:
        (found,) = (f for f in json.loads(machine.tell("ha-stack check --json")) if f["check"] == "fencing")
        assert (found["level"], found["found"]) == ("ok", "by fence_ha1, fence_ha2")
    assert "nothing to do" in fenced.two.run("ha-stack bootstrap").stdout


def test_fencing_that_was_switched_off_comes_back_by_the_printed_line(fenced: Cluster) -> None:
    one, two = fenced.nodes
    one.run("crm_attribute --name stonith-enabled --update false")
    (found,) = find(two, "fencing", "off")
    assert (found["level"], found["remedy"]) == ("FAIL", "crm_attribute --name stonith-enabled --update true")
    apply(two, found["remedy"])
    fenced.wait_until(lambda: find(two, "fencing", "") == [], "fencing devices")
    assert find(two, "drift", "stonith-enabled") == []


def test_a_lost_node_is_switched_off_by_its_device_alone(fenced: Cluster) -> None:
    one, two = fenced.nodes
    struck = one.root / STRUCK[1:]
    assert not struck.exists()
    two.run("kill -9 $(pidof corosync)")
    fenced.wait_until(lambda: struck.exists() and struck.read_text().endswith("\n"), "act of the device")
    assert struck.read_text() == "reboot fiesta-ha2 red\n"
    fenced.wait_until(lambda: locate(one, "follower") == one.name, "follower on the node left")
    assert not (two.root / STRUCK[1:]).exists()
    two.run("service pacemaker stop; service corosync stop", check=False)
    start(two)
    fenced.wait_until_served()
    assert struck.read_text() == "reboot fiesta-ha2 red\n"
    struck.unlink()
