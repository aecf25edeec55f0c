"""Build caches elsewhere: on a host over a real sshd, and in a bucket of a server that speaks S3, on the loopback."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hapkg.cache.bucket import BucketPlace
from hapkg.cache.entry import find_blob_path
from hapkg.cache.host import HostPlace
from hapkg.cache.library import BuildCache, push, push_builds
from hapkg.cache.place import Place, WritablePlace, find_place
from hapkg.cache.upkeep import DAY, list_entries, prune, verify
from hapkg.disk import sha256_file
from hapkg.errors import FetchError, IntegrityError
from tests.integration.conftest import find_port
from tests.unit.cache.conftest import SOURCE, SUITE, Shared


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """An empty cache, and hands that reach into it by another way."""

    place: WritablePlace
    put: Callable[[str, bytes], None]
    age: Callable[[float], None]
    """Makes everything there older by so many days."""


@pytest.fixture(params=["ssh", "s3"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """A cache of each kind."""
    if request.param == "ssh":
        monkeypatch.setenv("RSYNC_RSH", request.getfixturevalue("ssh"))
        folder = tmp_path / "a% far" / "cache's"

        def put_file(path: str, content: bytes) -> None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)

        def age_files(days: float) -> None:
            for file in folder.rglob("*"):
                os.utime(file, (file.stat().st_mtime - days * DAY,) * 2)

        place = find_place(f"elsewhere:{folder}", tmp_path)
        assert isinstance(place, HostPlace)
        return Elsewhere(place=place, put=put_file, age=age_files)
    client = request.getfixturevalue("bucket")

    def put_object(path: str, content: bytes) -> None:
        client.put_object(Bucket="packages", Key=f"some/cache/{path}", Body=content)

    def age_objects(days: float) -> None:
        now = time.time()
        monkeypatch.setattr("hapkg.cache.upkeep.time.time", lambda: now + days * DAY)

    place = find_place("s3://packages/some/cache/", tmp_path)
    assert isinstance(place, BucketPlace)
    return Elsewhere(place=place, put=put_object, age=age_objects)


def open_cache(place: Place, shared: Shared) -> BuildCache:
    return BuildCache(place, (shared.key.fingerprint,), shared.here.state)


def test_a_build_that_was_pushed_is_brought_with_all_its_files(
    elsewhere: Elsewhere,
    shared: Shared,
    tmp_path: Path,
) -> None:
    place, trusted, own = elsewhere.place, (shared.key.fingerprint,), shared.artifact
    assert open_cache(place, shared).find(own.key, SOURCE, SUITE).note == ""
    assert list(push_builds(place, [own], shared.key, trusted)) == [own]
    assert list(push_builds(place, [own], shared.key, trusted)) == []
    cache = open_cache(place, shared)
    assert cache.find("0" * 64, SOURCE, SUITE).note == ""
    found = cache.find(own.key, SOURCE, SUITE)
    assert found.artifact is not None, found.note
    (tmp_path / "target").mkdir()
    stored = shared.here.add_build(cache.bring(found.artifact, tmp_path / "target"), tmp_path / "target")
    shared.here.verify(stored)
    assert stored.files == own.files
    (row,) = list_entries(place, trusted)
    assert (row.key, row.fault) == (own.key, "")
    assert [fault for _, fault in verify(place, trusted)] == [""]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: b"x" * len(content), "has another"),
        (lambda content: content + b"x", "has more than"),
    ],
)
def test_a_file_that_is_not_the_signed_one_is_not_used_and_mended_by_a_push(
    elsewhere: Elsewhere,
    shared: Shared,
    tmp_path: Path,
    change: Callable[[bytes], bytes],
    told: str,
) -> None:
    place, trusted = elsewhere.place, (shared.key.fingerprint,)
    push(place, shared.artifact, shared.key)
    deb = shared.artifact.paths(".deb")[0]
    elsewhere.put(find_blob_path(sha256_file(deb)), change(deb.read_bytes()))
    cache = open_cache(place, shared)
    found = cache.find(shared.artifact.key, SOURCE, SUITE)
    assert found.artifact is not None, found.note
    (tmp_path / "target").mkdir()
    with pytest.raises((FetchError, IntegrityError), match=told):
        cache.bring(found.artifact, tmp_path / "target")
    assert list(push_builds(place, [shared.artifact], shared.key, trusted)) == [shared.artifact]
    assert [fault for _, fault in verify(place, trusted)] == [""]


def test_what_nobody_pushed_for_long_goes_and_what_was_used_stays(
    elsewhere: Elsewhere,
    shared: Shared,
) -> None:
    place = elsewhere.place
    push(place, shared.artifact, shared.key)
    files = len(shared.artifact.files) + 1
    elsewhere.age(20)
    assert prune(place, 30) == (0, 0)
    elsewhere.age(31)
    assert prune(place, 30)[0] == 1
    assert list(place.list("entries")) == []
    assert len(list(place.list("blobs"))) == files or isinstance(place, BucketPlace)
    if isinstance(place, HostPlace):
        elsewhere.age(1.1)
        assert prune(place, 30) == (0, files)
    assert list(place.list("blobs")) == []


def test_touching_makes_a_file_new(elsewhere: Elsewhere, tmp_path: Path) -> None:
    place, file = elsewhere.place, tmp_path / "file"
    file.write_bytes(b"bytes")
    place.write("blobs/ab/one", file)
    before = dict(place.list("blobs"))["blobs/ab/one"]
    time.sleep(1.1)  # a bucket counts whole seconds
    place.touch("blobs/ab/one")
    assert dict(place.list("blobs"))["blobs/ab/one"] > before
    place.touch("blobs/ab/none")
    place.remove("blobs/ab/none")
    assert list(dict(place.list("blobs"))) == ["blobs/ab/one"]
    assert place.read("blobs/ab/one", tmp_path / "copy", 5)
    assert (tmp_path / "copy").read_bytes() == b"bytes"
    with pytest.raises(FetchError, match="has more than 4 bytes"):
        place.read("blobs/ab/one", tmp_path / "copy", 4)
    place.remove("blobs/ab/one")
    assert not place.read("blobs/ab/one", tmp_path / "copy", 5)


def test_a_list_of_many_pages_is_whole(bucket: Any, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: bucket.put_object(Bucket="packages", Key=f"c/blobs/{number}"), range(100)))
    for name in ("c/blobs/a\x7fb", f"c/blobs/{'n' * 251}", "c/blobs2/other"):
        bucket.put_object(Bucket="packages", Key=name)
    place = find_place("s3://packages/c", tmp_path)
    assert isinstance(place, WritablePlace)
    assert {path for path, _ in place.list("blobs")} == {f"blobs/{number}" for number in range(100)}


def test_many_threads_share_a_place(elsewhere: Elsewhere, tmp_path: Path) -> None:
    files = []
    for number in range(10):
        file = tmp_path / f"file{number}"
        file.write_bytes(os.urandom(70_000))
        files.append(file)

    def go(file: Path) -> bool:
        elsewhere.place.write(f"tasks/{file.name}", file)
        elsewhere.place.write("tasks/all", file)
        copy = file.with_suffix(".copy")
        return elsewhere.place.read(f"tasks/{file.name}", copy, 70_000) and copy.read_bytes() == file.read_bytes()

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(go, files))
    assert {path for path, _ in elsewhere.place.list("tasks")} == {"tasks/all", *(f"tasks/{one.name}" for one in files)}


@pytest.fixture
def far(ssh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a host; find_place("elsewhere:" + it) is the place."""
    monkeypatch.setenv("RSYNC_RSH", ssh)
    folder = tmp_path / "far"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("path", ["blobs", "blobs/ab", "blobs/ab/one"])
def test_links_on_a_host_are_not_followed(far: Path, tmp_path: Path, path: str) -> None:
    place, victim = find_place(f"elsewhere:{far}", tmp_path), tmp_path / "victim"
    assert isinstance(place, WritablePlace)
    (victim / "ab").mkdir(parents=True)
    (victim / "ab/one").write_text("precious")
    (far / path).parent.mkdir(parents=True, exist_ok=True)
    (far / path).symlink_to(victim / path.removeprefix("blobs").removeprefix("/"))
    file = tmp_path / "file"
    file.write_text("other")
    for act in (
        lambda: place.read("blobs/ab/one", tmp_path / "copy", 100),
        lambda: place.write("blobs/ab/one", file),
        lambda: place.remove("blobs/ab/one"),
        lambda: place.touch("blobs/ab/one"),
    ):
        with pytest.raises(FetchError, match="is a symbolic link, or lies in one"):
            act()
    assert (victim / "ab/one").read_text() == "precious"


def test_a_host_that_greets_or_lies_is_heard_out_and_no_further(
    far: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (far / "one").write_bytes(b"bytes")
    shell = tmp_path / "shell"
    for said, told in {
        'echo welcome; echo; shift $#; exec "$real" "$@"': "",
        "echo welcome": "cannot be reached or used: welcome",
        "yes": "cannot be reached or used",
        'for word in $last; do :; done; eval "$last" | cat; yes': "has more than 5 bytes",
    }.items():
        # In the place of ssh: the last argument is the command for the host, as sshd hands it to the login shell.
        shell.write_text(
            "#!/bin/sh\nfor last; do :; done\n" + said.replace('shift $#; exec "$real" "$@"', 'exec sh -c "$last"')
        )
        shell.chmod(0o755)
        monkeypatch.setenv("RSYNC_RSH", str(shell))
        place = find_place(f"elsewhere:{far}", tmp_path)
        if told:
            with pytest.raises(FetchError, match=told):
                place.read("one", tmp_path / "copy", 5)
        else:
            assert place.read("one", tmp_path / "copy", 5)
            assert (tmp_path / "copy").read_bytes() == b"bytes"


def test_an_upload_that_is_cut_off_leaves_nothing(far: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell, file = tmp_path / "shell", tmp_path / "file"
    file.write_bytes(b"b" * 100_000)
    shell.write_text('#!/bin/sh\nfor last; do :; done\nhead -c 5000 | sh -c "$last"\n')
    shell.chmod(0o755)
    monkeypatch.setenv("RSYNC_RSH", str(shell))
    place = find_place(f"elsewhere:{far}", tmp_path)
    assert isinstance(place, WritablePlace)
    with pytest.raises(FetchError, match="did not come whole to the host"):
        place.write("blobs/one", file)
    assert [one.name for one in far.rglob("*")] == ["blobs"]


def test_a_host_that_is_not_there_is_one_clear_error(tmp_path: Path, shared: Shared) -> None:
    place = find_place(f"ssh://127.0.0.1:{find_port()}/srv/builds", tmp_path)
    with pytest.raises(FetchError, match=r"cannot be reached or used: .*refused") as caught:
        place.read("entries/one", tmp_path / "copy", 5)
    assert "see whether this works: ssh -p" in caught.value.hint
    note = open_cache(place, shared).find(shared.artifact.key, SOURCE, SUITE).note
    assert note.startswith(f"the build cache {place} cannot be read: ")


def test_a_bucket_that_is_not_there_is_one_clear_error(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = find_place("s3://missing/builds", tmp_path)
    assert isinstance(place, WritablePlace)
    file = tmp_path / "file"
    file.write_text("x")
    for act in (
        lambda: place.read("entries/one", tmp_path / "copy", 5),
        lambda: place.write("blobs/one", file),
        lambda: list(place.list("entries")),
    ):
        with pytest.raises(FetchError, match="bucket does not exist"):
            act()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{find_port()}")
    with pytest.raises(FetchError, match="cannot be reached"):
        find_place("s3://missing/builds", tmp_path).read("entries/one", tmp_path / "copy", 5)
