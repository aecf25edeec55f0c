"""Trees that others wrote: removed whatever their depth, modes and links, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hapkg import disk

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


@pytest.mark.parametrize("mode", [0o000, 0o111, 0o444, 0o555])
def test_an_ordinary_user_removes_what_is_read_only(mode: int) -> None:
    with tempfile.TemporaryDirectory() as folder:  # a user cannot reach pytest's own, which any pytest closes again
        remove_as_an_ordinary_user(Path(folder), mode)


def remove_as_an_ordinary_user(place: Path, mode: int) -> None:
    """Make a tree whose folders have a mode, and remove it without privileges."""
    tree = place / "tree"
    for folder in ("a/b", "c"):
        (tree / folder).mkdir(parents=True)
        (tree / folder / "file").touch(0o400)
    for folder in ("a/b", "a", "c", "."):
        (tree / folder).chmod(mode)
    if os.geteuid() == 0:
        for path in (place, *place.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        program = f"import os; os.setuid({NOBODY}); from hapkg import disk; from pathlib import Path; "
        program += f"disk.remove_tree(Path({str(tree)!r}))"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    else:
        disk.remove_tree(tree)
    assert not tree.exists()
