"""Digest of a binary package as a build that uses it sees it: unchanged while nothing that matters to it changed.

Left out is what tells when, from what and under which number a package was made, and what no user can depend on: its
version wherever its own relations repeat it, the changelog and the SBOM, the checksums and the size that follow from
the files, and in every ELF file the build-id and the debug link, which change with a comment. docs/decisions/0008 has
the reasons.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
import shutil
import struct
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hapkg.control import split_stanzas
from hapkg.deb import BLOCK, read_members, read_text
from hapkg.errors import BuildError
from hapkg.records import digest_json

CONTENT_FORMAT = 1
"""Raised when the digests below change for the same package."""
_DERIVED_FIELDS = ("Version", "Installed-Size", "Build-Ids")
_DERIVED_MEMBERS = ("control", "md5sums")
_ABOUT = re.compile(r"/doc/[^/]+/(changelog\.Debian|sbom\.cdx\.json)(\.gz)?\Z")
_MARKED_SECTIONS = (b".note.gnu.build-id", b".gnu_debuglink")
_OWN_VERSION = "${own:Version}"


@dataclass(frozen=True, kw_only=True)
class Content:
    """One binary package as its users see it."""

    digest: str
    depends: str
    """Its Pre-Depends and Depends, as one field."""


def read_content(deb: Path) -> Content:
    """Digest and dependencies of a .deb as a build sees them. Raises BuildError when it is damaged."""
    try:
        (stanza, scripts), files = _read_control(deb), _read_files(deb)
    except (ValueError, StopIteration) as error:
        raise BuildError(f"{deb.name} is damaged", details=[str(error)]) from error
    fields = {
        name: _forget_version(value, stanza["Version"]) for name, value in stanza.items() if name not in _DERIVED_FIELDS
    }
    whole = {
        "format": CONTENT_FORMAT,
        "fields": fields,
        "scripts": scripts,
        "files": files,
    }
    depends = ", ".join(filter(None, (stanza.get("Pre-Depends"), stanza.get("Depends"))))
    return Content(digest=digest_json(whole), depends=depends)


def clear_marks(content: bytearray | mmap.mmap) -> None:
    """Overwrite the build-id and the debug link of an ELF file with zeros; leave anything else and damaged files alone.

    Little-endian files alone, which is what the suites' architectures have.
    """
    if content[:6] not in (b"\x7fELF\x02\x01", b"\x7fELF\x01\x01"):
        return
    wide = content[4] == 2
    try:
        offset, size, count, names = (
            (*struct.unpack_from("<Q", content, 0x28), *struct.unpack_from("<HHH", content, 0x3A))
            if wide
            else (*struct.unpack_from("<I", content, 0x20), *struct.unpack_from("<HHH", content, 0x2E))
        )
        layout = "<II16xQQ" if wide else "<II8xII"  # name, kind, place in the file, length
        sections = [struct.unpack_from(layout, content, offset + number * size) for number in range(count)]
        table = bytes(content[sections[names][2] : sections[names][2] + sections[names][3]])
    except (struct.error, IndexError, OverflowError):
        return
    for name, _, start, length in sections:
        if any(table[name:][: len(mark) + 1] in (mark, mark + b"\0") for mark in _MARKED_SECTIONS):
            end = min(start + length, len(content))
            content[start:end] = bytes(max(0, end - start))


def _forget_version(value: str, version: str) -> str:
    """The value of a field without the package's own version, which pins between packages of one source repeat."""
    return re.sub(rf"(?<![\w.+~:-]){re.escape(version)}(?![\w.+~:-])", _OWN_VERSION, value)


def _read_control(deb: Path) -> tuple[Mapping[str, str], dict[str, list[str]]]:
    """The control stanza, and what tells the scripts beside it: facts and digest by path."""
    stanza: Mapping[str, str] = {}
    scripts = {}
    for member, content in read_members(deb, "control"):
        path = _make_path(member)
        if path == "/control" and content is not None:
            stanza = next(split_stanzas(read_text(content).decode("utf-8", "replace")))
        elif path[1:] not in _DERIVED_MEMBERS:
            scripts[path] = _describe(member, content)
    return stanza, scripts


def _read_files(deb: Path) -> dict[str, list[str]]:
    """Facts and digest of each file of a package, by path."""
    found = {_make_path(member): _describe(member, content) for member, content in read_members(deb, "data")}
    return {path: facts for path, facts in found.items() if not _ABOUT.search(path)}


def _make_path(member: tarfile.TarInfo) -> str:
    return "/" + member.name.removeprefix("./").strip("/.") if member.isdir() else "/" + member.name[2:]


def _describe(member: tarfile.TarInfo, content: IO[bytes] | None) -> list[str]:
    """Kind, mode, owner and link of a member, and the digest of its content without marks."""
    facts = [
        member.type.decode(),
        f"{member.mode:o}",
        member.uname,
        member.gname,
        member.linkname,
        f"{member.devmajor}:{member.devminor}",
    ]
    return [json.dumps(facts), _digest(content)]


def _digest(content: IO[bytes] | None) -> str:
    digest = hashlib.sha256()
    block = content.read(BLOCK) if content else b""
    if content is None or not block.startswith(b"\x7fELF"):
        while content and block:
            digest.update(block)
            block = content.read(BLOCK)
        return digest.hexdigest()
    with tempfile.TemporaryFile() as file:
        file.write(block)
        shutil.copyfileobj(content, file, BLOCK)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
            clear_marks(mapped)
            digest.update(mapped)
    return digest.hexdigest()
