"""The SBOM of a suite: put together from those of builds, read again, and refused where it is something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hapkg.evidence.dsse import read_envelope
from hapkg.evidence.suite_sbom import make_entry, read_suite_sbom, write_suite_sbom
from hapkg.evidence.vex import read_vex
from hapkg.repository.documents.suite import read_rebuilds

HOSTILE = [b"", b"[]", b"null", b"7", b"\xff\xfe", b'{"components": 7}', b'{"statements": [7]}', b"[" * 100_000]
READERS: dict[str, Callable[[bytes], object]] = {
    "suite": read_suite_sbom,
    "build": lambda content: make_entry(content, {}),
    "vex": read_vex,
    "envelope": read_envelope,
    "rebuilds": read_rebuilds,
}


def make_build(name: str, version: str, needs: str = "") -> bytes:
    """The SBOM of a build with one package, and a compiler in its chroot."""
    depends = [{"name": "hapkg:depends", "value": needs}] if needs else []
    return json.dumps(
        {
            "metadata": {
                "timestamp": "2026-01-01T00:00:00+00:00",
                "component": {"bom-ref": f"s:{name}:{version}", "name": name, "version": version},
            },
            "components": [
                {"bom-ref": f"p:{name}:{version}", "name": name, "version": version, "properties": depends},
                {"bom-ref": "chroot:gcc", "name": "gcc", "version": "12", "scope": "excluded"},
            ],
        }
    ).encode()


def test_builds_are_put_together_without_their_chroots() -> None:
    entries = [
        make_entry(make_build("one", "2", "two (>= 1), libc6"), {"pool/one_2_amd64.sbom.cdx.json": "a" * 64}),
        make_entry(make_build("two", "1"), {}),
        make_entry(make_build("two", "2"), {}),
    ]
    content = write_suite_sbom("Some Vendor", "bookworm", entries)
    assert content == write_suite_sbom("Some Vendor", "bookworm", reversed(entries))
    table = json.loads(content)
    assert [one["bom-ref"] for one in table["components"]] == [
        "s:one:2",
        "s:two:1",
        "s:two:2",
        "p:one:2",
        "p:two:1",
        "p:two:2",
    ]
    needs = {one["ref"]: one.get("dependsOn") for one in table["dependencies"]}
    assert needs["p:one:2"] == ["p:two:2"]
    read = read_suite_sbom(content)
    assert [(entry.source["bom-ref"], entry.packages, entry.date) for entry in read] == [
        (entry.source["bom-ref"], entry.packages, entry.date) for entry in entries
    ]
    assert write_suite_sbom("Some Vendor", "bookworm", read) == content
    assert {entry.document for entry in read} == {"pool/one_2_amd64.sbom.cdx.json", ""}


def make_scanned(distro: str = "debian-12", upstream: str = "corosync%403.1.9") -> dict[str, Any]:
    """The SBOM of a suite of one package, of this package URL."""
    table = json.loads(make_build("ha-corosync", "3.1.9-2"))
    table["components"][0]["purl"] = f"pkg:deb/vendor/ha-corosync@3.1.9-2?distro={distro}&upstream={upstream}"
    whole: dict[str, Any] = json.loads(
        write_suite_sbom("Vendor", "bookworm", [make_entry(json.dumps(table).encode(), {})])
    )
    return whole


def test_scanners_find_the_distribution_and_the_name_of_the_code() -> None:
    system, source, package = make_scanned()["components"]
    assert (system["type"], system["name"], system["version"]) == ("operating-system", "debian", "12")
    told = {one["name"]: one["value"] for one in package["properties"]}
    assert told["aquasecurity:trivy:SrcName"] == "corosync"
    assert told["aquasecurity:trivy:SrcVersion"] == "3.1.9"
    assert (source["group"], source["name"]) == ("sources", package["name"])


def test_what_an_older_publish_said_is_told_to_scanners_as_well() -> None:
    table = make_scanned()
    old = json.loads(json.dumps(table))
    del old["components"][0], old["components"][0]["group"], old["components"][1]["properties"][-2:]
    entries = read_suite_sbom(json.dumps(old).encode())
    assert json.loads(write_suite_sbom("Vendor", "bookworm", entries)) == table


@pytest.mark.parametrize("upstream", ["", "corosync", "%40", "corosync%40"])
def test_code_without_a_name_or_a_version_is_not_told(upstream: str) -> None:
    package = make_scanned(upstream=upstream)["components"][-1]
    assert [one["name"] for one in package["properties"]] == ["hapkg:source"]


def test_two_components_of_one_name_are_refused() -> None:
    table = json.loads(make_build("one", "1"))
    table["components"].append(table["components"][0])
    with pytest.raises(ValueError, match="one name"):
        make_entry(json.dumps(table).encode(), {})


@pytest.mark.parametrize("content", HOSTILE, ids=lambda content: repr(content[:12]))
@pytest.mark.parametrize("reader", READERS)
def test_readers_refuse_anything_else(reader: str, content: bytes) -> None:
    with pytest.raises(ValueError):
        READERS[reader](content)
