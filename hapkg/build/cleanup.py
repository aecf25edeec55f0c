"""Removing what is not needed any more from the state folder."""

from __future__ import annotations

from collections.abc import Sequence

from hapkg import disk
from hapkg.build.store import Store
from hapkg.chroot import schroot
from hapkg.chroot.layer import list_layers, put_aside, sweep
from hapkg.control import SourceName
from hapkg.locations import State


def clean(store: Store, names: Sequence[SourceName], *, everything: bool) -> int:
    """Remove what is not needed any more; returns the bytes freed. The caller holds the store's lock.

    Without names: all builds but the newest of each source and suite, failed builds and scratch, and with everything
    also the newest builds, layers, what apt answered, downloaded sources and packages, what ccache kept, logs, and
    records of runs and rebuilds. With names: every build of these sources.
    """
    before = _measure(store.state)
    store.reclaim()
    schroot.reclaim(store.state)
    builds = store.list_builds()
    newest = {(artifact.suite, artifact.source): artifact for artifact in builds}
    kept = set() if everything else {artifact.key for artifact in newest.values()}
    for artifact in builds:
        if artifact.source in names if names else artifact.key not in kept:
            store.remove_build(artifact)
    if not names:
        state = store.state
        made = (state.sources, state.archives, state.logs, state.resolved, state.ccache, state.templates)
        for folder in (state.failed, *((*made, state.runs, state.rebuilt) if everything else ())):
            disk.remove_tree(folder)
        for layer in list_layers(store.state) if everything else ():
            put_aside(store.state, layer.key)
        sweep(store.state)
        for chroot in schroot.list_chroots(store.state):
            schroot.make_folders(store.state, chroot.suite)
    return max(0, before - _measure(store.state))


def _measure(state: State) -> int:
    """Bytes below the state folder, base chroots left out: they are never cleaned."""
    return disk.measure_tree(state.root, without=state.chroots)
