"""One throw-away machine: it boots, obeys, reaches what it may, hangs, dies, leaves nothing (make prove-machines)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hapkg.apt.mirror import find_mirror
from hapkg.control import Suite
from hapkg.distribution import read_debian
from hapkg.errors import ProofError
from hapkg.locations import find_state
from hapkg.prove.runner import Scene
from hapkg.prove.testbed import Offer, make_scene, read_offer
from hapkg.prove.vm import Guest, probe_accelerator
from hapkg.prove.vm_image import GuestImage, find_image, make_image
from hapkg.site.model import read_site
from tests.support.samples import CHECKOUT

REPOSITORY = Path(os.environ.get("HAPKG_PROVE_REPO", CHECKOUT / "prove/apt"))
SUITE = Suite(os.environ.get("HAPKG_SUITE", "bookworm"))
pytestmark = pytest.mark.machines
SITE = CHECKOUT / "hapkg/data/prove.site.toml"


@pytest.fixture(scope="module")
def offer() -> Offer:
    return read_offer(REPOSITORY, SUITE)


@pytest.fixture(scope="module")
def image(offer: Offer, tmp_path_factory: pytest.TempPathFactory) -> GuestImage:
    state, archive = find_state(None), find_mirror(None, read_debian())
    found = find_image(state, SUITE, offer.needs, archive)
    if found is None:
        with (tmp_path_factory.mktemp("log") / "image.log").open("wb") as log:
            found = make_image(state, SUITE, offer.needs, archive, log=log, report=print)
    return found


@pytest.fixture
def scene(offer: Offer, image: GuestImage, tmp_path: Path) -> Iterator[Scene]:
    with make_scene(offer, read_site(SITE), image, probe_accelerator(image), tmp_path) as made:
        yield made


def find_machines(folder: Path) -> list[str]:
    """Processes of QEMU that use a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if line.startswith("qemu-system") or "/qemu-system" in line.split("\0")[0]:
            found += [entry.name] if str(folder) in line else []
    return found


def test_a_machine_obeys_hangs_and_dies(scene: Scene) -> None:
    guest: Guest = scene.one
    guest.boot(400)
    assert guest.run("hostname").output.strip() == "fiesta-ha1"
    assert guest.run("ip -br address show eth1").output.split()[2] == "192.168.132.11/24"
    assert guest.run("cat > /tmp/x; wc -c < /tmp/x", stdin=b"x" * 300_000).output.strip() == "300000"
    assert guest.run("exit 7", check=False).status == 7
    with pytest.raises(ProofError, match="exit status 3"):
        guest.run("echo no; exit 3")
    fetch = "import urllib.request as u; print(u.urlopen('http://10.0.2.100/{}').status)"
    told = guest.run(f'python3 -c "{fetch.format("repository/dists/" + SUITE + "/InRelease")}"').output
    assert told.strip() == "200"
    assert guest.run("modprobe -a dlm gfs2 drbd && lsmod").output.count("gfs2") >= 1
    assert find_machines(guest.plan.folder)
    guest.freeze()
    began = time.monotonic()
    with pytest.raises(ProofError, match="does not answer") as caught:
        guest.run("true", seconds=5)
    assert time.monotonic() - began < 60
    assert any(line.startswith("console of fiesta-ha1") for line in caught.value.details)
    assert not guest.alive
    assert find_machines(guest.plan.folder) == []


def test_a_machine_that_cannot_boot_is_told_with_its_console(scene: Scene, tmp_path: Path) -> None:
    broken = tmp_path / "image"
    broken.mkdir()
    for name in ("root.qcow2", "vmlinux"):
        (broken / name).symlink_to(scene.one.plan.image.folder / name)
    (broken / "initrd.img").write_bytes(b"nothing")
    image = GuestImage(suite=SUITE, folder=broken, kernel_version="", packages=0)
    plan = scene.one.plan
    guest = Guest(type(plan)(**{**vars(plan), "image": image, "name": "broken"}), "tcg")
    with pytest.raises(ProofError, match="while it booted") as caught:
        guest.boot(60)
    guest.power_off()
    assert any("panic" in line for line in caught.value.details)


def test_machines_die_with_hapkg_however_it_ends(tmp_path: Path) -> None:
    argv = [str(Path(sys.executable).with_name("hapkg")), "prove", "--repo", str(REPOSITORY), "--suite", SUITE]
    process = subprocess.Popen([*argv, "--short", "--result", str(tmp_path)], cwd=CHECKOUT)
    try:
        deadline = time.monotonic() + 300
        while not find_machines(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert find_machines(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        deadline = time.monotonic() + 10
        while find_machines(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert find_machines(tmp_path) == []
    finally:
        process.kill()
