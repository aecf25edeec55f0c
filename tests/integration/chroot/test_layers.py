"""Layers of build dependencies, and which change rebuilds whom."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hapkg.chroot.base import write_listing
from hapkg.chroot.layer import enter_prepared, list_layers, provide_layer, put_aside, sweep
from hapkg.chroot.resolver import resolve
from hapkg.chroot.schroot import find_chroot
from hapkg.chroot.sessions import Session
from hapkg.control import Suite
from hapkg.locations import State
from tests.support.machine import NOTHING, SUITE, Done, Hapkg, find_leftovers, find_processes, wait_until
from tests.support.miniature import (
    LIBRARY,
    SLEEP,
    Miniature,
    make_package,
    make_plain_library,
    make_plain_program,
    make_plain_source,
)

LIBRARY_FILES = ["lib/libone.so.*"]
HEADER_FILES = ["include/one.h", "lib/libone.so", "lib/pkgconfig/one.pc"]
REBUILD = ("build-all", "--no-lintian", "--json")


def write_pair(project: Miniature, *, code: str = LIBRARY["one.c"]) -> None:
    """A library, and a program that is built with it."""
    header = make_package("word-dev", HEADER_FILES, section="libdevel", depends=["ha-word (= ${binary:Version})"])
    project.add(
        "word",
        make_plain_library(code),
        version="1.2",
        packages=[make_package("word", LIBRARY_FILES), header],
    )
    project.add(
        "speaker",
        make_plain_program(),
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
    return {layer.key: hapkg.cache / "layers" / layer.key / "root" for layer in list_layers(State(hapkg.cache))}


def test_a_layer_has_the_packages_of_the_archive_and_none_of_the_stack(hapkg: Hapkg, first: Done) -> None:
    assert set(first.endings.values()) <= {"built", "reused"}
    layers = list_layers(State(hapkg.cache))
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


def find_lowest(hapkg: Hapkg) -> str:
    """The layer that all others lie on."""
    layers = list_layers(State(hapkg.cache))
    (lowest,) = {layer.below for layer in layers} & {layer.key for layer in layers if not layer.below}
    return lowest


def find_holding(hapkg: Hapkg, path: str) -> list[str]:
    """The layers in which something was installed."""
    return [key for key, root in read_layers(hapkg).items() if (root / path).exists()]


def test_what_every_source_wants_is_installed_once(hapkg: Hapkg, first: Done) -> None:
    assert find_holding(hapkg, "usr/bin/dh") == [find_lowest(hapkg)]
    assert len(list_layers(State(hapkg.cache))) > 1
    assert all("debhelper" in layer.packages for layer in list_layers(State(hapkg.cache)) if layer.below)


def test_what_many_sources_want_is_installed_once_for_these(hapkg: Hapkg, first: Done, project: Miniature) -> None:
    for name, package in (("adder", "sl"), ("boa", "boxes")):
        source = make_plain_source(build=[f"test -e /usr/share/doc/{package}", "python3 -c ''"])
        project.add(name, source, build_depends=["python3", package])
    assert hapkg.on(project.root).succeed(*REBUILD).endings == {"ha-adder": "built", "ha-boa": "built"}
    layers = {layer.key: layer for layer in list_layers(State(hapkg.cache))}
    (python,) = find_holding(hapkg, "usr/bin/python3")
    assert layers[python].below == find_lowest(hapkg)
    assert {"sl", "boxes"} <= {name for layer in layers.values() if layer.below == python for name in layer.packages}
    used = [(hapkg.cache / "layers" / f"{key}.json").stat().st_mtime for key in (python, layers[python].below)]
    assert used == sorted(used), "what lies on another one is forgotten first"


def test_a_damaged_layer_below_others_is_made_anew(hapkg: Hapkg, first: Done, project: Miniature) -> None:
    victim = hapkg.cache / "layers" / find_lowest(hapkg) / "root/usr/bin/dh"
    victim.write_bytes(b"")
    project.add("lying", make_plain_source(build=["test -e /usr/games/sl"]), build_depends=["sl"])
    assert hapkg.on(project.root).succeed(*REBUILD).endings == {"ha-lying": "built"}
    assert victim.stat().st_size


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
    assert [change["input"] for change in word["changes"] if change["old"] != change["new"]] == ["source", "sbom"]
    before = {name: outcome["version"] for name, outcome in first.outcomes.items()}
    done = program.succeed(*REBUILD)
    assert done.endings == {"ha-word": "built", "ha-speaker": "built"}
    for name, outcome in done.outcomes.items():
        number = int(outcome["version"].rpartition(".")[2])
        assert number > int(before[name].rpartition(".")[2]), name
    assert program.succeed(*REBUILD).endings == {"ha-word": "reused", "ha-speaker": "reused"}


def find_half_made(cache: Path) -> list[str]:
    return [path.name for path in (cache / "layers").glob(".*")]


def test_a_build_sees_no_dependency_of_another_one(hapkg: Hapkg, project: Miniature) -> None:
    """Both are built in one run, at the same time."""
    project.add("having", make_plain_source(build=["figlet word"]), build_depends=["figlet"])
    project.add("lacking", make_plain_source(build=["! command -v figlet"]))
    done = hapkg.on(project.root).succeed(*REBUILD, "--jobs", "2")
    assert done.endings == {"ha-having": "built", "ha-lacking": "built"}


def test_who_asks_for_the_same_layer_at_the_same_time_shares_it(hapkg: Hapkg) -> None:
    base = find_chroot(State(hapkg.cache), Suite(SUITE))
    assert base is not None
    packages = resolve(base, ("cowsay",), State(hapkg.cache), source="a test")
    together = threading.Barrier(2)

    def ask() -> tuple[str, str]:
        with tempfile.TemporaryFile() as log:
            together.wait()
            key = provide_layer(State(hapkg.cache), base, packages, log)
            log.seek(0)
            return key, log.read().decode()

    with ThreadPoolExecutor(2) as pool:
        (key, said), (other, more) = [task.result() for task in [pool.submit(ask), pool.submit(ask)]]
    assert key == other
    assert sorted(bool(text) for text in (said, more)) == [False, True], "one of them made it, the other waited"
    assert [layer.key for layer in list_layers(State(hapkg.cache)) if "cowsay" in layer.packages] == [key]
    assert provide_layer(State(hapkg.cache), base, packages, io.BytesIO()) == key


def test_what_was_prepared_once_is_kept_until_it_is_other_or_damaged(hapkg: Hapkg) -> None:
    state = State(hapkg.cache)
    base = find_chroot(state, Suite(SUITE))
    assert base is not None
    made = []

    def look(version: str) -> str:
        def prepare(session: Session) -> None:
            made.append(version)
            session.run(["sh", "-c", f"echo {version} > /srv/made"], user="root")

        with tempfile.TemporaryFile() as log:
            content = {"a thing": version}
            with enter_prepared(state, base, {}, content, prepare, "prepared", log) as session:
                return session.run(["cat", "/srv/made"]).output

    assert [look("1"), look("1"), look("2")] == ["1\n", "1\n", "2\n"]
    assert made == ["1", "2"]
    (kept,) = [layer for layer in list_layers(state) if layer.packages == {"a thing": "2"}]
    (state.layers / kept.key / "root/srv/made").write_text("3\n")
    assert look("2") == "2\n"
    assert made == ["1", "2", "2"]


@pytest.mark.parametrize("harm", ["cut short", "gone", "another package", "other bytes"])
def test_a_downloaded_package_that_is_not_as_the_index_says_is_fetched_anew(hapkg: Hapkg, harm: str) -> None:
    base = find_chroot(State(hapkg.cache), Suite(SUITE))
    assert base is not None
    packages = resolve(base, ("rolldice",), State(hapkg.cache), source="a test")
    key = provide_layer(State(hapkg.cache), base, packages, io.BytesIO())
    put_aside(State(hapkg.cache), key)
    (archive,) = (hapkg.cache / "archives" / SUITE).glob("rolldice_*.deb")
    whole = archive.read_bytes()
    if harm == "gone":
        archive.unlink()
    elif harm == "cut short":
        archive.write_bytes(whole[: len(whole) // 2])
    elif harm == "another package":
        add_file(archive, "usr/games/poison")
    else:
        archive.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert provide_layer(State(hapkg.cache), base, packages, io.BytesIO()) == key
    assert (hapkg.cache / "layers" / key / "root/usr/games/rolldice").exists()
    assert not (hapkg.cache / "layers" / key / "root/usr/games/poison").exists()
    assert archive.read_bytes() == whole


def add_file(deb: Path, path: str) -> None:
    """Put one more file into a package, which stays one that dpkg takes."""
    with tempfile.TemporaryDirectory() as tree:
        subprocess.run(["dpkg-deb", "--raw-extract", str(deb), tree], check=True)
        Path(tree, path).write_text("poison\n")
        subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, str(deb)], check=True, capture_output=True)


def test_two_recipes_with_the_same_dependencies_share_one_layer(hapkg: Hapkg, project: Miniature) -> None:
    for name in ("left", "right"):
        project.add(name, make_plain_source(build=["toilet word"]), build_depends=["toilet"])
    done = hapkg.on(project.root).succeed(*REBUILD, "--jobs", "2")
    assert done.endings == {"ha-left": "built", "ha-right": "built"}
    assert len([layer for layer in list_layers(State(hapkg.cache)) if "toilet" in layer.packages]) == 1
    logs = [(hapkg.folder(outcome) / "build.log").read_text() for outcome in done.outcomes.values()]
    assert sorted("Setting up toilet" in log for log in logs) == [False, True]


def test_a_run_that_was_killed_while_it_made_a_layer_harms_no_other(hapkg: Hapkg, project: Miniature) -> None:
    project.add("halfway", make_plain_source(), build_depends=["libxml2-dev"])  # no layer of other tests has it
    program = hapkg.on(project.root)
    # A name of its own: the log of a failed build stays, and another test's would be taken for this one's.
    log = hapkg.cache / "failed" / SUITE / "ha-halfway" / "build.log"
    hang = hapkg.cache / "chroots" / SUITE / "root/etc/apt/apt.conf.d/99hang"
    hang.write_text(f'DPkg::Post-Invoke {{ "{SLEEP}"; }};\n')  # packages are there, and apt does not come to its end
    write_listing(hapkg.cache / "chroots" / SUITE)  # else the base is one that a hand changed
    try:
        running = program.start("build", "halfway", "--no-lintian")
        wait_until(lambda: log.exists() and "Setting up" in log.read_text(), "package set up", seconds=300)
        assert running.stop(signal.SIGKILL).status == -signal.SIGKILL
    finally:
        hang.unlink()
        write_listing(hapkg.cache / "chroots" / SUITE)
    wait_until(lambda: find_processes(hapkg.chroot) == [], "end of the killed run's processes", seconds=60)
    assert len(find_half_made(hapkg.cache)) == 1
    assert [layer for layer in list_layers(State(hapkg.cache)) if "libxml2-dev" in layer.packages] == []
    assert program.succeed("build", "halfway", "--no-lintian", "--json").endings == {"ha-halfway": "built"}
    assert len([layer for layer in list_layers(State(hapkg.cache)) if "libxml2-dev" in layer.packages]) == 1
    assert find_half_made(hapkg.cache) == []
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING


def test_what_is_half_there_is_swept_and_the_rest_stays(tmp_path: Path) -> None:
    layers = tmp_path / "layers"
    for name in ("a" * 64, "b" * 64, f".new-{'c' * 64}", f".old-{'d' * 64}-1"):
        (layers / name / "root").mkdir(parents=True)
        (layers / name / "listing").write_text("")
    for name in ("a" * 64, "e" * 64):
        (layers / f"{name}.json").write_text('{"packages": {}, "bytes": 1}')
    sweep(State(tmp_path))
    assert sorted(path.name for path in layers.iterdir()) == ["a" * 64, f"{'a' * 64}.json"]
