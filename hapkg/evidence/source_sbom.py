"""The SBOM of one build: the source package, its binary packages with their digests, and what was in the build chroot.

Packages of the chroot are components that no package needs at run time (scope "excluded"). They stand here and not in
the SBOM of a suite, whose readers look for holes of what runs.
"""

from __future__ import annotations

import re
import uuid

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType, Pedigree
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.license import LicenseExpression
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from hapkg.evidence.build_facts import BuildFacts, BuiltPackage
from hapkg.evidence.facts import DebianPlace, PackageFacts, SourceFacts
from hapkg.evidence.package_sbom import describe_package
from hapkg.evidence.purl import name_debian_place, name_package, name_source
from hapkg.evidence.suite_sbom import DEPENDS

KEY = "hapkg:key"
"""Property of a source: the build's key."""
_USED = re.compile(r"([a-z0-9][a-z0-9+.-]*) \(= ([^()\s]+)\)")


def write_source_sbom(facts: SourceFacts, build: BuildFacts) -> bytes:
    """The SBOM of a build."""
    source = _describe_source(facts, build)
    synopses = {package.name: package for package in facts.packages}
    packages = [_describe_binary(facts, build, synopses[one.name], one) for one in build.packages]
    chroot = [_describe_installed(facts, name, version) for name, version in sorted(build.environment.items())]
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{source.purl}#{build.architecture}"),
        metadata=BomMetaData(
            timestamp=build.finished,
            tools=ToolRepository(components=[Component(name="hapkg", type=ComponentType.APPLICATION)]),
            component=source,
        ),
        components=[*packages, *chroot],
    )
    bom.register_dependency(source, chroot)
    for package in packages:
        bom.register_dependency(package)
    return JsonV1Dot6(bom).output_as_string().encode() + b"\n"


def _describe_source(facts: SourceFacts, build: BuildFacts) -> Component:
    purl = name_source(facts, build.version)
    (dsc,) = [file for file in build.files if file.name.endswith(".dsc")]
    references = [
        ExternalReference(type=ExternalReferenceType.BUILD_META, url=XsUri(file.name), hashes=_make_hashes(file.sha256))
        for file in build.byproducts
        if file.name.endswith(".buildinfo")
    ]
    return Component(
        type=ComponentType.APPLICATION,
        bom_ref=purl,
        name=build.source,
        version=build.version,
        supplier=OrganizationalEntity(name=facts.vendor),
        licenses=[LicenseExpression(facts.license)],
        purl=PackageURL.from_string(purl),
        hashes=_make_hashes(dsc.sha256),
        external_references=references,
        properties=[Property(name=KEY, value=build.key)],
    )


def _describe_binary(facts: SourceFacts, build: BuildFacts, package: PackageFacts, one: BuiltPackage) -> Component:
    component = describe_package(
        facts, package, name_package(facts, one.name, build.version, one.architecture), build.version
    )
    component.hashes = _make_hashes(one.sha256)
    component.properties = [Property(name=DEPENDS, value=one.depends)] if one.depends else []
    if used := _USED.findall(one.built_using):
        pedigree = component.pedigree or Pedigree()
        pedigree.ancestors.update(_describe_used(name, version) for name, version in used)
        component.pedigree = pedigree
    return component


def _describe_used(name: str, version: str) -> Component:
    """A source package whose code is inside a package, as the field Built-Using has it."""
    purl = name_debian_place(DebianPlace(package=name, version=version))
    return Component(name=name, version=version, bom_ref=purl, purl=PackageURL.from_string(purl))


def _describe_installed(facts: SourceFacts, name: str, version: str) -> Component:
    purl = PackageURL("deb", facts.distribution.partition("-")[0] or "debian", name, version)
    return Component(
        name=name,
        version=version,
        bom_ref=f"chroot:{name}",
        purl=purl,
        scope=ComponentScope.EXCLUDED,
        type=ComponentType.LIBRARY,
    )


def _make_hashes(digest: str) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=digest)]
