"""The longest way first, the phases of a log, and where the time of a run went."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hapkg.control import SourceName
from hapkg.errors import UsageError
from hapkg.graph import make_graph
from hapkg.phases import follow
from hapkg.pipeline import Ending, Outcome, Progress
from hapkg.schedule import UNKNOWN_SECONDS, measure_paths
from hapkg.times import KEPT_RECORDS, Recorder, draw, pick_record
from tests.unit.samples import make_node, make_nodes

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


def test_a_way_is_as_long_as_all_that_waits_for_it() -> None:
    rest = measure_paths(GRAPH, [A, B, C, D], {A: 1.0, B: 10.0, D: 5.0})
    assert rest == {A: 11.0 + UNKNOWN_SECONDS, B: 10.0 + UNKNOWN_SECONDS, C: UNKNOWN_SECONDS, D: 5.0}
    assert measure_paths(GRAPH, [A, D], {A: 1.0, D: 5.0}) == {A: 1.0, D: 5.0}


def test_phases_are_read_from_the_log_and_never_go_back() -> None:
    assert list(follow(LOG.splitlines(), "unpack")) == ["configure", "compile", "test", "package"]
    assert list(follow(LOG.splitlines(), "test")) == ["package"]


def record(cache: Path, ending: Ending = Ending.BUILT) -> Path | None:
    recorder = Recorder(100.0, "bookworm", 2, GRAPH.needs)
    for source, phase, at in (
        (A, "fetch", 100.0),
        (D, "compile", 100.0),
        (A, "compile", 102.0),
        (A, "lint", 110.0),
        (B, "compile", 111.0),
    ):
        recorder.tell(Progress(source=source, phase=phase, at=at))
    for source, at in ((D, 105.0), (A, 118.0), (B, 130.0)):
        recorder.tell(Outcome(source=source, ending=ending, version=None, reason="", seconds=0.0, at=at))
    return recorder.save(cache)


def test_a_run_is_recorded_with_its_critical_path(tmp_path: Path) -> None:
    file = record(tmp_path)
    assert file is not None
    run = pick_record(tmp_path, 1)
    assert (run.seconds, run.jobs) == (30.0, 2)
    assert [times.source for times in run.find_critical_path()] == [A, B]
    assert run.break_down() == {"fetch": 2.0, "compile": 27.0, "wait": 1.0}
    spans = {times.source: [(span.phase, span.start, span.end) for span in times.spans] for times in run.sources}
    assert spans[A] == [("fetch", 0.0, 2.0), ("compile", 2.0, 10.0), ("lint", 10.0, 18.0)]
    picture = draw(run)
    assert picture.count("<title>") == 1 + 5
    assert "ha-b: compile, 19.0 s" in picture


def test_a_run_that_built_nothing_leaves_no_record(tmp_path: Path) -> None:
    assert record(tmp_path, Ending.REUSED) is None
    with pytest.raises(UsageError):
        pick_record(tmp_path, 1)


def test_old_and_damaged_records_do_not_get_in_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for number in range(KEPT_RECORDS + 5):
        (folder / f"1999-{number:03}.json").write_text(json.dumps({"started": "then"}))
    assert record(tmp_path) is not None
    assert len(list(folder.iterdir())) == KEPT_RECORDS
    assert pick_record(tmp_path, 1).suite == "bookworm"
