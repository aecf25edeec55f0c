"""SPDX 2.3: the same packages as in CycloneDX, with identifiers that are unique and relations that lead somewhere."""

from __future__ import annotations

import json
import re

from hapkg.evidence.spdx import make_spdx
from hapkg.evidence.suite_sbom import make_entry
from tests.unit.evidence.test_suite_sbom import make_build

COMMIT = "c" * 40


def make_pedigreed() -> bytes:
    """A build whose package has a pedigree and an odd licence."""
    table = json.loads(make_build("one", "1", "two"))
    table["components"][0] |= {
        "purl": "pkg:deb/v/one@1",
        "hashes": [{"alg": "SHA-256", "content": "a" * 64}],
        "licenses": [{"expression": "GPL-2.0-or-later AND LicenseRef-Odd"}],
        "pedigree": {
            "ancestors": [{"bom-ref": "up", "name": "one", "version": "1", "purl": "pkg:github/some/one@v1"}],
            "patches": [{"diff": {"url": "debian/patches/x.patch"}, "resolves": [{"id": "CVE-2026-0001"}]}],
        },
    }
    return json.dumps(table).encode()


def test_every_relation_leads_to_a_package() -> None:
    entries = [make_entry(content, {}) for content in (make_pedigreed(), make_build("two", "2"))]
    for entry in entries:
        for component in (entry.source, *entry.packages):
            component.setdefault("purl", f"pkg:deb/v/{component['name']}@1")  # type: ignore[attr-defined]
    table = make_spdx("Some Vendor", "bookworm", entries)
    names = [one["SPDXID"] for one in table["packages"]]
    assert len(set(names)) == len(names) == 5
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", name) for name in names)
    known = {*names, "SPDXRef-DOCUMENT"}
    assert {one[key] for one in table["relationships"] for key in ("spdxElementId", "relatedSpdxElement")} <= known
    kinds = {one["relationshipType"] for one in table["relationships"]}
    assert kinds == {"DESCRIBES", "GENERATED_FROM", "DESCENDANT_OF", "DEPENDS_ON"}
    (one,) = [package for package in table["packages"] if package.get("comment")]
    assert one["comment"] == "Patched: x.patch\nClosed: CVE-2026-0001"
    assert [found["licenseId"] for found in table["hasExtractedLicensingInfos"]] == ["LicenseRef-Odd"]
    assert table == make_spdx("Some Vendor", "bookworm", entries)
