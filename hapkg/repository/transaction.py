"""One change of a repository under its lock: staged beside what is published, then moved into place.

A publish prepares everything in .hapkg/staging, then moves it into place: pool, by-hash files, plain indexes, Release,
and at last InRelease; keyring, .sources and page follow, with the lock still held. apt follows InRelease to by-hash
files alone, so that a publish that is killed anywhere leaves what was published before.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from hapkg import disk
from hapkg.control import Suite
from hapkg.errors import MachineError, RepositoryError
from hapkg.repository import snapshots
from hapkg.repository.change import Publication, PublishTarget, RepositoryChange
from hapkg.repository.contents import ContentCache, write_changelogs
from hapkg.repository.ftparchive import Reading
from hapkg.repository.indexes import find_suites, name_by_hash, read_digests, read_pool, read_release
from hapkg.repository.keys.signing import SigningKey, export_key, find_key, strip_armor
from hapkg.repository.page import write_page
from hapkg.repository.paths import check_path, read_file
from hapkg.repository.remote.location import JOURNAL, LOCK, STAGING, WAIT_HINT
from hapkg.repository.sources_file import (
    ADDRESS,
    Identity,
    find_url,
    make_commands,
    make_sources,
    name_sources,
    write_sources,
)
from hapkg.repository.staging import sign_all, stage, stage_incoming
from hapkg.repository.trust import check_folders, check_key_may_be_made, check_state, check_writers


@contextlib.contextmanager
def open_transaction(target: PublishTarget) -> Iterator[Transaction]:
    """Hold the repository's lock for one change, once the remains of a killed publish are gone.

    What is staged is removed when the caller fails. Raises BusyError while another process publishes for longer than
    target.timeout, RepositoryError as check_target() does, MachineError when the repository cannot be written.
    """
    root = target.root
    check_target(target)
    with translate_errors(root):
        disk.make_folder((root / LOCK).parent)
        with disk.lock(root / LOCK, what=f"the repository {root}", hint=WAIT_HINT, timeout=target.timeout):
            check_folders(root)
            check_state(target)
            _clear(root)
            try:
                yield Transaction(target)
            except BaseException:
                _clear(root)
                raise
            _clear(root, complete=True)


def check_target(target: PublishTarget) -> None:
    """Raise RepositoryError for a repository that must not be changed so.

    Others could write in it, the secret key would lie inside, or a signed one would not be signed any more.
    """
    root, choice = target.root, target.choice
    check_writers(root, shared=target.shared)
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
    check_key_may_be_made(root, choice)


@contextlib.contextmanager
def translate_errors(root: Path) -> Iterator[None]:
    """Raise MachineError in place of an OSError."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise MachineError(
                f"a folder of the repository {root} lies on another file system",
                details=[str(name) for name in (error.filename, error.filename2) if name],
                hint="files come in by renames: keep pool, dists, changelogs and .hapkg on one file system",
            ) from error
        raise MachineError(
            f"the repository {root} cannot be written: {error.strerror or error}",
            details=[str(name) for name in (error.filename, error.filename2) if name],
            hint="what was published before is still in place; give room or rights and publish again",
        ) from error


class Transaction:
    """A repository whose lock is held; see open_transaction()."""

    def __init__(self, target: PublishTarget) -> None:
        self._target = target

    def commit(
        self,
        change: RepositoryChange,
        finish_reading: Callable[[], Reading] | None = None,
        key: SigningKey | None = None,
    ) -> Publication:
        """Publish a change; every suite is brought up to date with the target's identity and key.

        `finish_reading` gives the index entries of incoming packages, where apt-ftparchive reads them already; `key`
        is the target's, where it was found already. All but a failing disk is found before the first suite changes.
        """
        root, identity, incoming = self._target.root, self._target.identity, change.incoming
        others = [suite for suite in find_suites(root) if suite != change.ended and suite not in change.states]
        states = dict(sorted({**{suite: read_pool(root, suite).paths for suite in others}, **change.states}.items()))
        key = key or find_key(self._target.choice, owner=identity.key_owner)
        url = self._target.url or find_url(root, identity)
        reading = finish_reading() if finish_reading else None
        stage_incoming(root, incoming)
        releases = stage(root, states, change, identity, key, reading, url=url)
        sign_all(root, releases, key)
        armored = export_key(key, armored=True) if key.fingerprints else b""
        if armored:  # before what it signs: a kill between them leaves a key more, and no suite without its key
            _write_keyring(root / f"{identity.keyring}.gpg", armored)
        if releases or incoming.new:
            _put_in_place(root, releases, incoming.new, operation=change.operation, keys=key.fingerprints)
        if change.ended:
            _end_suite(root, change.ended, identity)
        sources = self._write_front(states, key, armored, url)
        (root / JOURNAL).unlink(missing_ok=True)  # all of it is published
        _remove(root, change)
        # Who published a suite is told of that one first.
        told = [suite for suite in states if suite in change.states and suite in releases]
        told = list(dict.fromkeys((*told, *change.states, *releases, *states)))
        if len(states) > 1:
            sources = tuple(root / name_sources(identity, suite) for suite in told)
        return Publication(
            added=tuple(incoming.new),
            present=incoming.present,
            written=tuple(suite for suite in told if suite in releases),
            unchanged=tuple(suite for suite in states if suite not in releases),
            key=key,
            keyring=root / f"{identity.keyring}.gpg",
            sources=sources,
            url=url,
            commands={
                suite: make_commands(url, root / name_sources(identity, suite), identity, read_pool(root, suite))
                for suite in told
                if suite in change.states or suite == told[0]
            },
        )

    def _write_front(self, suites: Collection[Suite], key: SigningKey, armored: bytes, url: str) -> tuple[Path, ...]:
        """Write the .sources files, changelogs and the page; return the .sources files."""
        root, identity = self._target.root, self._target.identity
        uri = url or f"file:{quote(str(root))}"
        stanzas = {suite: make_sources(uri, suite, armored.decode()) for suite in suites}
        with disk.Batch() as batch:
            sources = write_sources(root, identity, stanzas, batch)
            if url:
                batch.replace({root / ADDRESS: f"{url}\n".encode()})
            contents = ContentCache(root)
            write_changelogs(root, [read_pool(root, suite) for suite in suites] if url else (), contents, batch)
            write_page(root, identity, key.fingerprints, batch, contents)
        return sources


def _put_in_place(
    root: Path, suites: Iterable[Suite], new: Iterable[str], *, operation: str, keys: tuple[str, ...]
) -> None:
    """Move the staged state into place; each suite changes for apt at the very last of its renames.

    The journal, written first, names the pool files that come in, so that _clear() can take them out again if this
    never ends.
    """
    staging, journal = root / STAGING, root / JOURNAL
    disk.write(staging / "journal.new", "".join(f"{path}\n" for path in new).encode())
    disk.move({staging / "journal.new": journal})
    disk.move({staging / path: root / path for path in _join_folders(root, new)})
    for suite in suites:
        _put_suite_in_place(root, suite, operation, keys)
    with contextlib.suppress(MachineError):
        disk.remove_tree(root / ".hapkg/cache")  # of older versions


def _write_keyring(file: Path, armored: bytes) -> None:
    with disk.Batch() as batch:
        batch.replace({file: strip_armor(armored), file.with_suffix(".asc"): armored})


def _end_suite(root: Path, suite: Suite, identity: Identity) -> None:
    """Take a suite out of what is published, by one rename; a kill before it leaves the suite, and all but its file.

    The names of its packages stay taken, and its history says that it ended.
    """
    snapshots.note_end(root, suite)
    (root / name_sources(identity, suite)).unlink(missing_ok=True)
    disk.make_folder(root / STAGING)
    disk.move({root / "dists" / suite: root / STAGING / f"ended-{suite}"})


def _put_suite_in_place(root: Path, suite: Suite, operation: str, keys: tuple[str, ...]) -> None:
    source, target = root / STAGING / "dists" / suite, root / "dists" / suite
    digests = read_digests(read_release(source / "Release"))
    changes = {path: name_by_hash(path, digest) for path, digest in digests.items()}
    changes = {path: name for path, name in changes.items() if (source / name).exists()}
    with disk.Batch() as batch:
        batch.move({source / name: target / name for name in changes.values()})
        batch.move({source / path: target / path for path in changes})
        snapshots.add_snapshot(root, suite, operation, keys, digests, source / "InRelease", batch)
    with disk.Batch() as batch:
        for name in ("Release", "Release.gpg"):
            if (source / name).exists():
                batch.move({source / name: target / name})
    if (source / "InRelease").exists():
        disk.move({source / "InRelease": target / "InRelease"})
    snapshots.drop_generations(root, suite)


def _join_folders(root: Path, paths: Iterable[str]) -> list[str]:
    """The fewest renames that bring paths below root: whole folders where there is none yet."""
    known: dict[str, bool] = {}
    found: dict[str, None] = {}
    for path in paths:
        moved = path
        for end in [number for number, letter in enumerate(path) if letter == "/"]:
            folder = path[:end]
            if folder not in known:
                known[folder] = os.path.lexists(root / folder)
                if known[folder] and (root / folder).is_symlink():
                    raise RepositoryError(f"{root / folder} is no folder", hint="hapkg makes no links there: remove it")
            if not known[folder]:
                moved = folder
                break
        found[moved] = None
    return list(found)


def _remove(root: Path, change: RepositoryChange) -> None:
    """Remove what is no longer published: last, so that a kill leaves too much and never too little."""
    if change.digests:
        snapshots.add_removed(root, change.digests)
    for snapshot in change.forgotten:
        snapshots.forget_snapshot(root, snapshot)
    for path in change.removals:
        (root / path).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            (root / path).parent.rmdir()
    if change.forgotten:
        for suite in find_suites(root):
            snapshots.drop_generations(root, suite)


def _clear(root: Path, *, complete: bool = False) -> None:
    """Remove what is staged, and the pool files of a publish that did not come to its end.

    Its journal stays until everything is complete again: plain indexes may be those of the state that did not become
    real, and the journal tells who looks at them, whatever happens to this change in its turn.
    """
    snapshots.forget_unreal(root)
    staging, journal = root / STAGING, root / JOURNAL
    if journal.is_file():
        listed = {file.path for suite in find_suites(root) for file in read_pool(root, suite).files.values()}
        named = read_file(journal).decode("utf-8", "replace").splitlines()
        for path in [check_path(path, where=f"the journal {journal}", below="pool/") for path in named]:
            if path not in listed:
                (root / path).unlink(missing_ok=True)
    if journal.is_file() and not complete:
        for entry in staging.iterdir():
            if entry != journal:
                disk.remove_tree(entry)
    else:
        disk.remove_tree(staging)
