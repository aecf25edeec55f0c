"""Durability: a full disk at any step, and files that are on the disk before the rename that publishes them."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hapkg import disk
from hapkg.disk import Batch
from hapkg.errors import MachineError, RepositoryError
from hapkg.repository import transaction
from hapkg.repository.change import PublishTarget
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.publishing import publish
from tests.support.packages import IDENTITY, Builds, Client, Issue, run, verify_here


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of two mebibytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder)
    try:
        yield folder
    finally:
        run("umount", folder)


@pytest.mark.parametrize("name", ["pool", "dists", ".hapkg"])
def test_a_folder_on_another_file_system_is_said(
    small: Path, root: Path, issue: Issue, stacks: Builds, name: str
) -> None:
    issue(stacks(1))
    (small / name).mkdir()
    run("cp", "-a", f"{root}/{name}/.", small / name)
    run("mount", "--bind", small / name, root / name)
    try:
        with pytest.raises(MachineError, match="lies on another file system") as refused:
            issue(stacks(2))
        assert "on one file system" in refused.value.hint
        assert verify_here(root).faults == ()
    finally:
        run("umount", root / name)
    issue(stacks(2))
    assert verify_here(root).faults == ()


def test_a_disk_that_is_full_sooner_or_later_leaves_what_was_published(
    small: Path, stacks: Builds, key: KeyChoice, client: Callable[[str], Client]
) -> None:
    root, ballast = small / "apt", small / "ballast"
    machine = client(
        publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [stacks(1)]).sources[0].read_text()
    )
    ends = set()
    for number, room in enumerate((0, 4, 12, 24, 40, 60, 80, 100, 120, 140, 160, 200, 300), 2):
        free = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
        ballast.write_bytes(bytes(max(0, free - room * 1024)))
        published = number - 1
        try:
            publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [stacks(number)])
            published = number
        except (MachineError, RepositoryError) as error:
            assert "disk" in f"{error.brief} {error.hint}" or "No space left" in error.brief, (room, error.details)
        ends.add(published == number)
        assert verify_here(root).faults == (), room
        assert not machine.refuses(), room
        assert machine.candidate("ha-stack") == f"1.2-{published}+ha12.0", room
        ballast.unlink()
        publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [stacks(number)])
        report = verify_here(root)
        assert (report.faults, report.unfinished, report.surplus) == ((), (), ()), room
    assert ends == {True, False}
    machine.update()
    assert machine.candidate("ha-stack") == f"1.2-{number}+ha12.0"


class FullDisk:
    """A disk with room for so many writes, from when things are put in place; the one after them ends half-way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.left: int | None = None
        self.failed: list[str] = []
        self._put, self._move, self._write = transaction._put_in_place, Batch.move, Batch.write
        monkeypatch.setattr(transaction, "_put_in_place", self.put_in_place)
        monkeypatch.setattr(Batch, "move", lambda batch, moves: self.move(batch, moves))  # noqa: PLW0108 - to be bound
        monkeypatch.setattr(Batch, "write", lambda batch, file, content: self.write(batch, file, content))  # noqa: PLW0108

    def put_in_place(self, *arguments: Any, **more: Any) -> None:
        self.left = self.room
        try:
            self._put(*arguments, **more)
        finally:
            self.left = None

    def move(self, batch: Batch, moves: dict[Path, Path]) -> None:
        if self._is_full(*list(moves.values())[-1:]):
            self._move(batch, dict(list(moves.items())[: len(moves) // 2]))
            raise OSError(errno.ENOSPC, "No space left on device")
        self._move(batch, moves)

    def write(self, batch: Batch, file: Path, content: bytes) -> None:
        if self._is_full(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        self._write(batch, file, content)

    def _is_full(self, *targets: Path) -> bool:
        if self.left == 0 and targets:
            self.failed.append("by-hash" if "by-hash" in targets[0].parts else targets[0].name)
            return True
        self.left = self.left - 1 if self.left and targets else self.left
        return False


def test_no_room_at_any_step_of_putting_in_place_leaves_what_was_published(
    root: Path, issue: Issue, stacks: Builds, client: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = client(issue(stacks(1)).sources[0].read_text())
    full = FullDisk(monkeypatch)
    for number in range(2, 30):
        full.room = number - 2
        try:
            issue(stacks(number))
            break
        except MachineError as error:
            assert "No space left on device" in error.brief
        step = full.failed[-1]
        report = verify_here(root)
        assert (report.faults, report.surplus) == ((), ()), step
        assert not machine.refuses(), step
        assert machine.candidate("ha-stack") == f"1.2-{number - 1}+ha12.0", step
        assert [file.name for file in (root / ".hapkg").glob("staging/*")] in ([], ["journal"]), step
        full.room = None
        issue(stacks(number))
        report = verify_here(root)
        assert (report.faults, report.unfinished, report.surplus) == ((), (), ()), step
    snapshot = [".00000007.signed.new", "00000008.signed", ".00000009.json.new", "00000010.json"]
    kinds = ["by-hash", full.failed[4], *snapshot, "Release", "Release.gpg", "InRelease"]
    assert full.failed == ["journal.new", "journal", "ha-stack_1.2-4+ha12.0_all.deb", *kinds]


def test_all_is_on_the_disk_before_the_rename_that_publishes_it(
    root: Path, issue: Issue, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(builds(1))
    synced: dict[int, str] = {}
    """Content of files, and times at which folders were waited for, by inode."""
    waiting: dict[Path, Path] = {}
    """Folders with a new name that may be lost, and that name."""
    fsync, rename = os.fsync, Path.replace
    seen = set()

    def compute(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def record_sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        fsync(descriptor)
        if path.is_dir():
            waiting.pop(path, None)
        else:
            synced[path.stat().st_ino] = compute(path)

    def record_rename(source: Path, target: Path) -> Path:
        public = root in target.parents and "staging" not in target.parts
        if public:
            files = [source] if source.is_file() else [file for file in source.rglob("*") if file.is_file()]
            if "cache" not in target.parts:  # which can be made anew
                for file in files:
                    assert synced.get(file.stat().st_ino) == compute(file), file
            if target.name == "InRelease":
                assert waiting == {}
            seen.add(target.relative_to(root).parts[0])
        moved = rename(source, target)
        if public:
            waiting[target.parent] = target
        return moved

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "replace", record_rename)
    issue(builds(2))
    assert waiting == {}
    assert {"pool", "dists", ".hapkg"} <= seen


def test_a_file_system_that_is_mounted_inside_is_not_entered(tmp_path: Path) -> None:
    inside = tmp_path / "tree/inside"
    inside.mkdir(parents=True)
    run("mount", "-t", "tmpfs", "tmpfs", inside)
    try:
        (inside / "file").touch()
        with pytest.raises(MachineError, match=r"tree cannot be removed: inside: a file system is mounted there"):
            disk.remove_tree(tmp_path / "tree")
        assert (inside / "file").exists()
    finally:
        run("umount", inside)
    disk.remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
