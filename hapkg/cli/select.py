"""Selection by what the command line names: the suite, recipes, builds, the site file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from hapkg.build.context import BuildContext, open_context
from hapkg.build.planner import follow
from hapkg.build.store import Artifact
from hapkg.cli import output
from hapkg.control import SourceName
from hapkg.errors import RecipeError, SiteError
from hapkg.host import read_architecture
from hapkg.locations import SITES
from hapkg.recipe.collection import find_recipe
from hapkg.recipe.model import Recipe
from hapkg.recipe.settings import Project


def open_suite(context: typer.Context, suite: str | None, site: Path | None = None) -> BuildContext:
    """The build context of the project for a suite, with the package of its site."""
    project = context.obj.project
    return open_context(project, context.obj.store, suite, None, read_site_recipes(project, site))


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


def newest_builds(build_context: BuildContext) -> Mapping[SourceName, Artifact]:
    """The newest finished build of each source of the suite."""
    return {build.source: build for build in build_context.store.list_builds() if build.suite == build_context.suite}


def turn_to(context: BuildContext, architecture: str | None, targets: Sequence[SourceName] | None) -> BuildContext:
    """The context for another architecture, where one is named. Raises UsageError for one that cannot be built for."""
    if architecture is None or architecture == read_architecture():
        return context
    return follow(context, architecture, targets)
