"""index.html of a repository: what is in it, and how a node uses it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from hapkg.control import Suite, compare_versions, parse_relation_names
from hapkg.deb import DebContent, read_deb_content
from hapkg.disk import Batch
from hapkg.errors import MachineError
from hapkg.records import read_record
from hapkg.repository.indexes import IndexedPackage, find_suites, read_pool, recommend
from hapkg.repository.page_graph import draw
from hapkg.repository.remote.location import PAGE
from hapkg.repository.sources_file import Identity, name_sources

_DETAILED = 200
"""Packages of a suite whose content is shown; the rest would make the page too large to read."""
_TEMPLATE = "index.html.j2"
_CONTENTS = f"{PAGE}/contents.json"
_FORMAT = 1
"""Of the kept contents; to be raised when `read_deb_content` gives others for the same file."""


@dataclass(kw_only=True, slots=True)  # not frozen: there are thousands
class PackageEntry:
    """One binary package of a suite, in its newest version."""

    name: str
    versions: str
    """All that are held, the newest first."""
    architecture: str
    synopsis: str
    needs: str
    source: str
    """Name and version of its source package."""
    sources: tuple[tuple[str, str], ...]
    """Name and URL of the files of its source package."""
    url: str
    content: DebContent | None


@dataclass(frozen=True, kw_only=True)
class SuiteSection:
    """One suite on the page."""

    suite: Suite
    packages: tuple[PackageEntry, ...]
    symbols: tuple[PackageEntry, ...]
    """Debug symbols."""
    picture: str
    """An SVG."""
    stanza: str
    """Its .sources file."""
    install: str
    """Packages to name to who wants to install something."""
    file: str

    @property
    def release(self) -> str:
        """The Debian release that its packages were built for: bookworm of bookworm-testing."""
        return self.suite.partition("-")[0]


def write_page(root: Path, identity: Identity, fingerprints: Sequence[str], batch: Batch) -> Path:
    """Write index.html for what the repository offers now; one that would be the same is not touched.

    `fingerprints` are those of the keys that sign, none for an unsigned repository. The caller holds the repository's
    lock. Raises MachineError when the page cannot be written.
    """
    from hapkg.jinja import render_page  # noqa: PLC0415 - jinja2 takes time, and few commands write a page

    page, contents = root / "index.html", ContentCache(root)
    values = {
        "identity": identity,
        "sections": [_make_section(root, identity, suite, contents) for suite in find_suites(root)],
        "keys": [" ".join(re.findall("....", fingerprint)) for fingerprint in fingerprints],
        "keyring": f"{identity.keyring}.gpg",
    }
    try:
        batch.replace({page: render_page(values, _TEMPLATE).encode(), root / _CONTENTS: contents.dump()})
    except OSError as error:
        raise MachineError(
            f"{page} cannot be written: {error.strerror}",
            hint="the packages are published; give room and publish again",
        ) from error
    return page


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """The kept contents by the SHA256 of their .deb."""

    format: int
    contents: Mapping[str, DebContent]


class ContentCache:
    """File lists, changelogs and licences of packages, read from each .deb once: a published file never changes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._used: dict[str, DebContent | None] = {}
        table = read_record(root / _CONTENTS, _Contents)
        self._kept = table.contents if table and table.format == _FORMAT else {}  # else everything is read again

    def read(self, path: str, digest: str) -> DebContent | None:
        """The content of the .deb at a pool path; None when it cannot be read."""
        if digest not in self._used:
            self._used[digest] = self._kept.get(digest) or _read_content(self._root / path)
        return self._used[digest]

    def dump(self) -> bytes:
        """All that was asked for, as JSON to be kept for the next page."""
        contents = {digest: vars(content) for digest, content in sorted(self._used.items()) if content}
        return json.dumps({"format": _FORMAT, "contents": contents}).encode()


def _make_section(root: Path, identity: Identity, suite: Suite, contents: ContentCache) -> SuiteSection:
    pool = read_pool(root, suite)
    packages = pool.packages
    sources = {package.source: package for package in packages if package.architecture == "source"}
    order = cmp_to_key(compare_versions)
    binaries = sorted((p for p in packages if p.architecture != "source"), key=lambda p: (p.name, p.architecture))
    entries: list[PackageEntry] = []
    shown: list[IndexedPackage] = []
    for _, group in groupby(binaries, key=lambda p: (p.name, p.architecture)):
        held = sorted(group, key=lambda p: order(p.version), reverse=True)
        shown.append(held[0])
        path, (_, digest) = next(iter(held[0].files.items()))
        content = contents.read(path, digest) if len(entries) < _DETAILED else None
        entries.append(_make_entry(held, sources.get(held[0].source), quote(path), content))
    file = root / name_sources(identity, suite)
    return SuiteSection(
        suite=suite,
        packages=tuple(entry for entry in entries if not _is_symbols(entry.name)),
        symbols=tuple(entry for entry in entries if _is_symbols(entry.name)),
        picture=draw(_find_needs(shown)) if len(shown) <= _DETAILED else "",
        stanza=file.read_text("utf-8") if file.is_file() else "",
        install=recommend(pool, identity.name),
        file=quote(file.name),
    )


def _make_entry(
    versions: Sequence[IndexedPackage], source: IndexedPackage | None, url: str, content: DebContent | None
) -> PackageEntry:
    """The entry of a package that is held in some versions, the newest first."""
    newest = versions[0]
    return PackageEntry(
        name=newest.name,
        versions=", ".join(package.version for package in versions),
        architecture=newest.architecture,
        synopsis=newest.fields.get("Description", "").partition("\n")[0],
        needs=newest.fields.get("Depends", ""),
        source=" ".join(newest.source),
        url=url,
        sources=tuple((Path(file).name, quote(file)) for file in sorted(source.files if source else ())),
        content=content,
    )


def _is_symbols(name: str) -> bool:
    return name.endswith("-dbgsym")


def _find_needs(packages: list[IndexedPackage]) -> dict[str, frozenset[str]]:
    """Dependencies of each package within the suite, by name; without debug symbols."""
    names = {package.name for package in packages if not _is_symbols(package.name)}
    return {
        package.name: frozenset(
            name
            for field in ("Pre-Depends", "Depends")
            for relation in parse_relation_names(package.fields.get(field, ""))
            for name in relation
            if name in names and name != package.name
        )
        for package in packages
        if package.name in names
    }


def _read_content(deb: Path) -> DebContent | None:
    try:
        return read_deb_content(deb)
    except (OSError, ValueError):
        return None  # verify says what is wrong with it; a page is no reason to fail
