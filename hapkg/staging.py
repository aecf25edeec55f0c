"""The next state of a repository, made beside the published one: new pool files, indexes, signed Release files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

from hapkg import disk
from hapkg.client import Identity
from hapkg.control import Suite
from hapkg.errors import MachineError
from hapkg.indexes import (
    COMPONENTS,
    compute_digest,
    find_architectures,
    make_indexes,
    make_release,
    name_by_hash,
    read_digests,
    read_pool,
    read_release,
)
from hapkg.signing import SigningKey, has_signed, sign
from hapkg.upload import INCOMING

_PRIVATE = ".hapkg"


def stage(
    root: Path,
    states: Mapping[Suite, frozenset[str]],
    new: Mapping[str, Path],
    *,
    identity: Identity,
    key: SigningKey,
    renew: bool,
) -> tuple[Suite, ...]:
    """Make everything of the next state in the staging folder: new pool files, indexes, signed Release files.

    Returns the suites that differ from what is published.
    """
    staging = root / _PRIVATE / "staging"
    cache = root / _PRIVATE / "cache"
    disk.make_folder(staging)
    for file in cache.glob("*.db"):  # work on copies: a database cut short by a kill is never seen again
        disk.copy(file, staging / "cache" / file.name)
    for path, file in new.items():
        (staging / path).parent.mkdir(parents=True, exist_ok=True)
        if file.is_relative_to(root / INCOMING):
            file.replace(staging / path)
        else:
            disk.copy(file, staging / path)
    changed = []
    _link_pool(root / "pool", staging / "pool")
    for suite, paths in sorted(states.items()):
        known = read_release(root / "dists" / suite / "InRelease").get("Architectures", "").split()
        architectures = sorted({*known, *find_architectures(paths)})
        fields = {
            "Origin": identity.origin,
            "Label": identity.label,
            "Description": f"{identity.label} for {suite}",
            "Architectures": " ".join(architectures),
            "Components": " ".join(COMPONENTS),
        }
        if not renew and paths.isdisjoint(new) and _is_same(root, suite, paths, fields, key, identity.valid_days):
            continue
        make_indexes(staging, suite, paths, architectures=architectures, new=new)
        if identity.valid_days:
            fields["ValidTime"] = str(identity.valid_days * 86400)
        release = make_release(staging, suite, fields)
        if not renew and _is_current(root, suite, release, key, identity.valid_days):
            continue
        _check_clock(root, suite, release)
        folder = staging / "dists" / suite
        for path, digest in read_digests(read_release(staging / f"Release-{suite}")).items():
            disk.copy(folder / path, folder / name_by_hash(path, digest))
            disk.settle(folder / path)
        signed, signature = sign(key, staging / f"Release-{suite}")
        for name, content in (("Release", release), ("Release.gpg", signature), ("InRelease", signed)):
            disk.write(folder / name, content)
        disk.make_newer(folder / "InRelease", root / "dists" / suite / "InRelease")
        changed.append(suite)
    return tuple(changed)


def _link_pool(pool: Path, staged: Path) -> None:
    """Let the staged pool lead to all that is published, by few links: whole folders where nothing new lies in them."""
    if not pool.is_dir():
        return
    if not staged.is_dir():
        disk.make_folder(staged.parent)
        staged.symlink_to(pool)
        return
    with os.scandir(pool) as entries:
        for entry in entries:
            if not os.path.lexists(staged / entry.name):
                (staged / entry.name).symlink_to(entry.path)
            elif entry.is_dir():
                _link_pool(Path(entry.path), staged / entry.name)


def _is_same(
    root: Path, suite: Suite, paths: frozenset[str], fields: Mapping[str, str], key: SigningKey, valid_days: int
) -> bool:
    """Whether the suite is published just so already; told without making its indexes."""
    published = read_release(root / "dists" / suite / "Release")
    return (
        published.keys() - {"Date", "Valid-Until", "SHA256"} == {*fields, "Suite", "Codename", "Acquire-By-Hash"}
        and all(published[name] == value for name, value in fields.items())
        and ("Valid-Until" in published) == (valid_days > 0)
        and read_pool(root, suite).paths == paths
        and all((root / path).is_file() for path in paths)
        and _is_complete(root, suite, key, valid_days)
    )


def _is_current(root: Path, suite: Suite, release: bytes, key: SigningKey, valid_days: int) -> bool:
    """Whether the suite is published just so already: the same but for the date, complete, signed by this key."""
    file = root / "dists" / suite / "Release"
    same = file.is_file() and _drop_dates(file.read_bytes()) == _drop_dates(release)
    return same and _is_complete(root, suite, key, valid_days)


def _is_complete(root: Path, suite: Suite, key: SigningKey, valid_days: int) -> bool:
    """Whether all that the suite's Release file names is there, and signed by this key for long enough."""
    folder = root / "dists" / suite
    if read_release(folder / "InRelease") != read_release(folder / "Release"):
        return False
    try:
        for path, digest in read_digests(read_release(folder / "Release")).items():
            if compute_digest(folder / path) != digest or compute_digest(folder / name_by_hash(path, digest)) != digest:
                return False
    except FileNotFoundError:
        return False
    return (
        not _ends_soon(folder / "Release", valid_days)
        and has_signed(key, folder / "InRelease")
        and has_signed(key, folder / "Release.gpg", folder / "Release")
    )


def _drop_dates(release: bytes) -> bytes:
    return re.sub(rb"^(Date|Valid-Until): .*\n", rb"\1:\n", release, flags=re.MULTILINE)


def _ends_soon(release: Path, valid_days: int) -> bool:
    """Whether less than half of the time is left for which apt trusts a Release file."""
    end = read_release(release).get("Valid-Until")
    return bool(end) and parsedate_to_datetime(str(end)) - datetime.now(UTC) < timedelta(days=valid_days / 2)


def _check_clock(root: Path, suite: Suite, release: bytes) -> None:
    """apt ignores, without a word, an InRelease that is older than the one it has."""
    before = read_release(root / "dists" / suite / "InRelease").get("Date")
    now = next(line[6:] for line in release.decode().splitlines() if line.startswith("Date: "))
    if before and parsedate_to_datetime(now) < parsedate_to_datetime(before):
        raise MachineError(
            f"the clock of this machine is wrong: it says {now}, and suite {suite} was published at {before}",
            hint="set the clock; apt ignores a repository that grows older",
        )
