"""Writes that last: what a batch waits for, and when; locks with a timeout; removal of trees that others wrote."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hapkg import disk
from hapkg.disk import Batch
from hapkg.errors import BusyError


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of files and folders in the order in which they were waited for."""
    names: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return names


def test_a_batch_waits_once_and_at_its_end(tmp_path: Path, synced: list[str]) -> None:
    with Batch() as batch:
        for name in ("a", "b"):
            batch.write(tmp_path / "new" / name, name.encode())
        assert synced == []
    assert sorted(synced) == sorted(["a", "b", tmp_path.name])
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "new/a")] == [0o755, 0o644]


def test_a_file_is_on_the_disk_before_it_is_moved(tmp_path: Path, synced: list[str]) -> None:
    with Batch() as batch:
        batch.write(tmp_path / "next", b"x")
        batch.move({tmp_path / "next": tmp_path / "now"})
        assert synced == ["next"]
        synced.clear()
    assert synced == [tmp_path.name]
    assert (tmp_path / "now").read_bytes() == b"x"


def test_a_batch_that_fails_waits_for_nothing(tmp_path: Path, synced: list[str]) -> None:
    with pytest.raises(ValueError, match="stop"), Batch() as batch:
        batch.write(tmp_path / "a", b"x")
        raise ValueError("stop")
    assert synced == []


def test_a_file_that_has_its_content_is_not_touched(tmp_path: Path, synced: list[str]) -> None:
    same, other = tmp_path / "same", tmp_path / "other"
    same.write_bytes(b"x")
    other.write_bytes(b"y")
    before = same.stat()
    with Batch() as batch:
        batch.replace({same: b"x", other: b"z", tmp_path / "third": b""})
    assert (same.stat().st_ino, same.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert other.read_bytes() == b"z"
    assert sorted(synced) == sorted([".other.new", ".third.new", tmp_path.name])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["other", "same", "third"]


def test_copies_are_files_of_their_own(tmp_path: Path, synced: list[str]) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with Batch() as batch:
        batch.copy({tmp_path / "pool" / f"{number}": source for number in range(9)})
    source.write_bytes(b"changed")
    assert {file.read_bytes() for file in (tmp_path / "pool").iterdir()} == {b"x"}
    assert len(synced) == 9 + len(("pool", tmp_path.name))


def test_the_first_failure_of_many_is_raised(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"), Batch() as batch:
        batch.copy({tmp_path / f"{number}": tmp_path / "missing" for number in range(9)})


def test_a_lock_names_its_holder(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with (
        disk.lock(file, what="the house", hint="wait"),
        pytest.raises(BusyError, match=f"the house is in use by process {os.getpid()} on .* since 20"),
        disk.lock(file, what="the house", hint="wait", timeout=0.1),
    ):
        pass
    with disk.lock(file, what="the house", hint="wait"):
        pass


# Trees that others wrote

NOBODY = 65534
DEPTH = 2000


def make_deep(top: Path, depth: int = DEPTH) -> None:
    """Folders in folders, further down than a path can say, with a file in the last."""
    top.mkdir()
    current = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("folder", dir_fd=current)
        inner = os.open("folder", os.O_RDONLY | os.O_DIRECTORY, dir_fd=current)
        os.close(current)
        current = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=current))
    os.close(current)


def test_a_deep_tree_is_measured_and_removed(tmp_path: Path) -> None:
    make_deep(tmp_path / "deep")
    (tmp_path / "deep/seen").write_bytes(b"four")
    assert disk.measure_tree(tmp_path) == 4
    disk.remove_tree(tmp_path / "deep")
    assert list(tmp_path.iterdir()) == []


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("mine")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "folder").symlink_to(kept)
    (tree / "file").symlink_to(kept / "file")
    (tree / "nowhere").symlink_to("nowhere")
    os.mkfifo(tree / "fifo")
    (tmp_path / "link").symlink_to(tree)
    disk.remove_tree(tmp_path / "link")
    assert tree.is_dir()
    disk.remove_tree(tree)
    disk.remove_tree(kept / "file")
    disk.remove_tree(kept / "file")
    disk.remove_tree(tmp_path / "none/at/all")
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]


def test_what_a_killed_process_left_goes_and_hinders_nobody_where_it_cannot_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that another process fills or removes at the same moment is left for the next time."""
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    gone, filled, foreign = (
        f"x-99999999-{n}-{name}" for n, name in ((namespace, "gone"), (namespace, "filled"), (1, "b"))
    )
    for name in (gone, filled, foreign):
        (tmp_path / name).mkdir()
    rmdir = os.rmdir

    def fill(name: str, *, dir_fd: int) -> None:
        if name.endswith("filled"):
            (tmp_path / name / "new").touch()
        rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", fill)
    made = disk.make_scratch(tmp_path, "x-")
    assert sorted(tmp_path.iterdir()) == sorted([made, tmp_path / filled, tmp_path / foreign])


@pytest.mark.parametrize("mode", [0o000, 0o111, 0o444, 0o555])
def test_an_ordinary_user_removes_what_is_read_only(mode: int) -> None:
    with tempfile.TemporaryDirectory(prefix="hapkg-test-") as folder:  # pytest's own lie below one that is root's alone
        tree = Path(folder, "tree")
        for below in ("a/b", "c"):
            (tree / below).mkdir(parents=True)
            (tree / below / "file").touch(0o400)
        for below in ("a/b", "a", "c", "."):
            (tree / below).chmod(mode)
        if os.geteuid() == 0:
            for path in (Path(folder), *Path(folder).rglob("*")):
                os.chown(path, NOBODY, NOBODY)
            program = f"import os; os.setuid({NOBODY}); from hapkg import disk; from pathlib import Path; "
            program += f"disk.remove_tree(Path({str(tree)!r}))"
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")
        else:
            disk.remove_tree(tree)
        assert not tree.exists()
