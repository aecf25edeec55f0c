"""DSSE: securesystemslib reads what is written here, and the other way round."""

from __future__ import annotations

import json

import pytest
import securesystemslib.dsse
from securesystemslib.signer._signature import Signature

from hapkg.evidence.dsse import IN_TOTO, Envelope, encode, read_envelope

ENVELOPE = Envelope(payload=b'{"a": 1}', payload_type=IN_TOTO, signatures={"A" * 40: b"signature"})


def test_the_library_reads_it() -> None:
    read = securesystemslib.dsse.Envelope.from_dict(json.loads(ENVELOPE.format()))
    assert read.pae() == ENVELOPE.signed_bytes == encode(IN_TOTO, b'{"a": 1}')
    assert {keyid: bytes.fromhex(one.signature) for keyid, one in read.signatures.items()} == ENVELOPE.signatures


def test_what_the_library_writes_is_read() -> None:
    other = securesystemslib.dsse.Envelope(b"x", IN_TOTO, {"b" * 40: Signature("b" * 40, b"s".hex())})
    assert read_envelope(json.dumps(other.to_dict()).encode()) == Envelope(
        payload=b"x", payload_type=IN_TOTO, signatures={"b" * 40: b"s"}
    )


@pytest.mark.parametrize("change", [{"signatures": [{"keyid": "a", "sig": "?"}]}, {"payload": 7}, {"signatures": 7}])
def test_anything_else_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        read_envelope(json.dumps({**json.loads(ENVELOPE.format()), **change}).encode())


def test_two_signatures_of_one_key_are_refused() -> None:
    table = json.loads(ENVELOPE.format())
    table["signatures"] *= 2
    with pytest.raises(ValueError):
        read_envelope(json.dumps(table).encode())
