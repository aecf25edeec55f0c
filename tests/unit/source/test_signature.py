"""Signatures of tarballs and tags: real keys, real gpg, git and ssh-keygen."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hapkg.errors import HapkgError, IntegrityError, RecipeError
from hapkg.locations import State
from hapkg.recipe.model import Recipe, read_recipe
from hapkg.source.fetch import fetch
from hapkg.source.lockfile import make_entry
from hapkg.source.signature import check_tag
from hapkg.source.vcs import find_commit
from tests.support.samples import AUTOTOOLS, STYLES, write_recipe

WHO = ("-c", "user.name=Test Person", "-c", "user.email=test@example.org")


@dataclass(frozen=True)
class Signer:
    """A person with an OpenPGP key."""

    home: Path

    def gpg(self, *arguments: str) -> str:
        argv = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--no-tty", *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def make_key(self, *, expires: str = "never") -> None:
        self.home.mkdir(mode=0o700, parents=True)
        self.gpg(
            "--passphrase", "", "--quick-generate-key", "Test Person <test@example.org>", "ed25519", "sign", expires
        )

    @property
    def fingerprint(self) -> str:
        lines = self.gpg("--with-colons", "--list-keys").splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))

    def export(self, file: Path) -> None:
        file.write_text(self.gpg("--armor", "--export"))

    def sign(self, file: Path, signature: Path) -> None:
        self.gpg("--yes", "--armor", "--output", str(signature), "--detach-sign", str(file))


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    # The agent's socket needs a short path.
    folder = tmp_path_factory.mktemp("gpg")
    yield folder
    for home in folder.iterdir():
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


@pytest.fixture(scope="module")
def upstream(homes: Path) -> Signer:
    signer = Signer(homes / "a")
    signer.make_key()
    return signer


@pytest.fixture(scope="module")
def stranger(homes: Path) -> Signer:
    signer = Signer(homes / "b")
    signer.make_key()
    return signer


@pytest.fixture
def tarball(tmp_path: Path) -> Path:
    tree = tmp_path / "one-1.2"
    tree.mkdir()
    (tree / "file").write_text("content")
    path = tmp_path / "one-1.2.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tree, tree.name)
    return path


def make_recipe(parent: Path, tarball: Path, **changes: Any) -> Recipe:
    sha256 = hashlib.sha256(tarball.read_bytes()).hexdigest()
    origins = [{"type": "tarball", "url": tarball.as_uri(), "sha256": sha256}]
    return read_recipe(
        write_recipe(parent, {**AUTOTOOLS, "origins": origins, **changes}), package_prefix="ha-", styles=STYLES
    )


PGP = {"policy": "pgp-tarball", "keys": "keys.asc", "file": "one.asc"}


def make_signed(parent: Path, tarball: Path, upstream: Signer) -> Recipe:
    folder = parent / "one"
    folder.mkdir()
    upstream.export(folder / "keys.asc")
    upstream.sign(tarball, folder / "one.asc")
    return make_recipe(parent, tarball, signature=PGP)


def test_the_signer_of_a_tarball_is_known_and_locked(tmp_path: Path, tarball: Path, upstream: Signer) -> None:
    recipe = make_signed(tmp_path, tarball, upstream)
    found = fetch(recipe, State(tmp_path / "cache"), None)
    assert found.signer == upstream.fingerprint
    assert make_entry(recipe, found, tmp_path / "one-1.2").signer == upstream.fingerprint
    assert fetch(recipe, State(tmp_path / "cache"), None).signer == upstream.fingerprint  # out of the cache as well


def test_without_a_promise_nobody_signed(tmp_path: Path, tarball: Path) -> None:
    assert fetch(make_recipe(tmp_path, tarball), State(tmp_path / "cache"), None).signer == ""
    pinned = make_recipe(tmp_path, tarball, signature={"policy": "pinned-only"})
    assert fetch(pinned, State(tmp_path / "cache"), None).signer == ""


def test_other_bytes_another_key_and_no_signature_at_all_are_refused(
    tmp_path: Path, tarball: Path, upstream: Signer, stranger: Signer
) -> None:
    recipe = make_signed(tmp_path, tarball, upstream)
    signature = recipe.folder / "one.asc"
    other = tmp_path / "other"
    other.write_text("other")
    for damage in (
        lambda: upstream.sign(other, signature),
        lambda: stranger.sign(tarball, signature),
        lambda: signature.write_text("no signature"),
        lambda: signature.write_bytes(b""),
    ):
        damage()
        with pytest.raises(IntegrityError, match=r"ha-one: one\.asc is not a good signature of the tarball") as raised:
            fetch(recipe, State(tmp_path / "cache"), None)
        assert "[signature]" in raised.value.hint


def test_a_revoked_key_vouches_for_nothing(tmp_path: Path, tarball: Path, homes: Path) -> None:
    signer = Signer(homes / "c")
    signer.make_key()
    recipe = make_signed(tmp_path, tarball, signer)
    assert fetch(recipe, State(tmp_path / "cache"), None).signer == signer.fingerprint
    certificate = homes / "c/openpgp-revocs.d" / f"{signer.fingerprint}.rev"
    certificate.write_text(certificate.read_text().replace(":-----BEGIN", "-----BEGIN"))
    signer.gpg("--import", str(certificate))
    signer.export(recipe.folder / "keys.asc")
    with pytest.raises(IntegrityError, match="is not a good signature"):
        fetch(recipe, State(tmp_path / "cache"), None)


PAST = ("--faked-system-time", "20240101T000000")
OUTLIVED = r"one\.asc is not a good signature of the tarball"


def make_old(home: Path, parent: Path, tarball: Path, *, key: str, signature: str) -> tuple[Signer, Recipe]:
    """A tarball that was signed years ago, by a key and in a signature of these lifetimes."""
    signer = Signer(home)
    home.mkdir(mode=0o700)
    who = "Test Person <test@example.org>"
    signer.gpg(*PAST, "--passphrase", "", "--quick-generate-key", who, "ed25519", "sign", key)
    folder = parent / "one"
    folder.mkdir()
    signer.export(folder / "keys.asc")
    output = ("--armor", "--output", str(folder / "one.asc"))
    signer.gpg(*PAST, "--default-sig-expire", signature, *output, "--detach-sign", str(tarball))
    return signer, make_recipe(parent, tarball, signature=PGP)


def test_an_expired_key_vouches_for_nothing(tmp_path: Path, tarball: Path, homes: Path) -> None:
    signer, recipe = make_old(homes / "d", tmp_path, tarball, key="30d", signature="0")
    with pytest.raises(IntegrityError, match=OUTLIVED):
        fetch(recipe, State(tmp_path / "cache"), None)
    signer.gpg("--passphrase", "", "--quick-set-expire", signer.fingerprint, "0")
    signer.export(recipe.folder / "keys.asc")
    assert fetch(recipe, State(tmp_path / "cache"), None).signer == signer.fingerprint, "its owner prolonged it"


def test_an_expired_signature_is_refused(tmp_path: Path, tarball: Path, homes: Path) -> None:
    _, recipe = make_old(homes / "e", tmp_path, tarball, key="never", signature="30d")
    with pytest.raises(IntegrityError, match=OUTLIVED):
        fetch(recipe, State(tmp_path / "cache"), None)


def test_a_file_without_keys_is_the_recipes_fault(tmp_path: Path, tarball: Path, upstream: Signer) -> None:
    recipe = make_signed(tmp_path, tarball, upstream)
    (recipe.folder / "keys.asc").write_text("hello")
    with pytest.raises(RecipeError, match=r"one/keys\.asc: holds no OpenPGP keys"):
        fetch(recipe, State(tmp_path / "cache"), None)


@pytest.mark.parametrize(
    ("signature", "fault"),
    [
        ({"policy": "pgp-tarball"}, "needs keys"),
        ({"policy": "pgp-tarball", "keys": "keys.asc"}, "needs file"),
        ({"policy": "pinned-only", "keys": "keys.asc"}, "needs keys"),
        ({"policy": "ssh-tag", "keys": "keys", "file": "one.asc"}, "the others have none"),
        ({"policy": "pgp-tag", "keys": "keys.asc"}, "checks nothing of an origin of type tarball"),
        ({"policy": "trust-me"}, "policy"),
        ({"policy": "pgp-tarball", "keys": "../keys.asc", "file": "one.asc"}, "keys"),
        (PGP, r"names keys\.asc, which is not there"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_a_fault_of_the_recipe(
    tmp_path: Path, tarball: Path, signature: dict[str, str], fault: str
) -> None:
    with pytest.raises(RecipeError, match=fault):
        make_recipe(tmp_path, tarball, signature=signature)


def git(repository: Path, *arguments: str, **environment: str) -> str:
    return subprocess.run(
        ["git", *WHO, "-C", str(repository), *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environment},
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "file").write_text("content")
    git(folder, "add", "file")
    git(folder, "commit", "-qm", "first")
    return folder


def make_tagged(parent: Path, repository: Path, policy: str) -> Recipe:
    table = {
        **AUTOTOOLS,
        "upstream": {"git": repository.as_uri(), "tag": "v1.2", "commit": git(repository, "rev-parse", "HEAD")},
        "origins": [{"type": "git"}],
        "signature": {"policy": policy, "keys": "keys"},
    }
    return read_recipe(write_recipe(parent, table), package_prefix="ha-", styles=STYLES)


def refuses(recipe: Recipe, cache: Path) -> HapkgError:
    """The error of a fetch that must not find its mirror up to date."""
    shutil.rmtree(cache, ignore_errors=True)
    with pytest.raises(IntegrityError) as raised:
        fetch(recipe, State(cache), None)
    return raised.value


def test_tags_signed_with_openpgp(tmp_path: Path, repository: Path, upstream: Signer, stranger: Signer) -> None:
    (tmp_path / "one").mkdir()
    upstream.export(tmp_path / "one/keys")
    recipe = make_tagged(tmp_path, repository, "pgp-tag")

    def sign(signer: Signer, *arguments: str) -> None:
        git(repository, "tag", "-f", *arguments, "-m", "one", "v1.2", GNUPGHOME=str(signer.home))

    sign(upstream, "-s")
    assert fetch(recipe, State(tmp_path / "cache"), None).signer == upstream.fingerprint
    sign(stranger, "-s")
    assert "tag v1.2 is not signed by an allowed key" in "\n".join(refuses(recipe, tmp_path / "cache").details)
    sign(upstream, "--no-sign")
    assert "tag v1.2 is not signed by an allowed key" in "\n".join(refuses(recipe, tmp_path / "cache").details)
    git(repository, "tag", "-f", "v1.2")
    assert "tag v1.2 is not a signed tag" in "\n".join(refuses(recipe, tmp_path / "cache").details)


def test_a_signed_tag_of_another_name_is_no_promise(tmp_path: Path, repository: Path, upstream: Signer) -> None:
    (tmp_path / "one").mkdir()
    upstream.export(tmp_path / "one/keys")
    recipe = make_tagged(tmp_path, repository, "pgp-tag")
    git(repository, "tag", "-s", "-m", "old", "v1.1", GNUPGHOME=str(upstream.home))
    git(repository, "update-ref", "refs/tags/v1.2", git(repository, "rev-parse", "refs/tags/v1.1"))
    assert "tag v1.2 is not a signed tag" in "\n".join(refuses(recipe, tmp_path / "cache").details)


@pytest.mark.parametrize("pinned", [True, False])
def test_a_signed_tag_of_another_place_does_not_stand_for_the_tag(
    tmp_path: Path, repository: Path, upstream: Signer, pinned: bool
) -> None:
    """An older release, signed as well, under a name that git looks at first."""
    (tmp_path / "one").mkdir()
    upstream.export(tmp_path / "one/keys")
    old, new = git(repository, "rev-parse", "HEAD"), git(repository, "commit-tree", "-m", "new", "HEAD^{tree}")
    for name, commit in (("v1.1", old), ("v1.2", new)):
        git(repository, "tag", "-s", "-m", name, name, commit, GNUPGHOME=str(upstream.home))
    git(repository, "update-ref", "refs/v1.2", git(repository, "rev-parse", "refs/tags/v1.1"))
    recipe = make_tagged(tmp_path, repository, "pgp-tag")
    assert recipe.upstream
    table = {"commit": new if pinned else None}
    recipe = recipe.model_copy(update={"upstream": recipe.upstream.model_copy(update=table)})
    found = find_commit(recipe, "git", None, State(tmp_path / "cache"))
    assert (found.id, found.signer) == (new, upstream.fingerprint)
    with pytest.raises(IntegrityError, match=f"the signed tag v1.2 is not of commit {old}"):
        check_tag(recipe, found.mirror, "v1.2", old)


def test_tags_signed_with_ssh(tmp_path: Path, repository: Path) -> None:
    for name in ("mine", "other"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(tmp_path / name)]
        subprocess.run(argv, check=True)
    (tmp_path / "one").mkdir()
    public = (tmp_path / "mine.pub").read_text()
    (tmp_path / "one/keys").write_text(f'test@example.org namespaces="git" {public}')
    recipe = make_tagged(tmp_path, repository, "ssh-tag")

    def sign(name: str) -> None:
        ssh = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={tmp_path / name}")
        git(repository, *ssh, "tag", "-f", "-s", "-m", "one", "v1.2")

    sign("mine")
    signer = fetch(recipe, State(tmp_path / "cache"), None).signer
    listed = subprocess.run(["ssh-keygen", "-l", "-f", str(tmp_path / "mine.pub")], check=True, capture_output=True)
    assert signer == f"test@example.org {listed.stdout.decode().split()[1]}"
    sign("other")
    assert "tag v1.2 is not signed by an allowed key" in "\n".join(refuses(recipe, tmp_path / "cache").details)


def test_a_tarball_of_another_commit_than_the_recipes_is_refused(tmp_path: Path, repository: Path) -> None:
    tarball = tmp_path / "made.tar.gz"
    git(repository, "archive", "--prefix", "one-1.2/", "-o", str(tarball), "HEAD")
    commit = git(repository, "rev-parse", "HEAD")
    upstream = {"git": "https://git.example.org/one.git", "tag": "v1.2", "commit": commit}
    fetch(make_recipe(tmp_path, tarball, upstream=upstream), State(tmp_path / "cache"), None)
    wrong = make_recipe(tmp_path, tarball, upstream={**upstream, "commit": "ab" * 20})
    with pytest.raises(IntegrityError, match=f"made of commit {commit}, the recipe says {'ab' * 20}"):
        fetch(wrong, State(tmp_path / "cache"), None)
