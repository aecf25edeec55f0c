"""What a repository keeps: the newest versions, the young ones, and whatever a kept package pins.

The unit is one version of a source package with all that was built from it: sources, packages, debug symbols.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cmp_to_key
from itertools import groupby
from pathlib import Path

from hapkg.control import BinaryName, SourceName, Suite, compare_versions
from hapkg.repository.indexes import Package, find_suites, read_pool
from hapkg.repository.publishing import Change, Publication, Site, change
from hapkg.repository.snapshots import Snapshot, is_fetched, is_readable, list_snapshots, read_snapshot

Release = tuple[SourceName, str]
"""One version of a source package."""


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """What is to go."""

    states: Mapping[Suite, frozenset[str]]
    """The pool paths that each suite goes on to publish."""
    files: Mapping[str, int]
    """Pool files to remove, with their size in bytes."""
    digests: Mapping[str, str]
    """SHA256 of those that were published: their names stay taken."""
    delayed: Mapping[str, int]
    """Pool files, with their size, that are to go later: clients that read an earlier state may still fetch them."""
    releases: tuple[Release, ...]
    """What that is, in words: source packages and versions, sorted."""
    snapshots: tuple[Snapshot, ...]
    """Snapshots that cannot be rolled back to any more."""


def decide_pruning(root: Path, *, keep: int, days: float, at_once: bool = False) -> Pruning:
    """Keep so many versions of every source in every suite, all published in the last days, and all that these pin.

    The files of the rest stay until the state that listed them is a day gone, unless they must go at once.
    """
    held = {suite: list_snapshots(root, suite) for suite in find_suites(root)}
    pools = {
        (snapshot.suite, snapshot.number): read_snapshot(root, snapshot)
        for states in held.values()
        for snapshot in states
    }
    packages = {" ".join(p.files): p for pool in pools.values() for p in pool.packages}.values()
    kept = {release for suite in held for release in _find_newest(map(_release, read_pool(root, suite).packages), keep)}
    kept |= {_release(package) for package in packages if _is_young(root, package, days)}
    kept = _add_pinned(packages, kept)
    paths = frozenset(path for package in packages if _release(package) in kept for path in package.files)
    present = {str(file.relative_to(root)): file for file in (root / "pool").rglob("*") if file.is_file()}
    digests = {path: digest for package in packages for path, (_, digest) in package.files.items()}
    fetched = {
        path
        for states in held.values()
        for snapshot in states
        if not at_once and is_fetched(snapshot, states)
        for path in pools[snapshot.suite, snapshot.number].paths
    }
    unwanted = {path: file.stat().st_size for path, file in present.items() if path not in paths}
    surplus = {path: size for path, size in unwanted.items() if path not in fetched}
    gone = {_release(package) for package in packages if not present.keys().isdisjoint(package.files)} - kept
    return Pruning(
        states={suite: pools[suite, states[-1].number].paths & paths for suite, states in held.items()},
        files=surplus,
        digests={path: digests[path] for path in surplus if path in digests},
        delayed={path: size for path, size in unwanted.items() if path in fetched},
        releases=tuple(sorted(gone)),
        snapshots=tuple(
            snapshot
            for states in held.values()
            for snapshot in states
            if not pools[snapshot.suite, snapshot.number].paths <= paths | fetched and not is_readable(snapshot, states)
        ),
    )


def prune(site: Site, *, keep: int, days: float, at_once: bool = False) -> tuple[Publication, Pruning]:
    """Publish what is kept, then remove the rest. A kill leaves files that the next prune removes, and nothing else."""
    decided: list[Pruning] = []

    def decide() -> Change:
        decided.append(decide_pruning(site.root, keep=keep, days=days, at_once=at_once))
        return Change(
            act="prune",
            states=decided[0].states,
            surplus=tuple(decided[0].files),
            digests=decided[0].digests,
            forgotten=decided[0].snapshots,
        )

    return change(site, decide), decided[0]


def _release(package: Package) -> Release:
    return package.source


def _find_newest(releases: Iterable[Release], keep: int) -> set[Release]:
    order = cmp_to_key(compare_versions)
    found: set[Release] = set()
    for _, versions in groupby(sorted(set(releases)), key=lambda release: release[0]):
        found |= set(sorted(versions, key=lambda release: order(release[1]))[-keep:])
    return found


def _is_young(root: Path, package: Package, days: float) -> bool:
    """Whether a file of the package came into the pool within the last days."""
    earliest = time.time() - days * 86400
    files = [root / path for path in package.files]
    return any(file.stat().st_mtime >= earliest for file in files if file.exists())


def _add_pinned(packages: Iterable[Package], kept: set[Release]) -> set[Release]:
    """The kept releases, and all that their packages need in one version alone."""
    packages = tuple(packages)
    providers: dict[tuple[BinaryName, str], set[Release]] = {}
    pins: dict[Release, set[tuple[BinaryName, str]]] = {}
    for package in packages:
        if package.architecture != "source":
            providers.setdefault((BinaryName(package.name), package.version), set()).add(_release(package))
            pins.setdefault(_release(package), set()).update(package.pins)
    found, waiting = set(kept), list(kept)
    while waiting:
        for pin in pins.get(waiting.pop(), ()):
            new = providers.get(pin, set()) - found
            found |= new
            waiting += new
    return found
