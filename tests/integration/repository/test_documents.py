"""Documents of a suite: published with it, under its signature, kept by its history, the same while nothing changes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope

from hapkg.control import Suite
from hapkg.evidence.vex import VexStatus
from hapkg.repository.change import PublishTarget
from hapkg.repository.documents.suite import Claims
from hapkg.repository.indexes import read_digests, read_release
from hapkg.repository.keys import lifecycle
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.pruning import prune
from hapkg.repository.publishing import promote, publish, refresh, rollback
from hapkg.repository.upload import Upload
from tests.support.evidence import make_documented, make_statements
from tests.support.packages import BOOKWORM, IDENTITY, Client, Issue, run, take_snapshot, verify_here
from tests.support.sbom import is_cyclonedx

EVIDENCE = ("Index", "provenance.jsonl", "sbom.cdx.json")


def read(root: Path, name: str, suite: str = BOOKWORM) -> Any:
    return json.loads((root / "dists" / suite / "evidence" / name).read_text())


def read_lines(root: Path, suite: str = BOOKWORM) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (root / "dists" / suite / "evidence/provenance.jsonl").read_text().splitlines()
    ]


def find_documents(root: Path) -> set[str]:
    kinds = ("*.buildinfo", "*.sbom.cdx.json", "*.provenance.json")
    return {file.name for kind in kinds for file in (root / "pool").rglob(kind)}


@pytest.fixture
def target(root: Path, key: KeyChoice) -> PublishTarget:
    return PublishTarget(root=root, identity=IDENTITY, choice=key)


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Upload]:
    return lambda version, **more: make_documented(tmp_path / f"build-{version}", version, **more)


def test_a_publish_brings_documents_under_its_signature(
    root: Path, issue: Issue, build: Callable[..., Upload], client: Callable[[str], Client], tmp_path: Path
) -> None:
    issue(build("1.0-1"))
    digests = read_digests(read_release(root / "dists" / BOOKWORM / "InRelease"))
    folder = root / "dists" / BOOKWORM
    for name in EVIDENCE:
        content = (folder / "evidence" / name).read_bytes()
        assert digests[f"evidence/{name}"] == hashlib.sha256(content).hexdigest()
        assert (folder / "evidence/by-hash/SHA256" / digests[f"evidence/{name}"]).read_bytes() == content
    sbom = read(root, "sbom.cdx.json")
    assert is_cyclonedx(json.dumps(sbom))
    names = {component["name"]: component for component in sbom["components"]}
    assert names.keys() == {"debian", "ha-logic", "libha-logic1", "ha-stack"}
    for reference in names["ha-logic"]["externalReferences"]:
        file = root / reference["url"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == reference["hashes"][0]["content"]
    assert {one["type"] for one in names["ha-logic"]["externalReferences"]} == {"bom", "build-meta", "attestation"}
    (needs,) = [one for one in sbom["dependencies"] if one["ref"] == names["ha-stack"]["bom-ref"]]
    assert needs["dependsOn"] == [names["libha-logic1"]["bom-ref"]]
    own = next((root / "pool").rglob("*.sbom.cdx.json"))
    assert is_cyclonedx(own.read_text())
    assert verify_here(root).faults == ()
    machine = client((root / "ha-stack.sources").read_text())
    machine.update()
    assert machine.candidate("ha-stack") == "1.0-1"


def test_statements_are_signed_by_the_key_of_the_repository(
    root: Path, issue: Issue, build: Callable[..., Upload], tmp_path: Path
) -> None:
    upload = build("1.0-1")
    issue(upload)
    (line,) = read_lines(root)
    payload = json.loads(base64.b64decode(line["payload"]))
    assert (payload["_type"], payload["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    debs = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in upload.files if file.suffix == ".deb"}
    assert debs.items() <= {one["name"]: one["digest"]["sha256"] for one in payload["subject"]}.items()
    envelope = Envelope.from_dict(json.loads(json.dumps(line)))
    (signature,) = envelope.signatures.values()
    (tmp_path / "signed").write_bytes(envelope.pae())
    (tmp_path / "signature").write_bytes(bytes.fromhex(signature.signature))
    keyring = next(root.glob("*-archive-keyring.gpg"))
    said = run("gpgv", "--status-fd", "1", "--keyring", keyring, tmp_path / "signature", tmp_path / "signed")
    assert f"VALIDSIG {signature.keyid}" in said


def test_nothing_changes_when_nothing_is_new(root: Path, issue: Issue, build: Callable[..., Upload]) -> None:
    upload = build("1.0-1")
    issue(upload)
    before = take_snapshot(root)
    publication = issue(upload)
    assert (publication.written, take_snapshot(root)) == ((), before)


def test_a_second_build_of_the_same_packages_brings_no_other_documents(
    root: Path, issue: Issue, build: Callable[..., Upload]
) -> None:
    upload = build("1.0-1")
    issue(upload)
    before = {name: (next((root / "pool").rglob(name))).read_bytes() for name in find_documents(root)}
    for file in upload.files:
        if file.suffix in (".buildinfo", ".json"):
            file.write_bytes(file.read_bytes() + b"\n")
    issue(upload)
    assert {name: (next((root / "pool").rglob(name))).read_bytes() for name in find_documents(root)} == before


def test_one_more_build_leaves_what_was_signed_as_it_is(root: Path, issue: Issue, build: Callable[..., Upload]) -> None:
    issue(build("1.0-1"))
    (first,) = read_lines(root)
    issue(build("1.0-2"))
    lines = read_lines(root)
    assert len(lines) == 2
    assert first in lines
    sources = [one["version"] for one in read(root, "sbom.cdx.json")["components"] if one["name"] == "ha-logic"]
    assert sources == ["1.0-1", "1.0-2"]


def test_documents_go_back_and_forth_with_their_suite(
    root: Path, issue: Issue, target: PublishTarget, build: Callable[..., Upload]
) -> None:
    issue(build("1.0-1"))
    first = read(root, "sbom.cdx.json")
    issue(build("1.0-2"))
    both = read(root, "sbom.cdx.json")
    rollback(target, BOOKWORM, 1)
    assert read(root, "sbom.cdx.json") == first
    assert len(read_lines(root)) == 1
    rollback(target, BOOKWORM, 2)
    assert read(root, "sbom.cdx.json") == both
    rollback(target, BOOKWORM, 1)
    prune(target, keep=1, days=0, at_once=True)
    assert verify_here(root).faults == ()


def test_what_is_pruned_takes_its_documents_along(
    root: Path, issue: Issue, target: PublishTarget, build: Callable[..., Upload]
) -> None:
    for version in ("1.0-1", "1.0-2"):
        issue(build(version))
    prune(target, keep=1, days=0, at_once=True)
    assert {name.split("_")[1] for name in find_documents(root)} == {"1.0-2"}
    assert verify_here(root).faults == ()
    issue(build("1.0-3"))
    assert verify_here(root).faults == ()


def test_a_promotion_brings_documents_and_what_is_known(
    root: Path, target: PublishTarget, build: Callable[..., Upload]
) -> None:
    upload = build("1.0-1")
    claims = {BOOKWORM: Claims(vex=make_statements(upload, "1.0-1"))}
    publish(target, [upload], pocket="testing", claims=claims)
    promote(target, Suite("bookworm-testing"), BOOKWORM)
    assert len(read_lines(root)) == 1
    (statement,) = read(root, "vex.openvex.json")["statements"]
    assert statement["status"] == "fixed"
    assert read(root, "vex.openvex.json", "bookworm-testing")["statements"] == [statement]


def test_what_is_known_changes_without_a_new_package(
    root: Path, target: PublishTarget, build: Callable[..., Upload]
) -> None:
    upload = build("1.0-1")
    publish(target, [upload], claims={BOOKWORM: Claims(vex=make_statements(upload, "1.0-1", VexStatus.AFFECTED))})
    first = read(root, "vex.openvex.json")
    again = publish(
        target, [upload], claims={BOOKWORM: Claims(vex=make_statements(upload, "1.0-1", VexStatus.AFFECTED))}
    )
    assert again.written == ()
    publish(target, [upload], claims={BOOKWORM: Claims(vex=make_statements(upload, "1.0-1"))})
    second = read(root, "vex.openvex.json")
    assert [one["statements"][0]["status"] for one in (first, second)] == ["affected", "fixed"]
    assert (first["version"], second["version"]) == (1, 2)
    publish(target, [build("1.0-2")])
    assert [one["products"] for one in read(root, "vex.openvex.json")["statements"]] == [
        one["products"] for one in second["statements"]
    ]


def test_rebuilds_of_packages_that_are_there_are_told(
    root: Path, target: PublishTarget, build: Callable[..., Upload]
) -> None:
    upload = build("1.0-1")
    digest = hashlib.sha256(next(f for f in upload.files if f.suffix == ".deb").read_bytes()).hexdigest()
    rebuilds = {digest: {"identical": True}, "f" * 64: {"identical": True}}
    publish(target, [upload], claims={BOOKWORM: Claims(rebuilds=rebuilds)})
    assert read(root, "rebuilds.json") == {digest: {"identical": True}}


def test_the_page_tells_the_evidence_of_each_package(
    root: Path, target: PublishTarget, build: Callable[..., Upload]
) -> None:
    upload = build("1.0-1")
    found = hashlib.sha256(next(f for f in upload.files if f.name.startswith("ha-stack_")).read_bytes()).hexdigest()
    rebuilds = {found: {"identical": True, "rebuilds": [{"variations": ["date", "path"]}]}}
    claims = Claims(vex=make_statements(upload, "1.0-1", VexStatus.AFFECTED), rebuilds=rebuilds)
    publish(target, [upload], claims={BOOKWORM: claims})
    page = (root / "index.html").read_text()
    assert "1 known holes: 1 affected. 1 of 2 packages were built again bit by bit." in page
    assert "Patch x.patch, closes CVE-2026-0001" in page
    assert "<strong>CVE-2026-0001</strong> affected: x.patch" in page
    assert "Bit-identical when it was built again, under date, path." in page
    assert f"commit {'c' * 40}" in page
    for kind in ("buildinfo", "sbom.cdx.json", "provenance.json"):
        assert f"ha-logic_1.0-1_amd64.{kind}" in page


def test_another_key_signs_statements_anew(root: Path, tmp_path: Path, build: Callable[..., Upload]) -> None:
    choice = KeyChoice(home=tmp_path / "keys")
    lifecycle.create(choice.home, "A <a@hapkg.invalid>")
    target = PublishTarget(root=root, identity=IDENTITY, choice=choice)
    publish(target, [build("1.0-1")])
    lifecycle.rotate(choice.home, "A <a@hapkg.invalid>")
    refresh(target)
    (line,) = read_lines(root)
    assert len(line["signatures"]) == 2


def test_a_repository_without_signatures_has_statements_without(
    root: Path, tmp_path: Path, build: Callable[..., Upload]
) -> None:
    target = PublishTarget(root=root, identity=IDENTITY, choice=KeyChoice(home=tmp_path / "none", unsigned=True))
    publish(target, [build("1.0-1")])
    (line,) = read_lines(root)
    assert line["signatures"] == []
