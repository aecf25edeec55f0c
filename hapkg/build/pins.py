"""The locks of a suite, applied to builds: sources are compared with them, and they are written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from hapkg import disk
from hapkg.build.context import BuildContext
from hapkg.build.planner import make_plan
from hapkg.build.store import Artifact
from hapkg.chroot.archives import Archive
from hapkg.chroot.base_lock import BaseLock
from hapkg.chroot.base_lock import make_entry as make_package_entry
from hapkg.chroot.conditions import TOOLS
from hapkg.chroot.pinned import find_versions
from hapkg.chroot.resolver import find_archives, read_installed, resolve
from hapkg.control import SourceName
from hapkg.disk import sha256_file
from hapkg.errors import BuildError, FetchError, IntegrityError, UsageError
from hapkg.host import read_architecture
from hapkg.recipe.model import Recipe
from hapkg.source.fetch import Tarball, fetch, fetch_patches
from hapkg.source.lockfile import check_entry, check_recipe, make_entry, write_lock
from hapkg.source.unpack import unpack


def check_pins(context: BuildContext, recipe: Recipe) -> None:
    """Refuse a recipe that asks for another source than the suite's lock, also where a build of it is reused.

    A snapshot was asked for by name: it is never locked. Raises IntegrityError.
    """
    if context.lock is not None and not recipe.native and recipe.name not in context.snapshots:
        check_recipe(context.lock, recipe)


def check_tree(context: BuildContext, recipe: Recipe, tarball: Tarball | None, tree: Path) -> None:
    """Refuse upstream's code, unpacked in a folder, that is not what the suite is locked to. Raises IntegrityError.

    A snapshot was asked for by name: it is never locked.
    """
    if context.lock is not None and tarball is not None and recipe.name not in context.snapshots:
        check_entry(context.lock, recipe.name, make_entry(recipe, tarball, tree))


def check_same_source(lead: Artifact, files: Iterable[Path]) -> None:
    """Refuse files of a source package that are not those of the build that is followed: all go by one name.

    Raises IntegrityError.
    """
    for file in files:
        if lead.files.get(file.name) != sha256_file(file):
            raise IntegrityError(
                f"{lead.source}: {file.name} is not that of the build for {lead.architecture}",
                hint=f"make that anew: hapkg clean, then hapkg build {lead.source} --suite {lead.suite}",
            )


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
        fetch_patches(recipe, context.store.state, context.debian_mirror, most_bytes=context.most_download)
        tree = context.store.state.work / name
        tree.mkdir()
        unpack(recipe, tarball.path, tree)
        entries[name] = make_entry(recipe, tarball, tree)
        disk.remove_tree(tree)
    return write_lock(context.project.root, context.suite, entries)


def make_base_lock(context: BuildContext) -> BaseLock:
    """The packages that the suite's newest builds were made with, for its lock. The caller holds the store's lock.

    Raises UsageError where a source is not built as it would be now, FetchError for a package that is gone.
    """
    if context.project.settings.archives:
        raise UsageError(
            "a base lock names packages of the distribution alone, and the project has further archives",
            hint="remove [[tool.hapkg.archives]], or go on without a base lock",
        )
    present = replace(context, pin=None)  # a base that was made before the lock is as good
    base, state = present.find_base(), context.store.state
    steps = make_plan(present) if base else ()
    missing = next((step.source for step in steps if step.artifact is None), None)
    if base is None or missing:
        raise UsageError(
            f"{missing} is not built as it would be now" if missing else f"no base chroot of {context.suite} yet",
            hint=f"what its builds need is known when they are done: hapkg build-all --suite {context.suite}",
        )
    depends: dict[str, Archive] = {}
    for step in steps:
        if wanted := step.identity[2]["depends"]:
            depends |= find_archives(base, wanted, state)
    for name in _list_kernel_packages(context):
        found = find_archives(base, resolve(base, (name,), state, source="the suite's kernels"), state)
        depends[name] = found[name]
    for name in TOOLS:
        with contextlib.suppress(BuildError):  # an archive without it has no such variation
            depends |= find_archives(base, resolve(base, (name,), state, source="a variation"), state)
    installed = read_installed(base)
    of_base = find_versions(base, installed, state)
    if of_base.gone:
        gone = sorted(of_base.gone)
        raise FetchError(
            f"{gone[0]} {installed[gone[0]]} of the base chroot is not in the archive any more",
            details=[f"{name} {installed[name]}: {of_base.gone[name]}" for name in gone],
            hint=f"run: hapkg chroot update --suite {context.suite}, then build-all",
        )
    known = {package.sha256: package.path for package in context.pin.packages.values()} if context.pin else {}
    return BaseLock(
        suite=context.suite,
        architecture=read_architecture(),
        base={name: make_package_entry(archive, known) for name, archive in of_base.archives.items()},
        depends={name: make_package_entry(archive, known) for name, archive in depends.items()},
    )


def _list_kernel_packages(context: BuildContext) -> tuple[str, ...]:
    """Packages that tell which kernels a suite has: they are looked up in the base chroot's index."""
    if not context.project.settings.kernels.get(context.suite):
        return ()
    return (context.distribution.name_kernel_headers(read_architecture()), context.distribution.kernel_source)
