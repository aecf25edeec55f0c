"""A machine that builds for others: it takes orders from a scheduler of Dask, and compiles one in each thread.

A thread is free for the next order when packages are made. Upstream's tests and lintian go on beside that in threads
of their own, which Dask calls seceded: they mostly wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from distributed import Worker, get_worker, secede
from distributed.core import Status
from distributed.worker import thread_state

from hapkg import disk
from hapkg.build import failures, job
from hapkg.build.job import Job, Prepared, timed
from hapkg.build.limits import read_available
from hapkg.build.planner import Planner
from hapkg.build.run import tidy_layers
from hapkg.build.store import Artifact, Store
from hapkg.cache.base import take_base
from hapkg.cache.files import bring_files, put_files
from hapkg.cache.place import WritablePlace, find_writable
from hapkg.chroot import schroot, sessions
from hapkg.chroot.schroot import Chroot, find_chroot
from hapkg.chroot.transport import is_of_facts
from hapkg.errors import HapkgError, Interrupted, MachineError
from hapkg.farm.order import COMPILED, LOG, PHASE, TESTED, Order, Reply, describe_program
from hapkg.host import count_cores, read_architecture
from hapkg.programs import process
from hapkg.source.package import SourcePackage

MEMORY = "memory"
"""Dask's resource for bytes of memory that builds are expected to hold."""
_MADE = (".deb", ".changes", ".buildinfo")
_LOOK_SECONDS = 1.0
_LOG_BYTES = 8 << 10
"""Of a log, told at once: Dask's scheduler keeps the last thousand pieces of news in memory."""
_CLEAR_SECONDS = 30.0
"""For orders to end: their processes are given two, and schroot unmounts what they leave."""
_AGAIN_SECONDS = 3.0
"""Between two tries to reach a scheduler."""
_ENDED = ("cancelled", "forgotten", "released", "error")
"""States of Dask's in which nobody waits for a task any more."""


def name_places(architecture: str) -> str:
    """Dask's resource for sources that a machine of an architecture has at work: threads compile, places test too."""
    return f"hapkg-{architecture}"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who gave an order, as it is seen from the work on it."""

    tell: Callable[[str, object], None]
    """Takes news: their kind, and their content."""
    is_wanted: Callable[[], bool]
    """False when nobody waits for the order any more."""
    let_next_in: Callable[[], object]
    """Called when packages are made: another source may compile while this one is tested."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The part of a worker that no Dask is needed for: its state folder, and who uses what in it."""

    store: Store
    base: Path
    """A build cache that the coordinator names as a relative folder is below this one."""
    place: str | None = None
    """The build cache as it is reached from here; None: as the coordinator names it."""
    changed: threading.Condition = field(default_factory=threading.Condition)
    used: defaultdict[Path, int] = field(default_factory=lambda: defaultdict(int))
    """Orders that are at work over each base chroot."""
    sources: defaultdict[tuple[str, str, str], threading.Lock] = field(
        default_factory=lambda: defaultdict(threading.Lock)
    )
    """One order at a time for each architecture, suite and source: two coordinators may want it."""
    orders: set[int] = field(default_factory=set)
    """Threads that are at work on one, or wait for what another one holds."""

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """Count this thread among those that are at work on an order."""
        with self.changed:
            self.orders.add(threading.get_ident())
        try:
            yield
        finally:
            with self.changed:
                self.orders.discard(threading.get_ident())
                self.changed.notify_all()

    def wait_for_orders(self, seconds: float) -> None:
        """Wait until nobody is at work on an order, for so many seconds at most."""
        with self.changed:
            self.changed.wait_for(lambda: not self.orders, seconds)

    @contextlib.contextmanager
    def hold_base(self, order: Order, store: Store, depot: WritablePlace) -> Iterator[Chroot]:
        """The coordinator's base chroot, brought here where this machine's is another one and nobody uses that."""
        suite, facts, folder = order.context.suite, order.base.facts, store.state.chroots / order.context.suite
        with self.changed:
            while not is_of_facts(base := find_chroot(store.state, suite), facts) and self.used[folder]:
                self.changed.wait(_LOOK_SECONDS)
            if base is None or not is_of_facts(base, facts):
                base = take_base(depot, store.state, suite, facts, order.base.file)
            self.used[folder] += 1
        try:
            schroot.make_folders(store.state, suite)
            yield base
        finally:
            with self.changed:
                self.used[folder] -= 1
                self.changed.notify_all()


class BuildWorker(Worker):  # type: ignore[misc]  # Dask's classes have no types
    """Dask's worker with a bench, which it has before it is known to the scheduler: orders may wait there."""

    def __init__(self, scheduler: str, bench: Bench, **options: object) -> None:
        super().__init__(scheduler, **options)
        self.bench = bench


def build(order: Order) -> Reply:
    """Build the source of an order, in a thread of a BuildWorker; whatever fails is part of the reply."""
    worker = get_worker()
    key = thread_state.key

    def tell(kind: str, content: object) -> None:
        worker.log_event(order.topic, {"key": key, "kind": kind, "content": content})

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state not in _ENDED and worker.status is Status.running

    caller = Caller(tell=tell, is_wanted=is_wanted, let_next_in=secede)
    return replace(fulfil(worker.bench, order, caller), address=worker.address)


def fulfil(bench: Bench, order: Order, caller: Caller) -> Reply:
    """Build the source of an order; the build ends soon when it is not wanted any more."""
    machine = socket.gethostname()
    if order.program != describe_program():
        brief = f"{machine} has hapkg {describe_program()}, and the coordinator has {order.program}"
        return Reply(machine=machine, error=MachineError(brief, hint="bring hapkg to one version on all machines"))
    context = order.context
    store = bench.store.narrow(context.suite).turn_to(context.store.architecture or read_architecture())
    with contextlib.ExitStack() as held:
        held.enter_context(bench.take())
        held.enter_context(bench.sources[store.architecture, context.suite, order.source])
        folder = store.state.work / f"{order.source}.order"
        one: Job | None = None
        try:
            disk.remove_tree(folder)
            folder.mkdir(parents=True)
            held.callback(disk.remove_tree, folder)
            depot = find_writable(bench.place or order.place, bench.base)
            base = held.enter_context(bench.hold_base(order, store, depot))
            one = _make_job(order, store, base, depot, folder, lambda phase: caller.tell(PHASE, phase))
            held.callback(disk.remove_tree, one.work)
            held.push(one.held)
            job.begin(one)
            held.callback(disk.remove_tree, one.log.parent)
            held.enter_context(_watch(one, caller))
            return _work(order, one, depot, folder, caller, machine)
        except (HapkgError, OSError) as cause:
            if isinstance(cause, Interrupted):
                raise
            return _reply_failure(order, one, bench, machine, cause)


def _make_job(
    order: Order, store: Store, base: Chroot, depot: WritablePlace, folder: Path, notify: Callable[[str], None]
) -> Job:
    """The job of an order, with the packages that it needs in a folder here."""
    files = {"files": order.files, "packages": order.packages}
    for name, wanted in files.items():
        (folder / name).mkdir()
        bring_files(depot, wanted, folder / name, what=f"the order for {order.source} in the build cache {depot}")
    lead = order.context.lead
    context = replace(
        order.context,
        store=store,
        parallel=count_cores(),
        lead=None if lead is None else {name: _move(artifact, folder / "packages") for name, artifact in lead.items()},
    )
    recipe = context.recipes[order.source]
    return Job(planner=Planner(context, base, ()), recipe=recipe, base=base, notify=notify)


def _move(artifact: Artifact, folder: Path) -> Artifact:
    """A build with those of its files that lie in a folder."""
    return replace(
        artifact,
        folder=folder,
        files={name: digest for name, digest in artifact.files.items() if (folder / name).exists()},
    )


def _work(order: Order, one: Job, depot: WritablePlace, folder: Path, caller: Caller, machine: str) -> Reply:
    dsc = next(name for name in order.files if name.endswith(".dsc"))
    package = SourcePackage(
        dsc=folder / "files" / dsc,
        files=tuple(folder / "files" / name for name in order.files),
        debian=order.debian,
    )
    finished = {name: _move(artifact, folder / "packages") for name, artifact in order.finished.items()}
    task = replace(job.make_task(one, order.step, package, finished, 0), forbidden=order.forbidden)
    prepared = Prepared(step=order.step, task=task, origin=order.origin)
    job.install_layer(one, prepared)
    compiled = job.compile_source(one, prepared, 0)
    made = compiled.artifact.folder
    with timed(one, "collect"):
        files = put_files(depot, sorted(path for path in made.iterdir() if path.name.endswith(_MADE)))
    caller.tell(COMPILED, pickle.dumps((compiled.artifact, files)))
    caller.let_next_in()
    if order.tests:
        job.test_source(one, compiled)
    caller.tell(TESTED, "")
    if order.lint:
        job.lint(one, compiled, 0)
    files |= put_files(depot, sorted(made.glob("*.txt")))
    log = put_files(depot, [one.log])[one.log.name]
    return Reply(
        machine=machine,
        artifact=compiled.artifact,
        files=files,
        log=log,
        log_path=str(one.log),
        seconds=one.seconds,
        memory=one.gauge.peak,
    )


def _reply_failure(order: Order, one: Job | None, bench: Bench, machine: str, cause: HapkgError | OSError) -> Reply:
    """The reply of an order that failed, with the log if that can still be put into the build cache."""
    error = cause if isinstance(cause, HapkgError) else failures.describe_machine(order.source, cause)
    log = None
    if one is not None and one.log.is_file():
        with contextlib.suppress(HapkgError, OSError):
            depot = find_writable(bench.place or order.place, bench.base)
            log = put_files(depot, [one.log])[one.log.name]
    return Reply(machine=machine, error=error, log=log, log_path=str(one.log) if one is not None else "")


@contextlib.contextmanager
def _watch(one: Job, caller: Caller) -> Iterator[None]:
    """Tell what the log says, once a second, and cancel the job when nobody waits for it."""
    ended = threading.Event()

    def watch() -> None:
        told = 0
        while not ended.wait(_LOOK_SECONDS):
            if not caller.is_wanted():
                one.cancelled.set()
                return
            told = _tell_log(one.log, told, caller.tell)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _tell_log(log: Path, told: int, tell: Callable[[str, object], None]) -> int:
    """Tell the end of what was added to a log since so many bytes; its length."""
    with contextlib.suppress(OSError), log.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        if size > told:
            stream.seek(max(told, size - _LOG_BYTES))
            tell(LOG, stream.read(_LOG_BYTES))
            return size
    return told


def serve(scheduler: str, bench: Bench, *, jobs: int, say: Callable[[str], None]) -> None:
    """Take orders until Interrupted or KeyboardInterrupt, also from a scheduler that comes, or comes back, later.

    So many jobs compile at a time, and twice as many sources are at work: the others are tested.

    The caller holds the lock of the bench's store. Raises MachineError where the scheduler wants other credentials.
    """
    architectures = (read_architecture(), *bench.store.state.list_architectures())
    stores = [bench.store.turn_to(architecture) for architecture in architectures]
    for own in stores:
        own.reclaim()
        sessions.reclaim(own.state)
    tidy_layers(bench.store)
    try:
        _serve(scheduler, bench, jobs, say)
    except BaseException:
        process.stop_all()
        bench.wait_for_orders(_CLEAR_SECONDS)  # each ends its own session
        for own in stores:
            for name in sessions.find_sessions(own.state):
                sessions.end_session(name)
        raise


def _serve(scheduler: str, bench: Bench, jobs: int, say: Callable[[str], None]) -> NoReturn:
    """Take orders until whatever ends this."""
    resources = {name_places(read_architecture()): 2 * jobs, MEMORY: read_available()}
    told = f"waiting for {scheduler}"
    say(told)
    while True:
        try:
            asyncio.run(_serve_once(scheduler, bench, jobs, resources, say))
            news = f"{scheduler} is gone: waiting for it"
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            cause = _find_cause(error)
            if not isinstance(cause, OSError):
                raise MachineError(
                    f"this worker cannot speak to {scheduler}: {cause}"[:500],
                    hint="tls:// wants a certificate and its key in Dask's configuration: docs/workers.md",
                ) from error
            news = f"{scheduler} cannot be reached yet, waiting for it: {cause}"[:500]
        if news != told:
            say(told := news)
        time.sleep(_AGAIN_SECONDS)


def _find_cause(error: BaseException) -> BaseException:
    """The first of the errors that led to this one."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


async def _serve_once(
    scheduler: str, bench: Bench, jobs: int, resources: dict[str, int], say: Callable[[str], None]
) -> None:
    """Serve until the scheduler ends or loses sight of this worker."""
    name = f"{socket.gethostname()}-{os.getpid()}"
    async with BuildWorker(
        scheduler, bench, nthreads=jobs, name=name, resources=resources, memory_limit=0, dashboard=False
    ) as worker:
        say(f"{name} takes orders of {scheduler}, {jobs} at a time")
        await worker.finished()
