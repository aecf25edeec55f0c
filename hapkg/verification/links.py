"""Links of the chain: what each says, and whether it holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class LinkName(StrEnum):
    """The links, in the order in which each vouches for the next."""

    SIGNATURE = "signature"
    FRESH = "fresh"
    INDEX = "index"
    PACKAGE = "package"
    SOURCE = "source"
    SBOM = "sbom"
    PROVENANCE = "provenance"
    KEY = "key"
    BUILDINFO = "buildinfo"
    VEX = "vex"
    TARBALL = "tarball"
    LOCK = "lock"
    UPSTREAM = "upstream"
    REBUILT = "rebuilt"


MEANINGS = {
    LinkName.SIGNATURE: "Release is signed by a key of the keyring; without it nobody vouches for anything below",
    LinkName.FRESH: "it is the newest state that the publisher signed; without it old holes come back",
    LinkName.INDEX: "the indexes are those that Release names; without it packages can be slipped in",
    LinkName.PACKAGE: "the .deb is the one that its index names; without it the bytes are somebody else's",
    LinkName.SOURCE: "the source package is the one that Sources names; without it nobody can look what was built",
    LinkName.SBOM: "the SBOM is of this .deb; without it scanners look at something else",
    LinkName.PROVENANCE: "a signed statement says that this build made this .deb; without it its origin is a guess",
    LinkName.KEY: "the statement's inputs give the build's key; without it something else was built than is said",
    LinkName.BUILDINFO: "the .buildinfo file is of this .deb; without it nobody can build it again",
    LinkName.VEX: "the VEX document is of this suite; without it holes are hidden, or fixed ones reported",
    LinkName.TARBALL: "the tarball is the one that the statement names; without it the code is not upstream's",
    LinkName.LOCK: "the statement says what the lock says; without it something else was built than was looked at",
    LinkName.UPSTREAM: "upstream's signature is over this tarball; without it upstream's server alone vouches for it",
    LinkName.REBUILT: "it was built again, and came out the same; without it the builder's word stands alone",
}


class LinkState(StrEnum):
    """The state of a link."""

    HOLDS = "holds"
    ABSENT = "absent"
    BREAKS = "breaks"


@dataclass(frozen=True, kw_only=True)
class ChainLink:
    """One link of a suite or of a package."""

    name: LinkName
    state: LinkState
    told: str
    """A sentence: who signed, what is missing, what differs."""

    @property
    def meaning(self) -> str:
        """The sense of the link, and the loss without it."""
        return MEANINGS[self.name]


@dataclass(frozen=True, kw_only=True)
class PackageChain:
    """The links of one .deb."""

    suite: str
    package: str
    version: str
    architecture: str
    links: tuple[ChainLink, ...]


@dataclass(frozen=True, kw_only=True)
class SuiteChain:
    """The links of a suite, and those of its packages."""

    suite: str
    links: tuple[ChainLink, ...]
    packages: tuple[PackageChain, ...]


def hold(name: LinkName, told: str) -> ChainLink:
    """A link that holds."""
    return ChainLink(name=name, state=LinkState.HOLDS, told=told)


def lack(name: LinkName, told: str) -> ChainLink:
    """A link that is not there to be checked."""
    return ChainLink(name=name, state=LinkState.ABSENT, told=told)


def break_(name: LinkName, told: str) -> ChainLink:
    """A link that is there, and does not hold."""
    return ChainLink(name=name, state=LinkState.BREAKS, told=told)


def sort_links(links: Iterable[ChainLink]) -> tuple[ChainLink, ...]:
    """Links in the order of the chain."""
    order = list(LinkName)
    return tuple(sorted(links, key=lambda link: order.index(link.name)))


def find_first_break(chains: Sequence[SuiteChain]) -> tuple[str, ChainLink] | None:
    """The broken link that is nearest to the signature, and what it is of; None where none breaks."""
    broken = [(chain.suite, link) for chain in chains for link in chain.links]
    broken += [
        (f"{one.package} {one.version} of {one.suite}", link)
        for chain in chains
        for one in chain.packages
        for link in one.links
    ]
    order = list(LinkName)
    found = [(what, link) for what, link in broken if link.state is LinkState.BREAKS]
    return min(found, key=lambda one: order.index(one[1].name)) if found else None
