"""The keys of a repository over the years: made, imported, rotated, extended, retired."""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from hapkg.errors import RepositoryError, UsageError
from hapkg.repository.keys.gpg import run_gpg
from hapkg.repository.keys.keyring import Key, read_keys
from hapkg.repository.keys.lint import NOW, lint
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

_DAYS = {"": 1, "d": 1, "w": 7, "m": 30, "y": 365}
"""Days of gpg's units."""


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

    `expires` as gpg takes it: 5y, 18m, 2030-01-31, never. Raises RepositoryError when the key is none of those that are
    not retired, or would end sooner than now.
    """
    held = [key for key in list_keys(home) if key.fingerprint not in read_retired(home)]
    (found,) = _pick(fingerprint, [key.fingerprint for key in held], "one of the keys here")
    key = next(key for key in held if key.fingerprint == found)
    _check_extends(key, expires)
    act = ("--cert-digest-algo", "SHA512", "--quick-set-expire", found, expires)
    add_key(home, *act, doing="extend the key")
    if key.subkeys:
        add_key(home, *act, *(subkey.fingerprint for subkey in key.subkeys), doing="extend the key")
    return next(key for key in list_keys(home) if key.fingerprint == found)


def _check_extends(key: Key, expires: str) -> None:
    """Raise RepositoryError unless a key and its parts last longer afterwards, for nodes believe the later date."""
    asked = _find_end(expires)
    for name, end in ((key.fingerprint, key.expires), *((sub.fingerprint, sub.expires) for sub in key.subkeys)):
        if asked is not None and (end is None or asked < end):
            until = f"is valid until {datetime.fromtimestamp(end, UTC):%Y-%m-%d}" if end else "never expires"
            raise RepositoryError(
                f"{name} {until}, and would end sooner with --expires {expires}",
                hint="say a later date, or never; to end a key: hapkg key retire, once another one signs",
            )


def _find_end(expires: str) -> int | None:
    """When something ends, in seconds since 1970, that gpg is told to make last so long; None for never."""
    if expires in ("never", "none", "0", "-"):
        return None
    if match := re.fullmatch(r"(\d{1,6})([dwmy]?)", expires):
        return int(time.time()) + int(match[1]) * _DAYS[match[2]] * 86400
    with contextlib.suppress(ValueError):
        return int(datetime.strptime(expires, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    raise UsageError(f"{expires!a} is no time that a key can last", hint="say 5y, 18m, 2030-01-31 or never")


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
