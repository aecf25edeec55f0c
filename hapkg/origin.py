"""How upstream code reaches this machine: the only code that fetches sources.

Every file is kept under its sha256 and checked against it whenever it is read. Origins are tried in the recipe's order;
one that fails is reported and the next one is asked. What an origin delivers counts only if it is what the recipe pins.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hapkg import command, disk
from hapkg.config import RELEASES
from hapkg.control import Suite, compare_versions, read_stanzas
from hapkg.errors import FetchError, HapkgError, IntegrityError, MachineError, ProcessError
from hapkg.mirror import Mirror, read_apt_options
from hapkg.recipe import DebianOrigin, Origin, Recipe
from hapkg.store import file_digest

ATTEMPTS = 3
TIMEOUT_SECONDS = 30
_PAUSES = (1.0, 4.0)

_index_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Tarball:
    """An upstream tarball in the cache."""

    path: Path
    sha256: str
    suffix: str
    """".tar.gz", ".tar.xz" or ".tar.bz2"."""
    origin: str
    """Who delivered it, in words."""
    notes: tuple[str, ...] = ()
    """What went wrong with origins that were asked before."""


def describe_origin(origin: Origin) -> str:
    """An origin in words."""
    if isinstance(origin, DebianOrigin):
        return f"Debian orig of {origin.package} {origin.version}"
    return origin.url


def fetch(recipe: Recipe, cache: Path, mirror: Mirror | None) -> Tarball:
    """The tarball of a recipe, from the cache or from the first origin that delivers it.

    Raises IntegrityError when bytes are not what the recipe pins, FetchError when no origin delivers anything.
    """
    notes: list[str] = []
    for origin in recipe.origins:
        if (path := _find_cached(cache, origin.sha256, notes)) is not None:
            return _describe(path, origin, "cache", notes)
    failures: list[HapkgError] = []
    for origin in recipe.origins:
        for attempt in range(ATTEMPTS):
            command.check_stop()
            try:
                path = _fetch_one(origin, cache, mirror)
            except (FetchError, IntegrityError) as error:
                if attempt + 1 < ATTEMPTS and not isinstance(error, IntegrityError) and error.hint != _FINAL:
                    time.sleep(_PAUSES[attempt])
                    continue
                failures.append(error)
                notes.append(f"{describe_origin(origin)}: {error.brief}")
                break
            return _describe(path, origin, "fetched", notes)
    kind = next((type(error) for error in failures if isinstance(error, IntegrityError)), FetchError)
    raise kind(
        f"{recipe.source}: no origin delivered the source of version {recipe.version}",
        details=[*notes, *(detail for error in failures for detail in error.details)],
        hint="check the network and recipe.toml, [[origins]]; a tarball that changed upstream needs a look before its "
        "sha256 is changed"
        if kind is IntegrityError
        else "check the network, or add another [[origins]] to recipe.toml; --mirror names a Debian archive",
    )


_FINAL = "asking again will not help"


def _describe(path: Path, origin: Origin, how: str, notes: Sequence[str]) -> Tarball:
    origin_text = describe_origin(origin) + (" (cached)" if how == "cache" else "")
    return Tarball(path=path, sha256=origin.sha256, suffix=_read_suffix(path), origin=origin_text, notes=tuple(notes))


def _read_suffix(path: Path) -> str:
    """A tarball's suffix by its first bytes: the cache keeps content, not names."""
    with path.open("rb") as file:
        magic = file.read(6)
    for start, suffix in ((b"\x1f\x8b", ".tar.gz"), (b"\xfd7zXZ\0", ".tar.xz"), (b"BZh", ".tar.bz2")):
        if magic.startswith(start):
            return suffix
    raise IntegrityError(f"{path} is neither gzip, xz nor bzip2", hint="pin a compressed tarball in the recipe")


def _cached_path(cache: Path, sha256: str) -> Path:
    return cache / "sources" / "sha256" / sha256


def _find_cached(cache: Path, sha256: str, notes: list[str]) -> Path | None:
    path = _cached_path(cache, sha256)
    if not path.is_file():
        return None
    if file_digest(path) == sha256:
        return path
    notes.append(f"the cached copy {sha256[:12]}… was damaged and is fetched again")
    path.unlink()
    return None


def _keep(file: Path, cache: Path, sha256: str) -> Path:
    """Move a downloaded file under its digest, if it is the one that was promised."""
    found = file_digest(file)
    if found != sha256:
        raise IntegrityError(
            f"checksum mismatch: sha256 is {found}, the recipe pins {sha256}", details=[f"size: {file.stat().st_size}"]
        )
    target = _cached_path(cache, sha256)
    disk.sync(file)
    disk.move({file: target})
    return target


def _fetch_one(origin: Origin, cache: Path, mirror: Mirror | None) -> Path:
    try:
        (cache / "sources" / "sha256").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache / "sources", prefix=".fetch-") as scratch:
            if isinstance(origin, DebianOrigin):
                file = _fetch_debian(origin, cache, mirror, Path(scratch))
            else:
                file = _fetch_url(origin.url, Path(scratch) / "tarball")
            return _keep(file, cache, origin.sha256)
    except OSError as cause:
        raise MachineError(f"{cache}: {cause.strerror}", hint="free some space, or use another --cache") from cause


def _fetch_url(url: str, target: Path) -> Path:
    request = urllib.request.Request(url, headers={"User-Agent": "hapkg"})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as cause:
        final = 400 <= cause.code < 500 and cause.code not in (408, 425, 429)
        raise FetchError(f"the server answers {cause.code} {cause.reason}", hint=_FINAL if final else "") from cause
    except (OSError, http.client.HTTPException, ValueError) as cause:
        raise FetchError(f"cannot be reached: {getattr(cause, 'reason', cause)}") from cause
    with response, target.open("wb") as file:
        size = sum(file.write(block) for block in _read_blocks(response))
        expected = response.headers.get("Content-Length", "")
    if expected.isdecimal() and size != int(expected):
        raise FetchError(f"the download was cut off: {size} of {expected} bytes")
    return target


def _read_blocks(response: IO[bytes]) -> Iterator[bytes]:
    """What a server sends. The network's failures end here, so that only the disk's are left to the caller."""
    try:
        while block := response.read(1 << 20):
            command.check_stop()
            yield block
    except (OSError, http.client.HTTPException) as cause:
        raise FetchError(f"the connection failed: {cause}") from cause


def _fetch_debian(origin: DebianOrigin, cache: Path, mirror: Mirror | None, scratch: Path) -> Path:
    if mirror is None:
        raise FetchError("no Debian archive is configured on this host", hint=_FINAL)
    errors: list[str] = []
    for refresh in (False, True):
        for suite in (*RELEASES, "sid"):
            try:
                options = _update_index(cache, mirror, Suite(suite), refresh=refresh)
                version = _find_version(origin, options)
                if version is None:
                    continue
                argv = ["apt-get", *options, "source", "--download-only", "--tar-only", f"{origin.package}={version}"]
                command.run(argv, cwd=scratch)
                return next(scratch.glob("*.orig.tar.*"))
            except ProcessError as error:
                errors.append(f"{suite}: {error.details[-2] if len(error.details) > 1 else error.brief}")
            except StopIteration:
                errors.append(f"{suite}: apt-get source left no orig tarball")
    raise FetchError("no suite of the archive delivers this tarball", details=errors, hint=_FINAL)


def _update_index(cache: Path, mirror: Mirror, suite: Suite, *, refresh: bool) -> list[str]:
    """apt options that see exactly the source packages of one suite; the index is fetched when missing or asked."""
    line = mirror.lines(suite, "deb-src")[0]
    folder = cache / "sources" / "apt" / f"{suite}-{hashlib.sha256(line.encode()).hexdigest()[:8]}"
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    settings = {
        "Dir::Etc::SourceList": str(folder / "sources.list"),
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": str(folder / "lists"),
        "Dir::State::Status": "/dev/null",
        "Dir::Cache": str(folder / "cache"),
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        "Acquire::Languages": "none",
        **read_apt_options(),
    }
    options = [argument for name, value in settings.items() for argument in ("-o", f"{name}={value}")]
    done = folder / "done"
    with _index_lock:
        if refresh or not done.exists():
            (folder / "sources.list").write_text(line + "\n", "utf-8")
            done.unlink(missing_ok=True)
            command.run(["apt-get", *options, "--error-on=any", "update"])
            done.touch()
    return options


def _find_version(origin: DebianOrigin, options: Sequence[str]) -> str | None:
    """A version in the index whose orig tarball is the pinned one: the named version, or the newest that shares it."""
    shown = command.run(["apt-cache", *options, "showsrc", "--only-source", origin.package], check=False)
    versions: list[str] = []
    for stanza in read_stanzas(shown.output):
        checksums = stanza.get("Checksums-Sha256", "").split("\n")
        if any(line.split()[:1] == [origin.sha256] and ".orig.tar." in line for line in checksums):
            versions.append(stanza["Version"])
    best: str | None = None
    for version in versions:
        if version == origin.version:
            return version
        if best is None or compare_versions(version, best) > 0:
            best = version
    return best
