"""Retention: a repository keeps the newest versions, the young ones, and whatever a kept package pins.

The unit is one version of a source package with all that was built from it: sources, packages, debug symbols.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from itertools import groupby
from pathlib import Path

from hapkg.control import BinaryName, SourceName, Suite, compare_versions
from hapkg.repository.change import Publication, PublishTarget, RepositoryChange
from hapkg.repository.indexes import IndexedPackage, Pool, find_suites, read_pool
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
    packages = list(
        {" ".join(p.files): p for pool in pools.values() for p in (*pool.packages, *pool.documents)}.values()
    )
    newest = {source for suite in held for source in _find_newest(read_pool(root, suite).packages, keep)}
    young = {package.source for package in packages if _is_young(root, package, days)}
    kept = _add_pinned(packages, newest | young)
    paths = frozenset(path for package in packages if package.source in kept for path in package.files)
    present = {str(file.relative_to(root)): file for file in (root / "pool").rglob("*") if file.is_file()}
    unwanted = {path: file.stat().st_size for path, file in present.items() if path not in paths}
    fetched = frozenset() if at_once else _find_fetched(held, pools)
    files = {path: size for path, size in unwanted.items() if path not in fetched}
    digests = {path: digest for package in packages for path, (_, digest) in package.files.items()}
    gone = {package.source for package in packages if not present.keys().isdisjoint(package.files)} - kept
    return Pruning(
        states={suite: pools[suite, states[-1].number].paths & paths for suite, states in held.items()},
        files=files,
        digests={path: digests[path] for path in files if path in digests},
        delayed={path: size for path, size in unwanted.items() if path in fetched},
        releases=tuple(sorted(gone)),
        snapshots=_find_forgotten(held, pools, paths | fetched),
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


def _find_fetched(held: Mapping[Suite, Sequence[Snapshot]], pools: Mapping[tuple[Suite, int], Pool]) -> frozenset[str]:
    """Pool paths that clients may still fetch by a state that they began with."""
    return frozenset(
        path
        for states in held.values()
        for snapshot in states
        if is_fetched(snapshot, states)
        for path in pools[snapshot.suite, snapshot.number].paths
    )


def _find_forgotten(
    held: Mapping[Suite, Sequence[Snapshot]], pools: Mapping[tuple[Suite, int], Pool], left: frozenset[str]
) -> tuple[Snapshot, ...]:
    """Snapshots that name other pool paths than are left, and that no client reads."""
    return tuple(
        snapshot
        for states in held.values()
        for snapshot in states
        if not pools[snapshot.suite, snapshot.number].paths <= left and not is_readable(snapshot, states)
    )


def _find_newest(packages: Iterable[IndexedPackage], keep: int) -> set[SourceVersion]:
    """So many versions of every source, the newest ones."""
    order = cmp_to_key(compare_versions)
    found: set[SourceVersion] = set()
    for _, versions in groupby(sorted({package.source for package in packages}), key=lambda source: source[0]):
        found |= set(sorted(versions, key=lambda source: order(source[1]))[-keep:])
    return found


def _is_young(root: Path, package: IndexedPackage, days: float) -> bool:
    """Tell whether a file of the package came into the pool within the last days."""
    earliest = time.time() - days * 86400
    files = [root / path for path in package.files]
    return any(file.stat().st_mtime >= earliest for file in files if file.exists())


def _add_pinned(packages: Iterable[IndexedPackage], kept: set[SourceVersion]) -> set[SourceVersion]:
    """The kept sources, and all that their packages need in one version alone."""
    packages = tuple(packages)
    providers: dict[tuple[BinaryName, str], set[SourceVersion]] = {}
    pins: dict[SourceVersion, set[tuple[BinaryName, str]]] = {}
    for package in packages:
        if package.architecture != "source":
            providers.setdefault((BinaryName(package.name), package.version), set()).add(package.source)
            pins.setdefault(package.source, set()).update(package.pins)
    found, waiting = set(kept), list(kept)
    while waiting:
        for pin in pins.get(waiting.pop(), ()):
            new = providers.get(pin, set()) - found
            found |= new
            waiting += new
    return found
