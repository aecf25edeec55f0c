"""The history of a repository: every state of a suite is a snapshot, a small file that names its indexes.

    .hapkg/snapshots/SUITE/00000007.json     when, by whom, by what act, signed by which key, digests of the indexes
    .hapkg/snapshots/SUITE/00000007.signed   the InRelease of that state: that it was one
    dists/SUITE/**/by-hash/SHA256/…          those indexes; the .xz form stays as long as the snapshot
    pool/…                                   the packages; they stay as long as a snapshot or a suite names them

A snapshot is written just before the InRelease that makes it real. One that never became real, because the publish was
killed in between, is the newest of its suite and differs from InRelease: it does not count.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hapkg import disk
from hapkg.control import SourceName, Suite
from hapkg.disk import Batch
from hapkg.errors import RepositoryError
from hapkg.repository.indexes import (
    DOCUMENTS,
    IndexedPackage,
    Pool,
    PublishedSource,
    find_newest,
    find_suites,
    name_by_hash,
    read_indexes,
    read_state,
)
from hapkg.repository.paths import check_digest, check_path, read_file

_PROOF = ".signed"
_FORMAT = 1
"""Of a snapshot's file; those from before numbers were written are of the first."""
KEPT_GENERATIONS = 3
"""Number of states of a suite that apt can always read: the current one and those a slow client may have begun with."""
KEPT_DOCUMENTS = (DOCUMENTS, "evidence/vex.openvex.json", "evidence/rebuilds.json")
"""Documents that are kept as long as the snapshot; those of the pool make the others again."""
SLOW_CLIENT = timedelta(days=1)
"""Time for which apt can read a state after it was replaced, however many followed."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One state of a suite."""

    suite: Suite
    number: int
    """Counts the states of a suite from 1."""
    made: str
    """Time of the publish, UTC: 2024-01-31T12:00:00Z."""
    act: str
    """The operation that made it: publish, rollback to 3, promote bookworm-testing 5, prune."""
    by: str
    """USER@HOST."""
    keys: tuple[str, ...]
    """Fingerprints of the keys that signed it."""
    indexes: Mapping[str, str]
    """SHA256 of each index file, by its path below dists/SUITE."""

    @property
    def time(self) -> datetime:
        """Time of the publish."""
        return datetime.fromisoformat(self.made)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Packages that one state has and another has not: NAME VERSION ARCHITECTURE, sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]


def list_snapshots(root: Path, suite: Suite) -> tuple[Snapshot, ...]:
    """The states of a suite that are held, oldest first; the last one is what the suite is now. Needs no lock.

    A suite that was published before there were snapshots has one for what it is now.
    """
    now = read_indexes(root, suite)
    found = [_read_snapshot(file) for file in sorted(_find_folder(root, suite).glob("[0-9]*.json"))]
    while found and found[-1].indexes != now:
        found.pop()
    if not found and now:
        made = find_newest(root, suite).stat().st_mtime
        found = [make_snapshot(suite, 1, "publish", (), now, datetime.fromtimestamp(made, UTC))]
    return tuple(found)


def find_snapshot(root: Path, suite: Suite, number: int | None = None) -> Snapshot:
    """The numbered state of a suite, or what it is now. Raises RepositoryError when there is none."""
    held = list_snapshots(root, suite)
    if not held:
        known = ", ".join(find_suites(root)) or "none"
        raise RepositoryError(f"suite {suite} is not in the repository {root}", hint=f"published suites: {known}")
    for snapshot in held:
        if number in (None, snapshot.number):
            return held[-1] if number is None else snapshot
    raise RepositoryError(
        f"there is no snapshot {number} of suite {suite}",
        hint=f"held are {', '.join(str(snapshot.number) for snapshot in held)}; see: hapkg repo list",
    )


def make_snapshot(
    suite: Suite, number: int, act: str, keys: tuple[str, ...], indexes: Mapping[str, str], time: datetime
) -> Snapshot:
    """A snapshot made by this user on this host."""
    import getpass  # noqa: PLC0415 - for what changes alone

    by = f"{getpass.getuser()}@{os.uname().nodename}"
    made = f"{time:%Y-%m-%dT%H:%M:%SZ}"
    return Snapshot(suite=suite, number=number, made=made, act=act, by=by, keys=keys, indexes=dict(indexes))


def add_snapshot(
    root: Path, suite: Suite, act: str, keys: tuple[str, ...], indexes: Mapping[str, str], signed: Path, batch: Batch
) -> None:
    """Write down the state that is about to be published, unless it is the one that is. The caller holds the lock.

    `signed`: its InRelease, if there is one, of which a copy is kept.
    """
    held = list_snapshots(root, suite)
    for snapshot in held[:1]:  # the first one may be made up
        if not _name_file(root, snapshot).exists():
            write_snapshot(root, snapshot, batch)
    published = root / "dists" / suite / "InRelease"
    for snapshot in held[-1:]:  # that of an older hapkg has no proof
        if published.is_file() and not name_proof(root, snapshot).exists():
            batch.replace({name_proof(root, snapshot): read_file(published)})
    if not held or held[-1].indexes != indexes:
        number = held[-1].number + 1 if held else 1
        snapshot = make_snapshot(suite, number, act, keys, indexes, datetime.now(UTC))
        if signed.is_file():
            batch.replace({name_proof(root, snapshot): signed.read_bytes()})
        write_snapshot(root, snapshot, batch)


def write_snapshot(root: Path, snapshot: Snapshot, batch: Batch) -> None:
    """Write a snapshot's file."""
    content = {"format": _FORMAT, **asdict(snapshot)}
    batch.replace({_name_file(root, snapshot): (json.dumps(content, indent=1) + "\n").encode()})


def read_snapshot(root: Path, snapshot: Snapshot) -> Pool:
    """The pool of a snapshot. Raises RepositoryError when its indexes are gone."""
    return read_state(root, snapshot.suite, snapshot.indexes)


def read_held(root: Path, release: Suite) -> dict[SourceName, frozenset[PublishedSource]]:
    """Every version of a source built for a Debian release that the repository offers, or ever offered."""
    found: dict[SourceName, set[PublishedSource]] = {}
    seen: set[str] = set()
    for suite in find_suites(root):
        if suite.partition("-")[0] != release:
            continue
        for snapshot in list_snapshots(root, suite):
            indexes = {path: digest for path, digest in snapshot.indexes.items() if "/source/" in path}
            if not seen.issuperset(indexes.values()):
                seen |= set(indexes.values())
                for name, releases in read_state(root, suite, indexes).sources.items():
                    found.setdefault(name, set()).update(releases)
    for path in read_removed(root):
        if path.startswith(f"pool/{release}/") and path.endswith(".dsc"):
            source, _, version = Path(path).stem.partition("_")
            found.setdefault(SourceName(source), set()).add(PublishedSource(version=version, key=""))
    return {name: frozenset(releases) for name, releases in found.items()}


def read_removed(root: Path) -> dict[str, str]:
    """SHA256 of every pool file that was removed, by path: its name is taken for good."""
    file = root / ".hapkg" / "removed"
    lines = read_file(file).decode("utf-8", "replace").splitlines() if os.path.lexists(file) else []
    found = {path: digest for digest, _, path in (line.partition("  ") for line in lines)}
    for path, digest in found.items():
        check_digest(digest, where=str(file))
        check_path(path, where=str(file), below="pool/")
    return found


def find_missing(root: Path, pool: Pool) -> tuple[str, ...]:
    """Pool paths of what a state names and the pool lacks."""
    return tuple(sorted(path for path in pool.paths if not (root / path).is_file()))


def compare(old: Pool, new: Pool) -> Difference:
    """The packages that differ between two states."""
    before, after = ({_describe(package) for package in pool.packages} for pool in (old, new))
    return Difference(added=tuple(sorted(after - before)), removed=tuple(sorted(before - after)))


def forget_unreal(root: Path) -> None:
    """Remove snapshots that never became real: the newest, down to what a suite is. The caller holds the lock.

    Of a suite that has ended its end alone stays, and nothing below dists.
    """
    published = find_suites(root)
    for folder in (root / ".hapkg" / "snapshots").glob("*"):
        suite = Suite(folder.name)
        now, is_real = read_indexes(root, suite), False
        for file in sorted(folder.glob("[0-9]*.json"), reverse=True):
            if is_real and suite in published:
                break
            if is_real or _read_snapshot(file).indexes != now:
                file.with_suffix(_PROOF).unlink(missing_ok=True)
                file.unlink()
            else:
                is_real = True
        if is_real and suite not in published:
            disk.remove_tree(root / "dists" / suite)


def forget_snapshot(root: Path, snapshot: Snapshot) -> None:
    """Remove a snapshot. The caller holds the lock, and sees to what only it held."""
    name_proof(root, snapshot).unlink(missing_ok=True)
    _name_file(root, snapshot).unlink(missing_ok=True)


def find_ended(root: Path) -> dict[Suite, Snapshot]:
    """The suites that have ended, by name, and the last snapshot of each, which says so."""
    folders = (root / ".hapkg" / "snapshots").glob("*")
    held = {Suite(folder.name): list_snapshots(root, Suite(folder.name)) for folder in sorted(folders)}
    return {suite: states[-1] for suite, states in held.items() if states and not states[-1].indexes}


def note_end(root: Path, suite: Suite) -> None:
    """Write down that a suite is about to end: a snapshot of nothing, and the names of packages that it alone has.

    The caller holds the lock, and removes the suite.
    """
    pools = {
        (other, snapshot.number): read_snapshot(root, snapshot)
        for other in find_suites(root)
        for snapshot in list_snapshots(root, other)
    }
    kept = {path for (other, _), pool in pools.items() if other != suite for path in pool.paths}
    own = {file.path: file.digest for (of, _), pool in pools.items() if of == suite for file in pool.files.values()}
    add_removed(root, {path: digest for path, digest in own.items() if path not in kept})
    number = list_snapshots(root, suite)[-1].number + 1
    with Batch() as batch:
        write_snapshot(root, make_snapshot(suite, number, "drop", (), {}, datetime.now(UTC)), batch)


def is_readable(snapshot: Snapshot, held: Sequence[Snapshot]) -> bool:
    """Tell whether apt must be able to read a state of a suite to its end, because a client may have begun with it."""
    later = held[held.index(snapshot) + 1 :]
    return len(later) < KEPT_GENERATIONS or datetime.now(UTC) - later[0].time < SLOW_CLIENT


def is_fetched(snapshot: Snapshot, held: Sequence[Snapshot]) -> bool:
    """Tell whether a client may still fetch packages by a state that it began with: for a day after it was replaced.

    The newest state counts as replaced now.
    """
    later = held[held.index(snapshot) + 1 :]
    now = datetime.now(UTC)
    return now - (later[0].time if later else now) < SLOW_CLIENT


def add_removed(root: Path, digests: Mapping[str, str]) -> None:
    """Remember what is about to be removed: SHA256 by pool path. The caller holds the lock."""
    lines = (f"{digest}  {path}\n" for path, digest in sorted({**read_removed(root), **digests}.items()))
    disk.replace(root / ".hapkg" / "removed", "".join(lines).encode())


def drop_generations(root: Path, suite: Suite) -> None:
    """Remove by-hash files that neither apt nor a snapshot needs any more."""
    folder = root / "dists" / suite
    held = list_snapshots(root, suite)
    wanted = set()
    for snapshot in held:
        readable = is_readable(snapshot, held)
        wanted |= {
            name_by_hash(path, digest)
            for path, digest in snapshot.indexes.items()
            if readable or path.endswith(".xz") or path in KEPT_DOCUMENTS
        }
    for current, _, names in os.walk(folder):
        if current.endswith("/by-hash/SHA256"):
            below = current.removeprefix(f"{folder}/")
            for name in names:
                if f"{below}/{name}" not in wanted:
                    Path(current, name).unlink()


def _describe(package: IndexedPackage) -> str:
    return f"{package.name} {package.version} {package.architecture}"


def _find_folder(root: Path, suite: Suite) -> Path:
    return root / ".hapkg" / "snapshots" / suite


def name_proof(root: Path, snapshot: Snapshot) -> Path:
    """Path of the InRelease that was published with a snapshot; an unsigned one has none."""
    return _name_file(root, snapshot).with_suffix(_PROOF)


def _name_file(root: Path, snapshot: Snapshot) -> Path:
    return _find_folder(root, snapshot.suite) / f"{snapshot.number:08}.json"


def _read_snapshot(file: Path) -> Snapshot:
    try:
        table = json.loads(read_file(file))
        if json.dumps(table.pop("format", _FORMAT)) != str(_FORMAT):
            raise RepositoryError(f"the snapshot {file} is of another version of hapkg", hint="use that version")
        snapshot = Snapshot(**{**table, "keys": tuple(table["keys"]), "indexes": dict(table["indexes"])})
        _check_types(snapshot)
        if (snapshot.suite, f"{snapshot.number:08}") != (file.parent.name, file.stem):
            raise ValueError(f"it says it is number {snapshot.number} of {snapshot.suite}")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RepositoryError(
            f"the snapshot {file} is damaged: {error}", hint="restore it from a copy, or remove it"
        ) from error
    for path, digest in snapshot.indexes.items():
        check_path(path, where=f"the snapshot {file}")
        check_digest(digest, where=f"the snapshot {file}")
    return snapshot


def _check_types(snapshot: Snapshot) -> None:
    """Raise TypeError or ValueError for a field that is of another kind than hapkg writes."""
    texts = (snapshot.suite, snapshot.made, snapshot.act, snapshot.by, *snapshot.keys)
    if type(snapshot.number) is not int or snapshot.number < 1 or not all(isinstance(text, str) for text in texts):
        raise TypeError("a field is of another type")
    if not all(isinstance(word, str) for pair in snapshot.indexes.items() for word in pair):
        raise TypeError("indexes must be digests by path")
    if not all(text.isprintable() for text in texts):
        raise ValueError("a field is not printable text")
    if snapshot.time.tzinfo is None:
        raise ValueError("made has no time zone")
