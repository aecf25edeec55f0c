"""The keys of a repository over the years: made, imported, judged, rotated, retired."""

from __future__ import annotations

import re
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hapkg.errors import RepositoryError
from hapkg.signing import (
    SigningKey,
    add_key,
    export_key,
    find_active,
    generate,
    make_home,
    read_retired,
    retire_key,
    run_gpg,
    sign,
)

_ALGORITHMS = {1: "rsa", 17: "dsa", 18: "ecdh", 19: "ecdsa", 22: "ed25519"}
_SHORTEST_RSA = 2048
_SOON = 3072
_WEAK_DIGESTS = {1: "MD5", 2: "SHA-1", 3: "RIPEMD-160"}
_FORGOTTEN_DIGEST = 11  # SHA-224
_YEAR = 365 * 86400


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key, by its public part. Times are seconds since 1970."""

    fingerprint: str
    owner: str
    algorithm: str
    """ed25519, rsa4096."""
    made: int
    expires: int | None
    can_sign: bool
    revoked: bool
    digests: tuple[int, ...]
    """Digest algorithms of the signatures that bind user ids and subkeys to it, by their numbers in OpenPGP."""
    renewed: int
    """Time of the newest of those signatures."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why apt refuses a key."""

    fingerprint: str
    reason: str
    when: str
    """now, or a date."""
    remedy: str


def create(home: Path, owner: str, expires: str = "never") -> Key:
    """Make a key in hapkg's own home; it signs from now on. Raises RepositoryError when there is one that signs."""
    if active := find_active(home):
        raise RepositoryError(
            f"there is a signing key already: {active[-1]}", hint="to replace it over time: hapkg key rotate"
        )
    _add(home, *generate(owner, expires), doing="make a key")
    return list_keys(home)[-1]


def rotate(home: Path, owner: str, expires: str = "never") -> Key:
    """Make a second key: both sign until the old one is retired. Raises RepositoryError when there is none yet."""
    if not find_active(home):
        raise RepositoryError("there is no key to rotate", hint="make one: hapkg key create")
    before = {key.fingerprint for key in list_keys(home)}
    _add(home, *generate(owner, expires), doing="make a key")
    (made,) = (key for key in list_keys(home) if key.fingerprint not in before)
    return made


def import_key(home: Path, file: Path) -> Key:
    """Take a secret key into hapkg's own home; it signs from now on, with those that do.

    Raises RepositoryError when the file holds none, when apt would refuse it, or when it has a passphrase.
    """
    with tempfile.TemporaryDirectory(prefix="hapkg-key-") as folder:
        trial = Path(folder) / "keys"
        make_home(trial, "--import", str(file), doing=f"import {file}")
        (text := Path(folder) / "text").write_text("trial\n", "utf-8")
        keys = list_keys(trial)
        if len(keys) != 1:
            raise RepositoryError(f"{file} holds {len(keys)} keys", hint="export one alone, with its secret part")
        if faults := [fault for fault in lint(keys[0]) if fault.when == "now"]:
            raise RepositoryError(f"apt refuses the key in {file}: {faults[0].reason}", hint=faults[0].remedy)
        try:
            sign(SigningKey(home=trial, fingerprint=keys[0].fingerprint), text)
        except RepositoryError as error:
            raise RepositoryError(
                f"the key in {file} cannot sign here",
                details=error.details,
                hint="a secret key without passphrase is needed; with one, keep it in your GnuPG and use --key",
            ) from error
    _add(home, "--import", str(file), doing=f"import {file}")
    return keys[0]


def retire(home: Path, fingerprint: str) -> Key:
    """Let a key sign no more. Raises RepositoryError when it does not sign, or is the last one that does."""
    active = find_active(home)
    found = [name for name in active if name.endswith(fingerprint.upper().replace(" ", ""))]
    if len(found) != 1:
        raise RepositoryError(
            f"{fingerprint} is not one of the keys that sign", hint=f"those are: {', '.join(active) or 'none'}"
        )
    if len(active) == 1:
        raise RepositoryError(f"{found[0]} is the only key that signs", hint="first: hapkg key rotate")
    retire_key(home, found[0], int(time.time()))
    return next(key for key in list_keys(home) if key.fingerprint == found[0])


def list_keys(home: Path) -> tuple[Key, ...]:
    """All keys of hapkg's own home, the oldest first."""
    if not home.is_dir():
        return ()
    return read_keys(run_gpg(home, "--export", doing="export the keys"))


def export(home: Path, *, armored: bool) -> bytes:
    """The public keys that sign now. Raises RepositoryError when there is none."""
    active = find_active(home)
    if not active:
        raise RepositoryError("there is no key yet", hint="make one: hapkg key create")
    return export_key(SigningKey(home=home, fingerprint=active[-1], others=tuple(active[-2::-1])), armored=armored)


def date_keyring(home: Path) -> int:
    """When the set of keys that sign, or what they say, changed last: seconds since 1970."""
    active = find_active(home)
    times = [key.renewed for key in list_keys(home) if key.fingerprint in active]
    return max([*times, *read_retired(home).values()])


def read_keys(content: bytes) -> tuple[Key, ...]:
    """The keys in a keyring file, binary or armored. Raises RepositoryError when it is none."""
    with tempfile.TemporaryDirectory(prefix="hapkg-key-") as folder:
        file = Path(folder) / "keys"
        file.write_bytes(content)
        options = ("--show-keys", "--with-colons", "--with-fingerprint")
        listing = run_gpg(Path(folder), *options, str(file), doing="read the keys").decode("utf-8", "replace")
        found = [_read_key(block) for block in re.split(r"^(?=(?:pub|sec):)", listing, flags=re.M)[1:]]
        keys = [_add_bindings(key, file, Path(folder)) for key in found]
    return tuple(sorted(keys, key=lambda key: key.made))


def lint(key: Key) -> tuple[Fault, ...]:
    """What apt refuses of a key, today or within a year: gpgv of bookworm and sqv of trixie with apt's own policy."""
    now = time.time()
    faults: list[tuple[str, str, str]] = []
    another = "rotate to a new key: hapkg key rotate"
    renew = f"gpg --cert-digest-algo SHA512 --quick-set-expire {key.fingerprint} 5y"
    if key.revoked:
        faults.append(("it is revoked", "now", another))
    if not key.can_sign:
        faults.append(("it cannot sign", "now", "make a key with the capability to sign: hapkg key create"))
    if key.expires and key.expires < now + _YEAR:
        when = "now" if key.expires < now else f"{datetime.fromtimestamp(key.expires, UTC):%Y-%m-%d}"
        faults.append(("it expires" if key.expires > now else "it has expired", when, another))
    if key.algorithm.startswith("dsa"):
        faults.append(("DSA is refused", "now", another))
    if key.algorithm.startswith("rsa"):
        bits = int(key.algorithm.removeprefix("rsa"))
        if bits < _SHORTEST_RSA:
            faults.append((f"RSA of {bits} bits is too short", "now", another))
        elif bits < _SOON:
            faults.append((f"RSA of {bits} bits is refused", "2030-02-01", another))
    weak = [_WEAK_DIGESTS[digest] for digest in key.digests if digest in _WEAK_DIGESTS]
    if weak:
        faults.append((f"its user id or a subkey is bound to it by a {weak[0]} signature", "now", renew))
    if _FORGOTTEN_DIGEST in key.digests:
        faults.append(("its user id or a subkey is bound to it by a SHA-224 signature", "now", renew))
    return tuple(
        Fault(fingerprint=key.fingerprint, reason=reason, when=when, remedy=remedy) for reason, when, remedy in faults
    )


def _add(home: Path, *arguments: str, doing: str) -> None:
    if home.is_dir() and any(home.iterdir()):
        add_key(home, *arguments, doing=doing)
    else:
        make_home(home, *arguments, doing=doing)


def _read_key(block: str) -> Key:
    """A key of a listing (gpg's DETAILS, section "Format of the colon listings")."""
    rows = [line.split(":") for line in block.splitlines()]
    primary = rows[0]
    kind = _ALGORITHMS.get(int(primary[3]), f"algorithm-{primary[3]}")
    return Key(
        fingerprint=next(row[9] for row in rows if row[0] == "fpr"),
        owner=next((row[9] for row in rows if row[0] == "uid"), ""),
        algorithm=f"{kind}{primary[2]}" if kind in ("rsa", "dsa") else kind,
        made=int(primary[5]),
        expires=int(primary[6]) if primary[6] else None,
        can_sign="s" in primary[11].lower(),
        revoked=primary[1] == "r",
        digests=(),
        renewed=int(primary[5]),
    )


def _add_bindings(key: Key, file: Path, home: Path) -> Key:
    """The key with what its newest self-signatures are: of each kind, apt looks at the newest alone."""
    packets = run_gpg(home, "--no-autostart", "--list-packets", str(file), doing="read the keys").decode(
        "utf-8", "replace"
    )
    newest: dict[tuple[int, str], tuple[int, int]] = {}
    subject = ""
    for packet in re.split(r"^(?=:)", packets, flags=re.M):
        if packet.startswith((":public", ":secret", ":user ID")):
            subject = packet
        match = re.match(
            r":signature packet: algo \d+, keyid (\w+)\s+version \d+, created (\d+), md5len \d+, sigclass 0x(\w+)"
            r"\s+digest algo (\d+)",
            packet,
        )
        if match and key.fingerprint.endswith(match[1]) and match[3] in ("10", "11", "12", "13", "18", "1f"):
            place = (int(match[3], 16), subject)
            newest[place] = max(newest.get(place, (0, 0)), (int(match[2]), int(match[4])))
    return Key(
        **{
            **vars(key),
            "digests": tuple(sorted({digest for _, digest in newest.values()})),
            "renewed": max((made for made, _ in newest.values()), default=key.made),
        }
    )
