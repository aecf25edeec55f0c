"""Files that travel through a place by their content."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.cache.entry import CachedFile, find_blob_path
from hapkg.cache.files import bring_files, put_files
from hapkg.cache.place import FolderPlace
from hapkg.errors import FetchError, IntegrityError


@pytest.fixture
def place(tmp_path: Path) -> FolderPlace:
    """An empty place."""
    return FolderPlace(tmp_path / "place")


@pytest.fixture
def put(place: FolderPlace, tmp_path: Path) -> dict[str, CachedFile]:
    """Two files in the place."""
    files = [tmp_path / "a.deb", tmp_path / "b.dsc"]
    for file in files:
        file.write_text(f"content of {file.name}")
    return put_files(place, files)


def test_files_come_out_as_they_went_in(place: FolderPlace, put: dict[str, CachedFile], tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    bring_files(place, put, target, what="the order")
    assert {file.name: file.read_text() for file in target.iterdir()} == {
        "a.deb": "content of a.deb",
        "b.dsc": "content of b.dsc",
    }


def test_a_file_that_is_absent_is_named(place: FolderPlace, put: dict[str, CachedFile], tmp_path: Path) -> None:
    place.remove(find_blob_path(put["b.dsc"].sha256))
    with pytest.raises(FetchError, match=r"the order lacks b\.dsc"):
        bring_files(place, put, tmp_path, what="the order")


@pytest.mark.parametrize("content", [b"content of b.dsC", b"short"])
def test_a_file_of_another_content_is_not_left(
    place: FolderPlace, put: dict[str, CachedFile], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "place" / find_blob_path(put["b.dsc"].sha256)).write_bytes(content)
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(IntegrityError, match=r"the order has another b\.dsc"):
        bring_files(place, put, target, what="the order")
    assert not (target / "b.dsc").exists()


def test_a_longer_file_is_not_read_to_its_end(place: FolderPlace, put: dict[str, CachedFile], tmp_path: Path) -> None:
    (tmp_path / "place" / find_blob_path(put["a.deb"].sha256)).write_bytes(b"x" * (4 << 20))
    with pytest.raises(FetchError, match="more than"):
        bring_files(place, put, tmp_path, what="the order")
