"""One base chroot for all tests of this folder, and one built miniature."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from hapkg.chroot import schroot
from hapkg.control import Suite
from hapkg.locations import State
from tests.support.machine import NOTHING, SUITE, Done, Hapkg, find_configuration, find_leftovers
from tests.support.miniature import Miniature, add_stack
from tests.support.shared import make_once

RUN = "run.json"
"""The run that built the stack, in the state folder that it was built in."""
STATE = "<state folder>"


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
    assert os.geteuid() == 0, "these tests make chroots and accounts: make test-chroot runs them as root"
    folder = Path(tempfile.mkdtemp(prefix="hapkg-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def stack(shared: Path) -> Miniature:
    """The project whose recipes belong together. Its recipes name its place, so there is one for all processes."""
    root = shared / "stack"

    def make(mark: Path) -> None:
        shutil.rmtree(root, ignore_errors=True)
        add_stack(Miniature.create(root, suite=SUITE))
        mark.mkdir()

    make_once(shared / "stack-is-made", make)
    return Miniature(root=root)


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest, shared: Path, stack: Miniature) -> Path:
    """A state folder to be copied, made once in a run and unknown to schroot.

    It has a base chroot, and where a test of the run looks at the built stack it has that, too.
    """
    wanted = any("built" in getattr(item, "fixturenames", ()) for item in request.session.items)

    def make(folder: Path) -> None:
        program = Hapkg(project=stack.root, cache=folder, home=shared / "home")
        program.succeed("chroot", "create")
        if wanted:
            done = program.succeed("build-all", "--json")
            (folder / RUN).write_text(json.dumps(asdict(done)).replace(str(folder), STATE))
        for file in find_configuration(folder):
            file.unlink()

    return make_once(shared / "seed", make)


@pytest.fixture(scope="session")
def hapkg(place: Path, seed: Path, stack: Miniature) -> Iterator[Hapkg]:
    """hapkg with a cache that has a base chroot; at the end nothing of it is left on the machine."""
    program = Hapkg(project=stack.root, cache=place / "cache", home=place / "home")
    subprocess.run(["cp", "-a", "--reflink=auto", str(seed), str(program.cache)], check=True)
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
    run = (hapkg.cache / RUN).read_text().replace(STATE, str(hapkg.cache))
    return Built(project=stack, hapkg=hapkg, run=Done(**json.loads(run)))


@pytest.fixture
def project(tmp_path: Path) -> Miniature:
    """A project of the test's own, without recipes."""
    return Miniature.create(tmp_path / "project", suite=SUITE)
