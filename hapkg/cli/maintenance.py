"""hapkg init, new, times, doctor, clean: what is done once in a while."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hapkg import disk
from hapkg.build import cleanup
from hapkg.build.context import open_context
from hapkg.build.pins import make_lock
from hapkg.build.timings import pick_record
from hapkg.cli import output
from hapkg.cli.doctor import PROGRAMS, diagnose
from hapkg.cli.options import JsonOption, NamesArgument, SuiteOption
from hapkg.cli.select import find, open_suite
from hapkg.cli.timeline import draw
from hapkg.control import SourceName
from hapkg.draft.draft import draft
from hapkg.draft.skeleton import make_project
from hapkg.errors import HapkgError

app = typer.Typer()


@app.command()
def times(
    context: typer.Context,
    run: Annotated[int, typer.Option("--run", min=1, help="Which run: 1 is the last one.")] = 1,
    svg: Annotated[Path | None, typer.Option("--svg", help="Draw the timeline into a file.", metavar="FILE")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show where the time of a run went, by source and phase, and its critical path."""
    record = pick_record(context.obj.store.state, run)
    if svg:
        disk.replace(svg, draw(record).encode())
        output.say(f"wrote {svg}")
    if as_json:
        output.print_json(asdict(record))
    else:
        output.print_times(record)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the project; its name is that of the packages.")],
    suite: SuiteOption = None,
    prefix: Annotated[str | None, typer.Option(help="Where packages are installed [default: /opt/NAME].")] = None,
    package_prefix: Annotated[
        str | None, typer.Option(help="How names of packages begin [default: NAME-].", metavar="PREFIX")
    ] = None,
    maintainer: Annotated[
        str | None, typer.Option(help='"NAME <ADDRESS>" [default: DEBFULLNAME and DEBEMAIL, else git\'s user].')
    ] = None,
) -> None:
    """Begin a project of one's own: settings, a first recipe, continuous integration."""
    table = {"suite": suite, "prefix": prefix, "package-prefix": package_prefix, "maintainer": maintainer}
    programs = sorted({*PROGRAMS.values(), "ca-certificates", "git", "pipx"})
    for file in make_project(folder, table, programs):
        output.say(f"wrote {file}")
    output.print_lines([f"cd {shlex.quote(str(folder))} && hapkg doctor && hapkg build-all && hapkg publish"])


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Folder of the recipe, the package's name without its prefix.")],
    origin: Annotated[str, typer.Option("--from", help="Tarball, its address, or the address of a repository.")],
) -> None:
    """Draft the recipe of an upstream source, and lock it for each suite that has a lock."""
    project, store = context.obj.project, context.obj.store
    with store.lock():
        file = draft(project, name, origin, store.state)
        output.say(f"wrote {file}")
        source = SourceName(project.settings.package_prefix + file.parent.name)
        for suite in project.settings.suites:
            build_context = open_context(project, store, suite, None)
            if build_context.lock is None:
                continue
            try:
                output.say(f"wrote {make_lock(build_context, [source])}")
            except HapkgError as error:
                output.say(f"note: {source} is not locked for {suite}: {error.brief}; hapkg lock {source} tries again")


@app.command()
def doctor(context: typer.Context, as_json: JsonOption = False) -> None:
    """Check this host: what is missing, and the command that mends it."""
    findings = diagnose(context.obj.store.state)
    if as_json:
        output.print_json([{"check": f.check, "ok": f.ok, "found": f.found, "remedy": f.remedy} for f in findings])
    else:
        rows = [("ok" if f.ok else "MISSING", f.check, f.found, f.remedy) for f in findings]
        output.print_table(("", "check", "found", "mend it with"), rows)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(9)


@app.command()
def clean(
    context: typer.Context,
    names: NamesArgument = None,
    suite: SuiteOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the newest builds, layers, sources and records.")
    ] = False,
) -> None:
    """Remove old builds, failed ones and scratch; with names, every build of those recipes."""
    build_context = open_suite(context, suite)
    with context.obj.store.lock():
        freed = cleanup.clean(
            context.obj.store, [find(build_context, name).name for name in names or []], everything=everything
        )
    output.say(f"freed {output.size(freed)}")
