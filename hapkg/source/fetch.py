"""How upstream code reaches this machine: the only code that fetches sources.

Every file is kept under its sha256 and checked against it whenever it is read. Origins are tried in the recipe's order;
one that fails is reported and the next one is asked. What an origin delivers counts only if it is what the recipe pins.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hapkg import disk
from hapkg.apt.mirror import Mirror
from hapkg.disk import sha256_file
from hapkg.errors import FetchError, HapkgError, IntegrityError, MachineError, SourceError, UsageError
from hapkg.locations import State
from hapkg.programs import process
from hapkg.recipe.model import Recipe
from hapkg.recipe.upstream import DebianOrigin, DebianPatch, PinnedFile, TarballOrigin, UrlPatch
from hapkg.source.origins import debian, tarball
from hapkg.source.origins.repository import Commit
from hapkg.source.origins.request import FINAL, MOST_BYTES, Request
from hapkg.source.signature import check_commit, check_tarball
from hapkg.source.vcs import KINDS, find_commit

_FETCHERS: Mapping[type[PinnedFile], Callable[[Any, Request], Path]] = {
    DebianOrigin: debian.fetch,
    DebianPatch: debian.fetch_patch,
    TarballOrigin: tarball.fetch,
    UrlPatch: tarball.fetch,
}
"""The module of each origin of files; those of repositories are in vcs.KINDS."""
ATTEMPTS = 3
_PAUSES = (1.0, 4.0)


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
    """Failures of origins that were asked before."""
    signer: str = ""
    """Whose signature was checked: a fingerprint, or name and fingerprint of an SSH key."""
    vcs: str = ""
    """Kind of the repository whose commit it was packed from, here: another zlib packs it into other bytes."""


def fetch_commit(recipe: Recipe, commit: Commit, state: State) -> Tarball:
    """The tree of a commit of upstream's repository as a tarball."""
    path = KINDS[commit.kind].archive(recipe, commit, state)
    return Tarball(
        path=path,
        sha256=sha256_file(path),
        suffix=".tar.gz",
        origin=f"{commit.kind} {commit.url} {commit.id}",
        signer=commit.signer,
        vcs=commit.kind,
    )


def fetch(recipe: Recipe, state: State, mirror: Mirror | None, *, most_bytes: int = MOST_BYTES) -> Tarball:
    """The tarball of a recipe, from the cache or from the first origin that delivers it.

    Raises IntegrityError when bytes are not what the recipe pins, FetchError when no origin delivers anything.
    """
    failures: list[HapkgError] = []
    notes: list[str] = []
    what = f"the source of version {recipe.version}"
    pinned = [origin for origin in recipe.origins if isinstance(origin, PinnedFile)]
    if pinned:
        try:
            path, origin, cached, asked = _obtain(recipe.source, what, pinned, state, mirror, most_bytes)
        except (FetchError, IntegrityError) as error:
            failures.append(error)
            notes += error.details
        else:
            text = origin.describe() + (" (cached)" if cached else "")
            suffix = _read_suffix(path)
            check_commit(recipe, path)
            signer = check_tarball(recipe, path)
            return Tarball(path=path, sha256=origin.sha256, suffix=suffix, origin=text, notes=asked, signer=signer)
    for repository in recipe.origins:
        if repository.type in KINDS:
            try:
                packed = fetch_commit(recipe, find_commit(recipe, repository.type, None, state), state)
            except (FetchError, IntegrityError, SourceError, UsageError) as error:
                failures.append(error)
                notes += [f"{repository.describe()}: {error.brief}", *error.details]
            else:
                return replace(packed, notes=tuple(notes))
    kind = next((type(error) for error in failures if isinstance(error, IntegrityError)), FetchError)
    raise kind(f"{recipe.source}: no origin delivered {what}", details=notes, hint=failures[0].hint)


def fetch_patches(
    recipe: Recipe, state: State, mirror: Mirror | None, *, most_bytes: int = MOST_BYTES
) -> dict[str, bytes]:
    """Contents, by name, of the patches that the recipe pins and does not carry. Raises as fetch() does."""
    return {
        patch.name: _obtain(recipe.source, f"patch {patch.name}", [patch], state, mirror, most_bytes)[0].read_bytes()
        for patch in recipe.remote_patches
    }


def _obtain(
    source: str, what: str, origins: Sequence[PinnedFile], state: State, mirror: Mirror | None, most_bytes: int
) -> tuple[Path, PinnedFile, bool, tuple[str, ...]]:
    """A pinned file: its path, the origin it is of, whether it was in the cache, and what went wrong before."""
    notes: list[str] = []
    for origin in origins:
        if (path := _find_cached(state, origin.sha256, notes)) is not None:
            return path, origin, True, tuple(notes)
    failures: list[HapkgError] = []
    for origin in origins:
        for attempt in range(ATTEMPTS):
            process.check_stop()
            try:
                return _fetch_one(origin, state, mirror, most_bytes), origin, False, tuple(notes)
            except (FetchError, IntegrityError) as error:
                if attempt + 1 < ATTEMPTS and not isinstance(error, IntegrityError) and error.hint != FINAL:
                    time.sleep(_PAUSES[attempt])
                    continue
                failures.append(error)
                notes.append(f"{origin.describe()}: {error.brief}")
                break
    kind = next((type(error) for error in failures if isinstance(error, IntegrityError)), FetchError)
    raise kind(
        f"{source}: no origin delivered {what}",
        details=[*notes, *(detail for error in failures for detail in error.details)],
        hint="check the network and recipe.toml, [[origins]]; a tarball that changed upstream needs a look before its "
        "sha256 is changed"
        if kind is IntegrityError
        else "check the network, or add another [[origins]] to recipe.toml; --mirror names a Debian archive",
    )


def _read_suffix(path: Path) -> str:
    """A tarball's suffix by its first bytes: the cache keeps content, not names."""
    with path.open("rb") as file:
        magic = file.read(6)
    for start, suffix in ((b"\x1f\x8b", ".tar.gz"), (b"\xfd7zXZ\0", ".tar.xz"), (b"BZh", ".tar.bz2")):
        if magic.startswith(start):
            return suffix
    raise IntegrityError(f"{path} is neither gzip, xz nor bzip2", hint="pin a compressed tarball in the recipe")


def _find_cached(state: State, sha256: str, notes: list[str]) -> Path | None:
    path = state.downloads / sha256
    if not path.is_file():
        return None
    if sha256_file(path) == sha256:
        return path
    notes.append(f"the cached copy {sha256[:12]}… was damaged and is fetched again")
    path.unlink()
    return None


def _keep(file: Path, state: State, sha256: str) -> Path:
    """Move a downloaded file under its digest, if it is the one that was promised."""
    found = sha256_file(file)
    if found != sha256:
        raise IntegrityError(
            f"checksum mismatch: sha256 is {found}, the recipe pins {sha256}", details=[f"size: {file.stat().st_size}"]
        )
    target = state.downloads / sha256
    disk.sync(file)
    disk.move({file: target})
    return target


def _fetch_one(origin: PinnedFile, state: State, mirror: Mirror | None, most_bytes: int) -> Path:
    try:
        state.downloads.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=state.sources, prefix=".fetch-") as scratch:
            request = Request(state=state, mirror=mirror, scratch=Path(scratch), most_bytes=most_bytes)
            file = _FETCHERS[type(origin)](origin, request)
            return _keep(file, state, origin.sha256)
    except OSError as cause:
        raise MachineError(f"{state}: {cause.strerror}", hint="free some space, or use another --cache") from cause
