"""Entries of a build cache that can be written: listed, verified, and removed when nobody pushed them for long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg.cache.base import find_base_blobs
from hapkg.cache.entry import CacheEntry, SignedEntry, find_blob_path, find_entry_path, judge, parse_entry
from hapkg.cache.layers import find_layer_blob
from hapkg.cache.library import EntryReader, judge_files
from hapkg.cache.place import WritablePlace
from hapkg.cache.signed import peek
from hapkg.control import SourceName, Suite
from hapkg.errors import FetchError

DAY = 24 * 3600
"""Seconds that a file stays after the last entry that names it was removed: a run may be about to fetch it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One entry, as it is listed."""

    key: str
    entry: CacheEntry | None
    signer: str
    fault: str
    """A clause about why it is not used; "" where it is."""


def list_entries(place: WritablePlace, trusted: Sequence[str]) -> Iterator[Row]:
    """All entries, by their keys; each is judged, and its files are not read."""
    reader = EntryReader(place, trusted)
    for key in _list_keys(place):
        try:
            read = reader.read(key)
        except FetchError as error:
            read = error.brief
        if isinstance(read, tuple):
            entry, envelope = read
            fault = judge(entry, key, SourceName(entry.source), Suite(entry.suite), entry.architecture)
            yield Row(key=key, entry=entry, signer=envelope.signer, fault=fault)
        elif read is not None:
            yield Row(key=key, entry=None, signer="", fault=read)


def verify(place: WritablePlace, trusted: Sequence[str]) -> Iterator[tuple[Row, str]]:
    """All entries, each with a clause about what is wrong with it or one of its files; "" for a good one."""
    for row in list_entries(place, trusted):
        if row.fault or row.entry is None:
            yield row, row.fault
        else:
            yield row, next(judge_files(place, row.entry), "")


def prune(place: WritablePlace, days: float) -> tuple[int, int]:
    """Remove entries, of layers too, that nobody pushed for so many days, and files that no entry has named for a day.

    Returns how many of each. An entry goes before its files: what is there can be fetched. Where an entry cannot be
    read, it stays, and so do all files: nobody knows which are its own.
    """
    now = time.time()
    removed, kept, unread = 0, set[str](), False
    for path, when in [*place.list("entries"), *place.list("layers")]:
        try:
            blobs = _find_blobs(place, path)
        except FetchError:
            unread = True
            continue
        if now - when <= days * DAY:
            kept.update(blobs)
            continue
        for blob in blobs:
            place.touch(blob)
        place.remove(path)
        removed += 1
    kept.update(find_base_blobs(place))
    if unread:
        return removed, 0
    doomed = [path for path, when in place.list("blobs") if path not in kept and now - when > DAY]
    for path in doomed:
        place.remove(path)
    return removed, len(doomed)


def _list_keys(place: WritablePlace) -> list[str]:
    paths = (path for path, _ in place.list("entries"))
    return [key for path in paths if path == find_entry_path(key := Path(path).stem)]


def _find_blobs(place: WritablePlace, path: str) -> list[str]:
    """Paths of the files that an entry of a build or of a layer names, whoever signed it: files of others are theirs.

    Raises FetchError.
    """
    if path.startswith("layers/"):
        return [blob] if (blob := find_layer_blob(place, path)) else []
    found = peek(place, path)
    entry = parse_entry(found.entry) if isinstance(found, SignedEntry) else None
    return [find_blob_path(file.sha256) for file in entry.files.values()] if entry else []
