"""Who released the code: signatures of tarballs and tags, checked against keys that lie with the recipe.

A sha256 says that the bytes are the ones somebody looked at; a signature says that upstream's own key vouched for them.
gpg and ssh-keygen (through git) do the checking, in a key ring that holds the recipe's keys alone.
"""

from __future__ import annotations

import lzma
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hapkg.errors import IntegrityError, ProcessError, RecipeError
from hapkg.programs import process
from hapkg.recipe.model import Recipe
from hapkg.recipe.upstream import SignaturePolicy

_VALID = re.compile(r"^\[GNUPG:\] VALIDSIG (?:\S+ ){9}([0-9A-F]{40})$", re.MULTILINE)
_WITHDRAWN = re.compile(r"^\[GNUPG:\] (?:REVKEYSIG|EXPKEYSIG|EXPSIG) ", re.MULTILINE)
"""A key that is revoked or expired, a signature that is expired: gpg calls them valid all the same."""
_SSH = re.compile(r'^Good "git" signature for (\S+) with \S+ key (SHA256:\S+)$', re.MULTILINE)
_COMMIT = re.compile(r"[0-9a-f]{40}")
GIT_ALONE = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
}
"""The environment in which git follows nobody's configuration but the mirror's, and no object stands for another."""
GIT_OPTIONS = ("-c", "core.hooksPath=/dev/null", "-c", "core.attributesFile=/dev/null", "-c", "core.autocrlf=false")
_GPG = ("--batch", "--no-tty", "--no-auto-key-retrieve", "--trust-model", "always", "--weak-digest", "SHA1")


def check_tarball(recipe: Recipe, tarball: Path) -> str:
    """The fingerprint of the key that signed a recipe's tarball, or "" where the recipe promises no such signature.

    Raises IntegrityError when the promised signature is not there or not good, RecipeError for unusable keys.
    """
    signature = recipe.signature
    if signature is None or signature.policy is not SignaturePolicy.PGP_TARBALL:
        return ""
    file = recipe.folder / str(signature.file)
    with _key_ring(recipe) as home:
        result = process.run(
            ["gpg", "--homedir", home, *_GPG, "--status-fd", "1", "--verify", str(file), str(tarball)], check=False
        )
    return _read_signer(recipe, result.output, result.status, f"{file.name} is not a good signature of the tarball")


def check_tag(recipe: Recipe, repository: Path, tag: str, commit: str) -> str:
    """Who signed the tag of a commit in a local git repository, or "" where the recipe promises no signed tag.

    A fingerprint; for SSH keys "NAME SHA256:…", the name being the one in the recipe's list of allowed signers. The tag
    is looked up once: its object is verified, and must be of this name and this commit. Raises as check_tarball() does.
    """
    signature = recipe.signature
    if signature is None or signature.policy not in (SignaturePolicy.PGP_TAG, SignaturePolicy.SSH_TAG):
        return ""
    git = ["git", "-C", str(repository), *GIT_OPTIONS]
    name = process.run([*git, "rev-parse", "--verify", "-q", f"refs/tags/{tag}"], check=False, environment=GIT_ALONE)
    node = name.output.strip()
    text = process.run([*git, "cat-file", "tag", node], check=False, environment=GIT_ALONE) if node else name
    header = f"{text.output if text.status == 0 else ''}".split("\n\n", 1)[0].split("\n")
    if f"tag {tag}" not in header:
        raise _refuse(recipe, f"tag {tag} is not a signed tag", [])
    if not {f"object {commit}", "type commit"} <= set(header):
        raise _refuse(recipe, f"the signed tag {tag} is not of commit {commit}", header[:2])
    if signature.policy is SignaturePolicy.SSH_TAG:
        allowed = f"gpg.ssh.allowedSignersFile={recipe.folder / str(signature.keys)}"
        result = process.run([*git, "-c", allowed, "verify-tag", node], check=False, environment=GIT_ALONE)
        signer = _SSH.search(result.output)
        if result.status != 0 or signer is None:
            raise _refuse(recipe, f"tag {tag} is not signed by an allowed key", result.output.splitlines())
        return f"{signer[1]} {signer[2]}"
    with _key_ring(recipe) as home:
        environment = {**GIT_ALONE, "GNUPGHOME": home}
        result = process.run([*git, "verify-tag", "--raw", node], check=False, environment=environment)
    return _read_signer(recipe, result.output, result.status, f"tag {tag} is not signed by an allowed key")


def check_commit(recipe: Recipe, tarball: Path) -> None:
    """Compare the commit that a tarball made by `git archive` names with the recipe's. Raises IntegrityError.

    A tarball of a release page names none: nothing to compare.
    """
    expected = recipe.upstream.commit_in("git") if recipe.upstream else None
    if expected is None:
        return
    try:
        with tarfile.open(tarball) as archive:
            found = archive.pax_headers.get("comment", "")
    except (tarfile.TarError, OSError, EOFError, lzma.LZMAError, zlib.error):
        return  # whoever unpacks it says what is wrong
    if _COMMIT.fullmatch(found) and found != expected:
        raise IntegrityError(
            f"{recipe.source}: the tarball was made of commit {found}, the recipe says {expected}",
            hint="look at both commits before changing recipe.toml, [upstream] commit",
        )


@contextmanager
def _key_ring(recipe: Recipe) -> Iterator[str]:
    """A gpg home with the recipe's keys and no others."""
    keys = recipe.folder / str(recipe.signature and recipe.signature.keys)
    with tempfile.TemporaryDirectory(prefix="hapkg-keys-") as home:
        try:
            process.run(["gpg", "--homedir", home, "--batch", "--no-tty", "--quiet", "--import", str(keys)])
            yield home
        except ProcessError as error:
            raise RecipeError(
                f"{keys}: holds no OpenPGP keys",
                details=error.details,
                hint="gpg --armor --export KEY writes such a file",
            ) from error
        finally:
            process.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


def _read_signer(recipe: Recipe, output: str, status: int, fault: str) -> str:
    signer = _VALID.search(output)
    if status != 0 or signer is None or _WITHDRAWN.search(output):
        raise _refuse(recipe, fault, [line for line in output.splitlines() if not line.startswith("[GNUPG:]")])
    return signer[1]


def _refuse(recipe: Recipe, fault: str, details: list[str]) -> IntegrityError:
    return IntegrityError(
        f"{recipe.source}: {fault}",
        details=details,
        hint=f"{recipe.folder}/recipe.toml, [signature], names the keys; if upstream has a new one, get it by another "
        "way than the tarball",
    )
