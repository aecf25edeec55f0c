"""hapkg for a person who is not root but may use sudo."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import site
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.chroot.conftest import Built
from tests.support.machine import (
    NOTHING,
    SUITE,
    Hapkg,
    count_asleep,
    find_leftovers,
    find_processes,
    wait_until,
)
from tests.support.miniature import CHECKOUT, SLEEP, Miniature, add_stack, make_sleeper

NAME = f"hapkg-test-{os.getpid()}"
BECOME = ("setpriv", "--reuid", NAME, "--regid", NAME, "--init-groups", "--")


@pytest.fixture(scope="module")
def person(place: Path) -> Iterator[Hapkg]:
    """hapkg as an ordinary user runs it, with a home and a cache of his own and sbin not on his path."""
    home = place / "person"
    sudoers = Path("/etc/sudoers.d") / NAME
    subprocess.run(["useradd", "--create-home", "--home-dir", str(home), NAME], check=True)
    try:
        home.chmod(0o755)
        sudoers.touch(mode=0o440)
        sudoers.write_text(f"{NAME} ALL=(root) NOPASSWD: ALL\n")
        project = Miniature.create(home / "project", suite=SUITE)
        add_stack(project)
        project.add("dozing", make_sleeper())
        subprocess.run(["chown", "-R", f"{NAME}:{NAME}", str(home)], check=True)
        argv = _copy_program(home / "program")
        yield Hapkg(
            project=project.root,
            cache=home / "cache",
            home=home,
            argv=(*BECOME, *argv),
            environment={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(home / "program")},
        )
    finally:
        sudoers.unlink()
        subprocess.run(["userdel", NAME], check=True)


def _copy_program(folder: Path) -> tuple[str, ...]:
    """hapkg where the person may read it, for the system's Python: this checkout may lie in a closed home."""
    for packages in filter(os.path.isdir, site.getsitepackages()):
        shutil.copytree(packages, folder, ignore=shutil.ignore_patterns("*mypyc*", "mypy", "pip"), dirs_exist_ok=True)
    shutil.copytree(CHECKOUT / "hapkg", folder / "hapkg", dirs_exist_ok=True)
    return ("/usr/bin/python3", "-c", "from hapkg.cli.main import main; main()")


@pytest.fixture(scope="module")
def chroot(person: Hapkg) -> Iterator[str]:
    """The name of the base chroot that the person made; at the end he removes it with everything left of it."""
    person.succeed("chroot", "create")
    name = person.chroot
    yield name
    person.end()
    person.succeed("chroot", "rm", SUITE)
    assert find_leftovers(name, person.cache) == NOTHING
    assert [str(file) for file in Path("/etc/schroot").rglob(f"*{name}*")] == []


def test_doctor_finds_sudo(person: Hapkg) -> None:
    findings = {finding["check"]: finding for finding in json.loads(person.run("doctor", "--json").stdout)}
    assert findings["privilege"]["found"] == "sudo without a password"
    missing = [name for name, finding in findings.items() if name.startswith("program") and not finding["ok"]]
    assert missing == []


def test_an_ordinary_user_builds_the_same_bytes_with_compilers_that_are_neither_root_nor_he(
    person: Hapkg, chroot: str, built: Built
) -> None:
    running = person.start("build", "one", "dozing", "--jobs", "2", "--no-lintian")
    running.wait_for("^ha-one: built")
    wait_until(lambda: count_asleep(chroot) == 1, "build asleep", seconds=300)
    compiling = [process for process in find_processes(chroot) if " make " in process or SLEEP in process]
    assert {Path("/proc", process.partition(":")[0]).stat().st_uid for process in compiling} == {2952}
    assert pwd.getpwnam(NAME).pw_uid != 2952
    done = running.stop(signal.SIGTERM)
    assert done.status == 130
    assert done.seconds < 60
    assert find_leftovers(chroot, person.cache) == NOTHING
    kept = [*(person.cache / "builds").glob("*/ha-one*.deb")]
    assert {deb.owner() for deb in kept} == {NAME}
    ours = built.deb("ha-one").parent.glob("*.deb")
    assert {deb.name: deb.read_bytes() for deb in kept} == {deb.name: deb.read_bytes() for deb in ours}


def test_a_killed_hapkg_takes_its_builds_along(person: Hapkg, chroot: str) -> None:
    running = person.start("build", "dozing", "--no-lintian")
    wait_until(lambda: count_asleep(chroot) == 1, "build asleep", seconds=300)
    running.stop(signal.SIGKILL)
    wait_until(lambda: find_processes(chroot) == [], "end of the killed run's processes", seconds=10)


def test_a_stopped_chroot_update_keeps_the_chroot(person: Hapkg, chroot: str) -> None:
    running = person.start("chroot", "update")
    new = person.cache / "chroots" / f".new-{SUITE}" / "root"
    wait_until((new / "var/lib/dpkg/status").exists, "package unpacked", seconds=300)
    done = running.stop(signal.SIGINT)
    assert done.status == 130
    assert done.seconds < 60
    wait_until(lambda: find_processes(str(new)) == [], "end of mmdebstrap", seconds=60)
    assert person.chroot == chroot
