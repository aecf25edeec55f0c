"""A repository elsewhere, changed here: fetched into a folder, changed there, and carried back in an order that keeps
it whole for apt at every moment.

    journal          the pool files that come in, and those that go: if this never ends, whoever works on the
                     repository next removes of them what nothing publishes
    pool, by-hash    under names that nothing refers to yet; changelogs
    Packages, …      the same under plain names, for what knows no by-hash
    snapshots        so that what becomes real has its history; and names of what was removed, which stay taken
    keyring          before what its keys sign
    Release          for what does not read InRelease
    InRelease        from here on apt sees the new state; each is one rename, or one object
    the rest         .sources, page
    removals         what the change has removed here
    journal          is removed

The lock is held over all of it, so that the change is decided on what it replaces.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from hapkg import disk
from hapkg.locations import State
from hapkg.repository.remote.location import (
    JOURNAL,
    OWN,
    WAIT_HINT,
    BucketFolder,
    HostFolder,
    Location,
    Remote,
    name_mirror,
)
from hapkg.repository.remote.s3 import Bucket
from hapkg.repository.remote.ssh import Host

_ORDER = (
    r"pool/|dists/.*/by-hash/|changelogs/",
    r"dists/[^/]+/.+/|\.hapkg/(snapshots/|removed\Z)|[^/]+-archive-keyring\.",
    r"dists/[^/]+/Release",
    r"dists/[^/]+/InRelease\Z",
    r"",
)
"""The stages of an upload: a path belongs to the first one that it begins with."""

_Look = dict[str, tuple[int, int, int]]


@contextmanager
def open_repository(location: Location, state: State, *, change: bool, timeout: float = 0) -> Iterator[Path]:
    """The repository as a folder, to look at or to change; a change elsewhere becomes real when the caller is done.

    Nothing becomes real when the caller fails. Raises BusyError when another one changes it for longer than timeout,
    in seconds.
    """
    if isinstance(location, Path):
        yield location
        return
    remote = _find_remote(location)
    mirror = state.repositories / name_mirror(location)
    disk.make_folder(mirror)
    owner = (
        f"{os.getpid()} of {getpass.getuser()} on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    )
    with (
        disk.lock(
            mirror.with_name(f"{mirror.name}.lock"), what=f"the copy of {location}", hint=WAIT_HINT, timeout=timeout
        ),
        remote.open(owner=owner, change=change, timeout=timeout),
    ):
        remote.fetch(mirror)
        before = _look(mirror)
        yield mirror
        if change:
            _carry(remote, mirror, before)


def sort_stages(paths: set[str]) -> list[list[str]]:
    """Paths by the stage in which they are uploaded."""
    stages: list[list[str]] = [[] for _ in _ORDER]
    for path in sorted(paths):
        stages[next(number for number, start in enumerate(_ORDER) if re.match(start, path))].append(path)
    return stages


def _find_remote(location: HostFolder | BucketFolder) -> Remote:
    return Host(location) if isinstance(location, HostFolder) else Bucket(location)


def _carry(remote: Remote, mirror: Path, before: _Look) -> None:
    after = _look(mirror)
    changed = {path for path, look in after.items() if before.get(path) != look}
    gone = before.keys() - after.keys()
    if not changed and not gone:
        return
    new = changed - before.keys()
    passing = sorted(path for path in new | gone if path.startswith("pool/"))
    disk.write(mirror / JOURNAL, "".join(f"{path}\n" for path in passing).encode())
    remote.store(mirror, [JOURNAL])
    for stage in sort_stages(changed):
        if stage:
            remote.store(mirror, stage)
    for stage in reversed(sort_stages(gone)):
        if stage:
            remote.remove(stage)
    remote.remove([JOURNAL])
    (mirror / JOURNAL).unlink()


def _look(mirror: Path) -> _Look:
    """Inode, size and time of every file, by path: they tell one that was replaced. Without this machine's own."""
    found: _Look = {}
    for file in mirror.rglob("*"):
        path = str(file.relative_to(mirror))
        if not path.startswith(OWN) and file.is_file():
            state = file.stat()
            found[path] = (state.st_ino, state.st_size, state.st_mtime_ns)
    return found
