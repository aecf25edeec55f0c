"""Printing: tables on standard output, progress and errors on standard error. `rich` is loaded late."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from hapkg.build.events import Ending, Outcome, Progress
from hapkg.build.failures import read_cause
from hapkg.build.plan import Action, Step
from hapkg.build.store import Artifact
from hapkg.control import SourceName
from hapkg.errors import HapkgError
from hapkg.programs import process
from hapkg.text import printable

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from hapkg.build.timings import RunRecord
    from hapkg.recipe.model import Recipe
    from hapkg.recipe.series import OwnPatch
    from hapkg.recipe.upstream import RemotePatch
    from hapkg.repository.change import Preview, Publication

_COLOURS = {Ending.BUILT: "green", Ending.REUSED: "cyan", Ending.FAILED: "red", Ending.SKIPPED: "yellow"}

_KEY_WARNING = 30 * 86400
"""So many seconds before a key expires, whoever signs with it is told."""


_quiet = False


def set_verbosity(*, quiet: bool, verbose: bool) -> None:
    """Leave out progress, or tell of every program that is started as well. Errors and warnings are always told."""
    global _quiet  # noqa: PLW0603 - of the whole program, as the streams are
    _quiet = quiet
    process.observe((lambda argv: _print_progress(printable(f"+ {shlex.join(argv)}"))) if verbose else None)


def say(line: str) -> None:
    """Print a line of progress on standard error, unless it is to be quiet."""
    if not _quiet:
        _print_progress(printable(line))


def warn(line: str) -> None:
    """Print a warning on standard error."""
    _print_progress(printable(f"WARNING: {line}"))


def print_error(error: HapkgError) -> None:
    """Print an error, its evidence and its remedy on standard error."""
    _print_progress(f"{_paint('error:', '31')} {error.brief}")
    for line in error.details:
        _print_progress(f"  {line}")
    if error.hint:
        _print_progress(f"{_paint('hint:', '36')} {error.hint}")


def print_log(text: str) -> None:
    """Print a log: as it is into a file or a pipe, and without what commands a terminal on one."""
    shown = "\n".join(map(printable, text.split("\n"))) if sys.stdout.isatty() else text
    print(shown, end="")  # noqa: T201


def _print_progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - this module is where hapkg speaks


def print_lines(lines: Iterable[str]) -> None:
    """Lines of an answer, on standard output."""
    for line in lines:
        print(printable(line))  # noqa: T201


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their content, readable without colour and by awk: the last column may hold blanks."""
    lines = [tuple(head), *(tuple(map(printable, row)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        print(text)  # noqa: T201


def print_facts(facts: Mapping[str, Any]) -> None:
    """Facts about one thing, a line each; lists below their name."""
    for name, value in facts.items():
        if isinstance(value, list):
            print(f"{name}:" + ("" if value else " none"))  # noqa: T201
            for item in value:
                print(f"  {printable(_tell_item(item))}")  # noqa: T201
        else:
            print(f"{name}: {'none' if value is None else printable(str(value))}")  # noqa: T201


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """The closing table of a run."""
    rows = [
        (
            outcome.source,
            outcome.version or "-",
            str(outcome.ending),
            duration(outcome.seconds),
            str(outcome.log or "-"),
            f"{outcome.fault}: {outcome.reason}" if outcome.fault else outcome.reason,
        )
        for outcome in outcomes
    ]
    print_table(("package", "version", "outcome", "time", "log", "reason"), rows)


def print_reasons(steps: Sequence[Step], architecture: str = "") -> None:
    """For each source, what happens and why, with every input that changed, old and new; architecture may be ""."""
    place = f" for {architecture}" if architecture else ""
    for step in steps:
        print(f"{step.source}{place}: {step.action} {step.version or ''}".rstrip() + f" - {step.reason}")  # noqa: T201
        for change in step.changes:
            print(f"  {change.name}: {_shorten(change.old)} -> {_shorten(change.new)}")  # noqa: T201


def describe_step(step: Step) -> dict[str, Any]:
    """A step for scripts."""
    return {
        "source": step.source,
        "action": step.action,
        "version": step.version,
        "reason": step.reason,
        "changes": [{"input": change.name, "old": change.old, "new": change.new} for change in step.changes],
    }


def print_times(record: RunRecord) -> None:
    """The table of a run, its critical path, and what that path's time was spent on."""
    from hapkg.build.timings import order_phases  # noqa: PLC0415

    rows = sorted((times for times in record.sources if times.spans), key=lambda times: times.spans[0].start)
    phases = order_phases([span.phase for times in rows for span in times.spans])
    far = any(times.machine for times in rows)
    head = ("source", "ending", *(["machine"] if far else []), "start", "end", "memory", *phases)
    print_table(
        head,
        [
            (
                times.source.replace(" ", "-"),
                times.ending or "-",
                *([times.machine or "-"] if far else []),
                f"{times.spans[0].start:.0f}",
                f"{times.end:.0f}",
                size(times.memory).replace(" ", "") if times.memory else "-",
                *(f"{sums[phase]:.1f}" if phase in sums else "-" for phase in phases),
            )
            for times in rows
            for sums in [times.sum()]
        ],
    )
    path = " -> ".join(times.source for times in record.find_critical_path())
    print(f"\nwall time: {duration(record.seconds)}, jobs: {record.jobs}")  # noqa: T201
    print(f"critical path: {path or 'none'}")  # noqa: T201
    shares = sorted(record.break_down().items(), key=lambda share: -share[1])
    told = [f"{phase} {seconds:.0f} s ({100 * seconds / max(record.seconds, 0.01):.0f} %)" for phase, seconds in shares]
    print(f"on it: {', '.join(told)}")  # noqa: T201


def print_publication(publication: Publication, *, as_json: bool) -> None:
    """Print what a publish did, and how a node uses it."""
    for fingerprint, end in publication.key.ends.items():
        if end < time.time() + _KEY_WARNING:
            day = f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d}"
            warn(f"the key {fingerprint} expires on {day}, and apt then refuses what it signed; see: hapkg key")
    if as_json:
        print_json(
            {
                "added": publication.added,
                "written": publication.written,
                "unchanged": publication.unchanged,
                "fingerprint": publication.key.fingerprint,
                "keyring": str(publication.keyring),
                "sources": [str(path) for path in publication.sources],
                "url": publication.url,
                "commands": next(iter(publication.commands.values()), ()),
                "commands_by_suite": publication.commands,
            }
        )
        return
    for path in publication.added:
        say(f"added {path}")
    for suite in publication.written:
        say(f"published {suite}")
    for suite in publication.unchanged:
        say(f"{suite} is unchanged")
    if publication.key.fingerprint:
        say(f"signed by {publication.key.fingerprint}" + (" (made just now)" if publication.key.made else ""))
    else:
        warn("nothing is signed; apt takes it with Trusted: yes alone, and so does whoever sits between")
    here = "on this machine alone, as root (for others publish once with --url https://HOST/FOLDER/)"
    for suite, commands in publication.commands.items():
        several = f", for {suite}" if len(publication.commands) > 1 else ""
        say(f"{'on a node, as root' if publication.url else here}{several}:")
        print("\n".join(commands))  # noqa: T201
    if not publication.url:
        folder = shlex.quote(str(publication.keyring.parent))
        say(f"to serve it for a trial, at http://THIS-HOST:8000/: python3 -m http.server --directory {folder} 8000")


def print_preview(preview: Preview, *, as_json: bool) -> None:
    """Print what a publish would do."""
    if as_json:
        print_json({"added": preview.added, "suites": preview.suites})
        return
    for path in preview.added:
        say(f"would add {path}")
    for suite, paths in preview.suites.items():
        say(f"{suite} would offer {len(paths)} more files" if paths else f"{suite} would offer nothing new")


def print_json(value: object) -> None:
    """Facts for scripts."""
    print(json.dumps(value, indent=2))  # noqa: T201


def describe_recipe(chosen: Recipe, needs: Sequence[SourceName], last: Artifact | None) -> dict[str, Any]:
    """Facts about a recipe, in the order to show them."""

    return {
        "source": chosen.source,
        "version": f"{chosen.version}, revision {chosen.revision}",
        "style": str(chosen.style),
        "homepage": chosen.homepage,
        "upstream": list(chosen.upstream.homes) if chosen.upstream else None,
        "origins": [origin.describe() for origin in chosen.origins],
        "signature": _describe_signature(chosen),
        "patches": [*map(_describe_remote, chosen.remote_patches), *map(_describe_own, chosen.patches)],
        **({"optional": chosen.optional} if chosen.optional else {}),
        "advisories": [f"{advisory.id}: {advisory.status}, {advisory.why}" for advisory in chosen.advisories],
        "held": chosen.upstream.hold if chosen.upstream else None,
        "build-depends": list(chosen.build_depends),
        "needs": list(needs),
        "packages": [f"{package.package}: {package.synopsis}" for package in chosen.packages],
        "tests": "run at build time" if chosen.tests else f"off: {chosen.tests_off_reason}",
        "tests left out": list(chosen.tests_left_out),
        "last build": f"{last.version} ({last.origin})" if last else None,
        "files": [str(path) for path in last.paths(".deb", ".dsc")] if last else [],
    }


def _describe_signature(recipe: Recipe) -> str | None:
    signature = recipe.signature
    return f"{signature.policy}, keys in {signature.keys}" if signature and signature.keys else None


def _describe_remote(patch: RemotePatch) -> dict[str, Any]:

    return {"name": patch.name, "origin": patch.describe(), "fixes": list(patch.fixes), "until": patch.until}


def _describe_own(patch: OwnPatch) -> dict[str, Any]:
    header = patch.header
    return {
        "name": patch.name,
        "description": header.description,
        "author": header.author,
        "origin": header.origin,
        "forwarded": header.forwarded,
        "fixes": list(header.fixes),
        "since": patch.since,
        "until": patch.until,
    }


def _tell_item(item: object) -> str:
    """One line of a list: text, or what is known of something that has a name."""
    if not isinstance(item, dict):
        return str(item)
    known = {key: ", ".join(value) if isinstance(value, list) else value for key, value in item.items() if value}
    name = known.pop("name")
    return f"{name}: " + "; ".join(f"{key} {value}" for key, value in known.items())


def describe_outcome(outcome: Outcome) -> dict[str, Any]:
    """The outcome of one source for scripts."""
    return {
        "source": outcome.source,
        "version": outcome.version,
        "outcome": outcome.ending,
        "reason": outcome.reason,
        "seconds": round(outcome.seconds, 1),
        "fault": outcome.fault,
        "cause": _describe_cause(outcome),
        "log": str(outcome.log) if outcome.log else None,
        "phases": dict(outcome.artifact.seconds) if outcome.artifact else {},
        "memory": outcome.artifact.memory if outcome.artifact else 0,
        "packages": [path.name for path in outcome.artifact.paths(".deb")] if outcome.artifact else [],
    }


def _describe_cause(outcome: Outcome) -> dict[str, Any] | None:
    """The cause of a failure, as its log tells it; None where it tells none."""
    cause = read_cause(outcome.log) if outcome.error and outcome.log else None
    return {"lack": cause.lack, "words": list(cause.words), "remedy": cause.remedy} if cause else None


def duration(seconds: float) -> str:
    """Seconds for a person."""
    return f"{seconds:.1f}s" if seconds < 60 else f"{int(seconds) // 60}m{int(seconds) % 60:02}s"


def size(count: int) -> str:
    """Bytes for a person."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


class ProgressDisplay:
    """Progress of a run: a live table on a terminal, plain lines without one."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._live: Live | None = None
        self._states: dict[str, tuple[str, float, float | None]] = {}
        self._steps = steps
        self._total = sum(1 for step in steps if step.action is Action.BUILD)

    def __enter__(self) -> Self:
        if not _quiet and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb" and self._total:
            from rich.console import Console  # noqa: PLC0415 - heavy, and useless without a terminal
            from rich.live import Live  # noqa: PLC0415

            console = Console(stderr=True)
            self._live = Live(get_renderable=self._table, console=console, refresh_per_second=4, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, value, trace)

    def notify(self, event: Progress | Outcome) -> None:
        """Show one event."""
        now = time.monotonic()
        if isinstance(event, Progress):
            started = self._states.get(event.source, ("", now, None))[1]
            self._states[event.source] = (event.phase, started, None)
            if self._live is None:
                say(f"{event.source}: {event.phase}")
        else:
            self._states[event.source] = (str(event.ending), now, event.seconds)
            if self._live is None:
                say(f"{event.source}: {event.ending} {event.version or ''} ({event.reason}) {duration(event.seconds)}")

    def _table(self) -> Table:
        from rich.table import Table  # noqa: PLC0415

        table = Table(box=None, pad_edge=False)
        for column in ("source", "version", "state", "time"):
            table.add_column(column)
        versions = {str(step.source): step.version or "" for step in self._steps}
        names = [*(name for name in self._states if name not in versions), *versions]
        for name in names:
            state, started, seconds = self._states.get(name, ("waiting", 0.0, None))
            colour = _COLOURS.get(Ending(state), "") if state in set(Ending) else "" if state != "waiting" else "dim"
            elapsed = seconds if seconds is not None else time.monotonic() - started if started else None
            table.add_row(name, versions.get(name, ""), state, duration(elapsed) if elapsed else "", style=colour)
        return table


def _shorten(value: str | None) -> str:
    """A value of an input: digests are told by their first figures."""
    if value is None:
        return "none"
    return " ".join(word[:12] if re.fullmatch("[0-9a-f]{40,64}", word) else word for word in value.split()) or "empty"


def _paint(text: str, code: str) -> str:
    plain = not sys.stderr.isatty() or "NO_COLOR" in os.environ
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"
