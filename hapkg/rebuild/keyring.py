"""The package of a repository's keys, made once more: it has no source package, hapkg makes it from the keys."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from hapkg import disk
from hapkg.build.store import Store
from hapkg.control import BinaryName, Suite
from hapkg.errors import IntegrityError
from hapkg.rebuild.comparison import compare
from hapkg.rebuild.rebuild import RebuildOutcome, note
from hapkg.rebuild.subject import check
from hapkg.repository.indexes import read_pool
from hapkg.repository.keyring_package import remake_keyring
from hapkg.repository.sources_file import Identity


def rebuild_keyring(store: Store, root: Path, suite: Suite, name: str, identity: Identity) -> Iterator[RebuildOutcome]:
    """Make the newest package of keys of this name in a suite again, and compare; nothing where there is none.

    It is made on this machine, in another folder than it was, by this machine's dpkg-deb.
    """
    pool = read_pool(root, suite)
    if not (versions := pool.binaries.get(BinaryName(name))):
        return
    newest = next(one for one in pool.packages if (one.name, one.version) == (name, versions[-1]))
    began, folder = time.monotonic(), store.state.work / "rebuild-keyring"
    ((path, (_, digest)),) = newest.files.items()
    disk.remove_tree(folder)
    folder.mkdir(parents=True)
    try:
        deb = check(root / path, digest)
        remake_keyring(deb, folder, name=newest.name, version=newest.version, identity=identity)
        packages = compare({deb.name: deb}, folder, "same", store.state)
    except (ValueError, OSError) as cause:
        error = IntegrityError(
            f"{path} is no package of keys that hapkg made: {cause}", hint="hapkg repo verify tells what is damaged"
        )
        yield RebuildOutcome(source=newest.name, version=newest.version, suite=suite, error=error)
        return
    finally:
        disk.remove_tree(folder)
    outcome = RebuildOutcome(
        source=newest.name,
        version=newest.version,
        suite=suite,
        packages=packages,
        seconds=time.monotonic() - began,
    )
    note(store, outcome)
    yield outcome
