"""A cache is listed, verified and pruned; a file outlives the last entry that names it by a day."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hapkg.cache.entry import MOST_BYTES
from hapkg.cache.upkeep import DAY, list_entries, prune, verify
from tests.unit.cache.conftest import Shared


def age(root: Path, days: float) -> None:
    for file in root.rglob("*"):
        os.utime(file, (time.time() - days * DAY,) * 2)


def test_entries_are_listed_and_verified(shared: Shared) -> None:
    trusted = (shared.key.fingerprint,)
    (row,) = list_entries(shared.place, trusted)
    assert row.entry is not None
    assert (row.key, row.entry.source, row.signer, row.fault) == (
        shared.artifact.key,
        "ha-one",
        shared.key.fingerprint,
        "",
    )
    assert [fault for _, fault in verify(shared.place, trusted)] == [""]
    (row,) = list_entries(shared.place, (shared.other.fingerprint,))
    assert "build-cache-trust does not name" in row.fault
    name = "ha-one_1.2-1+ha12.1_amd64.deb"
    shared.blob(name).write_text("poison")
    assert [fault for _, fault in verify(shared.place, trusted)] == [f"has another {name} than it names"]
    shared.blob(name).unlink()
    assert [fault for _, fault in verify(shared.place, trusted)] == [f"lacks {name}"]


def test_what_nobody_pushed_for_long_goes_and_its_files_a_day_later(shared: Shared) -> None:
    files = len(shared.artifact.files) + 1
    age(shared.root, 20)
    assert prune(shared.place, 30) == (0, 0)
    age(shared.root, 31)
    assert prune(shared.place, 30) == (1, 0)
    assert not shared.entry.exists()
    assert len(list((shared.root / "blobs").rglob("*/*"))) == files
    assert prune(shared.place, 30) == (0, 0)
    age(shared.root, 1.1)
    assert prune(shared.place, 30) == (0, files)


def test_files_of_an_upload_that_is_under_way_stay(shared: Shared) -> None:
    shared.entry.unlink()
    assert prune(shared.place, 0) == (0, 0)
    assert shared.blob("lintian.txt").exists()


def test_files_of_others_stay_though_their_key_is_not_trusted(shared: Shared) -> None:
    age(shared.root / "blobs", 100)
    assert prune(shared.place, 30) == (0, 0)
    assert list_entries(shared.place, ()) is not None
    assert shared.blob("lintian.txt").exists()


def test_no_file_goes_where_an_entry_cannot_be_read(shared: Shared) -> None:
    """Nobody knows which files are that entry's own."""
    age(shared.root, 31)
    with shared.entry.open("r+b") as file:
        file.truncate(MOST_BYTES + 1)
    age(shared.root, 31)
    assert prune(shared.place, 30) == (0, 0)
    assert shared.entry.exists()
    assert shared.blob("lintian.txt").exists()
