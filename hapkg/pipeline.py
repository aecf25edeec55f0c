"""Running a plan: several sources at a time, each as soon as what it needs is finished.

The engine never prints: it yields events, and the caller shows them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from hapkg import chroot as chroots
from hapkg import command
from hapkg.build import BuildTask, build, check_with_lintian
from hapkg.chroot import Chroot
from hapkg.config import Project
from hapkg.control import BinaryName, SourceName, Suite, parse_relation_names, read_deb_control
from hapkg.errors import HapkgError, Interrupted
from hapkg.graph import Graph
from hapkg.health import check_packages
from hapkg.mirror import Mirror
from hapkg.origin import Tarball, fetch
from hapkg.plan import PLACEHOLDER, Action, Release, Step, decide, defer, make_inputs
from hapkg.recipe import Recipe, Style
from hapkg.repository import Upload
from hapkg.source import make_source_package
from hapkg.store import Artifact, Store, file_digest
from hapkg.template import DebianFolder, render_debian

_STORED_SUFFIXES = (".deb", ".changes", ".buildinfo", ".dsc", ".tar.xz", ".tar.gz", ".tar.bz2", ".txt")


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


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Everything a run works with."""

    project: Project
    store: Store
    recipes: Mapping[SourceName, Recipe]
    graph: Graph
    suite: Suite
    mirror: Mirror | None
    published: tuple[Release, ...] = ()
    """Versions a repository already holds: rebuild numbers go on above them."""
    parallel: int = 1
    """What make may run at once inside one build."""
    lintian: bool = True


def make_plan(workshop: Workshop, targets: Sequence[SourceName]) -> tuple[Step, ...]:
    """The steps for the targets and all they need, in build order. Reads the store, changes nothing."""
    base = chroots.find_chroot(workshop.store.root, workshop.suite)
    builds = workshop.store.list_builds()
    finished: dict[SourceName, Artifact] = {}
    steps: list[Step] = []
    for name in workshop.graph.closure(targets):
        recipe = workshop.recipes[name]
        waiting = [need for need in workshop.graph.needs[name] if need not in finished]
        if waiting:
            step = defer(recipe, waiting)
        else:
            digest = base.digest if base else "none yet"
            step = _decide(workshop, recipe, digest, builds, finished)
            if base is None:
                step = replace(step, reason=f"no base chroot of {workshop.suite} yet")
        if step.artifact is not None:
            finished[name] = step.artifact
        steps.append(step)
    return tuple(steps)


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
        step = _decide(workshop, recipe, base.digest, builds, finished)
        version = step.version
        if step.action is Action.REUSE and step.artifact is not None:
            workshop.store.verify(step.artifact)
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
    except HapkgError as error:
        if not log.exists():
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("\n".join((error.brief, *error.details)) + "\n", "utf-8")
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


def _progress(source: str, phase: str) -> Progress:
    return Progress(source=source, phase=phase)


def _decide(
    workshop: Workshop,
    recipe: Recipe,
    chroot_digest: str,
    builds: Sequence[Artifact],
    finished: Mapping[SourceName, Artifact],
) -> Step:
    architecture = read_architecture()
    inputs = _make_inputs(workshop, recipe, chroot_digest, architecture, finished)
    return decide(recipe, inputs, suite=workshop.suite, builds=builds, published=workshop.published)


def _make_inputs(
    workshop: Workshop,
    recipe: Recipe,
    chroot_digest: str,
    architecture: str,
    finished: Mapping[SourceName, Artifact],
) -> dict[str, object]:
    debian = _render(workshop, recipe, PLACEHOLDER, PLACEHOLDER, finished)
    needs = workshop.graph.needs[recipe.name]
    return make_inputs(
        recipe,
        debian,
        suite=workshop.suite,
        architecture=architecture,
        chroot_digest=chroot_digest,
        stack={need: finished[need].digest for need in needs},
    )


def _render(
    workshop: Workshop, recipe: Recipe, version: str, key: str, finished: Mapping[SourceName, Artifact]
) -> DebianFolder:
    versions: dict[BinaryName, str] = {
        package: finished[source].version for package, source in workshop.graph.providers.items() if source in finished
    }
    return render_debian(
        recipe,
        workshop.project.settings,
        workshop.project.templates,
        suite=workshop.suite,
        version=version,
        key=key,
        versions=versions,
    )


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
    if recipe.style is not Style.META:
        report("fetch")
        tarball = fetch(recipe, workshop.store.root, workshop.mirror)
        with log.open("a", encoding="utf-8") as file:
            file.writelines(f"origin: {note}\n" for note in (*tarball.notes, tarball.origin))
    fetched = time.monotonic()
    report("source")
    debian = _render(workshop, recipe, step.version, step.key, finished)
    package = make_source_package(recipe, debian, tarball, version=step.version, target=work / "source")
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
    check_packages(recipe, made, workshop.project.settings.prefix)
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
        inputs=_make_inputs(workshop, recipe, base.digest, read_architecture(), finished),
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


@functools.cache
def read_architecture() -> str:
    """Debian's name of this machine's architecture."""
    return command.run(["dpkg", "--print-architecture"]).output.strip()


def count_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def collect_uploads(store: Store, sources: set[SourceName], suites: Sequence[Suite]) -> tuple[Upload, ...]:
    """The newest finished build of every source and suite, verified, as uploads for a repository."""
    newest = {(artifact.suite, artifact.source): artifact for artifact in store.list_builds()}
    wanted = sorted(place for place in newest if place[0] in suites and place[1] in sources)
    chosen = [newest[place] for place in wanted]
    for artifact in chosen:
        store.verify(artifact)
    return tuple(
        Upload(suite=artifact.suite, source=artifact.source, files=artifact.paths(".deb", ".dsc", ".tar.xz", ".tar.gz"))
        for artifact in chosen
    )


def clean(workshop: Workshop, names: Sequence[SourceName], *, everything: bool) -> int:
    """Remove what is not needed any more; returns the bytes freed. The caller holds the store's lock.

    Without names: all builds but the newest of each source and suite, failed builds and scratch, and with everything
    also the newest builds, downloaded sources and packages. With names: every build of these sources.
    """
    store = workshop.store
    before = _measure(store.root)
    store.reclaim()
    chroots.reclaim(store.root)
    builds = store.list_builds()
    newest = {(artifact.suite, artifact.source): artifact for artifact in builds}
    kept = set() if everything else {artifact.key for artifact in newest.values()}
    for artifact in builds:
        if artifact.source in names if names else artifact.key not in kept:
            store.remove_build(artifact)
    if not names:
        folders = ("failed", "sources", "archives", "logs") if everything else ("failed",)
        for folder in folders:
            shutil.rmtree(store.root / folder, ignore_errors=True)
        for chroot in chroots.list_chroots(store.root):
            chroots.make_archives(store.root, chroot.suite)
    return max(0, before - _measure(store.root))


def _measure(folder: Path) -> int:
    """Bytes below the state folder, base chroots left out: they are never cleaned."""
    total = 0
    for parent, folders, files in os.walk(folder):
        if Path(parent) == folder and "chroots" in folders:
            folders.remove("chroots")
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(parent) / name).lstat().st_size
    return total
