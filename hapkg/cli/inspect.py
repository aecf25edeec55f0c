"""hapkg list, show, logs: what there is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hapkg.cli import output
from hapkg.cli.options import JsonOption, SuiteOption
from hapkg.cli.select import find, newest_builds, note_left_out, open_suite
from hapkg.errors import UsageError

app = typer.Typer()


@app.command("list")
def list_recipes(context: typer.Context, suite: SuiteOption = None, as_json: JsonOption = False) -> None:
    """List the recipes in build order, with the newest finished build of each."""
    build_context = open_suite(context, suite)
    note_left_out(build_context)
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
    note_left_out(build_context)
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
    note_left_out(build_context)
    chosen = find(build_context, name)
    failed = build_context.store.failure_log(build_context.suite, chosen.name)
    finished = newest_builds(build_context).get(chosen.name)
    log = failed if failed.exists() else finished.log if finished else None
    if log is None:
        raise UsageError(
            f"{chosen.source} was never built for {build_context.suite}", hint=f"run: hapkg build {chosen.source}"
        )
    output.print_log(f"{log}\n" if path else log.read_text("utf-8", "replace"))
