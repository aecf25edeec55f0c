"""hapkg site: check a site file, and show what follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hapkg.build.context import open_context
from hapkg.cli import output
from hapkg.cli.options import JsonOption, SuiteOption
from hapkg.cli.select import find_site
from hapkg.errors import SiteError, UsageError
from hapkg.recipe.settings import Project
from hapkg.site.check import Finding, check_site
from hapkg.site.files import render_site
from hapkg.site.model import Site, read_site
from hapkg.site.package import make_site_recipe

app = typer.Typer(
    no_args_is_help=True, help="Check the file that says what cluster a site wants, and show its results."
)

FileArgument = Annotated[Path | None, typer.Argument(help="Site file [default: site.toml].", metavar="[FILE]")]


@app.command("check")
def site_check(
    context: typer.Context,
    file: FileArgument = None,
    suite: SuiteOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="The file alone; do not ask the stack's programs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a site file against its own rules and against corosync, drbdadm, crm and crm_verify."""
    path, site = _read(context, file)
    project: Project = context.obj.project
    findings = [Finding(check=f"{path.name} agrees with itself", ok=True)]
    if not quick:
        with context.obj.store.lock():
            build_context = open_context(project, context.obj.store, suite, None, (make_site_recipe(project, site),))
            findings += check_site(build_context, site, lambda phase: output.say(f"site: {phase}"))
    if as_json:
        checks = [{"check": f.check, "ok": f.ok, "output": list(f.output)} for f in findings]
        output.print_json({"file": str(path), "warnings": list(site.warnings), "checks": checks})
    else:
        output.print_table(("", "check"), [("ok" if f.ok else "FAILED", f.check) for f in findings])
        for warning in site.warnings:
            output.say(f"warning: {warning}")
    refused = [finding for finding in findings if not finding.ok]
    if refused:
        raise SiteError(
            f"{path}: refused by {', '.join(finding.check for finding in refused)}",
            details=[line for finding in refused for line in (f"{finding.check}:", *finding.output)],
            hint="docs/site.md tells which key each line comes from; hapkg site show prints the files",
        )


@app.command("show")
def site_show(
    context: typer.Context,
    file: FileArgument = None,
    to: Annotated[Path | None, typer.Option("--to", help="Write the files below this folder.", metavar="DIR")] = None,
) -> None:
    """Print the files that the nodes get, the same for each of them."""
    _, site = _read(context, file)
    project: Project = context.obj.project
    for path, content in render_site(site, project.settings, project.templates).items():
        if to is None:
            typer.echo(f"==> {path} <==\n{content.decode()}")
            continue
        target = to / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        output.say(f"wrote {target}")
    for warning in site.warnings:
        output.say(f"warning: {warning}")


def _read(context: typer.Context, file: Path | None) -> tuple[Path, Site]:
    path = find_site(context.obj.project, file)
    if path is None:
        raise UsageError(
            f"there is no {context.obj.project.site_file.name} in the checkout",
            hint="name the file; docs/site.example.toml is one",
        )
    return path, read_site(path)
