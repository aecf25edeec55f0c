"""Verification of a repository: signatures, indexes, packages, snapshots. Reads only, and believes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hapkg.control import Suite
from hapkg.disk import sha256_file
from hapkg.errors import RepositoryError
from hapkg.repository.indexes import find_newest, find_suites, name_by_hash, read_digests, read_pool, read_release
from hapkg.repository.keys.signing import check_signature, list_fingerprints
from hapkg.repository.last_published import Memory
from hapkg.repository.remote.location import JOURNAL
from hapkg.repository.snapshots import find_missing, list_snapshots, read_removed, read_snapshot


@dataclass(frozen=True, kw_only=True)
class Report:
    """Findings of a verification, one sentence a fault; files of the pool that nothing publishes are none."""

    checked: int
    faults: tuple[str, ...]
    surplus: tuple[str, ...]
    unfinished: tuple[str, ...] = ()
    """Traces of a publish that runs, or was killed, between two states: a sentence each. apt reads around it."""
    keys: tuple[str, ...] = ()
    """Fingerprints of the keys whose signatures count."""


def verify(root: Path, keyring: Path | None, memory: Memory | None = None) -> Report:
    """Check everything that the keys of a keyring vouch for, down to the last byte of the packages.

    The keyring is never that of the repository, unless somebody names it: who changes the one can change the other.
    None where there is no key to check with: then every signature is a fault. A suite that the memory knows newer, or
    as a signed one, is a fault, too.
    """
    faults: list[str] = []
    unfinished: list[str] = []
    between = (root / JOURNAL).is_file()
    if memory is not None:
        unsigned = {suite for suite in find_suites(root) if not (root / "dists" / suite / "InRelease").is_file()}
        faults += [fault for suite, fault in memory.find_faults(root).items() if not between or suite not in unsigned]
    known: dict[str, str] = {}
    removed = read_removed(root)
    for suite in find_suites(root):
        if between and not is_unsigned(root) and not (root / "dists" / suite / "InRelease").is_file():
            unfinished.append(f"dists/{suite} is not published yet")
            continue
        faults += _find_faults(root, suite, keyring)
        (unfinished if between else faults).extend(_find_differences(root, suite, keyring))
        try:
            known |= {file.path: file.digest for file in read_pool(root, suite).files.values()}
            for snapshot in list_snapshots(root, suite)[:-1]:
                pool = read_snapshot(root, snapshot)
                known |= {f.path: f.digest for f in pool.files.values() if (root / f.path).exists()}
                lost = [path for path in find_missing(root, pool) if path not in removed]
                faults += [f"snapshot {snapshot.number} of {suite} lacks {path}" for path in lost]
        except RepositoryError as error:
            faults.append(error.brief)
    for path, digest in sorted(known.items()):
        if not (root / path).is_file():
            faults.append(f"{path} is missing from the pool")
        elif sha256_file(root / path) != digest:
            faults.append(f"{path} is not what its index says")
    present = {str(file.relative_to(root)) for file in (root / "pool").rglob("*") if file.is_file()}
    return Report(
        checked=len(known),
        faults=tuple(dict.fromkeys(faults)),
        surplus=tuple(sorted(present - known.keys())),
        unfinished=tuple(unfinished),
        keys=list_fingerprints(keyring) if keyring else (),
    )


def is_unsigned(root: Path) -> bool:
    """Tell whether a repository was never signed: it has neither a key nor a signature."""
    return not any(next(root.glob(kind), None) for kind in ("*-archive-keyring.gpg", "dists/*/InRelease"))


def _find_faults(root: Path, suite: Suite, keyring: Path | None) -> list[str]:
    """Faults of what apt reads: the newest Release file, and the indexes that it names by hash."""
    folder = root / "dists" / suite
    faults = [] if is_unsigned(root) else _find_bad_signatures(root, suite, keyring, "InRelease")
    for path, digest in read_digests(read_release(find_newest(root, suite))).items():
        faults += _find_other_bytes(folder, name_by_hash(path, digest), digest)
    return faults


def _find_differences(root: Path, suite: Suite, keyring: Path | None) -> list[str]:
    """Differences of the files with plain names, for readers other than apt, from those that apt reads."""
    folder, release = root / "dists" / suite, read_release(find_newest(root, suite))
    faults = [] if is_unsigned(root) else _find_bad_signatures(root, suite, keyring, "Release.gpg", "Release")
    if release != read_release(folder / "Release"):
        faults.append(f"dists/{suite}/Release is not what InRelease says")
    for path, digest in read_digests(release).items():
        faults += _find_other_bytes(folder, path, digest)
    return faults


def _find_bad_signatures(root: Path, suite: Suite, keyring: Path | None, *names: str) -> list[str]:
    if keyring and check_signature(keyring, *(root / "dists" / suite / name for name in names)):
        return []
    return [f"dists/{suite}/{names[0]} carries no good signature of the keys it is checked with"]


def _find_other_bytes(folder: Path, name: str, digest: str) -> list[str]:
    if (folder / name).is_file() and sha256_file(folder / name) == digest:
        return []
    return [f"dists/{folder.name}/{name} is missing, or is not what InRelease says"]
