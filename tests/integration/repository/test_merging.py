"""Indexes that go from state to state are, to the byte, those that apt-ftparchive makes of all packages at once."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from hapkg.control import Suite
from hapkg.disk import sha256_file
from hapkg.repository.index_merge import make_indexes
from tests.support.packages import run

SUITE = Suite("bookworm")
# Names that sort in unlike ways, with what tables are made of: tabs, blanks, letters beyond ASCII, long paths.
NAMES = ("ha-a", "ha-ab", "ha-a-b", "ha-b", "ha-c1", "ha-zz", "ha-x+y")
PARTS = ("a", "ab", "a-b", "a.b", "Z", "A", "a_", "a~", "a+b", "a/b/c", "x y", "é", "opt/ha/sbin", f"usr/{'q' * 70}")


def make_package(root: Path, number: int, dice: random.Random) -> str:
    """A package with files of random names; its pool path."""
    name, tree = dice.choice(NAMES), root.parent / "tree"
    for _ in range(dice.randint(1, 9)):
        file = tree / "/".join(dice.choice(PARTS) for _ in range(dice.randint(1, 3))) / f"f{dice.randint(0, 6)}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{number}")
    (tree / "DEBIAN").mkdir()
    section = dice.choice(("", "Section: admin\n", "Section: net\n")) if name == "ha-zz" else "Section: misc\n"
    architecture = dice.choice(("amd64", "all"))
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 1.{number}\nArchitecture: {architecture}\n{section}"
        "Maintainer: test <test@hapkg.invalid>\nDescription: test\n A package of a test.\n"
    )
    component = "debug" if name == "ha-c1" else "main"
    path = f"pool/bookworm/{component}/h/{name}/{name}_1.{number}_{architecture}.deb"
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, root / path)
    shutil.rmtree(tree)
    return path


def make(root: Path, paths: set[str], before: Mapping[str, str]) -> dict[str, bytes]:
    """The index files of a state, by path below the suite's folder."""
    staging = root / ".hapkg/staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    make_indexes(root, SUITE, paths, architectures=["amd64"], new={}, before=before)
    folder = staging / "dists/bookworm"
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("seed", [1, 2])
def test_what_comes_and_goes_leaves_the_indexes_of_what_is_there(tmp_path: Path, seed: int) -> None:
    dice, root = random.Random(seed), tmp_path / "apt"
    packages = [make_package(root, number, dice) for number in range(30)]
    state = set(dice.sample(packages, 8))
    before: dict[str, str] = {}
    merged = 0
    for step in range(16):
        whole = make(root, state, {})
        found = make(root, state, before)
        assert found == whole, step
        merged += bool(before)
        shutil.rmtree(root / "dists", ignore_errors=True)
        shutil.copytree(root / ".hapkg/staging/dists", root / "dists")
        before = {path: sha256_file(root / "dists/bookworm" / path) for path in whole}
        state = state | set(dice.sample(packages, dice.randint(0, 5)))
        if step % 2:
            state -= set(dice.sample(sorted(state), dice.randint(0, 5)))
    assert merged > 10
