"""The SBOM of a suite as SPDX 2.3, for who must have that: the same packages, said in the other words.

SPDX 2.3 has no pedigree: patches stand in the comment of a package, and what a package was made of is a package of its
own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hapkg.evidence.suite_sbom import SourceEntry, find_dependencies

_REFERENCE = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")
_UNKNOWN = "NOASSERTION"


def make_spdx(origin: str, suite: str, entries: Sequence[SourceEntry]) -> dict[str, Any]:
    """The document of a suite; the same builds give the same one."""
    packages: dict[str, dict[str, Any]] = {}
    relations: list[dict[str, str]] = []
    for entry in entries:
        source = str(entry.source["bom-ref"])
        packages[source] = _describe(origin, entry.source)
        for package in entry.packages:
            reference = str(package["bom-ref"])
            packages[reference] = _describe(origin, package)
            relations += [_relate("SPDXRef-DOCUMENT", "DESCRIBES", _name(reference))]
            relations += [_relate(_name(reference), "GENERATED_FROM", _name(source))]
            for ancestor in package.get("pedigree", {}).get("ancestors", ()):
                made_of = str(ancestor["bom-ref"])
                packages.setdefault(made_of, _describe("", ancestor))
                relations += [_relate(_name(reference), "DESCENDANT_OF", _name(made_of))]
    built = [package for entry in entries for package in entry.packages]
    for needs in find_dependencies(built):
        relations += [_relate(_name(needs["ref"]), "DEPENDS_ON", _name(other)) for other in needs.get("dependsOn", ())]
    date = max((entry.date for entry in entries), default="1970-01-01T00:00:00")[:19] + "Z"
    licenses = sorted({name for one in packages.values() for name in _REFERENCE.findall(one["licenseDeclared"])})
    digest = hashlib.sha256("".join(sorted(packages)).encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{origin} {suite}",
        "documentNamespace": f"urn:hapkg:spdx:{suite}:{digest}",
        "creationInfo": {"created": date, "creators": ["Tool: hapkg"]},
        "packages": list(packages.values()),
        "relationships": relations,
        **({"hasExtractedLicensingInfos": list(_explain(licenses))} if licenses else {}),
    }


def _describe(supplier: str, component: Mapping[str, Any]) -> dict[str, Any]:
    told = [str(one["expression"]) for one in component.get("licenses", ()) if "expression" in one]
    patches = component.get("pedigree", {}).get("patches", ())
    closed = sorted({str(one["id"]) for patch in patches for one in patch.get("resolves", ())})
    words = (
        [f"Patched: {', '.join(str(patch['diff']['url']).rpartition('/')[2] for patch in patches)}"] if patches else []
    )
    words += [f"Closed: {', '.join(closed)}"] if closed else []
    return {
        "SPDXID": _name(str(component["bom-ref"])),
        "name": str(component["name"]),
        "versionInfo": str(component["version"]),
        "supplier": f"Organization: {supplier}" if supplier else _UNKNOWN,
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "checksums": [
            {"algorithm": "SHA256", "checksumValue": str(one["content"])} for one in component.get("hashes", ())
        ],
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": told[0] if told else _UNKNOWN,
        "copyrightText": _UNKNOWN,
        **({"comment": "\n".join(words)} if words else {}),
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": str(component["purl"]),
            }
        ],
    }


def _explain(licenses: Sequence[str]) -> Iterator[dict[str, str]]:
    for name in licenses:
        plain = name.removeprefix("LicenseRef-")
        text = f"Its text is in debian/copyright of the source package, under the name {plain}."
        yield {"licenseId": name, "name": plain, "extractedText": text}


def _relate(one: str, how: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": how, "relatedSpdxElement": other}


def _name(reference: str) -> str:
    """An identifier: SPDX takes letters, digits, dots and dashes; what is left out is told apart by a digest."""
    digest = hashlib.sha256(reference.encode()).hexdigest()
    return f"SPDXRef-{re.sub(r'[^A-Za-z0-9.-]+', '-', reference)[:80]}-{digest[:8]}"
