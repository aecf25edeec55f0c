"""Upstream's part of Debian's versions, and its order."""

from __future__ import annotations

import re

from hapkg.control import compare_versions


def upstream_of(version: str) -> str:
    """Upstream's part of a Debian version, without epoch, revision and marks of a repacked tarball."""
    bare = version.partition(":")[2] or version
    upstream = bare.rpartition("-")[0] or bare
    return re.sub(r"[+~.](ds|dfsg|repack)[0-9.]*$", "", upstream)


def is_between(version: str, since: str | None, until: str | None) -> bool:
    """True for a version of upstream that is not before since, and before until."""
    started = since is None or compare_upstream(since, version) <= 0
    return started and (until is None or compare_upstream(version, until) < 0)


def compare_upstream(left: str, right: str) -> int:
    """-1, 0 or 1: versions of upstream, which may hold hyphens, in Debian's order."""
    return compare_versions(f"{left}-0", f"{right}-0")
