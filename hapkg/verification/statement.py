"""Signed statements of a suite: read, and checked against a keyring. Until then they are input, afterwards facts."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hapkg.evidence.dsse import IN_TOTO, read_envelope
from hapkg.evidence.provenance import BuildStatement, read_statement
from hapkg.repository.keys.signing import find_signature_fault


@dataclass(frozen=True, kw_only=True)
class Statement(BuildStatement):
    """One statement of provenance, and what there is to say of its signature."""

    digest: str
    """sha256 of the payload: that of the unsigned document in the pool."""
    fault: str
    """A sentence on its signature; "" where that is good, "unsigned" where there is none."""


def read_statements(content: bytes, keyring: Path | None) -> tuple[Statement, ...]:
    """The statements of provenance.jsonl. Raises ValueError for a line that is no such statement."""
    found = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            found.append(_read_signed(line, keyring))
        except (KeyError, TypeError, AttributeError, RecursionError) as cause:
            raise ValueError(f"line {number} is no signed statement: {cause!r}") from cause
        except ValueError as cause:
            raise ValueError(f"line {number}: {cause}") from cause
    return tuple(found)


def _read_signed(line: bytes, keyring: Path | None) -> Statement:
    envelope = read_envelope(line)
    if envelope.payload_type != IN_TOTO:
        raise ValueError(f"it is of another kind: {envelope.payload_type[:60]}")
    return Statement(
        **vars(read_statement(envelope.payload)),
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
