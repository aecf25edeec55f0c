"""Selection by what the command line names: the suite, recipes, builds, the site file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from hapkg.build.context import BuildContext, open_context
from hapkg.build.store import Artifact
from hapkg.control import SourceName
from hapkg.recipe.model import Recipe, find_recipe
from hapkg.recipe.settings import Project


def open_suite(context: typer.Context, suite: str | None, site: Path | None = None) -> BuildContext:
    """The build context of the project for a suite, with the package of its site."""
    project = context.obj.project
    return open_context(project, context.obj.store, suite, None, read_site_recipes(project, site))


def find_site(project: Project, named: Path | None) -> Path | None:
    """The site file: the named one, or site.toml of the checkout, if there is one."""
    default = project.site_file
    return named or (default if default.exists() else None)


def read_site_recipes(project: Project, named: Path | None) -> tuple[Recipe, ...]:
    """The recipe of the site's package, or nothing where there is no site file. Raises SiteError."""
    file = find_site(project, named)
    if file is None:
        return ()
    from hapkg.site.model import read_site  # noqa: PLC0415 - most projects have none, and its tables take time
    from hapkg.site.package import make_site_recipe  # noqa: PLC0415

    return (make_site_recipe(project, read_site(file)),)


def pick(build_context: BuildContext, names: Sequence[str] | None) -> list[SourceName]:
    """The named recipes, or all of them."""
    return [find(build_context, name).name for name in names] if names else list(build_context.recipes)


def find(build_context: BuildContext, name: str) -> Recipe:
    """The recipe that a person means."""
    return find_recipe(dict(build_context.recipes), name, build_context.project.settings.package_prefix)


def newest_builds(build_context: BuildContext) -> Mapping[SourceName, Artifact]:
    """The newest finished build of each source of the suite."""
    return {build.source: build for build in build_context.store.list_builds() if build.suite == build_context.suite}
