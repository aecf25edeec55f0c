"""Reader of .deb files (deb(5)): one member after the other, in blocks, within limits.

Archives that dpkg-deb writes by default are read here; it unpacks those of other compressions itself.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Self

from hapkg.control import split_stanzas
from hapkg.programs import process
from hapkg.programs.confinement import confine

BLOCK = 1 << 20
MOST_BYTES = 8 << 30
"""Most bytes of an archive, unpacked."""
MOST_MEMBERS = 200_000
MOST_TEXT = 16 << 20
"""Most bytes of one text: the control file, a script, a changelog."""
_MOST_MEMORY = 256 << 20
"""Most memory of xz; dpkg-deb needs a quarter of it at its highest level."""
_TEXT = re.compile(r"/doc/[^/]+/(changelog|changelog\.Debian|copyright)(\.gz)?\Z")

_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_TYPES: tuple[bytes, ...] = (
    tarfile.REGTYPE,
    tarfile.AREGTYPE,
    tarfile.CONTTYPE,
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.DIRTYPE,
)
_TYPES += (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)

Part = Literal["control", "data"]


@dataclass(frozen=True, kw_only=True)
class DebContent:
    """Files of a .deb, and the texts that policy asks for, "" where there is none."""

    files: tuple[str, ...]
    changelog: str
    copyright: str


def read_members(deb: Path, part: Part) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """Yield the members of one of a package's two archives, a file's with its content, to be read before the next.

    Names begin as the archive has them ("./usr"). Raises ValueError for a damaged package, and for one beyond
    MOST_BYTES or MOST_MEMBERS.
    """
    try:
        with deb.open("rb") as file, _open_part(file, deb, part) as archive:
            size = 0
            for count, member in enumerate(archive):
                size += member.size
                if count >= MOST_MEMBERS or size > MOST_BYTES:
                    raise ValueError(f"{deb} has more than {MOST_MEMBERS} files or {MOST_BYTES >> 30} GiB")
                yield member, archive.extractfile(member) if member.isfile() else None
                archive.members.clear()  # type: ignore[attr-defined] # it would keep every one
    except (EOFError, lzma.LZMAError, tarfile.TarError, zlib.error) as error:
        raise ValueError(f"{deb} cannot be read: {error}") from error


def read_text(content: IO[bytes]) -> bytes:
    """Read a member that is a text. Raises ValueError for one beyond MOST_TEXT."""
    text = content.read(MOST_TEXT + 1)
    if len(text) > MOST_TEXT:
        raise ValueError(f"a text has more than {MOST_TEXT >> 20} MiB")
    return text


def read_deb_control(deb: Path) -> Mapping[str, str]:
    """Read the control stanza of a .deb. Raises ValueError for a damaged one."""
    for member, content in read_members(deb, "control"):
        if member.name.removeprefix("./") == "control" and content is not None:
            return next(split_stanzas(read_text(content).decode("utf-8", "replace")), {})
    raise ValueError(f"{deb} has no control file")


def read_deb_content(deb: Path) -> DebContent:
    """Read what lies in a .deb. The changelog and the copyright file may be below any share/doc/PACKAGE/.

    Debian's changelog comes before upstream's, which has the other name where there are both. Raises ValueError for a
    damaged one.
    """
    texts = {"changelog": "", "changelog.Debian": "", "copyright": ""}
    files = []
    for member, content in read_members(deb, "data"):
        if member.isdir():
            continue
        files.append(member.name.removeprefix("."))
        match = _TEXT.search(member.name)
        if match and content:
            text = _unzip(content) if match[2] else read_text(content)
            texts[match[1]] = text.decode("utf-8", "replace")
    return DebContent(
        files=tuple(sorted(files)),
        changelog=texts["changelog.Debian"] or texts["changelog"],
        copyright=texts["copyright"],
    )


def _unzip(content: IO[bytes]) -> bytes:
    with gzip.open(content) as opened:
        try:
            return read_text(opened)  # type: ignore[arg-type]
        except OSError as error:  # BadGzipFile
            raise ValueError(f"a text cannot be unpacked: {error}") from error


@contextlib.contextmanager
def _open_part(file: IO[bytes], deb: Path, part: Part) -> Iterator[tarfile.TarFile]:
    found = _find_part(file, deb, part)
    with contextlib.ExitStack() as stack:
        if found is not None:
            stream: io.RawIOBase = _Unpacked(file, *found)
        else:
            stream = stack.enter_context(_ask_dpkg(deb, part))
        yield stack.enter_context(tarfile.open(fileobj=io.BufferedReader(stream, BLOCK), mode="r|", tarinfo=_Member))


def _find_part(file: IO[bytes], deb: Path, part: Part) -> tuple[int, bool] | None:
    """Go to the part's archive: its size, and whether xz packed it. None where something else did."""
    if file.read(8) != b"!<arch>\n":
        raise ValueError(f"{deb} is not a Debian package")
    while len(head := file.read(60)) == 60:
        name, size = head[:16].decode("ascii", "replace").rstrip().rstrip("/"), head[48:58].strip()
        if not size.isdigit() or file.tell() + int(size) > os.fstat(file.fileno()).st_size:
            raise ValueError(f"{deb} cannot be read: it ends too early")
        if name in (f"{part}.tar", f"{part}.tar.xz"):
            return int(size), name.endswith(".xz")
        if name.startswith(f"{part}.tar"):
            return None
        file.seek(int(size) + int(size) % 2, os.SEEK_CUR)
    raise ValueError(f"{deb} cannot be read: it has no {part}.tar")


class _Unpacked(io.RawIOBase):
    """The bytes of an archive within a file."""

    def __init__(self, file: IO[bytes], size: int, xz: bool) -> None:
        self._file, self._left, self._xz = file, size, xz
        self._unpacker: lzma.LZMADecompressor | None = None

    def readable(self) -> bool:
        """A stream to read."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Unpack as much as the buffer takes."""
        wanted = len(buffer)
        data = self._unpack(wanted) if self._xz else self._read(wanted)
        buffer[: len(data)] = data
        return len(data)

    def _read(self, most: int) -> bytes:
        data = self._file.read(min(most, self._left))
        self._left -= len(data)
        return data

    def _unpack(self, most: int) -> bytes:
        rest = b""
        while True:
            if self._unpacker is None or self._unpacker.eof:  # an archive may be several, one after the other
                rest = self._unpacker.unused_data if self._unpacker else b""
                while not (rest := rest.lstrip(b"\0")):  # what may lie between them
                    if not (rest := self._read(BLOCK)):
                        return b""
                self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)
            elif self._unpacker.needs_input:
                rest = self._read(BLOCK)
                if not rest:
                    raise EOFError("the archive ends too early")
            data = self._unpacker.decompress(rest, most)
            rest = b""
            if data:
                return data


@contextlib.contextmanager
def _ask_dpkg(deb: Path, part: Part) -> Iterator[io.RawIOBase]:
    """The archive as dpkg-deb unpacks it."""
    argv = ["dpkg-deb", {"control": "--ctrl-tarfile", "data": "--fsys-tarfile"}[part], str(deb)]
    reader, writer = os.pipe()
    with (
        io.FileIO(writer, "w") as sink,
        Path(os.devnull).open("r+b") as null,
        process.hold(confine(argv, readable=[deb]), stdin=null, stdout=sink, stderr=null) as child,
        io.FileIO(reader, "r") as source,  # closed first: dpkg-deb ends when nobody reads
    ):
        sink.close()
        yield source
        while source.read(BLOCK):
            pass
        if child.wait() != 0:
            raise ValueError(f"{deb} cannot be read: dpkg-deb failed")


class _Member(tarfile.TarInfo):
    """A member of a kind that dpkg knows, whose headers do not fill the memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> Self:
        if self.type in _LONG and self.size > MOST_TEXT:
            raise tarfile.ReadError("a name is too long")
        if self.type not in (*_LONG, *_TYPES):
            raise tarfile.ReadError(f"a member is of type {self.type!r}")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]
