"""Memory of holes: what the tracker and OSV said when `hapkg audit` asked last, for a publish that asks nobody."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

from hapkg import disk
from hapkg.control import SourceName
from hapkg.currency.tracker import TrackerData
from hapkg.locations import State
from hapkg.records import format_record, read_record

_NOTHING = TrackerData(where="nobody was asked", packages=0, holes={})


@dataclass(frozen=True, kw_only=True)
class KnownHoles:
    """Answers of the tracker and of OSV."""

    data: TrackerData
    osv: Mapping[SourceName, tuple[str, ...]]
    """Ids that OSV knows of the recipes' commits, by source."""


def remember_holes(state: State, data: TrackerData, osv: Mapping[SourceName, Collection[str]] | None) -> None:
    """Keep the answers. Where OSV was not asked this time, its last answer stays."""
    before = recall_holes(state)
    found = before.osv if osv is None else {name: tuple(sorted(ids)) for name, ids in osv.items()}
    disk.replace(state.known_holes, format_record(asdict(KnownHoles(data=data, osv=found))))


def recall_holes(state: State) -> KnownHoles:
    """The last answers; nothing where nobody was asked."""
    return read_record(state.known_holes, KnownHoles) or KnownHoles(data=_NOTHING, osv={})
