"""Running a plan: several sources at a time, each as soon as what it needs is finished.

The engine never prints: it yields events, and the caller shows them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hapkg import chroot as chroots
from hapkg import command
from hapkg.build import BuildTask, build, check_with_lintian
from hapkg.chroot import Chroot
from hapkg.control import BinaryName, SourceName, Suite, parse_relation_names, read_deb_control
from hapkg.errors import HapkgError, Interrupted, MachineError
from hapkg.health import check_packages
from hapkg.lock import check_entry, make_entry, write_lock
from hapkg.mirror import Mirror
from hapkg.origin import Tarball, fetch, fetch_patch
from hapkg.plan import Action, Step
from hapkg.recipe import Recipe, Style
from hapkg.source import make_source_package, unpack
from hapkg.store import TARBALLS, Artifact, Store, file_digest
from hapkg.template import DebianFolder
from hapkg.workshop import Workshop, collect_inputs, decide_step, read_architecture, render

_STORED_SUFFIXES = (".deb", ".changes", ".buildinfo", ".dsc", ".txt", *TARBALLS)


class Ending(StrEnum):
    """How a source of a run ended."""

    BUILT = "built"
    REUSED = "reused"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One source at the end of a run."""

    source: SourceName
    ending: Ending
    version: str | None
    reason: str
    seconds: float
    log: Path | None = None
    artifact: Artifact | None = None
    error: HapkgError | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A source, or the base chroot, entered a phase."""

    source: str
    phase: str


def run(
    workshop: Workshop, targets: Sequence[SourceName], *, jobs: int, keep_going: bool
) -> Iterator[Progress | Outcome]:
    """Build the targets and all they need, at most jobs at a time. The caller holds the store's lock.

    Every source of the plan ends in exactly one Outcome. Closing the iterator ends running builds and their sessions.
    """
    workshop.store.reclaim()
    chroots.reclaim(workshop.store.root)
    base = chroots.find_chroot(workshop.store.root, workshop.suite)
    if base is None:
        yield Progress(source=f"chroot {workshop.suite}", phase="create")
        base = create_chroot(workshop.store, workshop.suite, workshop.mirror)
    builds = workshop.store.list_builds()
    order = list(workshop.graph.closure(targets))
    finished: dict[SourceName, Artifact] = {}
    lost: dict[SourceName, SourceName] = {}
    running: dict[Future[Outcome], SourceName] = {}
    events: queue.Queue[Progress | Future[Outcome]] = queue.Queue()
    stopping = False
    with _pool(jobs, workshop.store) as pool:
        while order or running:
            for name in list(order):
                needs = workshop.graph.needs[name]
                culprit = next((lost.get(need, need) for need in needs if need in lost), None)
                if culprit is not None or stopping:
                    order.remove(name)
                    lost[name] = culprit or name
                    reason = f"needs {culprit}, which failed" if culprit else "stopped after a failure"
                    yield Outcome(source=name, ending=Ending.SKIPPED, version=None, reason=reason, seconds=0.0)
                elif len(running) < jobs and all(need in finished for need in needs):
                    order.remove(name)
                    future = pool.submit(_process, workshop, name, base, builds, dict(finished), events)
                    running[future] = name
                    future.add_done_callback(events.put)
            if not running:
                continue
            event = events.get()
            if isinstance(event, Progress):
                yield event
                continue
            name = running.pop(event)
            outcome = event.result()
            if outcome.artifact is not None:
                finished[name] = outcome.artifact
            else:
                lost[name] = name
                stopping = stopping or not keep_going
            yield outcome


def create_chroot(store: Store, suite: Suite, mirror: Mirror | None) -> Chroot:
    """Make the base chroot of a suite, with its log in the state folder. The caller holds the store's lock."""
    log = store.root / "logs" / f"chroot-{suite}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        try:
            return chroots.create_chroot(store.root, suite, mirror, log=file)
        except HapkgError as error:
            if isinstance(error, Interrupted):
                raise
            tail = log.read_text("utf-8", "replace").splitlines()[-12:]
            error.brief = f"the base chroot of {suite} cannot be made: {error.brief}"
            error.details = (*tail, f"log: {log}")
            error.hint = error.hint or "check the network and --mirror; hapkg doctor checks the rest"
            raise


@contextlib.contextmanager
def _pool(jobs: int, store: Store) -> Iterator[ThreadPoolExecutor]:
    """Workers that leave nothing behind: on any early end their processes and sessions are ended first."""
    pool = ThreadPoolExecutor(max_workers=jobs)
    try:
        yield pool
    except BaseException:
        command.stop_all()
        for name in chroots.find_sessions(store.root):
            chroots.end_session(name)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        command.reset()


def _process(
    workshop: Workshop,
    name: SourceName,
    base: Chroot,
    builds: Sequence[Artifact],
    finished: Mapping[SourceName, Artifact],
    events: queue.Queue[Progress | Future[Outcome]],
) -> Outcome:
    """Take one source from its recipe to the store. Foreseen failures become part of the outcome."""
    started = time.monotonic()
    recipe = workshop.recipes[name]
    log = workshop.store.failure_log(workshop.suite, name)
    version: str | None = None
    try:
        step = decide_step(workshop, recipe, base.digest, builds, finished)
        version = step.version
        if step.action is Action.REUSE and step.artifact is not None:
            workshop.store.verify(step.artifact)
            workshop.store.touch(step.artifact)
            return Outcome(
                source=name,
                ending=Ending.REUSED,
                version=version,
                reason=step.reason,
                seconds=time.monotonic() - started,
                log=step.artifact.log,
                artifact=step.artifact,
            )
        shutil.rmtree(log.parent, ignore_errors=True)
        log.parent.mkdir(parents=True)
        artifact = _build(workshop, recipe, step, base, finished, log, lambda phase: events.put(_progress(name, phase)))
    except Interrupted:
        raise
    except (HapkgError, OSError) as cause:
        error = cause if isinstance(cause, HapkgError) else _describe_machine(name, cause)
        shutil.rmtree(workshop.store.work / name, ignore_errors=True)
        with contextlib.suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            if f"log: {log}" not in error.details:  # an error that quotes the log adds nothing to it
                with log.open("a", encoding="utf-8") as file:
                    file.writelines(f"{line}\n" for line in (f"error: {error.brief}", *error.details))
        return Outcome(
            source=name,
            ending=Ending.FAILED,
            version=version,
            reason=error.brief,
            seconds=time.monotonic() - started,
            log=log,
            error=error,
        )
    shutil.rmtree(log.parent, ignore_errors=True)
    return Outcome(
        source=name,
        ending=Ending.BUILT,
        version=version,
        reason=step.reason,
        seconds=time.monotonic() - started,
        log=artifact.log,
        artifact=artifact,
    )


def _describe_machine(source: SourceName, cause: OSError) -> MachineError:
    """What the machine refused; copying a folder lists its refusals in one error without a number."""
    lines = [why for *_, why in cause.args[0]] if isinstance(cause, shutil.Error) else [str(cause)]
    if cause.errno in (errno.ENOSPC, errno.EDQUOT) or any(os.strerror(errno.ENOSPC) in line for line in lines):
        return MachineError(f"{source}: the disk is full", details=lines[:3], hint="free some space: hapkg clean")
    return MachineError(f"{source}: the state folder cannot be used", details=lines[:3], hint="run: hapkg doctor")


def _progress(source: str, phase: str) -> Progress:
    return Progress(source=source, phase=phase)


def _build(
    workshop: Workshop,
    recipe: Recipe,
    step: Step,
    base: Chroot,
    finished: Mapping[SourceName, Artifact],
    log: Path,
    report: Callable[[str], None],
) -> Artifact:
    if step.version is None or step.key is None:
        raise AssertionError("a step that runs has its version and key")
    work = workshop.store.work / recipe.name
    shutil.rmtree(work, ignore_errors=True)
    made = work / "made"
    made.mkdir(parents=True)
    started = time.monotonic()
    tarball: Tarball | None = None
    if not recipe.native:
        report("fetch")
        tarball = workshop.snapshots.get(recipe.name) or fetch(recipe, workshop.store.root, workshop.mirror)
        with log.open("a", encoding="utf-8") as file:
            file.writelines(f"origin: {note}\n" for note in (*tarball.notes, tarball.origin))
    remote = {
        patch.name: fetch_patch(recipe, patch, workshop.store.root, workshop.mirror) for patch in recipe.remote_patches
    }
    fetched = time.monotonic()
    report("source")
    debian = render(workshop, recipe, step.version, step.key, finished)
    patches = {f"patches/{name}": content for name, content in remote.items()}
    debian = DebianFolder(files={**debian.files, **patches})
    package = make_source_package(
        recipe,
        debian,
        tarball,
        version=step.version,
        target=work / "source",
        inspect=lambda tree: _check_lock(workshop, recipe, tarball, tree),
    )
    packaged = time.monotonic()
    needs = workshop.graph.needs[recipe.name] if recipe.style is not Style.META else ()
    task = BuildTask(
        source=recipe.name,
        package=package,
        chroot=base,
        stack_debs=_find_stack_debs(workshop, recipe, [finished[need] for need in needs]),
        forbidden=tuple(pattern for other in workshop.recipes.values() for pattern in other.shadows),
        parallel=workshop.parallel,
        source_date_epoch=recipe.source_date_epoch,
    )
    seconds = build(task, made, log, report)
    report("check")
    checking = time.monotonic()
    check_packages(recipe, made, workshop.project.settings.prefix, task.stack_debs)
    if workshop.lintian:
        check_with_lintian(task, made)
    checked = time.monotonic()
    for path in (*package.files, log):
        shutil.copyfile(path, made / path.name)
    artifact = Artifact(
        key=step.key,
        source=recipe.name,
        version=step.version,
        suite=workshop.suite,
        architecture=read_architecture(),
        inputs=collect_inputs(workshop, recipe, base.digest, read_architecture(), finished),
        origin=tarball.origin if tarball else "written by hapkg",
        files={file.name: file_digest(file) for file in sorted(made.iterdir()) if file.name.endswith(_STORED_SUFFIXES)},
        seconds={
            "fetch": round(fetched - started, 2),
            "source": round(packaged - fetched, 2),
            **seconds,
            "check": round(checked - checking, 2),
        },
        folder=made,
    )
    stored = workshop.store.add_build(artifact, made)
    shutil.rmtree(work, ignore_errors=True)
    return stored


def _check_lock(workshop: Workshop, recipe: Recipe, tarball: Tarball | None, tree: Path) -> None:
    """Refuse a source that is not what the suite's lock says. A snapshot was asked for by name: it is never locked."""
    if workshop.lock is not None and tarball is not None and recipe.name not in workshop.snapshots:
        check_entry(workshop.lock, recipe.name, make_entry(recipe, tarball, tree))


def make_lock(workshop: Workshop, names: Sequence[SourceName]) -> Path:
    """Fetch and unpack the named sources and write what they are into the suite's lock; other entries stay.

    Entries of sources that have no recipe any more are dropped. The caller holds the store's lock.
    """
    workshop.store.reclaim()
    old = workshop.lock.sources if workshop.lock else {}
    entries = {name: entry for name, entry in old.items() if name in workshop.recipes}
    for name in names:
        recipe = workshop.recipes[name]
        if recipe.native:
            continue
        tarball = fetch(recipe, workshop.store.root, workshop.mirror)
        for patch in recipe.remote_patches:
            fetch_patch(recipe, patch, workshop.store.root, workshop.mirror)
        tree = workshop.store.work / name
        tree.mkdir()
        unpack(recipe, tarball.path, tree)
        entries[name] = make_entry(recipe, tarball, tree)
        shutil.rmtree(tree)
    return write_lock(workshop.project.root, workshop.suite, entries)


def _find_stack_debs(workshop: Workshop, recipe: Recipe, artifacts: Sequence[Artifact]) -> tuple[Path, ...]:
    """The packages of the stack that a build may see: what it names, and what those need at run time."""
    offered: dict[BinaryName, tuple[Path, Mapping[str, str]]] = {}
    for artifact in artifacts:
        for deb in artifact.paths(".deb"):
            name = BinaryName(deb.name.split("_")[0])
            if name in workshop.graph.providers:
                offered[name] = (deb, read_deb_control(deb))
    wanted: dict[BinaryName, Path] = {}
    stack = [name for name in recipe.needs if name in offered]
    while stack:
        name = stack.pop()
        if name in wanted:
            continue
        deb, control = offered[name]
        wanted[name] = deb
        relations = parse_relation_names(", ".join(filter(None, (control.get("Depends"), control.get("Pre-Depends")))))
        stack.extend(other for alternatives in relations for other in alternatives if other in offered)
    return tuple(wanted[name] for name in sorted(wanted))
