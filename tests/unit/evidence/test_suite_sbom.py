"""The SBOM of a suite: put together from those of builds, read again, and refused where it is something else."""

from __future__ import annotations

import json
from collections.abc import Callable

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
    assert sorted(read, key=str) == sorted(entries, key=str)
    assert {entry.document for entry in read} == {"pool/one_2_amd64.sbom.cdx.json", ""}


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
