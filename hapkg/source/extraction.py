"""Extraction of a tarball that others made. unpack.py runs this file alone, confined: it imports nothing of hapkg.

Name, kind, number, depth and size are judged member by member before anything is written. Only files, folders and links
come out, with modes of our own: no set-id bit, nothing that others may write.
"""

from __future__ import annotations

import errno
import lzma
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

HOSTILE, DAMAGED, MACHINE = 3, 4, 5
"""Exit statuses: a member that no release needs, bytes that are no archive, a disk that does not take it."""
FAULTS = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, lzma.LZMAError, zlib.error)
_OF_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE)
"""Errors that say nothing of the tarball."""
_LATEST = (1 << 32) - 1


def extract(stream: IO[bytes], members: int, levels: int, size: int) -> tuple[int, str]:
    """Extract a tarball into the current folder, within these limits: 0, or a status of the above and the reason."""
    try:
        with tarfile.open(fileobj=stream) as archive:
            Extraction(archive, Path(), members, levels, size).run()
    except HostileError as fault:
        return HOSTILE, str(fault)
    except FAULTS as error:
        if isinstance(error, OSError) and error.errno in _OF_MACHINE:
            return MACHINE, str(error.errno)
        return DAMAGED, ascii(str(error))[1:-1]
    return 0, ""


class HostileError(Exception):
    """A member that no release of a source needs; what the tarball does, as a sentence without its subject."""


class Extraction:
    """One tarball on its way to a folder."""

    def __init__(self, archive: tarfile.TarFile, target: Path, members: int, levels: int, size: int) -> None:
        self._archive, self._target = archive, target
        self._most_members, self._most_levels, self._most_bytes = members, levels, size
        self._members, self._size = 0, 0
        self._links: set[PurePosixPath] = set()
        """Symbolic links, through which no later member may be written."""
        self._files: set[PurePosixPath] = set()
        """Regular files, the only targets of hard links."""
        self._folders = {PurePosixPath()}

    def run(self) -> None:
        """Write every member. Raises HostileError before the first one that must not be written."""
        while (member := self._archive.next()) is not None:
            path = self._judge(member)
            if path.parts:
                self._write(member, path)
            self._archive.members = []  # type: ignore[attr-defined]  # it would keep a million of them

    def _judge(self, member: tarfile.TarInfo) -> PurePosixPath:
        """The member's path below the target."""
        path, shown = PurePosixPath(member.name), ascii(member.name)
        self._members += 1
        self._size += max(member.size, 0)
        if self._members > self._most_members:
            raise HostileError(f"holds more than {self._most_members:,} members")
        if self._size > self._most_bytes:
            raise HostileError(f"holds more than {self._most_bytes:,} bytes")
        if len(path.parts) > self._most_levels:
            raise HostileError(f"holds folders more than {self._most_levels} levels deep")
        if path.is_absolute() or ".." in path.parts:
            raise HostileError(f"holds a name that leads out of it: {shown}")
        if not self._links.isdisjoint(path.parents):
            raise HostileError(f"holds a name that leads through a link: {shown}")
        if member.ischr() or member.isblk() or member.isfifo():
            raise HostileError(f"holds a {'FIFO' if member.isfifo() else 'device'}: {shown}")
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            raise HostileError(f"holds a member of an unknown kind: {shown}")
        if member.islnk() and PurePosixPath(member.linkname) not in self._files:
            raise HostileError(f"holds a hard link to what is no file of it: {shown}")
        return path

    def _write(self, member: tarfile.TarInfo, path: PurePosixPath) -> None:
        """Write one member that was found harmless, in place of an earlier one of its name."""
        if member.isdir():
            self._make_folder(path)
            return
        self._make_folder(path.parent)
        file = self._target / path
        if member.islnk() and PurePosixPath(member.linkname) == path:
            return
        file.unlink(missing_ok=True)
        self._links.discard(path)
        self._files.discard(path)
        if member.issym():
            file.symlink_to(member.linkname)
            self._links.add(path)
            return
        self._files.add(path)
        if member.islnk():
            file.hardlink_to(self._target / PurePosixPath(member.linkname))
            return
        with file.open("xb") as out:
            if (content := self._archive.extractfile(member)) is not None:
                shutil.copyfileobj(content, out, 1 << 20)
            os.fchmod(out.fileno(), 0o755 if member.mode & 0o100 else 0o644)
        mtime = min(max(member.mtime, 0), _LATEST)
        os.utime(file, (mtime, mtime))

    def _make_folder(self, path: PurePosixPath) -> None:
        """Make a folder and those above it, each with the same mode whatever the umask."""
        for folder in (*reversed(path.parents), path):
            if folder not in self._folders:
                (self._target / folder).mkdir()
                (self._target / folder).chmod(0o755)
                self._folders.add(folder)
