"""Reports of crm: archives from elsewhere, read without being unpacked.

Taken are a few regular files, by name, kind and size; nothing is written, no link is followed.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from hapkg.errors import SiteError
from hapkg.site.importing.cluster import Sources

LARGEST = 16 * 2**20
"""Bytes of a text that says what a cluster is."""
_MOST_MEMBERS = 100_000
_MOST_BYTES = 4 * 2**30
"""Of an archive, unpacked: reports have logs of weeks."""
_WANTED = re.compile(
    r"(?:\./)?[^/.][^/]*/(?P<node>[^/.][^/]*)/(?P<file>corosync\.conf|configure_show\.txt|cib\.xml|booth\.conf"
    r"|drbd\.conf|drbd\.d/[A-Za-z0-9][A-Za-z0-9_.-]*\.(?:res|conf))"
)


_OPENERS: Mapping[bytes, Any] = {b"BZh": bz2.open, b"\x1f\x8b": gzip.open, b"\xfd7zXZ": lzma.open}
"""By what the file begins with."""


class _Limited(io.RawIOBase):
    """A stream that ends with an error after so many bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream, self._left = stream, _MOST_BYTES

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer. Raises SiteError when there is more than a report has."""
        count = len(data := self._stream.read(len(buffer)))
        self._left -= count
        if self._left < 0:
            raise SiteError(f"the report is larger than {_MOST_BYTES // 2**30} GiB", hint="name its files one by one")
        buffer[:count] = data
        return count


def read_report(file: Path) -> tuple[Sources, str | None]:
    """Sources of a site file in a report of crm, and the CIB's XML where crm's own words are not in it.

    Raises SiteError for what is no report, or too large to be one.
    """
    try:
        nodes = _read_files(file)
    except (tarfile.TarError, EOFError, OSError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise SiteError(
            f"{file} cannot be read as a report: {error}", hint="crm report makes one: a tar archive"
        ) from error
    name = next((name for name, files in nodes.items() if "corosync.conf" in files), "")
    if not name:
        raise SiteError(f"{file} has no corosync.conf of a node", hint="crm report makes one that has")
    notes = [f"the report has {', '.join(sorted(nodes))}: what {name} has was taken"]
    taken = nodes[name]
    notes += [
        f"{other} has another {part} than {name}"
        for other, files in nodes.items()
        for part in ("corosync.conf", "booth.conf")
        if part in files and part in taken and files[part] != taken[part]
    ]
    crm, cib = (
        next((files[part] for files in (taken, *nodes.values()) if part in files), "")
        for part in ("configure_show.txt", "cib.xml")
    )
    notes += [] if crm or cib else ["the report has nothing of what pacemaker runs"]
    drbd = {part: text for part, text in taken.items() if part.startswith("drbd")}
    sources = Sources(
        corosync=taken["corosync.conf"], crm=crm, drbd=drbd, booth=taken.get("booth.conf", ""), notes=tuple(notes)
    )
    return sources, cib if cib and not crm else None


def _read_files(file: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    with file.open("rb") as plain:
        begin = plain.read(6)
    opener = next((opener for magic, opener in _OPENERS.items() if begin.startswith(magic)), open)
    with opener(file, "rb") as stream, tarfile.open(fileobj=_Limited(stream), mode="r|") as archive:
        for number, member in enumerate(archive):
            if number >= _MOST_MEMBERS:
                raise SiteError(f"{file} has more than {_MOST_MEMBERS} members", hint="it is no report of crm")
            wanted = _WANTED.fullmatch(member.name)
            if wanted is None or not member.isreg():
                continue
            if member.size > LARGEST:
                raise SiteError(f"{file}: {member.name} has {member.size} bytes", hint=f"{LARGEST} are the most")
            if (content := archive.extractfile(member)) is not None:
                text = content.read(LARGEST).decode("utf-8", "replace")
                found.setdefault(wanted["node"], {})[wanted["file"]] = text
    return found
