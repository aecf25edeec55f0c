"""Whether a repository is whole: signatures, indexes, packages, snapshots. Reads only, and believes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hapkg.control import Suite
from hapkg.errors import RepositoryError
from hapkg.history import find_missing, list_snapshots, read_removed, read_snapshot
from hapkg.indexes import compute_digest, find_newest, find_suites, name_by_hash, read_digests, read_pool, read_release
from hapkg.signing import check_signature


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found: one sentence a fault; files of the pool that nothing publishes are none."""

    checked: int
    faults: tuple[str, ...]
    surplus: tuple[str, ...]


def verify(root: Path) -> Report:
    """Check everything that the repository's own keyring vouches for, down to the last byte of its packages."""
    faults: list[str] = []
    known: dict[str, str] = {}
    removed = read_removed(root)
    for suite in find_suites(root):
        faults += _find_faults(root, suite)
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
        elif compute_digest(root / path) != digest:
            faults.append(f"{path} is not what its index says")
    present = {str(file.relative_to(root)) for file in (root / "pool").rglob("*") if file.is_file()}
    return Report(
        checked=len(known), faults=tuple(dict.fromkeys(faults)), surplus=tuple(sorted(present - known.keys()))
    )


def is_unsigned(root: Path) -> bool:
    """Whether a repository was never signed: it has neither a key nor a signature."""
    return not any(next(root.glob(kind), None) for kind in ("*-archive-keyring.gpg", "dists/*/InRelease"))


def _find_faults(root: Path, suite: Suite) -> list[str]:
    """Faults of the signatures and indexes of a suite."""
    folder = root / "dists" / suite
    faults = []
    keyrings = sorted(root.glob("*-archive-keyring.gpg"))
    newest = find_newest(root, suite)
    for files in (("InRelease",), ("Release.gpg", "Release")):
        if not is_unsigned(root) and not any(
            check_signature(keyring, *(folder / name for name in files)) for keyring in keyrings
        ):
            faults.append(f"dists/{suite}/{files[0]} carries no good signature of the repository's own key")
    if read_release(newest) != read_release(folder / "Release"):
        faults.append(f"dists/{suite}/Release is not what InRelease says")
    for path, digest in read_digests(read_release(newest)).items():
        for name in (path, name_by_hash(path, digest)):
            if not (folder / name).is_file() or compute_digest(folder / name) != digest:
                faults.append(f"dists/{suite}/{name} is missing, or is not what InRelease says")
    return faults
