"""Digest of a binary package as a build that uses it sees it: unchanged while nothing that matters to it changed.

Left out is what tells when, from what and under which number a package was made, and what no user can depend on: its
version wherever its own relations repeat it, the changelog, the checksums and the size that follow from the files, and
in every ELF file the build-id and the debug link, which change with a comment. docs/decisions/0011 has the reasons.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hapkg import process
from hapkg.control import split_stanzas

CONTENT_FORMAT = 1
"""Raised when the digests below change for the same package."""
_DERIVED_FIELDS = ("Version", "Installed-Size", "Build-Ids")
_DERIVED_MEMBERS = ("control", "md5sums")
_CHANGELOG = re.compile(r"/doc/[^/]+/changelog\.Debian(\.gz)?\Z")
_MARKED_SECTIONS = (b".note.gnu.build-id", b".gnu_debuglink")
_OWN_VERSION = "${own:Version}"


@dataclass(frozen=True, kw_only=True)
class Content:
    """One binary package as its users see it."""

    digest: str
    depends: str
    """Its Pre-Depends and Depends, as one field."""


def read_content(deb: Path) -> Content:
    """Digest and dependencies of a .deb as a build sees them. Raises ProcessError when it is damaged."""
    control = _read_members(deb, "--ctrl-tarfile")
    stanza = next(split_stanzas(control["/control"]["content"].decode("utf-8", "replace")))
    fields = {
        name: _forget_version(value, stanza["Version"]) for name, value in stanza.items() if name not in _DERIVED_FIELDS
    }
    scripts = {path: member for path, member in control.items() if path[1:] not in _DERIVED_MEMBERS}
    files = {p: m for p, m in _read_members(deb, "--fsys-tarfile").items() if not _CHANGELOG.search(p)}
    whole = {
        "format": CONTENT_FORMAT,
        "fields": fields,
        "scripts": {path: _describe(member) for path, member in scripts.items()},
        "files": {path: _describe(member) for path, member in files.items()},
    }
    depends = ", ".join(filter(None, (stanza.get("Pre-Depends"), stanza.get("Depends"))))
    return Content(digest=hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest(), depends=depends)


def normalize_elf(content: bytes) -> bytes:
    """An ELF file with zeros for its build-id and debug link; anything else, and a damaged file, as it is."""
    if not content.startswith(b"\x7fELF\x02\x01") and not content.startswith(b"\x7fELF\x01\x01"):
        return content  # what the suites' architectures have is little-endian
    wide = content[4] == 2
    try:
        offset, size, count, names = (
            (*struct.unpack_from("<Q", content, 0x28), *struct.unpack_from("<HHH", content, 0x3A))
            if wide
            else (*struct.unpack_from("<I", content, 0x20), *struct.unpack_from("<HHH", content, 0x2E))
        )
        layout = "<II16xQQ" if wide else "<II8xII"  # name, kind, place in the file, length
        sections = [struct.unpack_from(layout, content, offset + number * size) for number in range(count)]
        table = content[sections[names][2] :][: sections[names][3]]
    except (struct.error, IndexError, OverflowError):
        return content
    changed = bytearray(content)
    for name, _, start, length in sections:
        if table[name:].partition(b"\0")[0] in _MARKED_SECTIONS:
            changed[start : start + length] = bytes(len(changed[start : start + length]))
    return bytes(changed)


def _forget_version(value: str, version: str) -> str:
    """The value of a field without the package's own version, which pins between packages of one source repeat."""
    return re.sub(rf"(?<![\w.+~:-]){re.escape(version)}(?![\w.+~:-])", _OWN_VERSION, value)


def _describe(member: Mapping[str, bytes]) -> list[str]:
    return [member["facts"].decode(), hashlib.sha256(normalize_elf(member["content"])).hexdigest()]


def _read_members(deb: Path, part: str) -> dict[str, dict[str, bytes]]:
    """The members of one of a package's two archives: kind, mode, owner and link, and content."""
    found: dict[str, dict[str, bytes]] = {}
    with tempfile.TemporaryFile() as stream:
        process.run(["dpkg-deb", part, str(deb)], stdout=stream)
        stream.seek(0)
        with tarfile.open(fileobj=stream) as archive:
            for member in archive:
                path = "/" + member.name.removeprefix("./").strip("/.") if member.isdir() else "/" + member.name[2:]
                opened = archive.extractfile(member) if member.isfile() else None
                facts = [
                    member.type.decode(),
                    f"{member.mode:o}",
                    member.uname,
                    member.gname,
                    member.linkname,
                    f"{member.devmajor}:{member.devminor}",
                ]
                found[path] = {"facts": json.dumps(facts).encode(), "content": opened.read() if opened else b""}
    return found
