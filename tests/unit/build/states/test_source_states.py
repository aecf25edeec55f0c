"""The scheduler counts what sources lack. It does what it would do if it looked at all of them at every event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hapkg.build.failures import Failure
from hapkg.build.plan import Action, Step
from hapkg.build.scheduler import Scheduler, Stages, Work
from hapkg.build.store import Artifact
from hapkg.control import SourceName
from hapkg.errors import BuildError, HapkgError
from tests.support.plain_scheduler import PlainScheduler
from tests.support.simulation import Clock, Packages, Workers, make_artifact

FALLIBLE = {"decide": 1, "prepare": 1, "compile": 1, "test": 4, "lint": 1, "store": 1}
"""Stages that may fail, and how much likelier than others each does."""
Act = tuple[str, ...]


def make_work(chance: Random, number: int) -> Work:
    """A graph and an order as make_work() of a run makes them: needs come first, except where a build takes no time."""
    names = [SourceName(f"s{place}") for place in range(number)]
    most = chance.choice([1, 2, 4])
    needs = {
        name: tuple(chance.sample(names[:place], min(place, chance.randint(0, most))))
        for place, name in enumerate(names)
    }
    order = sorted(names, key=lambda name: (len(needs[name]) and chance.randint(0, 2), chance.random()))
    chain = [chance.choice(names)]
    while needs[chain[-1]]:
        chain.append(chance.choice(needs[chain[-1]]))
    return Work(
        needs=needs,
        order=order if chance.random() < 0.3 else names,
        longest=frozenset(chain),
        prefetch=pick(chance, names),
        known=pick(chance, names),
        tested=pick(chance, names),
        brief=pick(chance, names[-2:]),
        memory={name: chance.randint(1, 5) for name in names},
    )


def pick(chance: Random, names: list[SourceName]) -> frozenset[SourceName]:
    likely = chance.choice([0, 0.5, 1])
    return frozenset(name for name in names if chance.random() < likely)


def run(kind: type[Scheduler[Any, Any, Any]], work: Work, seed: int, **options: Any) -> list[Act]:
    """All that happens in a run, in order; the seed says how long stages take and which fail."""
    clock = Clock()
    acts: list[Act] = []
    chance = Random(seed)
    unlucky, lucky = chance.choice([0, 0.02, 0.1]), chance.choice([0, 0.3])
    fates = {
        (stage, name): (chance.choice([0, 1, 2, 5, 5, 20]), chance.random() < unlucky * FALLIBLE.get(stage, 0))
        for name in sorted(work.order)
        for stage in ("prefetch", *FALLIBLE)
    }
    reused = {name for name in sorted(work.order) if chance.random() < lucky}

    def act(stage: str, name: SourceName, *seen: object) -> None:
        acts.append((stage, name, *map(str, seen)))
        seconds, fails = fates[stage, name]
        clock.take(seconds)
        if fails:
            raise BuildError(f"{stage} fails")

    def decide(name: SourceName, builds: Mapping[SourceName, Artifact]) -> Step:
        act("decide", name, *builds)
        kept = make_artifact(name) if name in reused else None
        action = Action.REUSE if kept else Action.BUILD
        return Step(source=name, action=action, reason="so", version="1", key="k", inputs={}, artifact=kept)

    def compile(name: SourceName, _: object, nice: int) -> Packages:
        act("compile", name, nice)
        return Packages(make_artifact(name))

    def store(name: SourceName, packages: Packages) -> Artifact:
        act("store", name)
        return packages.artifact

    def describe(name: SourceName, step: Step | None, cause: HapkgError | OSError) -> Failure:
        assert isinstance(cause, HapkgError)
        return Failure(error=cause, log=Path(f"{name}.log"))

    stages = Stages[Any, Any, Any](
        prefetch=lambda name, builds, nice: act("prefetch", name, *builds, nice),
        decide=decide,
        prepare=lambda name, _, builds, fetched, nice: act("prepare", name, *builds, nice),
        compile=compile,
        test=lambda name, _: act("test", name),
        lint=lambda name, _, nice: act("lint", name, nice),
        store=store,
        cancel=lambda name: acts.append(("cancel", name)),
        describe=describe,
    )
    for event in kind(work, stages, clock, Workers(clock), **options).run():
        told = {key: str(value) for key, value in asdict(event).items() if key not in ("at", "seconds", "artifact")}
        acts.append((type(event).__name__, *told.values()))
    return acts


@settings(max_examples=300)
@given(
    seed=st.integers(0, 1 << 32),
    number=st.integers(1, 14),
    jobs=st.integers(1, 4),
    keep_going=st.booleans(),
    memory=st.sampled_from([6, 12, 1000]),
)
def test_what_is_counted_is_what_would_be_seen(
    seed: int, number: int, jobs: int, keep_going: bool, memory: int
) -> None:
    work = make_work(Random(seed), number)
    options: dict[str, Any] = {"jobs": jobs, "keep_going": keep_going, "read_available": lambda: memory}
    acts = run(Scheduler, work, seed, **options)
    assert acts == run(PlainScheduler, work, seed, **options)
    assert Counter(source for kind, source, *_ in acts if kind == "Outcome") == Counter(work.order)
