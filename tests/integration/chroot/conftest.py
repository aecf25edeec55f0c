"""One base chroot for all tests of this folder, and one built miniature."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hapkg.chroot import schroot
from hapkg.control import Suite
from hapkg.locations import State
from tests.support.machine import NOTHING, SUITE, Done, Hapkg, find_configuration, find_leftovers
from tests.support.miniature import Miniature, add_stack
from tests.support.shared import make_once


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs root and schroot."""
    for item in items:
        if Path(__file__).parent in Path(item.path).parents:
            item.add_marker("chroot")


@dataclass(frozen=True, kw_only=True)
class Built:
    """The miniature after its first build-all."""

    project: Miniature
    hapkg: Hapkg
    run: Done

    def deb(self, name: str) -> Path:
        """The file of a binary package."""
        (found,) = [
            path for outcome in self.run.outcomes.values() for path in self.hapkg.folder(outcome).glob(f"{name}_*.deb")
        ]
        return found


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder with a short path on a real disk: chroots are large, and overlays want a plain file system below."""
    assert os.geteuid() == 0, "these tests make chroots and accounts: make test runs them as root"
    folder = Path(tempfile.mkdtemp(prefix="hapkg-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def stack(place: Path) -> Miniature:
    """The project whose recipes belong together."""
    project = Miniature.create(place / "stack", suite=SUITE)
    add_stack(project)
    return project


@pytest.fixture(scope="session")
def base(shared: Path, stack: Miniature) -> Path:
    """A state folder with a base chroot, to be copied: made once in a run, and unknown to schroot."""

    def make(folder: Path) -> None:
        Hapkg(project=stack.root, cache=folder, home=shared / "home").succeed("chroot", "create")
        for file in find_configuration(folder):
            file.unlink()

    return make_once(shared / "base", make)


@pytest.fixture(scope="session")
def hapkg(place: Path, base: Path, stack: Miniature) -> Iterator[Hapkg]:
    """hapkg with a cache that has a base chroot; at the end nothing of it is left on the machine."""
    program = Hapkg(project=stack.root, cache=place / "cache", home=place / "home")
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(program.cache)], check=True)
    schroot.write_configuration(State(program.cache), Suite(SUITE))
    name = program.chroot
    yield program
    program.end()
    left = find_leftovers(name, program.cache)
    program.succeed("chroot", "rm", SUITE)
    assert left == NOTHING
    assert find_leftovers(name, program.cache) == NOTHING
    assert [str(file) for file in Path("/etc/schroot").rglob(f"*{name}*")] == []
    assert not (program.cache / "chroots" / SUITE).exists()


@pytest.fixture(scope="session")
def built(hapkg: Hapkg, stack: Miniature) -> Built:
    """The stack, built once. Tests only look at it."""
    return Built(project=stack, hapkg=hapkg, run=hapkg.succeed("build-all", "--json"))


@pytest.fixture
def project(tmp_path: Path) -> Miniature:
    """A project of the test's own, without recipes."""
    return Miniature.create(tmp_path / "project", suite=SUITE)
