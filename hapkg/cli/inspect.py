"""hapkg list, show, logs: what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hapkg.build.context import BuildContext, open_context
from hapkg.build.store import Artifact
from hapkg.cli import output
from hapkg.cli.options import JsonOption, SuiteOption
from hapkg.control import SourceName
from hapkg.errors import UsageError
from hapkg.recipe.model import Recipe, find_recipe
from hapkg.recipe.settings import Project

app = typer.Typer()


@app.command("list")
def list_recipes(context: typer.Context, suite: SuiteOption = None, as_json: JsonOption = False) -> None:
    """List the recipes in build order, with the newest finished build of each."""
    build_context = open_suite(context, suite)
    newest = newest_builds(build_context)
    rows: list[dict[str, Any]] = []
    for name in build_context.graph.order:
        build = newest.get(name)
        packages = [package.package for package in build_context.recipes[name].packages]
        rows.append(
            {
                "source": name,
                "upstream": build_context.recipes[name].version,
                "built": build.version if build else None,
                "packages": packages,
                "needs": list(build_context.graph.needs[name]),
            }
        )
    if as_json:
        output.print_json(rows)
    else:
        output.print_table(
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
    build_context = open_suite(context, suite)
    chosen = find(build_context, name)
    facts = output.describe_recipe(
        chosen, build_context.graph.needs[chosen.name], newest_builds(build_context).get(chosen.name)
    )
    if as_json:
        output.print_json(facts)
    else:
        output.print_facts(facts)


@app.command()
def logs(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Recipe or package.")],
    suite: SuiteOption = None,
    path: Annotated[bool, typer.Option("--path", help="Print only where the log is.")] = False,
) -> None:
    """Print the log of the last build of a recipe, failed or finished."""
    build_context = open_suite(context, suite)
    chosen = find(build_context, name)
    failed = build_context.store.failure_log(build_context.suite, chosen.name)
    finished = newest_builds(build_context).get(chosen.name)
    log = failed if failed.exists() else finished.log if finished else None
    if log is None:
        raise UsageError(
            f"{chosen.source} was never built for {build_context.suite}", hint=f"run: hapkg build {chosen.source}"
        )
    output.print_log(f"{log}\n" if path else log.read_text("utf-8", "replace"))


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
