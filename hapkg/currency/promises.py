"""Memory of what Debian had when it was asked last: a publish tells from it, without network, what is not newer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum

from hapkg import disk
from hapkg.control import SourceName, Suite
from hapkg.locations import State
from hapkg.records import format_record, read_record


class Promise(StrEnum):
    """Our version against the suite's."""

    OLDER = "older"
    EQUAL = "equal"
    NEWER = "newer"
    ALONE = "alone"
    """The suite has no such package."""
    UNKNOWN = "?"


@dataclass(frozen=True, kw_only=True)
class _Noted:
    version: str
    promise: str


@dataclass(frozen=True, kw_only=True)
class _PromiseRecord:
    asked: str
    sources: Mapping[str, _Noted]


def remember(state: State, suite: Suite, promises: Iterable[tuple[SourceName, str, Promise]]) -> None:
    """Keep the promises of these sources in these versions; those of others stay as they were."""
    file = state.promises / f"{suite}.json"
    known = read_record(file, _PromiseRecord)
    sources = dict(known.sources) if known else {}
    for source, version, promise in promises:
        sources[source] = _Noted(version=version, promise=str(promise))
    record = _PromiseRecord(asked=f"{datetime.now(UTC):%Y-%m-%d}", sources=sources)
    disk.replace(file, format_record(asdict(record)))


def tell_not_newer(state: State, suite: Suite, versions: Iterable[tuple[SourceName, str]]) -> str:
    """One sentence on the sources that are not newer than the suite's, by name and our version.

    "" where all are. A source whose version changed since Debian was asked counts as unknown.
    """
    known = read_record(state.promises / f"{suite}.json", _PromiseRecord)
    sought = dict(versions)
    if not sought:
        return ""
    if known is None:
        return f"whether this is newer than {suite}'s own is not known; hapkg outdated --suite {suite} tells"
    groups: dict[str, list[str]] = {Promise.OLDER: [], Promise.EQUAL: [], Promise.UNKNOWN: []}
    for source, version in sought.items():
        noted = known.sources.get(source)
        promise = noted.promise if noted and noted.version == version else Promise.UNKNOWN
        if promise in groups:
            groups[promise].append(source)
    words = {Promise.OLDER: "older", Promise.EQUAL: "equal", Promise.UNKNOWN: "unknown"}
    told = [f"{words[Promise(promise)]}: {', '.join(names)}" for promise, names in groups.items() if names]
    return f"not newer than {suite}'s own of {known.asked}: {'; '.join(told)}" if told else ""
