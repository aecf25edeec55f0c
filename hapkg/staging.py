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
        disk.make_folder((staging / path).parent)
        if file.is_relative_to(root / INCOMING):
            file.replace(staging / path)
        else:
            disk.copy(file, staging / path)
    changed = []
    for suite, paths in sorted(states.items()):
        for path in paths:
            if not os.path.lexists(staging / path):
                disk.make_folder((staging / path).parent)
                (staging / path).symlink_to(root / path)
        known = read_release(root / "dists" / suite / "InRelease").get("Architectures", "").split()
        architectures = sorted({*known, *find_architectures(paths)})
        make_indexes(staging, suite, paths, architectures=architectures, new=new)
        fields = {
            "Origin": identity.origin,
            "Label": identity.label,
            "Description": f"{identity.label} for {suite}",
            "Architectures": " ".join(architectures),
            "Components": " ".join(COMPONENTS),
        }
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


def _is_current(root: Path, suite: Suite, release: bytes, key: SigningKey, valid_days: int) -> bool:
    """Whether the suite is published just so already: the same but for the date, complete, signed by this key."""
    folder = root / "dists" / suite
    try:
        published = (folder / "Release").read_bytes()
        if _drop_dates(published) != _drop_dates(release) or _ends_soon(folder / "Release", valid_days):
            return False
        for path, digest in read_digests(read_release(folder / "Release")).items():
            if compute_digest(folder / path) != digest or compute_digest(folder / name_by_hash(path, digest)) != digest:
                return False
    except FileNotFoundError:
        return False
    same = read_release(folder / "InRelease") == read_release(folder / "Release")
    return (
        same and has_signed(key, folder / "InRelease") and has_signed(key, folder / "Release.gpg", folder / "Release")
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
