"""Removing what is not needed any more from the state folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg import disk
from hapkg.build.store import Artifact, Store
from hapkg.chroot import schroot, sessions
from hapkg.chroot.layer import list_layers, put_aside, sweep
from hapkg.control import SourceName
from hapkg.locations import State


@dataclass(frozen=True, kw_only=True)
class Cleanup:
    """A choice of things to remove from a state folder; rests of killed runs go with each, unnamed."""

    builds: tuple[Artifact, ...]
    folders: tuple[Path, ...] = ()
    layers: tuple[str, ...] = ()
    """Their keys."""
    whole: bool = False
    """Of all sources, and so the rests of what no source has, too."""


def choose(store: Store, names: Sequence[SourceName], *, everything: bool) -> Cleanup:
    """Find what is not needed any more. Changes nothing.

    Without names: all builds but the newest of each source and suite, failed builds and scratch, and with everything
    also the newest builds, layers, what apt answered, downloaded sources and packages, what ccache kept, logs, and
    records of runs and rebuilds. With names: every build of these sources.
    """
    state, builds = store.state, store.list_builds()
    if names:
        return Cleanup(builds=tuple(artifact for artifact in builds if artifact.source in names))
    newest = {(artifact.suite, artifact.source): artifact for artifact in builds}
    kept = set() if everything else {artifact.key for artifact in newest.values()}
    made = (state.sources, state.apt, state.archives, state.logs, state.resolved, state.ccache, state.templates)
    return Cleanup(
        builds=tuple(artifact for artifact in builds if artifact.key not in kept),
        folders=(state.failed, *((*made, state.runs, state.rebuilt) if everything else ())),
        layers=tuple(layer.key for layer in list_layers(state)) if everything else (),
        whole=True,
    )


def clean(store: Store, cleanup: Cleanup) -> int:
    """Remove what was chosen; returns the bytes freed. The caller holds the store's lock."""
    state = store.state
    before = _measure(state)
    store.reclaim()
    sessions.reclaim(state)
    for artifact in cleanup.builds:
        store.remove_build(artifact)
    for folder in cleanup.folders:
        disk.remove_tree(folder)
    for key in cleanup.layers:
        put_aside(state, key)
    if cleanup.whole:
        sweep(state)
        for chroot in schroot.list_chroots(state):
            schroot.make_folders(state, chroot.suite)
    return max(0, before - _measure(state))


def measure(store: Store, cleanup: Cleanup) -> tuple[tuple[str, int], ...]:
    """Describe for people what would be removed, with sizes in bytes; nothing that is not there."""
    state = store.state
    builds = [(f"build of {a.source} {a.version} for {a.suite}", a.folder) for a in cleanup.builds]
    folders = [(f"folder {folder.relative_to(state.root)}", folder) for folder in cleanup.folders]
    layers = [(f"layer {key[:12]}", state.layers / key) for key in cleanup.layers]
    found = [(words, disk.measure_tree(path)) for words, path in (*builds, *folders, *layers) if path.exists()]
    return tuple((words, size) for words, size in found if size)


def _measure(state: State) -> int:
    """Bytes below the state folder, base chroots left out: they are never cleaned."""
    return disk.measure_tree(state.root, without=state.chroots)
