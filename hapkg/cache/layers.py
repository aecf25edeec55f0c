"""Layers of build dependencies that machines share, signed as builds are.

layers/<key>.json      a layer as text with its signature
blobs/ab/<sha256>      its files, in one archive

A layer's key says its base chroot and its packages by their digests, so that one of a key is as good as another.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hapkg import disk
from hapkg.cache.entry import CachedFile, SignedEntry, find_blob_path
from hapkg.cache.files import bring_files, put_files
from hapkg.cache.place import Place, WritablePlace
from hapkg.cache.signed import SignedReader, peek, write_signed
from hapkg.chroot.layer import Layer, LayerOffer, list_layers
from hapkg.chroot.schroot import Chroot
from hapkg.chroot.transport import LARGEST, LayerFacts, describe_layer, pack_layer, unpack_layer
from hapkg.errors import FetchError, HapkgError
from hapkg.locations import State
from hapkg.records import format_record, parse_record
from hapkg.repository.keys.signing import SigningKey

_ARCHIVE = "layer.tar.zst"
_KEY = re.compile("[0-9a-f]{64}")
_RECENT_SECONDS = 24 * 3600
"""Since the last use of a layer that is pushed: what older runs made may never be wanted again."""


@dataclass(frozen=True, kw_only=True)
class LayerEntry:
    """A layer of a build cache."""

    suite: str
    architecture: str
    facts: LayerFacts
    file: CachedFile
    made: int
    """When it was signed, in seconds since 1970."""


class SharedLayers:
    """The layers of a build cache, for one state folder. Its methods may be called by several threads."""

    def __init__(self, place: Place, trusted: Sequence[str], state: State, architecture: str) -> None:
        self._place, self._state, self._architecture = place, state, architecture
        self._reader = SignedReader(place, trusted)
        self.notes: list[str] = []
        """Words about layers that are there and were not used."""

    def offer(self, base: Chroot, key: str) -> LayerOffer | None:
        """The layer with a key over a base chroot; None where there is none that is to be used. It does not raise."""
        try:
            found = self._reader.read(_find_path(key))
        except FetchError:  # the cache says so of its builds
            return None
        if found is None:
            return None
        if isinstance(found, str):
            self._note(key, found)
            return None
        entry = parse_record(found.entry, LayerEntry)
        if entry is None or (clause := self._judge(entry, base, key)):
            self._note(key, clause if entry else "is not one that this hapkg reads")
            return None
        return LayerOffer(below=entry.facts.below, bring=lambda: self._bring(base, entry))

    def _judge(self, entry: LayerEntry, base: Chroot, key: str) -> str:
        """A clause about why a layer is not the one that is wanted; "" where it is."""
        below = entry.facts.below
        faults = (
            (entry.facts.key != key, "is of another key"),
            (
                (entry.suite, entry.architecture) != (base.suite, self._architecture),
                "is of another suite or architecture",
            ),
            (not 0 < entry.file.size <= LARGEST, "is larger than any layer"),
            (below != "" and (_KEY.fullmatch(below) is None or below == key), "lies on what is no layer"),
        )
        return next((clause for wrong, clause in faults if wrong), "")

    def _bring(self, base: Chroot, entry: LayerEntry) -> bool:
        key, folder = entry.facts.key, self._state.layers
        try:
            disk.make_folder(folder)
            with tempfile.TemporaryDirectory(prefix=".new-archive-", dir=folder) as scratch:
                bring_files(self._place, {_ARCHIVE: entry.file}, Path(scratch), what=self._name(key))
                unpack_layer(self._state, base, Path(scratch, _ARCHIVE), entry.facts)
        except HapkgError as error:
            self._note(key, f"cannot be used: {error.brief}")
            return False
        return True

    def _note(self, key: str, clause: str) -> None:
        note = f"{self._name(key)} {clause}"
        if note not in self.notes:
            self.notes.append(note)

    def _name(self, key: str) -> str:
        return f"the layer {key[:12]} of the build cache {self._place}"


def push_layers(
    place: WritablePlace, state: State, base: Chroot, architecture: str, key: SigningKey, trusted: Sequence[str]
) -> Iterator[Layer]:
    """Put layers over a base chroot that were used in the last day into a build cache; yields each that is new there.

    Those of this machine that it has already count as pushed today. One that was taken from a cache is not signed anew:
    this machine has not made it.
    """
    reader = SignedReader(place, trusted)
    for layer in reversed(list_layers(state)):  # each after those that it lies on
        if layer.base != base.digest:
            continue
        if _is_whole(place, reader, layer):
            place.touch(_find_path(layer.key))
        elif not layer.taken and layer.used > time.time() - _RECENT_SECONDS:
            facts = describe_layer(state, layer)
            with tempfile.TemporaryDirectory(prefix=".new-archive-", dir=state.layers) as scratch:
                file = Path(scratch, _ARCHIVE)
                pack_layer(state, layer, file)
                packed = put_files(place, [file])[file.name]
            entry = LayerEntry(
                suite=base.suite, architecture=architecture, facts=facts, file=packed, made=int(time.time())
            )
            write_signed(place, _find_path(layer.key), format_record(asdict(entry)), key)
            yield layer


def _is_whole(place: WritablePlace, reader: SignedReader, layer: Layer) -> bool:
    """Tell whether a cache has a layer by a trusted key, as far as it can say without sending it here."""
    found = reader.read(_find_path(layer.key))
    entry = parse_record(found.entry, LayerEntry) if isinstance(found, SignedEntry) else None
    return entry is not None and place.holds(find_blob_path(entry.file.sha256), entry.file.sha256, entry.file.size)


def find_layer_blob(place: WritablePlace, path: str) -> str | None:
    """The path of the archive of a layer, whoever signed it: files of others are theirs. Raises FetchError."""
    found = peek(place, path)
    entry = parse_record(found.entry, LayerEntry) if isinstance(found, SignedEntry) else None
    return find_blob_path(entry.file.sha256) if entry is not None else None


def _find_path(key: str) -> str:
    return f"layers/{key}.json"
