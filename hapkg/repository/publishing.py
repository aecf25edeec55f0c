"""The apt repository: pool/, dists/, signatures, and what users need to trust it.

    pool/SUITE/main/h/ha-corosync/…      packages and sources; a file once published never changes
    pool/SUITE/debug/h/ha-corosync/…     debug symbols, a component of their own
    dists/SUITE/                         Release, Release.gpg, InRelease; indexes with by-hash
    dists/SUITE/evidence/                SBOM, VEX, provenance and rebuilds: documents/names.py
    ORIGIN-archive-keyring.gpg, .asc     the public key
    NAME-SUITE.sources, NAME.sources     ready for /etc/apt/sources.list.d
    changelogs/main/h/ha-corosync/…      what `apt changelog` shows of packages that are not installed
    index.html                           the page for people
    .hapkg/                              lock, staging, snapshots; not for users

Every operation decides on a RepositoryChange in a transaction, and commits it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hapkg import disk
from hapkg.control import Suite
from hapkg.errors import RepositoryError
from hapkg.repository.change import Preview, Publication, PublishTarget, RepositoryChange
from hapkg.repository.documents.suite import Claims
from hapkg.repository.indexes import find_suites, read_pool
from hapkg.repository.keyring_package import make_keyring
from hapkg.repository.keys.signing import SigningKey, find_key
from hapkg.repository.snapshots import Snapshot, find_missing, find_snapshot, read_snapshot
from hapkg.repository.staging import read_ahead
from hapkg.repository.transaction import check_target, open_transaction, translate_errors
from hapkg.repository.trust import check_snapshot
from hapkg.repository.upload import Upload, accept, copy_incoming, find_package_files, name_suite

_SUITE = re.compile(r"[a-z]+(?:-[a-z0-9]+)?")


def publish_with_keyring(
    target: PublishTarget,
    uploads: Sequence[Upload],
    suites: Sequence[Suite],
    *,
    package: str,
    pocket: str = "",
    claims: Mapping[Suite, Claims] | None = None,
) -> Publication:
    """Publish uploads and, for each suite, the package of that name with the keys that sign; see publish()."""
    check_target(target)
    key = find_key(target.choice, owner=target.identity.key_owner)
    with tempfile.TemporaryDirectory(prefix="hapkg-keyring-") as scratch:
        keyrings = [
            make_keyring(
                target.root,
                Path(scratch),
                name=package,
                suite=suite,
                identity=target.identity,
                choice=target.choice,
                key=key,
            )
            for suite in suites
            if key.fingerprints
        ]
        return publish(target, [*uploads, *keyrings], pocket=pocket, key=key, claims=claims)


def publish(
    target: PublishTarget,
    uploads: Sequence[Upload],
    *,
    pocket: str = "",
    key: SigningKey | None = None,
    claims: Mapping[Suite, Claims] | None = None,
) -> Publication:
    """Add uploads to a repository, which is made when missing; write only what changes.

    Every suite that is published already is brought up to date too, with the target's identity and key. With a pocket,
    packages built for SUITE are published as SUITE-POCKET. `key` is the target's, where it was found already. `claims`
    are what is known of the uploads, by the suite that they were built for.

    Raises RepositoryError when an upload contradicts the pool or itself, when there is nothing to publish, or when the
    secret key lies inside the repository; BusyError while another publish runs for longer than target.timeout;
    MachineError when the repository cannot be written or the clock is wrong. Whatever happens, apt sees each suite as
    it was or as it is to be; all but a failing disk is found before the first suite changes.
    """
    root = target.root
    check_target(target)
    with (
        translate_errors(root),
        disk.Batch() as batch,
        copy_incoming(root, uploads, batch) as copied,
        read_ahead(root, copied, pocket, batch) as finish_reading,
        open_transaction(target) as transaction,
    ):
        pools = {suite: read_pool(root, suite) for suite in find_suites(root)}
        if not pools and not uploads:
            raise RepositoryError("there is nothing to publish", hint="build something first: hapkg build")
        incoming = accept(root, copied, pools.values())
        states = {name_suite(suite, pocket): paths for suite, paths in incoming.wanted.items()}
        states = {suite: paths | (pools[suite].paths if suite in pools else set()) for suite, paths in states.items()}
        known = {name_suite(suite, pocket): told for suite, told in (claims or {}).items()}
        change = RepositoryChange(operation="publish", states=states, incoming=incoming, claims=known)
        return transaction.commit(change, finish_reading, key)


def preview(root: Path, uploads: Sequence[Upload], *, pocket: str = "") -> Preview:
    """Find what publishing uploads would add to a repository. Changes nothing; the keyring's own package is left out.

    Raises RepositoryError as publish() does when an upload contradicts the pool or itself.
    """
    with translate_errors(root):
        pools = {suite: read_pool(root, suite) for suite in find_suites(root)}
        whole = [replace(upload, files=tuple(find_package_files(upload))) for upload in uploads]
        incoming = accept(root, whole, pools.values())
    wanted = {name_suite(suite, pocket): paths for suite, paths in incoming.wanted.items()}
    news = {suite: sorted(paths - (pools[suite].paths if suite in pools else set())) for suite, paths in wanted.items()}
    return Preview(added=tuple(incoming.new), suites={suite: tuple(paths) for suite, paths in news.items()})


def rollback(target: PublishTarget, suite: Suite, number: int) -> Publication:
    """Make a suite what it was in a snapshot. Raises RepositoryError when that, or a package of it, is gone."""
    with open_transaction(target) as transaction:
        snapshot = find_snapshot(target.root, suite, number)
        check_snapshot(target, snapshot)
        paths = _find_paths(target.root, snapshot)
        return transaction.commit(
            RepositoryChange(
                operation=f"rollback to {number}", states={suite: paths}, base_indexes={suite: snapshot.indexes}
            )
        )


def promote(target: PublishTarget, source: Suite, suite: Suite, number: int | None = None) -> Publication:
    """Add to a suite all that another one, `source`, offers now or in a snapshot; what the suite has stays.

    Raises RepositoryError when the suites are not of the same Debian release (bookworm-testing, bookworm), or when the
    other one would have a name that `publish` gives to none.
    """
    if not _SUITE.fullmatch(suite):
        raise RepositoryError(
            f"{suite[:100]!a} is no name of a suite",
            hint="name a release, or a release with a pocket of small letters and digits: bookworm, bookworm-testing",
        )
    if source == suite or source.partition("-")[0] != suite.partition("-")[0]:
        raise RepositoryError(
            f"{source} cannot be promoted to {suite}",
            hint="promote between suites of one release: bookworm-testing to bookworm",
        )
    with open_transaction(target) as transaction:
        snapshot = find_snapshot(target.root, source, number)
        check_snapshot(target, snapshot)
        paths = _find_paths(target.root, snapshot) | read_pool(target.root, suite).paths
        return transaction.commit(
            RepositoryChange(operation=f"promote {source} {snapshot.number}", states={suite: paths})
        )


def refresh(target: PublishTarget) -> Publication:
    """Sign every suite anew, with a new Date and Valid-Until. No new snapshot: the packages stay as they are."""
    with open_transaction(target) as transaction:
        return transaction.commit(RepositoryChange(operation="refresh", states={}, renew=True))


def drop(target: PublishTarget, suite: Suite) -> Publication:
    """End a suite: out of dists, .sources files and page at once. Its packages go with the next prune.

    Raises RepositoryError when it is not published, or is the only one.
    """
    with open_transaction(target) as transaction:
        suites = find_suites(target.root)
        if suite not in suites:
            raise RepositoryError(
                f"suite {suite[:100]!a} is not in the repository {target.root}",
                hint=f"published suites: {', '.join(suites) or 'none'}",
            )
        if len(suites) == 1:
            raise RepositoryError(
                f"{suite} is the only suite of the repository {target.root}",
                hint="to end a repository, remove its folder; or publish another suite first",
            )
        return transaction.commit(RepositoryChange(operation="drop", states={}, ended=suite))


def _find_paths(root: Path, snapshot: Snapshot) -> frozenset[str]:
    """Pool paths of a snapshot. Raises RepositoryError when one is missing."""
    pool = read_snapshot(root, snapshot)
    if missing := find_missing(root, pool):
        raise RepositoryError(
            f"snapshot {snapshot.number} of {snapshot.suite} is not complete: {missing[0]} is missing from the pool",
            details=[f"also: {path}" for path in missing[1:]],
            hint="choose another snapshot: hapkg repo list",
        )
    return pool.paths
