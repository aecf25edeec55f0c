"""The lock of a suite's base chroot: it and every build dependency, by version and sha256, kept with the recipes.

With it, the base is made of exactly these packages, and builds find no others, whatever the archive has by now.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, unquote

from pydantic import Field

from hapkg import disk
from hapkg.apt.mirror import Mirror
from hapkg.chroot.archives import Archive
from hapkg.chroot.pinned import digest_archives
from hapkg.control import Suite, is_package_name
from hapkg.errors import FetchError, IntegrityError
from hapkg.locations import read_toml
from hapkg.tables import Table, parse_table

_POOL = re.compile(r".*/(pool/.+)")
_SECURITY = "pool/updates/"
"""How paths of Debian's security archive begin."""


class LockedPackage(Table):
    """One package in a lock."""

    version: Annotated[str, Field(pattern=r"^([0-9]+:)?[0-9][A-Za-z0-9.+~-]*$")]
    path: Annotated[str, Field(pattern=r"^pool(/[a-zA-Z0-9][A-Za-z0-9+.~_-]*)+\.deb$")]
    """Below the archive's address."""
    bytes: Annotated[int, Field(ge=1, le=4 << 30)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, kw_only=True)
class BaseLock:
    """The packages that a suite is built with."""

    suite: Suite
    architecture: str
    base: Mapping[str, LockedPackage]
    """Those that are installed in the base chroot."""
    depends: Mapping[str, LockedPackage]
    """Those that builds install over it."""

    @property
    def packages(self) -> Mapping[str, LockedPackage]:
        """Packages of the base chroot and of build dependencies."""
        return {**self.base, **self.depends}

    @property
    def digest(self) -> str:
        """One digest of all packages: their names, versions and bytes."""
        return digest_archives(self.locate(None))

    def locate(self, mirror: Mirror | None) -> dict[str, Archive]:
        """The files of all packages, with their addresses in an archive; without one they must be there already."""
        return {name: _locate(name, package, mirror) for name, package in self.packages.items()}


def find_base_lock(root: Path, suite: Suite) -> Path:
    """Where a project keeps the lock of a suite's base."""
    return root / "locks" / f"{suite}.base.toml"


def read_base_lock(root: Path, suite: Suite, architecture: str) -> BaseLock | None:
    """The lock of a suite's base, or None where there is none.

    Raises IntegrityError for a damaged one, or for that of another suite or architecture.
    """
    file = find_base_lock(root, suite)
    if not file.exists():
        return None
    table = read_toml(file, IntegrityError)
    for key, own in (("suite", suite), ("architecture", architecture)):
        if table.get(key) != own:
            raise IntegrityError(
                f"{file} is the lock of {key} {str(table.get(key))[:50]!a}, and not of {own}",
                hint=f"remove it, build, and run: hapkg lock --base --suite {suite}",
            )
    sections = {}
    for section in ("base", "depends"):
        entries = table.pop(section, None)
        if not isinstance(entries, dict) or not all(
            is_package_name(name) and isinstance(entry, dict) for name, entry in entries.items()
        ):
            raise IntegrityError(
                f"{file} has no table [{section}] of packages", hint="restore it from the history of the project"
            )
        sections[section] = {
            name: parse_table(LockedPackage, entry, where=f"{file} [{section}] {name}", error=IntegrityError)
            for name, entry in entries.items()
        }
    return BaseLock(suite=suite, architecture=architecture, base=sections["base"], depends=sections["depends"])


def write_base_lock(root: Path, lock: BaseLock) -> Path:
    """Write the lock of a suite's base, whole or not at all."""
    file = find_base_lock(root, lock.suite)
    disk.replace(file, format_base_lock(lock))
    return file


def format_base_lock(lock: BaseLock) -> bytes:
    """The content of a lock: a line for each package. The same packages give the same bytes."""
    lines = [
        f"# Packages that hapkg builds {lock.suite} with. Written by: hapkg lock --base --suite {lock.suite}",
        f"suite = {json.dumps(lock.suite)}",
        f"architecture = {json.dumps(lock.architecture)}",
    ]
    for section, packages in (("base", lock.base), ("depends", lock.depends)):
        lines += ["", f"[{section}]"]
        for name, package in sorted(packages.items()):
            key = name if re.fullmatch(r"[a-z0-9-]+", name) else json.dumps(name)
            pairs = ", ".join(f"{key} = {json.dumps(value)}" for key, value in package.model_dump().items())
            lines.append(f"{key} = {{ {pairs} }}")
    return ("\n".join(lines) + "\n").encode()


def make_entry(archive: Archive, known: Mapping[str, str]) -> LockedPackage:
    """The lock's entry for a package; known are paths in the archive by sha256, of the lock before.

    Raises FetchError for a package of which nobody knows a path in an archive.
    """
    path = _POOL.fullmatch(archive.uri)
    found = unquote(path[1]) if path else known.get(archive.sha256)
    if found is None:
        raise FetchError(
            f"{archive.uri} is no address in an archive with a pool", hint="make the base chroot from one: --mirror URL"
        )
    return LockedPackage(version=archive.version, path=found, bytes=archive.bytes, sha256=archive.sha256)


def _locate(name: str, package: LockedPackage, mirror: Mirror | None) -> Archive:
    architecture = package.path.removesuffix(".deb").rpartition("_")[2]
    uri = ""
    if mirror is not None:
        site = (mirror.security if package.path.startswith(_SECURITY) else None) or mirror.uri or ""
        uri = f"{site.rpartition('] ')[2].rstrip('/')}/{quote(package.path, safe='/~')}"
    return Archive(
        version=package.version,
        file=f"{name}_{package.version.replace(':', '%3a')}_{architecture}.deb",
        uri=uri,
        bytes=package.bytes,
        sha256=package.sha256,
    )
