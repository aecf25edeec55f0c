"""Failures: the fault of recipe, machine or network, and notes of those that would come again by themselves.

Only a fault of the recipe would: what machine or network did may go well the next time, and is never saved.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hapkg import disk
from hapkg.control import SourceName
from hapkg.errors import BuildError, FetchError, HapkgError, MachineError, ProcessError, SourceError
from hapkg.records import format_record, read_record

_FILE = "failure.json"
_SEARCHED_LINES = 500
_TAIL_BYTES = 1 << 18
_LONGEST = 400
"""Letters of a line of a log that are looked at."""
_KILLED = ("Killed", "Cannot allocate memory", "virtual memory exhausted", "signal SIGKILL")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The end of a source that failed."""

    error: HapkgError
    log: Path


@dataclass(frozen=True, kw_only=True)
class _FailureNote:
    """A failure as it is kept, with the key of its build."""

    key: str
    brief: str
    details: tuple[str, ...]
    hint: str
    code: int


class Repeated:
    """Mark of the failure of an earlier run that is told again."""


class _RepeatedBuildError(Repeated, BuildError):
    pass


class _RepeatedSourceError(Repeated, SourceError):
    pass


def classify(error: HapkgError) -> str:
    """The fault behind a failure: "recipe", "machine" or "network"."""
    if isinstance(error, FetchError):
        return "network"
    text = "\n".join((error.brief, *error.details))
    if isinstance(error, MachineError | ProcessError) or any(sign in text for sign in _KILLED):
        return "machine"
    return "recipe"


class Lack(StrEnum):
    """Kinds of what a recipe has too little or too much of."""

    DEPENDENCY = "build dependency"
    UNMADE = "file that upstream does not install"
    UNTAKEN = "file that no package takes"
    UNRELATED = "package of a library that a program loads"
    SWITCH = "switch that configure does not know"
    AUTORECONF = "configure that cannot be made anew"
    INTERPRETER = "interpreter that no package brings"
    EMBEDDED = "library that lintian takes for a copy of the distribution's"


@dataclass(frozen=True, kw_only=True)
class Cause:
    """The cause of a failed build, as its log tells it."""

    lack: Lack
    words: tuple[str, ...]
    """At least one: foo.h, -lfoo, foo.pc, foo.py for a module of Python, a program; paths and patterns of files;
    binary packages, each after the one that should recommend or need it and a blank; switches; autoreconf; libraries
    by lintian's name, each after its package and a blank.
    """
    remedy: str
    """Words on what to change in recipe.toml."""


@dataclass(frozen=True)
class _Sign:
    """Lines of a log that tell a cause: {0} and {1} in words and remedy are the groups of the pattern."""

    lack: Lack
    pattern: str
    words: str
    """Joined by ", " where they are several."""
    remedy: str


def _sign_dependency(pattern: str, word: str, told: str) -> _Sign:
    return _Sign(Lack.DEPENDENCY, pattern, word, f"{told} is missing: name its package in build-depends of recipe.toml")


_SIGNS = (
    _sign_dependency(r"fatal error: ([\w./+-]+): No such file or directory", "{0}", "header {0}"),
    _sign_dependency(r"cannot find -l([\w.+-]+)", "-l{0}", "library lib{0}.so"),
    _sign_dependency(
        r"(?:No package '|Package |Dependency \"?)([\w.+-]+)(?:' found|\"? (?:was )?not found)", "{0}.pc", "{0}.pc"
    ),
    _sign_dependency(r"(?:ModuleNotFoundError|ImportError): No module named '([\w.]+)'", "{0}.py", "Python module {0}"),
    _sign_dependency(r"(?:^|: )([\w.+-]+): (?:command not found|not found)$", "{0}", "program {0}"),
    _sign_dependency(r"^make(?:\[\d+\])?: ([\w.+-]+): No such file or directory", "{0}", "program {0}"),
    _Sign(
        Lack.UNMADE,
        r'^dh_install: (?:warning|error): Cannot find \(any matches for\) "([^"]+)"',
        "{0}",
        "upstream installs no {0}: correct files of the package in recipe.toml",
    ),
    _Sign(
        Lack.UNTAKEN,
        r"^dh_missing: (?:warning|error): (\S+) exists in debian/tmp but is not installed",
        "{0}",
        "no package takes {0}: add it to files of a package in recipe.toml, or to not-installed",
    ),
    _Sign(
        Lack.UNRELATED,
        r"^(\S+): /\S+: loads \S+ of (\S+)(?: or \S+)*, which its package neither depends on nor recommends",
        "{0} {1}",
        "{0} loads a library of {1}: name it in recommends or depends of recipe.toml",
    ),
    _Sign(
        Lack.SWITCH,
        r"^configure: error: unrecognized options: (--[^\s,]+(?:, --[^\s,]+)*)",
        "{0}",
        "configure does not know {0}: remove it from configure of recipe.toml",
    ),
    _Sign(
        Lack.AUTORECONF,
        r"^dh_autoreconf: error: autoreconf .* returned exit code",
        "autoreconf",
        "autoreconf fails: mend it by a patch, or take upstream's own configure (docs/styles.md, autoreconf)",
    ),
    _Sign(
        Lack.INTERPRETER,
        r"^E: (\S+): (python3)-script-but-no-python3-dep ",
        "{0} {1}",
        "{0} has scripts of {1}: name it in depends of recipe.toml",
    ),
    _Sign(
        Lack.EMBEDDED,
        r"^E: (\S+): embedded-library (\S+) ",
        "{0} {1}",
        "{0} has {1}: build with the package of it, or say why in lintian-overrides",
    ),
)


def find_cause(lines: Sequence[str]) -> Cause | None:
    """The first cause that the lines of a log tell; None where no line tells any.

    A dependency comes alone: what is said after it may follow from it. The others come all at once, as the tools list
    every one that is amiss before they end.
    """
    for line in lines:
        for sign in _SIGNS:
            if match := re.search(sign.pattern, line):
                found = [match] if sign.lack is Lack.DEPENDENCY else _search(sign.pattern, lines)
                words = [word for one in found for word in sign.words.format(*one.groups()).split(", ")]
                remedy = sign.remedy.format(*match.groups())
                return Cause(lack=sign.lack, words=tuple(dict.fromkeys(words)), remedy=remedy)
    return None


def read_cause(log: Path) -> Cause | None:
    """The first cause that the end of a log tells; None where none is told, or there is no log."""
    try:
        return find_cause(read_tail(log, _SEARCHED_LINES))
    except OSError:
        return None


def read_tail(log: Path, most: int) -> list[str]:
    """The last lines of a log that are not empty, cut where they are long.

    A build may have written it without an end to a line.
    """
    with log.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = stream.read().decode("utf-8", "replace").splitlines()
    return [line[:_LONGEST] for line in lines if line.strip()][-most:]


def _search(pattern: str, lines: Sequence[str]) -> list[re.Match[str]]:
    return [match for line in lines if (match := re.search(pattern, line))]


def save(folder: Path, key: str | None, error: HapkgError) -> None:
    """Note in a source's folder how a build of this key failed, if that would come again."""
    if key is None or classify(error) != "recipe" or not isinstance(error, BuildError | SourceError):
        return
    note = _FailureNote(key=key, brief=error.brief, details=error.details, hint=error.hint, code=error.exit_code)
    disk.replace(folder / _FILE, format_record(vars(note)))


def load(folder: Path, key: str | None, source: SourceName) -> HapkgError | None:
    """The failure of an earlier build of exactly this key, in words that say so; it is Repeated."""
    note = read_record(folder / _FILE, _FailureNote)
    if note is None or note.key != key:
        return None
    kind = _RepeatedSourceError if note.code == SourceError.exit_code else _RepeatedBuildError
    return kind(
        f"{note.brief}, as before with the same inputs",
        details=note.details,
        hint=f"to try it again: hapkg build {source}; {note.hint}",
    )


def describe_machine(source: SourceName, cause: OSError) -> MachineError:
    """An error of the machine. Copying a folder lists its refusals in one error without a number."""
    lines = [why for *_, why in cause.args[0]] if isinstance(cause, shutil.Error) else [str(cause)]
    if cause.errno in (errno.ENOSPC, errno.EDQUOT) or any(os.strerror(errno.ENOSPC) in line for line in lines):
        return MachineError(f"{source}: the disk is full", details=lines[:3], hint="free some space: hapkg clean")
    return MachineError(f"{source}: the state folder cannot be used", details=lines[:3], hint="run: hapkg doctor")
