"""The longest way first, memory for it, the phases of a log, and where the time of a run went."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hapkg.build.events import Ending, Outcome, Progress
from hapkg.build.priority import (
    UNKNOWN_BYTES,
    UNKNOWN_SECONDS,
    Measured,
    find_longest,
    find_measured,
    fits,
    measure_paths,
)
from hapkg.build.store import Artifact
from hapkg.build.timings import CREATE, KEPT_RECORDS, WAIT, Recorder, follow, order_phases, pick_record, read_records
from hapkg.cli.inspect import draw
from hapkg.control import SourceName, Suite
from hapkg.errors import UsageError
from hapkg.locations import State
from hapkg.recipe.graph import make_graph
from tests.support.samples import make_node, make_nodes

A, B, C, D = (SourceName(f"ha-{letter}") for letter in "abcd")
GRAPH = make_graph(make_nodes(make_node(A), make_node(B, [A]), make_node(C, [B]), make_node(D)), package_prefix="ha-")
LOG = """\
dpkg-source: info: extracting ha-one in /build/ha-one
 debian/rules binary
. debian/exports.sh && dh binary
   dh_update_autotools_config
   debian/rules override_dh_autoreconf
make[1]: Entering directory '/build/ha-one'
dh_autoreconf
   debian/rules override_dh_auto_build
dh_auto_build --
\tmake -j2
   debian/rules override_dh_auto_test
   dh_auto_configure is not what a second call says
   dh_prep
   debian/rules override_dh_auto_install
"""


def take(seconds: dict[SourceName, float]) -> dict[SourceName, Measured]:
    return {name: Measured(seconds=took) for name, took in seconds.items()}


def test_a_way_is_as_long_as_all_that_waits_for_it() -> None:
    rest = measure_paths(GRAPH, [A, B, C, D], take({A: 1.0, B: 10.0, D: 5.0}))
    assert rest == {A: 11.0 + UNKNOWN_SECONDS, B: 10.0 + UNKNOWN_SECONDS, C: UNKNOWN_SECONDS, D: 5.0}
    assert measure_paths(GRAPH, [A, D], take({A: 1.0, D: 5.0})) == {A: 1.0, D: 5.0}


def test_tests_hold_up_nobody_but_may_be_the_end_of_the_longest_way() -> None:
    measured = {A: Measured(seconds=1.0, afterwards=30.0), B: Measured(seconds=10.0, afterwards=5.0)}
    assert measure_paths(GRAPH, [A, B], measured) == {A: 31.0, B: 15.0}
    measured[A] = Measured(seconds=1.0, afterwards=3.0)
    assert measure_paths(GRAPH, [A, B], measured) == {A: 16.0, B: 15.0}


def test_the_longest_chain_goes_from_need_to_user() -> None:
    for seconds, chain in ((11.0, (A, B, C)), (13.0, (D,))):
        measured = take({A: 1.0, B: 10.0, C: 1.0, D: seconds})
        assert find_longest(GRAPH, measure_paths(GRAPH, [A, B, C, D], measured)) == chain
    assert find_longest(GRAPH, {}) == ()


GIB = 1 << 30


@pytest.mark.parametrize(
    ("peak", "available", "running", "may"),
    [
        (2, 1, [], True),
        (2, 4, [(1, 1)], True),
        (2, 2, [(1, 1)], True),
        (3, 2, [(1, 1)], False),
        (2, 4, [(3, 0)], False),
        (2, 4, [(3, 1)], True),
        (2, 4, [(1, 3)], True),
        (2, 4, [(2, 1), (2, 0)], False),
        (2, 5, [(2, 1), (2, 0)], True),
    ],
)
def test_a_build_starts_where_its_memory_is_not_promised_to_another(
    peak: int, available: int, running: list[tuple[int, int]], may: bool
) -> None:
    assert fits(peak * GIB, available * GIB, [(expected * GIB, now * GIB) for expected, now in running]) is may


def make_artifact(source: SourceName, seconds: float, memory: int, suite: str = "bookworm") -> Artifact:
    return Artifact(
        key="key",
        source=source,
        version="1",
        suite=Suite(suite),
        architecture="amd64",
        inputs={},
        origin="a test",
        files={},
        seconds={"fetch": 1.0, "compile": seconds},
        folder=Path("/nowhere"),
        memory=memory,
    )


def test_what_a_source_took_is_known_from_its_last_build_or_from_the_records(tmp_path: Path) -> None:
    record(tmp_path, memory=5 * GIB)
    records = read_records(State(tmp_path))
    bookworm = Suite("bookworm")
    assert find_measured(bookworm, [], records) == {
        A: Measured(seconds=10.0, afterwards=8.0, memory=5 * GIB),
        B: Measured(seconds=19.0, memory=5 * GIB),
        D: Measured(seconds=5.0, memory=5 * GIB),
    }
    builds = [
        make_artifact(A, 3.0, 1),
        make_artifact(A, 4.0, GIB),
        make_artifact(B, 4.0, 0),
        make_artifact(C, 1, 1, "x"),
    ]
    found = find_measured(bookworm, builds, records)
    assert found[A] == Measured(seconds=5.0, memory=GIB)
    assert found[B] == Measured(seconds=5.0, memory=UNKNOWN_BYTES), "an older hapkg measured no memory"
    assert found[D] == Measured(seconds=5.0, memory=5 * GIB)
    assert C not in found
    assert find_measured(Suite("trixie"), builds, records) == {}


def test_what_failed_or_waited_is_no_measure(tmp_path: Path) -> None:
    record(tmp_path, Ending.FAILED)
    assert find_measured(Suite("bookworm"), [], read_records(State(tmp_path))) == {}
    recorder = Recorder(0.0, "bookworm", 2, GRAPH.needs)
    for phase, at in (("fetch", 0.0), (WAIT, 1.0), ("compile", 50.0)):
        recorder.notify(Progress(source=A, phase=phase, at=at))
    recorder.notify(Outcome(source=A, ending=Ending.BUILT, version=None, reason="", seconds=0.0, at=52.0))
    recorder.save(State(tmp_path / "other"))
    assert find_measured(Suite("bookworm"), [], read_records(State(tmp_path / "other")))[A].seconds == 3.0


def test_phases_are_read_from_the_log_and_never_go_back() -> None:
    assert list(follow(LOG.splitlines(), "unpack")) == ["configure", "compile", "package"]
    assert list(follow(LOG.splitlines(), "package")) == []


def record(cache: Path, ending: Ending = Ending.BUILT, memory: int = 0) -> Path | None:
    recorder = Recorder(100.0, "bookworm", 2, GRAPH.needs)
    for source, phase, at in (
        (A, "fetch", 100.0),
        (D, "compile", 100.0),
        (A, "compile", 102.0),
        (A, "lint", 110.0),
        (B, "compile", 111.0),
    ):
        recorder.notify(Progress(source=source, phase=phase, at=at))
    for source, at in ((D, 105.0), (A, 118.0), (B, 130.0)):
        recorder.notify(
            Outcome(
                source=source,
                ending=ending,
                version=None,
                reason="",
                seconds=0.0,
                artifact=make_artifact(source, 0.0, memory),
                at=at,
            )
        )
    return recorder.save(State(cache))


def test_a_run_is_recorded_with_its_critical_path(tmp_path: Path) -> None:
    file = record(tmp_path)
    assert file is not None
    run = pick_record(State(tmp_path), 1)
    assert (run.seconds, run.jobs) == (30.0, 2)
    assert [times.source for times in run.find_critical_path()] == [A, B]
    assert run.break_down() == {"fetch": 2.0, "compile": 27.0, "wait": 1.0}
    spans = {times.source: [(span.phase, span.start, span.end) for span in times.spans] for times in run.sources}
    assert spans[A] == [("fetch", 0.0, 2.0), ("compile", 2.0, 10.0), ("lint", 10.0, 18.0)]
    picture = draw(run)
    assert picture.count("<title>") == 1 + 5
    assert "ha-b: compile, 19.0 s" in picture


def test_a_base_chroot_that_was_made_is_part_of_the_run_and_first_on_its_critical_path(tmp_path: Path) -> None:
    recorder = Recorder(0.0, "bookworm", 2, GRAPH.needs)
    for source, phase, at in (
        ("chroot bookworm", CREATE, 0.0),
        ("chroot bookworm", "ready", 20.0),
        (A, "compile", 20.0),
    ):
        recorder.notify(Progress(source=source, phase=phase, at=at))
    recorder.notify(Outcome(source=A, ending=Ending.BUILT, version=None, reason="", seconds=0.0, at=50.0))
    recorder.save(State(tmp_path))
    run = pick_record(State(tmp_path), 1)
    assert [times.source for times in run.find_critical_path()] == ["chroot bookworm", A]
    assert run.break_down() == {"create": 20.0, "compile": 30.0, "wait": 0.0}
    assert order_phases(["compile", "fetch", "create"]) == ["create", "fetch", "compile"]
    assert "chroot bookworm: create, 20.0 s" in draw(run)


def test_memory_is_recorded_and_older_records_without_it_are_read(tmp_path: Path) -> None:
    file = record(tmp_path, memory=GIB)
    assert file is not None
    assert {times.memory for times in pick_record(State(tmp_path), 1).sources} == {GIB}
    table = json.loads(file.read_text())
    for source in table["sources"]:
        del source["memory"]
    file.write_text(json.dumps(table))
    assert {times.memory for times in pick_record(State(tmp_path), 1).sources} == {0}


def test_a_run_that_built_nothing_leaves_no_record(tmp_path: Path) -> None:
    assert record(tmp_path, Ending.REUSED) is None
    with pytest.raises(UsageError):
        pick_record(State(tmp_path), 1)


def test_a_run_that_there_is_not_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    def ask(state: State) -> tuple[str, str]:
        with pytest.raises(UsageError) as caught:
            pick_record(state, 99)
        return caught.value.brief, caught.value.hint

    assert ask(State(tmp_path)) == ("no run is recorded yet", "run: hapkg build-all")
    assert ask(State(tmp_path, "", "arm64"))[1] == "run: hapkg build-all --architecture arm64"
    file = record(tmp_path)
    assert file is not None
    assert ask(State(tmp_path)) == ("1 run is recorded, 99 is not one of them", "leave --run out")
    file.with_name("2000-second.json").write_bytes(file.read_bytes())
    told = "say --run 1, which is the last one, to --run 2"
    assert ask(State(tmp_path)) == ("2 runs are recorded, 99 is not one of them", told)


def test_old_and_damaged_records_do_not_get_in_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for number in range(KEPT_RECORDS + 5):
        (folder / f"1999-{number:03}.json").write_text(json.dumps({"started": "then"}))
    assert record(tmp_path) is not None
    assert len(list(folder.iterdir())) == KEPT_RECORDS
    assert pick_record(State(tmp_path), 1).suite == "bookworm"
