"""hapkg audit: known holes of what the recipes build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from hapkg.cli import output
from hapkg.cli.options import JsonOption, NamesArgument, SuiteOption
from hapkg.control import SourceName
from hapkg.currency.audit import Assessment, count_open
from hapkg.currency.audit import audit as audit_recipes
from hapkg.currency.sarif import make_sarif
from hapkg.currency.tracker import ADDRESS, TrackerData, read_tracker
from hapkg.errors import UsageError
from hapkg.recipe.model import RECIPE_FILE, Recipe, find_recipe, read_recipes
from hapkg.recipe.settings import Project

app = typer.Typer()
SOMETHING_FOUND = 1
"""Exit code of a command that looked for something, and found it."""


@app.command()
def audit(
    context: typer.Context,
    names: NamesArgument = None,
    suite: SuiteOption = None,
    data: Annotated[
        str, typer.Option("--data", help="The security tracker's JSON.", metavar="FILE|URL", show_default=True)
    ] = ADDRESS,
    as_json: JsonOption = False,
    as_sarif: Annotated[bool, typer.Option("--sarif", help="Open holes as SARIF, for forges.")] = False,
) -> None:
    """Compare the recipes with Debian's security tracker: which known holes are open.

    A hole is closed by a patch that names it, by a version, or by a decision in the recipe. Exit code 1: some are open.
    """
    if as_json and as_sarif:
        raise UsageError("--json and --sarif are two forms of one answer", hint="name one of them")
    project: Project = context.obj.project
    chosen_suite = project.pick_suite(suite)
    recipes = read_recipes(project)
    known = read_tracker(data, {recipe.debian_source for recipe in recipes.values()}, context.obj.store.state)
    findings = audit_recipes(_pick(project, recipes, names), known, chosen_suite)
    if as_json:
        output.print_json([asdict(finding) for finding in findings])
    elif as_sarif:
        folders = {recipe.name: recipe.folder for recipe in recipes.values()}
        output.print_json(
            make_sarif(findings, lambda name: str((folders[name] / RECIPE_FILE).relative_to(project.root)))
        )
    else:
        _print_findings(findings, known, chosen_suite)
    if count_open(findings):
        raise typer.Exit(SOMETHING_FOUND)


def _pick(project: Project, recipes: dict[SourceName, Recipe], names: Sequence[str] | None) -> list[Recipe]:
    """The named recipes, or all of them."""
    prefix = project.settings.package_prefix
    return [find_recipe(recipes, name, prefix) for name in names] if names else list(recipes.values())


def _print_findings(findings: Sequence[Assessment], data: TrackerData, suite: str) -> None:
    output.print_table(
        ("id", "source", suite, "fixed", "ours", "why"),
        [(f.id, f.source, f.debian, f.fixed, _shout(f), f.why) for f in findings],
    )
    output.say(
        f"{count_open(findings)} open of {len(findings)}, by {data.where} "
        f"({data.packages} source packages, {len(data.holes)} of ours)"
    )


def _shout(finding: Assessment) -> str:
    """The verdict as awk can take it."""
    return "OPEN" if finding.is_open else finding.verdict.replace(" ", "-")
