"""Patches on another version's tree: which it has already, which apply, which have to be made anew.

A patch is tried as dpkg-source applies it, which takes no fuzz; then backwards, which succeeds on a tree that has it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hapkg import disk
from hapkg.programs import process
from hapkg.recipe.dep3 import cut_header
from hapkg.source.signature import GIT_ALONE, GIT_OPTIONS

_MOST_DETAILS = 6
_AS_THEY_ARE = "* -text -ident -filter -working-tree-encoding\n"
"""git's attributes that leave every byte of a tree alone, whatever its own say."""
_EXTENDED = re.compile(r"(diff --git |index [0-9a-f]+\.\.|new file mode |deleted file mode |old mode |new mode )")
WHO = ("-c", "user.name=hapkg", "-c", "user.email=hapkg@hapkg.invalid", "-c", "commit.gpgSign=false")


class Fate(StrEnum):
    """The end of a patch on another tree."""

    KEPT = "applies"
    REFRESHED = "refreshed"
    DROPPED = "dropped: the new tree has it"
    FAILED = "does not apply"


@dataclass(frozen=True, kw_only=True)
class PatchReview:
    """One patch on another tree."""

    name: str
    fate: Fate
    content: bytes
    """As it is to be kept: with new lines and places where it was refreshed."""
    details: tuple[str, ...] = ()
    """The words of patch(1) about one that was refreshed or failed."""


class PatchedTree:
    """A tree to which patches are applied one by one, and its history, from which a patch is made anew."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        start_history(tree)
        self._record()

    def review(self, name: str, content: bytes, *, ours: bool) -> PatchReview:
        """Apply one patch, if it can be; only ours may be refreshed."""
        file = self._tree / ".git/hapkg.patch"
        file.write_bytes(content)
        status, words = apply_patch(self._tree, file, "-F0", "--dry-run")
        if status != 0 and apply_patch(self._tree, file, "-F0", "-R", "--dry-run")[0] == 0:
            return PatchReview(name=name, fate=Fate.DROPPED, content=content)
        fuzz = "-F0"
        if status != 0:
            again, more = apply_patch(self._tree, file, "-F2", "--dry-run")
            if again != 0 or not ours:
                return PatchReview(name=name, fate=Fate.FAILED, content=content, details=tuple(words[:_MOST_DETAILS]))
            fuzz, words = "-F2", more
        apply_patch(self._tree, file, fuzz)
        moved = tuple(line for line in words if "offset" in line or "fuzz" in line)
        fresh = _join(content, self._diff()) if moved and ours else content
        self._record()
        fate = Fate.REFRESHED if fresh != content else Fate.KEPT
        return PatchReview(name=name, fate=fate, content=fresh, details=moved[:_MOST_DETAILS])

    def _diff(self) -> bytes:
        run_git(self._tree, "add", "--all", "--force", "--intent-to-add")
        return write_diff(self._tree)

    def _record(self) -> None:
        run_git(self._tree, "add", "--all", "--force")
        run_git(self._tree, *WHO, "commit", "-q", "--allow-empty", "-m", "tree")


def start_history(tree: Path) -> None:
    """Make a tree a git repository without a commit, whose files git leaves as they are, to the byte."""
    for repository in [*tree.rglob(".git")]:  # of the release: its configuration could name programs
        disk.remove_tree(repository)
    run_git(tree, "init", "-q", "--template=")
    attributes = tree / ".git/info/attributes"
    attributes.parent.mkdir(exist_ok=True)
    attributes.write_text(_AS_THEY_ARE)


def apply_patch(tree: Path, file: Path, *options: str) -> tuple[int, list[str]]:
    """Status and words of patch(1). -f: it asks nobody, and takes no patch for a reversed one by itself."""
    argv = ["patch", "-p1", "-f", "--no-backup-if-mismatch", "-r", "-", *options, "-i", str(file)]
    done = process.run(argv, cwd=tree, check=False)
    return done.status, done.output.splitlines()


def write_diff(tree: Path, *commits: str) -> bytes:
    """The difference between commits, or of the tree to its last one, in the form that patch(1) and DEP-3 know."""
    plain = ["diff", "--no-ext-diff", "--no-renames", "--no-color", "--text", "--src-prefix=a/", "--dst-prefix=b/"]
    file = tree / ".git/hapkg.diff"
    with file.open("wb") as out:
        process.run(["git", *GIT_OPTIONS, *plain, *commits], cwd=tree, stdout=out, environment=GIT_ALONE)
    lines = file.read_bytes().splitlines(keepends=True)
    return b"".join(line for line in lines if not _EXTENDED.match(line.decode("utf-8", "replace")))


def run_git(tree: Path, *arguments: str) -> str:
    """Output of git in a tree, which follows nobody's configuration but the tree's. Raises ProcessError."""
    return process.run(["git", *GIT_OPTIONS, *arguments], cwd=tree, environment=GIT_ALONE).output


def review_patches(tree: Path, patches: Sequence[tuple[str, bytes, bool]]) -> tuple[PatchReview, ...]:
    """Apply patches in their order: name, content, and True for one of our own. The tree becomes a patched one."""
    patched = PatchedTree(tree)
    return tuple(patched.review(name, content, ours=ours) for name, content, ours in patches)


def _join(old: bytes, body: bytes) -> bytes:
    """A new body under the header that a patch had."""
    return cut_header(old.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape") + body
