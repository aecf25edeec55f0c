"""Signed texts of a place: read when one of the trusted keys has signed them, and written."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from hapkg.cache.entry import MOST_BYTES, SignedEntry, find_key_path
from hapkg.cache.place import Place, WritablePlace
from hapkg.errors import RepositoryError
from hapkg.records import format_record, read_record
from hapkg.repository.keys.gpg import run_gpg
from hapkg.repository.keys.signing import (
    SigningKey,
    export_key,
    find_signature_fault,
    list_fingerprints,
    make_home,
    sign,
)

_MOST_KEY_BYTES = 1 << 20


def peek(place: Place, path: str) -> SignedEntry | str | None:
    """The text at a path, whoever signed it; a clause about why it is none; None where there is none.

    For those who only look which files it names. Raises FetchError.
    """
    with tempfile.TemporaryDirectory(prefix="hapkg-cache-") as folder:
        file = Path(folder, "entry.json")
        if not place.read(path, file, MOST_BYTES):
            return None
        return read_record(file, SignedEntry) or "is damaged"


class SignedReader:
    """Reads texts and judges who signed them. Its methods may be called by several threads."""

    def __init__(self, place: Place, trusted: Sequence[str]) -> None:
        self.place = place
        self._trusted = trusted
        self._keyrings: dict[str, bytes | None] = {}
        self._lock = threading.Lock()

    def read(self, path: str) -> SignedEntry | str | None:
        """The text at a path with a good signature; a clause about why it is not used; None where there is none.

        Raises FetchError.
        """
        envelope = peek(self.place, path)
        if envelope is None or isinstance(envelope, str):
            return envelope
        if envelope.signer not in self._trusted:
            return f"is signed by {envelope.signer[:40]!a}, which build-cache-trust does not name"
        keyring = self._find_keyring(envelope.signer)
        if keyring is None:
            return f"is signed by {envelope.signer}, whose key is not there"
        parts = {"keyring.gpg": keyring, "text": envelope.entry.encode(), "signature": envelope.signature.encode()}
        with tempfile.TemporaryDirectory(prefix="hapkg-cache-") as folder:
            for name, content in parts.items():
                Path(folder, name).write_bytes(content)
            if fault := find_signature_fault(*(Path(folder, name) for name in ("keyring.gpg", "signature", "text"))):
                return f"has no good signature of {envelope.signer}: {fault}"
        return envelope

    def _find_keyring(self, fingerprint: str) -> bytes | None:
        """The public key of a fingerprint, as gpgv takes it: the fingerprint vouches for it, not the place."""
        with self._lock:
            if fingerprint not in self._keyrings:
                self._keyrings[fingerprint] = self._read_keyring(fingerprint)
            return self._keyrings[fingerprint]

    def _read_keyring(self, fingerprint: str) -> bytes | None:
        with tempfile.TemporaryDirectory(prefix="hapkg-cache-") as folder:
            file = Path(folder, "keyring.gpg")
            if not self.place.read(find_key_path(fingerprint), file, _MOST_KEY_BYTES):
                return None
            try:
                if list_fingerprints(file) != (fingerprint,):
                    return None
                return read_public_keys(file, (fingerprint,), Path(folder, "home"))[fingerprint]
            except RepositoryError:
                return None


def read_public_keys(keyring: Path, fingerprints: Sequence[str], home: Path) -> dict[str, bytes]:
    """Public keys of a keyring file by fingerprint, as gpg exports them after it has imported them into a new home.

    gpgv believes a keyring: of parts that the key itself has not signed, only gpg's import says that they are not its.
    Raises RepositoryError.
    """
    doing = f"read the keys in {keyring.name}"
    make_home(home, "--import", str(keyring), doing=doing)
    return {one: run_gpg(home, "--export", one, doing=doing) for one in fingerprints}


def write_signed(place: WritablePlace, path: str, content: bytes, key: SigningKey) -> None:
    """Sign a text, and put it at a path with its signature and the key's public half."""
    with tempfile.TemporaryDirectory(prefix="hapkg-cache-") as folder:
        text, public, whole = (Path(folder, name) for name in ("text", "key", "entry.json"))
        text.write_bytes(content)
        _, signature = sign(key, text)
        envelope = SignedEntry(entry=content.decode(), signature=signature.decode(), signer=key.fingerprint)
        whole.write_bytes(format_record(vars(envelope)))
        public.write_bytes(export_key(key, armored=False))
        place.write(find_key_path(key.fingerprint), public)
        place.write(path, whole)
