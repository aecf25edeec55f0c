"""Where a recipe's code comes from: upstream's home, its signature, origins of the tarball, patches of others.

And what a person decided about it: releases that are not wanted, holes that are none here.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from hapkg.control import find_tarball_suffix, is_package_name
from hapkg.recipe.version import is_upstream_version
from hapkg.tables import Line, Table


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


def _upstream_version(value: str) -> str:
    if not is_upstream_version(value):
        raise ValueError(f"{value!r} is not an upstream version: start with a digit; no epoch, hyphen or '+ha'")
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as cause:
        raise ValueError(f"{value!r} is not a regular expression: {cause}") from None
    return value


def _inner_path(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*", value):
        raise ValueError(f"{value!r} is not a path of a folder inside the tree")
    return value


PackageName = Annotated[str, AfterValidator(_package_name)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
DebianVersion = Annotated[str, Field(pattern=r"^([0-9]+:)?[0-9][A-Za-z0-9.+~-]*$")]
Url = Annotated[str, Field(pattern=r"^(https?|file)://[!-~]+$"), AfterValidator(check_address)]
GitAddress = Annotated[str, Field(pattern=r"^(https|file|ssh)://[!-~]+$"), AfterValidator(check_address)]
HgAddress = Annotated[str, Field(pattern=r"^(https?|file)://[!-~]+$"), AfterValidator(check_address)]
"""Mercurial's older homes speak no https: there the commit alone decides what may be delivered."""
UpstreamVersion = Annotated[str, AfterValidator(_upstream_version)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9+._~-]*$")]


class Upstream(Table):
    """Where the code truly lives. Where a project moved, git is its home today and hg the one of this version."""

    git: GitAddress | None = None
    hg: HgAddress | None = None
    tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/+-]*$")]
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """Of hg where there is one, else of git."""
    submodules: Annotated[dict[Annotated[str, AfterValidator(_inner_path)], GitAddress], Field(default_factory=dict)]
    """Repositories of git's submodules by their paths; the commits are those that the tree itself names."""
    ignore: Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], Field(strict=False)] = ()
    """Regular expressions: versions that one of them finds are no news."""
    hold: Line | None = None
    """The reason why this version stays although upstream has a newer one."""

    @property
    def repositories(self) -> dict[str, str]:
        """Addresses by kind of repository; the project's home of today comes first, that of this version last."""
        return {kind: url for kind, url in (("git", self.git), ("hg", self.hg)) if url}

    @property
    def address(self) -> str:
        """The address of the project's home of today."""
        return next(iter(self.repositories.values()), "")

    @property
    def address_commit(self) -> str | None:
        """The commit, if the repository at the address has it."""
        return self.commit_in(next(iter(self.repositories), ""))

    @property
    def homes(self) -> tuple[str, ...]:
        """Each repository with its tag, and the commit where it is known there."""
        known = ((kind, url, self.tag, self.commit_in(kind)) for kind, url in self.repositories.items())
        return tuple(" ".join(filter(None, words)) for words in known)

    def commit_in(self, kind: str) -> str | None:
        """The commit, if it is one of the repository of this kind."""
        return self.commit if kind == next(reversed(self.repositories), "") else None

    def narrow(self, kind: str, *, tag: str, commit: str) -> Self:
        """Only the repository of this kind, with another tag and commit."""
        homes = dict.fromkeys(self.repositories) | {kind: self.repositories.get(kind)}
        return self.model_copy(update={**homes, "tag": tag, "commit": commit})

    @model_validator(mode="after")
    def _names_a_repository(self) -> Self:
        if not self.address:
            raise ValueError("needs git or hg, the address of upstream's repository")
        if self.submodules and not self.git:
            raise ValueError("submodules are of git: name its address")
        if self.hg and self.hg.startswith("http:") and not self.commit:
            raise ValueError("hg by http needs commit, or anybody between could deliver what he likes; or use https")
        return self


class SignaturePolicy(StrEnum):
    """Part of upstream's release whose signature is checked."""

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


class PinnedFile(Table):
    """A file of known content, which has its place in the state folder, whoever delivers it."""

    sha256: Sha256
    checked_by: ClassVar[frozenset[SignaturePolicy]] = frozenset({SignaturePolicy.PGP_TARBALL})
    """Policies that check a signature of what comes from here."""

    @abstractmethod
    def describe(self) -> str:
        """The origin in words."""

    def pin(self, upstream: Upstream | None) -> str | None:
        """The digest or commit that decides what the source is."""
        return self.sha256


class RepositoryOrigin(Table):
    """Upstream's own repository, at the commit that [upstream] names."""

    type: str
    checked_by: ClassVar[frozenset[SignaturePolicy]] = frozenset()

    def describe(self) -> str:
        """The origin in words."""
        return f"upstream's {self.type} repository"

    def pin(self, upstream: Upstream | None) -> str | None:
        """The commit, if [upstream] knows it there."""
        return upstream.commit_in(self.type) if upstream else None


class DebianOrigin(PinnedFile):
    """The upstream tarball as a Debian archive carries it (`orig`)."""

    type: Literal["debian"]
    package: PackageName
    version: DebianVersion

    def describe(self) -> str:
        """The origin in words."""
        return f"Debian orig of {self.package} {self.version}"


class TarballOrigin(PinnedFile):
    """A release tarball at an address."""

    type: Literal["tarball"]
    url: Url

    def describe(self) -> str:
        """The origin in words."""
        return self.url

    @model_validator(mode="after")
    def _names_a_tarball(self) -> Self:
        if not find_tarball_suffix(self.url):
            raise ValueError("url must end in .tar.gz, .tar.xz or .tar.bz2")
        return self


class GitOrigin(RepositoryOrigin):
    """A git repository."""

    type: Literal["git"]
    checked_by: ClassVar[frozenset[SignaturePolicy]] = frozenset({SignaturePolicy.PGP_TAG, SignaturePolicy.SSH_TAG})


class HgOrigin(RepositoryOrigin):
    """A Mercurial repository."""

    type: Literal["hg"]


Origin = Annotated[DebianOrigin | TarballOrigin | GitOrigin | HgOrigin, Field(discriminator="type")]


Fixes = Annotated[tuple[Annotated[str, Field(pattern=r"^CVE-[0-9]{4}-[0-9]{4,}$")], ...], Field(strict=False)]


class DebianPatch(PinnedFile):
    """One file out of the packaging (`debian.tar`) of a source package of the Debian archive; sha256 is the file's."""

    type: Literal["debian"]
    package: PackageName
    version: DebianVersion
    file: Annotated[str, Field(pattern=r"^debian/patches/[A-Za-z0-9][A-Za-z0-9+._~-]*$")]
    fixes: Fixes = ()
    until: UpstreamVersion | None = None
    """The version in which upstream has it."""

    @property
    def name(self) -> str:
        """Its name in our series."""
        return self.file.rpartition("/")[2]

    def describe(self) -> str:
        """The origin in words."""
        return f"{self.file} of Debian's {self.package} {self.version}"


class UrlPatch(PinnedFile):
    """A patch at an address, such as a commit of upstream."""

    type: Literal["url"]
    name: FileName
    url: Url
    fixes: Fixes = ()
    until: UpstreamVersion | None = None
    """The version in which upstream has it."""

    def describe(self) -> str:
        """The origin in words."""
        return self.url


RemotePatch = Annotated[DebianPatch | UrlPatch, Field(discriminator="type")]


class AdvisoryStatus(StrEnum):
    """A person's verdict on a hole, in OpenVEX's words."""

    NOT_AFFECTED = "not-affected"
    FIXED = "fixed"
    AFFECTED = "affected"
    """It stays open; the reason says what is to be done."""


class Justification(StrEnum):
    """The kind of reason why a hole is none here, in OpenVEX's words."""

    COMPONENT_NOT_PRESENT = "component_not_present"
    VULNERABLE_CODE_NOT_PRESENT = "vulnerable_code_not_present"
    VULNERABLE_CODE_NOT_IN_EXECUTE_PATH = "vulnerable_code_not_in_execute_path"
    VULNERABLE_CODE_CANNOT_BE_CONTROLLED_BY_ADVERSARY = "vulnerable_code_cannot_be_controlled_by_adversary"
    INLINE_MITIGATIONS_ALREADY_EXIST = "inline_mitigations_already_exist"


class Advisory(Table):
    """A hole that a person looked at."""

    id: Annotated[str, Field(pattern=r"^[A-Z]+-[A-Za-z0-9-]+$")]
    """As the security tracker has it: CVE-2024-3049, TEMP-0000000-0A1B2C."""
    status: Annotated[AdvisoryStatus, Field(strict=False)]
    why: Line
    justification: Annotated[Justification, Field(strict=False)] | None = None
    """For not-affected alone."""

    @model_validator(mode="after")
    def _justifies_what_needs_it(self) -> Self:
        if self.justification and self.status is not AdvisoryStatus.NOT_AFFECTED:
            raise ValueError("justification is for status not-affected; why says the rest")
        return self
