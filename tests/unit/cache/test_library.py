"""Builds that were pushed are found and brought whole; whatever else lies in a cache is not used, and named."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hapkg.build.context import CacheAnswer
from hapkg.build.plan import make_key
from hapkg.build.store import Artifact, Store
from hapkg.cache.entry import find_entry_path, find_key_path
from hapkg.cache.library import BuildCache, SampledBuilds, push, push_builds
from hapkg.cache.place import FolderPlace, WebPlace
from hapkg.chroot.layer import LayerOffer
from hapkg.chroot.schroot import Chroot
from hapkg.control import SourceName, Suite
from hapkg.errors import FetchError, IntegrityError
from tests.support.harm import lengthen, poison, truncate
from tests.unit.cache.conftest import SOURCE, SUITE, Shared, make_build


def test_a_build_that_was_pushed_is_brought_with_all_its_files(shared: Shared, tmp_path: Path) -> None:
    cache = shared.open()
    found = cache.find(shared.artifact.key, SOURCE, SUITE)
    assert found.note == ""
    assert found.artifact is not None
    assert found.artifact.signer == shared.key.fingerprint
    target = tmp_path / "target"
    target.mkdir()
    stored = shared.here.add_build(cache.bring(found.artifact, target), target)
    shared.here.verify(stored)
    assert stored.log.read_text() == shared.artifact.log.read_text()
    for name in ("version", "inputs", "files", "packages", "origin", "seconds"):
        assert getattr(stored, name) == getattr(shared.artifact, name)
    assert stored in shared.here.list_builds()


def test_what_nobody_pushed_is_not_there_and_needs_no_words(shared: Shared) -> None:
    assert shared.open().find("0" * 64, SOURCE, SUITE).note == ""
    assert BuildCache(FolderPlace(shared.root / "none"), ("A" * 40,), shared.here.state).find("0" * 64, SOURCE, SUITE) \
        .artifact is None  # fmt: skip


def change(file: Path, **keys: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **keys}))


def sign_by_another(shared: Shared) -> None:
    push(shared.place, shared.artifact, shared.other)


def claim_another(shared: Shared) -> None:
    sign_by_another(shared)
    change(shared.entry, signer=shared.key.fingerprint)


def change_text(shared: Shared) -> None:
    text = json.loads(shared.entry.read_text())["entry"]
    change(shared.entry, entry=text.replace("libc6", "libc7"))


def change_key(shared: Shared) -> None:
    other = shared.root / find_key_path(shared.other.fingerprint)
    sign_by_another(shared)
    other.replace(shared.root / find_key_path(shared.key.fingerprint))
    change(shared.entry, signer=shared.key.fingerprint)


def cut_off(shared: Shared) -> None:
    shared.entry.write_bytes(shared.entry.read_bytes()[:-40])


def put_a_link(shared: Shared) -> None:
    kept = shared.entry.rename(shared.root / "kept")
    shared.entry.symlink_to(kept)


def put_a_foreign_entry(shared: Shared) -> None:
    """Put an entry that is signed well, of another build, in its place."""
    inputs = {"upstream": "6.6.6"}
    other = make_build(Store(root=shared.root.parent / "more"), shared.root.parent / "made-more")
    push(shared.place, other.__class__(**{**vars(other), "key": make_key(inputs), "inputs": inputs}), shared.key)
    (shared.root / find_entry_path(make_key(inputs))).replace(shared.entry)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (sign_by_another, "which build-cache-trust does not name"),
        (claim_another, "has no good signature"),
        (change_text, "has no good signature"),
        (change_key, "whose key is not there"),
        (cut_off, "is damaged"),
        (put_a_link, "cannot be read"),
        (put_a_foreign_entry, "is of another key"),
    ],
)
def test_an_entry_that_is_not_as_it_was_signed_is_not_used_and_named(
    shared: Shared, harm: Callable[[Shared], None], told: str
) -> None:
    harm(shared)
    found = shared.open().find(shared.artifact.key, SOURCE, SUITE)
    assert found.artifact is None
    assert told in found.note
    assert str(shared.root) in found.note


@pytest.mark.parametrize(("source", "suite"), [("ha-two", SUITE), (SOURCE, "trixie")])
def test_an_entry_of_another_source_or_suite_is_not_used(shared: Shared, source: str, suite: str) -> None:
    found = shared.open().find(shared.artifact.key, SourceName(source), Suite(suite))
    assert found.artifact is None
    assert "is of 'ha-one' for 'bookworm'" in found.note


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (poison, "has another ha-one_1.2-1+ha12.1_amd64.deb than it names"),
        (truncate, "has another ha-one_1.2-1+ha12.1_amd64.deb than it names"),
        (lengthen, "has more than"),
        (Path.unlink, "lacks ha-one_1.2-1+ha12.1_amd64.deb"),
    ],
)
def test_a_file_that_is_not_the_signed_one_is_never_stored_and_named(
    shared: Shared, tmp_path: Path, harm: Callable[[Path], None], told: str
) -> None:
    harm(shared.blob("ha-one_1.2-1+ha12.1_amd64.deb"))
    cache = shared.open()
    found = cache.find(shared.artifact.key, SOURCE, SUITE)
    assert found.artifact is not None
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises((FetchError, IntegrityError)) as refusal:
        cache.bring(found.artifact, target)
    assert told in str(refusal.value.brief)


def test_a_push_mends_a_poisoned_file(shared: Shared, tmp_path: Path) -> None:
    deb = shared.blob("ha-one_1.2-1+ha12.1_amd64.deb")
    poison(deb)
    push(shared.place, shared.artifact, shared.key)
    assert deb.read_bytes() == shared.artifact.paths(".deb")[0].read_bytes()


def test_an_entry_that_is_older_than_the_one_before_is_not_used(
    shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = shared.entry.read_bytes()
    monkeypatch.setattr("hapkg.cache.library.time.time", lambda: 4_000_000_000)
    push(shared.place, shared.artifact, shared.key)
    cache = shared.open()
    found = cache.find(shared.artifact.key, SOURCE, SUITE)
    assert found.artifact is not None
    (tmp_path / "target").mkdir()
    cache.bring(found.artifact, tmp_path / "target")
    assert shared.open().find(shared.artifact.key, SOURCE, SUITE).artifact is not None
    shared.entry.write_bytes(old)
    found = shared.open().find(shared.artifact.key, SOURCE, SUITE)
    assert found.artifact is None
    assert "is older than the one that was used before" in found.note


def test_only_what_was_built_here_with_tests_is_pushed_and_once(shared: Shared, tmp_path: Path) -> None:
    place, trusted = FolderPlace(tmp_path / "new"), (shared.key.fingerprint,)
    own = shared.artifact
    untested = own.__class__(**{**vars(own), "inputs": {"tests": "left out"}})
    brought = own.__class__(**{**vars(own), "signer": shared.other.fingerprint})
    assert list(push_builds(place, [untested, brought], shared.key, trusted)) == []
    assert list(push_builds(place, [own], shared.key, trusted)) == [own]
    assert list(push_builds(place, [own], shared.key, trusted)) == []


def test_a_build_that_was_changed_in_the_store_is_not_pushed(shared: Shared, tmp_path: Path) -> None:
    truncate(shared.artifact.paths(".deb")[0])
    with pytest.raises(IntegrityError):
        push(FolderPlace(tmp_path / "new"), shared.artifact, shared.key)
    assert not (tmp_path / "new" / find_entry_path(shared.artifact.key)).exists()


def test_a_cache_is_read_from_a_web_server(shared: Shared, tmp_path: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(shared.root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            place = WebPlace(f"http://127.0.0.1:{server.server_port}/")
            cache = BuildCache(place, (shared.key.fingerprint,), shared.here.state)
            assert cache.find("0" * 64, SOURCE, SUITE).note == ""
            found = cache.find(shared.artifact.key, SOURCE, SUITE)
            assert found.artifact is not None
            (tmp_path / "target").mkdir()
            cache.bring(found.artifact, tmp_path / "target")
        finally:
            server.shutdown()
            thread.join()
    cache = BuildCache(place, (shared.key.fingerprint,), shared.here.state)
    for key in (shared.artifact.key, "0" * 64):
        found = cache.find(key, SOURCE, SUITE)
        assert found.artifact is None
        assert found.note.startswith(f"the build cache {place} cannot be read: ")


def test_the_entry_is_written_last(shared: Shared, tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "new")
    written: list[str] = []

    class Watched:
        def write(self, path: str, file: Path) -> None:
            written.append(path)
            place.write(path, file)

        def __getattr__(self, name: str) -> Any:
            return getattr(place, name)

    push(Watched(), shared.artifact, shared.key)
    assert written[-1] == find_entry_path(shared.artifact.key)


def test_a_sample_has_its_size_and_is_the_same_within_a_run_alone(shared: Shared) -> None:
    found = shared.open().find(shared.artifact.key, SOURCE, SUITE)

    class Full:
        """A cache that has every build."""

        def find(self, key: str, source: SourceName, suite: Suite) -> CacheAnswer:
            return found

        def bring(self, artifact: Artifact, target: Path) -> Artifact:
            return artifact

        notes = ()

        def bring_base(self, suite: Suite, *, further: str, pinned: str) -> Chroot | None:
            return None

        def offer_layer(self, base: Chroot, key: str) -> LayerOffer | None:
            return None

    def choose(percent: int, run: SampledBuilds | None = None) -> set[str]:
        sampled = run or SampledBuilds(Full(), percent)
        return {key for key in map(str, range(2000)) if sampled.find(key, SOURCE, SUITE).again}

    assert (len(choose(0)), len(choose(100))) == (0, 2000)
    run = SampledBuilds(Full(), 20)
    assert choose(20, run) == choose(20, run)
    assert choose(20, run) != choose(20)
    assert 200 < len(choose(20, run)) < 600  # 400 with a deviation of 18
    assert not SampledBuilds(shared.open(), 100).find("0" * 64, SOURCE, SUITE).again
