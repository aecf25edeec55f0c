"""The command line: which module brings which command, exit codes, and what a failure says.

Data goes to standard output, progress to standard error. A command's module is imported when the command is meant: all
of them together take longer than most commands do.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import re
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol, runtime_checkable

import typer
from typer.core import TyperGroup
from typer.main import get_group

from hapkg import __version__
from hapkg.errors import HapkgError, Interrupted, MachineError, UsageError
from hapkg.programs import process

if TYPE_CHECKING:
    from types import ModuleType

COMMANDS = {
    "prove": ("prove", "Prove on two throw-away machines that what a repository offers is a working cluster."),
    "build-all": ("build", "Build every recipe, each in a clean chroot, reusing what did not change."),
    "build": ("build", "Build the named recipes and what they need."),
    "worker": ("farm", "Build what coordinators on other machines order, until it is stopped."),
    "plan": ("build", "Show what build-all would do, and why. Builds nothing."),
    "times": ("inspect", "Show where the time of a run went, by source and phase, and its critical path."),
    "list": ("inspect", "List the recipes in build order, with the newest finished build of each."),
    "show": ("inspect", "Show one recipe: origins, patches, what it needs, what it builds, its last build."),
    "logs": ("inspect", "Print the log of the last build of a recipe, failed or finished."),
    "publish": ("publish", "Put the finished builds into a signed apt repository, at once or not at all."),
    "sbom": ("evidence", "Print the SBOM of a published suite: CycloneDX, or SPDX on request."),
    "verify": ("evidence", "Follow the chain of evidence of every package, from Release's signature to upstream's."),
    "rebuild": (
        "evidence",
        "Build again from .dsc and .buildinfo, with exactly the packages that these name, and compare every byte.",
    ),
    "lock": ("pins", "Write down exactly what a suite is built from; from then on build-all refuses anything else."),
    "vendor": (
        "pins",
        "Collect all sources and packages that the locks of a suite name, for build-all --offline --from DIR.",
    ),
    "outdated": ("currency", "Tell what is newer than the recipes, upstream and in Debian, and what is gone."),
    "bump": (
        "pins",
        "Bring a recipe to a newer version: origins, patches, locks; all or nothing.",
    ),
    "audit": ("currency", "Compare the recipes with Debian's security tracker: which known holes are open."),
    "shell": ("source", "Enter the clean chroot of a build: the tree is unpacked and patched, exports.sh is loaded."),
    "source": ("source", "Unpack a source as a git repository with a commit for each of its patches."),
    "patch": ("source", "Take the commits of such a repository back as the recipe's patches."),
    "init": ("maintenance", "Begin a project of one's own: settings, a first recipe, continuous integration."),
    "new": ("maintenance", "Draft the recipe of an upstream source, and lock it for each suite that has a lock."),
    "doctor": ("maintenance", "Check this host: what is missing, and the command that mends it."),
    "completion": ("maintenance", "Print the completion of hapkg for a shell: source <(hapkg completion bash)."),
    "manual": (
        "maintenance",
        "Print hapkg(1), made from the commands themselves: hapkg manual | man -l -.",
    ),
    "clean": ("maintenance", "Remove old builds, failed ones and scratch; with names, every build of those recipes."),
}
"""The module whose app has a command, and the command's line in the help, in the order of the help."""
GROUPS = {
    "chroot": ("chroot", "Make, list, renew and remove the clean chroots that builds use."),
    "repo": ("repo", "Show, compare, roll back, promote and verify what is published."),
    "cache": ("cache", "List, verify and prune the builds that machines share."),
    "key": ("key", "Make, judge, rotate and retire the keys that sign the repository."),
    "site": ("site", "Check, show and import the file that says what cluster a site wants."),
}
"""Commands that are groups of others: the whole app of a module."""
COMPLETION = "_HAPKG_COMPLETE"
"""Variable by which a shell's completion asks what may follow a line."""
_KNOWN = {**COMMANDS, **GROUPS}
_EXTRA = re.compile(r"unexpected extra argument\S* \((.+)\)")
_WATCH = "ends hapkg in time"
_IS_TOLD = threading.Lock()
"""Taken by the thread that says that hapkg was stopped."""
_STOP_SECONDS = 2.5
"""How long hapkg, asked to stop, may wait for something that is no process of its own."""


@runtime_checkable
class _CommandLineProblem(Protocol):
    """An error in the command line, which typer raises."""

    exit_code: int

    def format_message(self) -> str:
        """Say what is wrong."""

    def show(self) -> None:
        """Print it on standard error."""


class Commands(TyperGroup):
    """All commands; the module of each is imported when it is meant."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the help."""
        return [*_KNOWN]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The named command; for an unknown name, load every command so that click can suggest one."""
        for name in [cmd_name] if cmd_name in _KNOWN else _KNOWN:
            if name not in self.commands:
                self.commands[name] = _load(name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _KNOWN.items()])


def _load(name: str) -> Any:
    module = _import(_KNOWN[name][0])
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
    wait: Annotated[float, typer.Option(help="Seconds to wait while another hapkg uses the state folder.", min=0)] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Answers, warnings and errors alone.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell of every program that is started.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""
    if quiet or verbose:
        _import("output").set_verbosity(quiet=quiet, verbose=verbose)
    context.obj = _import("options").Context(project, cache, wait)


def main() -> NoReturn:
    """Entry point."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a shell's &: hapkg goes on as it was asked to
            signal.signal(number, _on_signal)
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # looking for some takes a tenth of a short run
    _end(_run())


def _on_signal(number: int, frame: FrameType | None) -> None:
    """End hapkg with everything it started, whatever it waits for."""
    if not any(thread.name == _WATCH for thread in threading.enumerate()):
        threading.Thread(target=_end_in_time, name=_WATCH, daemon=True).start()
    raise KeyboardInterrupt


def _end_in_time() -> None:
    """Leave when nothing but a wait without end can be what is left: a file system that hangs, a thread that does."""
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.05)
        if process.is_busy():  # it is being ended, or cleans up
            deadline = time.monotonic() + _STOP_SECONDS
    _say_stopped()
    os._exit(Interrupted.exit_code)


def _say_stopped() -> None:
    """Say so once: a thread may still hang when the command has ended, and then _end_in_time() comes here as well."""
    if _IS_TOLD.acquire(blocking=False):
        _import("output").say("stopped")


def _end(status: int) -> NoReturn:
    """Leave with an exit status, once what was printed is written.

    Python would free every object first, which takes a third of a short command. While other threads work, it does.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # whoever read it is gone, or its disk is full
            status = status or 1
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if all(thread.daemon or thread is threading.current_thread() for thread in threading.enumerate()):
        os._exit(status)
    sys.exit(status)


def _run() -> int:
    """Do what the command line says. The one place where a failure becomes words and an exit code."""
    try:
        if COMPLETION in os.environ:
            importlib.import_module("typer.completion").completion_init()
        status = int(app(standalone_mode=False) or 0)  # what typer.Exit carried comes back as the result
        if status == Interrupted.exit_code:  # typer's word for KeyboardInterrupt
            _say_stopped()
        return status
    except HapkgError as error:
        return _tell(error)
    except (KeyboardInterrupt, typer.Abort):
        _say_stopped()
        return Interrupted.exit_code
    except BrokenPipeError:
        return 1
    except Exception as error:
        if isinstance(error, _CommandLineProblem):
            return _tell_usage(error)
        return _tell_unforeseen(error)


def _tell_usage(error: _CommandLineProblem) -> int:
    """Say what is wrong in the command line in hapkg's own form; a command without words gets its help."""
    said, _, guess = error.format_message().partition(" Did you mean ")
    context = getattr(error, "ctx", None)
    if context is None or said.startswith("Usage:"):
        error.show()
        return UsageError.exit_code
    command = " ".join(("hapkg", *context.command_path.split()[1:]))
    hint = f"did you mean {guess}" if guess else f"{command} --help tells what it takes"
    if command == "hapkg build-all" and (extra := _EXTRA.search(said)):
        hint = f"it builds every recipe; one and what it needs: hapkg build {extra[1]}"
    return _tell(UsageError(said[:1].lower() + said[1:].rstrip("."), hint=hint))


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
