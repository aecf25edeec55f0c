"""Writes that last: what a batch waits for, and when; locks with a timeout."""

from __future__ import annotations

import os
import stat
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
