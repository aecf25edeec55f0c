"""DSSE envelopes: a payload, its type, and signatures over both. docs/decisions/0025 tells why no library does it.

A signature is a detached OpenPGP signature over the pre-authentication encoding, so that gpgv checks it with the same
keyring as the repository's Release files; its keyid is the key's fingerprint.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

IN_TOTO = "application/vnd.in-toto+json"
_MOST_SIGNATURES = 16


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A signed payload."""

    payload: bytes
    payload_type: str
    signatures: Mapping[str, bytes]
    """By the fingerprint of the key."""

    @property
    def signed_bytes(self) -> bytes:
        """Bytes that the signatures are over: the pre-authentication encoding of type and payload."""
        return encode(self.payload_type, self.payload)

    def format(self) -> bytes:
        """The envelope as one line of JSON."""
        return (
            json.dumps(
                {
                    "payload": base64.b64encode(self.payload).decode(),
                    "payloadType": self.payload_type,
                    "signatures": [
                        {"keyid": keyid, "sig": base64.b64encode(signature).decode()}
                        for keyid, signature in self.signatures.items()
                    ],
                }
            ).encode()
            + b"\n"
        )


def encode(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def read_envelope(line: bytes) -> Envelope:
    """An envelope from its JSON. Raises ValueError for anything else."""
    try:
        table: Any = json.loads(line)
        signatures = {str(one["keyid"]): base64.b64decode(one["sig"], validate=True) for one in table["signatures"]}
        if len(table["signatures"]) > _MOST_SIGNATURES or len(signatures) != len(table["signatures"]):
            raise ValueError("it has too many signatures, or two of one key")
        return Envelope(
            payload=base64.b64decode(table["payload"], validate=True),
            payload_type=str(table["payloadType"]),
            signatures=signatures,
        )
    except (KeyError, TypeError, RecursionError, binascii.Error) as cause:
        raise ValueError(f"it is no DSSE envelope: {cause}") from cause
