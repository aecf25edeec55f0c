"""hapkg site: check a site file, and show what follows from it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hapkg import disk
from hapkg.build.context import open_context
from hapkg.cli import output
from hapkg.cli.options import JsonOption, SuiteOption
from hapkg.cli.select import find_sites
from hapkg.errors import MachineError, SiteError, UsageError
from hapkg.locations import SITES
from hapkg.recipe.settings import Project
from hapkg.site.check import Finding, check_site, show_cib
from hapkg.site.files import render_site
from hapkg.site.importing.cluster import Sources, compare_sources, import_site
from hapkg.site.importing.imported import write_site
from hapkg.site.importing.report import LARGEST, read_report
from hapkg.site.model import Site, read_site

app = typer.Typer(no_args_is_help=True, help="Check, show and import the file that says what cluster a site wants.")

FileArgument = Annotated[
    Path | None,
    typer.Argument(help="Site file, or a name in sites [default: site.toml and sites/*.toml].", metavar="[FILE]"),
]


@app.command("check")
def site_check(
    context: typer.Context,
    file: FileArgument = None,
    suite: SuiteOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="The file alone; do not ask the stack's programs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check site files against their own rules and against corosync, drbdadm, crm and crm_verify."""
    told, refusals = [], []
    for path, site in _read(context, file):
        findings = [Finding(check=f"{path.name} agrees with itself", ok=True)]
        if not quick:
            build_context = open_context(context.obj.project, context.obj.store, suite, None)
            with build_context.store.lock():
                findings += check_site(
                    build_context, site, path.read_text("utf-8"), lambda phase: output.say(f"site: {phase}")
                )
        warnings = [*site.warnings, *(line for finding in findings for line in finding.warnings)]
        told.append({"file": str(path), "warnings": warnings, "checks": [_describe(finding) for finding in findings]})
        refused = [finding for finding in findings if not finding.ok]
        if not as_json:
            output.print_table(("", "check"), [("ok" if f.ok else "FAILED", f.check) for f in findings])
            for warning in warnings:
                output.say(f"warning: {warning}")
        if refused:
            refusals.append(_refuse(path, refused))
    if as_json:
        output.print_json(told[0] if len(told) == 1 else told)
    for refusal in refusals[:-1]:
        output.print_error(refusal)
    if refusals:
        raise refusals[-1]


def _describe(finding: Finding) -> dict[str, object]:
    return {"check": finding.check, "ok": finding.ok, "output": list(finding.output)}


def _refuse(path: Path, refused: Sequence[Finding]) -> SiteError:
    return SiteError(
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
    sites = _read(context, file)
    if len(sites) > 1:
        names = ", ".join(str(path) for path, _ in sites)
        raise UsageError(f"there are {len(sites)} site files", hint=f"name one: {names}")
    ((_, site),) = sites
    project: Project = context.obj.project
    for path, content in render_site(site, project.settings, project.templates).items():
        if to is None:
            typer.echo(f"==> {path} <==\n{content.decode()}")
            continue
        target = to / path[1:]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            raise MachineError(
                f"{target} cannot be written: {error.strerror}", hint="choose a folder of your own: --to DIR"
            ) from error
        output.say(f"wrote {target}")
    for warning in site.warnings:
        output.say(f"warning: {warning}")


@app.command("import")
def site_import(
    context: typer.Context,
    report: Annotated[
        Path | None, typer.Option("--report", help="Archive that `crm report` made.", metavar="FILE")
    ] = None,
    corosync: Annotated[
        Path | None, typer.Option("--corosync", help="corosync.conf of a node.", metavar="FILE")
    ] = None,
    crm: Annotated[
        Path | None, typer.Option("--crm", help="What `crm configure show` prints there.", metavar="FILE")
    ] = None,
    cib: Annotated[
        Path | None,
        typer.Option(
            "--cib", help="Instead: what `cibadmin -Q` prints; the built stack's crm reads it.", metavar="FILE"
        ),
    ] = None,
    drbd: Annotated[
        Path | None, typer.Option("--drbd", help="drbd.d, or a file with DRBD's resources.", metavar="PATH")
    ] = None,
    booth: Annotated[Path | None, typer.Option("--booth", help="booth.conf of a site.", metavar="FILE")] = None,
    suite: SuiteOption = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="New site file to write [default: print it].", metavar="FILE"),
    ] = None,
) -> None:
    """Write the site file of a cluster that runs, and name what it has no keys for."""
    if to is not None and to.exists():
        raise UsageError(f"{to} exists", hint="import writes a new file: choose another name")
    if (report is None) == (corosync is None):
        raise UsageError("--report or --corosync is needed, one of them", hint="a report has everything in it")
    if crm and cib:
        raise UsageError("--crm and --cib say the same", hint="name one of them")
    sources, xml = read_report(report) if report else (Sources(corosync=_read_text(corosync or Path())), None)
    if crm:
        text = _read_text(crm)
    elif (wanted := _read_text(cib) if cib else xml) is not None:
        built = open_context(context.obj.project, context.obj.store, suite, None)
        with built.store.lock():
            text = show_cib(built, wanted, lambda phase: output.say(f"site: {phase}"))
    else:
        text = sources.crm
    files = sorted(drbd.glob("*")) if drbd and drbd.is_dir() else [drbd] if drbd else []
    texts = {file.name: _read_text(file) for file in files if file.suffix in (".res", ".conf")}
    said = replace(sources, crm=text, drbd=texts or sources.drbd, booth=_read_text(booth) if booth else sources.booth)
    _write_imported(context.obj.project, said, to)


def _write_imported(project: Project, sources: Sources, to: Path | None) -> None:
    found = import_site(sources)
    text = write_site(found.table)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "site.toml"
        file.write_text(text, "utf-8")
        try:
            site = read_site(file)
        except SiteError as error:
            brief = error.brief.replace(f"{file}: ", "")
            raise SiteError(
                f"what was imported breaks a rule of site files: {brief}",
                details=[*found.notes, *text.splitlines()],
                hint="the text above is the site file as far as it came: mend it by hand, docs/site.md",
            ) from error
    etc = f"{project.settings.prefix}/etc"
    files = {path: content.decode() for path, content in render_site(site, project.settings, project.templates).items()}
    for note in [*found.notes, *compare_sources(sources, files, etc)]:
        output.say(f"note: {note}")
    for warning in site.warnings:
        output.say(f"warning: {warning}")
    if to is None:
        typer.echo(text, nl=False)
        return
    try:
        disk.replace(to, text.encode())
    except OSError as error:
        raise MachineError(f"{to} cannot be written: {error.strerror}") from error
    output.say(f"wrote {to}; next: hapkg site check {to}")


def _read_text(file: Path) -> str:
    try:
        if file.stat().st_size > LARGEST:
            raise SiteError(f"{file} has {file.stat().st_size} bytes", hint=f"{LARGEST} are the most")
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise SiteError(f"{file} is not UTF-8 text") from error
    except OSError as error:
        raise SiteError(f"{file} cannot be read: {error.strerror}") from error


def _read(context: typer.Context, named: Path | None) -> list[tuple[Path, Site]]:
    files = find_sites(context.obj.project, named)
    if not files:
        raise UsageError(
            f"there is no {context.obj.project.site_file.name} in the checkout, and none in {SITES}",
            hint="name the file; docs/site.example.toml is one",
        )
    return [(file, read_site(file)) for file in files]
