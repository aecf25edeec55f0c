"""Results of a build, taken by the names that recipe and version give, as regular files alone.

Code of others has made these files, and whatever it likes beside them. It chooses neither a name, nor a kind, nor a
mode of what is written on the host.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hapkg.chroot.base import BUILD_FOLDER
from hapkg.chroot.conditions import RESULTS
from hapkg.chroot.sessions import Session
from hapkg.control import split_stanzas
from hapkg.errors import BuildError, ProcessError
from hapkg.programs import confinement

LARGEST = 8 << 30
"""Bytes that all results of one build may have together."""
_BLOCK = 1 << 20
_HINT = (
    "look into the source: what it builds and installs leaves other files in the build folder than Debian's tools do"
)


@dataclass(frozen=True, kw_only=True)
class Results:
    """Files that a build gives. Control fields of the packages are those of this table."""

    source: str
    version: str
    architecture: str
    """That of the machine: of the .changes file, and of packages for any."""
    packages: Mapping[str, str]
    """Binary packages that the recipe describes: "any" or "all", by name."""

    @property
    def debs(self) -> dict[str, tuple[str, str]]:
        """Package and architecture by file name, of what must be there."""
        found = {}
        for name, kind in self.packages.items():
            architecture = "all" if kind == "all" else self.architecture
            found[f"{name}_{self.version}_{architecture}.deb"] = (name, architecture)
        return found

    @property
    def debug_debs(self) -> dict[str, tuple[str, str]]:
        """Package and architecture by file name, of debug symbols: there may be some for each compiled package."""
        return {
            f"{name}-dbgsym_{self.version}_{self.architecture}.deb": (f"{name}-dbgsym", self.architecture)
            for name, kind in self.packages.items()
            if kind != "all"
        }

    @property
    def papers(self) -> tuple[str, ...]:
        """The .buildinfo and .changes file."""
        stem = f"{self.source}_{self.version}_{self.architecture}"
        return (f"{stem}.buildinfo", f"{stem}.changes")


def collect(session: Session, results: Results, target: Path) -> None:
    """Bring the results of a build into an empty folder. Raises BuildError for another name, kind or control field."""
    names = _find_names(session, results)
    with tempfile.TemporaryFile(dir=target) as archive:
        limit = f"--fsize={LARGEST}"
        session.run(["prlimit", limit, "tar", "-c", "-C", BUILD_FOLDER, "--", *names], stdout=archive)
        archive.seek(0)
        unpack(archive, names, target, results.source)
    check_fields(target, results)


def choose_names(listing: bytes, results: Results) -> list[str]:
    """The names to take of those in a listing, each ended by a zero byte. Raises BuildError for others or too few."""
    found = {os.fsdecode(name) for name in listing.split(b"\0") if name}
    required = {*results.debs, *results.papers}
    if foreign := sorted(found - required - results.debug_debs.keys()):
        raise BuildError(
            f"{results.source}: the build leaves {foreign[0]!a}, which is no package that recipe.toml describes",
            details=[f"also: {name!a}" for name in foreign[1:10]],
            hint="describe the package in recipe.toml, or let the build not make it",
        )
    if missing := sorted(required - found):
        raise BuildError(
            f"{results.source}: the build does not make {missing[0]}",
            details=[f"also: {name}" for name in missing[1:]],
            hint="recipe.toml describes each package that the build makes; see the log",
        )
    return sorted(found)


def unpack(archive: IO[bytes], names: list[str], target: Path, source: str) -> None:
    """Write the members of an archive, which are to be regular files of these names. Raises BuildError for another."""
    wanted = set(names)
    folder = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with tarfile.open(fileobj=archive, mode="r|") as members:
            for member in members:
                if member.name not in wanted:
                    raise BuildError(f"{source}: the build hands out {member.name!a} unasked", hint=_HINT)
                content = members.extractfile(member) if member.isreg() and not member.issparse() else None
                if content is None:
                    raise BuildError(f"{source}: {member.name} is {_name_kind(member)}, and no file", hint=_HINT)
                wanted.remove(member.name)
                _write(folder, member.name, content)
    except tarfile.TarError as error:
        raise BuildError(f"{source}: what the build made cannot be read: {error}", hint=_HINT) from error
    finally:
        os.close(folder)
    if wanted:
        raise BuildError(f"{source}: {min(wanted)} vanished while it was read", hint=_HINT)


def check_fields(folder: Path, results: Results) -> None:
    """Compare the control fields of each package with what was asked for. Raises BuildError that names all others."""
    faults = []
    for file, (package, architecture) in sorted({**results.debs, **results.debug_debs}.items()):
        if not (folder / file).exists():
            continue
        right = {"Package": package, "Version": results.version, "Architecture": architecture, "Source": results.source}
        try:
            argv = ["dpkg-deb", "--field", str(folder / file), *right]
            fields = confinement.run(argv, readable=[folder / file]).output
            found = {"Source": package, **next(split_stanzas(fields), {})}
        except (ProcessError, KeyError) as error:
            faults.append(f"{file} is no package: {error}")
            continue
        name, _, version = found["Source"].partition(" ")
        found["Source"] = name if version in ("", f"({results.version})") else found["Source"]
        faults += [
            f"{file} says {field}: {found.get(field, '')[:100]!a}, not {value}"
            for field, value in right.items()
            if found.get(field) != value
        ]
    if faults:
        raise BuildError(
            f"{results.source}: {faults[0]}",
            details=[f"also: {fault}" for fault in faults[1:]],
            hint="debian/rules and what it calls must not change these fields: apt trusts them",
        )


def _find_names(session: Session, results: Results) -> list[str]:
    with tempfile.TemporaryFile() as listing:
        find = ["find", BUILD_FOLDER, "-mindepth", "1", "-maxdepth", "1", *RESULTS, "-printf", r"%f\0"]
        session.run(["prlimit", f"--fsize={_BLOCK}", *find], stdout=listing)
        listing.seek(0)
        return choose_names(listing.read(_BLOCK + 1), results)


def _write(folder: int, name: str, content: IO[bytes]) -> None:
    """Write a new file, mode 0644 whatever the umask says."""
    made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    with open(made, "wb") as file:  # noqa: PTH123 - a descriptor
        while block := content.read(_BLOCK):
            file.write(block)
        os.fchmod(made, 0o644)


def _name_kind(member: tarfile.TarInfo) -> str:
    kinds = {
        "a symbolic link": member.issym(),
        "a hard link": member.islnk(),
        "a folder": member.isdir(),
        "a FIFO": member.isfifo(),
        "a device": member.isdev(),
        "sparse": member.issparse(),
    }
    return next((kind for kind, so in kinds.items() if so), "of an odd kind")
