"""hapkg lock, vendor, bump: what exactly a suite is built from, and a recipe's step to another release."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from hapkg.apt.mirror import Mirror
from hapkg.build.context import BuildContext, open_context
from hapkg.build.pins import make_base_lock, make_lock
from hapkg.build.store import Artifact, Store
from hapkg.chroot.base_lock import write_base_lock
from hapkg.cli import output
from hapkg.cli.build import build_source
from hapkg.cli.options import MirrorOption, NamesArgument, SuiteOption
from hapkg.cli.select import find, newest_builds, note_left_out, pick
from hapkg.currency.bump import LOG_LINES, Bump, check_clean, commit, make_context, prepare, settle
from hapkg.currency.debian_archive import DebianIndexes, read_indexes
from hapkg.currency.release_review import Change, compare_sets, list_sonames
from hapkg.currency.security_fix import prepare_fix
from hapkg.errors import FetchError, HapkgError, Interrupted, UsageError
from hapkg.recipe.model import Recipe
from hapkg.source.patch_review import Fate

app = typer.Typer()
_MOST_NAMES = 20


@app.command()
def lock(
    context: typer.Context,
    names: NamesArgument = None,
    suite: SuiteOption = None,
    mirror: MirrorOption = None,
    base: Annotated[
        bool, typer.Option("--base", help="The packages of the base chroot and all build dependencies, instead.")
    ] = False,
) -> None:
    """Write down exactly what a suite is built from; from then on build-all refuses anything else."""
    if base and names:
        raise UsageError("--base is of the whole suite, and takes no names", hint="say: hapkg lock --base")
    build_context = open_context(context.obj.project, context.obj.store, suite, mirror)
    note_left_out(build_context)
    with build_context.store.lock():
        if base:
            found = make_base_lock(build_context)
            counts = f"{len(found.base)} packages of the base, {len(found.depends)} that builds install"
            output.say(f"wrote {write_base_lock(build_context.project.root, found)}: {counts}")
        else:
            output.say(f"wrote {make_lock(build_context, pick(build_context, names))}")


@app.command()
def vendor(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder to collect into; may hold several suites.", metavar="DIR")],
    suite: SuiteOption = None,
    mirror: MirrorOption = None,
) -> None:
    """Collect all sources and packages that the locks of a suite name, for build-all --offline --from DIR."""
    from hapkg.rebuild.vendor import collect  # noqa: PLC0415 - build-all seldom needs it

    build_context = open_context(context.obj.project, context.obj.store, suite, mirror)
    with build_context.store.lock():
        build_context.store.reclaim()
        manifest = collect(build_context, folder.absolute())
    output.say(
        f"{folder}: {len(manifest.files)} files for {manifest.suite}, {output.size(sum(manifest.files.values()))}"
    )


@app.command()
def bump(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Recipe or package.")] = None,
    version: Annotated[str | None, typer.Argument(help="Version [default: the newest that is known].")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every recipe that has news and is not held.")] = False,
    security: Annotated[
        str | None, typer.Option(help="Keep the version; add this commit of upstream as a patch.", metavar="COMMIT")
    ] = None,
    fixes: Annotated[list[str] | None, typer.Option(help="CVE id that it fixes.", metavar="CVE")] = None,
    suite: SuiteOption = None,
    mirror: MirrorOption = None,
    with_build: Annotated[
        bool, typer.Option("--build", help="Build it for the suite, with its tests, before anything changes.")
    ] = False,
    with_commit: Annotated[bool, typer.Option("--commit", help="Commit the recipe and its locks.")] = False,
) -> None:
    """Bring a recipe to a newer version: origins, patches, locks; all or nothing.

    A step that fails, such as a patch that does not apply or a test, leaves the recipe as it was.
    """
    if (name is None) != everything:
        raise UsageError("name one recipe, or say --all", hint="hapkg outdated tells which have news")
    if (security or fixes) and (name is None or version or not security):
        raise UsageError("--security COMMIT is for one recipe, which keeps its version; --fixes says what for")
    store: Store = context.obj.store
    with store.lock():
        build_context = open_context(context.obj.project, store, suite, mirror)
        archive = build_context.debian_mirror
        if archive.uri is None:
            hint = "name one with --mirror, or as [tool.hapkg] debian-mirror"
            raise FetchError("no Debian archive is configured on this host", hint=hint)
        if name is not None:
            recipe, project = find(build_context, name), build_context.project
            if security:
                ready = prepare_fix(project, recipe, security, fixes or (), mirror=archive, state=store.state)
            else:
                indexes = _read_indexes(build_context, archive, [recipe])
                ready = prepare(project, recipe, version, indexes=indexes, mirror=archive, state=store.state)
            _bump(build_context, recipe, ready, with_build=with_build, with_commit=with_commit)
        else:
            _bump_all(build_context, archive, with_build=with_build, with_commit=with_commit)


def _bump_all(build_context: BuildContext, archive: Mirror, *, with_build: bool, with_commit: bool) -> None:
    """Take each recipe's newest version, in build order. A failure ends its own recipe alone; the first one's code
    is the exit code."""
    failures: list[HapkgError] = []
    tracked = [build_context.recipes[source] for source in build_context.graph.order]
    tracked = [recipe for recipe in tracked if recipe.upstream]
    indexes, state = _read_indexes(build_context, archive, tracked), build_context.store.state
    for recipe in tracked:
        try:
            ready = prepare(build_context.project, recipe, None, indexes=indexes, mirror=archive, state=state)
            done = _bump(build_context, recipe, ready, with_build=with_build, with_commit=with_commit)
            build_context = make_context(build_context, done)
        except Interrupted:
            raise
        except UsageError as error:  # nothing newer, or held
            output.say(error.brief)
        except HapkgError as error:
            output.print_error(error)
            failures.append(error)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def _read_indexes(build_context: BuildContext, archive: Mirror, recipes: Sequence[Recipe]) -> DebianIndexes:
    """Debian's versions of these recipes, asked now."""
    packages = [recipe.debian_source for recipe in recipes]
    return read_indexes(build_context.store.state, archive, build_context.mirror, build_context.suite, packages)


def _bump(
    build_context: BuildContext,
    recipe: Recipe,
    ready: AbstractContextManager[Bump],
    *,
    with_build: bool,
    with_commit: bool,
) -> Bump:
    project = build_context.project
    if with_commit:
        check_clean(project, recipe)
    before = newest_builds(build_context).get(recipe.name)
    with ready as prepared:
        _print_bump(prepared)
        if with_build:
            done = build_source(make_context(build_context, prepared), prepared.new.name)
            if done.error is not None:
                raise done.error
            _print_sonames(before, done.artifact)
        paths = settle(project, prepared)
        if with_commit:
            output.say(f"committed {commit(project, prepared, paths)}")
    for path in paths:
        output.say(f"{'wrote' if path.exists() else 'removed'} {path.relative_to(project.root)}")
    return prepared


def _print_bump(prepared: Bump) -> None:
    """Tell what a person should read before saying yes."""
    new, old = prepared.new, prepared.old
    upstream = new.upstream
    facts = f"{upstream.tag} {upstream.commit or ''}".strip() if upstream else ""
    is_step = old.version != new.version
    step = f"{old.version} -> {new.version}" if is_step else f"{new.version}, revision {old.revision} -> {new.revision}"
    lines = [f"{new.source}: {step} ({facts}, {new.date:%Y-%m-%d})"]
    lines += [f"  origin: {origin.describe()}" for origin in new.origins]
    fixes = {patch.name: patch.fixes for patch in (*old.remote_patches, *old.patches)}
    for review in prepared.patches:
        lines.append(f"  patch {review.name}: {review.fate}")
        if review.fate is Fate.REFRESHED:
            lines += [f"    {line}" for line in review.details]
        if review.fate is Fate.DROPPED and fixes.get(review.name):
            lines.append(f"    it closed {', '.join(fixes[review.name])}: hapkg audit tells what closes that now")
    lines += [f"  hole {advisory.id}: is it still {advisory.status}? {advisory.why}" for advisory in new.advisories]
    if is_step:
        lines += _tell_change("files", prepared.files)
        lines += _tell_change("switches", prepared.switches)
    lines += [f"  the recipe gives {word}, which upstream no longer takes" for word in prepared.lost_switches]
    if prepared.log:
        lines += ["  log:", *(f"    {commit_line}" for commit_line in prepared.log[:LOG_LINES])]
    if len(prepared.log) > LOG_LINES:
        lines.append("    and older ones")
    lines += [f"  note: {note}" for note in prepared.notes]
    output.print_lines(lines)


def _print_sonames(before: Artifact | None, now: Artifact | None) -> None:
    if before is not None and now is not None:
        change = compare_sets(list_sonames(before.paths(".deb")), list_sonames(now.paths(".deb")))
        output.print_lines(_tell_change("sonames", change))


def _tell_change(what: str, change: Change) -> Sequence[str]:
    """A line on what came and went, and a line for each of the first names."""
    names = [*(f"    + {name}" for name in change.new), *(f"    - {name}" for name in change.gone)]
    more = [f"    and {len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    return [f"  {what}: {len(change.new)} new, {len(change.gone)} gone", *names[:_MOST_NAMES], *more]
