"""Provenance of one build: an in-toto Statement (v1) with SLSA's provenance (v1) as its predicate.

The statement says which files came out, the key that decided it and every input of that key, so that a reader can
compute the key again, and what the build was made of. It says no more than is true: the builder is whoever ran hapkg,
on a machine of his own, which is level 1 of SLSA's build track. It is signed when it is published, not when it is
built: a build has no key.
"""

from __future__ import annotations

import json
from typing import Any

from packageurl import PackageURL

from hapkg.evidence.build_facts import BuildFacts, BuiltFile

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:hapkg:debian-source-build:1"
LEVEL = 1
"""Of SLSA's build track: higher ones need a hosted builder that its users cannot change."""


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
