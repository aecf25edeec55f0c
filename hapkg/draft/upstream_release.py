"""Releases of upstream: the files of a tarball or of a repository's newest tag, as far as a draft looks at them."""

from __future__ import annotations

import lzma
import re
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.request import url2pathname

from hapkg import disk, process
from hapkg.apt import Mirror
from hapkg.control import TARBALLS
from hapkg.disk import sha256_file
from hapkg.draft.debian_source import PREFIX, DebianSource, list_debian_sources, read_packaging
from hapkg.errors import FetchError, SourceError, UsageError
from hapkg.locations import State
from hapkg.recipe.model import Recipe
from hapkg.recipe.style import Style
from hapkg.recipe.upstream import DebianOrigin, TarballOrigin
from hapkg.source import fetch
from hapkg.source.origins.tarball import download
from hapkg.source.unpack import MOST_BYTES, MOST_MEMBERS
from hapkg.source.vcs import archive_commit, find_commit, list_tags
from hapkg.tables import parse_table

_FORMS = (
    "a tarball ends in .tar.gz, .tar.xz or .tar.bz2; a repository in .git, or it starts with git+ or hg+; "
    "debian:NAME is a source package"
)
_MODES: dict[str, Literal["r:gz", "r:xz", "r:bz2"]] = {".gz": "r:gz", ".xz": "r:xz", ".bz2": "r:bz2"}
NOWHERE = "https://upstream.invalid"
_BUILD_FILES = re.compile(
    r"configure\.(ac|in)|(GNU)?Makefile|meson\.(build|options)|meson_options\.txt|.*\.(am|pc\.in|spec|spec\.in)"
    r"|(?!aclocal).*\.m4|\.tarball-version|pyproject\.toml|setup\.cfg|PKG-INFO|Cargo\.toml|(COPYING|LICEN[CS]E|README|VERSION).*",
    re.IGNORECASE,
)
SOURCES = re.compile(r".*\.(c|cc|cpp|cxx|h|hh|hpp|hxx|l|y|py|pl|pm|sh|rs|go|java)")


@dataclass(frozen=True, kw_only=True)
class UpstreamRelease:
    """One release: its files and where it is."""

    files: Mapping[str, str]
    """Path below the top folder to the beginning of its text; "" for what is no source."""
    label: str
    """A tag, or the name of the top folder: it may end in the version."""
    date: datetime
    kind: str
    """"tarball", "debian", "git" or "hg"."""
    url: str
    pin: str
    """sha256 of the tarball, id of the commit."""
    debian: DebianSource | None = None
    """The source package whose tarball it is."""

    @property
    def is_tarball(self) -> bool:
        """False for a commit of a repository."""
        return self.kind in ("tarball", "debian")


def take(source: str, origin: str, state: State, mirror: Mirror | None) -> UpstreamRelease:
    """Fetch and read a release. mirror is Debian's archive, of which only debian:NAME is asked for.

    Raises UsageError for an origin that cannot be, FetchError when it cannot be reached, SourceError when it cannot be
    read.
    """
    if origin.startswith(PREFIX):
        return _take_debian(source, origin, state, mirror)
    kind, plus, url = origin.partition("+")
    if not (plus and kind in ("git", "hg") and "://" in url):
        kind, url = "git" if origin.endswith(".git") else "tarball", origin
    if "://" not in url or url.startswith("file://"):
        path = Path(url2pathname(url.removeprefix("file://")) if "://" in url else url).absolute()
        url = path.as_uri()
        if _find_folder(path, origin):
            kind = "hg" if (path / ".hg").is_dir() else "git"
    if kind != "tarball" and url.startswith("http://"):
        raise UsageError(f"{url}: a repository's address is https or file", hint="nobody signs what http delivers")
    if kind == "tarball" and not url.endswith(TARBALLS):
        raise UsageError(f"{origin} is neither a tarball nor a repository", hint=_FORMS)
    return _take_tarball(source, url, state) if kind == "tarball" else _take_commit(source, kind, url, state)


def _find_folder(path: Path, origin: str) -> bool:
    """True for a folder, False for a file. Raises UsageError for a path that is neither or cannot be read."""
    try:
        mode = path.stat().st_mode if origin else 0
        if stat.S_ISREG(mode):
            path.open("rb").close()
        elif not stat.S_ISDIR(mode):
            raise UsageError(f"{origin or 'nothing'} is neither a file nor a folder", hint=_FORMS)
    except (FileNotFoundError, NotADirectoryError) as cause:
        raise UsageError(f"{origin} does not exist", hint=_FORMS) from cause
    except OSError as cause:
        raise UsageError(f"{origin} cannot be read: {cause.strerror}", hint="name a file that you may read") from cause
    return stat.S_ISDIR(mode)


def _take_tarball(source: str, url: str, state: State) -> UpstreamRelease:
    stub = _make_stub(source, url, {"git": f"{NOWHERE}/{source}.git"}, url)
    disk.make_folder(state.sources)
    with tempfile.TemporaryDirectory(dir=state.sources, prefix=".draft-") as scratch:
        file = Path(scratch) / f"new{next(suffix for suffix in TARBALLS if url.endswith(suffix))}"
        try:
            download(url, file)
        except FetchError as error:
            raise FetchError(f"{url}: {error.brief}", hint="check the address and the network") from error
        files, label, newest = _read_tree(file, url)
        pinned = TarballOrigin(type="tarball", url=file.as_uri(), sha256=sha256_file(file))
        fetch.fetch(stub.model_copy(update={"origins": (pinned,)}), state, None)  # the first build needs no network
    date = datetime.fromtimestamp(newest, UTC)
    return UpstreamRelease(files=files, label=label, date=date, kind="tarball", url=url, pin=pinned.sha256)


def _take_debian(source: str, origin: str, state: State, mirror: Mirror | None) -> UpstreamRelease:
    """The newest version whose tarball the archive delivers."""
    missed: list[str] = []
    for found in list_debian_sources(origin, state, mirror):
        shown = f"{PREFIX}{found.package}={found.version}"
        stub = _make_stub(source, shown, {"git": f"{NOWHERE}/{source}.git"}, f"{NOWHERE}/x.tar.gz")
        pinned = DebianOrigin(type="debian", package=found.package, version=found.version, sha256=found.sha256)
        try:
            tarball = fetch.fetch(stub.model_copy(update={"origins": (pinned,)}), state, mirror)
        except FetchError:
            missed.append(found.version)
            continue
        files, label, newest = _read_tree(tarball.path, shown, tarball.suffix)
        whole = replace(read_packaging(found, state, mirror), missed=tuple(missed)) if mirror else found
        return UpstreamRelease(
            files=files,
            label=label,
            date=datetime.fromtimestamp(newest, UTC),
            kind="debian",
            url=shown,
            pin=found.sha256,
            debian=whole,
        )
    raise FetchError(
        f"{origin}: the archive delivers the tarball of no version",
        details=[f"versions: {', '.join(missed)}"],
        hint="try again later, another archive with --mirror, or upstream's own release",
    )


def _take_commit(source: str, kind: str, url: str, state: State) -> UpstreamRelease:
    stub = _make_stub(source, url, {kind: url}, f"{NOWHERE}/x.tar.gz")
    tags = list_tags(kind, url, state)
    dated = [(_rank(version), tag, node) for tag, node in tags if (version := read_tag(tag))]
    if not dated:
        raise UsageError(
            f"{url} has no tag that looks like a version",
            details=[f"tags: {', '.join(tag for tag, _ in tags[:9]) or 'none'}"],
            hint="name a release tarball instead",
        )
    _, tag, node = max(dated)
    commit = find_commit(stub, kind, node, state)
    archive = archive_commit(stub.model_copy(update={"version": read_tag(tag)}), commit, state)
    files, _, _ = _read_tree(archive, url)
    return UpstreamRelease(files=files, label=tag, date=commit.date, kind=kind, url=url, pin=commit.id)


def _make_stub(source: str, url: str, upstream: Mapping[str, str], tarball: str) -> Recipe:
    """A recipe that serves to fetch, and whose rules an address must keep."""
    table = {
        "source": source,
        "version": "0",
        "style": Style(name="draft"),
        "date": datetime.fromtimestamp(0, UTC),
        "homepage": NOWHERE,
        "upstream": {**upstream, "tag": "draft"},
        "origins": [{"type": "tarball", "url": tarball, "sha256": "0" * 64}],
        "copyright": [{"copyright": ["nobody"], "license": "none"}],
        "packages": [{"package": source, "synopsis": "none", "description": "none"}],
        "folder": Path(),
    }
    try:
        return parse_table(Recipe, table, where=url, error=UsageError)
    except UsageError as error:
        error.hint = error.hint or _FORMS
        raise


def read_tag(tag: str) -> str:
    """The version that a tag names, or "": v1.2, name-1.2, release_1_2, but no candidate of one."""
    match = re.fullmatch(r"(?:[A-Za-z][A-Za-z0-9+]*[-_/])*?[vV]?([0-9]+(?:[._][0-9]+)*)(?:-stable|-final)?", tag)
    return match[1].replace("_", ".") if match else ""


def _rank(version: str) -> tuple[bool, list[int]]:
    """Orders versions; a number alone, such as a date, comes before those with a dot."""
    return "." in version, [int(part) for part in version.split(".")]


def _read_tree(tarball: Path, shown: str, suffix: str = "") -> tuple[dict[str, str], str, int]:
    """Files below the top folder, the top folder's name, and the time of the newest file. Raises SourceError."""
    files: dict[str, str] = {}
    tops: set[str] = set()
    newest, size = 0, 0
    try:
        with tarfile.open(tarball, _MODES[Path(suffix or tarball.name).suffix]) as archive:
            for number, member in enumerate(archive, start=1):
                process.check_stop()
                size += member.size
                if number > MOST_MEMBERS or size > MOST_BYTES:
                    raise ValueError(f"it holds more than {MOST_MEMBERS:,} members or {MOST_BYTES:,} bytes")
                top, _, path = re.sub(r"^(\.?/)+|/+$", "", member.name).partition("/")
                tops |= {top} - {"", "."}
                if member.isfile() and path:
                    newest = max(newest, int(member.mtime) if member.mtime < 1 << 32 else 0)
                    base = path.rpartition("/")[2]
                    limit = 1 << 18 if _BUILD_FILES.fullmatch(base) else 1 << 12 if SOURCES.fullmatch(base) else 0
                    opened = archive.extractfile(member) if limit else None
                    content = opened.read(limit) if opened else b""
                    text = content[: content.rfind(b"\n") + 1 or None].decode("utf-8", "replace")
                    files[path] = content.decode("latin-1") if "\ufffd" in text else text
    except (OSError, EOFError, ValueError, OverflowError, tarfile.TarError, lzma.LZMAError, zlib.error) as cause:
        raise SourceError(f"{shown} cannot be read: {cause}", hint="name a whole, compressed tarball") from cause
    if len(tops) != 1 or not files:
        raise SourceError(f"{shown} does not hold one folder with everything in it", hint="name a release tarball")
    return files, tops.pop(), newest
