"""One commit of upstream as a patch of a recipe, which stays at its version: the fix of a hole, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hapkg.apt.mirror import Mirror
from hapkg.currency.bump import Bump, Workplace, unpack_source
from hapkg.currency.release_review import Change
from hapkg.errors import SourceError, UsageError
from hapkg.locations import State
from hapkg.recipe.model import Recipe
from hapkg.recipe.settings import Project
from hapkg.source.fetch import fetch
from hapkg.source.lockfile import make_entry
from hapkg.source.origins.git import read_change
from hapkg.source.patch_review import Fate, PatchReview, review_patches
from hapkg.source.vcs import find_commit

_NOTHING = Change(new=(), gone=())
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}")
_FILE = re.compile(r"^diff --git ", re.MULTILINE)
_PATHS = re.compile(r"^--- (\S+)(?:\t.*)?\n\+\+\+ (\S+)", re.MULTILINE)


@contextmanager
def prepare_fix(
    project: Project, recipe: Recipe, commit: str, fixes: Sequence[str], *, mirror: Mirror, state: State
) -> Iterator[Bump]:
    """Make a recipe with one more patch ready. The caller holds the store's lock.

    commit is a full id, or what git takes for one; fixes are CVE ids, which name the patch. Raises UsageError where the
    recipe has the change already or has no git, FetchError where upstream does not answer, SourceError where the
    change does not apply. The recipe stays as it is.
    """
    for id_ in fixes:
        if not _CVE.fullmatch(id_):
            raise UsageError(f"{id_} is no CVE id", hint="such as CVE-2026-10649")
    found = find_commit(recipe, "git", commit, state)
    change = read_change(found)
    name = f"{fixes[0] if fixes else _make_name(change.subject)}.patch"
    if name in recipe.series:
        raise UsageError(f"{recipe.source} has a patch {name} already", hint="look at it, or remove it first")
    with Workplace(project, recipe, state) as place:
        tarball = fetch(recipe, state, mirror)
        tree = unpack_source(recipe, tarball.path, place.scratch / "tree")
        entry = make_entry(recipe, tarball, tree)
        body, left_out = _pick_files(change.diff, tree)
        title = change.subject + (f" ({', '.join(fixes)})" if fixes else "")
        origin = f"upstream, {recipe.upstream.git if recipe.upstream else ''} {found.id}"
        header = f"Description: {title}\nAuthor: {change.author}\nOrigin: {origin}\n\n"
        reviews = review_patches(tree, [*place.read_patches(recipe, mirror), (name, (header + body).encode(), True)])
        _check(recipe, reviews[-1], reviews[:-1])
        place.add_patch(name, reviews[-1].content)
        place.text.set_revision(recipe.revision + 1)
        place.text.set_date(max(recipe.date, found.date))
        yield Bump(
            old=recipe,
            new=place.read(),
            entry=entry,
            patches=reviews[-1:],
            log=(f"{found.id[:12]} {change.subject}",),
            files=_NOTHING,
            switches=_NOTHING,
            lost_switches=(),
            notes=tuple(f"{path} is left out of the patch: the release has no such file" for path in left_out),
        )


def _check(recipe: Recipe, added: PatchReview, others: Sequence[PatchReview]) -> None:
    """Refuse a change that is there, one that does not apply, and a series that is broken before it."""
    broken = [review.name for review in others if review.fate in (Fate.FAILED, Fate.DROPPED)]
    if broken:
        raise SourceError(f"{recipe.source}: patches do not apply to its own version: {', '.join(broken)}")
    if added.fate is Fate.DROPPED:
        raise UsageError(f"{recipe.source} {recipe.version} has this change already", hint="hapkg show lists patches")
    if added.fate is Fate.FAILED:
        raise SourceError(
            f"{recipe.source}: the change does not apply to version {recipe.version}",
            details=added.details,
            hint="carry it over by hand, or take a newer version; nothing was changed",
        )


def _pick_files(diff: str, tree: Path) -> tuple[str, list[str]]:
    """The parts of a diff for files that the release has, or can have; and the paths of the others."""
    picked, left_out = [], []
    for part in _FILE.split(diff)[1:]:
        match = _PATHS.search(part)
        if match is None:  # a mode or a binary file
            left_out.append(part.split()[0].removeprefix("a/"))
            continue
        old, new = (path.partition("/")[2] for path in match.groups())
        is_new = match[1] == "/dev/null"
        there = (tree / new).parent.is_dir() if is_new else (tree / old).is_file()
        if there:
            picked.append(part[match.start() :])
        else:
            left_out.append(new if is_new else old)
    if not picked:
        raise UsageError("the change touches no file of the release", details=left_out)
    return "".join(picked), left_out


def _make_name(subject: str) -> str:
    """A subject as the name of a file."""
    return re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:50] or "change"
