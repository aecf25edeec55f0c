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

from hapkg import disk
from hapkg.apt.mirror import Mirror
from hapkg.control import find_tarball_suffix
from hapkg.disk import sha256_file
from hapkg.draft.address import FORMS, find_path, list_siblings, read_address
from hapkg.draft.debian_source import PREFIX, DebianSource, list_debian_sources, read_packaging
from hapkg.errors import FetchError, IntegrityError, SourceError, UsageError
from hapkg.locations import State
from hapkg.programs import process
from hapkg.recipe.model import Recipe
from hapkg.recipe.style import Style
from hapkg.recipe.upstream import DebianOrigin, TarballOrigin
from hapkg.source import fetch
from hapkg.source.origins.tarball import download
from hapkg.source.unpack import MOST_BYTES, MOST_MEMBERS
from hapkg.source.vcs import KINDS, find_commit
from hapkg.tables import parse_table

_MODES: dict[str, Literal["r:gz", "r:xz", "r:bz2"]] = {".gz": "r:gz", ".xz": "r:xz", ".bz2": "r:bz2"}
NOWHERE = "https://upstream.invalid"
_MOST_DSC = 1 << 20
"""Bytes of a .dsc."""
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


def take(source: str, origin: str, state: State, mirror: Mirror | None, ref: str = "") -> UpstreamRelease:
    """Fetch and read a release. mirror is Debian's archive, of which only debian:NAME is asked for.

    ref is a tag of a repository, the newest that looks like a version where it is "". Raises UsageError for an origin
    that cannot be, FetchError when it cannot be reached, SourceError when it cannot be read.
    """
    address = None if origin.startswith(PREFIX) else read_address(origin)
    kind = address.kind if address else "debian"
    if address and (path := find_path(address.url)) and _find_folder(path, origin):
        kind = "hg" if (path / ".hg").is_dir() else "git"
    if ref and kind not in ("git", "hg"):
        raise UsageError("--ref names a tag of a repository", hint=f"{origin} is none: name its repository")
    if address is None:
        return _take_debian(source, origin, state, mirror)
    if kind in ("git", "hg"):
        if address.url.startswith("http://"):
            raise UsageError(
                f"{address.url}: a repository's address is https or file", hint="nobody signs what http delivers"
            )
        return _take_commit(source, kind, address.url, state, ref or address.ref)
    if kind == "dsc":
        return _take_tarball(source, *_find_orig(address.url, state), state)
    if kind == "archive":
        return _take_sibling(source, origin, address.url, state)
    if not find_tarball_suffix(address.url):
        raise UsageError(f"{origin} is neither a tarball nor a repository", hint=FORMS)
    return _take_tarball(source, address.url, "", state)


def _find_folder(path: Path, origin: str) -> bool:
    """True for a folder, False for a file. Raises UsageError for a path that is neither or cannot be read."""
    try:
        mode = path.stat().st_mode if origin else 0
        if stat.S_ISREG(mode):
            path.open("rb").close()
        elif not stat.S_ISDIR(mode):
            raise UsageError(f"{origin or 'nothing'} is neither a file nor a folder", hint=FORMS)
    except (FileNotFoundError, NotADirectoryError) as cause:
        raise UsageError(f"{origin} does not exist", hint=FORMS) from cause
    except OSError as cause:
        raise UsageError(f"{origin} cannot be read: {cause.strerror}", hint="name a file that you may read") from cause
    return stat.S_ISDIR(mode)


def _find_orig(url: str, state: State) -> tuple[str, str]:
    """Address and sha256 of upstream's tarball beside a .dsc, which names it."""
    disk.make_folder(state.sources)
    with tempfile.TemporaryDirectory(dir=state.sources, prefix=".draft-") as scratch:
        try:
            text = download(url, Path(scratch) / "dsc", most_bytes=_MOST_DSC).read_text("utf-8", "replace")
        except FetchError as error:
            raise FetchError(f"{url}: {error.brief}", hint="check the address and the network") from error
    found = re.findall(r"(?m)^ ([0-9a-f]{64}) \d+ ([A-Za-z0-9][\w.+~-]*\.orig\.tar\.(?:gz|xz|bz2))$", text)
    if len(found) != 1:
        raise SourceError(f"{url} names {len(found)} tarballs of upstream", hint="name the tarball itself")
    ((digest, name),) = found
    return f"{url.rpartition('/')[0]}/{name}", digest


def _take_sibling(source: str, origin: str, url: str, state: State) -> UpstreamRelease:
    """The release in a tarball beside an archive of another kind, which dpkg-source does not take."""
    errors: list[str] = []
    for sibling in list_siblings(url):
        try:
            return _take_tarball(source, sibling, "", state)
        except FetchError as error:
            errors.append(error.brief)
    raise UsageError(
        f"{origin}: dpkg-source takes no such archive, and no tarball lies beside it",
        details=errors,
        hint="name upstream's .tar.gz or .tar.xz of the same release, or its repository",
    )


def _take_tarball(source: str, url: str, sha256: str, state: State) -> UpstreamRelease:
    """The release in a tarball, of this digest where it is known."""
    stub = _make_stub(source, url, {"git": f"{NOWHERE}/{source}.git"}, url)
    disk.make_folder(state.sources)
    with tempfile.TemporaryDirectory(dir=state.sources, prefix=".draft-") as scratch:
        file = Path(scratch) / f"new{find_tarball_suffix(url)}"
        try:
            download(url, file)
        except FetchError as error:
            raise FetchError(f"{url}: {error.brief}", hint="check the address and the network") from error
        if sha256 not in ("", sha256_file(file)):
            raise IntegrityError(f"{url} is not the file that its .dsc names", hint="fetch both anew")
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


def _take_commit(source: str, kind: str, url: str, state: State, ref: str) -> UpstreamRelease:
    stub = _make_stub(source, url, {kind: url}, f"{NOWHERE}/x.tar.gz")
    tags = KINDS[kind].list_tags(KINDS[kind].refresh(url, state))
    dated = [(_rank(version), tag, node) for tag, node in tags if (version := read_tag(tag))]
    if ref:
        dated = [(_rank(read_tag(tag)), tag, node) for tag, node in tags if tag == ref]
        if not dated:
            raise UsageError(
                f"{url} has no tag {ref}", hint="a recipe is of a release: hapkg build NAME@REF takes others"
            )
        if not read_tag(ref):
            raise UsageError(f"tag {ref} of {url} does not tell a version", hint="name the release's tarball instead")
    if not dated:
        raise UsageError(
            f"{url} has no tag that looks like a version",
            details=[f"tags: {', '.join(tag for tag, _ in tags[:9]) or 'none'}"],
            hint="name a release tarball instead",
        )
    _, tag, node = max(dated)
    commit = find_commit(stub, kind, node, state)
    archive = KINDS[kind].archive(stub.model_copy(update={"version": read_tag(tag)}), commit, state)
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
        error.hint = error.hint or FORMS
        raise


def read_tag(tag: str) -> str:
    """The version that a tag names, or "": v1.2, name-1.2, release_1_2, but no candidate of one."""
    match = re.fullmatch(r"(?:[A-Za-z][A-Za-z0-9+]*[-_/])*?[vV]?([0-9]+(?:[._][0-9]+)*)(?:-stable|-final)?", tag)
    return match[1].replace("_", ".") if match else ""


def _rank(version: str) -> tuple[bool, list[int]]:
    """Orders versions; a number alone, such as a date, comes before those with a dot."""
    return "." in version, [int(part) for part in filter(None, version.split("."))]


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
