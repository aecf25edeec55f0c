"""Upstream code, patches and debian/ become a source package: .dsc, orig tarball, debian tarball."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hapkg import disk
from hapkg.control import read_file_names
from hapkg.errors import ProcessError, SourceError
from hapkg.programs import confinement
from hapkg.recipe.debian_folder import DebianFolder
from hapkg.recipe.model import Recipe
from hapkg.source.fetch import Tarball
from hapkg.source.unpack import unpack

_MAKE = """set -e
dpkg-source --before-build "$1"
find "$1/debian" -type d -exec chmod 755 {} +
chmod 755 "$1"
find "$1/debian" -depth -exec touch -h -d "@$2" {} +
touch -d "@$2" "$1"
dpkg-source --build "$1"
"""
"""Patches the tree $1 and packs it. What hapkg wrote gets modes and times that are the same everywhere: dpkg-source
keeps the folders' modes, which the umask decides, and only cuts times down, while a recipe's date $2 may lie ahead."""


@dataclass(frozen=True, kw_only=True)
class SourcePackage:
    """A source package on disk."""

    dsc: Path
    files: tuple[Path, ...]
    """The .dsc and every file it names."""
    debian: Mapping[str, bytes]
    """Files of its debian/, by path there."""


def make_source_package(
    recipe: Recipe,
    debian: DebianFolder,
    tarball: Tarball | None,
    *,
    version: str,
    target: Path,
    inspect: Callable[[Path], None] = lambda tree: None,
) -> SourcePackage:
    """Write the source package into the folder target, which must not exist or be what lay_out() made of it.

    tarball is None for a native one. inspect is that of lay_out().

    Raises SourceError when the tarball cannot be unpacked or a patch does not apply.
    """
    tree = target / f"{recipe.source}-{recipe.version}"
    if not target.exists():
        lay_out(recipe, tarball, target=target, inspect=inspect)
    debian.write(tree / "debian")
    date = str(recipe.source_date_epoch)
    try:
        argv = ["sh", "-c", _MAKE, "sh", tree.name, date]
        confinement.run(argv, writable=target, environment={"SOURCE_DATE_EPOCH": date})
    except ProcessError as error:
        raise _describe_failure(recipe, error) from error
    disk.remove_tree(tree)
    dsc = target / f"{recipe.source}_{version}.dsc"
    if not dsc.exists():
        raise SourceError(f"{recipe.source}: dpkg-source wrote no {dsc.name}")
    files = (dsc, *(target / name for name in read_file_names(dsc)))
    return SourcePackage(dsc=dsc, files=files, debian=debian.files)


def lay_out(
    recipe: Recipe, tarball: Tarball | None, *, target: Path, inspect: Callable[[Path], None] = lambda tree: None
) -> None:
    """Put upstream's code into the folder target, which must not exist: the part of the work that needs no debian/.

    inspect is shown upstream's tree before anything is done to it, and may refuse it by raising.
    """
    tree = target / f"{recipe.source}-{recipe.version}"
    tree.mkdir(parents=True)
    if tarball is not None:
        orig = target / f"{recipe.source}_{recipe.version}.orig{tarball.suffix}"
        shutil.copyfile(tarball.path, orig)
        unpack(recipe, orig, tree)
        inspect(tree)
        _drop_packaging(tree)


def _drop_packaging(tree: Path) -> None:
    """Remove the packaging that upstream may have put into its tree: it would mix with ours."""
    packaging = tree / "debian"
    if packaging.is_dir() and not packaging.is_symlink():
        disk.remove_tree(packaging)
    else:
        packaging.unlink(missing_ok=True)


def _describe_failure(recipe: Recipe, error: ProcessError) -> SourceError:
    failed = re.findall(r"/debian/patches/(\S+) subprocess returned", "\n".join(error.details))
    if not failed:
        return SourceError(f"{recipe.source}: dpkg-source cannot make the source package", details=error.details)
    patch = recipe.folder / "patches" / failed[-1]
    return SourceError(
        f"{recipe.source}: patch {patch.name} does not apply to version {recipe.version}",
        details=error.details,
        hint=f"refresh {patch}, or remove it from series if upstream has taken it"
        if patch.name in [own.name for own in recipe.patches]
        else "pin the patch for this version in recipe.toml, [[remote-patches]], or remove it",
    )
