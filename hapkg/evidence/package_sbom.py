"""The SBOM inside a binary package: CycloneDX, a few kilobytes, for whoever has the package and nothing else.

It tells what is known before the build, so that it is part of the source package like any file of debian/: the package
itself, upstream's code that it is made of, and what was changed in that. It has no clock and no chance in it: its date
is the changelog's, its number follows from the package's name and version. It names no architecture, for one source is
built for all of them. Dependencies and what was in the build chroot are told by the repository's SBOM.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import (
    Commit,
    Component,
    ComponentType,
    Diff,
    Patch,
    PatchClassification,
    Pedigree,
)
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.issue import IssueClassification, IssueType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from hapkg.evidence.facts import PackageFacts, PatchFacts, SourceFacts, UpstreamFacts
from hapkg.evidence.purl import name_address, name_package, name_upstream


def write_package_sbom(facts: SourceFacts, package: PackageFacts, version: str) -> bytes:
    """The SBOM of a binary package in this version."""
    purl = name_package(facts, package.name, version)
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, purl),
        metadata=BomMetaData(
            timestamp=facts.date,
            tools=ToolRepository(components=[Component(name="hapkg", type=ComponentType.APPLICATION)]),
            component=describe_package(facts, package, purl, version),
        ),
    )
    return JsonV1Dot6(bom).output_as_string().encode() + b"\n"


def describe_package(facts: SourceFacts, package: PackageFacts, purl: str, version: str) -> Component:
    """A binary package as a component, with its pedigree."""
    return Component(
        type=ComponentType.APPLICATION,
        bom_ref=purl,
        name=package.name,
        version=version,
        supplier=OrganizationalEntity(name=facts.vendor),
        description=package.synopsis,
        licenses=[LicenseExpression(facts.license)],
        purl=PackageURL.from_string(purl),
        external_references=_describe_homepage(facts),
        pedigree=_describe_pedigree(facts.upstream, facts.patches) if facts.upstream else None,
    )


def _describe_homepage(facts: SourceFacts) -> list[ExternalReference]:
    page = [XsUri(facts.homepage)] if facts.homepage else []
    return [ExternalReference(type=ExternalReferenceType.WEBSITE, url=url) for url in page]


def _describe_pedigree(upstream: UpstreamFacts, patches: Sequence[PatchFacts]) -> Pedigree:
    digests = {origin.sha256 for origin in upstream.origins}
    purl = name_upstream(upstream)
    ancestor = Component(
        type=ComponentType.APPLICATION,
        bom_ref=purl,
        name=upstream.name,
        version=upstream.version,
        purl=PackageURL.from_string(purl),
        # Tarballs of two origins may differ in their packing: then each has its own digest beside its address.
        hashes=_make_hashes(*digests) if len(digests) == 1 else (),
        external_references=[*_describe_homes(upstream), *_describe_origins(upstream)],
    )
    home = upstream.repositories[-1].partition("+")[2]
    return Pedigree(
        ancestors=[ancestor],
        commits=[Commit(uid=upstream.commit, url=XsUri(home))] if upstream.commit else (),
        patches=[_describe_patch(patch) for patch in patches],
    )


def _describe_homes(upstream: UpstreamFacts) -> Iterator[ExternalReference]:
    for number, home in enumerate(upstream.repositories, 1):
        tag = upstream.tag if number == len(upstream.repositories) else None
        yield ExternalReference(type=ExternalReferenceType.SCM, url=XsUri(home.partition("+")[2]), comment=tag)


def _describe_origins(upstream: UpstreamFacts) -> Iterator[ExternalReference]:
    for origin in upstream.origins:
        address = name_address(origin.address)
        kind, hashes = ExternalReferenceType.SOURCE_DISTRIBUTION, _make_hashes(origin.sha256)
        if address:
            yield ExternalReference(type=kind, url=XsUri(address), hashes=hashes)


def _describe_patch(patch: PatchFacts) -> Patch:
    taken = name_address(patch.address)
    return Patch(
        type=PatchClassification.BACKPORT if taken else PatchClassification.UNOFFICIAL,
        diff=Diff(url=XsUri(taken or f"debian/patches/{patch.name}")),
        resolves=[IssueType(type=IssueClassification.SECURITY, id=hole) for hole in patch.fixes],
    )


def _make_hashes(*digests: str) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in digests]
