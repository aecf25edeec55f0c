"""The rules of the private prefix, checked on every finished package. docs/prefix.md explains each.

* nothing, not even an empty folder, lies outside the prefix but what the recipe declares (and a package's own
  documentation);
* every ELF file finds its private libraries by RUNPATH;
* no libtool archive, byte code, setuid or world-writable file.
"""

from __future__ import annotations

import fnmatch
import re
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hapkg import command
from hapkg.errors import BuildError
from hapkg.recipe import Package, Recipe

_ELF = b"\x7fELF"
_RUNPATH = re.compile(r"\((?P<tag>RUNPATH|RPATH)\).*\[(?P<path>[^\]]*)\]")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One broken rule."""

    package: str
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.package}: {self.path}: {self.text}"


def check_packages(recipe: Recipe, folder: Path, prefix: str) -> None:
    """Check the .debs of one build in a folder. Raises BuildError that names every fault."""
    faults: list[Fault] = []
    for deb in sorted(folder.glob("*.deb")):
        name = deb.name.split("_")[0]
        package = next((package for package in recipe.packages if package.package == name), None)
        if package is not None:
            faults.extend(_check_package(package, deb, prefix))
        elif not name.endswith("-dbgsym"):  # debug symbols have a layout of their own, which lintian knows
            faults.append(Fault(package=name, path=deb.name, text="is a package that recipe.toml does not describe"))
    if faults:
        raise BuildError(
            f"{recipe.source}: {len(faults)} file(s) break the rules of the prefix",
            details=map(str, faults),
            hint="declare a file that must lie outside in recipe.toml, outside-prefix; docs/prefix.md has the rules",
        )


def _check_package(package: Package, deb: Path, prefix: str) -> Iterator[Fault]:
    with tempfile.TemporaryFile() as stream, tempfile.TemporaryDirectory() as scratch:
        command.run(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=stream)
        stream.seek(0)
        with tarfile.open(fileobj=stream) as archive:
            members = {member.name.removeprefix("."): member for member in archive}
            filled = {str(folder) for path in members for folder in PurePosixPath(path).parents}
            for path, member in members.items():
                if path in filled or not path:
                    continue
                for text in _check_member(package, member, path, prefix):
                    yield Fault(package=package.package, path=path, text=text)
                if member.isfile() and (content := archive.extractfile(member)) and content.read(4) == _ELF:
                    content.seek(0)
                    file = Path(scratch) / "elf"
                    file.write_bytes(content.read())
                    if (broken := _check_elf(file, prefix)) is not None:
                        yield Fault(package=package.package, path=path, text=broken)


def _check_member(package: Package, member: tarfile.TarInfo, path: str, prefix: str) -> Iterator[str]:
    own = (f"/usr/share/doc/{package.package}/*", f"/usr/share/lintian/overrides/{package.package}")
    allowed = (f"{prefix}/*", *own, *(f"/{pattern}" for pattern in package.outside_prefix))
    if not any(fnmatch.fnmatch(path, pattern) for pattern in allowed):
        yield f"lies outside {prefix} and is not declared"
    if path.endswith(".la"):
        yield "is a libtool archive"
    if "__pycache__" in path or path.endswith(".pyc"):
        yield "is byte code"
    if member.isfile() and member.mode & (stat.S_ISUID | stat.S_ISGID):
        yield "is setuid or setgid"
    if member.isfile() and member.mode & stat.S_IWOTH:
        yield "is writable by everybody"


def _check_elf(file: Path, prefix: str) -> str | None:
    result = command.run(["readelf", "--dynamic", "--wide", str(file)], check=False)
    dynamic = result.output
    if result.status != 0:
        return "cannot be read by readelf"
    if "(NEEDED)" not in dynamic:
        return None  # static, or a relocatable object: it loads nothing
    found = _RUNPATH.search(dynamic)
    if found is None:
        return f"has no RUNPATH {prefix}/lib"
    if found["tag"] != "RUNPATH" or f"{prefix}/lib" not in found["path"].split(":"):
        return f"has {found['tag']} {found['path']} instead of RUNPATH {prefix}/lib"
    return None
