"""Facts of a source and its packages that their SBOM tells: all of them are known before anything is built."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class DebianPlace:
    """A source package of Debian's archive, or one file of it."""

    package: str
    version: str
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class OriginFacts:
    """One place that delivers upstream's tarball."""

    address: str | DebianPlace
    """"" for a file of the host that builds."""
    sha256: str


@dataclass(frozen=True, kw_only=True)
class UpstreamFacts:
    """The code that a source is made of."""

    name: str
    version: str
    repositories: tuple[str, ...]
    """Each with its kind before the address, git+https://…; the home of today is first, that of this version last."""
    tag: str
    commit: str
    """Of the last repository; "" where it is not known."""
    origins: tuple[OriginFacts, ...]
    """Those that deliver a tarball of known content."""


@dataclass(frozen=True, kw_only=True)
class PatchFacts:
    """One change to upstream's code."""

    name: str
    address: str | DebianPlace
    """Where it was taken from; "" for one of the recipe's own."""
    fixes: tuple[str, ...]
    """CVE ids."""


@dataclass(frozen=True, kw_only=True)
class PackageFacts:
    """One binary package."""

    name: str
    synopsis: str


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """One source package, all but its version: the same recipe tells the same, however often it is rebuilt."""

    name: str
    vendor: str
    """Origin of the repository that the packages are made for."""
    distribution: str
    """The suite's distribution and release as package URLs have it, debian-12; "" for a package of all suites."""
    debian_name: str
    """Debian's source package of the same code."""
    homepage: str
    """Its address; "" where there is none."""
    date: datetime
    license: str
    """An SPDX expression."""
    upstream: UpstreamFacts | None
    """None for a source that is written by hapkg itself."""
    patches: tuple[PatchFacts, ...]
    packages: tuple[PackageFacts, ...]

    @property
    def digest(self) -> str:
        """sha256 over all of it."""
        text = json.dumps({**asdict(self), "date": self.date.isoformat()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
