"""The command line: which module brings which command, exit codes, and what a failure says.

Data goes to standard output, the story to standard error. A command's module is imported when the command is meant:
all of them together take longer than most commands do.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption
from typer.main import get_group

from hapkg import __version__
from hapkg.cli.life import begin, end
from hapkg.errors import HapkgError, Interrupted, MachineError, UsageError

if TYPE_CHECKING:
    from types import ModuleType

COMMANDS = {
    "prove": "prove",
    "build-all": "build",
    "build": "build",
    "plan": "build",
    "times": "maintenance",
    "list": "inspect",
    "show": "inspect",
    "logs": "inspect",
    "publish": "publish",
    "lock": "build",
    "new": "maintenance",
    "doctor": "maintenance",
    "clean": "maintenance",
}
"""Which module's app has a command, in the order of the help."""
GROUPS = {
    "chroot": "chroot",
    "repo": "repo",
    "key": "key",
    "site": "site",
}
"""Commands that are groups of others: the whole app of a module."""

# Typer brings its own click and names the base of its usage errors nowhere in public.
_CommandLineProblem: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _spare_pydantic(kind: Any) -> None:
    """Options and arguments that are not given, or may be any words, are taken as they are.

    typer asks pydantic even of those, and importing that takes longer than most commands do.
    """
    check = kind.process_value

    def process(parameter: Any, context: Any, value: Any) -> Any:
        single = parameter.nargs == 1 and not parameter.multiple
        if value in (None, (), []) and not parameter.required:
            value = None if single else []
        elif not (single and isinstance(value, str) and parameter.type_descriptor.annotation is str):
            return check(parameter, context, value)
        return parameter.callback(context, parameter, value) if parameter.callback else value

    kind.process_value = process


for _kind in (TyperArgument, TyperOption):
    _spare_pydantic(_kind)


class Commands(TyperGroup):
    """All commands; each is there when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the help."""
        return [*COMMANDS, *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The named command. For a name that there is not, all are looked through: one of them may be meant."""
        for name in [cmd_name] if cmd_name in COMMANDS or cmd_name in GROUPS else self.list_commands(ctx):
            if name not in self.commands:
                self.commands[name] = _load(name)
        return super().get_command(ctx, cmd_name)


def _load(name: str) -> Any:
    module = _import(COMMANDS.get(name) or GROUPS[name])
    holder = typer.Typer(rich_markup_mode=None)
    holder.add_typer(module.app, name="part")
    part: Any = get_group(holder).commands["part"]
    if name in GROUPS:
        part.name = name
        return part
    return part.commands[name]


def _import(module: str) -> ModuleType:
    return importlib.import_module(f"hapkg.cli.{module}")


app = typer.Typer(
    name="hapkg",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Build the Linux HA stack from upstream source as Debian packages under /opt/ha, and publish them with apt.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"hapkg {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    project: Annotated[Path | None, typer.Option(help="The checkout [default: found from here upwards].")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="State folder [default: $HAPKG_CACHE or ~/.cache/hapkg].", metavar="DIR")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""
    context.obj = _import("context").Context(project, cache)


def _on_signal(number: int, frame: FrameType | None) -> None:
    """SIGTERM and SIGHUP end hapkg as Ctrl-C does: with everything it started."""
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Entry point."""
    begin()
    signal.signal(signal.SIGTERM, _on_signal)
    signal.signal(signal.SIGHUP, _on_signal)
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # looking for some takes a tenth of a short run
    end(_run())


def _run() -> int:
    """Do what the command line says. The one place where a failure becomes words and an exit code."""
    try:
        return int(app(standalone_mode=False) or 0)  # what typer.Exit carried comes back as the result
    except HapkgError as error:
        return _tell(error)
    except (KeyboardInterrupt, typer.Abort):
        _import("output").say("stopped")
        return Interrupted.exit_code
    except BrokenPipeError:
        return 1
    except _CommandLineProblem as problem:
        problem.show()
        return UsageError.exit_code
    except Exception as error:
        return _tell_unforeseen(error)


def _tell(error: HapkgError) -> int:
    _import("output").print_error(error)
    return error.exit_code


def _tell_unforeseen(error: Exception) -> int:
    """A full disk can show itself anywhere, what is printed included; all else is a mistake of ours."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _tell(MachineError(f"there is no space left for {error.filename or 'what hapkg prints'}"))
    traceback.print_exception(error)
    _import("output").say("this is a bug in hapkg: please report it with the lines above")
    return 70
