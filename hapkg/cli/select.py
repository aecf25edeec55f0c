"""Selection by what the command line names: the suite, recipes, builds, the site file; and how a build is opened."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from hapkg.build.context import (
    BuildContext,
    SharedBuilds,
    SnapshotRequest,
    find_commits,
    open_context,
    request_newest,
)
from hapkg.build.kernel_packages import needs_chroot
from hapkg.build.planner import follow
from hapkg.build.store import Artifact, Store
from hapkg.chroot.base_lock import read_base_lock
from hapkg.chroot.schroot import find_chroot
from hapkg.cli import output
from hapkg.cli.cache import open_shared
from hapkg.cli.chroot import is_stale, make_chroot
from hapkg.cli.options import BuildOptions, Context
from hapkg.control import SourceName
from hapkg.errors import RecipeError, SiteError, UsageError
from hapkg.host import check_architecture_name, read_architecture
from hapkg.locations import SITES
from hapkg.recipe.collection import find_recipe
from hapkg.recipe.model import Recipe
from hapkg.recipe.settings import Project


def open_suite(context: typer.Context, suite: str | None, site: Path | None = None) -> BuildContext:
    """The build context of the project for a suite, with the package of its site."""
    project = context.obj.project
    return open_context(project, context.obj.store, suite, None, read_site_recipes(project, site))


def open_built(context: typer.Context, suite: str | None, architecture: str | None) -> BuildContext:
    """The build context for a look at what was built for a suite, on this machine's or the named architecture.

    What is left out of it is told. Raises UsageError for a name that is no architecture.
    """
    build_context = open_suite(context, suite)
    note_left_out(build_context)
    if architecture is None:
        return build_context
    check_architecture_name(architecture)
    return replace(build_context, store=build_context.store.turn_to(architecture))


def find_sites(project: Project, named: Path | None) -> tuple[Path, ...]:
    """The site files: the named one, also by its name in the folder sites, or all of the checkout."""
    if named is None:
        return project.site_files
    by_name = project.root / SITES / f"{named}.toml"
    return (by_name if not named.exists() and named.name == str(named) and by_name.exists() else named,)


def read_site_recipes(project: Project, named: Path | None) -> tuple[Recipe, ...]:
    """The recipes of the sites' packages, nothing where there is no site file.

    Raises SiteError when a file breaks a rule, or when two are of one cluster.
    """
    files = find_sites(project, named)
    if not files:
        return ()
    from hapkg.site.model import read_site  # noqa: PLC0415 - most projects have none, and its tables take time
    from hapkg.site.package import make_site_recipe  # noqa: PLC0415

    recipes: dict[SourceName, Recipe] = {}
    sources: dict[SourceName, Path] = {}
    for file in files:
        # The common name leads to the cluster of a checkout that has one; to which of several, nobody could tell.
        recipe = make_site_recipe(project, read_site(file), common=file.parent != project.root / SITES)
        if recipe.name in recipes:
            raise SiteError(
                f"{file}: its package is {recipe.name}, as that of {sources[recipe.name]}",
                hint="each cluster has a name of its own: cluster.name",
            )
        recipes[recipe.name], sources[recipe.name] = recipe, file
    return tuple(recipes.values())


def note_left_out(build_context: BuildContext) -> None:
    """Say which recipes cannot be read, and what is left out for it."""
    for name, error in build_context.wrong.items():
        output.say(f"note: {name} is left out: {error.brief}")
    for name, reason in build_context.blocked.items():
        output.say(f"note: {name} is left out: it {reason}")


def pick(build_context: BuildContext, names: Sequence[str] | None) -> list[SourceName]:
    """The named recipes, or all that are built without being named and can be read."""
    return [find(build_context, name).name for name in names] if names else list(build_context.selected)


def find(build_context: BuildContext, name: str) -> Recipe:
    """The recipe that a person means. Raises its RecipeError when it is wrong, or when a source is that it needs."""
    source = SourceName(name)
    for full in (source, SourceName(build_context.project.settings.package_prefix + source)):
        if full in build_context.wrong:
            raise build_context.wrong[full]
        if full in build_context.blocked:
            raise RecipeError(
                f"{full} cannot be planned: it {build_context.blocked[full]}",
                details=[error.brief for error in build_context.wrong.values()],
                hint="mend the recipes that cannot be read",
            )
    return find_recipe(dict(build_context.recipes), name, build_context.project.settings.package_prefix)


def find_built(build_context: BuildContext, name: str, built: Collection[SourceName]) -> SourceName:
    """The source that a person means, by its recipe or by builds of it: those of a site may be there without its file.

    Raises what find() does where there is neither.
    """
    prefix = build_context.project.settings.package_prefix
    for full in (SourceName(name), SourceName(prefix + name)):
        if full in built:
            return full
    try:
        return find(build_context, name).name
    except UsageError as error:
        if sites := sorted(one for one in built if one.startswith((f"{name}-", f"{prefix}{name}-"))):
            raise UsageError(f"{name} itself was never built", hint=f"built are: {', '.join(sites)}") from error
        raise


def newest_builds(build_context: BuildContext) -> Mapping[SourceName, Artifact]:
    """The newest finished build of each source of the suite."""
    return {build.source: build for build in build_context.store.list_builds() if build.suite == build_context.suite}


def turn_to(context: BuildContext, architecture: str | None, targets: Sequence[SourceName] | None) -> BuildContext:
    """The context for another architecture, where one is named. Raises UsageError for one that cannot be built for."""
    if architecture is None or architecture == read_architecture():
        return context
    return follow(context, architecture, targets)


def open_offline(context: Context, options: BuildOptions, sites: Sequence[Recipe]) -> BuildContext:
    """The build context of a build without a network, when all that it needs is in the state folder."""
    from hapkg.rebuild.vendor import check_offline, take  # noqa: PLC0415 - few builds are

    without = open_context(context.project, context.store, options.suite, options.mirror, sites)
    with without.store.lock():
        taken = take(without, options.folder) if options.folder else without
        check_offline(taken, taken.selected)
    return replace(open_building(context, options, sites), vendored=taken.vendored)


def read_requests(build_context: BuildContext, options: BuildOptions) -> dict[SourceName, SnapshotRequest | None]:
    """The sources that are asked for, and for each whether a snapshot of it is, by NAME@REF or by the options.

    Without --origin, NAME@REF is of the project's home of today.
    """
    if options.snapshot:
        return {name: request_newest(build_context.recipes[name]) for name in build_context.selected}
    requests: dict[SourceName, SnapshotRequest | None] = {}
    for word in options.names:
        plain, _, own = word.partition("@")
        recipe = find(build_context, plain)
        kinds = list(recipe.upstream.repositories) if recipe.upstream else []
        kind = options.origin or (next(iter(kinds), "git") if own else None)
        requests[recipe.name] = SnapshotRequest(kind=str(kind), ref=own or options.ref) if kind else None
    return requests


def open_building(context: Context, options: BuildOptions, sites: Sequence[Recipe]) -> BuildContext:
    """The build context of these options. Makes the base chroot first where the suite's kernels are read from it."""
    project, store = context.project, context.store
    suite = project.pick_suite(options.suite)
    pin, base = read_base_lock(project.root, suite, read_architecture()), find_chroot(store.state, suite)
    stale = base is not None and is_stale(project, base, pin)
    if stale or needs_chroot(project.settings, suite, store.state):
        if options.origin or any("@" in name for name in options.names):
            without = open_context(project, store, options.suite, options.mirror, sites)
            with without.store.lock():  # a wrong ref is told before half a minute is spent
                find_commits(without, read_requests(without, options))
        make_chroot(project, store, suite, options.mirror, shared=_open_shared(context, options, store))
    return open_with(context, options, sites)


def open_with(context: Context, options: BuildOptions, sites: Sequence[Recipe]) -> BuildContext:
    """The build context of these options, with the base chroot that there is."""
    project, store = context.project, context.store
    return replace(
        open_context(project, store, options.suite, options.mirror, sites),
        lintian=options.lintian,
        tests=options.tests,
        ccache=project.settings.ccache if options.ccache is None else options.ccache,
        shared=_open_shared(context, options, store.turn_to(options.architecture or read_architecture())),
    )


def _open_shared(context: Context, options: BuildOptions, store: Store) -> SharedBuilds | None:
    """The caches that builds are taken from: files may travel to workers through one whose builds nobody trusts."""
    only_files = (options.scheduler or options.workers) and not context.project.settings.build_cache_trust
    if options.offline or only_files:
        return None
    return open_shared(context, options.build_cache, options.reuse_from, store.state, sample=options.rebuild_sample)
