"""An entry of a build cache: one build in words, with the digest of each of its files, under a signature.

entries/<key>.json     the entry as text, its signature, and the fingerprint of who signed
blobs/ab/<sha256>      a file, by its content
keys/<fingerprint>     the public key of who signs
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hapkg.build.plan import make_key
from hapkg.build.results import LARGEST
from hapkg.build.store import LOG_NAME, Artifact
from hapkg.control import TARBALLS, SourceName, Suite
from hapkg.disk import sha256_file
from hapkg.records import format_record, parse_record

MOST_BYTES = 16 << 20
"""Of an entry, far more than hapkg writes into one."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.~_-]{0,249}")
_SUFFIXES = (".deb", ".changes", ".buildinfo", ".dsc", ".txt", *TARBALLS)
_DIGEST = re.compile("[0-9a-f]{64}")
_MOST_FILES = 1000


@dataclass(frozen=True, kw_only=True)
class CachedFile:
    """A file of a build."""

    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """A build, as Artifact describes it."""

    key: str
    source: str
    version: str
    suite: str
    architecture: str
    inputs: Mapping[str, Any]
    origin: str
    seconds: Mapping[str, float]
    memory: int
    packages: Mapping[str, Mapping[str, str]]
    files: Mapping[str, CachedFile]
    made: int
    """When it was signed, in seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The entry, base chroot or state of a repository that was used last: an older one is not used any more."""

    made: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SignedEntry:
    """An entry and its signature, in one file: one rename, and they cannot be of two states."""

    entry: str
    signature: str
    signer: str


def find_entry_path(key: str) -> str:
    """Where the entry of a build key lies."""
    return f"entries/{key}.json"


def find_blob_path(sha256: str) -> str:
    """Where a file lies."""
    return f"blobs/{sha256[:2]}/{sha256}"


def find_key_path(fingerprint: str) -> str:
    """Where a public key lies."""
    return f"keys/{fingerprint}"


def format_entry(entry: CacheEntry) -> bytes:
    """The text that is signed."""
    return format_record(asdict(entry))


def parse_entry(text: str) -> CacheEntry | None:
    """The entry of a text; None for one that hapkg does not write."""
    return parse_record(text, CacheEntry)


def judge(entry: CacheEntry, key: str, source: SourceName, suite: Suite, architecture: str) -> str:
    """A clause about why an entry is not that of a build; "" where it is."""
    faults = (
        (entry.key != key or make_key(entry.inputs) != key, "is of another key"),
        (entry.source != source or entry.suite != suite, f"is of {entry.source[:80]!a} for {entry.suite[:40]!a}"),
        (entry.architecture != architecture, f"is for {entry.architecture[:40]!a}"),
        (len(entry.files) > _MOST_FILES, "names too many files"),
        (
            not all(is_known_name(name) for name in entry.files),
            "names a file that no build gives",
        ),
        (not all(_DIGEST.fullmatch(file.sha256) and file.size >= 0 for file in entry.files.values()), "has no digests"),
        (sum(file.size for file in entry.files.values()) > LARGEST, "is larger than any build"),
        (LOG_NAME not in entry.files or not any(name.endswith(".deb") for name in entry.files), "lacks files"),
    )
    return next((clause for wrong, clause in faults if wrong), "")


def describe(artifact: Artifact, made: int) -> CacheEntry:
    """The entry of a build of the store."""
    names = [*artifact.files, LOG_NAME]
    sizes = {name: (artifact.folder / name).stat().st_size for name in names}
    digests = {**artifact.files, LOG_NAME: sha256_file(artifact.log)}
    return CacheEntry(
        key=artifact.key,
        source=artifact.source,
        version=artifact.version,
        suite=artifact.suite,
        architecture=artifact.architecture,
        inputs=artifact.inputs,
        origin=artifact.origin,
        seconds=artifact.seconds,
        memory=artifact.memory,
        packages=artifact.packages,
        files={name: CachedFile(sha256=digests[name], size=sizes[name]) for name in sorted(names)},
        made=made,
    )


def make_artifact(entry: CacheEntry, signer: str, folder: Path) -> Artifact:
    """The build of an entry, whose files are to lie in a folder."""
    return Artifact(
        key=entry.key,
        source=SourceName(entry.source),
        version=entry.version,
        suite=Suite(entry.suite),
        architecture=entry.architecture,
        inputs=entry.inputs,
        origin=entry.origin,
        files={name: file.sha256 for name, file in entry.files.items() if name != LOG_NAME},
        seconds=entry.seconds,
        memory=entry.memory,
        packages=entry.packages,
        folder=folder,
        signer=signer,
    )


def is_known_name(name: str) -> bool:
    """Tell whether a file has a name that a build gives."""
    return bool(_NAME.fullmatch(name)) and (name == LOG_NAME or name.endswith(_SUFFIXES))
