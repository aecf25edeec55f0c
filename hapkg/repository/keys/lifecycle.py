"""The keys of a repository over the years: made, imported, judged, rotated, retired."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from hapkg.errors import RepositoryError
from hapkg.repository.keys.gpg import run_gpg
from hapkg.repository.keys.signing import (
    SigningKey,
    add_key,
    export_key,
    find_active,
    generate,
    make_home,
    read_retired,
    retire_key,
    sign,
)

NOW = "now"
_KINDS = {1: "rsa", 3: "rsa", 17: "dsa", 19: "ecdsa", 22: "eddsa"}
_CURVES = ("ed25519", "nistp256", "nistp384", "nistp521")
"""Curves that sqv of trixie knows; of brainpool it knows the name alone, whatever apt's policy grants it."""
_SHORTEST_RSA = 2048
SHORT_RSA = (3072, date(2030, 2, 1))
"""RSA below so many bits is refused from this day on."""
_GOOD_DIGESTS = (8, 9, 10)
_DIGESTS = {1: "an MD5", 2: "a SHA-1", 3: "a RIPEMD-160", 11: "a SHA-224"}
_YEAR = timedelta(days=365)
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


@dataclass(frozen=True, kw_only=True)
class KeyProblem:
    """A reason for apt to refuse a key."""

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
        if faults := [fault for fault in lint(keys[0]) if fault.when == NOW]:
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
    """Retire a key: it signs no more. Raises RepositoryError when it does not sign, or is the last one that does."""
    active = find_active(home)
    found = _pick(fingerprint, active, "one of the keys that sign")
    if len(active) == 1:
        raise RepositoryError(f"{found[0]} is the only key that signs", hint="first: hapkg key rotate")
    retire_key(home, found[0], int(time.time()))
    return next(key for key in list_keys(home) if key.fingerprint == found[0])


def extend(home: Path, fingerprint: str = "", expires: str = "5y") -> Key:
    """Extend the validity of a key, an expired one too, and bind its parts anew. The only one needs no name.

    Raises RepositoryError when it is none of those that are not retired.
    """
    held = [key for key in list_keys(home) if key.fingerprint not in read_retired(home)]
    (found,) = _pick(fingerprint, [key.fingerprint for key in held], "one of the keys here")
    key = next(key for key in held if key.fingerprint == found)
    act = ("--cert-digest-algo", "SHA512", "--quick-set-expire", found, expires)
    add_key(home, *act, doing="extend the key")
    if key.subkeys:
        add_key(home, *act, *(subkey.fingerprint for subkey in key.subkeys), doing="extend the key")
    return next(key for key in list_keys(home) if key.fingerprint == found)


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


def lint(key: Key, *, own: bool = False, day: date | None = None) -> tuple[KeyProblem, ...]:
    """Find reasons for apt to refuse a key, on a day (today) or later.

    They are those of gpgv of bookworm, and of sqv of trixie with apt's own policy.

    own: the key is one of hapkg's, and hapkg can mend it.
    """
    today = day or datetime.now(UTC).date()
    renew = f"hapkg key extend {key.fingerprint}" if own else _renew(key.fingerprint)
    another = "hapkg key rotate" if own else "sign with a new key and, for a while, this one: --key NEW --key OLD"
    faults: list[tuple[str, date, str]] = []
    if key.revoked:
        faults.append(("it is revoked", today, another))
    if key.weakness:
        faults.append((f"its user id is bound to it by {key.weakness}", today, renew))
    faults += [(reason, begin, another) for reason, begin in _judge_algorithm(key.algorithm, "", today)]
    faults += _judge_end(key.expires, "it", renew, today)
    signer = _find_signer(key, today)
    if signer is None and key.certifies_only:
        add = f"gpg --quick-add-key {key.fingerprint} ed25519 sign"
        faults.append(("it cannot sign", today, f"give it a subkey that does: {add}"))
    elif signer:
        name = f"its subkey {signer.fingerprint}"
        renew_subkey = renew if own else f"{_renew(key.fingerprint)} {signer.fingerprint}"
        if signer.revoked:
            faults.append((f"{name} is revoked, and no other signs", today, another))
        if signer.weakness:
            faults.append((f"{name} is bound to it by {signer.weakness}", today, renew_subkey))
        faults += [(reason, begin, another) for reason, begin in _judge_algorithm(signer.algorithm, name, today)]
        if key.certifies_only:
            faults += _judge_end(signer.expires, name, renew_subkey, today)
    return tuple(
        KeyProblem(
            fingerprint=key.fingerprint,
            reason=reason,
            when=NOW if begin <= today else f"{begin:%Y-%m-%d}",
            remedy=remedy,
        )
        for reason, begin, remedy in faults
    )


def _renew(fingerprint: str) -> str:
    """The command by which gpg binds a key's parts together anew."""
    return f"gpg --cert-digest-algo SHA512 --quick-set-expire {fingerprint} 5y"


def _judge_algorithm(algorithm: str, name: str, today: date) -> Iterator[tuple[str, date]]:
    """From when on apt refuses an algorithm, if ever, of the part of a key that is called so."""
    of = f" of {name}" if name else ""
    bits = int(algorithm.removeprefix("rsa")) if algorithm.startswith("rsa") else 0
    if bits and bits < _SHORTEST_RSA:
        yield f"RSA of {bits} bits{of} is too short", today
    elif bits and bits < SHORT_RSA[0]:
        yield f"RSA of {bits} bits{of} is refused", SHORT_RSA[1]
    elif not bits and algorithm not in _CURVES:
        yield f"{algorithm}{of} is refused", today


def _judge_end(expires: int | None, name: str, remedy: str, today: date) -> list[tuple[str, date, str]]:
    """The end of a key or subkey, when it is not more than a year away."""
    end = datetime.fromtimestamp(expires, UTC).date() if expires else date.max
    if end > today + _YEAR:
        return []
    return [(f"{name} has expired" if end <= today else f"{name} expires", end, remedy)]


def _find_signer(key: Key, today: date) -> Subkey | None:
    """The subkey that gpg would sign with: the newest that can; None when the key itself signs, or nothing does."""
    usable = [
        subkey
        for subkey in key.subkeys
        if not subkey.revoked and not (subkey.expires and datetime.fromtimestamp(subkey.expires, UTC).date() <= today)
    ]
    if usable or not key.certifies_only:
        return usable[-1] if usable else None
    return key.subkeys[-1] if key.subkeys else None


def _pick(name: str, known: Sequence[str], what: str) -> list[str]:
    """The one fingerprint with such an end."""
    found = [fingerprint for fingerprint in known if fingerprint.endswith(name.upper().replace(" ", ""))]
    if len(found) != 1:
        raise RepositoryError(f"{name or 'any'} is not {what}", hint=f"those are: {', '.join(known) or 'none'}")
    return found


def _add(home: Path, *arguments: str, doing: str) -> None:
    if home.is_dir() and any(home.iterdir()):
        add_key(home, *arguments, doing=doing)
    else:
        make_home(home, *arguments, doing=doing)


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
