"""The scheduler with stages that are told when to end: orders, failures, memory, places and Ctrl-C, in milliseconds.

Stages run in real threads. A stage that a test holds waits for the test; every other one ends at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hapkg.build.events import Ending, Outcome, Progress
from hapkg.build.failures import Failure
from hapkg.build.plan import Action, Step
from hapkg.build.scheduler import Events, Scheduler, Stages, Work
from hapkg.build.states.source_states import SourceState
from hapkg.build.store import Artifact
from hapkg.control import SourceName
from hapkg.errors import BuildError, HapkgError, Interrupted
from hapkg.programs.process import NICE
from tests.support.simulation import Times, make_artifact, simulate

GIB = 1 << 30
Started = tuple[str, str]
"""Stage and source."""


@dataclass(frozen=True)
class Packages:
    """The value that compile gives."""

    artifact: Artifact


def make_work(needs: Mapping[str, str], **known: Any) -> Work:
    """Work whose order is that of the mapping; needs are words."""
    names = {SourceName(name): tuple(map(SourceName, words.split())) for name, words in needs.items()}
    return Work(**{"needs": names, "order": tuple(names), "tested": frozenset(names), **known})


def pick(names: str) -> frozenset[SourceName]:
    return frozenset(map(SourceName, names.split()))


class Bench:
    """A scheduler and the stages of its sources."""

    def __init__(
        self,
        work: Work,
        *,
        held: Iterable[Started] = (),
        reused: str = "",
        failing: Mapping[Started, Exception] | None = None,
        **options: Any,
    ) -> None:
        self.held = {stage: threading.Event() for stage in held}
        self.reused = pick(reused)
        self.failing = dict(failing or {})
        self.started: list[Started] = []
        self.nice: dict[Started, int] = {}
        self.seen: dict[Started, dict[SourceName, str]] = {}
        """For stages that see other sources: the folder that each lay in."""
        self.fetched: dict[str, str | None] = {}
        self.cancelled: list[SourceName] = []
        self.pool = ThreadPoolExecutor(16)
        self.scheduler = Scheduler(
            work,
            Stages(
                prefetch=self.prefetch,
                decide=self.decide,
                prepare=self.prepare,
                compile=self.compile,
                test=self.test,
                lint=self.lint,
                store=self.store,
                cancel=self.cancelled.append,
                describe=self.describe,
            ),
            Events(),
            self.pool,
            **{"jobs": 2, "read_available": lambda: 100 * GIB, **options},
        )
        self.events = self.scheduler.run()
        self.told: list[Progress | Outcome] = []

    def _act(self, stage: str, name: SourceName, nice: int = 0) -> None:
        act = (stage, str(name))
        self.nice[act] = nice
        self.started.append(act)
        self.scheduler.events.put(Progress(source=name, phase=stage))
        if act in self.held:
            assert self.held[act].wait(20), f"{act} was never released"
        if act in self.failing:
            raise self.failing[act]

    def prefetch(self, name: SourceName, compiled: Mapping[SourceName, Artifact], nice: int) -> str:
        self.seen["prefetch", name] = {source: str(artifact.folder) for source, artifact in compiled.items()}
        self._act("prefetch", name, nice)
        return f"{name}.orig"

    def decide(self, name: SourceName, finished: Mapping[SourceName, Artifact]) -> Step:
        self.seen["decide", name] = {source: str(artifact.folder) for source, artifact in finished.items()}
        self._act("decide", name)
        if name in self.reused:
            artifact = make_artifact(name, "store")
            return Step(source=name, action=Action.REUSE, reason="same", version="1", key="k", artifact=artifact)
        return Step(source=name, action=Action.BUILD, reason="new", version="2", key="k", inputs={})

    def prepare(
        self, name: SourceName, step: Step, finished: Mapping[SourceName, Artifact], fetched: str | None, nice: int
    ) -> str:
        assert step.version == "2"
        self.fetched[name] = fetched
        self._act("prepare", name, nice)
        return f"{name}.dsc"

    def compile(self, name: SourceName, prepared: str, nice: int) -> Packages:
        assert prepared == f"{name}.dsc"
        self._act("compile", name, nice)
        return Packages(make_artifact(name, "scratch"))

    def test(self, name: SourceName, compiled: Packages) -> None:
        assert compiled.artifact.source == name
        self._act("test", name)

    def lint(self, name: SourceName, compiled: Packages, nice: int) -> None:
        assert compiled.artifact.source == name
        self._act("lint", name, nice)

    def store(self, name: SourceName, compiled: Packages) -> Artifact:
        assert compiled.artifact.source == name
        self._act("store", name)
        return make_artifact(name, "store")

    def describe(self, name: SourceName, step: Step | None, cause: HapkgError | OSError) -> Failure:
        error = cause if isinstance(cause, HapkgError) else BuildError(str(cause))
        return Failure(error=error, log=Path("log", name))

    def release(self, *stages: Started) -> None:
        for stage in stages:
            self.held[stage].set()

    def until(self, source: str, ending: Ending | str) -> None:
        """Go on until a source tells of an ending or a phase."""
        for event in self.events:
            self.told.append(event)
            if event.source == source and ending == (event.ending if isinstance(event, Outcome) else event.phase):
                return
        raise AssertionError(f"{source} never came to {ending}")

    def settle(self) -> None:
        """Go on until everything has started that can be started by what happened before."""
        self.scheduler.events.put(Progress(source="test", phase="settle"))
        self.until("test", "settle")

    def finish_run(self) -> None:
        """Go on to the end; every source has ended in one outcome."""
        self.told.extend(self.events)
        assert sorted(outcome.source for outcome in self.outcomes) == sorted(self.scheduler.work.order)

    @property
    def outcomes(self) -> Sequence[Outcome]:
        return [event for event in self.told if isinstance(event, Outcome)]

    @property
    def endings(self) -> dict[str, str]:
        return {outcome.source: str(outcome.ending) for outcome in self.outcomes}

    def order(self, stage: str) -> list[str]:
        """The sources in the order in which they began a stage."""
        return [name for act, name in self.started if act == stage]

    def is_in(self, state: SourceState) -> set[str]:
        return {name for name, now in self.scheduler.states.items() if now is state}


Maker = Callable[..., Bench]


@pytest.fixture
def benches() -> Iterator[list[Bench]]:
    made: list[Bench] = []
    yield made
    for bench in made:
        bench.release(*bench.held)
        bench.pool.shutdown()


@pytest.fixture
def make_bench(benches: list[Bench]) -> Maker:
    def make(needs: Mapping[str, str], **options: Any) -> Bench:
        known = {name: options.pop(name) for name in [*options] if name in Work.__dataclass_fields__}
        benches.append(Bench(make_work(needs, **known), **options))
        return benches[-1]

    return make


CHAIN = {"a": "", "b": "a", "c": "b"}


def test_a_source_starts_when_all_it_needs_is_compiled_and_sees_their_scratch_folders(make_bench: Maker) -> None:
    bench = make_bench({"a": "", "b": "", "c": "a b"}, held=[("lint", "a"), ("compile", "b")])
    bench.until("a", "wait")
    bench.until("b", "compile")
    bench.settle()
    assert ("decide", "c") not in bench.started
    bench.release(("compile", "b"))
    bench.until("c", Ending.BUILT)
    assert bench.seen["decide", "c"] == {"a": "scratch", "b": "scratch"}
    assert "a" not in bench.endings, "what is compiled may be used before lintian has seen it"
    bench.release(("lint", "a"))
    bench.finish_run()
    assert set(bench.endings.values()) == {"built"}


def test_the_longest_way_goes_first(make_bench: Maker) -> None:
    bench = make_bench({"c": "", "a": "", "b": "", "d": ""}, jobs=1)
    bench.finish_run()
    assert bench.order("decide") == bench.order("compile") == ["c", "a", "b", "d"]


def test_a_finished_build_is_reused_and_nothing_else_is_done_for_it(make_bench: Maker) -> None:
    bench = make_bench(CHAIN, reused="a c")
    bench.finish_run()
    assert bench.endings == {"a": "reused", "b": "built", "c": "reused"}
    assert bench.order("prepare") == ["b"]
    assert {outcome.source: (outcome.version, outcome.reason) for outcome in bench.outcomes} == {
        "a": ("1", "same"),
        "b": ("2", "new"),
        "c": ("1", "same"),
    }
    assert [str(outcome.artifact.folder) for outcome in bench.outcomes if outcome.artifact] == ["store"] * 3


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_no_more_sources_compile_than_jobs(make_bench: Maker, jobs: int) -> None:
    names = "abcde"
    held = [("compile", name) for name in names]
    bench = make_bench(dict.fromkeys(names, ""), held=held, jobs=jobs)
    for name in names:
        bench.until(name, "wait")
    bench.settle()
    assert len(bench.is_in(SourceState.COMPILING)) == jobs
    bench.release(*held)
    bench.finish_run()


def test_a_failure_stops_what_has_not_begun(make_bench: Maker) -> None:
    bench = make_bench({**CHAIN, "d": "", "e": ""}, jobs=1, failing={("compile", "a"): BuildError("no")})
    bench.finish_run()
    assert bench.endings["a"] == "failed"
    assert {bench.endings[name] for name in "bcde"} == {"skipped"}
    reasons = {outcome.source: outcome.reason for outcome in bench.outcomes}
    assert reasons == {
        "a": "no",
        "b": "needs a, which failed",
        "c": "needs a, which failed",
        "d": "stopped after a failure",
        "e": "stopped after a failure",
    }
    (failed,) = [outcome for outcome in bench.outcomes if outcome.ending is Ending.FAILED]
    assert (failed.version, failed.log, failed.fault) == ("2", Path("log/a"), "recipe")


def test_what_needs_a_source_that_was_only_stopped_is_told_as_stopped(make_bench: Maker) -> None:
    bench = make_bench({"a": "", "x": "", "y": "x", "b": "y a"}, jobs=1, failing={("compile", "a"): BuildError("no")})
    bench.finish_run()
    reasons = {str(outcome.source): outcome.reason for outcome in bench.outcomes}
    assert reasons["x"] == reasons["y"] == "stopped after a failure"
    assert reasons["b"] == "needs a, which failed"


def test_with_keep_going_only_what_needs_the_failed_one_is_skipped(make_bench: Maker) -> None:
    failing = {("prepare", "b"): OSError("disk")}
    bench = make_bench({**CHAIN, "d": "a", "e": "c d"}, keep_going=True, failing=failing)
    bench.finish_run()
    assert bench.endings == {"a": "built", "b": "failed", "c": "skipped", "d": "built", "e": "skipped"}
    assert {outcome.reason for outcome in bench.outcomes if outcome.ending is Ending.SKIPPED} == {
        "needs b, which failed"
    }


def test_a_failure_takes_along_a_chain_of_any_length(make_bench: Maker) -> None:
    chain = {"s0": "", **{f"s{place}": f"s{place - 1}" for place in range(1, 3000)}}
    bench = make_bench(chain, failing={("compile", "s0"): BuildError("no")}, keep_going=True)
    bench.finish_run()
    assert {outcome.reason for outcome in bench.outcomes} == {"no", "needs s0, which failed"}


def test_a_source_that_lintian_refuses_takes_along_who_has_not_begun(make_bench: Maker) -> None:
    bench = make_bench(
        {"a": "", "b": "a", "c": "a b"},
        held=[("lint", "a"), ("compile", "b")],
        failing={("lint", "a"): BuildError("E: tag")},
        keep_going=True,
    )
    bench.until("b", "compile")
    bench.release(("lint", "a"))
    bench.until("a", Ending.FAILED)
    bench.release(("compile", "b"))
    bench.finish_run()
    assert bench.endings == {"a": "failed", "b": "built", "c": "skipped"}


def test_whoever_decides_badly_has_no_version(make_bench: Maker) -> None:
    bench = make_bench({"a": ""}, failing={("decide", "a"): BuildError("the archive lacks it")})
    bench.finish_run()
    assert bench.outcomes[0].version is None


def test_a_bug_in_a_stage_ends_the_run(make_bench: Maker) -> None:
    bench = make_bench({"a": ""}, failing={("compile", "a"): ZeroDivisionError()}, keep_going=True)
    with pytest.raises(ZeroDivisionError):
        bench.finish_run()


@pytest.mark.parametrize("stage", ["prefetch", "decide", "prepare", "compile", "test", "lint", "store"])
def test_an_interrupted_stage_interrupts_the_run(make_bench: Maker, stage: str) -> None:
    name = "b" if stage == "prefetch" else "a"
    bench = make_bench(
        CHAIN,
        prefetch=pick("b c"),
        known=pick("a b c"),
        failing={(stage, name): Interrupted("stopped")},
        held=[("compile", "a")] if name == "b" else [],
        keep_going=True,
    )
    with pytest.raises(Interrupted):
        bench.finish_run()


def test_a_caller_that_leaves_starts_nothing_more(make_bench: Maker) -> None:
    """Ctrl-C is raised where the caller waits: it closes the iterator."""
    bench = make_bench(CHAIN, held=[("compile", "a")])
    bench.until("a", "compile")
    bench.events.close()
    bench.release(("compile", "a"))
    bench.pool.shutdown(wait=True)
    assert bench.order("decide") == ["a"]


def test_one_source_at_a_time_is_prefetched_while_it_waits(make_bench: Maker) -> None:
    needs = {"a": "", "b": "a", "c": "a", "d": "a", "e": ""}
    bench = make_bench(
        needs, prefetch=pick("b c d"), held=[("compile", "a"), ("prefetch", "b")], keep_going=True, jobs=2
    )
    bench.until("e", Ending.BUILT)
    bench.settle()
    assert bench.order("prefetch") == ["b"]
    bench.release(("prefetch", "b"))
    for name in "bcd":
        bench.until(name, "wait")
    assert bench.order("prefetch") == ["b", "c", "d"]
    bench.release(("compile", "a"))
    bench.finish_run()
    assert bench.fetched == {"a": None, "b": "b.orig", "c": "c.orig", "d": "d.orig", "e": None}


def test_a_source_waits_for_its_own_prefetch(make_bench: Maker) -> None:
    bench = make_bench({"a": "", "b": "a"}, prefetch=pick("b"), held=[("prefetch", "b")])
    bench.until("a", Ending.BUILT)
    bench.settle()
    assert bench.is_in(SourceState.PREFETCHING) == {"b"}
    bench.release(("prefetch", "b"))
    bench.finish_run()
    assert bench.fetched["b"] == "b.orig"


@pytest.mark.parametrize(("known", "prefetched"), [("", []), ("a", ["c"]), ("b", ["c"]), ("a b", ["c"])])
def test_what_waits_for_several_unknown_sources_is_not_prefetched(
    make_bench: Maker, known: str, prefetched: list[str]
) -> None:
    held = [("compile", "a"), ("compile", "b")]
    bench = make_bench({"a": "", "b": "", "c": "a b"}, prefetch=pick("c"), known=pick(known), held=held)
    bench.until("b", "wait")
    bench.settle()
    assert len(bench.is_in(SourceState.COMPILING)) == 2
    assert bench.order("prefetch") == prefetched
    bench.release(*held)
    bench.finish_run()


def test_a_source_that_is_skipped_while_it_is_prefetched_ends_once_and_says_no_more(make_bench: Maker) -> None:
    bench = make_bench(
        {"a": "", "b": "a"},
        prefetch=pick("b"),
        held=[("compile", "a"), ("prefetch", "b")],
        failing={("compile", "a"): BuildError("no")},
    )
    bench.until("b", "prefetch")
    bench.release(("compile", "a"))
    bench.until("b", Ending.SKIPPED)
    bench.scheduler.events.put(Progress(source="b", phase="layer"))
    bench.release(("prefetch", "b"))
    told = len(bench.told)
    bench.finish_run()
    assert bench.told[told:] == []


def test_a_build_for_which_there_is_no_memory_waits_and_is_not_overtaken(make_bench: Maker) -> None:
    bench = make_bench(
        dict.fromkeys("abc", ""),
        jobs=3,
        held=[("compile", "a")],
        memory={SourceName("a"): 6 * GIB, SourceName("b"): 5 * GIB, SourceName("c"): GIB},
        read_available=lambda: 8 * GIB,
        read_held=lambda name: 2 * GIB,
    )
    for name in "abc":
        bench.until(name, "wait")
    bench.settle()
    assert bench.is_in(SourceState.COMPILING) == {"a"}
    assert bench.is_in(SourceState.READY) == {"b", "c"}
    bench.release(("compile", "a"))
    bench.finish_run()
    assert bench.order("compile") == ["a", "b", "c"]


def test_alone_a_build_starts_without_memory(make_bench: Maker) -> None:
    bench = make_bench({"a": ""}, memory={SourceName("a"): 6 * GIB}, read_available=lambda: 0)
    bench.finish_run()
    assert bench.endings == {"a": "built"}


def test_one_place_is_kept_for_the_longest_chain(make_bench: Maker) -> None:
    bench = make_bench(
        {"a": "", "b": "a", "x": "", "y": ""},
        longest=pick("a b"),
        held=[("prepare", "a"), ("compile", "x"), ("compile", "y")],
    )
    bench.until("x", "compile")
    bench.until("y", "wait")
    bench.settle()
    assert bench.is_in(SourceState.COMPILING) == {"x"}
    bench.release(("prepare", "a"))
    bench.until("a", "compile")
    bench.release(("compile", "x"), ("compile", "y"))
    bench.finish_run()
    assert bench.order("compile")[:2] == ["x", "a"]


def test_the_kept_place_is_given_away_where_others_hold_the_chain_up(make_bench: Maker) -> None:
    held = [("compile", "x"), ("compile", "y")]
    bench = make_bench({"x": "", "y": "", "a": "x y", "b": "a"}, longest=pick("a b"), held=held)
    bench.until("x", "wait")
    bench.until("y", "wait")
    bench.settle()
    assert len(bench.is_in(SourceState.COMPILING)) == 2
    bench.release(*held)
    bench.finish_run()


def test_the_longest_chain_is_compiled_before_what_was_ready_earlier(make_bench: Maker) -> None:
    bench = make_bench({"w": "", "x": "", "a": ""}, longest=pick("a"), jobs=1, held=[("compile", "w")])
    for name in "wxa":
        bench.until(name, "wait")
    bench.release(("compile", "w"))
    bench.finish_run()
    assert bench.order("compile") == ["w", "a", "x"]


def test_whatever_is_not_on_the_longest_chain_is_nice(make_bench: Maker) -> None:
    bench = make_bench({"a": "", "x": "", "b": "a"}, longest=pick("a b"), prefetch=pick("b"))
    bench.finish_run()
    chain = {stage: nice for (stage, name), nice in bench.nice.items() if name == "b"}
    assert set(chain.values()) == {0}
    aside = {stage: nice for (stage, name), nice in bench.nice.items() if name == "x"}
    assert aside == {"decide": 0, "prepare": NICE, "compile": NICE, "test": 0, "lint": NICE, "store": 0}


@pytest.mark.parametrize(("brief", "nice"), [("", NICE), ("b", 0)])
def test_lintian_is_nice_while_a_source_waits_for_one_that_is_not_compiled(
    make_bench: Maker, brief: str, nice: int
) -> None:
    needs = {"a": "", "x": "", "b": "a x"}
    bench = make_bench(needs, longest=pick("a b"), brief=pick(brief), held=[("compile", "x")])
    bench.until("a", Ending.BUILT)
    assert bench.nice["lint", "a"] == nice
    bench.release(("compile", "x"))
    bench.finish_run()
    assert bench.nice["lint", "b"] == 0


def test_a_source_starts_while_the_tests_of_what_it_needs_run_and_is_stored_when_they_have_passed(
    make_bench: Maker,
) -> None:
    bench = make_bench(CHAIN, held=[("test", "a")])
    bench.until("c", "wait")
    bench.until("c", "lint")
    bench.settle()
    assert bench.order("test") == ["a", "b", "c"]
    assert bench.order("store") == []
    assert bench.is_in(SourceState.HELD) == {"b", "c"}
    bench.release(("test", "a"))
    bench.finish_run()
    assert set(bench.endings.values()) == {"built"}
    assert sorted(bench.order("store")) == ["a", "b", "c"]


def test_a_chain_waits_for_tests_in_its_middle(make_bench: Maker) -> None:
    bench = make_bench(CHAIN, held=[("test", "b")])
    bench.until("a", Ending.BUILT)
    bench.until("c", "lint")
    bench.settle()
    assert bench.order("store") == ["a"]
    bench.release(("test", "b"))
    bench.finish_run()
    assert bench.order("store")[0] == "a"


@pytest.mark.parametrize("keep_going", [False, True])
def test_failing_tests_take_back_all_that_was_built_on_the_source(make_bench: Maker, keep_going: bool) -> None:
    needs = {**CHAIN, "d": "c", "x": "", "y": "x", "e": "d"}
    bench = make_bench(
        needs,
        held=[("test", "a"), ("compile", "d")],
        failing={("test", "a"): BuildError("FAIL: one-test")},
        keep_going=keep_going,
    )
    bench.until("y", Ending.BUILT)
    bench.until("d", "compile")
    bench.release(("test", "a"))
    bench.until("e", Ending.SKIPPED)
    assert SourceName("d") in bench.cancelled, "it compiles for nothing"
    bench.release(("compile", "d"))
    bench.finish_run()
    assert bench.endings == {
        **dict.fromkeys("xy", "built"),
        "a": "failed",
        **dict.fromkeys("bcde", "skipped"),
    }
    reasons = {outcome.source: outcome.reason for outcome in bench.outcomes if outcome.ending is Ending.SKIPPED}
    assert reasons == dict.fromkeys("bcde", "needs a, which failed")
    assert sorted(bench.order("store")) == ["x", "y"]
    assert ("test", "d") not in bench.started


def test_a_build_that_is_ended_fails_silently_and_says_no_more(make_bench: Maker) -> None:
    bench = make_bench(
        {"a": "", "b": "a"},
        held=[("test", "a"), ("compile", "b")],
        failing={("test", "a"): BuildError("no"), ("compile", "b"): BuildError("was ended")},
    )
    bench.until("b", "compile")
    bench.release(("test", "a"))
    bench.until("b", Ending.SKIPPED)
    bench.scheduler.events.put(Progress(source="b", phase="package"))
    told = len(bench.told)
    bench.release(("compile", "b"))
    bench.finish_run()
    assert bench.told[told:] == []


def test_what_lies_on_a_refused_source_is_taken_back_with_what_that_lies_on(make_bench: Maker) -> None:
    bench = make_bench(
        CHAIN,
        held=[("test", "a"), ("lint", "b"), ("compile", "c")],
        failing={("test", "a"): BuildError("no"), ("lint", "b"): BuildError("E: tag")},
        keep_going=True,
    )
    bench.until("c", "compile")
    bench.release(("lint", "b"))
    bench.until("b", Ending.FAILED)
    bench.release(("test", "a"))
    bench.until("c", Ending.SKIPPED)
    bench.release(("compile", "c"))
    bench.finish_run()
    assert bench.cancelled == ["c"]
    assert bench.order("store") == []


@pytest.mark.parametrize("stage", ["prepare", "lint"])
def test_what_is_ended_may_be_in_any_stage(make_bench: Maker, stage: str) -> None:
    bench = make_bench(
        {"a": "", "b": "a"}, held=[("test", "a"), (stage, "b")], failing={("test", "a"): BuildError("no")}
    )
    bench.until("b", stage)
    bench.release(("test", "a"))
    bench.until("b", Ending.SKIPPED)
    bench.release((stage, "b"))
    bench.finish_run()
    assert bench.endings == {"a": "failed", "b": "skipped"}
    assert bench.order("store") == []


def test_what_is_reused_was_built_on_something_that_passed(make_bench: Maker) -> None:
    bench = make_bench(CHAIN, reused="b", held=[("test", "a")], failing={("test", "a"): BuildError("no")})
    bench.until("c", Ending.BUILT)
    bench.release(("test", "a"))
    bench.finish_run()
    assert bench.endings == {"a": "failed", "b": "reused", "c": "built"}


def test_a_source_without_tests_waits_for_no_place_to_run_them(make_bench: Maker) -> None:
    bench = make_bench({"a": "", "b": "", "c": ""}, jobs=1, tested=pick("a b"), held=[("test", "a")])
    bench.until("c", Ending.BUILT)
    bench.settle()
    assert bench.order("test") == ["a"]
    assert bench.is_in(SourceState.COMPILED) == {"b"}
    waits = [event for event in bench.told if event == Progress(source="b", phase="wait")]
    assert len(waits) == 2, "for its place to compile, and for its place to be tested"
    bench.release(("test", "a"))
    bench.finish_run()
    assert set(bench.endings.values()) == {"built"}


def test_memory_of_tests_that_run_is_not_given_away(make_bench: Maker) -> None:
    bench = make_bench(
        {"a": "", "b": ""},
        held=[("compile", "a"), ("test", "a")],
        memory={SourceName("a"): 6 * GIB, SourceName("b"): 5 * GIB},
        read_available=lambda: 8 * GIB,
        read_held=lambda name: 2 * GIB,
    )
    bench.until("b", "wait")
    bench.release(("compile", "a"))
    bench.until("a", "test")
    bench.settle()
    assert bench.is_in(SourceState.READY) == {"b"}
    bench.release(("test", "a"))
    bench.finish_run()


STACK = {
    "ha-cluster-glue": Times("", 5, 75, 0, 7),
    "ha-libqb": Times("", 5, 53, 151, 7),
    "ha-crmsh": Times("", 5, 8, 14, 7),
    "ha-drbd-utils": Times("", 5, 52, 20, 12),
    "ha-fence-agents": Times("", 5, 45, 20, 12),
    "ha-gfs2-utils": Times("", 5, 50, 40, 7),
    "ha-kronosnet": Times("ha-libqb", 5, 61, 84, 7),
    "ha-resource-agents": Times("ha-cluster-glue ha-libqb", 5, 35, 10, 58),
    "ha-corosync": Times("ha-libqb ha-kronosnet", 5, 48, 3, 7),
    "ha-corosync-qdevice": Times("ha-libqb ha-kronosnet ha-corosync", 5, 32, 0, 7),
    "ha-pacemaker": Times("ha-cluster-glue ha-libqb ha-resource-agents ha-corosync", 5, 200, 73, 66),
    "ha-booth": Times("ha-pacemaker", 5, 25, 10, 7),
    "ha-dlm": Times("ha-corosync ha-pacemaker", 5, 10, 0, 7),
    "ha-stack": Times("ha-crmsh ha-dlm ha-resource-agents", 0, 3, 0, 7),
}
"""Seconds of the real stack on two quiet cores: the large ones as recorded, the small ones guessed."""


@pytest.mark.parametrize(("faster", "ratio"), [(1.0, 0.70), (0.4, 0.60)])
def test_tests_of_the_real_stack_leave_the_critical_path(faster: float, ratio: float) -> None:
    """Simulated with eight places: compiling takes as long as on two cores, or 0.4 times as long; tests mostly wait."""
    stack = {name: replace(times, compile=times.compile * faster) for name, times in STACK.items()}
    before, now = simulate(stack, jobs=8, beside=False), simulate(stack, jobs=8)
    assert now <= ratio * before
    chain = ("ha-libqb", "ha-kronosnet", "ha-corosync", "ha-pacemaker")
    path = sum(stack[name].prepare + stack[name].compile for name in chain)
    assert now == pytest.approx(path + stack[chain[-1]].test + stack[chain[-1]].lint)
