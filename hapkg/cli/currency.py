"""hapkg audit, outdated: known holes of what the recipes build, and newer versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated
from urllib.parse import urlsplit

import typer

from hapkg.apt.mirror import find_mirror
from hapkg.build.context import find_debian_mirror
from hapkg.cli import output
from hapkg.cli.options import JsonOption, MirrorOption, NamesArgument, SuiteOption
from hapkg.cli.select import newest_builds, open_suite
from hapkg.control import SourceName
from hapkg.currency import osv
from hapkg.currency.audit import Assessment, count_open
from hapkg.currency.audit import audit as audit_recipes
from hapkg.currency.debian_archive import DebianIndexes, read_indexes
from hapkg.currency.known_holes import remember_holes
from hapkg.currency.osv import ask_osv
from hapkg.currency.outdated import Standing, compare_all, find_missing_modules
from hapkg.currency.promises import remember
from hapkg.currency.sarif import make_sarif
from hapkg.currency.tracker import ADDRESS, TrackerData, read_tracker
from hapkg.errors import FetchError, UsageError
from hapkg.host import read_architecture
from hapkg.recipe.collection import find_recipe, read_recipes
from hapkg.recipe.model import RECIPE_FILE, Recipe
from hapkg.recipe.selection import find_kernels
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
    with_osv: Annotated[bool, typer.Option("--osv", help="Ask OSV by the commits as well.")] = False,
    as_json: JsonOption = False,
    as_sarif: Annotated[bool, typer.Option("--sarif", help="Open holes as SARIF, for forges.")] = False,
) -> None:
    """Compare the recipes with Debian's security tracker: which known holes are open.

    A hole is closed by a patch that names it, by a version, or by a decision in the recipe. Exit code 1: some are open.
    The next publish says the same in its VEX document, as far as all recipes were asked about.
    """
    if as_json and as_sarif:
        raise UsageError("--json and --sarif are two forms of one answer", hint="name one of them")
    project: Project = context.obj.project
    chosen_suite = project.pick_suite(suite)
    recipes = read_recipes(project)
    known = read_tracker(data, {recipe.debian_source for recipe in recipes.values()}, context.obj.store.state)
    chosen = _pick(project, recipes, names)
    affecting = ask_osv(chosen, osv.ADDRESS) if with_osv else None
    if not names:
        remember_holes(context.obj.store.state, known, affecting)
    findings = audit_recipes(chosen, known, chosen_suite, affecting)
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


@app.command()
def outdated(
    context: typer.Context,
    names: NamesArgument = None,
    suite: SuiteOption = None,
    mirror: MirrorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what is newer than the recipes, upstream and in Debian, and what is gone.

    Exit code 0: nothing; 1: somebody should look; 6: nothing, but not all could be asked.
    """
    project: Project = context.obj.project
    chosen_suite = project.pick_suite(suite)
    recipes = read_recipes(project)
    chosen = _pick(project, recipes, names)
    state = context.obj.store.state
    own = find_mirror(mirror, project.distributions[chosen_suite], state=state, suite=chosen_suite)
    archive = find_debian_mirror(project, own, state)
    for asked, remedy in ((own, "name one with --mirror"), (archive, "name one as [tool.hapkg] debian-mirror")):
        if asked.uri is None:
            raise FetchError(f"no archive of {asked.distribution.vendor} is configured on this host", hint=remedy)
    with context.obj.store.lock():
        indexes = read_indexes(state, archive, own, chosen_suite, [recipe.debian_source for recipe in chosen])
        standings = compare_all(chosen, indexes, state)
        if chosen_suite not in indexes.unasked:
            remember(state, chosen_suite, ((s.source, s.version, s.promise) for s in standings))
    missing = _find_missing_modules(context, chosen, indexes)
    unasked = [*(f"{name}: {why}" for name, why in indexes.unasked.items())]
    unasked += [line for standing in standings for line in standing.unasked]
    if as_json:
        output.print_json(
            {"sources": [asdict(standing) for standing in standings], "modules": missing, "unasked": unasked}
        )
    else:
        _print_standings(standings, indexes, missing, unasked)
    if missing or any(standing.has_news for standing in standings):
        raise typer.Exit(SOMETHING_FOUND)
    if unasked:
        raise typer.Exit(FetchError.exit_code)


def _find_missing_modules(context: typer.Context, recipes: Sequence[Recipe], indexes: DebianIndexes) -> list[str]:
    """Packages of modules that the suite's kernel of today lacks, where the project makes such packages."""
    project: Project = context.obj.project
    modules = [recipe for recipe in recipes if find_kernels(recipe, project.settings, indexes.suite)]
    if not modules:
        return []
    build_context = open_suite(context, indexes.suite)
    there = {*newest_builds(build_context), *build_context.published}
    kernel = indexes.find_kernel(read_architecture())
    return find_missing_modules(modules, kernel, there)


def _print_standings(
    standings: Sequence[Standing], indexes: DebianIndexes, missing: Sequence[str], unasked: Sequence[str]
) -> None:
    suite, later = indexes.suite, indexes.later
    output.print_table(
        ("source", "ours", "upstream", suite, "backports", *later, "promise", "news"),
        [
            (
                s.source,
                s.version,
                s.upstream or "-",
                *(s.debian[name] or "-" for name in ("suite", "backports", *later)),
                s.promise,
                _tell_news(s),
            )
            for s in standings
        ],
    )
    for name in missing:
        output.say(f"{suite} has a kernel without its module: {name} is not built; run: hapkg chroot update")
    for line in _group(unasked):
        output.say(f"no answer: {line}")


def _group(unasked: Sequence[str]) -> list[str]:
    """A line for each host that did not answer: its first failure stands for all."""
    hosts: dict[str, list[str]] = {}
    for line in dict.fromkeys(unasked):
        hosts.setdefault(urlsplit(line.split(": ")[0]).hostname or line, []).append(line)
    return [lines[0] + (f" (and {len(lines) - 1} more there)" if lines[1:] else "") for lines in hosts.values()]


def _tell_news(standing: Standing) -> str:
    """Words for the last column."""
    news = [f"{standing.newest} is there"] if standing.newest != standing.version else []
    if standing.hold:
        news.append(f"held: {standing.hold}")
    return "; ".join([*news, *(f"gone: {origin}" for origin in standing.gone)]) or "-"


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
