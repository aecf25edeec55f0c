"""The keys in a keyring, by their public parts, as gpg reads them."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hapkg.repository.keys.gpg import run_gpg

_KINDS = {1: "rsa", 3: "rsa", 17: "dsa", 19: "ecdsa", 22: "eddsa"}
_GOOD_DIGESTS = (8, 9, 10)
_DIGESTS = {1: "an MD5", 2: "a SHA-1", 3: "a RIPEMD-160", 11: "a SHA-224"}
_Bindings = dict[tuple[str, str], tuple[int, str]]
"""Time of a signature over a part of a key, and its weakness: by ids of key and subkey, or a user id."""


@dataclass(frozen=True, kw_only=True)
class Subkey:
    """A subkey that signs for a key. Times are seconds since 1970."""

    fingerprint: str
    algorithm: str
    made: int
    expires: int | None
    revoked: bool
    weakness: str
    """The weak kind of the signatures that bind it and its key to each other: "a SHA-1 signature"; "" when good."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key, by its public part. Times are seconds since 1970."""

    fingerprint: str
    owner: str
    algorithm: str
    """ed25519, rsa4096, nistp256."""
    made: int
    expires: int | None
    certifies_only: bool
    """It leaves signing to its subkeys."""
    revoked: bool
    weakness: str
    """The weak kind of the signature that binds the best of its user ids to it, as with subkeys."""
    renewed: int
    """Time of the newest signature that binds a user id or a subkey to it."""
    subkeys: tuple[Subkey, ...] = ()
    """Those that sign, the oldest first."""


def read_keys(content: bytes) -> tuple[Key, ...]:
    """The keys in a keyring file, binary or armored, the oldest first. Raises RepositoryError when it is none."""
    with tempfile.TemporaryDirectory(prefix="hapkg-key-") as folder:
        file = Path(folder) / "keys"
        file.write_bytes(content)
        # with the trust model of every other call, gpg ends at a key that has expired: it misses a database of trust
        options = ("--trust-model", "pgp", "--show-keys", "--with-colons", "--with-subkey-fingerprint")
        listing = run_gpg(Path(folder), *options, str(file), doing="read the keys")
        packets = run_gpg(Path(folder), "--no-autostart", "--list-packets", str(file), doing="read the keys")
    bindings = _read_bindings(packets.decode("utf-8", "replace"))
    blocks = re.split(r"^(?=(?:pub|sec):)", listing.decode("utf-8", "replace"), flags=re.M)[1:]
    return tuple(sorted((_read_key(block, bindings) for block in blocks), key=lambda key: key.made))


def _read_key(block: str, bindings: _Bindings) -> Key:
    """A key of a listing (gpg's DETAILS, section "Format of the colon listings")."""
    rows = [line.split(":") for line in block.splitlines()]
    primary = rows[0]
    fingerprints = [row[9] for row in rows if row[0] == "fpr"]
    subkeys = [
        Subkey(
            fingerprint=fingerprint,
            algorithm=_name_algorithm(row),
            made=int(row[5]),
            expires=int(row[6]) if row[6] else None,
            revoked=row[1] == "r",
            weakness=bindings.get((primary[4], row[4]), (0, ""))[1],
        )
        for row, fingerprint in zip(
            (row for row in rows if row[0] in ("pub", "sec", "sub", "ssb")), fingerprints, strict=True
        )
        if row[0] in ("sub", "ssb") and "s" in row[11]
    ]
    parts = {subject: binding for (owner, subject), binding in bindings.items() if owner == primary[4]}
    users = [weakness for subject, (_, weakness) in parts.items() if not re.fullmatch("[0-9A-F]{16}", subject)]
    return Key(
        fingerprint=fingerprints[0],
        owner=next((row[9] for row in rows if row[0] == "uid"), ""),
        algorithm=_name_algorithm(primary),
        made=int(primary[5]),
        expires=int(primary[6]) if primary[6] else None,
        certifies_only="s" not in primary[11],
        revoked=primary[1] == "r",
        weakness=min(users, default=""),
        renewed=max((made for made, _ in parts.values()), default=int(primary[5])),
        subkeys=tuple(sorted(subkeys, key=lambda subkey: subkey.made)),
    )


def _name_algorithm(row: list[str]) -> str:
    kind = _KINDS.get(int(row[3]), f"algorithm {row[3]}")
    return f"{kind}{row[2]}" if kind in ("rsa", "dsa") else row[16] or kind


def _read_bindings(packets: str) -> _Bindings:
    """The newest signature of each key over each of its user ids and subkeys: apt looks at the newest alone."""
    newest: _Bindings = {}
    owner = subject = ""
    for packet in re.split(r"^(?=:)", packets, flags=re.M):
        if packet.startswith((":public", ":secret")):
            subject = re.findall(r"^\tkeyid: (\w+)", packet, re.M)[0]
            owner = owner if "sub key packet" in packet else subject
        if packet.startswith(":user ID"):
            subject = packet.partition("\n")[0]
        match = re.match(
            r":signature packet: algo \d+, keyid (\w+)\s+version (\d+), created (\d+), md5len \d+, "
            r"sigclass 0x(10|11|12|13|18|1f|30)\s+digest algo (\d+)",
            packet,
        )
        if match and match[1] == owner:
            target = ":direct" if match[4] == "1f" else subject
            back = re.findall(r"\(signature: v(\d+), class 0x19, algo \d+, digest algo (\d+)\)", packet)
            weak = [_judge_signature(*words) for words in ((match[2], match[5]), *back)]
            weakness = "no signature" if match[4] == "30" else max(weak)
            newest[owner, target] = max(newest.get((owner, target), (0, "")), (int(match[3]), weakness))
    return newest


def _judge_signature(version: str, digest: str) -> str:
    if version == "3":
        return "a version 3 signature"
    return "" if int(digest) in _GOOD_DIGESTS else f"{_DIGESTS.get(int(digest), f'a digest {digest}')} signature"
