"""The key that signs the repository: found, made on first use, used.

hapkg's own key lives in a gpg home of its own, without passphrase, so that a publish needs nobody at the keyboard. The
key the user names with `--key` stays in the user's own gpg home, with the user's own agent: not hapkg's to end.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hapkg.coprocess import converse
from hapkg.disk import make_scratch, replace, sync
from hapkg.errors import ProcessError, RepositoryError
from hapkg.process import run
from hapkg.repository.keys.gpg import (
    GPG,
    SECRET_PARTS,
    ask_gpg,
    describe_failure,
    open_home,
    remove_sockets,
    run_gpg,
    run_with_agent,
)


@dataclass(frozen=True, kw_only=True)
class KeyChoice:
    """Which key is to sign: hapkg's own, or those that names stand for in the user's gpg home."""

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
    """When those of the keys that expire do so, in seconds since 1970, by fingerprint."""

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
    """The same, and when they expire."""
    if not home.is_dir():
        return {}
    listing = ask_gpg(home, "--with-colons", "--list-keys", doing="list the keys")
    usable = _find_usable(listing)
    retired = read_retired(home)
    return {fingerprint: end for fingerprint, end in usable.items() if fingerprint not in retired}


def read_retired(home: Path) -> dict[str, int]:
    """When each retired key stopped signing, in seconds since 1970, by fingerprint."""
    file = home / "retired"
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    return {line.split()[0]: int(line.split()[1]) for line in lines}


def retire_key(home: Path, fingerprint: str, time: int) -> None:
    """Let a key sign no more. Its secret stays in the home: removing it cannot be undone, and proves nothing."""
    retired = {**read_retired(home), fingerprint: time}
    replace(home / "retired", "".join(f"{name} {moment}\n" for name, moment in retired.items()).encode())


def add_key(home: Path, *arguments: str, doing: str) -> None:
    """Let gpg add a key to hapkg's own home: whole, or not at all."""
    with open_home(home) as short:
        run_with_agent(short, *arguments, doing=doing)
        for file in (home / SECRET_PARTS[0]).iterdir():
            sync(file)
        replace(home / "pubring.kbx", (short / "pubring.kbx").read_bytes())


def generate(owner: str, expires: str = "never") -> tuple[str, ...]:
    """What makes gpg make a key. expires: never, 2y, 2030-01-31.

    ed25519 because gpgv of bookworm and sqv of trixie both take it, and the key block stays short enough to be part
    of the .sources file.
    """
    return ("--yes", "--passphrase", "", "--quick-generate-key", owner, "ed25519", "sign", expires)


def export_key(key: SigningKey, *, armored: bool) -> bytes:
    """The public key: as apt's keyring files have it, or as text."""
    options = ["--armor"] if armored else []
    arguments = (*options, "--export-options", "export-minimal", "--export", *key.fingerprints)
    return ask_gpg(key.home, *arguments, doing="export the key")


def strip_armor(armored: bytes) -> bytes:
    """The data inside the text form of RFC 9580, section 6.2."""
    body = armored.decode("ascii").partition("\n\n")[2].partition("\n-----END")[0]
    return base64.b64decode("".join(line for line in body.splitlines() if not line.startswith("=")))


def identify_keys(key: SigningKey) -> str:
    """What changes whenever the public keys that sign do; "" when only gpg can tell."""
    if key.home is None or not (key.home / "pubring.kbx").is_file():
        return ""
    return f"{','.join(key.fingerprints)} {hashlib.sha256((key.home / 'pubring.kbx').read_bytes()).hexdigest()}"


class Signer:
    """Signs files with a key. hapkg's own has an agent meanwhile, which may start before there is anything to sign."""

    def __init__(self, key: SigningKey, stack: contextlib.ExitStack) -> None:
        self._key, self._stack = key, stack
        self._home: Path | None = None
        self._file: Path | None = None

    def start(self) -> None:
        """Let the agent start; it need not be waited for."""
        if self._key.home is not None and self._home is None:
            self._home = self._stack.enter_context(open_home(self._key.home))
            self._stack.callback(remove_sockets, self._home)
            gpg = shlex.join(["gpg", "--homedir", str(self._home), *GPG, *self._make_options()])
            script = (
                'while IFS= read -r file && [ "$file" ]; do '
                f'{gpg} --output "$0/clear" --clearsign "$file" </dev/null >"$0/said" 2>&1 &\n'
                f'{gpg} --output "$0/detached" --armor --detach-sign "$file" </dev/null >"$0/more" 2>&1; more=$?\n'
                'wait $! && (exit $more); echo $?; done; gpgconf --homedir "$0" --kill gpg-agent >"$0/said" 2>&1'
            )
            agent = ("gpg-agent", "--homedir", str(self._home), "--daemon", "--")
            self._agent = self._stack.enter_context(converse([*agent, "sh", "-c", script, str(self._home)]))

    def ask(self, file: Path) -> None:
        """Begin to sign a file."""
        self._file = file
        with _blaming_gpg():
            self.start()
            if self._home is not None:
                self._agent.tell(str(file))

    def take(self) -> tuple[bytes, bytes]:
        """The file signed: its text with the signature around it (InRelease), and the signature alone (Release.gpg)."""
        if self._home is not None:
            with _blaming_gpg():
                status = int(self._agent.hear())
            if status != 0:
                said = "".join((self._home / name).read_text("utf-8", "replace") for name in ("said", "more"))
                raise describe_failure(status, said, ("gpg", "--clearsign", str(self._file)), doing="sign")
            return (self._home / "clear").read_bytes(), (self._home / "detached").read_bytes()
        options = (*self._make_options(), "--output", "-")
        return (
            run_gpg(None, *options, "--clearsign", str(self._file), doing="sign", secret=True),
            run_gpg(None, *options, "--armor", "--detach-sign", str(self._file), doing="sign", secret=True),
        )

    def dismiss(self) -> None:
        """Nothing more is to be signed: let the agent's command end while its user goes on."""
        if self._home is not None:
            with _blaming_gpg():
                self._agent.tell("")

    def _make_options(self) -> tuple[str, ...]:
        users = [word for fingerprint in self._key.fingerprints for word in ("--local-user", fingerprint)]
        return ("--yes", "--digest-algo", "SHA512", *users)


@contextlib.contextmanager
def _blaming_gpg() -> Iterator[None]:
    try:
        yield
    except ProcessError as error:  # the agent could not start
        raise RepositoryError("gpg cannot sign: its agent ended", details=error.details) from error


@contextlib.contextmanager
def open_signer(key: SigningKey) -> Iterator[Signer]:
    """Sign as many files as there are."""
    with contextlib.ExitStack() as stack:
        yield Signer(key, stack)


def sign(key: SigningKey, file: Path) -> tuple[bytes, bytes]:
    """The file signed: its text with the signature around it (InRelease), and the signature alone (Release.gpg)."""
    with open_signer(key) as signer:
        signer.ask(file)
        return signer.take()


def has_signed(key: SigningKey, *files: Path) -> bool:
    """Whether a signed text, or a signature and the file it is for, carries good signatures by this key's fingerprints.

    All of them, and no other.
    """
    with contextlib.suppress(RepositoryError):
        status = run_gpg(key.home, "--status-fd", "1", "--verify", *map(str, files), doing="verify").decode()
        valid = [line.split() for line in status.splitlines() if line.split()[1:2] == ["VALIDSIG"]]
        return len(valid) == len(key.fingerprints) and all(
            any(fingerprint in (words[2], words[-1]) for words in valid) for fingerprint in key.fingerprints
        )
    return False


def check_signature(keyring: Path, *files: Path) -> bool:
    """Whether a signed text, or a signature and the file it is for, carries a good signature by a key of a keyring."""
    return run(["gpgv", "--keyring", str(keyring), *map(str, files)], check=False).status == 0


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
    """Which keys of a listing (gpg's DETAILS, section "Format of the colon listings") can sign, the oldest first.

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
        shutil.rmtree(new, ignore_errors=True)
