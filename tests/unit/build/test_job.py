"""Stages of one source, without a chroot: what is prefetched, what failed before, what a failure leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.build import failures, job
from hapkg.build.failures import Repeated
from hapkg.build.job import Job
from hapkg.build.plan import Action, Step
from hapkg.build.planner import Planner
from hapkg.control import SourceName
from hapkg.errors import BuildError, FetchError, Interrupted, MachineError, SourceError
from tests.unit.build.test_planner import Bench

ONE = SourceName("ha-one")
STEP = Step(source=ONE, action=Action.BUILD, reason="new", version="1.2-1+ha12.1", key="k" * 64, inputs={})


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def one(tmp_path: Path, told: list[str]) -> Job:
    bench = Bench(tmp_path)
    context = bench.open()
    planner = Planner(context, bench.base, [])
    return Job(planner=planner, recipe=context.recipes[ONE], base=bench.base, notify=told.append)


def test_phases_are_announced_and_their_seconds_add_up(one: Job, told: list[str]) -> None:
    one.seconds["source"] = 10.0
    with job.timed(one, "source"):
        pass
    with job.timed(one, "layer"):
        pass
    assert told == ["source", "layer"]
    assert one.seconds["source"] >= 10.0
    assert set(one.seconds) == {"source", "layer"}


def test_what_cannot_be_prefetched_is_left_to_the_stage_that_needs_it(
    one: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FetchError("no network")

    monkeypatch.setattr(job, "fetch", fail)
    assert job.prefetch(one, {}, 0) is None

    def stop(*_: object, **__: object) -> None:
        raise Interrupted("stopped")

    monkeypatch.setattr(job, "fetch", stop)
    with pytest.raises(Interrupted):
        job.prefetch(one, {}, 0)


def test_a_failure_is_noted_in_the_log_and_told_again_for_the_same_key(one: Job) -> None:
    failure = job.describe_failure(one, STEP, BuildError("it fails", details=["line 1"], hint="mend it"))
    assert failure.log.read_text() == "error: it fails\nline 1\n"
    with pytest.raises(BuildError, match="it fails, as before with the same inputs") as caught:
        job.prepare(one, STEP, {}, None, 0)
    assert isinstance(caught.value, Repeated)
    again = job.describe_failure(one, STEP, caught.value)
    assert again.log.read_text() == "error: it fails\nline 1\n", "the log of the run that it happened in stays"


@pytest.mark.parametrize(
    "error", [MachineError("no space"), FetchError("no network"), BuildError("cc1: Killed"), OSError(28, "full")]
)
def test_a_failure_of_machine_or_network_does_not_come_again(one: Job, error: Exception) -> None:
    assert isinstance(error, BuildError | MachineError | FetchError | OSError)
    failure = job.describe_failure(one, STEP, error)
    assert failures.load(failure.log.parent, STEP.key, ONE) is None


def test_a_repeated_failure_keeps_its_exit_code(one: Job) -> None:
    failure = job.describe_failure(one, STEP, SourceError("a patch does not apply"))
    told_again = failures.load(failure.log.parent, STEP.key, ONE)
    assert told_again is not None
    assert told_again.exit_code == SourceError.exit_code
