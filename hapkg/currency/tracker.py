"""Data of Debian's security tracker: one JSON file, by source package, hole and suite.

It comes from elsewhere and is tens of megabytes large: size and numbers have limits, and what is read of it must have
the tracker's shape. A file that says nothing about any of our sources is not taken for one without holes.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hapkg import disk
from hapkg.control import SourceName, Suite
from hapkg.errors import FetchError, IntegrityError, UsageError
from hapkg.locations import State
from hapkg.source.origins.tarball import download

ADDRESS = "https://security-tracker.debian.org/tracker/data/json"
MOST_BYTES = 256 << 20
"""The tracker's file has less than a third of it."""
_MOST_HOLES = 10_000
"""Of one source package; Linux, which has most, has fewer, and is none of ours."""
_MOST_LETTERS = 100_000
_ID = re.compile(r"[A-Z]+-[A-Za-z0-9-]{1,60}")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+~:-]{0,200}")
_STATUSES = ("open", "resolved", "undetermined")
_HINT = f"fetch it anew from {ADDRESS}"


@dataclass(frozen=True, kw_only=True)
class SuiteState:
    """Debian's word on one hole in one suite."""

    status: str
    """"open", "resolved" or "undetermined"."""
    fixed: str
    """The first version without the hole; "0" where no version of the suite ever had it, "" while it is open."""
    urgency: str


@dataclass(frozen=True, kw_only=True)
class Hole:
    """One hole of a source package, as the tracker knows it."""

    id: str
    description: str
    suites: Mapping[Suite, SuiteState]


@dataclass(frozen=True, kw_only=True)
class TrackerData:
    """The part of the tracker's data that was asked for."""

    where: str
    packages: int
    """Source packages in the whole file."""
    holes: Mapping[SourceName, tuple[Hole, ...]]
    """By source package, sorted by id; packages without any are left out."""


def read_tracker(place: str, sources: Collection[SourceName], state: State) -> TrackerData:
    """Read what a file, or the answer of an address, tells about these source packages.

    Raises UsageError for a file that is not there, FetchError for an address that does not answer whole,
    IntegrityError for anything that is not the tracker's.
    """
    if "://" not in place:
        return parse_tracker(_read_file(Path(place)), place, sources)
    disk.make_folder(state.sources)
    with tempfile.TemporaryDirectory(dir=state.sources, prefix=".tracker-") as scratch:
        try:
            file = download(place, Path(scratch) / "data", most_bytes=MOST_BYTES)
        except FetchError as error:
            raise FetchError(
                f"{place}: {error.brief}", hint="check the network, or name a file that was fetched before with --data"
            ) from error
        return parse_tracker(_read_file(file), place, sources)


def parse_tracker(content: bytes, where: str, sources: Collection[SourceName]) -> TrackerData:
    """Read the tracker's JSON; where names it in errors. Raises IntegrityError."""
    try:
        table = json.loads(content, parse_int=_refuse_number, parse_float=_refuse_number, parse_constant=_refuse_number)
    except (ValueError, RecursionError, MemoryError) as cause:
        raise IntegrityError(
            f"{where} is not JSON of the security tracker", details=[str(cause)], hint=_HINT
        ) from cause
    packages = _take(table, f"{where}: the whole")
    if not packages.keys() & set(sources):
        raise IntegrityError(
            f"{where} knows none of our {len(set(sources))} sources: an audit by it would only look clean",
            details=[f"source packages in it: {len(packages)}"],
            hint=_HINT,
        )
    holes = {name: _read_holes(packages[name], f"{where}: {name}") for name in sorted(sources) if name in packages}
    return TrackerData(where=where, packages=len(packages), holes=holes)


def _read_file(file: Path) -> bytes:
    """Content of a regular file within the limit."""
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            kind = os.fstat(opened.fileno())
            if not stat.S_ISREG(kind.st_mode):
                raise UsageError(f"{file} is no file", hint="--data names a file or an address")
            if kind.st_size > MOST_BYTES:
                raise IntegrityError(f"{file} is larger than {MOST_BYTES:,} bytes", hint=_HINT)
            return opened.read(MOST_BYTES + 1)
    except OSError as cause:
        raise UsageError(
            f"{file} cannot be read: {cause.strerror}", hint="--data names a file or an address"
        ) from cause


def _read_holes(value: Any, where: str) -> tuple[Hole, ...]:
    table = _take(value, where)
    if len(table) > _MOST_HOLES:
        raise IntegrityError(f"{where} has more than {_MOST_HOLES:,} holes", hint=_HINT)
    return tuple(_read_hole(name, table[name], where) for name in sorted(table))


def _read_hole(name: str, value: Any, where: str) -> Hole:
    if not _ID.fullmatch(name):
        raise IntegrityError(f"{where}: {name[:80]!r} is no id of a hole", hint=_HINT)
    table = _take(value, f"{where}: {name}")
    suites = _take(table.get("releases"), f"{where}: {name}: releases")
    return Hole(
        id=name,
        description=_read_text(table, "description", f"{where}: {name}"),
        suites={Suite(suite): _read_state(suites[suite], f"{where}: {name}: {suite[:40]}") for suite in suites},
    )


def _read_state(value: Any, where: str) -> SuiteState:
    table = _take(value, where)
    status, fixed = _read_text(table, "status", where), _read_text(table, "fixed_version", where)
    if status not in _STATUSES:
        raise IntegrityError(
            f"{where}: status is {status[:80]!r}", details=[f"known: {', '.join(_STATUSES)}"], hint=_HINT
        )
    if (fixed and not _VERSION.fullmatch(fixed)) or (status == "resolved" and not fixed):
        raise IntegrityError(f"{where}: fixed_version is {fixed[:80]!r}, which is no version", hint=_HINT)
    return SuiteState(
        status=status, fixed=fixed if status == "resolved" else "", urgency=_read_text(table, "urgency", where)
    )


def _take(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise IntegrityError(f"{where} is not an object", hint=_HINT)
    return value


def _read_text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str) or len(value) > _MOST_LETTERS:
        raise IntegrityError(f"{where}: {key} is not a text", hint=_HINT)
    return value


def _refuse_number(text: str) -> Any:
    """Numbers stand in fields that nobody here reads (debianbug): keep their text, whatever their length."""
    return text
