"""A run of hapkg build-all or build from what the command line says to what came of it, shown as it goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

from hapkg.build import pipeline
from hapkg.build.context import make_plan, open_workshop, take_snapshots
from hapkg.build.events import Outcome
from hapkg.build.kernel_packages import check_kernels, needs_chroot
from hapkg.build.times import Recorder
from hapkg.cli import output
from hapkg.cli.chroot import make_chroot
from hapkg.cli.context import Context
from hapkg.cli.inspect import pick, read_site_recipes
from hapkg.cli.options import BuildOptions
from hapkg.host import count_cores, read_architecture


def build(context: Context, wish: BuildOptions) -> Sequence[Outcome]:
    """Build what is wished. A source's failure is its outcome; what is wrong before that is raised as HapkgError."""
    project, store = context.project, context.store
    suite = project.pick_suite(wish.suite)
    if needs_chroot(project.settings, suite, store.root):
        make_chroot(store, suite, wish.mirror)
    sites = read_site_recipes(project, wish.site)
    workshop = replace(
        open_workshop(project, store, wish.suite, wish.mirror, sites),
        lintian=wish.lintian,
        tests=wish.tests,
        ccache=project.settings.ccache if wish.ccache is None else wish.ccache,
    )
    targets = pick(workshop, wish.names)
    check_kernels([workshop.recipes[name] for name in targets], workshop.suite, store.root, read_architecture())
    outcomes: list[Outcome] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(store.lock())
        for recipe in sites:
            for warning in recipe.values["site"].warnings:
                output.say(f"site: {warning}")
        if wish.origin:
            workshop = take_snapshots(workshop, targets, wish.origin, wish.ref)
        steps = make_plan(workshop, targets, hasty=True)
        board = stack.enter_context(output.Board(steps))
        recorder = Recorder(time.monotonic(), workshop.suite, wish.jobs or count_cores(), workshop.graph.needs)
        stack.callback(recorder.save, store.root)
        for event in pipeline.run(
            workshop,
            targets,
            jobs=wish.jobs or count_cores(),
            keep_going=wish.keep_going,
            plan=steps,
            retry=wish.retry,
        ):
            board.tell(event)
            recorder.tell(event)
            if isinstance(event, Outcome):
                outcomes.append(event)
    return outcomes
