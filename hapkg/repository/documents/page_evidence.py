"""Evidence of packages as the page tells it: code, patches, holes, rebuilds, and where the documents are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hapkg.control import Suite
from hapkg.evidence.suite_sbom import read_suite_sbom
from hapkg.evidence.vex import VexStatement, VexStatus, read_vex
from hapkg.repository.documents.names import REBUILDS, STATEMENTS, SUITE_SBOM, VEX
from hapkg.repository.documents.suite import read_documents, read_rebuilds
from hapkg.repository.indexes import read_indexes

_WORDS = {"bom": "SBOM of the build", "attestation": "statement", "build-meta": ".buildinfo"}


@dataclass(frozen=True, kw_only=True)
class PatchEvidence:
    """A patch, and the holes that it closes."""

    name: str
    holes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PackageEvidence:
    """Evidence of one package."""

    code: tuple[str, ...]
    """Name, version, and commit of upstream's code."""
    patches: tuple[PatchEvidence, ...]
    holes: tuple[tuple[str, str, str], ...]
    """Id, status in words, and why."""
    documents: tuple[tuple[str, str], ...]
    """Kind and URL of each."""
    rebuilt: str
    """A sentence."""


@dataclass(frozen=True, kw_only=True)
class SuiteEvidence:
    """Evidence of a suite."""

    packages: Mapping[tuple[str, str], PackageEvidence]
    """By name and version."""
    documents: tuple[tuple[str, str], ...]
    summary: str
    """A sentence: holes by their status, packages that were rebuilt."""


def tell_suite(root: Path, suite: Suite) -> SuiteEvidence | None:
    """The evidence of a suite; None where it has no SBOM, or one that cannot be read: verify tells of that."""
    found = read_documents(root, suite, read_indexes(root, suite))
    if SUITE_SBOM not in found:
        return None
    try:
        entries = read_suite_sbom(found[SUITE_SBOM])
        statements = read_vex(found[VEX])[0] if VEX in found else []
        rebuilds = read_rebuilds(found[REBUILDS]) if REBUILDS in found else {}
        packages = {
            (str(package["name"]), str(package["version"])): _tell(package, entry.source, statements, rebuilds)
            for entry in entries
            for package in entry.packages
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    names = {"SBOM": SUITE_SBOM, "VEX": VEX, "signed provenance": STATEMENTS, "rebuilds": REBUILDS}
    known = tuple((word, quote(f"dists/{suite}/{path}")) for word, path in names.items() if path in found)
    holes = {(one.hole, one.status) for one in statements}
    counts = {status: len([hole for hole, of in holes if of is status]) for status in VexStatus}
    rebuilt = len([told for told in packages.values() if told.rebuilt.startswith("bit-identical")])
    words = [f"{count} {status.replace('_', ' ')}" for status, count in counts.items() if count]
    summary = f"{len({hole for hole, _ in holes})} known holes: {', '.join(words)}. " if words else "No known holes. "
    return SuiteEvidence(
        packages=packages,
        documents=known,
        summary=f"{summary}{rebuilt} of {len(packages)} packages were built again bit by bit.",
    )


def _tell(
    package: Mapping[str, Any],
    source: Mapping[str, Any],
    statements: Sequence[VexStatement],
    rebuilds: Mapping[str, Mapping[str, object]],
) -> PackageEvidence:
    pedigree = package.get("pedigree", {})
    commits = [str(one["uid"]) for one in pedigree.get("commits", ())]
    reference = str(package["bom-ref"])
    return PackageEvidence(
        code=(
            *(f"{one['name']} {one['version']}" for one in pedigree.get("ancestors", ())),
            *(f"commit {commit}" for commit in commits),
        ),
        patches=tuple(_tell_patches(pedigree)),
        holes=tuple(
            (one.hole, one.status.replace("_", " "), one.why) for one in statements if reference in one.products
        ),
        documents=tuple(
            (_WORDS[str(one["type"])], quote(str(one["url"])))
            for one in source.get("externalReferences", ())
            if one.get("type") in _WORDS
        ),
        rebuilt=_tell_rebuild(rebuilds.get(str(package["hashes"][0]["content"]))),
    )


def _tell_patches(pedigree: Mapping[str, Any]) -> Iterator[PatchEvidence]:
    for patch in pedigree.get("patches", ()):
        name = str(patch["diff"]["url"]).rpartition("/")[2]
        yield PatchEvidence(name=name, holes=tuple(sorted(str(one["id"]) for one in patch.get("resolves", ()))))


def _tell_rebuild(record: Mapping[str, object] | None) -> str:
    if record is None:
        return "not built again"
    if record.get("identical") is not True:
        return "built again, and it came out different"
    runs = record.get("rebuilds")
    varied = {str(name) for run in (runs if isinstance(runs, list) else []) for name in run.get("variations", ())}
    return "bit-identical when it was built again" + (f", under {', '.join(sorted(varied))}" if varied else "")
