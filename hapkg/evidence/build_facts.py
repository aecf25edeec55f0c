"""Facts of a finished build that its documents tell: what came out, what it was made of, and in what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

_PACKAGE = re.compile(r"^ ([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9]+)? \(= ([0-9A-Za-z.+:~-]{1,200})\),?$", re.MULTILINE)
_MOST_PACKAGES = 20_000


@dataclass(frozen=True, kw_only=True)
class BuiltFile:
    """One file that a build left."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class BuiltPackage:
    """One binary package that a build left."""

    name: str
    architecture: str
    sha256: str
    depends: str
    """Its Pre-Depends and Depends, as one field."""
    built_using: str = ""


@dataclass(frozen=True, kw_only=True)
class Material:
    """Something that a build was made of."""

    name: str
    address: str
    """A URI; "" for a file that has none."""
    digests: Mapping[str, str]
    annotations: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class BuildFacts:
    """One finished build of a source package for one architecture."""

    source: str
    version: str
    suite: str
    vendor: str
    """The suite's distribution, as package URLs name it."""
    architecture: str
    key: str
    inputs: Mapping[str, Any]
    """The values that the key is the digest of."""
    packages: tuple[BuiltPackage, ...]
    """Binary packages, without debug symbols."""
    files: tuple[BuiltFile, ...]
    """All .deb files, the .dsc, and those that it names."""
    byproducts: tuple[BuiltFile, ...]
    """The .buildinfo file and the log."""
    materials: tuple[Material, ...]
    environment: Mapping[str, str]
    """Versions of the packages that were installed in the build chroot, by name."""
    finished: datetime
    builder: str
    """Name of the machine."""
    hapkg: str
    """The version of hapkg that built."""


def read_buildinfo(content: str) -> tuple[dict[str, str], datetime]:
    """Packages that a .buildinfo file says were installed, by name, and its date. Raises ValueError."""
    _, found, rest = content.partition("\nInstalled-Build-Depends:\n")
    lines = re.split(r"^(?! )", rest, maxsplit=1, flags=re.MULTILINE)[0]
    packages = dict(_PACKAGE.findall(lines))
    date = re.search(r"^Build-Date: (.+)$", content, re.MULTILINE)
    if not found or not packages or date is None or len(packages) > _MOST_PACKAGES:
        raise ValueError("it lacks Installed-Build-Depends or Build-Date")
    try:
        return packages, parsedate_to_datetime(date[1]).astimezone(UTC)
    except (TypeError, OverflowError) as cause:
        raise ValueError(f"its Build-Date is {date[1][:80]!a}") from cause
