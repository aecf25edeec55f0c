"""The lock: what the builds of a suite use, exactly, in a file that is kept with the recipes.

A recipe pins its tarball; the lock pins what came out of it as well, the unpacked tree, and says from where. With a
lock for its suite, a build whose source is not what the lock says is refused.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from hapkg import disk
from hapkg.control import SourceName, Suite
from hapkg.disk import sha256_file
from hapkg.errors import IntegrityError
from hapkg.locations import read_toml
from hapkg.recipe.model import Recipe
from hapkg.recipe.upstream import PinnedFile, Sha256
from hapkg.records import digest_json
from hapkg.tables import Table, parse_table

if TYPE_CHECKING:  # at work it is needed where something is fetched
    from hapkg.source.fetch import Tarball

COMPARED = ("version", "sha256", "tree", "signer", "patches")


class LockedSource(Table):
    """One source in a lock."""

    version: str
    origin: str
    sha256: Sha256
    """Of the tarball."""
    tree: Sha256
    """Of the unpacked tree, see tree_digest()."""
    signer: str = ""
    """Whose signature was checked."""
    vcs: str = ""
    """Kind of the repository whose commit the tarball was packed from, if it was."""
    patches: Annotated[dict[str, Sha256], Field(default_factory=dict)]
    """Remote patches by name."""

    @model_validator(mode="before")
    @classmethod
    def _read_earlier_form(cls, table: Any) -> Any:
        """Locks without vcs tell it by the first word of origin alone."""
        first, _, rest = str(table.get("origin", "")).partition(" ") if isinstance(table, dict) else ("", "", "")
        return {"vcs": first, **table} if rest and first in ("git", "hg") else table


@dataclass(frozen=True, kw_only=True)
class Lock:
    """The sources locked for one suite."""

    file: Path
    sources: Mapping[SourceName, LockedSource]


def lock_file(root: Path, suite: Suite) -> Path:
    """Where a project keeps the lock of a suite."""
    return root / "locks" / f"{suite}.toml"


def read_lock(root: Path, suite: Suite) -> Lock | None:
    """The lock of a suite, or None where there is none. Raises IntegrityError for a damaged one."""
    file = lock_file(root, suite)
    if not file.exists():
        return None
    table = read_toml(file, IntegrityError)
    sources = {
        SourceName(name): parse_table(LockedSource, entry, where=f"{file} [{name}]", error=IntegrityError)
        for name, entry in table.items()
    }
    return Lock(file=file, sources=sources)


def write_lock(root: Path, suite: Suite, sources: Mapping[SourceName, LockedSource]) -> Path:
    """Write the lock of a suite, whole or not at all."""
    file = lock_file(root, suite)
    disk.replace(file, format_lock(suite, sources))
    return file


def format_lock(suite: Suite, sources: Mapping[SourceName, LockedSource]) -> bytes:
    """The content of a suite's lock. The same sources give the same bytes."""
    lines = [f"# What hapkg builds for {suite} from. Written by: hapkg lock --suite {suite}"]
    for name in sorted(sources):
        entry = sources[name]
        keys = ["version", "origin", "sha256", "tree", *(key for key in ("signer", "vcs") if getattr(entry, key))]
        lines += ["", f"[{_quote(name)}]"]
        lines += [f"{key} = {json.dumps(getattr(entry, key))}" for key in keys]
        if entry.patches:
            lines.append(f"[{_quote(name)}.patches]")
            lines += [f"{json.dumps(patch)} = {json.dumps(digest)}" for patch, digest in sorted(entry.patches.items())]
    return ("\n".join(lines) + "\n").encode()


def _quote(name: str) -> str:
    """A source's name as a key of TOML, which knows neither '.' nor '+' in a bare one."""
    return name if re.fullmatch(r"[a-z0-9-]+", name) else json.dumps(name)


def make_entry(recipe: Recipe, tarball: Tarball, tree: Path) -> LockedSource:
    """The lock's entry for a fetched source and its unpacked, unpatched tree."""
    pinned = (origin.describe() for origin in recipe.origins if origin.pin(recipe.upstream) == tarball.sha256)
    return LockedSource.model_validate(
        {
            "version": recipe.version,
            "origin": next(pinned, tarball.origin),
            "sha256": tarball.sha256,
            "tree": tree_digest(tree),
            "signer": tarball.signer,
            "vcs": tarball.vcs,
            "patches": {patch.name: patch.sha256 for patch in recipe.remote_patches},
        }
    )


def check_entry(lock: Lock, source: SourceName, found: LockedSource) -> None:
    """Compare what a build is about to use with the lock, where that has the source.

    Raises IntegrityError that names every difference.
    """
    if source not in lock.sources:
        return
    locked = lock.sources[source]
    # A repository's tarball is made here, and another zlib packs it differently: its tree is what counts.
    keys = ["version", "tree", "signer", "patches"] if found.vcs else list(COMPARED)
    differing = [
        f"{key}: locked {getattr(locked, key)}, found {getattr(found, key)}"
        for key in keys
        if getattr(locked, key) != getattr(found, key)
    ]
    _refuse(lock, source, differing)


def check_recipe(lock: Lock, recipe: Recipe) -> None:
    """Compare what a recipe asks for with the lock, where that has its source. Raises IntegrityError.

    The tree is not compared: only who unpacks it knows what it is.
    """
    if recipe.name not in lock.sources:
        return
    locked = lock.sources[recipe.name]
    patches = {patch.name: patch.sha256 for patch in recipe.remote_patches}
    pinned = sorted(origin.sha256 for origin in recipe.origins if isinstance(origin, PinnedFile))
    differing = [
        f"{key}: locked {was}, the recipe has {now}"
        for key, was, now in (("version", locked.version, recipe.version), ("patches", locked.patches, patches))
        if was != now
    ]
    if pinned and locked.sha256 not in pinned and not locked.vcs:
        differing.append(f"sha256: locked {locked.sha256}, the recipe pins {', '.join(pinned)}")
    _refuse(lock, recipe.name, differing)


def _refuse(lock: Lock, source: SourceName, differing: Sequence[str]) -> None:
    if differing:
        raise IntegrityError(
            f"{source} is not what {lock.file} says",
            details=differing,
            hint=f"if the change is meant, run: hapkg lock {source}",
        )


def tree_digest(tree: Path) -> str:
    """sha256 over every file and link below a folder: path, kind, whether it is executable, content or target."""
    entries: list[tuple[str, str, str]] = []
    for parent, folders, names in os.walk(tree):
        for name in (*names, *(folder for folder in folders if (Path(parent) / folder).is_symlink())):
            path = Path(parent) / name
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                entry = ("link", str(path.readlink()))
            elif not stat.S_ISREG(mode):
                entry = ("special", "")
            else:
                entry = ("program" if mode & stat.S_IXUSR else "file", sha256_file(path))
            entries.append((str(path.relative_to(tree)), *entry))
    return digest_json(sorted(entries))
