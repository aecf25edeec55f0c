"""Verification of a repository: signatures, indexes, packages, snapshots. Reads only, and believes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
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


_LOOKS = 5
"""Times that a repository is looked at while somebody else changes it."""


def verify_at_rest(
    open_root: Callable[[], AbstractContextManager[Path]], keyring: Path | None, memory: Memory | None = None
) -> Report:
    """Verify a repository that others may change meanwhile: a fault is one that every look finds.

    It is looked at again only where there are faults, and it is not as it was when it was looked at before.
    """
    faults: dict[str, None] | None = None
    before: object = None
    for _ in range(_LOOKS):
        with open_root() as root:
            state = _describe_state(root)
            report = verify(root, keyring, memory)
        found = dict.fromkeys(report.faults)
        faults = found if faults is None else {fault: None for fault in faults if fault in found}
        if not faults or state == before:
            break
        before = state
    return replace(report, faults=tuple(faults or ()))


def _describe_state(root: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, inodes and times of what every change changes."""
    found = []
    for kind in ("dists/*/InRelease", "dists/*/Release", ".hapkg/snapshots/*/*", ".hapkg/removed", JOURNAL):
        for file in sorted(root.glob(kind)):
            with contextlib.suppress(FileNotFoundError):
                state = file.stat()
                found.append((str(file.relative_to(root)), state.st_ino, state.st_mtime_ns))
    return tuple(found)


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
    lost: dict[str, str] = {}
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
                lost |= {
                    path: f"snapshot {snapshot.number} of {suite} lacks {path}" for path in find_missing(root, pool)
                }
        except RepositoryError as error:
            faults.append(error.brief)
    if between and not unfinished:
        unfinished.append("the last change has not come to its end")
    for path, digest in sorted(known.items()):
        if not (root / path).is_file():
            faults.append(f"{path} is missing from the pool")
        elif sha256_file(root / path) != digest:
            faults.append(f"{path} is not what its index says")
    removed = read_removed(root)  # last: a prune notes there what it removes, before it does
    faults += [fault for path, fault in lost.items() if path not in removed]
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
