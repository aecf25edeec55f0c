"""index.html of a repository: what is in it, and how a node uses it."""

from __future__ import annotations

import re
import tarfile
import zlib
from dataclasses import dataclass
from functools import cmp_to_key
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from hapkg import disk
from hapkg.client import Identity
from hapkg.control import DebContent, Suite, compare_versions, parse_relation_names, read_deb_content
from hapkg.errors import MachineError
from hapkg.indexes import Package, find_suites, read_pool
from hapkg.keys import Key, read_keys
from hapkg.picture import draw
from hapkg.template import render_page

_DETAILED = 200
"""Packages of a suite whose content is shown; the rest would make the page too large to read."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One binary package of a suite, in its newest version."""

    package: Package
    versions: tuple[str, ...]
    """All that are held, the newest first."""
    url: str
    sources: tuple[tuple[str, str], ...]
    """Name and URL of the files of its source package."""
    content: DebContent | None


@dataclass(frozen=True, kw_only=True)
class Section:
    """One suite on the page."""

    suite: Suite
    entries: tuple[Entry, ...]
    picture: str
    """An SVG."""
    stanza: str
    """Its .sources file."""
    file: str


def write_page(root: Path, identity: Identity) -> Path:
    """Write index.html for what the repository offers now, at once. Raises MachineError when that cannot be written."""
    keyring = root / f"{identity.keyring}.gpg"
    keys: tuple[Key, ...] = read_keys(keyring.read_bytes()) if keyring.is_file() else ()
    sections = [_make_section(root, suite, identity) for suite in find_suites(root)]
    page = root / "index.html"
    text = render_page(
        {
            "identity": identity,
            "sections": sections,
            "keys": [" ".join(re.findall("....", key.fingerprint)) for key in keys],
            "keyring": keyring.name,
        }
    )
    try:
        disk.replace(page, text.encode())
    except OSError as error:
        raise MachineError(f"{page} cannot be written: {error.strerror}") from error
    return page


def _make_section(root: Path, suite: Suite, identity: Identity) -> Section:
    packages = read_pool(root, suite).packages
    sources = {package.source: package for package in packages if package.architecture == "source"}
    order = cmp_to_key(compare_versions)
    binaries = sorted((p for p in packages if p.architecture != "source"), key=lambda p: (p.name, p.architecture))
    entries: list[Entry] = []
    for _, group in groupby(binaries, key=lambda p: (p.name, p.architecture)):
        held = sorted(group, key=lambda p: order(p.version), reverse=True)
        newest = held[0]
        path = next(iter(newest.files))
        files = sources[newest.source].files if newest.source in sources else {}
        entries.append(
            Entry(
                package=newest,
                versions=tuple(p.version for p in held),
                url=quote(path),
                sources=tuple((Path(file).name, quote(file)) for file in sorted(files)),
                content=_read_content(root / path) if len(entries) < _DETAILED else None,
            )
        )
    needs = _find_needs([entry.package for entry in entries])
    file = f"{identity.name}-{suite}.sources"
    return Section(
        suite=suite,
        entries=tuple(entries),
        picture=draw(needs) if len(needs) <= _DETAILED else "",
        stanza=(root / file).read_text("utf-8"),
        file=quote(file),
    )


def _find_needs(packages: list[Package]) -> dict[str, frozenset[str]]:
    """Which packages of the repository each needs; without debug symbols."""
    names = {package.name for package in packages if not package.name.endswith("-dbgsym")}
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
    except (OSError, ValueError, tarfile.TarError, zlib.error):
        return None  # verify says what is wrong with it; a page is no reason to fail
