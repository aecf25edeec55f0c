"""Signed statements of a suite: read, and checked against a keyring. Until then they are input, afterwards facts."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hapkg.evidence.dsse import IN_TOTO, read_envelope
from hapkg.evidence.provenance import BUILD_TYPE, PREDICATE, STATEMENT
from hapkg.repository.keys.signing import find_signature_fault


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement of provenance."""

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
    digest: str
    """sha256 of the payload: that of the unsigned document in the pool."""
    fault: str
    """A sentence on its signature; "" where that is good, "unsigned" where there is none."""

    @property
    def tarballs(self) -> dict[str, str]:
        """sha256 of upstream's tarballs, by name."""
        named = ((str(one.get("name", "")), one.get("digest") or {}) for one in self.materials)
        return {name: str(digests.get("sha256", "")) for name, digests in named if ".orig.tar." in name}

    @property
    def locked(self) -> Mapping[str, str]:
        """The lock's entry that it quotes; nothing where there was no lock."""
        for one in self.materials:
            if str(one.get("name", "")).startswith("locks/"):
                return {str(key): str(value) for key, value in (one.get("annotations") or {}).items()}
        return {}


def read_statements(content: bytes, keyring: Path | None) -> tuple[Statement, ...]:
    """The statements of provenance.jsonl. Raises ValueError for a line that is no such statement."""
    found = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            found.append(_read_statement(line, keyring))
        except (KeyError, TypeError, AttributeError, RecursionError) as cause:
            raise ValueError(f"line {number} is no statement of provenance: {cause!r}") from cause
        except ValueError as cause:
            raise ValueError(f"line {number}: {cause}") from cause
    return tuple(found)


def _read_statement(line: bytes, keyring: Path | None) -> Statement:
    envelope = read_envelope(line)
    table: Any = json.loads(envelope.payload)
    kinds = (envelope.payload_type, table["_type"], table["predicateType"])
    if kinds != (IN_TOTO, STATEMENT, PREDICATE):
        raise ValueError(f"it is of another kind: {' '.join(str(kind)[:60] for kind in kinds)}")
    definition, run = table["predicate"]["buildDefinition"], table["predicate"]["runDetails"]
    if definition["buildType"] != BUILD_TYPE:
        raise ValueError(f"it is of another build type: {str(definition['buildType'])[:80]}")
    outer, inner = definition["externalParameters"], definition["internalParameters"]
    return Statement(
        source=str(outer["source"]),
        version=str(outer["version"]),
        suite=str(outer["suite"]),
        key=str(inner["key"]),
        inputs=dict(inner["inputs"]),
        subjects={str(one["name"]): str(one["digest"]["sha256"]) for one in table["subject"]},
        byproducts={str(one["name"]): str(one["digest"]["sha256"]) for one in run["byproducts"]},
        materials=tuple(dict(one) for one in definition["resolvedDependencies"]),
        level=int(run.get("hapkg_slsaBuildLevel", 0)),
        digest=hashlib.sha256(envelope.payload).hexdigest(),
        fault=_judge(envelope.signed_bytes, envelope.signatures, keyring),
    )


def _judge(content: bytes, signatures: Mapping[str, bytes], keyring: Path | None) -> str:
    """One good signature is enough: while a key is rotated, a node may have either."""
    if not signatures:
        return "unsigned"
    if keyring is None:
        return "there is no keyring to check it with"
    faults = []
    with tempfile.TemporaryDirectory(prefix="hapkg-statement-") as scratch:
        signed, signature = Path(scratch) / "signed", Path(scratch) / "signature"
        signed.write_bytes(content)
        for found in signatures.values():
            signature.write_bytes(found)
            fault = find_signature_fault(keyring, signature, signed)
            if not fault:
                return ""
            faults.append(fault)
    return "; ".join(faults)
