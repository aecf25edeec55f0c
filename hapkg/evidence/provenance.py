"""Provenance of one build: an in-toto Statement (v1) with SLSA's provenance (v1) as its predicate.

The statement says which files came out, the key that decided it and every input of that key, so that a reader can
compute the key again, and what the build was made of. It says no more than is true: the builder is whoever ran hapkg,
on a machine of his own, which is level 1 of SLSA's build track. It is signed when it is published, not when it is
built: a build has no key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packageurl import PackageURL

from hapkg.evidence.build_facts import BuildFacts, BuiltFile

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:hapkg:debian-source-build:1"
LEVEL = 1
"""Of SLSA's build track: higher ones need a hosted builder that its users cannot change."""


@dataclass(frozen=True, kw_only=True)
class BuildStatement:
    """A statement of provenance as it was read: input, until a signature or an index vouches for its bytes."""

    source: str
    version: str
    suite: str
    key: str
    inputs: Mapping[str, Any]
    subjects: Mapping[str, str]
    """sha256 of each file, by name."""
    byproducts: Mapping[str, str]
    materials: tuple[Mapping[str, Any], ...]
    level: int
    """Of SLSA's build track, as it claims."""

    @property
    def tarballs(self) -> dict[str, str]:
        """sha256 of upstream's tarballs, by name."""
        named = ((str(one.get("name", "")), one.get("digest") or {}) for one in self.materials)
        return {name: str(digests.get("sha256", "")) for name, digests in named if ".orig.tar." in name}

    @property
    def origin(self) -> str:
        """The origin of upstream's tarball, in words; "" where there is none."""
        named = (one for one in self.materials if ".orig.tar." in str(one.get("name", "")))
        return next((str((one.get("annotations") or {}).get("origin", "")) for one in named), "")

    @property
    def locked(self) -> Mapping[str, str]:
        """The lock's entry that it quotes; nothing where there was no lock."""
        for one in self.materials:
            if str(one.get("name", "")).startswith("locks/"):
                return {str(key): str(value) for key, value in (one.get("annotations") or {}).items()}
        return {}


def read_statement(content: bytes) -> BuildStatement:
    """Read what write_statement() wrote. Raises ValueError for anything else."""
    try:
        return _read_statement(json.loads(content))
    except (KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise ValueError(f"it is no statement of provenance: {cause!r}") from cause


def _read_statement(table: Any) -> BuildStatement:
    kinds = (table["_type"], table["predicateType"])
    if kinds != (STATEMENT, PREDICATE):
        raise ValueError(f"it is of another kind: {' '.join(str(kind)[:60] for kind in kinds)}")
    definition, run = table["predicate"]["buildDefinition"], table["predicate"]["runDetails"]
    if definition["buildType"] != BUILD_TYPE:
        raise ValueError(f"it is of another build type: {str(definition['buildType'])[:80]}")
    outer, inner = definition["externalParameters"], definition["internalParameters"]
    return BuildStatement(
        source=str(outer["source"]),
        version=str(outer["version"]),
        suite=str(outer["suite"]),
        key=str(inner["key"]),
        inputs=dict(inner["inputs"]),
        subjects={str(one["name"]): str(one["digest"]["sha256"]) for one in table["subject"]},
        byproducts={str(one["name"]): str(one["digest"]["sha256"]) for one in run["byproducts"]},
        materials=tuple(dict(one) for one in definition["resolvedDependencies"]),
        level=int(run.get("hapkg_slsaBuildLevel", 0)),
    )


def write_statement(facts: BuildFacts) -> bytes:
    """The statement of a build, as JSON."""
    statement = {
        "_type": STATEMENT,
        "subject": [_describe_file(file) for file in facts.files],
        "predicateType": PREDICATE,
        "predicate": {"buildDefinition": _define_build(facts), "runDetails": _describe_run(facts)},
    }
    return json.dumps(statement, indent=1, sort_keys=True).encode() + b"\n"


def _define_build(facts: BuildFacts) -> dict[str, Any]:
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": {"source": facts.source, "version": facts.version, "suite": facts.suite},
        "internalParameters": {"key": facts.key, "inputs": facts.inputs},
        "resolvedDependencies": [
            *(
                {
                    "name": material.name,
                    **({"uri": material.address} if material.address else {}),
                    **({"digest": dict(material.digests)} if material.digests else {}),
                    **({"annotations": dict(material.annotations)} if material.annotations else {}),
                }
                for material in facts.materials
            ),
            *(
                {"uri": PackageURL("deb", facts.vendor, name, version).to_string()}
                for name, version in sorted(facts.inputs.get("depends", {}).items())
            ),
        ],
    }


def _describe_run(facts: BuildFacts) -> dict[str, Any]:
    return {
        "builder": {"id": f"urn:hapkg:builder:{facts.builder}", "version": {"hapkg": facts.hapkg}},
        "metadata": {"invocationId": facts.key, "finishedOn": f"{facts.finished:%Y-%m-%dT%H:%M:%SZ}"},
        "byproducts": [_describe_file(file) for file in facts.byproducts],
        "hapkg_slsaBuildLevel": LEVEL,
    }


def _describe_file(file: BuiltFile) -> dict[str, Any]:
    return {"name": file.name, "digest": {"sha256": file.sha256}}
