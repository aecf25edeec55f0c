"""The engine of a run that builds: each source starts the moment that what it needs can be installed.

A source has three stages, see making.py: prepare, compile, finish. Only compile is limited, by --jobs and by the
memory there is; the others overlap with it, the longest way first. The longest chain gets what it can use of the
processor, until others may use its packages; the rest gives way to it. What will surely be built begins while it waits
for others: one source at a time, so that it takes little from what can compile already.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from hapkg import process
from hapkg.build import job
from hapkg.build.context import BuildContext
from hapkg.build.events import Ending, Outcome, Progress
from hapkg.build.failures import classify
from hapkg.build.job import Making
from hapkg.build.jobserver import Jobserver
from hapkg.build.memory import read_available
from hapkg.build.priority import Measured, find_longest, find_measured, fits, measure_paths
from hapkg.build.records import WAIT, read_records
from hapkg.build.store import Artifact, Store
from hapkg.chroot import schroot
from hapkg.chroot.schroot import Chroot
from hapkg.control import SourceName
from hapkg.errors import HapkgError, Interrupted
from hapkg.host import count_cores
from hapkg.recipe.style import META


@dataclass(frozen=True, kw_only=True)
class _Done:
    """A stage of a source ended."""

    making: Making
    stage: str
    future: Future[bool | None]


_Event = Progress | _Done


def work(
    context: BuildContext,
    targets: Sequence[SourceName],
    early: Sequence[SourceName],
    base: Chroot,
    *,
    jobs: int,
    keep_going: bool,
    retry: bool,
) -> Iterator[Progress | Outcome]:
    """Build the targets and all they need in this base; early is what may begin before its needs are usable."""
    with (
        _pool(2 * jobs + 3, context.store) as pool,
        Jobserver(context.store.state.jobs, count_cores()) as jobserver,
    ):
        yield from _Run(context, targets, early, base, pool, jobserver, jobs, keep_going=keep_going, retry=retry).work()


class _Run:
    """The state of one run."""

    def __init__(
        self,
        context: BuildContext,
        targets: Sequence[SourceName],
        early: Sequence[SourceName],
        base: Chroot,
        pool: ThreadPoolExecutor,
        jobserver: Jobserver,
        jobs: int,
        *,
        keep_going: bool,
        retry: bool,
    ) -> None:
        self.context = context
        self.early = set(early)
        """What may begin before its needs are usable, and has not."""
        self.base = base
        self.pool = pool
        self.jobserver = jobserver
        self.jobs = jobs
        self.keep_going = keep_going
        self.named = set(targets) if retry else set()
        self.builds = context.store.list_builds()
        names = context.graph.closure(targets)
        self.built = {build.source for build in self.builds if build.suite == context.suite}
        self.measured = find_measured(context.suite, self.builds, read_records(context.store.state))
        seconds = {name: measured.seconds for name, measured in self.measured.items()}
        rest = measure_paths(context.graph, names, seconds)
        self.longest = set(find_longest(context.graph, rest))
        """What nothing is to take the processor from."""
        self.waiting = sorted(names, key=lambda name: (-rest[name], name))
        self.rank = {name: number for number, name in enumerate(self.waiting)}
        self.makings: dict[SourceName, Making] = {}
        self.ready: list[Making] = []
        self.stages: dict[str, list[Making]] = {"begin": [], "prepare": [], "compile": [], "finish": []}
        self.usable: dict[SourceName, Artifact] = {}
        """What others may use: compiled, though perhaps not finished."""
        self.lost: dict[SourceName, SourceName] = {}
        """Sources that will not be there, and the failed one that is to blame."""
        self.started: dict[SourceName, float] = {}
        self.stopping = False
        self.events: queue.Queue[_Event] = queue.Queue()

    def work(self) -> Iterator[Progress | Outcome]:
        """Run to the end."""
        while self.waiting or self.ready or any(self.stages.values()):
            yield from self._skip()
            self._start()
            if any(self.stages.values()):
                event = self.events.get()
                if isinstance(event, Progress):
                    if event.source not in self.lost:  # what is skipped may still be in its early stage
                        yield event
                else:
                    self.stages[event.stage].remove(event.making)
                    yield from self._settle(event)

    def _skip(self) -> Iterator[Outcome]:
        """What cannot be built any more. Repeated: a skipped source takes those along that need it."""
        while True:
            gone = [name for name in self.waiting if self.stopping or self._find_culprit(name)]
            for name in gone:
                culprit = self._find_culprit(name)
                self.waiting.remove(name)
                self.lost[name] = culprit or name
                yield self._end_skipped(name, culprit)
            for made in [made for made in self.ready if self.stopping]:
                self.ready.remove(made)
                yield self._end_skipped(made.recipe.name, None)
            if not gone:
                return

    def _find_culprit(self, name: SourceName) -> SourceName | None:
        return next((self.lost[need] for need in self.context.graph.needs[name] if need in self.lost), None)

    def _end_skipped(self, name: SourceName, culprit: SourceName | None) -> Outcome:
        reason = f"needs {culprit}, which failed" if culprit else "stopped after a failure"
        return Outcome(
            source=name, ending=Ending.SKIPPED, version=None, reason=reason, seconds=0.0, at=time.monotonic()
        )

    def _start(self) -> None:
        """Start what can be started."""
        for name in list(self.waiting):
            needs = self.context.graph.needs[name]
            made = self._find_making(name)
            if all(need in self.usable for need in needs):
                if len(self.stages["prepare"]) < self.jobs and made not in self.stages["begin"]:
                    self.waiting.remove(name)
                    self.started[name] = time.monotonic()
                    made.finished = {need: self.usable[need] for need in needs}
                    self._submit(made, "prepare", partial(job.prepare, made, self.builds))
            elif name in self.early and not self.stages["begin"] and self._knows(needs):
                self.early.remove(name)
                self._submit(made, "begin", partial(job.begin, made, [*self.builds, *self.usable.values()]))
        self.ready.sort(key=lambda made: (made.recipe.name not in self.longest, self.rank[made.recipe.name]))
        # The first in line is not overtaken by one that holds less: it would never have its turn.
        while self.ready and self._has_place(self.ready[0]) and self._fits(self.ready[0]):
            made = self.ready.pop(0)
            self._submit(made, "compile", partial(job.compile_source, made, self.jobserver))

    def _find_making(self, name: SourceName) -> Making:
        if name not in self.makings:
            self.makings[name] = Making(
                context=self.context,
                recipe=self.context.recipes[name],
                base=self.base,
                report=self._make_report(name),
                retry=name in self.named,
            )
        return self.makings[name]

    def _knows(self, needs: Sequence[SourceName]) -> bool:
        """Whether all but one were built before or just now: the more are known, the better the guess of a layer."""
        return len([need for need in needs if need not in self.built and need not in self.usable]) <= 1

    def _has_place(self, made: Making) -> bool:
        """Whether it may compile now. One place of several is kept for the longest chain unless others hold that up."""
        compiling = [other.recipe.name for other in self.stages["compile"]]
        coming = [other.recipe.name for other in (*self.stages["prepare"], *self.ready)]
        chain = [name for name in (*self.waiting, *coming) if name in self.longest]
        places = self.jobs
        if chain and made.recipe.name not in self.longest and self.longest.isdisjoint(compiling):
            needs = self.context.graph.needs[min(chain, key=self.rank.__getitem__)]
            if all(need in self.usable or need in self.longest for need in needs):
                places = max(1, self.jobs - 1)
        return len(compiling) < places

    def _fits(self, made: Making) -> bool:
        """Whether there is memory for it. Asked again at every event: something compiles where there is not."""
        running = [(self._expect(other), other.gauge.now) for other in self.stages["compile"]]
        return fits(self._expect(made), read_available(), running)

    def _expect(self, made: Making) -> int:
        return self.measured.get(made.recipe.name, Measured()).memory

    def _make_report(self, name: SourceName) -> Callable[[str], None]:
        return lambda phase: self.events.put(Progress(source=name, phase=phase, at=time.monotonic()))

    def _submit(self, made: Making, stage: str, act: Callable[[], bool | None]) -> None:
        self.stages[stage].append(made)
        leads = made.recipe.name in self.longest and not (stage == "finish" and self._holds_up())
        made.nice = 0 if leads else process.NICE
        future = self.pool.submit(act)
        future.add_done_callback(lambda future: self.events.put(_Done(making=made, stage=stage, future=future)))

    def _holds_up(self) -> bool:
        """Whether a source waits for one that is not compiled yet. A meta-package waits for all, and takes a moment."""
        begun = (made.recipe.name for stage in ("prepare", "compile") for made in self.stages[stage])
        left = {*self.waiting, *begun, *(made.recipe.name for made in self.ready)}
        builds = (name for name in left if self.context.recipes[name].style.name != META)
        return any(not left.isdisjoint(self.context.graph.needs[name]) for name in builds)

    def _settle(self, done: _Done) -> Iterator[Progress | Outcome]:
        """Take a source on after one of its stages. Foreseen failures become its outcome."""
        made, name = done.making, done.making.recipe.name
        try:
            reused = done.future.result()
        except Interrupted:
            raise
        except (HapkgError, OSError) as cause:
            yield self._fail(made, cause)
            return
        if done.stage == "begin" or (done.stage == "prepare" and not reused):
            if name not in self.lost:
                yield Progress(source=name, phase=WAIT, at=time.monotonic())
            if done.stage == "prepare":
                self.ready.append(made)
            return
        if made.artifact is None or made.step is None:
            raise AssertionError("a stage that did not fail has its artifact")
        if done.stage == "compile":
            self.usable[name] = made.artifact
            self._submit(made, "finish", partial(job.finish, made))
            return
        self.usable.setdefault(name, made.artifact)
        yield Outcome(
            source=name,
            ending=Ending.REUSED if reused else Ending.BUILT,
            version=made.version,
            reason=made.step.reason,
            seconds=time.monotonic() - self.started[name],
            log=made.artifact.log,
            artifact=made.artifact,
            at=time.monotonic(),
        )

    def _fail(self, made: Making, cause: HapkgError | OSError) -> Outcome:
        name = made.recipe.name
        error = job.describe(made, cause)
        self.lost[name] = name
        self.usable.pop(name, None)
        self.stopping = self.stopping or not self.keep_going
        return Outcome(
            source=name,
            ending=Ending.FAILED,
            version=made.version,
            reason=error.brief,
            seconds=time.monotonic() - self.started[name],
            log=made.log,
            error=error,
            fault=classify(error),
            at=time.monotonic(),
        )


@contextlib.contextmanager
def _pool(workers: int, store: Store) -> Iterator[ThreadPoolExecutor]:
    """Workers that leave nothing behind: on any early end their processes and sessions are ended first."""
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        yield pool
    except BaseException:
        process.stop_all()
        for name in schroot.find_sessions(store.state):
            schroot.end_session(name)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        process.reset()
