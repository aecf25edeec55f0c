"""Reasons for apt to refuse a key, now or from a known day on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from hapkg.repository.keys.keyring import Key, Subkey

NOW = "now"
_CURVES = ("ed25519", "nistp256", "nistp384", "nistp521")
"""Curves that sqv of trixie knows; of brainpool it knows the name alone, whatever apt's policy grants it."""
_SHORTEST_RSA = 2048
SHORT_RSA = (3072, date(2030, 2, 1))
"""RSA below so many bits is refused from this day on."""
_YEAR = timedelta(days=365)


@dataclass(frozen=True, kw_only=True)
class KeyProblem:
    """A reason for apt to refuse a key."""

    fingerprint: str
    reason: str
    when: str
    """now, or a date."""
    remedy: str


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
