"""Packages of a suite by the files in them: its Contents indexes, as apt fetched them and checked them.

They are large (45 MB for Debian), so they are fetched once for a suite, and only when a draft has a word that neither
the recipes nor hapkg's own table know.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator

from hapkg.apt.mirror import Mirror
from hapkg.control import Suite
from hapkg.errors import FetchError, ProcessError
from hapkg.locations import State
from hapkg.programs import process
from hapkg.source.origins.debian import update_index

_TARGET = "Acquire::IndexTargets::deb::Contents-deb"
_SETTINGS = {
    f"{_TARGET}::MetaKey": "$(COMPONENT)/Contents-$(ARCHITECTURE)",
    f"{_TARGET}::ShortDescription": "Contents-$(ARCHITECTURE)",
    f"{_TARGET}::Description": "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Contents (deb)",
    f"{_TARGET}::KeepCompressed": "true",
    "Acquire::IndexTargets::deb::Packages::DefaultEnabled": "false",
}
_SEARCH = '/usr/lib/apt/apt-helper cat-file "$@" | grep -E -f "$0"'
_MOST_LINES = 10_000
"""Of an answer: a word such as a.h stands in more files than anyone reads."""


def find_owners(words: Iterable[str], suite: Suite, mirror: Mirror, state: State) -> dict[str, str]:
    """The package that has each word: foo.pc, -lfoo, foo.py for a module, a header or a program.

    Words of no package or of several equals are left out.

    The first call for a suite fetches its indexes. Raises FetchError when they cannot be had.
    """
    patterns = {word: pattern for word in words if (pattern := _make_pattern(word))}
    if not patterns:
        return {}
    if mirror.uri is None:
        raise FetchError("no archive is configured on this host", hint="name one with --mirror")
    files = _fetch(suite, mirror, state, refresh=False) or _fetch(suite, mirror, state, refresh=True)
    if not files:
        raise FetchError(f"the archive has no Contents index of {suite}", hint="name another archive with --mirror")
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.writelines(f"^{pattern}[[:space:]]+[^[:space:]]+$\n" for pattern in patterns.values())
        file.flush()
        found = process.run(["sh", "-c", _SEARCH, file.name, *files], check=False).output
    lines = found.splitlines()[:_MOST_LINES]
    owners = {word: _choose(re.compile(pattern), lines) for word, pattern in patterns.items()}
    return {word: owner for word, owner in owners.items() if owner}


def _fetch(suite: Suite, mirror: Mirror, state: State, *, refresh: bool) -> list[str]:
    """The files that apt has of a suite's Contents indexes; it fetches them when there are none, or when asked."""
    try:
        line = mirror.line(suite, "deb")
        options = update_index(state, f"{suite}-contents", line, refresh=refresh, more=_SETTINGS)
        listed = ["apt-get", *options, "indextargets", "--format", "$(FILENAME)", "Created-By: Contents-deb"]
        return process.run(listed).output.split()
    except ProcessError as error:
        brief = f"the Contents index of {suite} cannot be fetched: {error.brief}"
        raise FetchError(brief, details=error.details) from error


def _make_pattern(word: str) -> str:
    """An extended regular expression for the paths of a word's file, without / at its start; "" for other words."""
    if not re.fullmatch(r"[A-Za-z0-9_./+-]+", word):
        return ""
    plain = re.sub(r"([.+])", r"\\\1", word)
    if word.endswith(".pc"):
        return rf"usr/(lib|share)(/[^/]+)?/pkgconfig/{plain}"
    if word.endswith(".py"):
        return rf"usr/lib/python3/dist-packages/{word.partition('.')[0]}(/__init__)?\.py"
    if word.startswith("-l"):
        return rf"usr/lib(/[^/]+)?/lib{plain[2:]}\.so"
    if re.search(r"\.(h|hh|hpp)$", word):
        return rf"usr/include/(.+/)?{plain}"
    return rf"(usr/)?s?bin/{plain}" if re.fullmatch(r"[a-z0-9][a-z0-9.+_-]*", word) else ""


def _choose(pattern: re.Pattern[str], lines: Iterable[str]) -> str:
    """The package whose file lies least deep, development packages first; "" where equals remain."""
    ranked = sorted(_read_owners(pattern, lines))
    best = [package for rank, package in ranked if rank == ranked[0][0]]
    return best[0] if len(set(best)) == 1 else ""


def _read_owners(pattern: re.Pattern[str], lines: Iterable[str]) -> Iterator[tuple[tuple[int, bool], str]]:
    for line in lines:
        path, _, places = line.rpartition(" ")
        if pattern.fullmatch(path.rstrip()):
            depth = re.sub(r"/[a-z0-9_]+-linux-gnu[a-z0-9]*(?=/)", "", path).count("/")
            for place in places.split(","):
                package = place.rpartition("/")[2]
                yield (depth, not package.endswith("-dev")), package
