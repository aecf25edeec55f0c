"""Uploads: the files of a build that belong into the pool, where, and whether the pool takes them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hapkg import disk
from hapkg.control import SourceName, Suite, read_file_names
from hapkg.disk import sha256_file
from hapkg.errors import RepositoryError
from hapkg.repository.documents.names import is_document
from hapkg.repository.indexes import Pool
from hapkg.repository.snapshots import read_removed

INCOMING = ".hapkg/incoming"


@dataclass(frozen=True, kw_only=True)
class Upload:
    """Packages of one finished build: its .deb files, the .dsc with the files that names, and its documents.

    Others are ignored.
    """

    suite: Suite
    """The suite it was built for."""
    source: SourceName
    files: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """The files of all uploads, sorted. Pool files are named by their path below the repository."""

    new: Mapping[str, Path]
    """New files: path of the bytes, by pool path."""
    present: tuple[str, ...]
    """Those already in the pool, with the same bytes."""
    wanted: Mapping[Suite, frozenset[str]]
    """All of them by the suite they were built for."""
    redundant: tuple[Path, ...] = ()
    """Copies of what the pool has, or gets from elsewhere."""


_Clash = tuple[str, SourceName, tuple[str, str]]
"""File name, source package, and the two files that differ."""
NOTHING = Incoming(new={}, present=(), wanted={})


@contextmanager
def copy_incoming(root: Path, uploads: Sequence[Upload], batch: disk.Batch) -> Iterator[tuple[Upload, ...]]:
    """Copy files that the pool lacks into the repository, and yield uploads that name the copies. Needs no lock.

    Copying is what takes long; with the lock held, these files are only renamed: they lie in a pool of their own. The
    caller waits for the disk, by the batch.
    """
    disk.make_folder(root / INCOMING)
    folder = disk.make_scratch(root / INCOMING, f"{os.uname().nodename}-")
    try:
        copied = []
        copies: dict[Path, Path] = {}
        for number, upload in enumerate(uploads):
            files = []
            for file in find_package_files(upload):
                files.append(file)
                path = _make_pool_path(upload, file.name)
                if not (root / path).exists():
                    files[-1] = folder / path
                    if files[-1] in copies:  # two uploads that may contradict each other
                        files[-1] = folder / str(number) / file.name
                    copies[files[-1]] = file
            copied.append(Upload(suite=upload.suite, source=upload.source, files=tuple(files)))
        batch.copy(copies)
        yield tuple(copied)
    finally:
        disk.remove_tree(folder)


def accept(root: Path, uploads: Sequence[Upload], pools: Iterable[Pool]) -> Incoming:
    """Sort the files of copied uploads. Every clash is found before any write: a published file never changes.

    Raises RepositoryError when the pool has other bytes under one of the names, or had until they were pruned.
    """
    published = {file.path: file.digest for pool in pools for file in pool.files.values()}
    known = {(path.split("/", 2)[1], path.rpartition("/")[2]): path for path in published}
    removed = read_removed(root)
    new: dict[str, Path] = {}
    present: dict[str, None] = {}
    wanted: dict[Suite, set[str]] = {}
    redundant: list[Path] = []
    clashes: list[_Clash] = []
    for upload in uploads:
        for file in upload.files:
            path = known.get((upload.suite, file.name)) or _make_pool_path(upload, file.name)
            existing = new.get(path, root / path)
            found = existing.exists()
            expected = published.get(path) or (sha256_file(existing) if found else removed.get(path))
            wanted.setdefault(upload.suite, set()).add(path)
            if found and is_document(path):  # of another build of the same packages: the first one that came counts
                redundant.append(file)
                if path not in new:
                    present[path] = None
                continue
            if not is_document(path) and expected is not None and expected != sha256_file(file):
                clashes.append((file.name, upload.source, (f"published: {existing}", f"built: {file}")))
            elif not found:
                new[path] = file
            else:
                redundant.append(file)
                if path not in new:
                    present[path] = None
    if clashes:
        raise _describe_clashes(clashes)
    return Incoming(
        new=new,
        present=tuple(present),
        wanted={suite: frozenset(paths) for suite, paths in wanted.items()},
        redundant=tuple(redundant),
    )


def _describe_clashes(clashes: Sequence[_Clash]) -> RepositoryError:
    name, source, evidence = clashes[0]
    remedy = "restore the upstream source, or raise its version," if ".orig." in name else "raise the revision"
    return RepositoryError(
        f"{name} of source package {source} is already published with other bytes",
        details=(*evidence, *(f"also: {other} of {owner}" for other, owner, _ in clashes[1:])),
        hint=f"{remedy} in the recipe of {source} and build again",
    )


def find_package_files(upload: Upload) -> list[Path]:
    """The files of an upload that belong into the pool. Raises RepositoryError."""
    files = {file.name: file for file in upload.files}
    wanted = {name for name in files if name.endswith((".deb", ".dsc")) or is_document(name)}
    for name in sorted(wanted):
        if not files[name].is_file():
            raise RepositoryError(f"{files[name]} does not exist", hint=f"build {upload.source} again")
        if name.endswith(".dsc"):
            try:
                wanted |= set(read_file_names(files[name]))
            except (KeyError, ValueError) as error:
                raise RepositoryError(f"{files[name]} is not a source package: {error}") from error
    missing = sorted(name for name in wanted if name not in files or not files[name].is_file())
    if missing:
        raise RepositoryError(
            f"the source package {upload.source} is incomplete: {missing[0]} is missing",
            details=[f"also: {name}" for name in missing[1:]],
            hint=f"build {upload.source} again",
        )
    return [files[name] for name in sorted(wanted)]


def name_suite(suite: Suite, pocket: str) -> Suite:
    """Name of the published suite for packages built for a suite: bookworm-testing with the pocket testing."""
    return Suite(f"{suite}-{pocket}") if pocket else suite


def find_pool_file(root: Path, upload: Upload, name: str) -> Path:
    """Path of a file of an upload in the pool, there or not."""
    return root / _make_pool_path(upload, name)


def _make_pool_path(upload: Upload, name: str) -> str:
    component = "debug" if re.match(r"[^_]+-dbgsym_.*\.deb\Z", name) else "main"
    source = upload.source
    letter = source[:4] if source.startswith("lib") else source[:1]
    return f"pool/{upload.suite}/{component}/{letter}/{source}/{name}"
