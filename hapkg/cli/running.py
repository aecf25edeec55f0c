"""A run of hapkg build-all or build from what the command line says to what came of it, shown as it goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

from hapkg.build.context import open_context, take_snapshots
from hapkg.build.events import Outcome
from hapkg.build.kernel_packages import check_kernels, needs_chroot
from hapkg.build.planner import make_plan
from hapkg.build.run import RunOptions, run_plan
from hapkg.build.timings import Recorder
from hapkg.cli import output
from hapkg.cli.chroot import make_chroot
from hapkg.cli.context import Context
from hapkg.cli.inspect import pick, read_site_recipes
from hapkg.cli.options import BuildOptions
from hapkg.host import count_cores, read_architecture


def build(context: Context, options: BuildOptions) -> Sequence[Outcome]:
    """Build what is wished. A source's failure is its outcome; what is wrong before that is raised as HapkgError."""
    project, store = context.project, context.store
    suite = project.pick_suite(options.suite)
    if needs_chroot(project.settings, suite, store.state):
        make_chroot(store, suite, options.mirror)
    sites = read_site_recipes(project, options.site)
    build_context = replace(
        open_context(project, store, options.suite, options.mirror, sites),
        lintian=options.lintian,
        tests=options.tests,
        ccache=project.settings.ccache if options.ccache is None else options.ccache,
    )
    targets = pick(build_context, options.names)
    check_kernels(
        [build_context.recipes[name] for name in targets], build_context.suite, store.state, read_architecture()
    )
    outcomes: list[Outcome] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(store.lock())
        for recipe in sites:
            for warning in recipe.values["site"].warnings:
                output.say(f"site: {warning}")
        if options.origin:
            build_context = take_snapshots(build_context, targets, options.origin, options.ref)
        steps = make_plan(build_context, targets, offline=True)
        display = stack.enter_context(output.ProgressDisplay(steps))
        run_options = RunOptions(jobs=options.jobs or count_cores(), keep_going=options.keep_going, retry=options.retry)
        recorder = Recorder(time.monotonic(), build_context.suite, run_options.jobs, build_context.graph.needs)
        stack.callback(recorder.save, store.state)
        for event in run_plan(build_context, targets, steps, run_options):
            display.notify(event)
            recorder.notify(event)
            if isinstance(event, Outcome):
                outcomes.append(event)
    return outcomes
