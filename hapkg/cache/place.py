"""Places of a build cache: who can be read, who can be written, and which one a setting names.

Paths below a place are hapkg's own; whatever is read there, names of listed files too, is input.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from hapkg import disk
from hapkg.cache.bucket import BucketPlace
from hapkg.cache.host import HostPlace
from hapkg.errors import FetchError, UsageError
from hapkg.repository.remote.location import BucketFolder, HostFolder, parse_location
from hapkg.source.origins.tarball import download

FORMS = "name a folder, HOST:FOLDER, ssh://USER@HOST:PORT/FOLDER, s3://BUCKET/PREFIX or an https address"
_BLOCK = 1 << 20
_ABSENT = re.compile(r"answers (404|410) ")


class Place(Protocol):
    """A build cache that can be read, by several threads at once. Whatever fails is a FetchError."""

    def read(self, path: str, target: Path, most_bytes: int) -> bool:
        """Copy a file into a new one; False when it is absent. Raises FetchError, also for more bytes than these."""


@runtime_checkable
class WritablePlace(Place, Protocol):
    """A build cache that can be written, by several threads, processes and machines at once."""

    def write(self, path: str, file: Path) -> None:
        """Put a file at a path, whole and to stay; one of the same content only counts as used just now."""

    def holds(self, path: str, sha256: str, size: int) -> bool:
        """Tell whether a file is there and has this content, as far as the place can say without sending it here."""

    def list(self, folder: str) -> Iterator[tuple[str, float]]:
        """Paths of all files below a folder, and when each was written or used last, in seconds since 1970."""

    def touch(self, path: str) -> None:
        """Date a file of now: it counts as pushed just now. One that is absent stays so."""

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""


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
    """A folder of this machine, or of one that is mounted here."""

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
        """See WritablePlace."""
        target = self._folder / path
        if self.holds(path, disk.sha256_file(file), file.stat().st_size):
            self.touch(path)
            return
        new = target.with_name(f".new-{secrets.token_hex(8)}-{target.name}")
        with self._translate_errors(path):
            disk.make_folder(target.parent)
            try:
                with file.open("rb") as source, new.open("xb") as copy:
                    while block := source.read(_BLOCK):
                        copy.write(block)
                disk.sync(new)
                disk.move({new: target})
            finally:
                new.unlink(missing_ok=True)

    def holds(self, path: str, sha256: str, size: int) -> bool:
        """See WritablePlace. The file is read."""
        target = self._folder / path
        try:
            return not target.is_symlink() and target.stat().st_size == size and disk.sha256_file(target) == sha256
        except OSError:
            return False

    def list(self, folder: str) -> Iterator[tuple[str, float]]:
        """See WritablePlace."""
        for file in sorted((self._folder / folder).rglob("*")):
            try:
                found = file.lstat()
            except FileNotFoundError:  # removed while we looked
                continue
            if stat.S_ISREG(found.st_mode):
                yield str(file.relative_to(self._folder)), found.st_mtime

    def touch(self, path: str) -> None:
        """See WritablePlace."""
        with self._translate_errors(path):
            os.utime(self._folder / path, follow_symlinks=False)

    def remove(self, path: str) -> None:
        """See WritablePlace."""
        with self._translate_errors(path):
            (self._folder / path).unlink(missing_ok=True)

    @contextmanager
    def _translate_errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            pass
        except OSError as error:
            raise FetchError(
                f"{self._folder / path} cannot be written: {error.strerror}",
                hint="see whether the folder is yours to write in, and has space",
            ) from error


def find_place(text: str, base: Path) -> Place:
    """The place that an option or a setting names; a relative folder is below base. Raises UsageError."""
    if match := re.match(r"https?://([^/]+)", text):
        if "@" in match[1]:
            raise UsageError(
                f"the address of the build cache on {match[1].rpartition('@')[2]!r} has a name or a password in it",
                hint="leave them out: a build cache is signed, and need not be secret",
            )
        return WebPlace(text)
    try:
        location = parse_location(text, base)
    except UsageError as error:
        raise UsageError(f"{text!r} is no place for a build cache", hint=FORMS) from error
    if isinstance(location, HostFolder):
        return HostPlace(location)
    return BucketPlace(location) if isinstance(location, BucketFolder) else FolderPlace(location)


def find_writable(text: str, base: Path) -> WritablePlace:
    """The place that can be written of a name as find_place() takes it. Raises UsageError."""
    place = find_place(text, base)
    if not isinstance(place, WritablePlace):
        raise UsageError(
            f"the build cache {place} is only read", hint="name the folder, host or bucket that the server offers"
        )
    return place
