"""Upstream's tarball becomes a tree: the module that unpacks bytes that others made, and trusts none of them.

Name, kind, number, depth and size are judged member by member before anything is written. Only files, folders and links
come out, with modes of hapkg's own: no set-id bit, nothing that others may write.
"""

from __future__ import annotations

import errno
import lzma
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from hapkg import process
from hapkg.errors import SourceError
from hapkg.recipe.model import Recipe

MOST_MEMBERS = 1_000_000
MOST_LEVELS = 100
MOST_BYTES = 10_000_000_000

_DAMAGED = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, lzma.LZMAError, zlib.error)
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE)
"""Errors that say nothing of the tarball."""
_LATEST = (1 << 32) - 1


def unpack(recipe: Recipe, tarball: Path, tree: Path) -> None:
    """Unpack the tarball's one folder as the tree, an empty folder.

    Raises SourceError for a tarball that is damaged, hostile or holds anything but one folder, OSError when the disk
    cannot take it.
    """
    scratch = tree.with_name(".unpacked")
    scratch.mkdir(0o755)
    try:
        with tarfile.open(tarball) as archive:
            _Extraction(archive, scratch).run()
    except _HostileError as fault:
        raise SourceError(
            f"{recipe.source}: the tarball {fault}",
            hint="its checksum matches the recipe, so upstream's own file is so: look at it before you trust the rest",
        ) from None
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno in _MACHINE:
            raise
        raise SourceError(
            f"{recipe.source}: the tarball cannot be unpacked",
            details=[ascii(str(error))[1:-1]],
            hint="its checksum matches the recipe, so upstream's file itself is damaged: pin another",
        ) from error
    found = sorted(scratch.iterdir())
    if len(found) != 1 or found[0].is_symlink() or not found[0].is_dir():
        raise SourceError(
            f"{recipe.source}: the tarball does not hold one folder with everything in it",
            details=[f"found: {', '.join(ascii(entry.name)[1:-1] for entry in found[:5]) or 'nothing'}"],
            hint="pin upstream's release tarball",
        )
    found[0].rename(tree)
    scratch.rmdir()


class _HostileError(Exception):
    """A member that no release of a source needs; what the tarball does, as a sentence without its subject."""


class _Extraction:
    """One tarball on its way to a folder."""

    def __init__(self, archive: tarfile.TarFile, target: Path) -> None:
        self._archive, self._target = archive, target
        self._members, self._size = 0, 0
        self._links: set[PurePosixPath] = set()
        """Symbolic links, through which no later member may be written."""
        self._files: set[PurePosixPath] = set()
        """Regular files, the only targets of hard links."""
        self._folders = {PurePosixPath()}

    def run(self) -> None:
        """Write every member. Raises _HostileError before the first one that must not be written."""
        while (member := self._archive.next()) is not None:
            process.check_stop()
            path = self._judge(member)
            if path.parts:
                self._write(member, path)
            self._archive.members = []  # type: ignore[attr-defined]  # it would keep a million of them

    def _judge(self, member: tarfile.TarInfo) -> PurePosixPath:
        """The member's path below the target."""
        path, shown = PurePosixPath(member.name), ascii(member.name)
        self._members += 1
        self._size += max(member.size, 0)
        if self._members > MOST_MEMBERS:
            raise _HostileError(f"holds more than {MOST_MEMBERS:,} members")
        if self._size > MOST_BYTES:
            raise _HostileError(f"holds more than {MOST_BYTES:,} bytes")
        if len(path.parts) > MOST_LEVELS:
            raise _HostileError(f"holds folders more than {MOST_LEVELS} levels deep")
        if path.is_absolute() or ".." in path.parts:
            raise _HostileError(f"holds a name that leads out of it: {shown}")
        if not self._links.isdisjoint(path.parents):
            raise _HostileError(f"holds a name that leads through a link: {shown}")
        if member.ischr() or member.isblk() or member.isfifo():
            raise _HostileError(f"holds a {'FIFO' if member.isfifo() else 'device'}: {shown}")
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            raise _HostileError(f"holds a member of an unknown kind: {shown}")
        if member.islnk() and PurePosixPath(member.linkname) not in self._files:
            raise _HostileError(f"holds a hard link to what is no file of it: {shown}")
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
