"""Layers of a build cache: which are offered, and why others are not. How they travel: test_build_cache.py."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from hapkg.cache.entry import CachedFile, find_blob_path
from hapkg.cache.layers import LayerEntry, SharedLayers, push_layers
from hapkg.cache.signed import write_signed
from hapkg.cache.upkeep import prune
from hapkg.chroot import layer
from hapkg.chroot.layer import LayerOffer
from hapkg.chroot.schroot import Chroot
from hapkg.chroot.transport import LayerFacts
from hapkg.records import format_record
from tests.unit.cache.conftest import SUITE, Shared

KEY, BELOW = "a" * 64, "b" * 64
FILE = CachedFile(sha256="ab" * 32, size=100)


def put(shared: Shared, *, below: str = "", other: bool = False, **facts: Any) -> None:
    """Sign a layer that was never packed, at the place of the one that is wanted."""
    entry = LayerEntry(
        suite=facts.get("suite", SUITE),
        architecture=facts.get("architecture", "amd64"),
        facts=LayerFacts(key=facts.get("key", KEY), below=below, packages={"m4": "1"}, listing="0  -\n"),
        file=CachedFile(sha256=FILE.sha256, size=facts.get("size", FILE.size)),
        made=100,
    )
    write_signed(
        shared.place, f"layers/{KEY}.json", format_record(asdict(entry)), shared.other if other else shared.key
    )


def open_layers(shared: Shared) -> SharedLayers:
    return SharedLayers(shared.place, (shared.key.fingerprint,), shared.here.state, "amd64")


def make_base(folder: Path) -> Chroot:
    return Chroot(suite=SUITE, name="base", folder=folder, digest="d", packages=1)


def test_a_cache_without_one_needs_no_words(shared: Shared, tmp_path: Path) -> None:
    layers = open_layers(shared)
    assert layers.offer(make_base(tmp_path), KEY) is None
    assert layers.notes == []


@pytest.mark.parametrize(
    ("facts", "clause"),
    [
        ({"key": BELOW}, "is of another key"),
        ({"suite": "sid"}, "is of another suite or architecture"),
        ({"architecture": "arm64"}, "is of another suite or architecture"),
        ({"size": 0}, "is larger than any layer"),
        ({"size": 1 << 40}, "is larger than any layer"),
        ({"below": KEY}, "lies on what is no layer"),
        ({"below": "../../etc"}, "lies on what is no layer"),
        ({"other": True}, "which build-cache-trust does not name"),
    ],
)
def test_a_layer_that_is_not_used_is_named_once(
    shared: Shared, tmp_path: Path, facts: dict[str, Any], clause: str
) -> None:
    put(shared, **facts)
    layers = open_layers(shared)
    for _ in range(2):
        assert layers.offer(make_base(tmp_path), KEY) is None
    (note,) = layers.notes
    assert note.startswith(f"the layer {KEY[:12]} of the build cache ")
    assert clause in note


def test_a_layer_whose_files_are_gone_is_made_here(shared: Shared, tmp_path: Path) -> None:
    put(shared)
    layers = open_layers(shared)
    offer = layers.offer(make_base(tmp_path), KEY)
    assert offer is not None
    assert offer.below == ""
    assert not offer.bring()
    assert "cannot be used" in layers.notes[0]
    assert "lacks layer.tar.zst" in layers.notes[0]
    assert list(shared.here.state.layers.iterdir()) == []


def test_a_damaged_entry_is_not_used(shared: Shared, tmp_path: Path) -> None:
    put(shared)
    (shared.root / f"layers/{KEY}.json").write_bytes(b"\xff" * 100)
    layers = open_layers(shared)
    assert layers.offer(make_base(tmp_path), KEY) is None
    assert layers.notes[0].endswith("is damaged")


def test_layers_that_lie_on_each_other_end_nowhere(shared: Shared, tmp_path: Path) -> None:
    asked: list[str] = []

    def give(_: Chroot, key: str) -> LayerOffer:
        asked.append(key)
        return LayerOffer(below=BELOW if key == KEY else KEY, bring=lambda: False)

    state, log, found = shared.here.state, io.BytesIO(), list[object]()
    ask = threading.Thread(
        target=lambda: found.append(layer._bring(state, make_base(tmp_path), KEY, log, give)), daemon=True
    )
    ask.start()
    ask.join(60)
    assert found == [None]
    assert asked == [KEY, BELOW]


def test_a_layer_that_another_machine_made_is_not_signed_anew(shared: Shared, tmp_path: Path) -> None:
    state, base = shared.here.state, make_base(tmp_path)
    (state.layers / KEY).mkdir(parents=True)
    (state.layers / KEY / "listing").write_text("0  -\n")
    note = {"base": base.digest, "suite": SUITE, "packages": {"m4": "1"}, "bytes": 4096, "below": "", "taken": True}
    (state.layers / f"{KEY}.json").write_text(json.dumps(note))
    (found,) = layer.list_layers(state)
    assert found.taken
    assert list(push_layers(shared.place, state, base, "amd64", shared.key, (shared.key.fingerprint,))) == []


def test_the_archive_of_a_layer_goes_a_day_after_its_entry(shared: Shared) -> None:
    put(shared)
    blob = shared.root / find_blob_path(FILE.sha256)
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(b"layer")
    entry = shared.root / f"layers/{KEY}.json"
    age(blob, 100)
    assert prune(shared.place, 30) == (0, 0)
    age(entry, 31)
    assert prune(shared.place, 30) == (1, 0)
    assert blob.exists(), "whoever read the entry a moment before still finds it"
    age(blob, 1.1)
    assert prune(shared.place, 30) == (0, 1)
    assert not blob.exists()


def age(file: Path, days: float) -> None:
    when = time.time() - days * 86400
    os.utime(file, (when, when))
