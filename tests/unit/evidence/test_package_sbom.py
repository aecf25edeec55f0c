"""The SBOM of a package: valid by CycloneDX's own schema, the same in every process, and small."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from hapkg.evidence.facts import OriginFacts, SourceFacts
from hapkg.evidence.package_sbom import write_package_sbom
from tests.support.samples import CHECKOUT
from tests.support.sbom import is_cyclonedx
from tests.unit.evidence.samples import FACTS, PACKAGES, UPSTREAM

VERSION = "1.2-1+ha12.1"
NATIVE = dataclasses.replace(FACTS, upstream=None, patches=())
PLAIN = dataclasses.replace(NATIVE, homepage="", distribution="", license="LicenseRef-public-domain")


def write(facts: SourceFacts = FACTS) -> bytes:
    return write_package_sbom(facts, PACKAGES[0], VERSION)


def read(facts: SourceFacts = FACTS) -> dict[str, Any]:
    component: dict[str, Any] = json.loads(write(facts))["metadata"]["component"]
    return component


@pytest.mark.parametrize("facts", [FACTS, NATIVE, PLAIN], ids=["upstream", "native", "plain"])
def test_cyclonedx_knows_it(facts: SourceFacts) -> None:
    assert is_cyclonedx(write(facts).decode())
    assert not is_cyclonedx(write(facts).decode().replace('"application"', '"x"'))


def test_it_tells_the_code_and_what_was_changed_in_it() -> None:
    pedigree = read()["pedigree"]
    (ancestor,) = pedigree["ancestors"]
    assert (ancestor["purl"], ancestor["version"]) == ("pkg:github/some/one@v1.2", "1.2")
    assert ancestor["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert pedigree["commits"] == [{"uid": "c" * 40, "url": "https://github.com/some/one.git"}]
    patches = {
        patch["diff"]["url"]: (patch["type"], {issue["id"] for issue in patch.get("resolves", ())})
        for patch in pedigree["patches"]
    }
    assert patches == {
        "pkg:deb/debian/one@1.2-4?arch=source#debian/patches/a.patch": ("backport", {"CVE-2026-0001", "CVE-2026-0002"}),
        "https://example.org/b.patch": ("backport", set()),
        "debian/patches/own.patch": ("unofficial", {"CVE-2025-0001"}),
    }


def test_tarballs_that_differ_have_their_digests_beside_their_addresses() -> None:
    odd = OriginFacts(address="https://example.net/one.tar.xz", sha256="b" * 64)
    facts = dataclasses.replace(FACTS, upstream=dataclasses.replace(UPSTREAM, origins=(*UPSTREAM.origins, odd)))
    (ancestor,) = read(facts)["pedigree"]["ancestors"]
    assert "hashes" not in ancestor
    found = {
        place["url"]: place["hashes"][0]["content"] for place in ancestor["externalReferences"] if "hashes" in place
    }
    assert found == {
        "pkg:deb/debian/one@1.2-3?arch=source": "a" * 64,
        "https://example.org/one-1.2.tar.gz": "a" * 64,
        "https://example.net/one.tar.xz": "b" * 64,
    }


def test_it_names_no_architecture() -> None:
    assert "arch=" not in read()["purl"]


def test_another_version_is_another_document() -> None:
    numbers = {json.loads(write_package_sbom(FACTS, PACKAGES[0], version))["serialNumber"] for version in ("1", "2")}
    assert len(numbers) == 2


def test_every_process_writes_the_same_bytes() -> None:
    code = (
        "import sys; from hapkg.evidence.package_sbom import write_package_sbom as write;"
        "from tests.unit.evidence.samples import FACTS, PACKAGES;"
        f"sys.stdout.buffer.write(write(FACTS, PACKAGES[0], {VERSION!r}))"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, cwd=CHECKOUT, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert made == {write()}


def test_it_is_small() -> None:
    assert len(write()) < 3000
