"""Layers of build dependencies: what is found, and what goes. How they are made: test_layers.py."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hapkg.chroot import layer
from hapkg.chroot.archives import Archive
from hapkg.chroot.layer import find_layer, list_layers, make_layer_key, prune_layers, put_aside
from hapkg.chroot.schroot import Chroot
from hapkg.control import Suite
from hapkg.locations import State

DAY = 86400.0
A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def add_layer(cache: Path, key: str, *, size: int = 10, days: float = 0, below: str = "") -> None:
    """A layer that was used last so many days ago."""
    folder = cache / "layers" / key
    (folder / "root").mkdir(parents=True)
    (folder / "listing").write_text("what is in it\n")
    note = folder.with_name(f"{key}.json")
    note.write_text(json.dumps({"packages": {"m4": "1"}, "bytes": size, "below": below}))
    used = time.time() - days * DAY
    os.utime(note, (used, used))


def list_keys(cache: Path) -> list[str]:
    return [layer.key for layer in list_layers(State(cache))]


def test_layers_are_listed_by_their_last_use(tmp_path: Path) -> None:
    add_layer(tmp_path, A, days=1)
    add_layer(tmp_path, B, days=3)
    add_layer(tmp_path, C, days=2)
    assert list_keys(tmp_path) == [B, C, A]


def test_what_was_not_used_for_long_goes(tmp_path: Path) -> None:
    add_layer(tmp_path, A, days=29.9)
    add_layer(tmp_path, B, days=30.1)
    prune_layers(State(tmp_path))
    assert list_keys(tmp_path) == [A]
    assert [path.name.startswith(f".old-{B}-") for path in (tmp_path / "layers").glob(".*")] == [True]


def test_the_oldest_go_until_the_rest_is_small_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for days, key in enumerate((A, B, C)):
        add_layer(tmp_path, key, size=40, days=days)
    for most, left in ((120, [C, B, A]), (80, [B, A]), (79, [A])):
        monkeypatch.setattr(layer, "MOST_BYTES", most)
        prune_layers(State(tmp_path))
        assert list_keys(tmp_path) == left


@pytest.mark.parametrize("half", ["listing", "note", "text"])
def test_half_of_a_layer_is_none(tmp_path: Path, half: str) -> None:
    add_layer(tmp_path, A)
    note = tmp_path / "layers" / f"{A}.json"
    if half == "listing":
        (tmp_path / "layers" / A / "listing").unlink()
    elif half == "note":
        note.unlink()
    else:
        note.write_text(note.read_text()[:10])
    assert find_layer(State(tmp_path), A) is None
    assert list_layers(State(tmp_path)) == ()


def test_what_lies_on_a_layer_that_is_gone_is_none(tmp_path: Path) -> None:
    add_layer(tmp_path, A)
    add_layer(tmp_path, B, below=A)
    assert sorted(list_keys(tmp_path)) == [A, B]
    put_aside(State(tmp_path), A)
    assert find_layer(State(tmp_path), B) is None
    assert list_keys(tmp_path) == []


def test_a_layer_can_be_forgotten_twice(tmp_path: Path) -> None:
    add_layer(tmp_path, A)
    put_aside(State(tmp_path), A)
    put_aside(State(tmp_path), A)
    assert list_layers(State(tmp_path)) == ()


def test_a_key_is_that_of_base_and_packages_wherever_they_are(tmp_path: Path) -> None:
    def describe(version: str, sha256: str = "0") -> Archive:
        return Archive(version=version, file="a.deb", uri=f"http://{version}.invalid/", bytes=1, sha256=sha256)

    def key(packages: dict[str, Archive], place: str = "one", digest: str = "d") -> str:
        base = Chroot(suite=Suite("bookworm"), name=place, folder=tmp_path / place, digest=digest, packages=1)
        return make_layer_key(base, packages)

    packages = {"m4": describe("1"), "zlib1g-dev": describe("2")}
    moved = {name: replace(archive, uri="http://other.invalid/") for name, archive in reversed(packages.items())}
    assert key(packages) == key(moved, place="another")
    others = [
        key({"m4": describe("1")}),
        key({**packages, "m4": describe("2")}),
        key({**packages, "m4": describe("1", sha256="1")}),
        key(packages, digest="e"),
    ]
    assert len({key(packages), *others}) == 5
