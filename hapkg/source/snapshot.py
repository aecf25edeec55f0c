"""A recipe for a commit of upstream's repository: its version, and the patches that the commit has not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hapkg import disk
from hapkg.errors import SourceError
from hapkg.recipe.model import Recipe
from hapkg.recipe.upstream_version import is_between
from hapkg.recipe.version import make_snapshot
from hapkg.source.origins.repository import Commit
from hapkg.source.patch_review import Fate, review_patches
from hapkg.source.unpack import unpack


def make_snapshot_recipe(recipe: Recipe, commit: Commit, ref: str | None, release: str) -> Recipe:
    """The recipe of a commit: a snapshot version, the commit's date, the commit itself as its upstream.

    release is the highest that the commit has in its history: the version comes after it, so that a snapshot never
    sorts below what it contains. Patches for other releases are left out.
    """
    upstream = recipe.upstream and recipe.upstream.narrow(commit.kind, tag=ref or recipe.upstream.tag, commit=commit.id)
    changes = {
        "version": make_snapshot(release, f"{commit.date:%Y%m%d%H%M%S}", commit.id),
        "date": commit.date,
        "upstream": upstream,
        "origins": (),
        "build_depends": (*recipe.build_depends, *recipe.snapshot.build_depends),
        "configure": tuple(switch for switch in recipe.configure if switch not in recipe.snapshot.without),
        "remote_patches": tuple(patch for patch in recipe.remote_patches if is_between(release, None, patch.until)),
        "every_patch": tuple(patch for patch in recipe.every_patch if patch.is_for(release)),
    }
    return recipe.model_copy(update=changes)


@dataclass(frozen=True, kw_only=True)
class PatchedSnapshot:
    """A snapshot's recipe with the patches that its tree takes."""

    recipe: Recipe
    contained: tuple[str, ...]
    """Patches that are left out, because the commit has them."""


def leave_out_contained(
    recipe: Recipe, tarball: Path, remote: Mapping[str, bytes], scratch: Path, *, was: str
) -> PatchedSnapshot:
    """Try each patch of a snapshot's recipe, in order, on its tree, and leave out those that the commit has.

    remote has the content of remote patches by name; scratch is a folder that does not exist yet, and goes again; was
    is the version that the patches are made for. Raises SourceError that names every patch that does not apply.
    """
    own = [(patch.name, (recipe.folder / "patches" / patch.name).read_bytes(), False) for patch in recipe.patches]
    patches = [*((patch.name, remote[patch.name], False) for patch in recipe.remote_patches), *own]
    if not patches:
        return PatchedSnapshot(recipe=recipe, contained=())
    scratch.mkdir(parents=True)
    try:
        unpack(recipe, tarball, scratch)
        reviews = review_patches(scratch, patches)
    finally:
        disk.remove_tree(scratch)
    if failed := [review for review in reviews if review.fate is Fate.FAILED]:
        raise SourceError(
            f"{recipe.source}: {len(failed)} of {len(patches)} patches for {was} do not apply to {recipe.version}",
            details=[f"{review.name}: {line}" for review in failed for line in review.details],
            hint=f"refresh them in {recipe.folder / 'patches'}, or remove them from series if upstream took them "
            "in another form",
        )
    contained = tuple(review.name for review in reviews if review.fate is Fate.DROPPED)
    update = {
        "every_patch": tuple(patch for patch in recipe.patches if patch.name not in contained),
        "remote_patches": tuple(patch for patch in recipe.remote_patches if patch.name not in contained),
    }
    return PatchedSnapshot(recipe=recipe.model_copy(update=update), contained=contained)
