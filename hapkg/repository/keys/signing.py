"""The key that signs the repository: found, made on first use, used.

hapkg's own key lives in a gpg home of its own, without passphrase, so that a publish needs nobody at the keyboard. The
key the user names with `--key` stays in the user's own gpg home, with the user's own agent: not hapkg's to end.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from hapkg.disk import make_scratch, remove_tree, replace, sync
from hapkg.errors import RepositoryError
from hapkg.programs.process import run
from hapkg.repository.keys.gpg import SECRET_PARTS, open_home, run_gpg, run_with_agent, sign_each

_MARKS = (
    b"-----BEGIN PGP SIGNED MESSAGE-----\n",
    b"\n-----BEGIN PGP SIGNATURE-----\n",
    b"\n-----END PGP SIGNATURE-----",
)
_FAULTS = {
    "BADSIG": "it was changed after it was signed by {}",
    "EXPKEYSIG": "the key that signed it has expired: {}",
    "REVKEYSIG": "the key that signed it was revoked: {}",
    "EXPSIG": "its signature has expired",
    "NO_PUBKEY": "it is signed by {}, a key that the keyring does not have",
}
"""Words of gpgv on signatures that do not count, and theirs of ours."""
_MOST_RETIRED = 1 << 20
"""Letters that are read of the list of retired keys."""


@dataclass(frozen=True, kw_only=True)
class KeyChoice:
    """The choice of the keys that sign: hapkg's own, or some of the user's gpg home."""

    home: Path
    """The gpg home of hapkg's own key; the key is made there on first use. Unused when names are given."""
    names: tuple[str, ...] = ()
    """Fingerprints or e-mail addresses of the user's keys, the newest first; none for hapkg's own."""
    unsigned: bool = False
    """Sign nothing at all: only because somebody said so."""

    @property
    def folder(self) -> Path:
        """The gpg home the secret key lies in, without symbolic links."""
        if self.names:
            return Path(os.environ.get("GNUPGHOME") or Path.home() / ".gnupg").resolve()
        return self.home.resolve()


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A secret key that exists and can sign."""

    home: Path | None
    """hapkg's own gpg home, or None for the user's."""
    fingerprint: str
    """40 hexadecimal digits, upper case."""
    made: bool = False
    """Made just now."""
    others: tuple[str, ...] = ()
    """Fingerprints of further keys that sign too: while one is rotated, the old and the new one."""
    ends: Mapping[str, int] = field(default_factory=dict)
    """Time at which keys expire, those that do, in seconds since 1970, by fingerprint."""

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """All keys that sign, the newest first."""
        return (self.fingerprint, *self.others) if self.fingerprint else ()


UNSIGNED = SigningKey(home=None, fingerprint="")
"""No key."""


def find_key(choice: KeyChoice, *, owner: str) -> SigningKey:
    """The chosen key; hapkg's own is made when there is none yet, with owner ("NAME <ADDRESS>") as its user id.

    Raises RepositoryError when the user has no such key, several, or one that cannot sign.
    """
    if choice.unsigned:
        return UNSIGNED
    if choice.names:
        return _find_named_keys(choice.names)
    made = False
    if not choice.home.is_dir() or not any(choice.home.iterdir()):
        make_home(choice.home, *generate(owner), doing="make a key")
        made = True
    usable = _find_active(choice.home)
    if not usable:
        raise RepositoryError(
            f"{choice.home} holds no key that can sign",
            hint="one that has expired signs again after: hapkg key extend; else restore the folder from a copy, "
            "or move it away to get a new key. Machines that use the repository must then trust what is new",
        )
    newest, *others = reversed(usable)
    return SigningKey(home=choice.home, fingerprint=newest, made=made, others=tuple(others), ends=_drop_never(usable))


def find_active(home: Path) -> list[str]:
    """Fingerprints of the keys of hapkg's own gpg home that sign, the oldest first; none when there is no home."""
    return list(_find_active(home))


def _find_active(home: Path) -> dict[str, int]:
    """Fingerprints of the keys that sign, the oldest first, and when they expire in seconds since 1970, 0 for never."""
    if not home.is_dir():
        return {}
    listing = run_gpg(home, "--with-colons", "--list-keys", doing="list the keys")
    usable = _find_usable(listing)
    retired = read_retired(home)
    return {fingerprint: end for fingerprint, end in usable.items() if fingerprint not in retired}


def read_retired(home: Path) -> dict[str, int]:
    """Time at which each retired key stopped signing, in seconds since 1970, by fingerprint.

    Raises RepositoryError for a damaged list: were it as good as absent, retired keys would sign again.
    """
    file = home / "retired"
    try:
        with file.open(encoding="ascii", errors="replace") as opened:
            lines = opened.read(_MOST_RETIRED).splitlines()
    except FileNotFoundError:
        return {}
    except OSError as cause:
        raise RepositoryError(f"{file} cannot be read: {cause.strerror}", hint="restore it from a copy") from cause
    found = [re.fullmatch(r"([0-9A-F]{40,64}) (\d{1,11})", line) for line in lines]
    if not lines or not all(found):
        raise RepositoryError(
            f"{file} is damaged: it must hold lines of a fingerprint and a time",
            hint="restore it from a copy; without it, keys that were retired sign again",
        )
    return {match[1]: int(match[2]) for match in found if match}


def retire_key(home: Path, fingerprint: str, time: int) -> None:
    """Retire a key. Its secret stays in the home: removing it cannot be undone, and proves nothing."""
    retired = {**read_retired(home), fingerprint: time}
    replace(home / "retired", "".join(f"{name} {moment}\n" for name, moment in retired.items()).encode())


def add_key(home: Path, *arguments: str, doing: str) -> None:
    """Have gpg add a key to hapkg's own home, completely or not at all."""
    with open_home(home) as short:
        run_with_agent(short, *arguments, doing=doing)
        for file in (home / SECRET_PARTS[0]).iterdir():
            sync(file)
        replace(home / "pubring.kbx", (short / "pubring.kbx").read_bytes())


def generate(owner: str, expires: str = "never") -> tuple[str, ...]:
    """Arguments of gpg that make a key. `expires` is never, 2y or 2030-01-31.

    ed25519 because gpgv of bookworm and sqv of trixie both take it, and the key block stays short enough to be part
    of the .sources file.
    """
    return ("--yes", "--passphrase", "", "--quick-generate-key", owner, "ed25519", "sign", expires)


def export_key(key: SigningKey, *, armored: bool) -> bytes:
    """The public key: as apt's keyring files have it, or as text."""
    options = ["--armor"] if armored else []
    arguments = (*options, "--export-options", "export-minimal", "--export", *key.fingerprints)
    return run_gpg(key.home, *arguments, doing="export the key")


def strip_armor(armored: bytes) -> bytes:
    """The data inside the text form of RFC 9580, section 6.2."""
    body = armored.decode("ascii").partition("\n\n")[2].partition("\n-----END")[0]
    return base64.b64decode("".join(line for line in body.splitlines() if not line.startswith("=")))


def sign(key: SigningKey, file: Path) -> tuple[bytes, bytes]:
    """Sign a file: its text with the signature around it (InRelease), and a detached signature (Release.gpg).

    Raises RepositoryError when gpg cannot.
    """
    users = [word for fingerprint in key.fingerprints for word in ("--local-user", fingerprint)]
    options = ("--yes", "--digest-algo", "SHA512", *users, "--output", "-")
    return (
        run_gpg(key.home, *options, "--clearsign", str(file), doing="sign", secret=True),
        run_gpg(key.home, *options, "--armor", "--detach-sign", str(file), doing="sign", secret=True),
    )


def sign_detached(key: SigningKey, files: Sequence[Path]) -> list[dict[str, bytes]]:
    """Detached signatures of each file, by fingerprint; none without a key. Raises RepositoryError when gpg cannot."""
    if key.fingerprints:
        sign_each(key.home, key.fingerprints, files)
    return [{name: file.with_name(f"{file.name}.{name}").read_bytes() for name in key.fingerprints} for file in files]


def has_signed(key: SigningKey, *files: Path) -> bool:
    """Tell whether a signed text, or a signature and its file, carries good signatures by this key's fingerprints.

    All of them, and no other.
    """
    with contextlib.suppress(RepositoryError):
        if not all(file.is_file() for file in files):  # gpg would wait for a FIFO
            return False
        status = run_gpg(key.home, "--status-fd", "1", "--verify", *map(str, files), doing="verify").decode()
        valid = [line.split() for line in status.splitlines() if line.split()[1:2] == ["VALIDSIG"]]
        return len(valid) == len(key.fingerprints) and all(
            any(fingerprint in (words[2], words[-1]) for words in valid) for fingerprint in key.fingerprints
        )
    return False


def check_signature(keyring: Path, *files: Path) -> bool:
    """Tell whether a signed text, or a signature and its file, carries a good signature by a key of a keyring."""
    plain = all(file.is_file() for file in files)  # gpgv would wait for a FIFO
    return plain and run(["gpgv", "--keyring", str(keyring), *map(str, files)], check=False).status == 0


def is_one_message(content: bytes) -> bool:
    """True for one signed text with nothing around it: gpgv passes over other lines, and readers might not."""
    whole = content.startswith(_MARKS[0]) and content.rstrip().endswith(_MARKS[2])
    return whole and content.count(b"-----BEGIN PGP ") == 2 and content.count(b"-----END PGP ") == 1


def find_signature_fault(keyring: Path, *files: Path) -> str:
    """Tell, in a sentence, why a signed text, or a signature and its file, has no good signature; "" where it has one.

    An expired or revoked key makes none, whatever gpgv's exit code is.
    """
    if not all(file.is_file() for file in files):
        return f"{files[0].name} is missing, or is no file"
    if len(files) == 1 and not is_one_message(files[0].read_bytes()):
        return "it has lines that no signature is over"
    done = run(["gpgv", "--status-fd", "1", "--keyring", str(keyring), *map(str, files)], check=False)
    lines = [line.split() for line in done.output.splitlines() if line.startswith("[GNUPG:] ")]
    told = {words[1]: words[2] if len(words) > 2 else "" for words in lines}
    for kind, why in _FAULTS.items():
        if kind in told and (kind != "NO_PUBKEY" or "GOODSIG" not in told):
            return why.format(told[kind])
    return "" if "GOODSIG" in told and "VALIDSIG" in told else "it carries no signature"


def list_fingerprints(keyring: Path) -> tuple[str, ...]:
    """Fingerprints of the keys in a keyring file, without their subkeys. Raises RepositoryError when it has none."""
    listing = run_gpg(None, "--with-colons", "--show-keys", str(keyring), doing="list the keys").decode()
    rows = [line.split(":") for line in listing.splitlines()]
    return tuple(after[9] for before, after in pairwise(rows) if before[0] in ("pub", "sec") and after[0] == "fpr")


def _find_named_keys(names: Sequence[str]) -> SigningKey:
    found: dict[str, int] = {}
    for name in names:
        found |= _find_named_key(name)
    return SigningKey(home=None, fingerprint=next(iter(found)), others=tuple(found)[1:], ends=_drop_never(found))


def _find_named_key(name: str) -> dict[str, int]:
    """The fingerprint of the key that a name stands for, and when it expires."""
    try:
        listing = run_gpg(None, "--with-colons", "--list-secret-keys", "--", name, doing="find the key", secret=True)
    except RepositoryError as cause:
        raise RepositoryError(
            f"there is no secret key for {name}",
            details=cause.details,
            hint="gpg --list-secret-keys shows yours; without --key, hapkg makes a key of its own",
        ) from None
    usable = _find_usable(listing)
    if not usable:
        raise RepositoryError(
            f"the key {name} cannot sign: it is expired, revoked, or not for signing",
            hint=f"what has expired is valid for longer after: gpg --quick-set-expire {name} 5y",
        )
    if len(usable) > 1:
        raise RepositoryError(f"{name} names several keys", details=usable, hint="give the fingerprint of one of them")
    return usable


def _find_usable(listing: bytes) -> dict[str, int]:
    """Keys of a listing that can sign, the oldest first (gpg's DETAILS, section "Format of the colon listings").

    Fingerprints, and when they expire in seconds since 1970, or 0.
    """
    usable: list[tuple[int, str, int]] = []
    for block in re.split(r"^(?=(?:pub|sec):)", listing.decode("utf-8", "replace"), flags=re.M)[1:]:
        rows = [line.split(":") for line in block.splitlines()]
        primary = rows[0]
        if primary[1] in tuple("eirdn") or "S" not in primary[11]:
            continue
        ends = [int(primary[6] or 0)]
        if "s" not in primary[11]:  # its subkeys sign: the last of them counts
            subkeys = [row for row in rows if row[0] in ("sub", "ssb") and row[1] not in tuple("eirdn")]
            ends.append(max((int(row[6] or 1 << 40) for row in subkeys if "s" in row[11]), default=0) % (1 << 40))
        fingerprint = next(row[9] for row in rows if row[0] == "fpr")
        usable.append((int(primary[5] or 0), fingerprint, min(filter(None, ends), default=0)))
    return {fingerprint: end for _, fingerprint, end in sorted(usable)}


def _drop_never(ends: Mapping[str, int]) -> dict[str, int]:
    return {fingerprint: end for fingerprint, end in ends.items() if end}


def make_home(home: Path, *arguments: str, doing: str) -> None:
    """Make hapkg's own home with the key that gpg makes or imports: beside its place first, so never half-made."""
    home.parent.mkdir(parents=True, exist_ok=True)
    new = make_scratch(home.parent, f".{home.name}-")
    try:
        for part in SECRET_PARTS:
            (new / part).mkdir(mode=0o700)
        with open_home(new) as short:
            run_with_agent(short, *arguments, doing=doing)
            shutil.copyfile(short / "pubring.kbx", new / "pubring.kbx")
        for path in (*new.rglob("*"), new):  # a key that is trusted somewhere must survive a power cut
            sync(path)
        try:
            new.rename(home)
        except OSError:
            if not any(home.iterdir()):  # otherwise another publish was faster: its key is the key
                raise
        sync(home.parent)
    finally:
        remove_tree(new)
