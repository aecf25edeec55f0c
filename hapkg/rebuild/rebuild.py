"""Rebuilds, one after the other or side by side: each in its environment, under its variations, and compared."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from hapkg import disk
from hapkg.build.builder import BuildTask, build, run_tests
from hapkg.build.results import Results
from hapkg.build.run import open_pool
from hapkg.build.store import Store
from hapkg.chroot import schroot, sessions
from hapkg.control import Suite
from hapkg.distribution import Distribution
from hapkg.errors import HapkgError, IntegrityError, Interrupted, UsageError
from hapkg.evidence.rebuilt import RebuiltPackage, make_rebuild, note_rebuilds
from hapkg.host import read_architecture
from hapkg.rebuild.comparison import Comparison, compare
from hapkg.rebuild.environment import Environment, Environments, open_environments
from hapkg.rebuild.subject import Subject
from hapkg.rebuild.variations import VARIATIONS, choose_parallel, make_conditions
from hapkg.recipe.settings import Limits

AS_IT_WAS = "as it was"
"""A rebuild without a variation, in words."""


@dataclass(frozen=True, kw_only=True)
class RebuildOptions:
    """Options of a run of rebuilds."""

    variations: tuple[str, ...]
    """All of them at once, in one rebuild beside the one as it was; each alone where that differs."""
    each: bool
    """Each alone in any case."""
    tests: bool
    jobs: int
    limits: Limits


@dataclass(frozen=True, kw_only=True)
class RebuildOutcome:
    """One rebuild of a source package, or of a package that has no source package."""

    source: str
    version: str
    suite: Suite
    variations: tuple[str, ...] = ()
    seconds: float = 0
    packages: tuple[Comparison, ...] = ()
    error: HapkgError | None = None
    """Why there is nothing to compare."""
    log: Path | None = None

    @property
    def identical(self) -> bool:
        """True where all packages came out with the same bytes."""
        return self.error is None and all(package.identical for package in self.packages)

    @property
    def label(self) -> str:
        """The variations in words."""
        return ", ".join(self.variations) or AS_IT_WAS


def rebuild_all(
    store: Store, subjects: Sequence[Subject], distribution: Distribution, suite: Suite, options: RebuildOptions
) -> Iterator[RebuildOutcome]:
    """Rebuild all subjects, and note each outcome in the records. The caller holds the store's lock.

    Raises UsageError without a base chroot. An error of one subject is its outcome.
    """
    store.reclaim()
    sessions.reclaim(store.state)
    base = schroot.find_chroot(store.state, suite)
    if base is None:
        raise UsageError(f"there is no base chroot of {suite} yet", hint=f"run: hapkg chroot create --suite {suite}")
    schroot.make_folders(store.state, suite)
    log = store.state.logs / f"rebuild-{suite}.log"
    disk.make_folder(log.parent)
    with log.open("wb", buffering=0) as file, open_environments(store, base, distribution, file) as environments:
        yield from _run(store, subjects, environments, options)


def _run(
    store: Store, subjects: Sequence[Subject], environments: Environments, options: RebuildOptions
) -> Iterator[RebuildOutcome]:
    cores = sorted(os.sched_getaffinity(0))
    with open_pool(options.jobs, store) as pool:
        running: dict[Future[RebuildOutcome], None] = {}
        turn = 0

        def start(subject: Subject, environment: Environment, variations: tuple[str, ...]) -> Future[RebuildOutcome]:
            nonlocal turn
            turn += 1
            tools = [tool for name in variations for tool in VARIATIONS[name].tools]
            files = environments.find_tools(environment, tools)
            core = cores[turn % len(cores)]
            return pool.submit(_rebuild, store, subject, environment, variations, files, core, options)

        for number, subject in enumerate(subjects):
            variations: tuple[str, ...] = ()
            try:
                environment = environments.provide(subject, subjects[number + 1 :])
                for variations in _list_rebuilds(options):
                    running[start(subject, environment, variations)] = None
            except Interrupted:
                raise
            except HapkgError as error:
                yield replace(_describe(subject, variations), error=error)
        waiting = list(running)
        while waiting:
            done = next(as_completed(waiting))
            waiting.remove(done)
            outcome = done.result()
            note(store, outcome)
            yield outcome
            if not outcome.identical and len(outcome.variations) > 1 and not options.each and outcome.error is None:
                subject = next(subject for subject in subjects if subject.source == outcome.source)
                environment = environments.provide(subject, ())
                waiting += [start(subject, environment, (name,)) for name in outcome.variations]


def _describe(subject: Subject, variations: tuple[str, ...]) -> RebuildOutcome:
    return RebuildOutcome(
        source=subject.source, version=subject.info.version, suite=subject.suite, variations=variations
    )


def _list_rebuilds(options: RebuildOptions) -> list[tuple[str, ...]]:
    together = [options.variations] if options.variations else []
    return [(), *([(name,) for name in options.variations] if options.each else together)]


def _rebuild(
    store: Store,
    subject: Subject,
    environment: Environment,
    variations: tuple[str, ...],
    tools: Sequence[str],
    core: int,
    options: RebuildOptions,
) -> RebuildOutcome:
    """Build a subject once more and compare what came out."""
    began, label = time.monotonic(), _name_rebuild(variations)
    folder = store.state.work / f"rebuild-{subject.source}-{label}"
    log = store.state.logs / "rebuild" / str(subject.suite) / f"{subject.source}.{label}.log"
    outcome = replace(_describe(subject, variations), log=log)
    try:
        disk.remove_tree(folder)
        folder.mkdir(parents=True)
        log.unlink(missing_ok=True)
        task = _make_task(subject, environment, variations, tools, core, options)
        with contextlib.ExitStack() as held:
            built = build(task, folder, log, lambda phase: None, held)
            if options.tests:
                run_tests(task, built.session, log, lambda phase: None)
        packages = compare(subject.debs, folder, label, store.state)
        outcome = replace(outcome, packages=packages)
    except Interrupted:
        raise
    except HapkgError as error:
        outcome = replace(outcome, error=error)
    finally:
        with contextlib.suppress(HapkgError):
            disk.remove_tree(folder)
    return replace(outcome, seconds=time.monotonic() - began)


def _name_rebuild(variations: tuple[str, ...]) -> str:
    """A word for files and sessions of a rebuild."""
    return "-".join(variations) or "same"


def _make_task(
    subject: Subject,
    environment: Environment,
    variations: tuple[str, ...],
    tools: Sequence[str],
    core: int,
    options: RebuildOptions,
) -> BuildTask:
    from hapkg.source.package import SourcePackage  # noqa: PLC0415

    parallel = choose_parallel(variations, subject.info.parallel)
    packages = {}
    for name in subject.info.digests:
        package, _, rest = name.partition("_")
        if not package.endswith("-dbgsym"):
            packages[package] = "all" if rest.endswith("_all.deb") else "any"
    return BuildTask(
        source=subject.source,
        package=SourcePackage(dsc=subject.dsc, files=subject.files, debian={}),
        chroot=environment.base,
        state=environment.state,
        packages=environment.packages,
        stack_debs=subject.stack,
        results=Results(
            source=subject.source,
            version=subject.info.version,
            architecture=read_architecture(),
            packages=packages,
        ),
        forbidden=(),
        parallel=parallel,
        again=f"hapkg rebuild {subject.source} --suite {subject.suite}"
        + "".join(f" --variation {name}" for name in variations),
        limits=options.limits,
        conditions=make_conditions(variations, tools, parallel, core),
        label=f"-{_name_rebuild(variations)}",
    )


def note(store: Store, outcome: RebuildOutcome) -> None:
    """Write down how a rebuild came out; nothing where there was nothing to compare."""
    notes = {}
    for package in outcome.packages:
        rebuild = make_rebuild(
            identical=package.identical,
            variations=outcome.variations,
            found=package.found,
            report=package.report,
            state=store.state,
        )
        notes[package.sha256] = RebuiltPackage(
            sha256=package.sha256,
            file=package.file,
            source=outcome.source,
            version=outcome.version,
            suite=outcome.suite,
            rebuilds=(rebuild,),
        )
    if notes:
        note_rebuilds(store.state, notes)


def check_outcomes(outcomes: Iterable[RebuildOutcome]) -> None:
    """Raise IntegrityError that names every package that came out with other bytes."""
    lines: dict[str, None] = {}
    for outcome in outcomes:
        for package in outcome.packages:
            if not package.identical:
                report = f": {package.report}" if package.report else ": no report, diffoscope is not installed"
                lines[f"{package.file}, {outcome.label}{report}"] = None
    if lines:
        raise IntegrityError(
            f"{len(lines)} packages came out with other bytes than they were published with",
            details=list(lines),
            hint="a report names the file; then look for a time, a path, a name or an order in what makes it",
        )


def make_table(outcomes: Iterable[RebuildOutcome]) -> Mapping[str, Mapping[str, str]]:
    """For each package, how it came out as it was and under each variation.

    "same" under a variation that was one of several at once says as much as alone; "differs" does so alone only: where
    several at once differ, each was tried alone as well.
    """
    table: dict[str, dict[str, str]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: -len(outcome.variations)):
        names = [package.file for package in outcome.packages] or [outcome.source]
        same = {package.file: package.identical for package in outcome.packages}
        for name in names:
            row = table.setdefault(name, {})
            for column in outcome.variations or (AS_IT_WAS,):
                if outcome.error is not None:
                    row[column] = "failed"
                elif same[name]:
                    row[column] = "same"
                elif len(outcome.variations) <= 1:
                    row[column] = "differs"
                else:
                    row.setdefault(column, "differs with others")
    return table
