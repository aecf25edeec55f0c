"""Debian's grammar: names of packages, relations, stanzas.

`python-debian` is imported here alone, and only where it is needed: it takes a sixth of a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NewType

SourceName = NewType("SourceName", str)
"""Name of a source package."""
BinaryName = NewType("BinaryName", str)
"""Name of a binary package."""
Suite = NewType("Suite", str)
"""Codename of a Debian suite: bookworm."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TARBALLS = (".tar.xz", ".tar.gz", ".tar.bz2")
"""Endings of the tarballs that a Debian source package may have."""
_SHORT = {".tgz": ".tar.gz", ".txz": ".tar.xz", ".tbz": ".tar.bz2", ".tbz2": ".tar.bz2"}
"""Short endings that upstreams give the same files."""
_PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+\Z")
_LEADING_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_PIN = re.compile(r"([a-z0-9][a-z0-9+.-]+)(?::[a-z0-9-]+)? *\( *= *([^ )]+) *\)")
_SUBSTITUTION = r"\$\{[A-Za-z0-9][A-Za-z0-9:-]*\}"
_RELATION = rf"""(?x)
    (?:{_SUBSTITUTION}|[a-z0-9][a-z0-9+.-]+(?::[a-z0-9-]+)?
        (?:[ ]*\([ ]*(?:<<|<=|=|>=|>>)[ ]*(?:[A-Za-z0-9.+~:-]|{_SUBSTITUTION})+[ ]*\))?
        (?:[ ]*\[[ ]*!?[a-z0-9-]+(?:[ ]+!?[a-z0-9-]+)*[ ]*\])?
        (?:[ ]*<[ ]*!?[a-z0-9.-]+(?:[ ]+!?[a-z0-9.-]+)*[ ]*>)*)\Z"""
"""A text: compiling it takes longer than all the others together, and few commands want it."""


def find_tarball_suffix(address: str) -> str:
    """The ending of TARBALLS for a tarball's name or address, a short one too; "" for another file."""
    known = {**{end: end for end in TARBALLS}, **_SHORT}
    return next((suffix for end, suffix in known.items() if address.endswith(end)), "")


def is_package_name(text: str) -> bool:
    """Check a package name by Debian policy 5.6.1."""
    return bool(_PACKAGE_NAME.match(text))


def is_relation(text: str) -> bool:
    """Check one relation: names with optional version, architectures, profiles; alternatives with |."""
    return all(re.match(_RELATION, part.strip(" ")) for part in text.split("|"))


def is_line(text: str) -> bool:
    """Check a field's value on one line: printable, not empty, no blank at its ends."""
    return text.isprintable() and bool(text) and text == text.strip()


def parse_relation_names(text: str) -> tuple[tuple[BinaryName, ...], ...]:
    """Package names of a relation field: one tuple per comma-separated relation, its alternatives in order.

    Substitution variables are passed over, as a name or as a version: python-debian's parser knows neither.
    """
    relations = (
        tuple(BinaryName(match[0]) for part in relation.split("|") if (match := _LEADING_NAME.match(part.strip())))
        for relation in text.split(",")
    )
    return tuple(relation for relation in relations if relation)


def parse_pins(text: str) -> tuple[tuple[BinaryName, str], ...]:
    """Name and version of every relation of a field that allows one version alone: PACKAGE (= VERSION)."""
    return tuple((BinaryName(name), version) for name, version in _PIN.findall(text))


def compare_versions(left: str, right: str) -> int:
    """-1, 0 or 1, as dpkg orders versions."""
    from debian.debian_support import NativeVersion  # noqa: PLC0415

    a, b = NativeVersion(left), NativeVersion(right)
    return (a > b) - (a < b)


def read_stanzas(text: str | IO[bytes]) -> Iterator[Mapping[str, str]]:
    """The stanzas of a control file, index or .sources file."""
    from debian.deb822 import Deb822  # noqa: PLC0415

    for stanza in Deb822.iter_paragraphs(text, use_apt_pkg=False):
        yield dict(stanza)


def split_stanzas(text: str) -> Iterator[dict[str, str]]:
    """The stanzas of an index or Release file, which programs wrote: no comments, one empty line between stanzas.

    The same as read_stanzas() gives, ten times as fast: an index has thousands.
    """
    for block in text.split("\n\n"):
        stanza: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line[:1] in (" ", "\t"):
                stanza[name] = f"{stanza.get(name, '')}\n{line}"
            else:
                name, _, value = line.partition(":")
                stanza[name] = value.strip()
        stanza.pop("", None)
        if stanza:
            yield stanza


def format_date(moment: datetime) -> str:
    """A time as Release files and changelogs have it."""
    moment = moment.astimezone(UTC)
    return f"{_DAYS[moment.weekday()]}, {moment:%d} {_MONTHS[moment.month - 1]} {moment:%Y %H:%M:%S} +0000"


def parse_date(text: str) -> datetime:
    """The time that a Release file tells, in UTC by Debian's rules. Raises ValueError for what is none."""
    _, day, month, year, clock, *_ = text.split()
    return datetime.fromisoformat(f"{year}-{_MONTHS.index(month) + 1:02}-{day:0>2}T{clock:0>8}+00:00")


def read_file_names(path: Path) -> tuple[str, ...]:
    """Names of the files that a .dsc or .changes lists."""
    from debian.deb822 import Changes, Dsc  # noqa: PLC0415

    with path.open("rb") as file:
        stanza = Dsc(file) if path.suffix == ".dsc" else Changes(file)
    return tuple(str(entry["name"]) for entry in stanza["Files"])


def fold_description(text: str) -> str:
    """Prose as the extended description of a control field: each line indented, blank lines as a full stop."""
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in text.strip().splitlines())
