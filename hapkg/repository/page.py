"""index.html of a repository: what is in it, and how a node uses it.

Drawing it takes as long as everything else of a publish. So a twin does it while indexes are made, signed and moved.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache, cmp_to_key
from itertools import groupby
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from hapkg import control, disk
from hapkg.control import DebContent, Suite, compare_versions, parse_relation_names, read_deb_content
from hapkg.disk import sha256_file
from hapkg.errors import MachineError, RepositoryError
from hapkg.jinja import DATA, load_template, render_page
from hapkg.repository.indexes import (
    Package,
    find_newest,
    find_suites,
    read_digests,
    read_pool,
    read_release,
    read_state,
)
from hapkg.repository.keys.lifecycle import Key, read_keys
from hapkg.repository.page_worker import Twin, open_twin
from hapkg.repository.remote.location import PAGE
from hapkg.repository.sources_file import Identity, name_sources

_DETAILED = 200
"""Packages of a suite whose content is shown; the rest would make the page too large to read."""
_TEMPLATE = "index.html.j2"
_CONTENTS = "contents.json"
_STAGING = ".hapkg/staging"


@dataclass(frozen=True, kw_only=True)
class View:
    """All that a page shows, the packages by the indexes that name them."""

    identity: Identity
    suites: Mapping[Suite, Mapping[str, str]]
    """SHA256 of each index file, by its path below dists/SUITE."""
    stanzas: Mapping[Suite, str]
    """What the .sources file of each suite says."""
    keyring: bytes
    """The public keys; none where nothing is signed."""

    def describe(self) -> str:
        """A digest of it, and of what draws it."""
        keyring = hashlib.sha256(self.keyring).hexdigest()
        state = [_describe_maker(), asdict(self.identity), dict(self.suites), dict(self.stanzas), keyring]
        return hashlib.sha256(json.dumps(state).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A page that was drawn of a view."""

    text: bytes
    contents: bytes
    """What packages install, for the next one."""


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


def read_view(root: Path, identity: Identity) -> View:
    """What the repository offers now."""
    suites = find_suites(root)
    keyring = root / f"{identity.keyring}.gpg"
    sources = {suite: root / name_sources(identity, suite) for suite in suites}
    return View(
        identity=identity,
        suites={suite: read_digests(read_release(find_newest(root, suite))) for suite in suites},
        stanzas={suite: file.read_text("utf-8") if file.is_file() else "" for suite, file in sources.items()},
        keyring=keyring.read_bytes() if keyring.is_file() else b"",
    )


def write_page(root: Path, identity: Identity, home: Path | None = None, ahead: Ahead | None = None) -> Path:
    """Write index.html for what the repository offers now, at once; it costs little when that is what it shows.

    The caller holds the repository's lock. home: hapkg's own gpg home, if its key signs. ahead: who may have drawn it
    already. Raises MachineError when the page cannot be written.
    """
    page, note = root / "index.html", root / PAGE / "shown"
    view = read_view(root, identity)
    state = view.describe()
    if page.is_file() and note.is_file() and note.read_text("utf-8") == f"{state} {sha256_file(page)}":
        return page
    drawing = (ahead and ahead.take(state)) or draw_page(root, view, home, {})
    shown = f"{state} {hashlib.sha256(drawing.text).hexdigest()}".encode()
    try:
        disk.replace_all({page: drawing.text, note: shown, root / PAGE / _CONTENTS: drawing.contents})
    except OSError as error:
        raise MachineError(
            f"{page} cannot be written: {error.strerror}",
            hint="the packages are published; give room and publish again",
        ) from error
    return page


def draw_page(root: Path, view: View, home: Path | None, read: Mapping[str, DebContent]) -> Drawing:
    """The page of a view, whose indexes lie in the repository, or are about to. read: what packages hold, by digest."""
    keys: tuple[Key, ...] = read_keys(view.keyring, home) if view.keyring else ()
    contents = Contents(root, read)
    values = {
        "identity": view.identity,
        "sections": [_make_section(root, view, suite, contents) for suite in view.suites],
        "keys": [" ".join(re.findall("....", key.fingerprint)) for key in keys],
        "keyring": f"{view.identity.keyring}.gpg",
    }
    return Drawing(text=render_page(values, _TEMPLATE).encode(), contents=contents.make_table())


class Ahead:
    """Draws the page of what is about to be published, beside the one who publishes it."""

    def __init__(self, twin: Twin | None) -> None:
        self._twin, self._begun = twin, False

    def begin(self, packages: Iterable[Path]) -> None:
        """Let it read new packages."""
        self._begun = True
        if self._twin:
            self._twin.tell(json.dumps([str(file) for file in sorted(packages)[:_DETAILED]]).encode())

    def go_on(self, view: View) -> None:
        """Let it draw a view; the indexes of changed suites lie in the staging folder."""
        if not self._begun:
            self.begin(())
        if self._twin:
            self._twin.tell(json.dumps({**vars(view), "identity": {}, "keyring": view.keyring.hex()}).encode())

    def take(self, state: str) -> Drawing | None:
        """What it drew of a view with this description; None when it did not."""
        head, _, rest = (self._twin.take() if self._twin else b"").partition(b"\n")
        described, *lengths = head.decode().split() or [""]
        if described != state or sum(map(int, lengths)) != len(rest):
            return None
        length = int(lengths[0])
        return Drawing(text=rest[:length], contents=rest[length:])


@contextlib.contextmanager
def draw_ahead(root: Path, identity: Identity, home: Path | None) -> Iterator[Ahead]:
    """Have somebody beside who draws the next page. To be called before the repository is locked."""

    def work(asked: IO[bytes]) -> bytes:
        line = asked.readline()
        if not line:
            return b""
        load_template(_TEMPLATE)
        for suite in find_suites(root):
            with contextlib.suppress(RepositoryError):
                read_pool(root, suite)  # most of it comes again in the next state, and is remembered
        found: dict[str, DebContent] = {}
        for file in map(Path, json.loads(line)):
            with contextlib.suppress(OSError):  # moved already: then it is read where it is when it is needed
                if content := _read_content(file):
                    found[sha256_file(file)] = content
        line = asked.readline()
        if not line:
            return b""
        told = json.loads(line)
        view = View(**{**told, "identity": identity, "keyring": bytes.fromhex(told["keyring"])})
        drawing = draw_page(root, view, home, found)
        lengths = (len(drawing.text), len(drawing.contents))
        return b"%s %d %d\n%s%s" % (view.describe().encode(), *lengths, drawing.text, drawing.contents)

    with open_twin(work) as twin:
        yield Ahead(twin)


class Contents:
    """What packages install, read from each .deb once: a published file never changes."""

    def __init__(self, root: Path, read: Mapping[str, DebContent]) -> None:
        """Begin with what was read, and what was kept by the same maker; anything else counts as nothing."""
        self._root, self._maker, self._read = root, _describe_maker(), read
        self._file = root / PAGE / _CONTENTS
        self._used: dict[str, DebContent | None] = {}
        self._kept: dict[str, dict[str, Any]] = {}
        if self._file.is_file():
            try:
                table = json.loads(self._file.read_bytes())
                self._kept = table["contents"] if table["maker"] == self._maker else {}
            except (ValueError, TypeError, KeyError):
                pass

    def read(self, path: str, digest: str) -> DebContent | None:
        """What the .deb at a pool path installs; None when it cannot be read."""
        if digest not in self._used:
            kept = self._kept.get(digest)
            if kept:
                self._used[digest] = _make_content(kept)
            else:
                self._used[digest] = self._read.get(digest) or _read_content(self._root / path)
        return self._used[digest]

    def make_table(self) -> bytes:
        """What was asked for, and nothing else, to be kept for the next page."""
        contents = {digest: vars(content) for digest, content in sorted(self._used.items()) if content}
        return json.dumps({"maker": self._maker, "contents": contents}).encode()


@cache
def _describe_maker() -> str:
    """What becomes another one when the page would look otherwise: a digest of all that makes it."""
    files = (Path(__file__), Path(control.__file__), Path(__file__).with_name("page_graph.py"), DATA / _TEMPLATE)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _make_section(root: Path, view: View, suite: Suite, contents: Contents) -> Section:
    from hapkg.repository.page_graph import draw  # noqa: PLC0415 - most often the page shows what it is to show

    packages = _read_packages(root, suite, view.suites[suite])
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
    return Section(
        suite=suite,
        packages=tuple(entry for entry in entries if not _is_symbols(entry.name)),
        symbols=tuple(entry for entry in entries if _is_symbols(entry.name)),
        picture=draw(_find_needs(shown)) if len(shown) <= _DETAILED else "",
        stanza=view.stanzas[suite],
        file=quote(name_sources(view.identity, suite)),
    )


def _read_packages(root: Path, suite: Suite, digests: Mapping[str, str]) -> tuple[Package, ...]:
    """What the indexes with these digests name. While they are moved, each is in one of both places at any time."""
    try:
        return read_state(root / _STAGING, suite, digests).packages
    except RepositoryError:
        return read_state(root, suite, digests).packages


def _is_symbols(name: str) -> bool:
    return name.endswith("-dbgsym")


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
