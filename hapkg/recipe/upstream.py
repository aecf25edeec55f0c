"""Where a recipe's code comes from: upstream's home, its signature, origins of the tarball, patches of others."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from hapkg.control import is_package_name
from hapkg.recipe.settings import Table


def _package_name(value: str) -> str:
    if not is_package_name(value):
        raise ValueError(f"{value!r} is not a Debian package name: lower-case letters, digits, '+', '-', '.'")
    return value


def check_address(value: str) -> str:
    """A complete address, or ValueError."""
    try:
        sound = bool(urlsplit(value).hostname or value.startswith("file:///")) and urlsplit(value).port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError(f"{value!r} is not a complete address")
    return value


PackageName = Annotated[str, AfterValidator(_package_name)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
DebianVersion = Annotated[str, Field(pattern=r"^([0-9]+:)?[0-9][A-Za-z0-9.+~-]*$")]
Url = Annotated[str, Field(pattern=r"^(https?|file)://[!-~]+$"), AfterValidator(check_address)]
Repository = Annotated[str, Field(pattern=r"^(https|file)://[!-~]+$"), AfterValidator(check_address)]
HgRepository = Annotated[str, Field(pattern=r"^(https?|file)://[!-~]+$"), AfterValidator(check_address)]
"""Mercurial's older homes speak no https: there the commit alone decides what may be delivered."""
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9+._~-]*$")]


class Upstream(Table):
    """Where the code truly lives. Where a project moved, git is its home today and hg the one of this version."""

    git: Repository | None = None
    hg: HgRepository | None = None
    tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/+-]*$")]
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """Of hg where there is one, else of git."""

    @property
    def address(self) -> str:
        """The repository's address, git's where there are both."""
        return self.git or self.hg or ""

    @property
    def git_commit(self) -> str | None:
        """The commit, if it is one of the git repository."""
        return None if self.hg else self.commit

    @property
    def hg_commit(self) -> str | None:
        """The commit, if it is one of the Mercurial repository."""
        return self.commit if self.hg else None

    @property
    def address_commit(self) -> str | None:
        """The commit, if the repository at the address has it."""
        return self.git_commit if self.git else self.hg_commit

    @property
    def homes(self) -> tuple[str, ...]:
        """Each repository with its tag, and the commit where it is known there."""
        known = (("git", self.git, self.git_commit), ("hg", self.hg, self.hg_commit))
        return tuple(" ".join(filter(None, (kind, url, self.tag, commit))) for kind, url, commit in known if url)

    @model_validator(mode="after")
    def _names_a_repository(self) -> Self:
        if not self.address:
            raise ValueError("needs git or hg, the address of upstream's repository")
        if self.hg and self.hg.startswith("http:") and not self.commit:
            raise ValueError("hg by http needs commit, or anybody between could deliver what he likes; or use https")
        return self


class SignaturePolicy(StrEnum):
    """What of upstream's release carries a signature that is checked."""

    PGP_TARBALL = "pgp-tarball"
    PGP_TAG = "pgp-tag"
    SSH_TAG = "ssh-tag"
    PINNED_ONLY = "pinned-only"
    """Nothing: the sha256 alone counts."""


class Signature(Table):
    """Upstream's signature, and the keys that may have made it."""

    policy: Annotated[SignaturePolicy, Field(strict=False)]
    keys: FileName | None = None
    """In the recipe's folder: OpenPGP keys, or for ssh-tag a list of allowed signers as ssh-keygen reads it."""
    file: FileName | None = None
    """In the recipe's folder: the detached signature of the tarball."""

    @model_validator(mode="after")
    def _has_its_files(self) -> Self:
        if (self.policy is SignaturePolicy.PINNED_ONLY) != (self.keys is None):
            raise ValueError("every policy but pinned-only needs keys, a file in the recipe's folder")
        if (self.policy is SignaturePolicy.PGP_TARBALL) != (self.file is not None):
            raise ValueError(
                "policy pgp-tarball needs file, the signature in the recipe's folder; the others have none"
            )
        return self


class DebianOrigin(Table):
    """The upstream tarball as a Debian archive carries it (`orig`)."""

    type: Literal["debian"]
    package: PackageName
    version: DebianVersion
    sha256: Sha256


class TarballOrigin(Table):
    """A release tarball at an address."""

    type: Literal["tarball"]
    url: Url
    sha256: Sha256

    @model_validator(mode="after")
    def _names_a_tarball(self) -> Self:
        if not re.search(r"\.tar\.(gz|xz|bz2)$", self.url):
            raise ValueError("url must end in .tar.gz, .tar.xz or .tar.bz2")
        return self


class RepositoryOrigin(Table):
    """Upstream's own repository, at the commit that [upstream] names."""

    type: Literal["git", "hg"]


Origin = Annotated[DebianOrigin | TarballOrigin | RepositoryOrigin, Field(discriminator="type")]


Fixes = Annotated[tuple[Annotated[str, Field(pattern=r"^CVE-[0-9]{4}-[0-9]{4,}$")], ...], Field(strict=False)]


class DebianPatch(Table):
    """One file out of the packaging (`debian.tar`) of a source package of the Debian archive."""

    type: Literal["debian"]
    package: PackageName
    version: DebianVersion
    file: Annotated[str, Field(pattern=r"^debian/patches/[A-Za-z0-9][A-Za-z0-9+._~-]*$")]
    sha256: Sha256
    """Of the patch itself."""
    fixes: Fixes = ()

    @property
    def name(self) -> str:
        """Its name in our series."""
        return self.file.rpartition("/")[2]


class UrlPatch(Table):
    """A patch at an address, such as a commit of upstream."""

    type: Literal["url"]
    name: FileName
    url: Url
    sha256: Sha256
    fixes: Fixes = ()


RemotePatch = Annotated[DebianPatch | UrlPatch, Field(discriminator="type")]


def describe_origin(origin: Origin | RemotePatch) -> str:
    """An origin in words."""
    if isinstance(origin, DebianPatch):
        return f"{origin.file} of Debian's {origin.package} {origin.version}"
    if isinstance(origin, RepositoryOrigin):
        return f"upstream's {origin.type} repository"
    if isinstance(origin, DebianOrigin):
        return f"Debian orig of {origin.package} {origin.version}"
    return origin.url
