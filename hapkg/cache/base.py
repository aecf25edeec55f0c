"""Base chroots that machines share: one for each suite and architecture, signed as builds are.

bases/<suite>-<architecture>.json   the newest base that was pushed, as text with its signature
blobs/ab/<sha256>                   its files, in one archive
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hapkg import disk
from hapkg.cache.entry import CachedFile, Seen, SignedEntry, find_blob_path
from hapkg.cache.files import bring_files, put_files
from hapkg.cache.place import Place, WritablePlace
from hapkg.cache.signed import SignedReader, peek, write_signed
from hapkg.chroot.schroot import Chroot
from hapkg.chroot.transport import LARGEST, BaseFacts, describe_base, pack_base, unpack_base
from hapkg.control import Suite
from hapkg.errors import HapkgError
from hapkg.locations import State
from hapkg.records import format_record, parse_record, read_record
from hapkg.repository.keys.signing import SigningKey

_PACKED = "packed.json"
"""Digest and size of a base's archive, beside the base."""
_ARCHIVE = "base.tar.zst"


@dataclass(frozen=True, kw_only=True)
class BaseEntry:
    """A base chroot of a build cache."""

    suite: str
    architecture: str
    facts: BaseFacts
    file: CachedFile
    made: int
    """When it was signed, in seconds since 1970."""


def provide_base(place: WritablePlace, base: Chroot) -> CachedFile:
    """A base chroot's archive in a place, packed unless it is known to be there. Raises ProcessError."""
    note = base.folder / _PACKED
    packed = read_record(note, CachedFile)
    if packed is not None and place.holds(blob := find_blob_path(packed.sha256), packed.sha256, packed.size):
        place.touch(blob)
        return packed
    with tempfile.TemporaryDirectory(prefix=f".new-{base.suite}-", dir=base.folder.parent) as folder:
        file = Path(folder, _ARCHIVE)
        pack_base(base, file)
        packed = put_files(place, [file])[file.name]
    disk.replace(note, format_record(vars(packed)))
    return packed


def take_base(place: Place, state: State, suite: Suite, facts: BaseFacts, file: CachedFile) -> Chroot:
    """Bring the archive of a base chroot, and unpack it as the suite's. The caller holds the store's lock.

    Raises FetchError, IntegrityError and MachineError; then the base that was there stays.
    """
    disk.make_folder(state.chroots)
    with tempfile.TemporaryDirectory(prefix=f".new-{suite}-", dir=state.chroots) as folder:
        bring_files(
            place, {_ARCHIVE: file}, Path(folder), what=f"the base chroot of {suite} in the build cache {place}"
        )
        return unpack_base(state, suite, Path(folder, _ARCHIVE), facts)


def push_base(place: WritablePlace, base: Chroot, architecture: str, key: SigningKey, trusted: Sequence[str]) -> bool:
    """Put a base chroot into a build cache; False where that has it as its newest one already."""
    found = SignedReader(place, trusted).read(_find_path(base.suite, architecture))
    there = parse_record(found.entry, BaseEntry) if found is not None and not isinstance(found, str) else None
    file = provide_base(place, base)
    if there is not None and (there.facts, there.file) == (describe_base(base), file):
        return False
    entry = BaseEntry(
        suite=base.suite, architecture=architecture, facts=describe_base(base), file=file, made=int(time.time())
    )
    write_signed(place, _find_path(base.suite, architecture), format_record(asdict(entry)), key)
    return True


@dataclass(frozen=True, kw_only=True)
class BaseRequest:
    """A base chroot that is wanted."""

    suite: Suite
    architecture: str
    further: str
    """Digest of the archives beside the distribution's."""
    pinned: str
    """Digest of the packages that it is pinned to."""


def bring_base(place: Place, trusted: Sequence[str], state: State, request: BaseRequest) -> tuple[Chroot | None, str]:
    """Take the base chroot of a build cache, where that has the one that is wanted.

    Beside it, a clause about why what is there is not used; "" where nothing is wrong. The caller holds the store's
    lock.
    """
    path = _find_path(request.suite, request.architecture)
    memory = state.cache_entries / path.replace("/", "-")
    try:
        found = SignedReader(place, trusted).read(path)
        if found is None or isinstance(found, str):
            return None, found or ""
        entry, seen = parse_record(found.entry, BaseEntry), read_record(memory, Seen)
        if entry is None or (clause := _judge(entry, request, seen)):
            return None, clause if entry else "is not one that this hapkg reads"
        base = take_base(place, state, request.suite, entry.facts, entry.file)
    except HapkgError as error:
        return None, f"cannot be used: {error.brief}"
    disk.make_folder(memory.parent)
    disk.replace(memory, format_record({"made": entry.made, "sha256": entry.file.sha256}))
    return base, ""


def _judge(entry: BaseEntry, request: BaseRequest, seen: Seen | None) -> str:
    """A clause about why a base is not the one that is wanted; "" where it is."""
    faults = (
        (
            (entry.suite, entry.architecture) != (request.suite, request.architecture),
            "is of another suite or architecture",
        ),
        (not 0 < entry.file.size <= LARGEST, "is larger than any base"),
        (entry.facts.further != request.further, "is of other archives"),
        (entry.facts.pinned != request.pinned, "has other packages than the lock"),
        (seen is not None and entry.made < seen.made, "is older than the one that was taken before"),
    )
    return next((clause for wrong, clause in faults if wrong), "")


def find_base_blobs(place: WritablePlace) -> Iterator[str]:
    """Paths of the archives of all bases, whoever signed these: files of others are theirs. Raises FetchError."""
    for path, _ in place.list("bases"):
        found = peek(place, path)
        entry = parse_record(found.entry, BaseEntry) if isinstance(found, SignedEntry) else None
        if entry is not None:
            yield find_blob_path(entry.file.sha256)


def _find_path(suite: str, architecture: str) -> str:
    return f"bases/{suite}-{architecture}.json"
