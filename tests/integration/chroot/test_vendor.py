"""Locks of the base, and folders of all that a suite is built from: what is collected, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.integration.chroot.conftest import Built
from tests.support.machine import SUITE, Hapkg
from tests.support.miniature import make_plain_source


@dataclass(frozen=True, kw_only=True)
class Collected:
    """A project that is locked, what was collected for it, and a machine that has nothing yet."""

    project: Path
    folder: Path
    bare: Hapkg

    @property
    def lock(self) -> Path:
        """The lock of the base."""
        return self.project / "locks" / f"{SUITE}.base.toml"

    @property
    def manifest(self) -> Path:
        """The list of what was collected."""
        return self.folder / f"{SUITE}.json"


@pytest.fixture(scope="module")
def collected(built: Built, place: Path) -> Collected:
    """The miniature, locked in a copy of its project and collected once. Tests change copies."""
    project, folder = place / "locked", place / "collected"
    shutil.copytree(built.project.root, project)
    program = built.hapkg.on(project)
    program.succeed("lock")
    program.succeed("lock", "--base")
    program.succeed("vendor", str(folder))
    bare = replace(program, cache=place / "bare", started=[])
    return Collected(project=project, folder=folder, bare=bare)


def test_a_lock_of_the_base_has_every_package_once_and_the_same_bytes_again(built: Built, collected: Collected) -> None:
    before = collected.lock.read_bytes()
    built.hapkg.on(collected.project).succeed("lock", "--base")
    assert collected.lock.read_bytes() == before
    names = [line.partition(" ")[0] for line in before.decode().splitlines() if line.endswith("}")]
    assert len(names) == len(set(names))
    assert {"dpkg", "gcc", "debhelper"} <= set(names)


def test_what_was_collected_is_named_by_its_content(collected: Collected) -> None:
    files = json.loads(collected.manifest.read_text())["files"]
    assert {file.name: file.stat().st_size for file in (collected.folder / "sha256").iterdir()} == files


def test_collecting_again_mends_what_is_damaged(built: Built, collected: Collected) -> None:
    damaged = min((collected.folder / "sha256").iterdir(), key=lambda file: file.stat().st_size)
    whole = damaged.read_bytes()
    damaged.write_bytes(b"damaged")
    built.hapkg.on(collected.project).succeed("vendor", str(collected.folder))
    assert damaged.read_bytes() == whole


def test_an_optional_source_that_is_not_built_is_not_asked_for(
    built: Built, collected: Collected, tmp_path: Path
) -> None:
    project, folder = tmp_path / "project", tmp_path / "folder"
    shutil.copytree(collected.project, project)
    shutil.copytree(collected.folder, folder, copy_function=lambda a, b: Path(b).hardlink_to(a))
    program, miniature = built.hapkg.on(project), replace(built.project, root=project)
    miniature.add("rare", make_plain_source(), optional="its upstream is seldom there")
    program.succeed("lock", "rare")
    (locked,) = (line for line in (project / f"locks/{SUITE}.toml").read_text().split("[ha-") if line[:5] == "rare]")
    tarball = project / "upstream/rare-1.0.tar.gz"
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    assert digest in locked
    tarball.unlink()
    (built.hapkg.cache / "sources/sha256" / digest).unlink()
    program.succeed("vendor", str(folder))
    assert json.loads((folder / f"{SUITE}.json").read_text()) == json.loads(collected.manifest.read_text())


def lose_a_file(project: Path, folder: Path) -> None:
    min((folder / "sha256").iterdir()).unlink()


def change_a_file(project: Path, folder: Path) -> None:
    file = min((folder / "sha256").iterdir())
    file.unlink()  # it is a link into the folder that all share
    file.write_bytes(b"other bytes")


def leave_unfinished(project: Path, folder: Path) -> None:
    (folder / f"{SUITE}.json").unlink()


def collect_another_suite(project: Path, folder: Path) -> None:
    (folder / f"{SUITE}.json").rename(folder / "elsewhere.json")


def cut_the_list(project: Path, folder: Path) -> None:
    file = folder / f"{SUITE}.json"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[: len(content) // 2])


def change_the_lock(project: Path, folder: Path) -> None:
    lock = project / "locks" / f"{SUITE}.base.toml"
    lines = lock.read_text().splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if line.startswith("dpkg = "))
    start, _, rest = lines[number].rpartition('sha256 = "')
    lines[number] = f'{start}sha256 = "{"0" * 64}{rest[64:]}'
    lock.write_text("".join(lines))


def take_the_lock_of_another_suite(project: Path, folder: Path) -> None:
    lock = project / "locks" / f"{SUITE}.base.toml"
    lock.write_text(lock.read_text().replace(f'suite = "{SUITE}"', 'suite = "elsewhere"'))


def break_the_lock(project: Path, folder: Path) -> None:
    lock = project / "locks" / f"{SUITE}.base.toml"
    lock.write_text(lock.read_text().replace("sha256 = ", "sha = ", 1))


def lead_out_of_the_pool(project: Path, folder: Path) -> None:
    lock = project / "locks" / f"{SUITE}.base.toml"
    lock.write_text(lock.read_text().replace('path = "pool/', 'path = "pool/../../', 1))


def forget_the_lock(project: Path, folder: Path) -> None:
    (project / "locks" / f"{SUITE}.base.toml").unlink()


Spoil = Callable[[Path, Path], None]


@pytest.mark.parametrize(
    ("spoil", "status", "words"),
    [
        (lose_a_file, 7, "is missing"),
        (change_a_file, 7, "any more"),
        (leave_unfinished, 2, "is no folder that hapkg vendor has finished"),
        (collect_another_suite, 2, f"was collected for elsewhere, and not for {SUITE}"),
        (cut_the_list, 7, "is damaged"),
        (change_the_lock, 7, "lacks the package dpkg_"),
        (take_the_lock_of_another_suite, 7, "is the lock of suite 'elsewhere'"),
        (break_the_lock, 7, "sha"),
        (lead_out_of_the_pool, 7, "path"),
        (forget_the_lock, 2, f"{SUITE} is not locked"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_spoiled_folder_is_refused_before_anything_is_built(
    collected: Collected, tmp_path: Path, spoil: Spoil, status: int, words: str
) -> None:
    project, folder = tmp_path / "project", tmp_path / "folder"
    shutil.copytree(collected.project, project)
    shutil.copytree(collected.folder, folder, copy_function=lambda a, b: Path(b).hardlink_to(a))
    spoil(project, folder)
    bare = replace(collected.bare, project=project, cache=tmp_path / "state")
    done = bare.run("build-all", "--offline", "--from", str(folder))
    assert (done.status, words in done.complaint.brief) == (status, True), done.stderr
    assert not (tmp_path / "state/builds").exists() and not (tmp_path / "state/chroots").exists()


@pytest.mark.parametrize(
    ("argv", "status", "brief"),
    [
        (("build-all", "--from", "/nonexistent"), 2, "--from is for builds without a network"),
        (("lock", "--base", "three"), 2, "--base is of the whole suite, and takes no names"),
    ],
    ids=["online", "names"],
)
def test_a_wrong_command_line_is_refused(collected: Collected, argv: Sequence[str], status: int, brief: str) -> None:
    done = collected.bare.run(*argv)
    assert (done.status, done.complaint.brief) == (status, brief)


def test_a_machine_that_has_nothing_says_what_it_lacks(collected: Collected) -> None:
    done = collected.bare.run("build-all", "--offline")
    assert (done.status, "is not in the state folder" in done.complaint.brief) == (6, True)
    assert "--from DIR" in done.complaint.hint
