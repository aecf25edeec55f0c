"""A source's tree for work on its patches: a git repository with a commit for each, and the way back into the recipe.

    base            upstream's code, and above it the remote patches, which are pinned and stay as they are
    base..HEAD      a commit for each patch of the recipe's own; its message has the patch's header below the first line

Commits are edited, reordered, dropped and added with git's own means (rebase --interactive). One that nobody touched
gives its file back to the byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg import disk
from hapkg.errors import ProcessError, SourceError, UsageError
from hapkg.recipe.dep3 import cut_header, read_header
from hapkg.recipe.model import Recipe
from hapkg.records import format_record, read_record
from hapkg.source.patch_review import WHO, apply_patch, run_git, start_history, write_diff
from hapkg.source.unpack import unpack

_NOTE = ".git/hapkg.json"
_NAME = "Patch-Name: "
"""Begins the last line of a commit's message: the file that the patch is kept in."""
_MOST_NAME = 60


@dataclass(frozen=True, kw_only=True)
class _Note:
    """Kept in the tree: what it was made of."""

    source: str
    version: str
    base: str
    """The commit above which the recipe's own patches lie."""
    patches: Mapping[str, str]
    """Names of patches by their commit, as it was made."""


def make_work_tree(recipe: Recipe, tarball: Path, remote: Mapping[str, bytes], tree: Path) -> None:
    """Unpack a source as the folder tree, with a commit for each of its patches.

    remote has the content of remote patches by name. Raises UsageError where the folder is there already, SourceError
    where a patch does not apply.
    """
    if tree.exists():
        raise UsageError(f"{tree} exists already", hint="name another folder, or remove it")
    disk.make_folder(tree.parent)
    scratch = disk.make_scratch(tree.parent, f".{tree.name}-")
    try:
        made = scratch / tree.name
        made.mkdir()
        unpack(recipe, tarball, made)
        start_history(made)
        _record(made, f"{recipe.source} {recipe.version}: upstream\n")
        for name in (patch.name for patch in recipe.remote_patches):
            _apply(recipe, made, name, remote[name])
        base = run_git(made, "rev-parse", "HEAD").strip()
        patches = {}
        for patch in recipe.patches:
            commit = _apply(recipe, made, patch.name, (recipe.folder / "patches" / patch.name).read_bytes())
            patches[commit] = patch.name
        note = _Note(source=recipe.source, version=recipe.version, base=base, patches=patches)
        (made / _NOTE).write_bytes(format_record(vars(note)))
        disk.move({made: tree})
    finally:
        disk.remove_tree(scratch)


def take_patches(recipe: Recipe, tree: Path) -> tuple[str, ...]:
    """Bring the commits of a work tree back as the recipe's own patches; the names of files that changed or are gone.

    Raises UsageError where the folder is no work tree of the recipe's version, or has changes that are in no commit,
    SourceError where a commit cannot be a patch. Then the recipe is as it was.
    """
    note = _read_note(recipe, tree)
    patches = [_read_patch(recipe, tree, note, commit) for commit in _list_commits(tree, note)]
    names = [name for name, _ in patches]
    for patch in recipe.every_patch:
        if patch.name in names and patch not in recipe.patches:
            raise SourceError(
                f"{patch.name} is a patch for another version", hint=f"change {_NAME.strip()} of the commit"
            )
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise SourceError(f"two commits are the patch {doubled}", hint=f"change the line {_NAME}of one, or squash them")
    return _write_patches(recipe, dict(patches))


def _read_note(recipe: Recipe, tree: Path) -> _Note:
    note = read_record(tree / _NOTE, _Note)
    if note is None:
        raise UsageError(f"{tree} is no work tree of a source", hint=f"run: hapkg source {recipe.source} {tree}")
    if (note.source, note.version) != (recipe.source, recipe.version):
        raise UsageError(
            f"{tree} is of {note.source} {note.version}, the recipe is of {recipe.source} {recipe.version}",
            hint="make another tree: hapkg source",
        )
    try:
        run_git(tree, "merge-base", "--is-ancestor", note.base, "HEAD")
    except ProcessError as error:
        raise UsageError(
            f"{tree}: upstream's code and the remote patches are no longer below HEAD",
            hint="change the commits above them alone: git rebase --interactive " + note.base[:12],
        ) from error
    if run_git(tree, "status", "--porcelain").strip():
        raise UsageError(f"{tree} has changes that are in no commit", hint="commit them, or git stash")
    return note


def _list_commits(tree: Path, note: _Note) -> list[str]:
    """Commits above the base, the oldest first."""
    commits = run_git(tree, "rev-list", "--reverse", "--parents", f"{note.base}..HEAD").splitlines()
    for line in commits:
        if len(line.split()) != 2:
            raise SourceError(
                f"{tree}: {line.split()[0][:12]} is a merge", hint="a series is one line of commits: rebase"
            )
    return [line.split()[0] for line in commits]


def _read_patch(recipe: Recipe, tree: Path, note: _Note, commit: str) -> tuple[str, bytes]:
    """Name and content of the patch that a commit is."""
    message = run_git(tree, "show", "-s", "--format=%B", commit).strip("\n")
    lines = [line for line in message.split("\n") if not line.startswith(_NAME)]
    told = [line.removeprefix(_NAME).strip() for line in message.split("\n") if line.startswith(_NAME)]
    text = "\n".join(lines).strip("\n")
    name = told[-1] if told else _make_name(text)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+~-]*", name):
        raise SourceError(f"{commit[:12]}: {name!r} is no name of a patch", hint="letters, digits and . _ + ~ - alone")
    file = recipe.folder / "patches" / name
    if note.patches.get(commit) == name and file.is_file():
        return name, file.read_bytes()
    body = write_diff(tree, f"{commit}^", commit)
    if not body:
        raise SourceError(f"{commit[:12]} changes nothing that a patch can carry", hint="git rebase drops it")
    if read_header(text.partition("\n\n")[2]) is not None:
        text = text.partition("\n\n")[2].strip("\n")
    elif read_header(text) is None:
        author = run_git(tree, "show", "-s", "--format=%an <%ae>", commit).strip()
        text = _make_header(text, author)
    return name, f"{text}\n\n".encode() + body


def _make_name(message: str) -> str:
    """A file name by the first line of a message."""
    subject = message.split("\n", maxsplit=1)[0].removeprefix("Description:")
    return (re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:_MOST_NAME].strip("-") or "change") + ".patch"


def _make_header(message: str, author: str) -> str:
    """A message of git as a header that DEP-3 knows."""
    subject, _, rest = message.partition("\n")
    body = [f" {line}" if line.strip() else " ." for line in rest.strip("\n").split("\n")] if rest.strip() else []
    return "\n".join([f"Description: {subject}", *body, f"Author: {author}"])


def _write_patches(recipe: Recipe, patches: Mapping[str, bytes]) -> tuple[str, ...]:
    """Write files and series, and remove files that are no patch any more; the names that changed."""
    folder = recipe.folder / "patches"
    series = folder / "series"
    lines = series.read_text("utf-8").splitlines() if series.exists() else []
    before = {patch.name: (folder / patch.name).read_bytes() for patch in recipe.patches}
    changed = [name for name, content in patches.items() if before.get(name) != content]
    for name in changed:
        disk.make_folder(folder)
        disk.replace(folder / name, patches[name])
    names = _with_other_versions(recipe, list(patches))
    fresh = "".join(f"{line}\n" for line in _order(lines, names))
    if names and fresh != "".join(f"{line}\n" for line in lines):
        disk.replace(series, fresh.encode())
    gone = [name for name in before if name not in patches]
    if not names:
        series.unlink(missing_ok=True)
    for name in gone:
        (folder / name).unlink()
    if not names and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return (*changed, *gone)


def _with_other_versions(recipe: Recipe, names: Sequence[str]) -> list[str]:
    """Names, and the recipe's patches for other versions, each behind the one that it was behind."""
    found, place = list(names), 0
    for patch in recipe.every_patch:
        if patch.name in found:
            place = found.index(patch.name) + 1
        elif patch not in recipe.patches:
            found.insert(place, patch.name)
            place += 1
    return found


def _order(lines: Sequence[str], names: Sequence[str]) -> list[str]:
    """The lines of series for these names: each with the comments that were above it and beside it."""
    kept: dict[str, list[str]] = {}
    comments: list[str] = []
    for line in lines:
        comments.append(line)
        if name := line.split("#")[0].strip():
            kept[name], comments = comments, []
    return [*(line for name in names for line in kept.get(name, [name])), *comments]


def _apply(recipe: Recipe, tree: Path, name: str, content: bytes) -> str:
    """Apply a patch as dpkg-source does, and commit it under its header; the commit."""
    file = tree / ".git/hapkg.patch"
    file.write_bytes(content)
    status, words = apply_patch(tree, file, "-F0")
    if status != 0:
        raise SourceError(
            f"{recipe.source}: patch {name} does not apply to version {recipe.version}",
            details=words[:6],
            hint="hapkg bump tells which patches a newer version has",
        )
    header = cut_header(content.decode("utf-8", "replace")).strip("\n")
    found = read_header(header)
    _record(tree, f"{name}: {found.description if found else ''}\n\n{header}\n{_NAME}{name}\n")
    return run_git(tree, "rev-parse", "HEAD").strip()


def _record(tree: Path, message: str) -> None:
    file = tree / ".git/hapkg.message"
    file.write_text(message, "utf-8")
    run_git(tree, "add", "--all", "--force")
    run_git(tree, *WHO, "commit", "-q", "--allow-empty", "--cleanup=verbatim", "-F", str(file))
