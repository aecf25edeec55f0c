"""ccache in builds: the same packages without it, with an empty cache and with a full one."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine import SUITE, Hapkg
from tests.support.miniature import Miniature, make_package, make_plain_library

REBUILD = ("build-all", "--no-lintian", "--json")


def read_debs(folder: Path) -> dict[str, str]:
    """Digests of the packages of a build, those with debug symbols too."""
    return {deb.name: hashlib.sha256(deb.read_bytes()).hexdigest() for deb in folder.glob("*.deb")}


def read_hits(log: Path) -> tuple[int, int]:
    """How many compilations of a build were found in its cache, and how many it asked for."""
    found = re.search(r"^Cacheable calls: .*\n +Hits: +([0-9]+) / +([0-9]+)", log.read_text(), re.MULTILINE)
    assert found, log.read_text()
    return int(found[1]), int(found[2])


@pytest.fixture
def program(hapkg: Hapkg, project: Miniature) -> Hapkg:
    """A project of one library."""
    files = ["lib/libone.so*", "include/one.h", "lib/pkgconfig/one.pc"]
    project.add("word", make_plain_library(), version="1.2", packages=[make_package("word", files)])
    return hapkg.on(project.root)


def build(program: Hapkg, *options: str) -> tuple[Path, dict[str, Any]]:
    """Build the library anew: its folder in the store, and its description."""
    program.succeed("clean", "word")
    done = program.succeed(*REBUILD, *options)
    assert done.endings == {"ha-word": "built"}
    folder = program.folder(done.outcomes["ha-word"])
    return folder, json.loads((folder / "artifact.json").read_text())


def test_a_cache_changes_how_long_a_build_takes_and_nothing_else(program: Hapkg) -> None:
    folder, plain = build(program)
    debs, layers = read_debs(folder), set((program.cache / "layers").iterdir())
    assert len(debs) == 2, "one has the debug symbols"
    assert "ccache" not in (folder / "build.log").read_text()
    assert not (program.cache / "ccache").exists()

    folder, cold = build(program, "--ccache")
    assert (cold["key"], cold["inputs"], read_debs(folder)) == (plain["key"], plain["inputs"], debs)
    hits, calls = read_hits(folder / "build.log")
    assert calls > hits
    assert set((program.cache / "layers").iterdir()) > layers, "ccache is in a layer of its own"
    kept = program.cache / "ccache" / SUITE / "ha-word.tar"
    assert kept.is_file()

    settings = program.project / "pyproject.toml"
    settings.write_text(f"{settings.read_text()}ccache = true\n")
    folder, warm = build(program)
    assert (warm["key"], warm["inputs"], read_debs(folder)) == (plain["key"], plain["inputs"], debs)
    hits, calls = read_hits(folder / "build.log")
    assert hits == calls > 1

    kept.write_bytes(b"no archive" * 1000)
    folder, mended = build(program)
    assert (mended["key"], read_debs(folder)) == (plain["key"], debs)
    assert "what was kept is damaged" in (folder / "build.log").read_text()
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    assert b"no archive" not in kept.read_bytes()
