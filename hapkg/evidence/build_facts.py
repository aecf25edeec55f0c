"""Facts of a finished build that its documents tell: what came out, what it was made of, and in what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


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
