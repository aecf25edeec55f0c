"""The lock of a suite, applied to builds: sources are compared with it, and it is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hapkg import disk
from hapkg.build.context import BuildContext
from hapkg.control import SourceName
from hapkg.recipe.model import Recipe
from hapkg.source.fetch import fetch, fetch_patch
from hapkg.source.lockfile import check_recipe, make_entry, write_lock
from hapkg.source.unpack import unpack


def check_pins(context: BuildContext, recipe: Recipe) -> None:
    """Refuse a recipe that asks for another source than the suite's lock, also where a build of it is reused.

    A snapshot was asked for by name: it is never locked. Raises IntegrityError.
    """
    if context.lock is not None and not recipe.native and recipe.name not in context.snapshots:
        check_recipe(context.lock, recipe)


def find_unlocked(context: BuildContext, names: Iterable[SourceName]) -> list[SourceName]:
    """Those of the sources that the suite's lock does not have, where the suite is locked; see check_pins."""
    if context.lock is None:
        return []
    fetched = [name for name in names if not context.recipes[name].native and name not in context.snapshots]
    return [name for name in fetched if name not in context.lock.sources]


def make_lock(context: BuildContext, names: Sequence[SourceName]) -> Path:
    """Fetch and unpack the named sources and write their digests into the suite's lock; other entries stay.

    Entries of sources that have no recipe any more are dropped. The caller holds the store's lock.
    """
    context.store.reclaim()
    old = context.lock.sources if context.lock else {}
    known = {*context.recipes, *context.wrong, *context.blocked}
    entries = {name: entry for name, entry in old.items() if name in known}
    for name in names:
        recipe = context.recipes[name]
        if recipe.native:
            continue
        tarball = fetch(recipe, context.store.state, context.debian_mirror, most_bytes=context.most_download)
        for patch in recipe.remote_patches:
            fetch_patch(recipe, patch, context.store.state, context.debian_mirror, most_bytes=context.most_download)
        tree = context.store.state.work / name
        tree.mkdir()
        unpack(recipe, tarball.path, tree)
        entries[name] = make_entry(recipe, tarball, tree)
        disk.remove_tree(tree)
    return write_lock(context.project.root, context.suite, entries)
