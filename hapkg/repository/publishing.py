"""The apt repository: pool/, dists/, signatures, and what users need to trust it.

    pool/SUITE/main/h/ha-corosync/…      packages and sources; a file once published never changes
    pool/SUITE/debug/h/ha-corosync/…     debug symbols, a component of their own
    dists/SUITE/                         Release, Release.gpg, InRelease; indexes with by-hash
    ORIGIN-archive-keyring.gpg, .asc     the public key
    NAME-SUITE.sources, NAME.sources     ready for /etc/apt/sources.list.d
    index.html                           the page for people
    .hapkg/                              lock, staging, snapshots; not for users

A publish prepares everything in .hapkg/staging, then moves it into place: pool, by-hash files, plain indexes, Release,
and at last InRelease; keyring, .sources and page follow, with the lock still held. apt follows InRelease to by-hash
files alone, so that a publish that is killed anywhere leaves what was published before.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from hapkg import disk
from hapkg.control import Suite
from hapkg.errors import MachineError, RepositoryError
from hapkg.repository import snapshots
from hapkg.repository.ftparchive import Reading
from hapkg.repository.indexes import (
    Pool,
    find_suites,
    name_by_hash,
    read_digests,
    read_pool,
    read_release,
)
from hapkg.repository.keys.signing import KeyChoice, SigningKey, export_key, find_key, strip_armor
from hapkg.repository.page import write_page
from hapkg.repository.paths import check_path
from hapkg.repository.remote.location import PATIENCE
from hapkg.repository.snapshots import Snapshot, find_snapshot, read_snapshot
from hapkg.repository.sources_file import Identity, find_url, make_sources, write_sources
from hapkg.repository.staging import read_ahead, sign_all, stage, take_in
from hapkg.repository.upload import NOTHING, Arrival, Upload, bring, sort_files

__all__ = ["Identity", "KeyChoice", "Pool", "Publication", "Upload", "make_sources", "publish", "read_pool"]

_PRIVATE = ".hapkg"


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What one publish did. Pool files are named by their path below the repository, index files not at all."""

    added: tuple[str, ...]
    present: tuple[str, ...]
    """Uploaded again with the same bytes."""
    written: tuple[Suite, ...]
    """Suites with a new InRelease."""
    unchanged: tuple[Suite, ...]
    key: SigningKey
    keyring: Path
    sources: tuple[Path, ...]
    """The .sources files, the one to recommend first."""
    url: str = ""
    """Where nodes reach the repository; "" in its folder alone."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A repository, and how to publish into it."""

    root: Path
    identity: Identity
    choice: KeyChoice
    url: str = ""
    """Where users will find the repository; "": where they did until now, or else in root itself (file:)."""
    patience: float = 0
    """Seconds to wait for another one who publishes."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """The next state of some suites, by pool paths. Other suites stay as they are."""

    act: str
    """What is done, for the history."""
    states: Mapping[Suite, frozenset[str]]
    arrival: Arrival = NOTHING
    begin: Mapping[Suite, Mapping[str, str]] = field(default_factory=dict)
    """Indexes that are those of the next state, or nearer to them than what is published: digests by path."""
    surplus: tuple[str, ...] = ()
    """Pool files that are removed afterwards."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA256 of those of them whose names stay taken."""
    forgotten: tuple[Snapshot, ...] = ()
    renew: bool = False
    """Sign every suite anew, even one that does not change."""


def publish(
    root: Path,
    uploads: Sequence[Upload],
    *,
    identity: Identity,
    key: KeyChoice,
    url: str = "",
    pocket: str = "",
    patience: float = 0,
) -> Publication:
    """Add the uploads to the repository at root, which is made when missing; write only what changes.

    Every suite that is published already is brought up to date too, with the identity and the key given. url is where
    users will find the repository, see Site. With a pocket, what was built for SUITE is published as SUITE-POCKET.

    Raises RepositoryError when an upload contradicts the pool or itself, when there is nothing to publish, or when the
    secret key lies inside the repository; BusyError while another publish runs for longer than patience, in seconds;
    MachineError when root cannot be written or the clock is wrong. Whatever happens, apt sees each suite as it was or
    as it is to be; all but a failing disk is found before the first suite changes.
    """

    def decide() -> Change:
        pools = {suite: read_pool(site.root, suite) for suite in find_suites(site.root)}
        if not pools and not uploads:
            raise RepositoryError("there is nothing to publish", hint="build something first: hapkg build")
        arrival = sort_files(site.root, brought, pools.values())
        states = {
            target: paths | (pools[target].paths if target in pools else frozenset())
            for target, paths in ((_add_pocket(suite, pocket), paths) for suite, paths in arrival.wanted.items())
        }
        return Change(act="publish", states=states, arrival=arrival)

    site = Site(root=root.absolute(), identity=identity, choice=key, url=url, patience=patience)
    check_choice(site.root, site.choice)
    with (
        _blaming_the_disk(site.root),
        disk.Batch() as batch,
        bring(site.root, uploads, batch) as brought,
        read_ahead(site.root, brought, lambda suite: _add_pocket(suite, pocket), batch) as read,
    ):
        return change(site, decide, read)


def rollback(site: Site, suite: Suite, number: int) -> Publication:
    """Make a suite what it was in a snapshot. Raises RepositoryError when that, or a package of it, is gone."""

    def decide() -> Change:
        snapshot = find_snapshot(site.root, suite, number)
        paths = _find_paths(site.root, snapshot)
        return Change(act=f"rollback to {number}", states={suite: paths}, begin={suite: snapshot.indexes})

    return change(site, decide)


def promote(site: Site, source: Suite, target: Suite, number: int | None = None) -> Publication:
    """Add to a suite all that another one offers now, or in a snapshot; what the target has stays.

    Raises RepositoryError when the suites are not of the same Debian release: bookworm-testing, bookworm.
    """
    if source == target or source.partition("-")[0] != target.partition("-")[0]:
        raise RepositoryError(
            f"{source} cannot be promoted to {target}",
            hint="promote between suites of one release: bookworm-testing to bookworm",
        )

    def decide() -> Change:
        snapshot = find_snapshot(site.root, source, number)
        paths = _find_paths(site.root, snapshot) | read_pool(site.root, target).paths
        return Change(act=f"promote {source} {snapshot.number}", states={target: paths})

    return change(site, decide)


def _find_paths(root: Path, snapshot: Snapshot) -> frozenset[str]:
    """The pool paths of a snapshot, all there."""
    pool = read_snapshot(root, snapshot)
    if missing := snapshots.find_missing(root, pool):
        raise RepositoryError(
            f"snapshot {snapshot.number} of {snapshot.suite} is not whole: {missing[0]} is missing from the pool",
            details=[f"also: {path}" for path in missing[1:]],
            hint="choose another snapshot: hapkg repo list",
        )
    return pool.paths


def refresh(site: Site) -> Publication:
    """Sign every suite anew, with a new Date and Valid-Until. No new snapshot: the packages stay as they are."""
    return change(site, lambda: Change(act="refresh", states={}, renew=True))


def change(site: Site, decide: Callable[[], Change], read: Callable[[], Reading] | None = None) -> Publication:
    """Publish what decide gives; it is asked with the lock held, after the remains of a killed publish are gone.

    read gives what apt-ftparchive says of what was brought, if it was asked.
    """
    root, choice = site.root, site.choice
    check_choice(root, choice)
    with _blaming_the_disk(root):
        disk.make_folder(root / _PRIVATE)
        with disk.lock(root / _PRIVATE / "lock", what=f"the repository {root}", hint=PATIENCE, timeout=site.patience):
            _clear(root)
            try:
                publication = _publish(site, decide(), read)
            except BaseException:
                _clear(root)
                raise
            _clear(root, whole=True)
            return publication


def check_choice(root: Path, choice: KeyChoice) -> None:
    """Raise RepositoryError when the secret key lies, or would lie, inside the repository, or none may be missing."""
    if choice.unsigned:
        if signed := sorted(root.glob("dists/*/InRelease")):
            raise RepositoryError(
                f"suite {signed[0].parent.name} of {root} is signed, and would not be any more",
                hint="every node would refuse it; publish what is not signed into another repository",
            )
        return
    if choice.folder.is_relative_to(root.resolve()):
        raise RepositoryError(
            f"the secret key would lie inside the repository: {choice.folder}",
            hint="keep keys outside what is published",
        )


@contextlib.contextmanager
def _blaming_the_disk(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MachineError(
            f"the repository {root} cannot be written: {error.strerror or error}",
            details=[str(name) for name in (error.filename, error.filename2) if name],
            hint="what was published before is still in place; give room or rights and publish again",
        ) from error


def _add_pocket(suite: Suite, pocket: str) -> Suite:
    return Suite(f"{suite}-{pocket}") if pocket else suite


def _publish(site: Site, change: Change, read: Callable[[], Reading] | None) -> Publication:
    root, identity, arrival = site.root, site.identity, change.arrival
    published = {suite: read_pool(root, suite).paths for suite in find_suites(root) if suite not in change.states}
    states = dict(sorted({**published, **change.states}.items()))
    key = find_key(site.choice, owner=identity.key_owner)
    url = site.url or find_url(root)
    reading = read() if read else None
    take_in(root, arrival)
    releases = stage(
        root, states, arrival, identity=identity, key=key, renew=change.renew, begin=change.begin, reading=reading
    )
    sign_all(root, releases, key)
    armored = export_key(key, armored=True) if key.fingerprints else b""
    if releases or arrival.new:
        _put_in_place(root, releases, arrival.new, act=change.act, keys=key.fingerprints)
    uri = url or f"file:{quote(str(root))}"
    stanzas = {suite: make_sources(uri, suite, armored.decode()) for suite in states}
    with disk.Batch() as batch:
        if armored:
            keyring = root / f"{identity.keyring}.gpg"
            batch.replace({keyring: strip_armor(armored), keyring.with_suffix(".asc"): armored})
        sources = write_sources(root, identity, stanzas, batch)
        write_page(root, identity, key.fingerprints, batch)
    _remove(root, change)
    return Publication(
        added=tuple(arrival.new),
        present=arrival.present,
        written=tuple(releases),
        unchanged=tuple(suite for suite in states if suite not in releases),
        key=key,
        keyring=root / f"{identity.keyring}.gpg",
        sources=sources,
        url=url,
    )


def _put_in_place(root: Path, suites: Iterable[Suite], new: Iterable[str], *, act: str, keys: tuple[str, ...]) -> None:
    """Move the staged state into place; each suite changes for apt at the very last of its renames.

    The journal, written first, names the pool files that come in, so that _clear() can take them out again if this
    never ends.
    """
    staging = root / _PRIVATE / "staging"
    disk.write(staging / "journal.new", "".join(f"{path}\n" for path in new).encode())
    disk.move({staging / "journal.new": staging / "journal"})
    disk.move({staging / path: root / path for path in _join_folders(root, new)})
    for suite in suites:
        source, target = staging / "dists" / suite, root / "dists" / suite
        digests = read_digests(read_release(source / "Release"))
        changes = {path: name_by_hash(path, digest) for path, digest in digests.items()}
        changes = {path: name for path, name in changes.items() if (source / name).exists()}
        with disk.Batch() as batch:
            batch.move({source / name: target / name for name in changes.values()})
            batch.move({source / path: target / path for path in changes})
            snapshots.add_snapshot(root, suite, act, keys, digests, batch)
        with disk.Batch() as batch:
            for name in ("Release", "Release.gpg"):
                if (source / name).exists():
                    batch.move({source / name: target / name})
        if (source / "InRelease").exists():
            disk.move({source / "InRelease": target / "InRelease"})
        snapshots.drop_generations(root, suite)
    shutil.rmtree(root / _PRIVATE / "cache", ignore_errors=True)  # apt-ftparchive's, which nothing reads any more
    (staging / "journal").unlink()  # all of it is published


def _read_journal(journal: Path) -> list[str]:
    """The pool files that a publish brought, as it noted them."""
    return journal.read_text("utf-8", "replace").splitlines()


def _join_folders(root: Path, paths: Iterable[str]) -> list[str]:
    """The fewest renames that bring paths below root: whole folders where there is none yet."""
    kinds: dict[str, bool] = {}
    found: dict[str, None] = {}
    for path in paths:
        place = path
        for end in [number for number, letter in enumerate(path) if letter == "/"]:
            folder = path[:end]
            if folder not in kinds:
                kinds[folder] = os.path.lexists(root / folder)
            if not kinds[folder]:
                place = folder
                break
        found[place] = None
    return list(found)


def _remove(root: Path, change: Change) -> None:
    """Remove what is no longer published: last, so that a kill leaves too much and never too little."""
    if change.digests:
        snapshots.add_removed(root, change.digests)
    for snapshot in change.forgotten:
        snapshots.forget_snapshot(root, snapshot)
    for path in change.surplus:
        (root / path).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            (root / path).parent.rmdir()
    if change.forgotten:
        for suite in find_suites(root):
            snapshots.drop_generations(root, suite)


def _clear(root: Path, *, whole: bool = False) -> None:
    """Remove what is staged, and the pool files of a publish that did not come to its end.

    Its journal stays until everything is whole again: plain indexes may be those of the state that did not become real,
    and the journal tells who looks at them, whatever happens to this act in its turn.
    """
    snapshots.forget_unreal(root)
    staging = root / _PRIVATE / "staging"
    journal = staging / "journal"
    if journal.is_file():
        listed = {file.path for suite in find_suites(root) for file in read_pool(root, suite).files.values()}
        where = f"the journal {journal}"
        named = [check_path(path, where=where, below="pool/") for path in _read_journal(journal)]
        for path in named:
            if path not in listed:
                (root / path).unlink(missing_ok=True)
    if journal.is_file() and not whole:
        for entry in staging.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != journal:
                entry.unlink()
    elif staging.exists():
        shutil.rmtree(staging)
