"""Packages of Debian's archive as files: fetched by apt's own helper, and compared with apt's signed index each time.

What lies in the folder is believed for its digest alone, never for its name: a build, a disk or a hand may have changed
it since it was fetched. Sessions only read the folder.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote

from hapkg import disk
from hapkg.apt.settings import BASE, make_options
from hapkg.errors import FetchError, ProcessError
from hapkg.programs import process

_HELPER = "/usr/lib/apt/apt-helper"
_SETTINGS = {**BASE, "Acquire::Retries": "3"}
_URI = re.compile(r"^'(\S+)' (([^\s_/]+)_([^\s_/]+)_[^\s_/]+\.deb) (\d+) SHA256:([0-9a-f]{64})$", re.MULTILINE)
_SPARE = 1 << 20
"""Bytes that a download may have beyond the largest package that is fetched: apt says then what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A binary package of the archive, as apt's signed index tells of it."""

    version: str
    file: str
    """Its name in a folder of downloaded packages."""
    uri: str
    bytes: int
    sha256: str


def parse_uris(output: str) -> dict[str, Archive]:
    """Files, by package, that apt names with `--print-uris`, where it tells their SHA256."""
    return {
        name: Archive(version=unquote(version), file=file, uri=uri, bytes=int(size), sha256=sha256)
        for uri, file, name, version, size, sha256 in _URI.findall(output)
    }


def fetch_archives(archives: Collection[Archive], folder: Path, log: IO[bytes]) -> None:
    """Have all of these whole in a folder: those that are not are fetched anew.

    Raises ProcessError when apt cannot deliver one or the disk has no room for it, FetchError when what it delivers is
    another one.
    """
    missing = [archive for archive in archives if not is_whole(archive, folder)]
    if not missing:
        return
    wanted_bytes = sum(archive.bytes for archive in missing)
    if shutil.disk_usage(folder).free < wanted_bytes:  # apt only says that nothing was fetched
        raise ProcessError(
            f"{len(missing)} packages of the archive do not fit",
            details=[f"{folder}: {os.strerror(errno.ENOSPC)}: {wanted_bytes >> 20} MiB are wanted"],
        )
    scratch = disk.make_scratch(folder, ".new-")
    try:
        wanted = [word for a in missing for word in (a.uri, str(scratch / a.file), f"SHA256:{a.sha256}")]
        limit = max(archive.bytes for archive in missing) + _SPARE
        process.run(
            ["prlimit", f"--fsize={limit}", _HELPER, *make_options(_SETTINGS), "download-file", *wanted], log=log
        )
        for archive in missing:
            if not is_whole(archive, scratch):
                raise FetchError(
                    f"{archive.uri} is not the package that the archive's index names",
                    details=[f"sha256 {archive.sha256}, {archive.bytes} bytes"],
                    hint="run: hapkg chroot update; if it stays so, choose another archive with --mirror",
                )
            disk.settle(scratch / archive.file)
        disk.move({scratch / archive.file: folder / archive.file for archive in missing})
    finally:
        disk.remove_tree(scratch)


def is_whole(archive: Archive, folder: Path) -> bool:
    """Tell whether a package lies in a folder, as a regular file of its size and digest."""
    file = folder / archive.file
    try:
        regular = file.is_file() and not file.is_symlink()
        return regular and file.stat().st_size == archive.bytes and disk.sha256_file(file) == archive.sha256
    except OSError:
        return False
