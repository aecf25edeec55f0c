"""hapkg build-all, build, lock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hapkg import pipeline, show
from hapkg.chroot_commands import make_chroot
from hapkg.context import Context
from hapkg.errors import UsageError
from hapkg.kernel import check_kernels, needs_chroot
from hapkg.options import (
    CcacheOption,
    JobsOption,
    JsonOption,
    KeepGoingOption,
    LintianOption,
    MirrorOption,
    NamesArgument,
    SiteOption,
    SuiteOption,
    TestsOption,
)
from hapkg.pipeline import Outcome
from hapkg.plan_commands import pick
from hapkg.times import Recorder
from hapkg.workshop import count_cores, make_plan, open_workshop, read_architecture, take_snapshots

app = typer.Typer()


class Repository(StrEnum):
    """Kinds of upstream's own repositories."""

    GIT = "git"
    HG = "hg"


@app.command("build-all")
def build_all(
    context: typer.Context,
    suite: SuiteOption = None,
    jobs: JobsOption = None,
    keep_going: KeepGoingOption = False,
    mirror: MirrorOption = None,
    lintian: LintianOption = True,
    tests: TestsOption = True,
    ccache: CcacheOption = None,
    site: SiteOption = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Build again what failed before with the same inputs.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build every recipe, each in a clean chroot, reusing what did not change."""
    _build(
        context.obj,
        None,
        suite,
        jobs,
        keep_going,
        mirror,
        lintian,
        as_json,
        tests=tests,
        ccache=ccache,
        site=site,
        retry=retry,
    )


@app.command()
def build(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(help="Recipes or packages.", metavar="NAME...")],
    suite: SuiteOption = None,
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
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build the named recipes and what they need."""
    if ref and not origin:
        raise UsageError("--ref needs --origin", hint="say --origin git or --origin hg")
    _build(
        context.obj,
        names,
        suite,
        jobs,
        keep_going,
        mirror,
        lintian,
        as_json,
        tests=tests,
        ccache=ccache,
        site=site,
        origin=origin,
        ref=ref,
    )


@app.command()
def lock(
    context: typer.Context, names: NamesArgument = None, suite: SuiteOption = None, mirror: MirrorOption = None
) -> None:
    """Write down exactly what a suite is built from; from then on build-all refuses anything else."""
    workshop = open_workshop(context.obj.project, context.obj.store, suite, mirror)
    with context.obj.store.lock():
        show.say(f"wrote {pipeline.make_lock(workshop, pick(workshop, names))}")


def _build(
    context: Context,
    names: Sequence[str] | None,
    suite: str | None,
    jobs: int | None,
    keep_going: bool,
    archive: str | None,
    lintian: bool,
    as_json: bool,
    *,
    tests: bool = True,
    ccache: bool | None = None,
    site: Path | None = None,
    origin: Repository | None = None,
    ref: str | None = None,
    retry: bool = False,
) -> None:
    if needs_chroot(context.project.settings, context.project.pick_suite(suite), context.store.root):
        make_chroot(context.store, context.project.pick_suite(suite), archive)
    workshop = replace(
        open_workshop(context.project, context.store, suite, archive, site),
        lintian=lintian,
        tests=tests,
        ccache=context.project.settings.ccache if ccache is None else ccache,
    )
    targets = pick(workshop, names)
    check_kernels([workshop.recipes[name] for name in targets], workshop.suite, context.store.root, read_architecture())
    outcomes: list[Outcome] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(context.store.lock())
        for recipe in workshop.recipes.values():
            for warning in recipe.site.warnings if recipe.site else ():
                show.say(f"site: {warning}")
        if origin:
            workshop = take_snapshots(workshop, targets, origin, ref)
        steps = make_plan(workshop, targets, hasty=True)
        board = stack.enter_context(show.Board(steps))
        recorder = Recorder(time.monotonic(), workshop.suite, jobs or count_cores(), workshop.graph.needs)
        stack.callback(recorder.save, context.store.root)
        for event in pipeline.run(
            workshop, targets, jobs=jobs or count_cores(), keep_going=keep_going, plan=steps, retry=bool(names) or retry
        ):
            board.tell(event)
            recorder.tell(event)
            if isinstance(event, Outcome):
                outcomes.append(event)
    if as_json:
        show.print_json([show.describe_outcome(outcome) for outcome in outcomes])
    else:
        show.print_outcomes(outcomes)
    failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    for error in failed:
        show.print_error(error)
    if failed:
        raise typer.Exit(failed[0].exit_code)
