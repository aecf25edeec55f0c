"""index.html of a repository: what is in it, and how a node uses it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from hapkg.control import Suite, compare_versions, parse_relation_names
from hapkg.deb import DebContent
from hapkg.disk import Batch
from hapkg.errors import MachineError
from hapkg.repository.contents import ContentCache
from hapkg.repository.documents.page_evidence import PackageEvidence, SuiteEvidence, tell_suite
from hapkg.repository.indexes import IndexedPackage, find_newest, find_suites, read_pool, read_release
from hapkg.repository.page_graph import draw
from hapkg.repository.snapshots import find_snapshot
from hapkg.repository.sources_file import Identity, find_url, make_commands, name_sources

_DETAILED = 200
"""Packages of a suite whose content is shown; the rest would make the page too large to read."""
_TEMPLATE = "index.html.j2"


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
    told: PackageEvidence | None = None
    """Evidence of its newest version."""


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
    commands: tuple[str, ...]
    """Commands with which a node uses it; none where the repository has no address."""
    file: str
    date: str
    """When it was published, and until when it counts ("": for ever)."""
    end: str
    state: int
    """Number of its snapshot, and the act that made it."""
    act: str
    told: SuiteEvidence | None
    """Evidence of all of it."""

    @property
    def release(self) -> str:
        """The Debian release that its packages were built for: bookworm of bookworm-testing."""
        return self.suite.partition("-")[0]


def write_page(
    root: Path, identity: Identity, fingerprints: Sequence[str], batch: Batch, contents: ContentCache | None = None
) -> Path:
    """Write index.html for what the repository offers now; one that would be the same is not touched.

    `fingerprints` are those of the keys that sign, none for an unsigned repository. The caller holds the repository's
    lock. Raises MachineError when the page cannot be written.
    """
    from hapkg.jinja import render_page  # noqa: PLC0415 - jinja2 takes time, and few commands write a page

    page, contents, url = root / "index.html", contents or ContentCache(root), find_url(root, identity)
    values = {
        "identity": identity,
        "url": url,
        "sections": [_make_section(root, identity, suite, contents, url) for suite in find_suites(root)],
        "keys": [" ".join(re.findall("....", fingerprint)) for fingerprint in fingerprints],
        "keyring": f"{identity.keyring}.gpg",
    }
    try:
        batch.replace({page: render_page(values, _TEMPLATE).encode()})
        contents.write(batch)
    except OSError as error:
        raise MachineError(
            f"{page} cannot be written: {error.strerror}",
            hint="the packages are published; give room and publish again",
        ) from error
    return page


def _make_section(root: Path, identity: Identity, suite: Suite, contents: ContentCache, url: str) -> SuiteSection:
    pool = read_pool(root, suite)
    packages = pool.packages
    sources = {package.source: package for package in packages if package.architecture == "source"}
    order = cmp_to_key(compare_versions)
    binaries = sorted((p for p in packages if p.architecture != "source"), key=lambda p: (p.name, p.architecture))
    told = tell_suite(root, suite)
    entries: list[PackageEntry] = []
    shown: list[IndexedPackage] = []
    for _, group in groupby(binaries, key=lambda p: (p.name, p.architecture)):
        held = sorted(group, key=lambda p: order(p.version), reverse=True)
        shown.append(held[0])
        path, (_, digest) = next(iter(held[0].files.items()))
        content = contents.read(path, digest) if len(entries) < _DETAILED else None
        entry = _make_entry(held, sources.get(held[0].source), quote(path), content)
        entry.told = told.packages.get((held[0].name, held[0].version)) if told else None
        entries.append(entry)
    file = root / name_sources(identity, suite)
    release, snapshot = read_release(find_newest(root, suite)), find_snapshot(root, suite)
    return SuiteSection(
        suite=suite,
        packages=tuple(entry for entry in entries if not _is_symbols(entry.name)),
        symbols=tuple(entry for entry in entries if _is_symbols(entry.name)),
        picture=draw(_find_needs(shown)) if len(shown) <= _DETAILED else "",
        stanza=file.read_text("utf-8") if file.is_file() else "",
        commands=make_commands(url, file, identity, pool) if url else (),
        file=quote(file.name),
        date=release.get("Date", ""),
        end=release.get("Valid-Until", ""),
        state=snapshot.number,
        act=snapshot.act,
        told=told,
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
