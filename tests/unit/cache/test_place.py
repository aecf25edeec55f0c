"""Places of a build cache: which one a setting names, what is refused, and a folder that many write at once."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hapkg.cache.bucket import BucketPlace
from hapkg.cache.host import HostPlace
from hapkg.cache.place import FolderPlace, Place, WebPlace, WritablePlace, find_place, find_writable
from hapkg.disk import sha256_file
from hapkg.errors import FetchError, UsageError


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("builds", FolderPlace, "/base/builds"),
        ("/srv/builds", FolderPlace, "/srv/builds"),
        ("farm:builds", HostPlace, "farm:builds"),
        ("ssh://one@farm:2222/srv/builds", HostPlace, "ssh://one@farm:2222/srv/builds"),
        ("s3://builds/of/ours/", BucketPlace, "s3://builds/of/ours"),
        ("https://builds.example.org/hapkg/", WebPlace, "https://builds.example.org/hapkg"),
    ],
)
def test_a_setting_names_a_place(text: str, kind: type[Place], shown: str) -> None:
    place = find_place(text, Path("/base"))
    assert type(place) is kind
    assert str(place) == shown
    assert isinstance(place, WritablePlace) is (kind is not WebPlace)


@pytest.mark.parametrize(
    "text", ["rsync://farm/builds", "farm::builds", "s3://../builds", "https:/farm/x", "ftp://farm/x", ""]
)
def test_what_names_no_place_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match="is no place for a build cache") as refusal:
        find_place(text, Path("/base"))
    assert "s3://BUCKET/PREFIX" in refusal.value.hint


def test_a_password_in_an_address_is_refused_and_not_told() -> None:
    with pytest.raises(UsageError) as refusal:
        find_place("https://one:hush@builds.example.org/hapkg", Path("/base"))
    assert "builds.example.org" in refusal.value.brief
    assert "hush" not in refusal.value.brief + refusal.value.hint


def test_many_threads_write_one_file_and_it_is_whole(tmp_path: Path) -> None:
    place, files = FolderPlace(tmp_path / "cache"), []
    for number in range(8):
        file = tmp_path / str(number)
        file.write_bytes(bytes([number]) * 3_000_000)
        files.append(file)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: place.write("blobs/one", file), files * 4))
    assert (tmp_path / "cache/blobs/one").read_bytes() in {file.read_bytes() for file in files}
    assert [path for path, _ in place.list("blobs")] == ["blobs/one"]


def test_a_folder_holds_a_file_by_its_content_and_not_by_a_link(tmp_path: Path) -> None:
    place, file = FolderPlace(tmp_path), tmp_path / "file"
    file.write_bytes(b"bytes")
    digest = sha256_file(file)
    assert place.holds("file", digest, 5)
    assert not place.holds("file", "0" * 64, 5)
    assert not place.holds("file", digest, 4)
    (tmp_path / "link").symlink_to(file)
    assert not place.holds("link", digest, 5)
    assert not place.holds("none", digest, 5)


def test_what_is_gone_is_neither_touched_nor_removed(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    place.touch("none")
    place.remove("none")
    assert list(place.list("none")) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("no folder")
    with pytest.raises(FetchError, match=re.escape(f"{tmp_path}/blobs/one cannot be written: ")):
        FolderPlace(tmp_path).write("blobs/one", tmp_path / "blobs")


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"12345")
    for name, fault in {"fifo": "is no regular file", "large": "has more than 4 bytes"}.items():
        with pytest.raises(FetchError, match=fault):
            place.read(name, tmp_path / "copy", 4)
    assert place.read("large", tmp_path / "copy", 5)
    assert not place.read("none", tmp_path / "copy", 5)


def test_an_address_is_no_place_to_put_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only read"):
        find_writable("https://example.org/builds", tmp_path)
    assert str(find_writable("builds", tmp_path)) == str(tmp_path / "builds")
