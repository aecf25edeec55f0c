"""The command line: options, wording, exit codes. Data goes to standard output, the story to standard error."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from hapkg import (
    __version__,
    chroot_commands,
    disk,
    key_commands,
    pipeline,
    prove_commands,
    repo_commands,
    repository,
    show,
    site_commands,
    upkeep,
)
from hapkg.chroot_commands import make_chroot
from hapkg.config import Project, find_cache, find_project
from hapkg.control import SourceName, Suite
from hapkg.doctor import diagnose
from hapkg.draft import draft
from hapkg.errors import HapkgError, Interrupted, UsageError
from hapkg.kernel import check_kernels, needs_chroot
from hapkg.keyring import make_keyring
from hapkg.options import (
    JobsOption,
    JsonOption,
    KeepGoingOption,
    KeyOption,
    LintianOption,
    MirrorOption,
    NamesArgument,
    RepoOption,
    SiteOption,
    SuiteOption,
    TestsOption,
    UnsignedOption,
    UrlOption,
    WaitOption,
)
from hapkg.pipeline import Outcome
from hapkg.recipe import Recipe, find_recipe
from hapkg.records import pick_record
from hapkg.remote import open_repository
from hapkg.repo_commands import check_url, find_place, make_choice, make_identity
from hapkg.signing import find_key
from hapkg.site_package import name_package
from hapkg.store import Artifact, Store
from hapkg.times import Recorder, draw
from hapkg.workshop import (
    Workshop,
    collect_uploads,
    count_cores,
    make_plan,
    open_workshop,
    read_architecture,
    take_snapshots,
)

# Typer brings its own click and names the base of its usage errors nowhere in public.
_CommandLineProblem: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="hapkg",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Build the Linux HA stack from upstream source as Debian packages under /opt/ha, and publish them with apt.",
)
app.add_typer(chroot_commands.app, name="chroot")
app.add_typer(repo_commands.app, name="repo")
app.add_typer(key_commands.app, name="key")
app.add_typer(site_commands.app, name="site")
app.command()(prove_commands.prove)


class Repository(StrEnum):
    """Kinds of upstream's own repositories."""

    GIT = "git"
    HG = "hg"


class Context:
    """What the options before the command decide."""

    def __init__(self, project: Path | None, cache: Path | None) -> None:
        self._start = project
        self.store = Store(root=find_cache(cache))

    @property
    def project(self) -> Project:
        """The project that --project or the current folder lies in."""
        return find_project(self._start or Path.cwd())


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"hapkg {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    project: Annotated[Path | None, typer.Option(help="The checkout [default: found from here upwards].")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="State folder [default: $HAPKG_CACHE or ~/.cache/hapkg].", metavar="DIR")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""
    context.obj = Context(project, cache)


@app.command("build-all")
def build_all(
    context: typer.Context,
    suite: SuiteOption = None,
    jobs: JobsOption = None,
    keep_going: KeepGoingOption = False,
    mirror: MirrorOption = None,
    lintian: LintianOption = True,
    tests: TestsOption = True,
    site: SiteOption = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Build again what failed before with the same inputs.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build every recipe, each in a clean chroot, reusing what did not change."""
    _build(context.obj, None, suite, jobs, keep_going, mirror, lintian, as_json, tests=tests, site=site, retry=retry)


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
        site=site,
        origin=origin,
        ref=ref,
    )


@app.command()
def plan(
    context: typer.Context,
    names: NamesArgument = None,
    suite: SuiteOption = None,
    site: SiteOption = None,
    why: Annotated[bool, typer.Option("--why", help="Name every input that changed, old and new.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what build-all would do, and why. Builds nothing."""
    workshop = _open(context, suite, site)
    steps = make_plan(workshop, _pick(workshop, names))
    if as_json:
        show.print_json([show.describe_step(step) for step in steps])
    elif why:
        show.print_reasons(steps)
    else:
        show.print_table(
            ("source", "action", "version", "reason"),
            [(s.source, s.action, s.version or "?", s.reason) for s in steps],
        )


@app.command()
def times(
    context: typer.Context,
    run: Annotated[int, typer.Option("--run", min=1, help="Which run: 1 is the last one.")] = 1,
    svg: Annotated[Path | None, typer.Option("--svg", help="Draw the timeline into a file.", metavar="FILE")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show where the time of a run went, by source and phase, and its critical path."""
    record = pick_record(context.obj.store.root, run)
    if svg:
        disk.replace(svg, draw(record).encode())
        show.say(f"wrote {svg}")
    if as_json:
        show.print_json(asdict(record))
    else:
        show.print_times(record)


@app.command("list")
def list_recipes(context: typer.Context, suite: SuiteOption = None, as_json: JsonOption = False) -> None:
    """List the recipes in build order, with the newest finished build of each."""
    workshop = _open(context, suite)
    newest = _newest_builds(workshop)
    rows: list[dict[str, Any]] = []
    for name in workshop.graph.order:
        build = newest.get(name)
        packages = [package.package for package in workshop.recipes[name].packages]
        rows.append(
            {
                "source": name,
                "upstream": workshop.recipes[name].version,
                "built": build.version if build else None,
                "packages": packages,
                "needs": list(workshop.graph.needs[name]),
            }
        )
    if as_json:
        show.print_json(rows)
    else:
        show.print_table(
            ("source", "upstream", "built", "packages"),
            [(r["source"], r["upstream"], r["built"] or "-", " ".join(r["packages"])) for r in rows],
        )


@app.command("show")
def show_recipe(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Recipe or package.")],
    suite: SuiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one recipe: origins, patches, what it needs, what it builds, its last build."""
    workshop = _open(context, suite)
    chosen = _find(workshop, name)
    facts = show.describe_recipe(chosen, workshop.graph.needs[chosen.name], _newest_builds(workshop).get(chosen.name))
    if as_json:
        show.print_json(facts)
    else:
        show.print_facts(facts)


@app.command()
def logs(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Recipe or package.")],
    suite: SuiteOption = None,
    path: Annotated[bool, typer.Option("--path", help="Print only where the log is.")] = False,
) -> None:
    """Print the log of the last build of a recipe, failed or finished."""
    workshop = _open(context, suite)
    chosen = _find(workshop, name)
    failed = workshop.store.failure_log(workshop.suite, chosen.name)
    finished = _newest_builds(workshop).get(chosen.name)
    log = failed if failed.exists() else finished.log if finished else None
    if log is None:
        raise UsageError(
            f"{chosen.source} was never built for {workshop.suite}", hint=f"run: hapkg build {chosen.source}"
        )
    typer.echo(str(log) if path else log.read_text("utf-8", "replace"), nl=path)


@app.command()
def publish(
    context: typer.Context,
    repo: RepoOption = None,
    suite: SuiteOption = None,
    pocket: Annotated[
        str | None, typer.Option(help="Publish as SUITE-POCKET; repo promote brings it to SUITE.", metavar="POCKET")
    ] = None,
    key: KeyOption = None,
    unsigned: UnsignedOption = False,
    url: UrlOption = None,
    site: SiteOption = None,
    wait: WaitOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Put the finished builds into a signed apt repository, at once or not at all."""
    if pocket and not re.fullmatch("[a-z0-9]+", pocket):
        raise UsageError(f"{pocket!r} is no name of a pocket", hint="use small letters and digits: testing")
    project: Project = context.obj.project
    store: Store = context.obj.store
    built = {str(artifact.suite) for artifact in store.list_builds()}
    suites = [suite] if suite else [name for name in project.settings.suites if name in built]
    if not suites:
        raise UsageError("nothing is built yet", hint="run: hapkg build-all")
    workshops = [_open(context, name, site) for name in suites]
    uploads = [upload for workshop in workshops for upload in collect_uploads(workshop)]
    for workshop in workshops:
        _note_site(workshop)
    place, choice = find_place(project, repo), make_choice(key, unsigned)
    identity = make_identity(project)
    with (
        open_repository(place, store.root, change=True, patience=wait) as root,
        tempfile.TemporaryDirectory(prefix="hapkg-keyring-") as scratch,
    ):
        repository.check_choice(root, choice)
        check_url(root, place, url)
        signer = find_key(choice, owner=identity.key_owner)
        keyrings = [
            make_keyring(
                root,
                Path(scratch),
                name=f"{project.settings.package_prefix}archive-keyring",
                suite=Suite(name),
                identity=identity,
                choice=choice,
                key=signer,
            )
            for name in suites
            if not unsigned
        ]
        publication = repository.publish(
            root,
            [*uploads, *keyrings],
            identity=identity,
            key=choice,
            url=url or "",
            pocket=pocket or "",
            patience=wait,
        )
    show.print_publication(replace(publication, key=signer), as_json=as_json)


@app.command()
def lock(
    context: typer.Context, names: NamesArgument = None, suite: SuiteOption = None, mirror: MirrorOption = None
) -> None:
    """Write down exactly what a suite is built from; from then on build-all refuses anything else."""
    workshop = open_workshop(context.obj.project, context.obj.store, suite, mirror)
    with context.obj.store.lock():
        show.say(f"wrote {pipeline.make_lock(workshop, _pick(workshop, names))}")


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Folder of the recipe, the package's name without its prefix.")],
    origin: Annotated[str, typer.Option("--from", help="Tarball, its address, or the address of a repository.")],
) -> None:
    """Draft the recipe of an upstream source."""
    store: Store = context.obj.store
    with store.lock():
        show.say(f"wrote {draft(context.obj.project, name, origin, store.root)}")


@app.command()
def doctor(context: typer.Context, as_json: JsonOption = False) -> None:
    """Check this host: what is missing, and the command that mends it."""
    findings = diagnose(context.obj.store.root)
    if as_json:
        show.print_json([{"check": f.check, "ok": f.ok, "found": f.found, "remedy": f.remedy} for f in findings])
    else:
        rows = [("ok" if f.ok else "MISSING", f.check, f.found, f.remedy) for f in findings]
        show.print_table(("", "check", "found", "mend it with"), rows)
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
    workshop = _open(context, suite)
    with context.obj.store.lock():
        freed = upkeep.clean(
            context.obj.store, [_find(workshop, name).name for name in names or []], everything=everything
        )
    show.say(f"freed {show.size(freed)}")


def _open(context: typer.Context, suite: str | None, site: Path | None = None) -> Workshop:
    return open_workshop(context.obj.project, context.obj.store, suite, None, site)


def _note_site(workshop: Workshop) -> None:
    """Say what is easily missed: a site that was built, and is not published because nobody named its file."""
    name = name_package(workshop.project)
    if name not in workshop.recipes and name in _newest_builds(workshop):
        show.say(f"note: {name} was built for {workshop.suite} and is not published: name its file with --site")


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
    site: Path | None = None,
    origin: Repository | None = None,
    ref: str | None = None,
    retry: bool = False,
) -> None:
    if needs_chroot(context.project.settings, context.project.pick_suite(suite), context.store.root):
        make_chroot(context.store, context.project.pick_suite(suite), archive)
    workshop = replace(
        open_workshop(context.project, context.store, suite, archive, site), lintian=lintian, tests=tests
    )
    targets = _pick(workshop, names)
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


def _pick(workshop: Workshop, names: Sequence[str] | None) -> list[SourceName]:
    return [_find(workshop, name).name for name in names] if names else list(workshop.recipes)


def _find(workshop: Workshop, name: str) -> Recipe:
    return find_recipe(dict(workshop.recipes), name, workshop.project.settings.package_prefix)


def _newest_builds(workshop: Workshop) -> Mapping[SourceName, Artifact]:
    return {build.source: build for build in workshop.store.list_builds() if build.suite == workshop.suite}


def _on_signal(number: int, frame: FrameType | None) -> None:
    """SIGTERM and SIGHUP end hapkg as Ctrl-C does: with everything it started."""
    raise KeyboardInterrupt


def main() -> None:
    """Entry point. The one place where a failure becomes words and an exit code."""
    signal.signal(signal.SIGTERM, _on_signal)
    signal.signal(signal.SIGHUP, _on_signal)
    try:
        sys.exit(app(standalone_mode=False))  # what typer.Exit carried comes back as the result
    except HapkgError as error:
        show.print_error(error)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        show.say("stopped")
        sys.exit(Interrupted.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except _CommandLineProblem as problem:
        problem.show()
        sys.exit(UsageError.exit_code)
    except Exception:
        traceback.print_exc()
        show.say("this is a bug in hapkg: please report it with the lines above")
        sys.exit(70)
