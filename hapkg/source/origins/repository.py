"""Repositories of upstream: the steps that git and Mercurial share, and the protocol of what they do not.

A local mirror of each repository is kept in the state folder. It follows no configuration but its own, runs no hook,
and is asked by full names and object ids alone: a name of one kind never stands for one of another kind.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, ClassVar

from hapkg import disk
from hapkg.errors import FetchError, ProcessError, UsageError
from hapkg.locations import State
from hapkg.recipe.model import Recipe

_COMMIT_LENGTH = 40
_TIMEOUT_SECONDS = 1800
"""Longest wait for another process that refreshes the same mirror."""
_WAIT = "wait until it has ended"


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One commit of a repository, mirrored on this disk."""

    kind: str
    """The type of its origin, such as "git"."""
    url: str
    id: str
    date: datetime
    mirror: Path
    signer: str = ""
    """Signer of the tag, if that was checked."""


def read_remote_environment() -> dict[str, str]:
    """Variables of the caller's that a program needs to reach a server: its proxies, and the agent with ssh's keys."""
    proxies = [f"{kind}_proxy" for kind in ("http", "https", "all", "no")]
    names = (*proxies, *map(str.upper, proxies), "SSH_AUTH_SOCK")
    return {name: os.environ[name] for name in names if name in os.environ}


def is_commit(ref: str) -> bool:
    """True for a full commit id, which cannot move."""
    return len(ref) == _COMMIT_LENGTH and all(letter in "0123456789abcdef" for letter in ref)


class Vcs(ABC):
    """A version control system."""

    kind: ClassVar[str]
    default_branch: ClassVar[str]
    """Name that stands for the server's default branch."""

    @abstractmethod
    def clone(self, url: str, mirror: Path) -> None:
        """Make a mirror, whose folder does not exist. Raises ProcessError."""

    @abstractmethod
    def update(self, url: str, mirror: Path) -> None:
        """Bring a mirror up to date. Raises ProcessError."""

    @abstractmethod
    def find_tag(self, mirror: Path, tag: str) -> str | None:
        """The id of the commit that a tag stands for."""

    @abstractmethod
    def find_ref(self, url: str, mirror: Path, ref: str) -> str | None:
        """The id of the commit that a tag, a branch or an id stands for, in this order."""

    @abstractmethod
    def read_date(self, mirror: Path, commit: str) -> int:
        """Seconds since 1970 at which a commit was made."""

    @abstractmethod
    def list_tags(self, mirror: Path) -> list[tuple[str, str]]:
        """Every tag with the id of what it names."""

    @abstractmethod
    def list_tags_before(self, mirror: Path, commit: str) -> list[str]:
        """Every tag of a commit or of one that it comes after."""

    def ask_tags(self, url: str, state: State) -> dict[str, str]:
        """The commit of every tag that the repository has now. Raises FetchError."""
        mirror = self.refresh(url, state)
        found = ((tag, self.find_tag(mirror, tag)) for tag, _ in self.list_tags(mirror))
        return {tag: commit for tag, commit in found if commit}

    @abstractmethod
    def read_log(self, mirror: Path, old: str, new: str, most: int) -> list[str]:
        """The newest commits that new has and old has not, merges left out: id and subject. Both are ids."""

    @abstractmethod
    def check_whole(self, recipe: Recipe, mirror: Path, commit: str) -> None:
        """Raise SourceError for a tree that the archive of the commit would not hold whole."""

    @abstractmethod
    def write_tar(self, mirror: Path, commit: str, prefix: str, out: IO[bytes]) -> None:
        """Write a commit's tree below prefix as a tar archive, the same bytes whenever it is asked."""

    @abstractmethod
    def write_parts(self, recipe: Recipe, commit: Commit, prefix: str, tar: Path, state: State) -> None:
        """Append to a tar archive what belongs to the commit's tree and lies in other repositories.

        Raises FetchError or SourceError when it cannot be had.
        """

    def check_tag(self, recipe: Recipe, mirror: Path, tag: str, commit: str) -> str:
        """Signer of a tag of this commit, or "" where the recipe promises no signed tag. Raises IntegrityError."""
        return ""

    def find_mirror(self, url: str, state: State) -> Path:
        """The mirror of a repository, which need not exist."""
        return state.sources / self.kind / hashlib.sha256(url.encode()).hexdigest()[:16]

    def refresh(self, url: str, state: State) -> Path:
        """Make the mirror, whole or not at all, or bring it up to date. Raises FetchError."""
        mirror = self.find_mirror(url, state)
        disk.make_folder(mirror.parent)
        held = disk.lock(mirror.with_suffix(".lock"), what=str(mirror), hint=_WAIT, timeout=_TIMEOUT_SECONDS)
        try:
            with held:  # another suite may be built at the same time
                self._refresh(url, mirror)
        except ProcessError as error:
            raise FetchError(
                f"{url} cannot be reached", details=error.details, hint="check the address and the network"
            ) from error
        return mirror

    def _refresh(self, url: str, mirror: Path) -> None:
        if mirror.exists():
            self.update(url, mirror)
            return
        with tempfile.TemporaryDirectory(dir=mirror.parent, prefix=".clone-") as scratch:
            self.clone(url, Path(scratch) / "mirror")
            disk.move({Path(scratch) / "mirror": mirror})

    def find_commit(self, url: str, ref: str, state: State, *, tag: bool) -> Commit:
        """The commit that ref stands for, a tag alone where it must be one; a known id needs no network.

        Raises UsageError when there is none, FetchError when the repository cannot be reached.
        """
        mirror = self.find_mirror(url, state)
        commit = self.find_ref(url, mirror, ref) if is_commit(ref) and mirror.exists() else None
        if commit is None:
            mirror = self.refresh(url, state)
            commit = self.find_tag(mirror, ref) if tag else self.find_ref(url, mirror, ref)
        if commit is None:
            wanted = f"tag {ref}" if tag else f"commit, tag or branch {ref}"
            raise UsageError(
                f"{url} has no {wanted}", hint="check recipe.toml, [upstream] tag" if tag else "check --ref"
            )
        date = datetime.fromtimestamp(self.read_date(mirror, commit), UTC)
        return Commit(kind=self.kind, url=url, id=commit, date=date, mirror=mirror)

    def archive(self, recipe: Recipe, commit: Commit, state: State) -> Path:
        """The commit's tree as a .tar.gz with one top folder; the same bytes whenever it is made.

        Raises SourceError for a tree that is not whole, FetchError when a part of it cannot be had.
        """
        top = f"{recipe.source}-{recipe.version}"
        target = state.find_commits(self.kind) / f"{top}-{commit.id}.tar.gz"
        if target.exists():
            return target
        self.check_whole(recipe, commit.mirror, commit.id)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".archive-") as scratch:
            plain, packed = Path(scratch) / "tar", Path(scratch) / "tar.gz"
            with plain.open("wb") as out:
                self.write_tar(commit.mirror, commit.id, f"{top}/", out)
            self.write_parts(recipe, commit, f"{top}/", plain, state)
            with plain.open("rb") as tar, packed.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as zipped:
                shutil.copyfileobj(tar, zipped)
            disk.settle(packed)
            disk.move({packed: target})
        return target
