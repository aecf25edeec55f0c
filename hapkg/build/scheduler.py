"""When each stage of each source has its turn. What a stage does is injected: run.py puts job.py's in.

A source starts the moment that all it needs is compiled, the one with the longest way behind it first. Compiling is
limited by the number of jobs and by the memory there is; the other stages overlap with it. The longest chain gets what
it can use of the processor until others may use its packages; the rest is nice to it. What will surely be built is
prefetched while it waits for others: one source at a time, so that it takes little from what can compile already.

Upstream's tests run while others use the packages already. A source is stored when its own tests and those of all that
it was built on have passed; where one fails, what was built on it is taken back, and what of that runs is ended.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import Any, Generic, Protocol, TypeVar

from hapkg.build.events import Ending, Outcome, Progress
from hapkg.build.failures import Failure, classify
from hapkg.build.limits import read_available
from hapkg.build.plan import Step
from hapkg.build.priority import UNKNOWN_BYTES, fits
from hapkg.build.states.source_states import LOST, PENDING, STARTING, WAITING, SourceState, SourceStates
from hapkg.build.store import Artifact
from hapkg.build.timings import WAIT
from hapkg.control import SourceName
from hapkg.errors import HapkgError, Interrupted
from hapkg.programs.process import NICE


class HasArtifact(Protocol):
    """Packages that others may use."""

    @property
    def artifact(self) -> Artifact:
        """The build."""


Fetched = TypeVar("Fetched")
Prepared = TypeVar("Prepared")
Compiled = TypeVar("Compiled", bound=HasArtifact)


@dataclass(frozen=True, kw_only=True)
class Stages(Generic[Fetched, Prepared, Compiled]):
    """The work on one source, stage by stage, each with what the stages before it gave. Called in worker threads.

    The last argument of most is the nice value for processes. HapkgError and OSError end the source, Interrupted the
    run; whatever else is raised is a bug, and ends the run too.
    """

    prefetch: Callable[[SourceName, Mapping[SourceName, Artifact], int], Fetched | None]
    """Ahead of its turn, with those of its needs that are compiled. It must not fail."""
    decide: Callable[[SourceName, Mapping[SourceName, Artifact]], Step]
    """With the builds of all it needs. A step with an artifact ends the source: it is reused."""
    prepare: Callable[[SourceName, Step, Mapping[SourceName, Artifact], Fetched | None, int], Prepared]
    compile: Callable[[SourceName, Prepared, int], Compiled]
    test: Callable[[SourceName, Compiled], object]
    """Upstream's tests, with the nice value of compile."""
    lint: Callable[[SourceName, Compiled, int], object]
    store: Callable[[SourceName, Compiled], Artifact]
    cancel: Callable[[SourceName], object]
    """End soon whatever runs for the source. Called by the scheduler's own thread."""
    describe: Callable[[SourceName, Step | None, HapkgError | OSError], Failure]
    """The failure of a stage, as it is told. Called by the scheduler's own thread."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """The sources of a run, and what is known of them before it."""

    needs: Mapping[SourceName, Sequence[SourceName]]
    """For each source of the run, those of the run that it needs."""
    order: Sequence[SourceName]
    """All of them, the one with the longest way behind it first."""
    longest: frozenset[SourceName] = frozenset()
    """The longest chain of sources that wait for each other: nothing is to take the processor from it."""
    prefetch: frozenset[SourceName] = frozenset()
    """Sources that will surely be built."""
    known: frozenset[SourceName] = frozenset()
    """Sources that were built before."""
    tested: frozenset[SourceName] = frozenset()
    """Sources whose tests are run."""
    brief: frozenset[SourceName] = frozenset()
    """Sources whose build takes a moment: a meta-package, which waits for all others."""
    memory: Mapping[SourceName, int] = field(default_factory=dict)
    """Bytes that a build is expected to hold at its peak."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """The stage that a source was in has ended."""

    source: SourceName
    future: Future[Any]


Events = queue.SimpleQueue[Progress | Done]
"""Whatever happens in worker threads: stages put Progress into it, the scheduler takes it out."""


class Scheduler(Generic[Fetched, Prepared, Compiled]):
    """One run over some work."""

    def __init__(
        self,
        work: Work,
        stages: Stages[Fetched, Prepared, Compiled],
        events: Events,
        pool: Executor,
        *,
        jobs: int,
        keep_going: bool = False,
        read_available: Callable[[], int] = read_available,
        read_held: Callable[[SourceName], int] = lambda name: 0,
    ) -> None:
        """At most jobs sources compile at a time, and so many are tested; the pool needs 3 * jobs + 3 workers for all
        stages to overlap.

        With keep_going, a failure leaves alone what does not need it. read_available gives the bytes of memory that
        programs can still have, read_held those that a source which compiles holds now.
        """
        self.work = work
        self.stages = stages
        self.events = events
        self.pool = pool
        self.jobs = jobs
        self.keep_going = keep_going
        self.read_available = read_available
        self.read_held = read_held
        self.states = SourceStates(work.needs, work.order, work.longest, work.known, work.prefetch)
        self.fetched: dict[SourceName, Fetched | None] = {}
        self.steps: dict[SourceName, Step] = {}
        self.prepared: dict[SourceName, Prepared] = {}
        self.compiled: dict[SourceName, Artifact] = {}
        self.made: dict[SourceName, Compiled] = {}
        self.started: dict[SourceName, float] = {}
        self.running = 0
        """Stages whose end is not known yet."""
        self.stopping = False

    def run(self) -> Generator[Progress | Outcome, None, None]:
        """Run to the end; every source ends in exactly one Outcome. Raises Interrupted when a stage does."""
        while self.running or self.states.count(*PENDING):
            yield from self._skip()
            yield from self._start()
            if self.running:
                event = self.events.get()
                if isinstance(event, Done):
                    self.running -= 1
                    yield from self._advance(event)
                elif self.states.get(SourceName(event.source)) not in LOST:  # it may be skipped and still at work
                    yield event
            elif self.states.count(*PENDING):
                raise RuntimeError("sources are left, and none can go on")

    def _skip(self) -> Iterator[Outcome]:
        """End sources that cannot be built any more. Repeated: each takes those along that need it."""
        while gone := [*self.states.find(*WAITING)] if self.stopping else self.states.take_doomed():
            for name in gone:
                yield self._end_skipped(name, self.states.find_culprit(name))
        for name in [*self.states.find(SourceState.READY)] if self.stopping else ():
            yield self._end_skipped(name, None)

    def _take_back(self, failed: SourceName) -> Iterator[Outcome]:
        """End all that was begun on a source whose tests failed, and on that."""
        for name in self.states.find_begun_on(failed):
            yield self._end_skipped(name, failed)
            self.stages.cancel(name)

    def _end_skipped(self, name: SourceName, culprit: SourceName | None) -> Outcome:
        self.states.move(name, SourceState.SKIPPED)
        if culprit:
            self.states.culprits[name] = culprit
        reason = f"needs {culprit}, which failed" if culprit else "stopped after a failure"
        return Outcome(source=name, ending=Ending.SKIPPED, version=None, reason=reason, seconds=0.0)

    def _start(self) -> Iterator[Progress]:
        """Start every stage that can be started."""
        due = islice(self.states.find(SourceState.DUE), self._count_free(*STARTING))
        guessable = self.states.take_guessable()
        for name in self.states.sort(chain(due, [guessable] if guessable else [])):
            builds = self._find_builds(name)
            if name != guessable:
                self.started[name] = time.monotonic()
                self._submit(name, SourceState.DECIDING, partial(self.stages.decide, name, builds))
            else:
                nice = self._find_nice(name)
                self._submit(name, SourceState.PREFETCHING, partial(self.stages.prefetch, name, builds, nice))
        for name in [*islice(self.states.find(SourceState.COMPILED), self._count_free(SourceState.TESTING))]:
            self._submit(name, SourceState.TESTING, partial(self.stages.test, name, self.made[name]))
        # The first in line is not overtaken by one that holds less: it would never have its turn.
        while (first := self._find_ready()) and self._has_place(first) and self._has_memory(first):
            prepared, nice = self.prepared.pop(first), self._find_nice(first)
            self._submit(first, SourceState.COMPILING, partial(self.stages.compile, first, prepared, nice))
        arrived = self.states.take_arrived()
        for name in arrived:
            if self.states[name] is SourceState.HELD and self.states.is_clear(name):
                self._submit(name, SourceState.STORING, partial(self.stages.store, name, self.made.pop(name)))
        for name in arrived:
            if self.states[name] in (SourceState.COMPILED, SourceState.HELD):
                yield Progress(source=name, phase=WAIT)

    def _count_free(self, *states: SourceState) -> int:
        """Places in these states, of which there are as many as jobs."""
        return max(0, self.jobs - self.states.count(*states))

    def _find_ready(self) -> SourceName | None:
        """The next source to compile."""
        ready = chain(self.states.chain.find(SourceState.READY), self.states.find(SourceState.READY))
        return next(ready, None)

    def _submit(self, name: SourceName, state: SourceState, stage: Callable[[], object]) -> None:
        self.states.move(name, state)
        self.running += 1
        future = self.pool.submit(stage)
        future.add_done_callback(lambda future: self.events.put(Done(source=name, future=future)))

    def _find_builds(self, name: SourceName) -> dict[SourceName, Artifact]:
        """Those of what it needs that are compiled."""
        return {need: self.compiled[need] for need in self.work.needs[name] if need in self.compiled}

    def _find_nice(self, name: SourceName) -> int:
        return 0 if name in self.work.longest else NICE

    def _has_place(self, name: SourceName) -> bool:
        """One place of several is kept for the longest chain, unless others hold that up."""
        kept = name not in self.work.longest and self.states.is_kept_for_chain()
        return self.states.count(SourceState.COMPILING) < (max(1, self.jobs - 1) if kept else self.jobs)

    def _has_memory(self, name: SourceName) -> bool:
        """Asked again at every event: something compiles where there is no memory."""
        at_work = self.states.find(SourceState.COMPILING, SourceState.TESTING)
        running = [(self._expect(other), self.read_held(other)) for other in at_work]
        return fits(self._expect(name), self.read_available(), running)

    def _expect(self, name: SourceName) -> int:
        return self.work.memory.get(name, UNKNOWN_BYTES)

    def _advance(self, done: Done) -> Iterator[Progress | Outcome]:
        """Take a source on after one of its stages. Foreseen failures become its outcome."""
        name = done.source
        try:
            result = done.future.result()
        except Interrupted:
            raise
        except (HapkgError, OSError) as cause:
            if self.states[name] not in LOST:
                tested = self.states[name] is SourceState.TESTING
                yield self._fail(name, cause)
                yield from self._take_back(name) if tested else ()
            return
        match self.states[name]:
            case SourceState.PREFETCHING:
                self.fetched[name] = result
                self.states.move(name, SourceState.WAITING)
                yield Progress(source=name, phase=WAIT)
            case SourceState.DECIDING:
                yield from self._begin(name, result)
            case SourceState.PREPARING:
                self.prepared[name] = result
                self.states.move(name, SourceState.READY)
                yield Progress(source=name, phase=WAIT)
            case SourceState.COMPILING:
                self.compiled[name], self.made[name] = result.artifact, result
                self.states.move(name, SourceState.COMPILED)
                if name not in self.work.tested:
                    self._lint(name)
            case SourceState.TESTING:
                self._lint(name)
            case SourceState.LINTING:
                self.states.move(name, SourceState.HELD)
            case SourceState.STORING:
                self.states.move(name, SourceState.BUILT)
                yield self._end(name, Ending.BUILT, result)

    def _lint(self, name: SourceName) -> None:
        self.states.let_pass(name)
        nice = NICE if self.states.holds_up(self.work.brief) else self._find_nice(name)
        self._submit(name, SourceState.LINTING, partial(self.stages.lint, name, self.made[name], nice))

    def _begin(self, name: SourceName, step: Step) -> Iterator[Outcome]:
        """Reuse a source, or prepare it."""
        self.steps[name] = step
        if step.artifact is not None:
            self.compiled[name] = step.artifact
            self.states.move(name, SourceState.REUSED)
            yield self._end(name, Ending.REUSED, step.artifact)
        else:
            rest = (self._find_builds(name), self.fetched.pop(name, None), self._find_nice(name))
            self._submit(name, SourceState.PREPARING, partial(self.stages.prepare, name, step, *rest))

    def _end(self, name: SourceName, ending: Ending, artifact: Artifact) -> Outcome:
        return Outcome(
            source=name,
            ending=ending,
            version=self.steps[name].version,
            reason=self.steps[name].reason,
            seconds=time.monotonic() - self.started[name],
            log=artifact.log,
            artifact=artifact,
        )

    def _fail(self, name: SourceName, cause: HapkgError | OSError) -> Outcome:
        step = self.steps.get(name)
        failure = self.stages.describe(name, step, cause)
        self.states.move(name, SourceState.FAILED)
        self.stopping = self.stopping or not self.keep_going
        return Outcome(
            source=name,
            ending=Ending.FAILED,
            version=step.version if step else None,
            reason=failure.error.brief,
            seconds=time.monotonic() - self.started[name],
            log=failure.log,
            error=failure.error,
            fault=classify(failure.error),
        )
