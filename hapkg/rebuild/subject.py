"""Subjects of rebuilds: source packages with all that was built from them, published or in the state folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg.build.store import Artifact
from hapkg.control import Suite
from hapkg.disk import sha256_file
from hapkg.errors import IntegrityError, RepositoryError, UsageError, did_you_mean
from hapkg.evidence.buildinfo import BuildInfo
from hapkg.rebuild.buildinfo import read_buildinfo
from hapkg.repository.indexes import IndexedPackage, Pool, read_pool


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A source package, its .buildinfo and the packages that came of it, whose bytes are those that were promised."""

    suite: Suite
    info: BuildInfo
    dsc: Path
    files: tuple[Path, ...]
    """The .dsc and every file it names."""
    debs: Mapping[str, Path]
    """All packages that were built, by file name."""
    stack: tuple[Path, ...]
    """Packages of the same origin that the build saw."""
    packages: Mapping[str, str]
    """Versions of the distribution's packages that it saw."""

    @property
    def source(self) -> str:
        """The name of the source package."""
        return self.info.source


_FindDeb = Callable[[str, str], Path | None]
"""The file of a package of the own origin, by name and version."""


def read_repository(root: Path, suite: Suite, names: Sequence[str], prefix: str) -> list[Subject]:
    """The newest version of each named source that a repository offers in a suite, or of all.

    Raises UsageError for a name that is not there, RepositoryError where the .buildinfo is missing, IntegrityError for
    bytes that are not what the index says.
    """
    pool = read_pool(root, suite)
    sources: dict[str, IndexedPackage] = {}
    for package in pool.packages:
        if package.architecture == "source" and package.version == pool.sources[package.source[0]][-1].version:
            sources[package.name] = package
    digests = {path: digest for package in pool.packages for path, (_, digest) in package.files.items()}

    def find_deb(name: str, version: str) -> Path | None:
        for package in pool.packages:
            if package.name == name and package.version == version and package.architecture != "source":
                (path,) = package.files
                return check(root / path, digests[path])
        return None

    return [_read_published(root, suite, pool, sources[name], find_deb) for name in _choose(sources, names, prefix)]


def read_store(builds: Iterable[Artifact], suite: Suite, names: Sequence[str], prefix: str) -> list[Subject]:
    """The newest build of each named source of a suite in the state folder, or of all. Raises as read_repository()."""
    newest: dict[str, Artifact] = {}
    debs: dict[str, tuple[Path, str]] = {}
    for build in builds:
        if build.suite == suite:
            newest[build.source] = build
            debs |= {name: (build.folder / name, digest) for name, digest in build.files.items()}

    def find_deb(name: str, version: str) -> Path | None:
        plain = version.partition(":")[2] or version
        found = [entry for file, entry in debs.items() if file.startswith(f"{name}_{plain}_") and file.endswith(".deb")]
        return check(*found[0]) if found else None

    return [_read_stored(newest[name], find_deb) for name in _choose(newest, names, prefix)]


def _choose(known: Mapping[str, object], names: Sequence[str], prefix: str) -> list[str]:
    chosen = []
    for name in names:
        full = next((word for word in (name, prefix + name) if word in known), None)
        if full is None:
            raise UsageError(
                f"no source package {name[:100]!a} has been built",
                hint=did_you_mean(name, known) or "hapkg list tells which there are; or name a repository with --repo",
            )
        chosen.append(full)
    return chosen or sorted(known)


def _read_published(root: Path, suite: Suite, pool: Pool, source: IndexedPackage, find_deb: _FindDeb) -> Subject:
    files = {path: digest for path, (_, digest) in source.files.items()}
    dsc = next(root / path for path in files if path.endswith(".dsc"))
    found = [
        check(root / path, digest)
        for document in pool.documents
        if (document.name, document.version) == (source.name, source.version)
        for path, (_, digest) in document.files.items()
        if path.endswith(".buildinfo")
    ]
    if not found:
        raise RepositoryError(
            f"the repository {root} has no .buildinfo of {source.name} {source.version}",
            hint="it was published by an older hapkg: publish a build of today, or rebuild from the state folder",
        )
    debs = {
        path.rpartition("/")[2]: (root / path, digest)
        for package in pool.packages
        if package.source == (source.name, source.version) and package.architecture != "source"
        for path, (_, digest) in package.files.items()
    }
    return _make(suite, dsc, [check(root / path, digest) for path, digest in files.items()], found[0], debs, find_deb)


def _read_stored(build: Artifact, find_deb: _FindDeb) -> Subject:
    def find(ending: str) -> dict[str, str]:
        return {name: digest for name, digest in build.files.items() if name.endswith(ending)}

    (dsc,), (info,) = find(".dsc"), find(".buildinfo")
    check(build.folder / info, build.files[info])
    names = [dsc, *(name for name in build.files if ".tar." in name)]
    files = [check(build.folder / name, build.files[name]) for name in names]
    debs = {name: (build.folder / name, digest) for name, digest in find(".deb").items()}
    return _make(build.suite, build.folder / dsc, files, build.folder / info, debs, find_deb)


def _make(
    suite: Suite,
    dsc: Path,
    files: Sequence[Path],
    buildinfo: Path,
    debs: Mapping[str, tuple[Path, str]],
    find_deb: _FindDeb,
) -> Subject:
    info = read_buildinfo(buildinfo)
    for name, (file, digest) in debs.items():
        if info.digests.get(name) != digest:
            raise IntegrityError(
                f"{buildinfo.name} does not tell of {file}",
                details=[f"sha256 {digest}, there {info.digests.get(name, 'none')}"],
                hint="the .buildinfo is of another build: restore it from a copy, or publish a build of today",
            )
        check(file, digest)
    stack = {name: deb for name, version in info.installed.items() if (deb := find_deb(name, version)) is not None}
    return Subject(
        suite=suite,
        info=info,
        dsc=dsc,
        files=tuple(files),
        debs={name: file for name, (file, _) in debs.items()},
        stack=tuple(stack.values()),
        packages={name: version for name, version in info.installed.items() if name not in stack},
    )


def check(file: Path, digest: str) -> Path:
    """The file, whose bytes are these. Raises IntegrityError."""
    if file.is_symlink() or not file.is_file() or sha256_file(file) != digest:
        raise IntegrityError(
            f"{file} is missing or not what was published",
            details=[f"sha256 {digest} was promised"],
            hint="restore it from a copy; hapkg repo verify tells what else is damaged",
        )
    return file
