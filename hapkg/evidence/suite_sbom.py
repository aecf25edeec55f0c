"""The SBOM of a suite: sources and packages of the SBOMs of its builds, put together.

A source names its own SBOM, which tells what was in the build chroot, its provenance and its .buildinfo file by path in
the repository and digest. What one suite's SBOM has of a source stays as it is when the next one is made.

Scanners look for the distribution among the components, and for the holes of a package under the name of its code:
grype takes that from the package URL, Trivy from properties of its own.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hapkg.control import parse_relation_names
from hapkg.evidence.purl import make_vendor, read_qualifiers
from hapkg.records import digest_json

SOURCE = "hapkg:source"
"""Property of a package: the package URL of its source."""
DEPENDS = "hapkg:depends"
"""Property of a package: its Pre-Depends and Depends."""
_SYSTEM = "operating-system"
_SOURCES = "sources"
"""Group of sources: Trivy takes components of one name and version for one, and would drop a package for its source."""
_TRIVY_SOURCE, _TRIVY_VERSION = "aquasecurity:trivy:SrcName", "aquasecurity:trivy:SrcVersion"
_KINDS = {".buildinfo": "build-meta", ".sbom.cdx.json": "bom", ".provenance.json": "attestation"}


@dataclass(frozen=True, kw_only=True)
class SourceEntry:
    """One build in the SBOM of a suite."""

    source: Mapping[str, Any]
    packages: Sequence[Mapping[str, Any]]
    date: str
    """Date of the build's own SBOM."""

    @property
    def document(self) -> str:
        """Path of the build's own SBOM in the repository; "" where it is not told."""
        references = self.source.get("externalReferences", ())
        return next((str(one["url"]) for one in references if one.get("type") == "bom"), "")


def make_entry(content: bytes, documents: Mapping[str, str]) -> SourceEntry:
    """The entry of a build from its own SBOM. documents: sha256 of its documents by path. Raises ValueError."""
    try:
        table = json.loads(content)
        source, date = dict(table["metadata"]["component"]), str(table["metadata"]["timestamp"])
        packages = [dict(one) for one in table["components"] if one.get("scope") != "excluded"]
        reference = str(source["bom-ref"])
        for package in packages:
            package["properties"] = [*package.get("properties", ()), {"name": SOURCE, "value": reference}]
        names = [str(one["bom-ref"]) for one in packages]
    except (KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise ValueError(f"it is no SBOM of a build: {cause!r}") from cause
    if len({reference, *names}) != len(names) + 1:
        raise ValueError("two of its components have one name")
    source["externalReferences"] = [
        {"type": kind, "url": path, "hashes": [{"alg": "SHA-256", "content": digest}]}
        for path, digest in sorted(documents.items())
        for suffix, kind in _KINDS.items()
        if path.endswith(suffix)
    ]
    return SourceEntry(source=source, packages=packages, date=date)


def write_suite_sbom(origin: str, suite: str, entries: Iterable[SourceEntry]) -> bytes:
    """The SBOM of a suite. It has no other clock than those of its builds: the same builds give the same bytes."""
    entries = sorted(entries, key=lambda entry: (str(entry.source["name"]), str(entry.source["version"])))
    packages = [_name_code(package) for entry in entries for package in entry.packages]
    sources = [{**entry.source, "group": _SOURCES} for entry in entries]
    components = [*_find_system(packages), *sources, *packages]
    whole = f"pkg:generic/{make_vendor(origin)}/{suite}"
    body = {
        "components": components,
        "dependencies": [
            {"ref": whole, "dependsOn": [str(package["bom-ref"]) for package in packages]},
            *find_dependencies(packages),
            *({"ref": str(entry.source["bom-ref"])} for entry in entries),
        ],
        "properties": [{"name": f"hapkg:date:{entry.source['bom-ref']}", "value": entry.date} for entry in entries],
    }
    digest = digest_json(body)
    head = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{whole}#{digest}')}",
        "version": 1,
        "metadata": {
            **({"timestamp": max(entry.date for entry in entries)} if entries else {}),
            "tools": {"components": [{"type": "application", "name": "hapkg"}]},
            "component": {"type": "application", "bom-ref": whole, "name": f"{origin} {suite}"},
        },
    }
    return json.dumps({**head, **body}).encode() + b"\n"


def _name_code(package: Mapping[str, Any]) -> Mapping[str, Any]:
    """A package with the name and version of its code where Trivy looks for them."""
    name, _, version = read_qualifiers(str(package.get("purl", ""))).get("upstream", "").partition("@")
    if not name or not version:
        return package
    code = {_TRIVY_SOURCE: name, _TRIVY_VERSION: version}
    others = [one for one in package.get("properties", ()) if one.get("name") not in code]
    return {**package, "properties": [*others, *({"name": key, "value": value} for key, value in code.items())]}


def _find_system(packages: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, str]]:
    """The distribution that all packages are for, as a component; none where they are for several."""
    found = {read_qualifiers(str(package.get("purl", ""))).get("distro", "") for package in packages} - {""}
    if len(found) == 1:
        name, _, version = min(found).partition("-")
        yield {"type": _SYSTEM, "bom-ref": f"{_SYSTEM}:{name}", "name": name, "version": version}


def read_suite_sbom(content: bytes) -> list[SourceEntry]:
    """The builds that the SBOM of a suite tells of. Raises ValueError for anything else."""
    try:
        table: Any = json.loads(content)
        dates = {str(one["name"]): str(one["value"]) for one in table.get("properties", ())}
        packages: dict[str, list[Mapping[str, Any]]] = {}
        sources: list[Mapping[str, Any]] = []
        for component in table["components"]:
            if component.get("type") == _SYSTEM:
                continue
            told = {str(one["name"]): str(one["value"]) for one in component.get("properties", ())}
            if SOURCE in told:
                packages.setdefault(told[SOURCE], []).append(component)
            else:
                sources.append(component)
        return [
            SourceEntry(
                source=source,
                packages=packages.get(str(source["bom-ref"]), []),
                date=dates[f"hapkg:date:{source['bom-ref']}"],
            )
            for source in sources
        ]
    except (KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise ValueError(f"it is no SBOM of a suite: {cause!r}") from cause


def find_dependencies(packages: Sequence[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """For each package those of the suite that its Depends names: in its own version where there is one."""
    known: dict[str, dict[str, str]] = {}
    for package in packages:
        known.setdefault(str(package["name"]), {})[str(package["version"])] = str(package["bom-ref"])
    for package in packages:
        told = {str(one["name"]): str(one["value"]) for one in package.get("properties", ())}
        needed: dict[str, None] = {}
        for alternatives in parse_relation_names(told.get(DEPENDS, "")):
            for name in alternatives:
                if versions := known.get(name):
                    needed[versions.get(str(package["version"]), list(versions.values())[-1])] = None
        yield {
            "ref": str(package["bom-ref"]),
            **({"dependsOn": sorted(needed)} if needed else {}),
        }
