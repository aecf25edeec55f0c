"""Records of rebuilds: whether a .deb came out with the same bytes again, when, and under which variations.

There is one for each .deb, found by its sha256 alone, so that whoever holds the file can ask. It keeps the last rebuild
of each set of variations.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hapkg import disk
from hapkg.locations import State
from hapkg.records import format_record, read_record

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Rebuild:
    """One rebuild, as it came out for one .deb."""

    when: str
    """UTC, as in 2026-11-29T17:40:12Z."""
    host: str
    """The name of the machine."""
    identical: bool
    variations: tuple[str, ...] = ()
    """Names of what was varied, sorted; without any it was built as it had been."""
    found: str = ""
    """sha256 of the .deb that came out; "" where none did."""
    report: str = ""
    """Path of diffoscope's report, below the state folder; "" where there is none."""


@dataclass(frozen=True, kw_only=True)
class RebuiltPackage:
    """A .deb and its rebuilds on this machine, the last one at the end."""

    sha256: str
    file: str
    source: str
    version: str
    suite: str
    rebuilds: tuple[Rebuild, ...]

    @property
    def identical(self) -> bool:
        """True when it was rebuilt, and no last rebuild of any set of variations differs."""
        return bool(self.rebuilds) and all(rebuild.identical for rebuild in self.rebuilds)

    @property
    def variations(self) -> tuple[str, ...]:
        """All variations under which it is identical, sorted."""
        return tuple(sorted({name for rebuild in self.rebuilds if rebuild.identical for name in rebuild.variations}))


def read_rebuilt(state: State, sha256: str) -> RebuiltPackage | None:
    """The rebuilds of the .deb with this digest; None where none is known here, or the record is damaged."""
    if not _SHA256.fullmatch(sha256):
        return None
    found = read_record(_find_file(state, sha256), RebuiltPackage)
    return found if found is not None and found.sha256 == sha256 else None


def note_rebuilds(state: State, packages: Mapping[str, RebuiltPackage]) -> None:
    """Add rebuilds to the records of these .deb files, by sha256; all of them are on the disk when this returns.

    A rebuild replaces the one before of the same variations. The caller holds the store's lock.
    """
    contents = {}
    for sha256, package in packages.items():
        if not _SHA256.fullmatch(sha256) or sha256 != package.sha256:
            raise ValueError(f"{sha256} is not the digest of {package.file}")
        old = read_rebuilt(state, sha256)
        renewed = {rebuild.variations for rebuild in package.rebuilds}
        kept = [rebuild for rebuild in (old.rebuilds if old else ()) if rebuild.variations not in renewed]
        whole = replace(package, rebuilds=(*kept, *package.rebuilds))
        contents[_find_file(state, sha256)] = format_record(asdict(whole))
    with disk.Batch() as batch:
        batch.make_folder(state.rebuilt)
        batch.replace(contents)


def make_rebuild(
    *, identical: bool, variations: Sequence[str] = (), found: str = "", report: Path | None = None, state: State
) -> Rebuild:
    """A rebuild of this moment on this machine."""
    return Rebuild(
        when=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        host=os.uname().nodename,
        identical=identical,
        variations=tuple(sorted(variations)),
        found=found,
        report=str(report.relative_to(state.root)) if report else "",
    )


def _find_file(state: State, sha256: str) -> Path:
    return state.rebuilt / f"{sha256}.json"
