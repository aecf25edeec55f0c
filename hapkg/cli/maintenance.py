"""hapkg init, new, doctor, clean: what is done once in a while."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]
from typer.main import get_group

from hapkg import __version__
from hapkg.apt.mirror import find_mirror
from hapkg.build import cleanup
from hapkg.build.context import find_debian_mirror, open_context
from hapkg.build.failures import read_cause
from hapkg.build.pins import make_lock
from hapkg.cli import output
from hapkg.cli.build import build_source
from hapkg.cli.main import COMPLETION
from hapkg.cli.main import app as everything
from hapkg.cli.options import Context, DryRunOption, JsonOption, MirrorOption, NamesArgument, SuiteOption
from hapkg.cli.select import find_built, open_suite
from hapkg.control import SourceName, Suite
from hapkg.distribution import Distribution
from hapkg.doctor import PROGRAMS, HostCheck, diagnose
from hapkg.draft.contents import find_owners
from hapkg.draft.debian_source import PREFIX
from hapkg.draft.draft import FindOwners, draft
from hapkg.draft.skeleton import make_project
from hapkg.draft.trial import amend
from hapkg.errors import ConfigError, HapkgError
from hapkg.host import read_architecture

app = typer.Typer()


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the project; its name is that of the packages.")],
    suite: Annotated[
        str | None,
        typer.Option("--suite", "-s", help="Suite, such as trixie or noble [default: bookworm].", metavar="SUITE"),
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="Where packages are installed [default: /opt/NAME].")] = None,
    package_prefix: Annotated[
        str | None, typer.Option(help="How names of packages begin [default: NAME-].", metavar="PREFIX")
    ] = None,
    maintainer: Annotated[
        str | None, typer.Option(help='"NAME <ADDRESS>" [default: DEBFULLNAME and DEBEMAIL, else git\'s user].')
    ] = None,
) -> None:
    """Begin a project of one's own: settings, a first recipe, continuous integration."""
    table = {"suite": suite, "prefix": prefix, "package-prefix": package_prefix, "maintainer": maintainer}
    programs = sorted({*PROGRAMS.values(), "ca-certificates", "git", "pipx"})
    for file in make_project(folder, table, programs):
        output.say(f"wrote {file}")
    output.print_lines([f"cd {shlex.quote(str(folder))} && hapkg doctor && hapkg build-all && hapkg publish"])


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Folder of the recipe, the package's name without its prefix.")],
    origin: Annotated[
        str, typer.Option("--from", help="Tarball, its address, repository, its page, .dsc, or debian:NAME[/SUITE].")
    ],
    ref: Annotated[
        str, typer.Option("--ref", help="Tag of the repository [default: the newest that looks like a version].")
    ] = "",
    contents: Annotated[
        bool, typer.Option(help="Ask the suite's Contents index for what no table knows; it is fetched once.")
    ] = True,
    mirror: MirrorOption = None,
    trial: Annotated[
        bool, typer.Option("--trial", help="Build it; amend the recipe by what the log tells, and build again.")
    ] = False,
    most: Annotated[int, typer.Option(help="Builds of a trial at most.", min=1)] = 10,
) -> None:
    """Draft the recipe of an upstream source, and lock it for each suite that has a lock."""
    project, store = context.obj.project, context.obj.store
    first = project.pick_suite(None)
    archive = find_mirror(mirror, project.distributions[first], state=store.state, suite=first)
    search = partial(find_owners, suite=first, mirror=archive, state=store.state)
    with store.lock():
        debian = find_debian_mirror(project, archive, store.state) if origin.startswith(PREFIX) else None
        file = draft(project, name, origin, store.state, search if contents else None, debian, ref)
        output.say(f"wrote {file}")
        source = SourceName(project.settings.package_prefix + file.parent.name)
        for suite in project.settings.suites:
            build_context = open_context(project, store, suite, None)
            if build_context.lock is None:
                continue
            try:
                output.say(f"wrote {make_lock(build_context, [source])}")
            except HapkgError as error:
                output.say(f"note: {source} is not locked for {suite}: {error.brief}; hapkg lock {source} tries again")
        if trial:
            _try_out(context.obj, file, search if contents else None, mirror, most)


def _try_out(context: Context, file: Path, search: FindOwners | None, mirror: str | None, most: int) -> None:
    """Build a draft until it is built, or until its log tells nothing that can be amended. Raises the last failure."""
    project = context.project
    source = SourceName(project.settings.package_prefix + file.parent.name)
    for number in range(1, most + 1):
        build_context = open_context(project, context.store, None, mirror)
        done = build_source(build_context, source)
        if done.error is None:
            output.say(f"{source} is built, after {number - 1} changes of {file}")
            return
        cause = read_cause(done.log) if done.log and done.source == source else None
        changes = amend(file, cause, project.settings.prefix, build_context.recipes, search) if cause else []
        if not changes or number == most:
            raise done.error
        output.print_lines([f"{file}:", *(f"  {change}" for change in changes)])


@app.command()
def doctor(context: typer.Context, as_json: JsonOption = False) -> None:
    """Check this host: what is missing, and the command that mends it."""
    findings = _diagnose(context.obj)
    if as_json:
        output.print_json([{"check": f.check, "ok": f.ok, "found": f.found, "remedy": f.remedy} for f in findings])
    else:
        rows = [("ok" if f.ok else "MISSING", f.check, f.found, f.remedy) for f in findings]
        output.print_table(("", "check", "found", "mend it with"), rows)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(9)


def _diagnose(context: Context) -> tuple[HostCheck, ...]:
    """Check the host for what the project builds; outside of one it is checked all the same."""
    state = context.store.state
    try:
        project = context.project
    except ConfigError:
        return diagnose(state)
    distributions: list[Distribution] = []
    for suite in project.settings.suites:
        if (distribution := project.distributions[Suite(suite)]) not in distributions:
            distributions.append(distribution)
    return diagnose(state, project.settings.architectures, distributions, project.settings.debian_mirror)


@app.command()
def clean(
    context: typer.Context,
    names: NamesArgument = None,
    suite: SuiteOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the newest builds, layers, sources and records.")
    ] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Remove old builds, failed ones and scratch; with names, every build of those recipes."""
    build_context, store = open_suite(context, suite), context.obj.store
    stores = [store.turn_to(name) for name in (read_architecture(), *store.state.list_architectures())]
    built = {build.source for its in stores for build in its.list_builds()} if names else set()
    sources = [find_built(build_context, name, built) for name in names or []]
    if dry_run:
        found = [
            one for its in stores for one in cleanup.measure(its, cleanup.choose(its, sources, everything=everything))
        ]
        output.print_table(("would be removed", "size"), [(words, output.size(size)) for words, size in found])
        output.say(f"would free {output.size(sum(size for _, size in found))}")
        return
    with store.lock():
        freed = sum(cleanup.clean(its, cleanup.choose(its, sources, everything=everything)) for its in stores)
    output.say(f"freed {output.size(freed)}")


class Shell(StrEnum):
    """A shell that completes."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command()
def completion(shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print the completion of hapkg for a shell: source <(hapkg completion bash)."""
    typer.echo(get_completion_script(prog_name="hapkg", complete_var=COMPLETION, shell=shell))


@app.command()
def manual() -> None:
    """Print hapkg(1), made from the commands themselves: hapkg manual | man -l -."""
    typer.echo("\n".join(_describe_all(get_group(everything))))


def _describe_all(group: Any) -> Iterator[str]:
    context = typer.Context(group, info_name="hapkg")
    yield f'.TH HAPKG 1 "" "hapkg {__version__}" "Linux HA stack"'
    yield ".SH NAME"
    yield "hapkg \\- build the Linux HA stack as Debian packages, and publish them"
    yield from (".SH SYNOPSIS", ".B hapkg", ".RI [ OPTIONS ]", ".I COMMAND", ".RI [ ARGUMENTS ]")
    yield from (".SH DESCRIPTION", _quote(group.help))
    yield ".SH OPTIONS"
    yield from _describe_parameters(group)
    yield ".SH COMMANDS"
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            for part in command.list_commands(context):
                yield from _describe_command(f"{name} {part}", command.get_command(context, part))
        else:
            yield from _describe_command(name, command)
    yield ".SH EXIT STATUS"
    kinds = {kind.exit_code: kind for kind in _list_kinds(HapkgError)}
    yield from (".TP", ".B 0", "Done.")
    for code, kind in sorted(kinds.items()):
        yield from (".TP", f".B {code}", _quote((kind.__doc__ or "").partition("\n")[0]))
    yield ".SH FILES"
    yield from (".TP", ".I pyproject.toml", "Settings, in [tool.hapkg].")
    yield from (".TP", ".I ~/.cache/hapkg", "Chroots, sources, builds and records; elsewhere by HAPKG_CACHE.")
    yield from (".SH SEE ALSO", "The folder docs of the checkout.")


def _list_kinds(kind: type[HapkgError]) -> Iterator[type[HapkgError]]:
    for narrower in kind.__subclasses__():
        yield narrower
        yield from _list_kinds(narrower)


def _describe_command(name: str, command: Any) -> Iterator[str]:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    names = " ".join(_name_argument(argument) for argument in arguments)
    yield f".SS {_quote(f'hapkg {name} {names}'.strip())}"
    yield _quote(command.help)
    yield from _describe_parameters(command)


def _describe_parameters(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield ".TP"
        if parameter.param_type_name == "argument":
            yield f".I {_quote(_name_argument(parameter))}"
        else:
            forms = "\\fR, \\fB".join(_quote(form) for form in (*parameter.opts, *parameter.secondary_opts))
            value = "" if parameter.is_flag else f" \\fI{_quote(parameter.metavar or parameter.name.upper())}\\fR"
            yield f"\\fB{forms}\\fR{value}"
        yield _quote(parameter.help or "")


def _name_argument(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _quote(text: str) -> str:
    """Text as troff prints it: no escape, no hyphen where a minus is meant, no line that is a request."""
    one = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{one}" if one.startswith((".", "'")) else one
