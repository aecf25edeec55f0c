"""The one check of every file, path and digest that is read in a repository, before anything follows it.

A repository lies where others may write: a bucket, a host, a shared folder. Names of objects, the journal, snapshots,
the list of removed files, Release files and indexes are therefore input. Nothing that they name may lead outside.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection
from pathlib import Path

from hapkg.errors import RepositoryError

_LONGEST = 1024
"""Characters of a path: as many as a store of objects takes for a key, fewer than a file system takes for a path."""
_LONGEST_PART = 250
"""Bytes of a part of a path: a file system takes 255, and a file has a longer name while it is written."""
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_OUTSIDE = re.compile(r"\A/|(?:\A|/)(?:\.{0,2})(?:/|\Z)")
"""Absolute, or with an empty part, `.` or `..`."""
_MOST_BYTES = 64 << 20
"""Bytes of a file that describes others, far more than hapkg writes into one."""
_ROOMS = ("pool/", "dists/", "changelogs/", ".hapkg/")
_LOOSE = re.compile(r"index\.html\Z|[^/]+\.sources\Z|[^/]+-archive-keyring\.(?:gpg|asc)\Z")
"""Files of a repository that lie in no folder."""


def is_inside(path: str) -> bool:
    """Tell whether a path stays below the folder it is joined to: relative, whole, printable, of sane length."""
    return (
        len(path) <= _LONGEST
        and path.isprintable()
        and not _OUTSIDE.search(path)
        and all(len(part.encode()) <= _LONGEST_PART for part in path.split("/"))
    )


def is_of_repository(path: str) -> bool:
    """Tell whether a safe path names a file that hapkg keeps in a repository; others are nobody's business."""
    return path.startswith(_ROOMS) or _LOOSE.match(path) is not None


def check_path(path: str, *, where: str, below: str = "") -> str:
    """Return a path that was read in a repository, if it stays inside it and below a folder of it, such as "pool/".

    where tells where the path was read, for the error. Raises RepositoryError.
    """
    if is_inside(path) and path.startswith(below):
        return path
    raise RepositoryError(
        f"{where} names {_show(path)}, which does not lie {f'below {below}' if below else 'inside the repository'}",
        hint="hapkg writes no such name: find out who else can write there, then restore the repository from a copy",
    )


def check_tree(paths: Collection[str], *, where: str) -> None:
    """Raise RepositoryError when a path is both a file and a folder of others, as objects of a bucket can be."""
    for path in paths:
        for end in [number for number, letter in enumerate(path) if letter == "/"]:
            if path[:end] in paths:
                raise RepositoryError(
                    f"{where} names {_show(path[:end])} as a file and as a folder",
                    hint="hapkg writes no such name: find out who else can write there, then remove it there",
                )


def check_digest(digest: str, *, where: str) -> str:
    """Return a SHA256 that was read in a repository, if it is one. Raises RepositoryError."""
    if _DIGEST.match(digest):
        return digest
    raise RepositoryError(
        f"{where} has {_show(digest)} in the place of a SHA256", hint="restore the repository from a copy"
    )


def read_file(file: Path, *, most: int = _MOST_BYTES) -> bytes:
    """Content of a file of a repository: a regular one, itself and no link to another, of at most so many bytes.

    Raises RepositoryError.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            state = os.fstat(descriptor)
            fault = "" if state.st_size <= most else f"has more than {most >> 20} MiB"
            fault = fault if stat.S_ISREG(state.st_mode) else "is no regular file"
            content = b"" if fault else opened.read(most + 1)
    except OSError as error:
        fault, content = f"cannot be read: {error.strerror}", b""
    if fault:
        raise RepositoryError(
            f"{file} {fault}", hint="hapkg writes no such file: find out who else can write there, then restore it"
        )
    return content


def _show(text: str) -> str:
    """A foreign name, short and printable."""
    shown = ascii(text)
    return shown if len(shown) <= 200 else f"{shown[:200]}…'"
