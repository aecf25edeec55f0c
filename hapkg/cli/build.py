"""hapkg build-all, build, plan."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hapkg.build.context import (
    BuildContext,
    save_snapshots,
    take_each,
    take_snapshots,
)
from hapkg.build.events import Ending, Outcome
from hapkg.build.kernel_packages import check_kernels
from hapkg.build.pins import find_unlocked
from hapkg.build.plan import Action, Step
from hapkg.build.planner import make_plan
from hapkg.build.run import RunOptions, run_plan, tidy_layers
from hapkg.build.timings import Recorder
from hapkg.cli import output
from hapkg.cli.cache import open_pusher, open_shared
from hapkg.cli.farm import open_workers
from hapkg.cli.options import (
    ArchitecturesOption,
    BuildCacheOption,
    BuildOptions,
    CcacheOption,
    Context,
    DryRunOption,
    JobsOption,
    JsonOption,
    KeepGoingOption,
    LintianOption,
    MirrorOption,
    NamesArgument,
    PushOption,
    ReuseOption,
    SampleOption,
    SchedulerOption,
    SiteOption,
    SuiteOption,
    TestsOption,
    WorkersOption,
    find_architectures,
)
from hapkg.cli.select import (
    open_building,
    open_offline,
    open_suite,
    open_with,
    pick,
    read_requests,
    read_site_recipes,
    turn_to,
)
from hapkg.control import SourceName
from hapkg.errors import HapkgError, UsageError
from hapkg.host import count_cores, read_architecture

app = typer.Typer()


class Repository(StrEnum):
    """Kinds of upstream's own repositories."""

    GIT = "git"
    HG = "hg"


@app.command("build-all")
def build_all(
    context: typer.Context,
    suite: SuiteOption = None,
    architecture: ArchitecturesOption = None,
    jobs: JobsOption = None,
    keep_going: KeepGoingOption = False,
    mirror: MirrorOption = None,
    lintian: LintianOption = True,
    tests: TestsOption = True,
    ccache: CcacheOption = None,
    build_cache: BuildCacheOption = None,
    reuse_from: ReuseOption = None,
    rebuild_sample: SampleOption = 0,
    push: PushOption = False,
    scheduler: SchedulerOption = None,
    workers: WorkersOption = None,
    site: SiteOption = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Build again what failed before with the same inputs.")
    ] = False,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Build each source from the default branch of its repository.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Refuse to begin where a network would be needed; the suite is locked.")
    ] = False,
    source: Annotated[
        Path | None, typer.Option("--from", help="Folder of hapkg vendor, with --offline.", metavar="DIR")
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build every recipe, each in a clean chroot, reusing what did not change."""
    if source and not offline:
        raise UsageError("--from is for builds without a network", hint="say --offline --from DIR")
    if snapshot and offline:
        raise UsageError("--snapshot asks upstream's repositories", hint="leave --offline out")
    options = BuildOptions(
        suite=suite,
        jobs=jobs,
        keep_going=keep_going,
        mirror=mirror,
        lintian=lintian,
        tests=tests,
        ccache=ccache,
        build_cache=build_cache,
        reuse_from=reuse_from,
        rebuild_sample=rebuild_sample,
        push=push,
        scheduler=scheduler,
        workers=workers,
        site=site,
        retry=retry,
        snapshot=snapshot,
        offline=offline,
        folder=source.absolute() if source else None,
        dry_run=dry_run,
    )
    _build(context.obj, options, find_architectures(architecture), as_json)


@app.command()
def build(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(help="Recipes or packages; NAME@REF: a snapshot of a tag, branch or commit.", metavar="NAME..."),
    ],
    suite: SuiteOption = None,
    architecture: ArchitecturesOption = None,
    jobs: JobsOption = None,
    keep_going: KeepGoingOption = False,
    mirror: MirrorOption = None,
    lintian: LintianOption = True,
    tests: TestsOption = True,
    ccache: CcacheOption = None,
    origin: Annotated[
        Repository | None, typer.Option(help="Build a snapshot from upstream's own repository instead of a release.")
    ] = None,
    ref: Annotated[str | None, typer.Option(help="Tag, branch or commit of the snapshot [default: the tag].")] = None,
    build_cache: BuildCacheOption = None,
    reuse_from: ReuseOption = None,
    push: PushOption = False,
    scheduler: SchedulerOption = None,
    workers: WorkersOption = None,
    site: SiteOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build the named recipes and what they need."""
    if ref and not origin:
        raise UsageError("--ref needs --origin", hint="say --origin git or --origin hg")
    options = BuildOptions(
        names=names,
        suite=suite,
        jobs=jobs,
        keep_going=keep_going,
        mirror=mirror,
        lintian=lintian,
        tests=tests,
        ccache=ccache,
        build_cache=build_cache,
        reuse_from=reuse_from,
        push=push,
        scheduler=scheduler,
        workers=workers,
        site=site,
        origin=origin,
        ref=ref,
        retry=True,
        dry_run=dry_run,
    )
    _build(context.obj, options, find_architectures(architecture), as_json)


@app.command()
def plan(
    context: typer.Context,
    names: NamesArgument = None,
    suite: SuiteOption = None,
    architecture: ArchitecturesOption = None,
    build_cache: BuildCacheOption = None,
    reuse_from: ReuseOption = None,
    site: SiteOption = None,
    why: Annotated[bool, typer.Option("--why", help="Name every input that changed, old and new.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what build-all would do, and why. Builds nothing."""
    build_context = open_suite(context, suite, site)
    targets = pick(build_context, names) if names else None
    plans = {}
    for one in find_architectures(architecture) or (read_architecture(),):
        turned = turn_to(build_context, one, targets)
        shared = open_shared(context.obj, build_cache, reuse_from, turned.store.state)
        plans[one] = make_plan(replace(turned, shared=shared), targets)
    _show(plans, why=why, as_json=as_json)


def _show(plans: Mapping[str, Sequence[Step]], *, why: bool = False, as_json: bool) -> None:
    """Show the plans of architectures, and exit with the code of the first recipe that is wrong."""
    several = len(plans) > 1
    if as_json:
        output.print_json(
            [{**output.describe_step(step), "architecture": name} for name, steps in plans.items() for step in steps]
        )
    elif why:
        for name, steps in plans.items():
            output.print_reasons(steps, name if several else "")
    else:
        output.print_table(
            ("source", *(["architecture"] if several else []), "action", "version", "reason"),
            [
                (s.source, *([name] if several else []), s.action, s.version or "?", s.reason)
                for name, steps in plans.items()
                for s in steps
            ],
        )
    _end([step.error for steps in plans.values() for step in steps])


def _build(context: Context, options: BuildOptions, named: Sequence[str], as_json: bool) -> None:
    """Run a build for the named architectures, show it, and exit with the code of the first failure.

    None named: this machine's own, and where all is built, those of the project after it.
    """
    own: tuple[str | None, ...] = (None, *(() if options.names else context.project.settings.architectures))
    first, *others = tuple(named) or own
    options = replace(options, architecture=first)
    if options.dry_run:
        architectures = named or (read_architecture(),)
        _show({one: _plan(context, replace(options, architecture=one)) for one in architectures}, as_json=as_json)
        return
    outcomes, missed = _run(context, options)
    for architecture in others if options.keep_going or not _has_failed(outcomes) else ():
        followed, _ = _run(context, replace(options, architecture=architecture))
        outcomes = [*outcomes, *followed]
    if as_json:
        output.print_json([output.describe_outcome(outcome) for outcome in outcomes])
    else:
        output.print_outcomes(outcomes)
    _end([*missed, *(outcome.error for outcome in outcomes)])


def _has_failed(outcomes: Sequence[Outcome]) -> bool:
    return any(outcome.error for outcome in outcomes)


def _end(errors: Sequence[HapkgError | None]) -> None:
    """Show all errors, and exit with the code of the first."""
    found = [error for error in errors if error is not None]
    for error in found:
        output.print_error(error)
    if found:
        raise typer.Exit(found[0].exit_code)


def _plan(context: Context, options: BuildOptions) -> Sequence[Step]:
    """The steps of a build as they are known now: before a base chroot is made or a snapshot is taken.

    Raises UsageError for NAME@REF, --origin and --snapshot: without it nobody knows what is built.
    """
    if options.snapshot or options.origin or any("@" in name for name in options.names):
        raise UsageError(
            "the plan of a snapshot is not known before it is taken",
            hint="leave --dry-run out; a wrong ref is told before anything is built",
        )
    sites = read_site_recipes(context.project, options.site)
    build_context = open_with(context, options, sites)
    targets = pick(build_context, options.names) if options.names else None
    return make_plan(turn_to(build_context, options.architecture, targets), targets)


def _run(context: Context, options: BuildOptions) -> tuple[Sequence[Outcome], Sequence[HapkgError]]:
    """Build as the options say; outcomes, and errors of snapshots in whose place a release was built.

    The failure of a source is its outcome; any other error is raised as HapkgError.
    """
    pusher = open_pusher(context, options.build_cache) if options.push else None
    sites = read_site_recipes(context.project, options.site)
    build_context = open_offline(context, options, sites) if options.offline else open_building(context, options, sites)
    requests = read_requests(build_context, options)
    targets = list(requests) or pick(build_context, None)
    if options.architecture not in (None, read_architecture()) and any(requests.values()):
        raise UsageError("a snapshot is built for this machine's architecture alone", hint="leave --architecture out")
    build_context = turn_to(build_context, options.architecture, targets)
    targets = [name for name in targets if name in build_context.recipes]
    recipes, store = [build_context.recipes[name] for name in targets], build_context.store
    check_kernels(recipes, build_context.project, build_context.suite, store.state, read_architecture())
    outcomes: list[Outcome] = []
    missed: list[HapkgError] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(store.lock(partial(tidy_layers, store)))
        for recipe in sites:
            for warning in recipe.values["site"].warnings:
                output.say(f"site: {warning}")
        if options.snapshot:
            build_context, failed = take_each(build_context, requests)
            for name, error in failed.items():
                output.say(f"note: {name} stays at its release: {error.brief}")
            missed = list(failed.values())
        else:
            build_context = take_snapshots(build_context, requests)
        if build_context.requests:
            save_snapshots(build_context)
        steps = make_plan(build_context, targets if options.names else None, offline=True)
        left_out = [step for step in steps if step.action is Action.LEAVE_OUT]
        steps = tuple(step for step in steps if step not in left_out)
        kept = {step.source for step in steps}
        _note(build_context, left_out, kept)
        display = stack.enter_context(output.ProgressDisplay(steps))
        run_options = RunOptions(
            jobs=options.jobs or count_cores(),
            keep_going=options.keep_going,
            retry=options.retry,
            farm=stack.enter_context(open_workers(context, build_context, options)) if kept else None,
        )
        recorder = Recorder(time.monotonic(), build_context.suite, run_options.jobs, build_context.graph.needs)
        stack.callback(recorder.save, store.state)
        events = run_plan(build_context, [name for name in targets if name in kept], steps, run_options)
        for event in events if kept else ():
            display.notify(event)
            recorder.notify(event)
            if isinstance(event, Outcome):
                outcomes.append(event)
        for note in build_context.shared.notes if build_context.shared else ():
            output.say(f"note: {note}")
        if pusher is not None:
            artifacts = [outcome.artifact for outcome in outcomes if outcome.artifact is not None]
            for line in pusher(build_context, artifacts):
                output.say(line)
    return [*outcomes, *(_describe_left_out(step) for step in left_out)], missed


def build_source(build_context: BuildContext, name: SourceName) -> Outcome:
    """Build one source and what it needs; its outcome, or that of the first that failed."""
    steps = make_plan(build_context, [name], offline=True)
    outcomes: list[Outcome] = []
    with output.ProgressDisplay(steps) as display:
        for event in run_plan(build_context, [name], steps, RunOptions(jobs=count_cores(), retry=True)):
            display.notify(event)
            if isinstance(event, Outcome):
                outcomes.append(event)
    output.print_outcomes(outcomes)
    failed = (outcome for outcome in outcomes if outcome.error)
    return next(failed, next(outcome for outcome in outcomes if outcome.source == name))


def _note(build_context: BuildContext, left_out: Sequence[Step], kept: Iterable[SourceName]) -> None:
    """Say before a run which sources are left out, and which are not locked though the suite is."""
    for step in left_out:
        output.say(f"note: {step.source} is left out: {step.reason}")
    for name, patches in build_context.contained.items():
        for patch in patches:
            output.say(f"note: {name} is built without {patch}: the commit has it")
    for name in find_unlocked(build_context, sorted(kept)):
        output.say(f"note: {name} is not locked for {build_context.suite}: hapkg lock {name} does it")


def _describe_left_out(step: Step) -> Outcome:
    """The outcome of a source that was left out: the recipe's failure, or none of its own."""
    return Outcome(
        source=step.source,
        ending=Ending.FAILED if step.error else Ending.SKIPPED,
        version=None,
        reason=step.reason,
        seconds=0,
        error=step.error,
        fault="recipe" if step.error else None,
    )
