"""Builds of a cache, looked up by their keys and brought here; builds of this machine, pushed there.

An entry is used when one of the trusted keys has signed it, when it says of itself what was asked for, when it is not
older than the one that was seen under its key before, and when each file has its digest. Every other one is named in
the reason of the step, and the source is built.
"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hapkg import disk
from hapkg.build.context import CacheAnswer, SharedBuilds
from hapkg.build.store import Artifact
from hapkg.cache.base import BaseRequest, bring_base
from hapkg.cache.entry import (
    CacheEntry,
    Seen,
    SignedEntry,
    describe,
    find_blob_path,
    find_entry_path,
    format_entry,
    judge,
    make_artifact,
    parse_entry,
)
from hapkg.cache.files import bring_files
from hapkg.cache.layers import SharedLayers
from hapkg.cache.place import Place, WritablePlace
from hapkg.cache.signed import SignedReader, write_signed
from hapkg.chroot.layer import LayerOffer
from hapkg.chroot.schroot import Chroot
from hapkg.control import SourceName, Suite
from hapkg.disk import sha256_file
from hapkg.errors import FetchError, IntegrityError
from hapkg.host import read_architecture
from hapkg.locations import State
from hapkg.records import format_record, read_record
from hapkg.repository.keys.signing import SigningKey


class EntryReader:
    """Reads entries and judges who signed them. Its methods may be called by several threads."""

    def __init__(self, place: Place, trusted: Sequence[str]) -> None:
        self._reader = SignedReader(place, trusted)

    def read(self, key: str) -> tuple[CacheEntry, SignedEntry] | str | None:
        """The entry of a key with a good signature; a clause about why it is not used; None where there is none.

        Raises FetchError.
        """
        envelope = self._reader.read(find_entry_path(key))
        if envelope is None or isinstance(envelope, str):
            return envelope
        entry = parse_entry(envelope.entry)
        return "is not one that this hapkg reads" if entry is None else (entry, envelope)


class SeveralCaches:
    """Places of shared builds that are asked one after another."""

    def __init__(self, caches: Sequence[SharedBuilds]) -> None:
        self._caches = caches
        self._givers: dict[str, SharedBuilds] = {}

    def find(self, key: str, source: SourceName, suite: Suite) -> CacheAnswer:
        """The answer of the first one that has the build; without any, the words of all."""
        answers = []
        for cache in self._caches:
            answer = cache.find(key, source, suite)
            if answer.artifact is not None:
                self._givers[key] = cache
                return answer
            answers.append(answer)
        return CacheAnswer(note="; ".join(answer.note for answer in answers if answer.note))

    def bring(self, artifact: Artifact, target: Path) -> Artifact:
        """Put the files of a build that was found into an empty folder. Raises FetchError and IntegrityError."""
        return self._givers[artifact.key].bring(artifact, target)

    @property
    def notes(self) -> Sequence[str]:
        """See SharedBuilds."""
        return [note for cache in self._caches for note in cache.notes]

    def bring_base(self, suite: Suite, *, further: str, pinned: str) -> Chroot | None:
        """The base chroot of the first one that has one that is wanted."""
        found = (cache.bring_base(suite, further=further, pinned=pinned) for cache in self._caches)
        return next((base for base in found if base is not None), None)

    def offer_layer(self, base: Chroot, key: str) -> LayerOffer | None:
        """The layer of the first one that has it."""
        offers = (cache.offer_layer(base, key) for cache in self._caches)
        return next((offer for offer in offers if offer is not None), None)


class SampledBuilds:
    """Shared builds of which some are built here once more. Nobody can know before a run which ones."""

    def __init__(self, shared: SharedBuilds, percent: int) -> None:
        self._shared = shared
        self._percent = percent
        self._salt = secrets.token_bytes(16)

    def find(self, key: str, source: SourceName, suite: Suite) -> CacheAnswer:
        """The answer of the shared builds, which says where the build is to be made again."""
        answer = self._shared.find(key, source, suite)
        number = int.from_bytes(hashlib.sha256(self._salt + key.encode()).digest()[:8])
        return replace(answer, again=answer.artifact is not None and number % 100 < self._percent)

    def bring(self, artifact: Artifact, target: Path) -> Artifact:
        """Put the files of a build that was found into an empty folder. Raises FetchError and IntegrityError."""
        return self._shared.bring(artifact, target)

    @property
    def notes(self) -> Sequence[str]:
        """See SharedBuilds."""
        return self._shared.notes

    def bring_base(self, suite: Suite, *, further: str, pinned: str) -> Chroot | None:
        """See SharedBuilds."""
        return self._shared.bring_base(suite, further=further, pinned=pinned)

    def offer_layer(self, base: Chroot, key: str) -> LayerOffer | None:
        """See SharedBuilds."""
        return self._shared.offer_layer(base, key)


class BuildCache:
    """A place of shared builds, as one run sees it."""

    def __init__(self, place: Place, trusted: Sequence[str], state: State) -> None:
        self.place = place
        self._trusted = trusted
        self._reader = EntryReader(place, trusted)
        self._state = state
        self._found: dict[str, CacheAnswer] = {}
        self._entries: dict[str, tuple[CacheEntry, str]] = {}
        """Entries that may be brought, and the digests of their texts."""
        self._unreachable = ""
        self._layers = SharedLayers(place, trusted, state, state.architecture or read_architecture())
        self._notes: list[str] = []

    def find(self, key: str, source: SourceName, suite: Suite) -> CacheAnswer:
        """The build of a key, or words about why what is there is not used. It does not fail: a source can be built."""
        if key not in self._found:
            try:
                self._found[key] = self._look_up(key, source, suite)
            except FetchError as error:
                self._unreachable = f"the build cache {self.place} cannot be read: {error.brief}"
                self._found[key] = CacheAnswer(note=self._unreachable)
        return self._found[key]

    def _look_up(self, key: str, source: SourceName, suite: Suite) -> CacheAnswer:
        if self._unreachable:
            return CacheAnswer(note=self._unreachable)
        read = self._reader.read(key)
        if read is None:
            return CacheAnswer()
        if isinstance(read, str):
            return CacheAnswer(note=self._refuse(key, read))
        entry, envelope = read
        seen = read_record(self._find_memory(key), Seen)
        clause = judge(entry, key, source, suite, self._state.architecture or read_architecture())
        if not clause and seen is not None and entry.made < seen.made:
            clause = "is older than the one that was used before: somebody put it back"
        if clause:
            return CacheAnswer(note=self._refuse(key, clause))
        self._entries[key] = (entry, hashlib.sha256(envelope.entry.encode()).hexdigest())
        return CacheAnswer(artifact=make_artifact(entry, envelope.signer, self._state.builds / key))

    def bring(self, artifact: Artifact, target: Path) -> Artifact:
        """Put the files of a build that was found into an empty folder. Raises FetchError and IntegrityError."""
        entry, digest = self._entries[artifact.key]
        bring_files(self.place, entry.files, target, what=self._name(artifact.key))
        memory = self._find_memory(artifact.key)
        disk.make_folder(memory.parent)
        disk.replace(memory, format_record({"made": entry.made, "sha256": digest}))
        return replace(artifact, folder=target)

    @property
    def notes(self) -> Sequence[str]:
        """See SharedBuilds."""
        return [*self._notes, *self._layers.notes]

    def offer_layer(self, base: Chroot, key: str) -> LayerOffer | None:
        """See SharedBuilds."""
        return None if self._unreachable else self._layers.offer(base, key)

    def bring_base(self, suite: Suite, *, further: str, pinned: str) -> Chroot | None:
        """See SharedBuilds."""
        architecture = self._state.architecture or read_architecture()
        wanted = BaseRequest(suite=suite, architecture=architecture, further=further, pinned=pinned)
        base, note = bring_base(self.place, self._trusted, self._state, wanted)
        self._notes += (
            [f"the base chroot {suite}-{architecture} of the build cache {self.place} {note}"] if note else []
        )
        return base

    def _find_memory(self, key: str) -> Path:
        return self._state.cache_entries / f"{key}.json"

    def _refuse(self, key: str, clause: str) -> str:
        return f"{self._name(key)} {clause}"

    def _name(self, key: str) -> str:
        return f"the entry {key[:12]} of the build cache {self.place}"


def judge_files(place: Place, entry: CacheEntry) -> Iterator[str]:
    """Clauses about files of an entry that are not as they were signed. All are read."""
    with tempfile.TemporaryDirectory(prefix="hapkg-cache-") as folder:
        copy = Path(folder, "file")
        for name, file in entry.files.items():
            try:
                if not place.read(find_blob_path(file.sha256), copy, file.size):
                    yield f"lacks {name}"
                elif sha256_file(copy) != file.sha256:
                    yield f"has another {name} than it names"
            except FetchError as error:
                yield f"has another {name} than it names: {error.brief}"


def _is_whole(place: WritablePlace, entry: CacheEntry) -> bool:
    """Tell whether a cache has all files of an entry, as far as it can say without sending them here."""
    return all(place.holds(find_blob_path(file.sha256), file.sha256, file.size) for file in entry.files.values())


def push(place: WritablePlace, artifact: Artifact, key: SigningKey) -> None:
    """Put a build into a cache: its files first, and the entry last. Raises IntegrityError for a build that changed."""
    entry = describe(artifact, int(time.time()))
    for name, file in entry.files.items():
        if sha256_file(artifact.folder / name) != file.sha256:
            raise IntegrityError(f"{artifact.folder / name} is not what the build of {artifact.source} made")
        place.write(find_blob_path(file.sha256), artifact.folder / name)
    write_signed(place, find_entry_path(entry.key), format_entry(entry), key)


def push_builds(
    place: WritablePlace, artifacts: Sequence[Artifact], key: SigningKey, trusted: Sequence[str]
) -> Iterator[Artifact]:
    """Push the builds that were made here, with their tests, and that the cache does not have whole; yields each.

    Those that it has count as pushed today.
    """
    reader, alone = EntryReader(place, trusted), replace(key, others=())
    for artifact in artifacts:
        if artifact.signer or "tests" in artifact.inputs:
            continue
        there = reader.read(artifact.key)
        if isinstance(there, tuple) and _is_whole(place, there[0]):
            place.touch(find_entry_path(artifact.key))
        else:
            push(place, artifact, alone)
            yield artifact
