"""index.html of a repository: what is in it, and how a node uses it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cmp_to_key
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hapkg import control, disk
from hapkg.client import Identity
from hapkg.control import DebContent, Suite, compare_versions, parse_relation_names, read_deb_content
from hapkg.errors import MachineError
from hapkg.indexes import Package, compute_digest, find_newest, find_suites, read_digests, read_pool, read_release
from hapkg.keys import Key, read_keys
from hapkg.markup import DATA, load_template, render_page
from hapkg.place import PAGE

_DETAILED = 200
"""Packages of a suite whose content is shown; the rest would make the page too large to read."""
_TEMPLATE = "index.html.j2"
_CONTENTS = "contents.json"
Ahead = dict[str, DebContent | None]


@dataclass(kw_only=True, slots=True)  # not frozen: there are thousands
class Entry:
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
class Section:
    """One suite on the page."""

    suite: Suite
    packages: tuple[Entry, ...]
    symbols: tuple[Entry, ...]
    """Debug symbols."""
    picture: str
    """An SVG."""
    stanza: str
    """Its .sources file."""
    file: str

    @property
    def release(self) -> str:
        """The Debian release that its packages were built for: bookworm of bookworm-testing."""
        return self.suite.partition("-")[0]


def write_page(root: Path, identity: Identity, home: Path | None = None, ahead: Ahead | None = None) -> Path:
    """Write index.html for what the repository offers now, at once; it costs little when that is what it shows.

    The caller holds the repository's lock. home: hapkg's own gpg home, if its key signs. ahead: what was read
    already. Raises MachineError when the page cannot be written.
    """
    page, note = root / "index.html", root / PAGE / "shown"
    maker = _describe_maker()
    state = _describe_state(root, identity, maker)
    if page.is_file() and note.is_file() and note.read_text("utf-8") == f"{state} {compute_digest(page)}":
        return page
    keyring = root / f"{identity.keyring}.gpg"
    keys: tuple[Key, ...] = read_keys(keyring.read_bytes(), home) if keyring.is_file() else ()
    contents = Contents(root, maker, ahead or {})
    sections = [_make_section(root, suite, identity, contents) for suite in find_suites(root)]
    values = {
        "identity": identity,
        "sections": sections,
        "keys": [" ".join(re.findall("....", key.fingerprint)) for key in keys],
        "keyring": keyring.name,
    }
    text = render_page(values, _TEMPLATE).encode()
    try:
        shown = f"{state} {hashlib.sha256(text).hexdigest()}".encode()
        disk.replace_all({page: text, note: shown, root / PAGE / _CONTENTS: contents.make_table()})
    except OSError as error:
        raise MachineError(
            f"{page} cannot be written: {error.strerror}",
            hint="the packages are published; give room and publish again",
        ) from error
    return page


def look_ahead(packages: Iterable[Path], ahead: Ahead) -> None:
    """Read what a page of new packages will need, by their digests, as far as it can be read."""
    load_template(_TEMPLATE)
    for file in sorted(packages)[:_DETAILED]:
        with contextlib.suppress(OSError):
            ahead[compute_digest(file)] = _read_content(file)


class Contents:
    """What packages install, read from each .deb once: a published file never changes."""

    def __init__(self, root: Path, maker: str, ahead: Ahead) -> None:
        """Begin with what was kept by the same maker; anything else counts as nothing."""
        self._root, self._maker, self._ahead = root, maker, ahead
        self._file = root / PAGE / _CONTENTS
        self._used: dict[str, DebContent | None] = {}
        self._kept: dict[str, dict[str, Any]] = {}
        if self._file.is_file():
            try:
                table = json.loads(self._file.read_bytes())
                self._kept = table["contents"] if table["maker"] == maker else {}
            except (ValueError, TypeError, KeyError):
                pass

    def read(self, path: str, digest: str) -> DebContent | None:
        """What the .deb at a pool path installs; None when it cannot be read."""
        if digest not in self._used:
            kept = self._kept.get(digest)
            if kept:
                self._used[digest] = _make_content(kept)
            else:
                self._used[digest] = self._ahead.get(digest) or _read_content(self._root / path)
        return self._used[digest]

    def make_table(self) -> bytes:
        """What was asked for, and nothing else, to be kept for the next page."""
        contents = {digest: vars(content) for digest, content in sorted(self._used.items()) if content}
        return json.dumps({"maker": self._maker, "contents": contents}).encode()


def _describe_maker() -> str:
    """What becomes another one when the page would look otherwise: a digest of all that makes it."""
    files = (Path(__file__), Path(control.__file__), Path(__file__).with_name("picture.py"), DATA / _TEMPLATE)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _describe_state(root: Path, identity: Identity, maker: str) -> str:
    """A digest of all that the page shows."""
    suites = {suite: read_digests(read_release(find_newest(root, suite))) for suite in find_suites(root)}
    names = (f"{identity.keyring}.gpg", *(_name_sources(identity, suite) for suite in suites))
    files = {name: compute_digest(root / name) for name in names if (root / name).is_file()}
    return hashlib.sha256(json.dumps([maker, asdict(identity), suites, files]).encode()).hexdigest()


def _make_section(root: Path, suite: Suite, identity: Identity, contents: Contents) -> Section:
    from hapkg.picture import draw  # noqa: PLC0415 - most often the page shows what it is to show

    packages = read_pool(root, suite).packages
    sources = {package.source: package for package in packages if package.architecture == "source"}
    order = cmp_to_key(compare_versions)  # asked for nothing when there is one version
    binaries = sorted((p for p in packages if p.architecture != "source"), key=lambda p: (p.name, p.architecture))
    entries: list[Entry] = []
    shown: list[Package] = []
    for _, group in groupby(binaries, key=lambda p: (p.name, p.architecture)):
        held = sorted(group, key=lambda p: order(p.version), reverse=True)
        newest, source = held[0], held[0].source
        shown.append(newest)
        path, (_, digest) = next(iter(newest.files.items()))
        files = sources[source].files if source in sources else {}
        entries.append(
            Entry(
                name=newest.name,
                versions=", ".join(p.version for p in held),
                architecture=newest.architecture,
                synopsis=newest.fields.get("Description", "").partition("\n")[0],
                needs=newest.fields.get("Depends", ""),
                source=" ".join(source),
                url=quote(path),
                sources=tuple((Path(file).name, quote(file)) for file in sorted(files)),
                content=contents.read(path, digest) if len(entries) < _DETAILED else None,
            )
        )
    file = _name_sources(identity, suite)
    return Section(
        suite=suite,
        packages=tuple(entry for entry in entries if not _is_symbols(entry.name)),
        symbols=tuple(entry for entry in entries if _is_symbols(entry.name)),
        picture=draw(_find_needs(shown)) if len(shown) <= _DETAILED else "",
        stanza=(root / file).read_text("utf-8"),
        file=quote(file),
    )


def _is_symbols(name: str) -> bool:
    return name.endswith("-dbgsym")


def _name_sources(identity: Identity, suite: Suite) -> str:
    return f"{identity.name}-{suite}.sources"


def _find_needs(packages: list[Package]) -> dict[str, frozenset[str]]:
    """Which packages of the repository each needs; without debug symbols."""
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


def _make_content(kept: dict[str, Any]) -> DebContent:
    return DebContent(files=tuple(kept["files"]), changelog=kept["changelog"], copyright=kept["copyright"])
