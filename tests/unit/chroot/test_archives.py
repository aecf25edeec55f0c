"""Downloaded packages: what is fetched by apt's helper, and what of it is believed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hapkg.chroot.archives import Archive, fetch_archives
from hapkg.errors import HapkgError

CONTENT = b"a package\n" * 100


@pytest.fixture
def offered(tmp_path: Path) -> Archive:
    """A package as an index tells of it, and its file at a mirror."""
    mirror = tmp_path / "mirror/one_1.deb"
    mirror.parent.mkdir()
    mirror.write_bytes(CONTENT)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return Archive(version="1", file="one_1_all.deb", uri=f"copy:{mirror}", bytes=len(CONTENT), sha256=sha256)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "archives").mkdir()
    return tmp_path / "archives"


def fetch(archive: Archive, folder: Path) -> None:
    with (folder.parent / "log").open("wb") as log:
        fetch_archives([archive], folder, log)


HARMS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda file: None,
    "other bytes": lambda file: file.write_bytes(CONTENT[::-1]),
    "cut short": lambda file: file.write_bytes(CONTENT[:5]),
    "a folder's link": lambda file: file.symlink_to("/etc"),
    "a link that is whole": lambda file: file.symlink_to(file.parents[1] / "mirror/one_1.deb"),
}
"""Things that lie in the folder of downloaded packages under the name of one."""


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_not_whole_is_fetched(offered: Archive, folder: Path, harm: str) -> None:
    file = folder / offered.file
    HARMS[harm](file)
    fetch(offered, folder)
    assert file.read_bytes() == CONTENT
    assert not file.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in folder.iterdir()] == [offered.file]


def test_what_is_whole_is_not_fetched(offered: Archive, folder: Path) -> None:
    (folder / offered.file).write_bytes(CONTENT)
    fetch(replace(offered, uri="copy:/nonexistent"), folder)


@pytest.mark.parametrize("content", [CONTENT[::-1], CONTENT[:5], CONTENT + b"x" * (2 << 20)], ids=len)
def test_a_mirror_that_delivers_something_else_is_refused(offered: Archive, folder: Path, content: bytes) -> None:
    Path(offered.uri.removeprefix("copy:")).write_bytes(content)
    with pytest.raises(HapkgError):
        fetch(offered, folder)
    assert list(folder.iterdir()) == []
