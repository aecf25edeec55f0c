"""Whose state a repository holds: nothing of it is signed again that the publisher's own keys have not signed.

A repository lies where others may write. Its keyring, its notes and its indexes are theirs to change; a signature is
not. So the state that a change starts from is checked with the keys of the publisher, never with those in it.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hapkg.control import Suite, split_stanzas
from hapkg.errors import RepositoryError, UsageError
from hapkg.programs.process import run
from hapkg.repository.change import PublishTarget
from hapkg.repository.indexes import find_newest, find_suites, read_digests, read_release
from hapkg.repository.keys.gpg import run_gpg
from hapkg.repository.keys.signing import KeyChoice, find_key, is_one_message, list_fingerprints, strip_armor
from hapkg.repository.paths import check_path, read_file
from hapkg.repository.remote.location import JOURNAL
from hapkg.repository.snapshots import Snapshot, name_proof

_FOLDERS = (".hapkg", ".hapkg/staging", ".hapkg/incoming", ".hapkg/snapshots", "pool", "dists", "changelogs")
_TREES = ("dists", "changelogs", ".hapkg/snapshots")
"""Folders all of whose folders hapkg writes in; those of the pool are looked at where files come in."""
_HINT = "roll it back from a copy that is yours; gpgv with your own keyring tells which is"


def check_writers(root: Path, *, shared: bool) -> None:
    """Raise RepositoryError when others than its publisher can put files in place of the repository's.

    `shared`: that is known and wanted; even so its folders must not be links to others.
    """
    for folder in (root, *(root / name for name in _FOLDERS)):
        try:
            state = folder.stat() if folder == root else folder.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(state.st_mode):
            raise RepositoryError(f"{folder} is no folder", hint="hapkg makes no links there: remove it")
        if shared:
            continue
        if state.st_uid not in (os.geteuid(), 0):
            raise RepositoryError(
                f"{folder} belongs to user {_name_user(state.st_uid)}, who can change what you sign",
                hint=f"publish as that user, run chown -R {_name_user(os.geteuid())} {root}, or say --shared",
            )
        if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            who = "everybody" if state.st_mode & stat.S_IWOTH else "its group"
            raise RepositoryError(
                f"{folder} is writable for {who}, who can change what you sign",
                hint=f"run: chmod go-w {folder}; or say --shared",
            )


def check_folders(root: Path) -> None:
    """Raise RepositoryError for a link in the place of a folder that hapkg writes in, at any depth."""
    for tree in _TREES:
        for current, folders, _ in os.walk(root / tree):
            for name in folders:
                if (folder := Path(current, name)).is_symlink():
                    raise RepositoryError(f"{folder} is no folder", hint="hapkg makes no links there: remove it")


def _name_user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def check_key_may_be_made(root: Path, choice: KeyChoice) -> None:
    """Raise RepositoryError when a new key would sign what another one has signed: every node trusts that one alone."""
    if choice.unsigned or choice.names or (choice.home.is_dir() and any(choice.home.iterdir())):
        return
    for suite in find_suites(root):
        if (signed := root / "dists" / suite / "InRelease").is_file():
            raise _refuse_other_key(root, suite, _find_signers(signed), str(choice.folder))


def check_state(target: PublishTarget) -> None:
    """Raise RepositoryError unless every suite carries a signature of the keys of choice over all that is read of it.

    Retired keys of hapkg's own home count. A repository in which nothing was ever signed may be signed. A suite that
    the target's memory knows newer, or as a signed one, is refused.
    """
    root, choice = target.root, target.choice
    suites = find_suites(root)
    faults = target.memory.find_faults(root) if target.memory else {}
    for suite in suites:
        check_path(f"dists/{suite}/InRelease", where=f"the repository {root}")
    if choice.unsigned or not any(_has_key(root, suite) for suite in suites):
        for suite in suites:
            if suite in faults:
                _check_unfinished(root, suite)
        return
    check_key_may_be_made(root, choice)
    with ExitStack() as stack:
        keyring = _find_keyring(choice, stack)
        for suite in suites:
            _check_suite(root, suite, keyring, str(choice.folder))
    older = [fault for suite, fault in faults.items() if (root / "dists" / suite / "InRelease").is_file()]
    if older and not target.adopt:
        raise RepositoryError(
            older[0],
            details=["somebody has put an older state back, which your keys signed then", *older[1:]],
            hint="restore the newer one from a copy; if you put it back yourself, say: hapkg repo refresh --adopt",
        )


@contextmanager
def open_keyring(choice: KeyChoice, file: Path | None = None) -> Iterator[Path | None]:
    """A keyring to check signatures with: a file of one, armored or not, or the publisher's own keys; None without any.

    Raises UsageError for a file that is not there, RepositoryError for one without keys and for names of none.
    """
    with tempfile.TemporaryDirectory(prefix="hapkg-own-") as scratch:
        keyring = Path(scratch) / "own.gpg"
        if file is not None and not file.is_file():
            raise UsageError(f"{file} does not exist", hint="name a copy of the publisher's keyring that you trust")
        if file is not None:
            content = file.read_bytes()
            keyring.write_bytes(strip_armor(content) if content.startswith(b"-----BEGIN ") else content)
        elif choice.names:
            key = find_key(choice, owner="")
            keyring.write_bytes(run_gpg(None, "--export", *key.fingerprints, doing="export the keys"))
        elif choice.home.is_dir() and any(choice.home.iterdir()):
            keyring.write_bytes(run_gpg(choice.home, "--export", doing="export the keys"))
        else:
            yield None
            return
        list_fingerprints(keyring)
        yield keyring


def read_signed(keyring: Path, file: Path) -> bytes | None:
    """The text of a clear-signed file under a good signature of a key in a keyring; None when there is none.

    The file must hold that text and its signature, and nothing else.
    """
    content = read_file(file)
    if not is_one_message(content):
        return None
    with tempfile.TemporaryFile() as out:
        argv = ["gpgv", "--keyring", str(keyring), "--status-fd", "2", "--output", "-", str(file)]
        lines = run(argv, stdout=out, check=False).output.splitlines()
        out.seek(0)
        text = out.read()
    kinds = {words[1] for words in (line.split() for line in lines) if words[:1] == ["[GNUPG:]"] and len(words) > 1}
    return text if "VALIDSIG" in kinds and "BADSIG" not in kinds else None


def check_snapshot(target: PublishTarget, snapshot: Snapshot) -> None:
    """Raise RepositoryError unless a snapshot is what a suite is now, or was published so under one's own signature.

    The caller has checked the present state with check_state().
    """
    root, choice = target.root, target.choice
    now = read_digests(read_release(find_newest(root, snapshot.suite)))
    if choice.unsigned or target.adopt or snapshot.indexes == now:
        return
    proof = name_proof(root, snapshot)
    with open_keyring(choice) as keyring:
        text = read_signed(keyring, proof) if keyring and proof.is_file() and not proof.is_symlink() else None
    stanza = next(split_stanzas(text.decode("utf-8", "replace")), {}) if text else {}
    if stanza.get("Suite") != snapshot.suite or read_digests(stanza) != snapshot.indexes:
        raise RepositoryError(
            f"snapshot {snapshot.number} of {snapshot.suite} is nothing that your keys signed",
            details=["it was made without a signature, by an older hapkg, or by somebody else"],
            hint=f"look at it: hapkg repo show {snapshot.suite} {snapshot.number}; if it is yours, add --adopt",
        )


def _has_key(root: Path, suite: Suite) -> bool:
    return any((root / "dists" / suite / name).is_file() for name in ("InRelease", "Release.gpg"))


def _check_suite(root: Path, suite: Suite, keyring: Path, owner: str) -> None:
    file = root / "dists" / suite / "InRelease"
    if not file.is_file():
        _check_unfinished(root, suite)
        return
    text = read_signed(keyring, file)
    if text is None:
        signers = _find_signers(file)
        if not is_one_message(read_file(file)) or _is_known(keyring, signers):
            raise RepositoryError(
                f"suite {suite} of {root} is not what your keys signed: its InRelease carries no good signature",
                details=[f"{file} was changed by somebody else, or is damaged"],
                hint=_HINT,
            )
        raise _refuse_other_key(root, suite, signers, owner)
    if next(split_stanzas(text.decode("utf-8", "replace")), {}) != dict(read_release(file)):
        raise RepositoryError(f"suite {suite} of {root} has an InRelease that programs read differently", hint=_HINT)


def _check_unfinished(root: Path, suite: Suite) -> None:
    """A suite without InRelease was never published: of a first publish that was killed, or it was taken away."""
    if not (root / JOURNAL).is_file():
        raise RepositoryError(
            f"suite {suite} of {root} has lost its InRelease, so that nobody vouches for it",
            hint="restore it from a copy, or remove its folder below dists and publish it again",
        )
    (root / "dists" / suite / "Release").unlink()


def _find_keyring(choice: KeyChoice, stack: ExitStack) -> Path:
    """A keyring of the publisher's own keys: all of hapkg's home, or those that names stand for."""
    if not choice.names:
        return choice.home / "pubring.kbx"
    key = find_key(choice, owner="")
    file = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hapkg-own-"))) / "own.gpg"
    file.write_bytes(run_gpg(None, "--export", *key.fingerprints, doing="export the keys"))
    return file


def _find_signers(file: Path) -> tuple[str, ...]:
    """Fingerprints that a signed text claims as its signers'."""
    output = run(["gpgv", "--keyring", "/dev/null", "--status-fd", "2", str(file)], check=False).output
    return tuple(dict.fromkeys(re.findall(r"^\[GNUPG:\] ERRSIG (?:\S+ ){6}([0-9A-F]{40})$", output, re.MULTILINE)))


def _is_known(keyring: Path, signers: Sequence[str]) -> bool:
    """Tell whether a keyring, of gpg's own form too, has one of these keys or subkeys."""
    argv = ["gpg", "--batch", "--no-default-keyring", "--keyring", str(keyring), "--with-colons"]
    with tempfile.TemporaryDirectory(prefix="hapkg-own-") as home:
        listing = run([*argv, "--homedir", home, "--with-subkey-fingerprint", "--list-keys"], check=False)
    return any(fingerprint in listing.output for fingerprint in signers)


def _refuse_other_key(root: Path, suite: Suite, signers: Sequence[str], owner: str) -> RepositoryError:
    names = " and ".join(signers) or "an unknown key"
    return RepositoryError(
        f"suite {suite} of {root} is signed by {names}, and none of the keys that would sign it now is that one",
        details=[
            f"keys are taken from {owner}",
            "nodes trust the key of the repository alone, and would refuse another",
        ],
        hint="use what holds it: key-home in pyproject.toml, HAPKG_KEYS=FOLDER, --key NAME; or take it over: "
        "hapkg key import FILE",
    )
