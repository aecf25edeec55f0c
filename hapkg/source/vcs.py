"""Commits of upstream's own repository: which one a name stands for, and what it comes after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cmp_to_key

from hapkg.errors import IntegrityError, UsageError
from hapkg.locations import State
from hapkg.recipe.model import Recipe
from hapkg.recipe.upstream_tags import find_pattern
from hapkg.recipe.upstream_version import compare_upstream
from hapkg.source.origins.git import Git
from hapkg.source.origins.hg import Hg
from hapkg.source.origins.repository import Commit, Vcs, is_commit

KINDS: Mapping[str, Vcs] = {vcs.kind: vcs for vcs in (Git(), Hg())}


def find_commit(recipe: Recipe, kind: str, ref: str | None, state: State) -> Commit:
    """The commit that a tag, branch or id stands for in the recipe's repository; the recipe's tag when ref is None.

    Raises UsageError when the recipe names no such repository or that has no such commit, FetchError when it cannot be
    reached, IntegrityError when the recipe's tag is not the recipe's commit or not signed as promised.
    """
    upstream, vcs = recipe.upstream, KINDS[kind]
    url = upstream.repositories.get(kind) if upstream else None
    if upstream is None or url is None:
        raise UsageError(f"{recipe.source} names no {kind} repository", hint="recipe.toml, [upstream]")
    wanted = ref or upstream.tag
    tagged = wanted == upstream.tag
    if url.startswith("http:") and not tagged and not is_commit(wanted):
        raise UsageError(
            f"{url} is not protected: a branch of it may be anything", hint="name a whole commit with --ref"
        )
    commit = vcs.find_commit(url, wanted, state, tag=tagged)
    expected = upstream.commit_in(kind)
    if not tagged:
        return commit
    if expected not in (None, commit.id):
        raise IntegrityError(
            f"{recipe.source}: tag {upstream.tag} is commit {commit.id}, the recipe says {expected}",
            hint="upstream moved the tag: look at both commits before changing recipe.toml, [upstream] commit",
        )
    return replace(commit, signer=vcs.check_tag(recipe, commit.mirror, wanted, commit.id))


def find_release(recipe: Recipe, commit: Commit) -> str:
    """The highest release that a commit has in its history, by the tags that are made as the recipe's; candidates too.

    The recipe's own version where there is none: a tree whose history holds no tag.
    """
    pattern = find_pattern(recipe.upstream.tag, recipe.version) if recipe.upstream else None
    tags = KINDS[commit.kind].list_tags_before(commit.mirror, commit.id) if pattern else ()
    found = [version for tag in tags if pattern and (version := pattern.read(tag))]
    dotted = [version for version in found if "." in version or "." not in recipe.version]  # else numbers are dates
    return max(dotted, key=cmp_to_key(compare_upstream), default=recipe.version)


def read_log(old: Commit, new: Commit, most: int) -> list[str]:
    """The newest commits between two of one repository: id and subject."""
    return KINDS[new.kind].read_log(new.mirror, old.id, new.id, most)
