"""Layers of build dependencies, and which change rebuilds whom."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hapkg.layer import list_layers
from tests.chroot.machine import SUITE, Done, Hapkg
from tests.chroot.miniature import LIBRARY, PROGRAM, Miniature, make_package

LIBRARY_FILES = ["lib/libone.so.*"]
HEADER_FILES = ["include/one.h", "lib/libone.so", "lib/pkgconfig/one.pc"]
REBUILD = ("build-all", "--no-lintian", "--json")


def write_pair(project: Miniature, *, code: str = LIBRARY["one.c"]) -> None:
    """A library, and a program that is built with it."""
    header = make_package("word-dev", HEADER_FILES, section="libdevel", depends=["ha-word (= ${binary:Version})"])
    project.add(
        "word",
        {**LIBRARY, "one.c": code},
        version="1.2",
        configure=["--disable-static"],
        packages=[make_package("word", LIBRARY_FILES), header],
    )
    project.add(
        "speaker",
        PROGRAM,
        version="2.3",
        build_depends=["pkgconf", "ha-word-dev"],
        packages=[make_package("speaker", ["bin/two"])],
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    """A project whose library changes from test to test."""
    project = Miniature.create(tmp_path_factory.mktemp("pair") / "project", suite=SUITE)
    write_pair(project)
    return project


@pytest.fixture(scope="module")
def first(hapkg: Hapkg, pair: Miniature) -> Done:
    """Its first build."""
    return hapkg.on(pair.root).succeed(*REBUILD)


def read_layers(hapkg: Hapkg) -> dict[str, Path]:
    """The layers there are, by key."""
    return {layer.key: hapkg.cache / "layers" / layer.key / "root" for layer in list_layers(hapkg.cache)}


def test_a_layer_has_the_packages_of_the_archive_and_none_of_the_stack(hapkg: Hapkg, first: Done) -> None:
    assert set(first.endings.values()) <= {"built", "reused"}
    layers = list_layers(hapkg.cache)
    assert any("pkgconf" in layer.packages for layer in layers)
    assert [name for layer in layers for name in layer.packages if name.startswith("ha-")] == []
    assert all(layer.bytes > 0 for layer in layers)
    assert [path.name for path in (hapkg.cache / "layers").glob(".*")] == []


def test_a_layer_serves_every_later_build(hapkg: Hapkg, first: Done, pair: Miniature) -> None:
    program = hapkg.on(pair.root)
    before = {path: path.stat().st_ctime_ns for path in read_layers(hapkg).values()}
    program.succeed("clean", "speaker")
    again = program.succeed(*REBUILD)
    assert again.endings == {"ha-word": "reused", "ha-speaker": "built"}
    assert {path: path.stat().st_ctime_ns for path in read_layers(hapkg).values()} == before


@pytest.mark.parametrize("harm", ["shorter", "gone", "listing"])
def test_a_damaged_layer_is_made_anew(hapkg: Hapkg, first: Done, pair: Miniature, harm: str) -> None:
    program = hapkg.on(pair.root)
    folders = [root for root in read_layers(hapkg).values() if (root / "usr/bin/pkgconf").exists()]
    assert folders
    for root in folders:
        victim = root / "usr/bin/pkgconf"
        if harm == "shorter":
            victim.write_bytes(b"")
        elif harm == "gone":
            victim.unlink()
        else:
            (root.parent / "listing").unlink()
    program.succeed("clean", "speaker")
    assert program.succeed(*REBUILD).endings == {"ha-word": "reused", "ha-speaker": "built"}
    mended = [root / "usr/bin/pkgconf" for root in folders]  # others wait until a build wants them
    assert [
        file for file in mended if file.is_file() and file.stat().st_size and (file.parents[3] / "listing").exists()
    ]


def test_a_comment_in_a_library_rebuilds_the_library_alone(hapkg: Hapkg, first: Done, pair: Miniature) -> None:
    write_pair(pair, code=f"/* A comment of two\n   lines. */\n{LIBRARY['one.c']}")
    done = hapkg.on(pair.root).succeed(*REBUILD)
    assert done.endings == {"ha-word": "built", "ha-speaker": "reused"}


def test_other_code_in_a_library_rebuilds_whoever_uses_it(hapkg: Hapkg, first: Done, pair: Miniature) -> None:
    program = hapkg.on(pair.root)
    write_pair(pair, code=LIBRARY["one.c"].replace("return GREETING;", 'return GREETING " indeed";'))
    (word, _) = json.loads(program.succeed("plan", "--why", "--json").stdout)
    assert word["reason"] == "the source changed"
    assert [(change["input"], change["old"] != change["new"]) for change in word["changes"]] == [("source", True)]
    before = {name: outcome["version"] for name, outcome in first.outcomes.items()}
    done = program.succeed(*REBUILD)
    assert done.endings == {"ha-word": "built", "ha-speaker": "built"}
    for name, outcome in done.outcomes.items():
        number = int(outcome["version"].rpartition(".")[2])
        assert number > int(before[name].rpartition(".")[2]), name
    assert program.succeed(*REBUILD).endings == {"ha-word": "reused", "ha-speaker": "reused"}
