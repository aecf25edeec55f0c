"""Places of a build cache: a folder, or an address that is only read. Paths in it are hapkg's own, never read there."""

from __future__ import annotations

import filecmp
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from hapkg import disk
from hapkg.errors import FetchError, UsageError
from hapkg.repository.remote.location import parse_location
from hapkg.source.origins.tarball import download

_BLOCK = 1 << 20
_ABSENT = re.compile(r"answers (404|410) ")


class Place(Protocol):
    """A build cache that can be read."""

    def read(self, path: str, target: Path, most_bytes: int) -> bool:
        """Copy a file into a new one; False when it is absent. Raises FetchError, also for more bytes than these."""


class WebPlace:
    """A folder that a web server offers."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")

    def __str__(self) -> str:
        return self._address

    def read(self, path: str, target: Path, most_bytes: int) -> bool:
        """See Place."""
        try:
            download(f"{self._address}/{path}", target, most_bytes=most_bytes)
        except FetchError as error:
            target.unlink(missing_ok=True)
            if _ABSENT.search(error.brief):
                return False
            raise
        return True


class FolderPlace:
    """A folder of this machine, or of one that is mounted here. It can be written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def read(self, path: str, target: Path, most_bytes: int) -> bool:
        """See Place. Links are not followed: others may write in the folder."""
        try:
            descriptor = os.open(self._folder / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise FetchError(f"{self._folder / path} cannot be read: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as opened, target.open("wb") as copy:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FetchError(f"{self._folder / path} is no regular file")
            size = 0
            while block := opened.read(_BLOCK):
                size += copy.write(block)
                if size > most_bytes:
                    raise FetchError(f"{self._folder / path} has more than {most_bytes:,} bytes")
        return True

    def write(self, path: str, file: Path) -> None:
        """Put a file at a path, whole and on the disk; one of the same content only counts as used just now."""
        target = self._folder / path
        if target.is_file() and not target.is_symlink() and filecmp.cmp(file, target, shallow=False):
            os.utime(target)
            return
        disk.make_folder(target.parent)
        new = target.with_name(f".new-{os.getpid()}-{target.name}")
        try:
            with file.open("rb") as source, new.open("xb") as copy:
                while block := source.read(_BLOCK):
                    copy.write(block)
            disk.sync(new)
            disk.move({new: target})
        finally:
            new.unlink(missing_ok=True)

    def list(self, folder: str) -> Iterator[tuple[str, float]]:
        """Paths of all files below a folder, and when each was written or used last, in seconds since 1970."""
        for file in sorted((self._folder / folder).rglob("*")):
            found = file.lstat()
            if stat.S_ISREG(found.st_mode):
                yield str(file.relative_to(self._folder)), found.st_mtime

    def touch(self, path: str) -> None:
        """Date a file of now: it counts as pushed just now."""
        os.utime(self._folder / path, follow_symlinks=False)

    def remove(self, path: str) -> None:
        """Remove a file."""
        (self._folder / path).unlink(missing_ok=True)


def find_place(text: str, base: Path) -> FolderPlace | WebPlace:
    """The place that an option or a setting names; a relative folder is below base. Raises UsageError."""
    if re.match(r"https?://[^/]", text):
        return WebPlace(text)
    location = parse_location(text, base)
    if not isinstance(location, Path):
        raise UsageError(f"{text!r} is no place for a build cache", hint="name a folder, or an https address")
    return FolderPlace(location)
