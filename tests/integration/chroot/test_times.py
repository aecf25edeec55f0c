"""When the parts of a build happen, and what is told of it afterwards."""

from __future__ import annotations

import json
import re
import signal
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from hapkg.chroot.base import ARCHIVES
from hapkg.programs import process
from tests.integration.chroot.conftest import Built
from tests.support.machine import NOTHING, SUITE, Done, Hapkg, count_asleep, find_leftovers, wait_until
from tests.support.miniature import Miniature, make_plain_source, make_sleeper

PHASES = ("fetch", "source", "layer", "dependencies", "unpack", "configure", "compile", "test", "package", "lint")


def test_what_waits_for_another_source_has_everything_else_ready(hapkg: Hapkg, project: Miniature) -> None:
    program = hapkg.on(project.root)
    project.add("slow", make_sleeper())
    project.add("quick", make_plain_source(), build_depends=["ha-slow", "gperf"])  # no layer of other tests has it
    running = program.start("build-all", "--no-lintian")
    running.wait_for("^ha-quick: wait$")
    wait_until(lambda: count_asleep(hapkg.chroot) == 1, "build asleep", seconds=300)
    told = [line for line in running.stderr.read_text().splitlines() if line.startswith("ha-quick")]
    assert told == [f"ha-quick: {phase}" for phase in ("fetch", "source", "layer", "wait")]
    notes = {file: json.loads(file.read_text()) for file in (hapkg.cache / "layers").glob("*.json")}
    (layer,) = [file.with_suffix("") for file, note in notes.items() if "gperf" in note["packages"]]
    made = layer.stat().st_ctime_ns
    assert running.stop(signal.SIGINT).status == 130
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING
    project.add("slow", make_plain_source())
    done = program.succeed("build-all", "--no-lintian", "--json")
    assert done.endings == {"ha-slow": "built", "ha-quick": "built"}
    assert layer.stat().st_ctime_ns == made, "the guess was right: its build uses that layer"


def test_what_nobody_waits_for_gives_way_to_the_longest_chain(hapkg: Hapkg, project: Miniature) -> None:
    tell = ["nice"]
    project.add("below", make_plain_source(build=tell))
    project.add("above", make_plain_source(build=tell), build_depends=["ha-below"])
    project.add("aside", make_plain_source(build=tell))
    program = hapkg.on(project.root)
    done = program.succeed("build-all", "--no-lintian", "--jobs", "2", "--json")
    logs = {name: (program.folder(outcome) / "build.log").read_text() for name, outcome in done.outcomes.items()}
    told = {name: re.findall(r"^nice\n(\d+)$", log, re.MULTILINE) for name, log in logs.items()}
    assert told == {"ha-below": ["0"], "ha-above": ["0"], "ha-aside": [str(process.NICE)]}


def test_lintian_gives_way_as_long_as_a_source_waits_for_another(hapkg: Hapkg, project: Miniature) -> None:
    project.add("judged-first", make_plain_source())
    project.add("judged-second", make_plain_source(), build_depends=["ha-judged-first"])
    project.add("judged-third", make_plain_source(), build_depends=["ha-judged-second"])
    running = hapkg.on(project.root).start("build-all", "--json")
    told: dict[str, int] = {}
    while running.process.poll() is None:
        told |= find_lintian()
        time.sleep(0.02)
    assert running.finish().status == 0
    assert told == {"ha-judged-first": process.NICE, "ha-judged-second": 0, "ha-judged-third": 0}


def find_lintian() -> dict[str, int]:
    """The sources of one test that lintian looks at just now, and its nice value for each."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            said = (folder / "cmdline").read_text(errors="replace").replace("\0", " ")
            nice = (folder / "stat").read_text(errors="replace").rpartition(") ")[2].split()[16]
        except OSError:
            continue  # it has ended
        if match := re.search(r"/lintian .*?\b(ha-judged-[a-z]+)_", said):
            found[match[1]] = int(nice)
    return found


def test_what_cannot_begin_early_fails_in_its_turn_alone(hapkg: Hapkg, project: Miniature) -> None:
    project.add("lowest", make_plain_source())
    project.add("lost", make_plain_source(), build_depends=["ha-lowest", "libnowhere-dev"])
    project.add("missing", make_plain_source(), build_depends=["ha-lowest"])
    (project.root / "upstream/missing-1.0.tar.gz").unlink()
    done = hapkg.on(project.root).run("build-all", "--no-lintian", "--keep-going", "--json")
    assert done.endings == {"ha-lowest": "built", "ha-lost": "failed", "ha-missing": "failed"}
    assert {name: outcome["fault"] for name, outcome in done.outcomes.items()} == {
        "ha-lowest": None,
        "ha-lost": "recipe",
        "ha-missing": "network",
    }


@pytest.fixture(scope="module")
def again(built: Built) -> Done:
    """The last run there is: it built ha-one again, whatever other tests built since the first one."""
    built.hapkg.succeed("clean", "one")
    return built.hapkg.succeed("build-all", "--json")


def test_a_run_tells_where_its_time_went(built: Built, again: Done, tmp_path: Path) -> None:
    assert again.endings["ha-one"] == "built"
    picture = tmp_path / "run.svg"
    shown = built.hapkg.succeed("times", "--svg", str(picture))
    head, *rows = (line.split() for line in shown.stdout.partition("\n\n")[0].splitlines())
    assert set(PHASES) <= set(head)
    table = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    for phase in ("configure", "compile", "test", "package", "layer"):
        assert float(table["ha-one"][phase]) >= 0
    assert float(table["ha-one"]["configure"]) > 0
    assert table["ha-one"]["memory"].endswith("MiB")
    path = shown.stdout.partition("critical path: ")[2].splitlines()[0].split(" -> ")
    assert path[-1] in table
    assert "wall time: " in shown.stdout
    tree = ET.parse(picture).getroot()
    titles = [str(title.text) for title in tree.iter("{http://www.w3.org/2000/svg}title")]
    for phase in ("configure", "compile", "test", "package"):
        assert any(title.startswith(f"ha-one: {phase}, ") for title in titles)
    told = json.loads(built.hapkg.succeed("times", "--json").stdout)
    assert told["suite"] == SUITE
    assert "ha-one" in [source["source"] for source in told["sources"] if source["ending"] == "built"]


def test_a_build_records_the_memory_it_held(built: Built, again: Done) -> None:
    outcome = again.outcomes["ha-one"]  # its configure alone takes longer than a second
    artifact = json.loads((built.hapkg.folder(outcome) / "artifact.json").read_text())
    assert 1 << 20 < artifact["memory"] < 4 << 30
    assert outcome["memory"] == artifact["memory"]


def add_waiting(project: Miniature, name: str, change: str, *needs: str) -> None:
    """A source whose build goes on when a file of its name lies among the downloaded packages, which it sees."""
    wait = f"until [ -e {ARCHIVES}/go-{name} ]; do sleep 0.1; done"
    project.add(name, make_plain_source(build=[wait], README=change), build_depends=list(needs))


def test_a_build_that_holds_more_memory_than_there_is_waits_for_the_others(hapkg: Hapkg, project: Miniature) -> None:
    program = hapkg.on(project.root)
    run = ("build-all", "--no-lintian", "--jobs", "2", "--json")
    gates = {name: hapkg.cache / "archives" / SUITE / f"go-{name}" for name in ("first", "hungry", "other")}
    try:
        for gate in gates.values():
            gate.touch()
        add_waiting(project, "first", "One.\n")
        add_waiting(project, "hungry", "One.\n", "ha-first")
        hungry = program.folder(program.succeed(*run).outcomes["ha-hungry"]) / "artifact.json"
        hungry.write_text(json.dumps({**json.loads(hungry.read_text()), "memory": 1 << 60}))
        add_waiting(project, "first", "Two.\n")
        add_waiting(project, "hungry", "Two.\n", "ha-first")
        add_waiting(project, "other", "Two.\n")
        gates["first"].unlink()
        gates["other"].unlink()
        running = program.start(*run)
        running.wait_for("^ha-other: compile$")
        gates["first"].touch()
        running.wait_for(r"^ha-first: check\n(.*\n)*ha-hungry: layer\n(.*\n)*ha-hungry: wait$")
        gates["other"].touch()
        done = running.finish()
    finally:
        for gate in gates.values():
            gate.unlink(missing_ok=True)
    assert done.endings == {"ha-first": "built", "ha-other": "built", "ha-hungry": "built"}
    told = done.stderr.splitlines()
    assert told.index("ha-hungry: dependencies") > told.index("ha-other: check")


def test_a_place_is_kept_for_the_longest_chain(hapkg: Hapkg, project: Miniature) -> None:
    # What no other test builds: by what was measured the longest chain may be another one.
    names = ("kept-below", "kept-above", "kept-aside", "kept-beside")
    gates = {name: hapkg.cache / "archives" / SUITE / f"go-{name}" for name in names}
    add_waiting(project, "kept-below", "One.\n")
    add_waiting(project, "kept-above", "One.\n", "ha-kept-below")
    add_waiting(project, "kept-aside", "One.\n")
    add_waiting(project, "kept-beside", "One.\n")
    try:
        running = hapkg.on(project.root).start("build-all", "--no-lintian", "--jobs", "2", "--json")
        running.wait_for(r"^ha-kept-beside: wait$")
        running.wait_for(r"^ha-kept-below: compile$")
        running.wait_for(r"^ha-kept-aside: compile$")
        gates["kept-below"].touch()
        running.wait_for(r"^ha-kept-above: compile$")
        for gate in gates.values():
            gate.touch()
        done = running.finish()
    finally:
        for gate in gates.values():
            gate.unlink(missing_ok=True)
    assert set(done.endings.values()) == {"built"}
    told = done.stderr.splitlines()
    assert told.index("ha-kept-above: compile") < told.index("ha-kept-beside: dependencies")


def test_clean_all_leaves_nothing_but_base_chroots(hapkg: Hapkg, place: Path) -> None:
    program = Hapkg(project=hapkg.project, cache=place / "full", home=hapkg.home)
    for name in ("resolved", "runs", "sources", "archives", "logs", "failed"):
        (program.cache / name).mkdir(parents=True)
        (program.cache / name / "1.json").write_text("{}")
    layers = program.cache / "layers"
    (layers / "ab" / "root").mkdir(parents=True)
    (layers / "ab" / "root" / "file").write_text("of root")
    (layers / "ab" / "listing").write_text("all")
    (layers / "ab.json").write_text('{"packages": {}, "bytes": 1}')
    (layers / ".new-cd").mkdir()
    program.succeed("clean")
    assert (layers / "ab" / "root" / "file").exists()
    assert not (layers / ".new-cd").exists()
    (program.cache / "failed/1.json").parent.mkdir()
    (program.cache / "failed/1.json").write_text("{}")
    before = sorted(program.cache.rglob("*"))
    told = program.succeed("clean", "--all", "--dry-run")
    for words in ("folder failed ", "folder sources ", "layer ab "):
        assert re.search(f"^{words}", told.stdout, re.MULTILINE), told.stdout
    assert told.stderr.startswith("would free ") and sorted(program.cache.rglob("*")) == before
    assert program.succeed("clean", "--all").stderr.startswith("freed ")
    left = [path for path in program.cache.rglob("*") if path.is_file() and not path.name.startswith("lock")]
    assert left == []
    assert list(layers.iterdir()) == []
