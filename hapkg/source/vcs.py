"""Upstream's own repositories: a commit's tree as a tarball, what `git archive` or `hg archive` gives.

A local mirror of each repository is kept in the state folder; a commit that is there already needs no network.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hapkg import disk, process
from hapkg.errors import FetchError, IntegrityError, ProcessError, SourceError, UsageError
from hapkg.locations import State
from hapkg.recipe.model import Recipe
from hapkg.source.signature import check_tag

_COMMIT_LENGTH = 40


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One commit of a repository, mirrored on this disk."""

    kind: str
    """"git" or "hg"."""
    url: str
    id: str
    date: datetime
    mirror: Path
    signer: str = ""
    """Whose signature of the tag was checked."""


def find_commit(recipe: Recipe, kind: str, ref: str | None, state: State) -> Commit:
    """The commit that a tag, branch or id stands for in the recipe's repository; the recipe's tag when ref is None.

    Raises UsageError when the recipe names no such repository or that has no such commit, FetchError when it cannot be
    reached, IntegrityError when the recipe's tag is not the recipe's commit.
    """
    upstream = recipe.upstream
    url = getattr(upstream, kind, None) if upstream else None
    if upstream is None or url is None:
        raise UsageError(f"{recipe.source} names no {kind} repository", hint="recipe.toml, [upstream]")
    wanted = ref or upstream.tag
    if url.startswith("http:") and wanted != upstream.tag and not _is_commit(wanted):
        raise UsageError(
            f"{url} is not protected: a branch of it may be anything", hint="name a whole commit with --ref"
        )
    mirror = state.sources / kind / hashlib.sha256(url.encode()).hexdigest()[:16]
    find = _find_git_commit if kind == "git" else _find_hg_commit
    commit, date = find(mirror, url, wanted)
    expected = upstream.git_commit if kind == "git" else upstream.hg_commit
    if wanted == upstream.tag and expected not in (None, commit):
        raise IntegrityError(
            f"{recipe.source}: tag {upstream.tag} is commit {commit}, the recipe says {expected}",
            hint="upstream moved the tag: look at both commits before changing recipe.toml, [upstream] commit",
        )
    signer = check_tag(recipe, mirror, wanted) if kind == "git" and wanted == upstream.tag else ""
    return Commit(kind=kind, url=url, id=commit, date=date, mirror=mirror, signer=signer)


def _find_git_commit(mirror: Path, url: str, ref: str) -> tuple[str, datetime]:
    def look_up() -> str | None:
        found = process.run(
            ["git", "-C", str(mirror), "rev-parse", "--verify", "-q", "--end-of-options", f"{ref}^{{commit}}"],
            check=False,
        )
        return found.output.strip() if found.status == 0 else None

    commit = look_up() if mirror.exists() and _is_commit(ref) else None
    if commit is None:
        _mirror(
            mirror,
            url,
            clone=["git", "clone", "--quiet", "--mirror", "--", url],
            update=["git", "-C", str(mirror), "fetch", "--quiet", "--prune", "--tags", "origin"],
        )
        commit = look_up()
    if commit is None:
        raise UsageError(f"{url} has no commit, tag or branch {ref}", hint="check --ref")
    stamp = process.run(["git", "-C", str(mirror), "show", "-s", "--format=%ct", commit]).output.strip()
    return commit, datetime.fromtimestamp(int(stamp), UTC)


def _find_hg_commit(mirror: Path, url: str, ref: str) -> tuple[str, datetime]:
    def look_up() -> list[str] | None:
        argv = ["hg", "-R", str(mirror), "log", "--limit", "1", "--rev", ref, "--template", "{node} {date|hgdate}"]
        found = process.run(argv, check=False, environment={"HGPLAIN": "1"})
        return found.output.split() if found.status == 0 else None

    words = look_up() if mirror.exists() and _is_commit(ref) else None
    if words is None:
        _mirror(
            mirror,
            url,
            clone=["hg", "clone", "--quiet", "--noupdate", "--", url],
            update=["hg", "-R", str(mirror), "pull", "--quiet"],
        )
        words = look_up()
    if not words:
        raise UsageError(f"{url} has no commit, tag or branch {ref}", hint="check --ref")
    return words[0], datetime.fromtimestamp(int(words[1]), UTC)


def _is_commit(ref: str) -> bool:
    """Whether ref is a full commit id, which cannot move."""
    return len(ref) == _COMMIT_LENGTH and all(letter in "0123456789abcdef" for letter in ref)


def _mirror(mirror: Path, url: str, *, clone: list[str], update: list[str]) -> None:
    """Make the local mirror, whole or not at all, or bring it up to date."""
    environment = {"GIT_TERMINAL_PROMPT": "0", "HGPLAIN": "1"}
    try:
        if mirror.exists():
            process.run(update, environment=environment)
            return
        mirror.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=mirror.parent, prefix=".clone-") as scratch:
            process.run([*clone, f"{scratch}/mirror"], environment=environment)
            disk.move({Path(scratch) / "mirror": mirror})
    except ProcessError as error:
        raise FetchError(
            f"{url} cannot be reached", details=error.details, hint="check the address and the network"
        ) from error


def archive_commit(recipe: Recipe, commit: Commit, state: State) -> Path:
    """The commit's tree as a .tar.gz with one top folder; the same bytes whenever it is made.

    Raises SourceError for a tree with submodules or subrepositories.
    """
    target = state.sources / commit.kind / "archives" / f"{recipe.source}-{recipe.version}-{commit.id}.tar.gz"
    if target.exists():
        return target
    prefix = f"{recipe.source}-{recipe.version}/"
    mirror = str(commit.mirror)
    if commit.kind == "git":
        _refuse_submodules(recipe, commit.mirror, commit.id)
        argv = ["git", "-C", mirror, "-c", "tar.umask=0022", "archive", "--format=tar", f"--prefix={prefix}", commit.id]
    else:
        _refuse_subrepositories(recipe, commit.mirror, commit.id)
        # Without the note about the commit, which counts from the newest tag and so changes with the next one.
        archive = ["archive", "--config", "ui.archivemeta=no", "--rev", commit.id, "--type", "tar", "--prefix", prefix]
        argv = ["hg", "-R", mirror, *archive, "-"]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".archive-") as scratch:
        plain = Path(scratch) / "tar"
        with plain.open("wb") as out:
            process.run(argv, stdout=out, environment={"HGPLAIN": "1"})
        packed = Path(scratch) / "tar.gz"
        with plain.open("rb") as tar, packed.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as zipped:
            shutil.copyfileobj(tar, zipped)
        disk.settle(packed)
        disk.move({packed: target})
    return target


def _refuse_submodules(recipe: Recipe, mirror: Path, commit: str) -> None:
    listing = process.run(["git", "-C", str(mirror), "ls-tree", "-r", commit]).output
    modules = [line.split("\t", 1)[1] for line in listing.splitlines() if line.startswith("160000 ")]
    if modules:
        raise SourceError(
            f"{recipe.source}: the tree has submodules, which git archive leaves empty: {', '.join(modules)}",
            hint="use upstream's release tarball, or a recipe of its own for each submodule",
        )


def _refuse_subrepositories(recipe: Recipe, mirror: Path, commit: str) -> None:
    argv = ["hg", "-R", str(mirror), "cat", "--rev", commit, "path:.hgsub"]
    listing = process.run(argv, check=False, environment={"HGPLAIN": "1"})
    if listing.status == 0:
        names = [line.partition("=")[0].strip() for line in listing.output.splitlines() if "=" in line]
        raise SourceError(
            f"{recipe.source}: the tree has subrepositories, which hg archive leaves out: {', '.join(names)}",
            hint="use upstream's release tarball, or a recipe of its own for each subrepository",
        )
