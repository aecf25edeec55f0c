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
from hapkg.repository.change import Publication, PublishTarget, RepositoryChange
from hapkg.repository.indexes import IndexedPackage, find_suites, read_pool
from hapkg.repository.snapshots import Snapshot, is_fetched, is_readable, list_snapshots, read_snapshot
from hapkg.repository.transaction import open_transaction

SourceVersion = tuple[SourceName, str]
"""One version of a source package."""


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Everything that is to go."""

    states: Mapping[Suite, frozenset[str]]
    """The pool paths that each suite goes on to publish."""
    files: Mapping[str, int]
    """Pool files to remove, with their size in bytes."""
    digests: Mapping[str, str]
    """SHA256 of those that were published: their names stay taken."""
    delayed: Mapping[str, int]
    """Pool files, with their size, that are to go later: clients that read an earlier state may still fetch them."""
    releases: tuple[SourceVersion, ...]
    """Source packages and versions of all that goes, sorted."""
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
    kept = {
        release for suite in held for release in _find_newest(map(_find_source, read_pool(root, suite).packages), keep)
    }
    kept |= {_find_source(package) for package in packages if _is_young(root, package, days)}
    kept = _add_pinned(packages, kept)
    paths = frozenset(path for package in packages if _find_source(package) in kept for path in package.files)
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
    gone = {_find_source(package) for package in packages if not present.keys().isdisjoint(package.files)} - kept
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


def prune(target: PublishTarget, *, keep: int, days: float, at_once: bool = False) -> tuple[Publication, Pruning]:
    """Remove what decide_pruning() finds. The names of removed files stay taken."""
    with open_transaction(target) as transaction:
        pruning = decide_pruning(target.root, keep=keep, days=days, at_once=at_once)
        change = RepositoryChange(
            operation="prune",
            states=pruning.states,
            removals=tuple(pruning.files),
            digests=pruning.digests,
            forgotten=pruning.snapshots,
        )
        return transaction.commit(change), pruning


def _find_source(package: IndexedPackage) -> SourceVersion:
    return package.source


def _find_newest(releases: Iterable[SourceVersion], keep: int) -> set[SourceVersion]:
    order = cmp_to_key(compare_versions)
    found: set[SourceVersion] = set()
    for _, versions in groupby(sorted(set(releases)), key=lambda release: release[0]):
        found |= set(sorted(versions, key=lambda release: order(release[1]))[-keep:])
    return found


def _is_young(root: Path, package: IndexedPackage, days: float) -> bool:
    """Whether a file of the package came into the pool within the last days."""
    earliest = time.time() - days * 86400
    files = [root / path for path in package.files]
    return any(file.stat().st_mtime >= earliest for file in files if file.exists())


def _add_pinned(packages: Iterable[IndexedPackage], kept: set[SourceVersion]) -> set[SourceVersion]:
    """The kept releases, and all that their packages need in one version alone."""
    packages = tuple(packages)
    providers: dict[tuple[BinaryName, str], set[SourceVersion]] = {}
    pins: dict[SourceVersion, set[tuple[BinaryName, str]]] = {}
    for package in packages:
        if package.architecture != "source":
            providers.setdefault((BinaryName(package.name), package.version), set()).add(_find_source(package))
            pins.setdefault(_find_source(package), set()).update(package.pins)
    found, waiting = set(kept), list(kept)
    while waiting:
        for pin in pins.get(waiting.pop(), ()):
            new = providers.get(pin, set()) - found
            found |= new
            waiting += new
    return found
