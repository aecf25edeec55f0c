"""One run of a plan: all of it is reused, or the scheduler builds the rest with the stages of job.py.

Nothing here prints: events are yielded, and the caller shows them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from hapkg import disk
from hapkg.apt.mirror import Mirror, digest_further
from hapkg.build import job
from hapkg.build.builder import enter_tree
from hapkg.build.context import BuildContext, SharedBuilds
from hapkg.build.events import Ending, Outcome, Progress
from hapkg.build.job import Compiled, Fetched, Job, Prepared
from hapkg.build.limits import read_available
from hapkg.build.pins import check_pins
from hapkg.build.plan import Action, Step
from hapkg.build.planner import Planner
from hapkg.build.priority import find_longest, find_measured, measure_paths
from hapkg.build.scheduler import Events, Scheduler, Stages, Work
from hapkg.build.store import Artifact, Store
from hapkg.build.timings import CREATE, read_records
from hapkg.chroot import layer, schroot, sessions
from hapkg.chroot.base import Pin
from hapkg.chroot.base_lock import BaseLock
from hapkg.chroot.pinned import make_mirror, prune_mirrors
from hapkg.chroot.schroot import Chroot
from hapkg.chroot.sessions import Session
from hapkg.control import SourceName, Suite
from hapkg.errors import HapkgError, IntegrityError, Interrupted, UsageError
from hapkg.programs import process
from hapkg.recipe.settings import Project, find_further
from hapkg.recipe.style import META

_BOUNDLESS = 1 << 60
"""Bytes of memory, for builds that take none of this machine's."""


class Farm(Protocol):
    """Machines that build what this one plans."""

    @property
    def places(self) -> int:
        """Sources that are handed out at the same time; more than can compile may wait there."""

    def send_out(
        self, jobs: Mapping[SourceName, Job], work: Work, stages: Stages[Fetched, Prepared, Compiled]
    ) -> Stages[Fetched, Prepared, Compiled]:
        """The stages of a run, given those of this machine."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a run."""

    jobs: int
    """Sources that compile at the same time."""
    keep_going: bool = False
    """After a failure, build what does not need the failed source."""
    retry: bool = False
    """Build again targets that failed before with the same inputs."""
    farm: Farm | None = None
    """Other machines that build; None: this one does."""


def run_plan(
    context: BuildContext, targets: Sequence[SourceName], plan: Sequence[Step], options: RunOptions
) -> Iterator[Progress | Outcome]:
    """Build the targets and all they need. The caller holds the store's lock.

    plan was made under that lock; a source that it will surely build is prefetched. Every source ends in exactly one
    Outcome. Closing the iterator ends running builds and their sessions.
    """
    context.store.reclaim()
    sessions.reclaim(context.store.state)
    if _is_up_to_date(context, plan):
        yield from (_reuse(context.store, step) for step in plan)
        return

    base = context.find_base()
    if base is None:
        name = f"chroot {context.suite}"
        yield Progress(source=name, phase=CREATE)
        base = find_shared_base(context.shared, context.project, context.suite, context.pin) or create_chroot(
            context.store, context.suite, context.mirror, context.pin
        )
        yield Progress(source=name, phase="ready")
    schroot.make_folders(context.store.state, context.suite)
    yield from _build(context, targets, plan, base, options)


def tidy_layers(store: Store) -> None:
    """Remove layers that nobody used for long, and what is left of others. Nobody else works with the state folder."""
    layer.prune_layers(store.state)
    layer.sweep(store.state)


@contextlib.contextmanager
def enter_source(context: BuildContext, name: SourceName) -> Iterator[tuple[Session, str]]:
    """The session in which a source is built, and the folder in it where its tree lies, patched and not yet compiled.

    The caller holds the store's lock. Raises UsageError where a source that it needs is not built.
    """
    context.store.reclaim()
    sessions.reclaim(context.store.state)
    base = context.find_base()
    builds = [build for build in context.store.list_builds() if build.source != name]
    steps = Planner(context, base, builds).plan(list(context.graph.needs[name]))
    missing = next((step.source for step in steps if step.artifact is None), None)
    if base is None or missing:
        what = f"{name} needs {missing}, which is not built" if missing else f"no base chroot of {context.suite} yet"
        raise UsageError(what, hint=f"run: hapkg build {missing or name} --suite {context.suite}")
    schroot.make_folders(context.store.state, context.suite)
    planner, log = Planner(context, base, builds), context.store.state.work / f"{name}-shell.log"
    one = Job(planner=planner, recipe=context.recipes[name], base=base, notify=lambda phase: None, own_log=log)
    finished = {step.source: step.artifact for step in steps if step.artifact is not None}
    disk.remove_tree(one.work)
    one.work.mkdir(parents=True)
    try:
        package = job.pack_source(one, step := planner.decide(one.recipe, finished), job.fetch_source(one), finished)
        task = job.make_task(one, step, package, finished, 0)
        with enter_tree(task, log) as session:
            yield session, task.tree
    finally:
        disk.remove_tree(one.work)
        log.unlink(missing_ok=True)


def find_shared_base(
    shared: SharedBuilds | None, project: Project, suite: Suite, pin: BaseLock | None
) -> Chroot | None:
    """The base chroot that the build cache has, stored here; None where there is none that is wanted.

    Machines that take it have the keys of the one that pushed it. The caller holds the store's lock.
    """
    if shared is None:
        return None
    further = digest_further(find_further(project, suite))
    return shared.bring_base(suite, further=further, pinned=pin.digest if pin else "")


def create_chroot(store: Store, suite: Suite, mirror: Mirror, pin: BaseLock | None) -> Chroot:
    """Make the base chroot of a suite, with its log in the state folder. The caller holds the store's lock.

    With a pin it is made of the packages that this names, from the mirror as far as they are not in the state folder.
    """
    log = store.state.logs / f"chroot-{suite}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        try:
            if pin is None:
                return schroot.create_chroot(store.state, suite, mirror, log=file)
            own = make_mirror(store.state, suite, mirror.distribution, pin.locate(mirror), file)
            only = Pin(digest=pin.digest, packages={name: package.version for name, package in pin.base.items()})
            made = schroot.create_chroot(store.state, suite, own, log=file, pin=only)
            prune_mirrors(store.state, suite, keep=own)
            return made
        except HapkgError as error:
            if isinstance(error, Interrupted):
                raise
            tail = log.read_text("utf-8", "replace").splitlines()[-12:]
            error.brief = f"the base chroot of {suite} cannot be made: {error.brief}"
            error.details = (*tail, f"log: {log}")
            error.hint = error.hint or _advise(mirror)
            raise


def _advise(mirror: Mirror) -> str:
    """Advice on a base chroot that could not be made from a mirror."""
    keys = mirror.distribution.missing_keys
    if keys and not (mirror.uri or "").startswith("["):
        return f"this machine lacks the keys of {mirror.distribution.vendor}'s archive: {keys}"
    remark = f" ({mirror.remark})" if mirror.remark else ""
    return f"check the network and --mirror{remark}; hapkg doctor checks the rest"


def _is_up_to_date(context: BuildContext, plan: Sequence[Step]) -> bool:
    """Every source of the plan is reused, and is the one that the suite is locked to."""
    if not plan or any(step.action is not Action.REUSE for step in plan):
        return False
    try:
        for step in plan:
            check_pins(context, context.recipes[step.source])
    except IntegrityError:
        return False
    return True


def _reuse(store: Store, step: Step) -> Outcome:
    """Take a finished build as it is, if its files are those that were stored. Raises IntegrityError."""
    artifact = step.artifact
    if artifact is None:
        raise ValueError(f"the step of {step.source} reuses nothing")
    started = time.monotonic()
    store.verify(artifact, quick=True)
    store.touch(artifact)
    return Outcome(
        source=step.source,
        ending=Ending.REUSED,
        version=step.version,
        reason=step.reason,
        seconds=time.monotonic() - started,
        log=artifact.log,
        artifact=artifact,
    )


def _build(
    context: BuildContext, targets: Sequence[SourceName], plan: Sequence[Step], base: Chroot, options: RunOptions
) -> Iterator[Progress | Outcome]:
    """Build in this base, with the scheduler and the stages of job.py."""

    builds = context.store.list_builds()
    events, work = Events(), make_work(context, targets, plan, builds)
    planner = Planner(context, base, builds)
    jobs = _make_jobs(planner, base, work.order, frozenset(targets if options.retry else ()), events)
    stages, places = _make_stages(jobs), options.jobs
    if options.farm is not None:
        stages, places = options.farm.send_out(jobs, work, stages), options.farm.places
    with contextlib.ExitStack() as held:
        for one in jobs.values():
            held.push(one.held)
        with open_pool(3 * places + 3, context.store) as pool:
            yield from Scheduler(
                work,
                stages,
                events,
                pool,
                jobs=places,
                keep_going=options.keep_going,
                read_available=(lambda: _BOUNDLESS) if options.farm else read_available,
                read_held=lambda name: jobs[name].gauge.now,
            ).run()


def make_work(
    context: BuildContext, targets: Sequence[SourceName], plan: Sequence[Step], builds: Sequence[Artifact]
) -> Work:
    """The sources of a run for the scheduler, in an order that follows from the times of earlier runs."""

    measured = find_measured(context.suite, builds, read_records(context.store.state))
    rest = measure_paths(context.graph, context.graph.closure(targets), measured)
    return Work(
        needs={name: context.graph.needs[name] for name in rest},
        order=sorted(rest, key=lambda name: (-rest[name], name)),
        longest=frozenset(find_longest(context.graph, rest)),
        prefetch=frozenset(step.source for step in plan if step.action is Action.BUILD and context.shared is None),
        known=frozenset(build.source for build in builds if build.suite == context.suite),
        tested=frozenset(name for name in rest if job.has_tests(context, context.recipes[name])),
        brief=frozenset(name for name in rest if context.recipes[name].style.name == META),
        memory={name: found.memory for name, found in measured.items()},
    )


def _make_jobs(
    planner: Planner, base: Chroot, names: Sequence[SourceName], retried: Collection[SourceName], events: Events
) -> dict[SourceName, Job]:

    def make_job(name: SourceName) -> Job:
        return Job(
            planner=planner,
            recipe=planner.context.recipes[name],
            base=base,
            notify=lambda phase: events.put(Progress(source=name, phase=phase)),
            retry=name in retried,
        )

    return {name: make_job(name) for name in names}


def _make_stages(jobs: dict[SourceName, Job]) -> Stages[Fetched, Prepared, Compiled]:

    return Stages(
        prefetch=lambda name, compiled, nice: job.prefetch(jobs[name], compiled, nice),
        decide=lambda name, finished: job.decide(jobs[name], finished),
        prepare=lambda name, step, finished, fetched, nice: job.prepare(jobs[name], step, finished, fetched, nice),
        compile=lambda name, prepared, nice: job.compile_source(jobs[name], prepared, nice),
        test=lambda name, compiled: job.test_source(jobs[name], compiled),
        lint=lambda name, compiled, nice: job.lint(jobs[name], compiled, nice),
        store=lambda name, compiled: job.store(jobs[name], compiled),
        cancel=lambda name: jobs[name].cancelled.set(),
        describe=lambda name, step, cause: job.describe_failure(jobs[name], step, cause),
    )


@contextlib.contextmanager
def open_pool(workers: int, store: Store) -> Iterator[ThreadPoolExecutor]:
    """Workers that leave nothing behind: on any early end their processes and sessions are ended first."""
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        yield pool
    except BaseException:
        process.stop_all()
        for name in sessions.find_sessions(store.state):
            sessions.end_session(name)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        process.reset()
