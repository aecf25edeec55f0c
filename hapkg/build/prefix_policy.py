"""The rules of the private prefix, checked on every finished package. docs/prefix.md explains each.

* nothing, not even an empty folder, lies outside the prefix but what the recipe declares (and a package's own
  documentation);
* every ELF file finds its private libraries by RUNPATH;
* what it needs of libraries, linked or loaded by name (dlopen), comes with its package; what is the stack's, in the
  stack's version;
* no libtool archive, byte code, setuid file, nothing world-writable, and nothing that names the folder of the build.
"""

from __future__ import annotations

import contextlib
import fnmatch
import mmap
import re
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from hapkg.chroot.base import BUILD_FOLDER
from hapkg.control import parse_relation_names
from hapkg.deb import BLOCK, read_deb_control, read_members
from hapkg.errors import BuildError
from hapkg.programs import confinement
from hapkg.recipe.model import Package, Recipe
from hapkg.text import printable

_ELF = b"\x7fELF"
_READ = r"""for file; do readelf --dynamic --dyn-syms --wide "$file" 2>&1; printf '\0%d\0' "$?"; done"""
"""A script that ends what readelf says of each file, and its status, with a zero byte."""
_LOADED = re.compile(rb"(?<=\0)(?P<folder>/[A-Za-z0-9_+./-]*/)?(?P<name>lib[A-Za-z0-9_+-]+\.so(?:\.[0-9]+)*)(?=\0)")
_LOADS = re.compile(r" (dlm?open|lt_dlopen\w*|g_module_open\w*)(@|$)", re.MULTILINE)
"""An ELF file that asks for one of these opens libraries by name, by libc, libltdl or GLib."""
_NEEDED = re.compile(r"\(NEEDED\) .*\[(\S+)\]")
_OWN_NAME = re.compile(r"\(SONAME\) .*\[(\S+)\]")
_RUNPATH = re.compile(r"\((?P<tag>RUNPATH|RPATH)\).*\[(?P<path>[^\]]*)\]")


@dataclass(frozen=True, kw_only=True)
class PolicyViolation:
    """One broken rule."""

    package: str
    path: str
    text: str

    def __str__(self) -> str:
        return printable(f"{self.package}: {self.path}: {self.text}")


@dataclass(frozen=True, kw_only=True)
class _Elf:
    """Libraries that an ELF file uses; needed is None where readelf cannot read it."""

    needed: frozenset[str] | None = None
    own_names: frozenset[str] = frozenset()
    runpath: tuple[str, str] | None = None
    """The tag, RUNPATH or RPATH, and its folders."""
    loads: bool = False
    loaded: frozenset[tuple[str, str]] = frozenset()
    """Folder ("" for none) and name of libraries that it may open by name."""


@dataclass(frozen=True, kw_only=True)
class _File:
    """One member of a package."""

    path: str
    member: tarfile.TarInfo
    names_build_folder: bool
    image: str = ""
    """Name of its copy in the scratch folder, if it is an ELF file."""
    elf: _Elf | None = None


@dataclass(frozen=True, kw_only=True)
class _Surroundings:
    """Facts by which the files of a package are judged."""

    prefix: str
    build_folder: str
    libraries: Mapping[str, str]
    """File names of the stack's libraries, and the package of each."""
    system: Mapping[str, frozenset[str]]
    """File names of all libraries that the build saw, and the packages that have them."""
    depends: frozenset[str]
    """The package itself and what is installed with it always."""
    recommends: frozenset[str]

    def knows(self, soname: str) -> bool:
        """Test for a library that some package has, in this version or, of the stack, in another."""
        return soname in self.libraries or soname in self.system or self.find_release(soname) is not None

    def find_release(self, soname: str) -> str | None:
        """Another version of a library that the stack has, if it has one."""
        stem = soname.partition(".so")[0]
        return next((name for name in sorted(self.libraries) if name.startswith(f"{stem}.so.")), None)


def check_packages(
    recipe: Recipe,
    folder: Path,
    prefix: str,
    stack_debs: Sequence[Path] = (),
    *,
    system: Mapping[str, frozenset[str]],
) -> None:
    """Check the .debs of one build in a folder. Raises BuildError that names every violation.

    stack_debs are the stack's packages that the build could see; system has the file names of all libraries that were
    installed when it ended, and the packages of each.
    """
    packages = _read_packages(sorted(folder.glob("*.deb")), f"{BUILD_FOLDER}/{recipe.source}", folder.parent)
    names = {deb: _list_paths(deb) for deb in stack_debs if "-dbgsym_" not in deb.name}
    names |= {deb: [file.path for file in files] for deb, files in packages.items() if "-dbgsym_" not in deb.name}
    libraries = {
        library: str(_read_control(deb)["Package"])
        for deb, paths in names.items()
        for library in _list_libraries(paths, prefix)
    }
    violations: list[PolicyViolation] = []
    for deb, files in packages.items():
        name = deb.name.split("_")[0]
        package = next((package for package in recipe.packages if package.package == name), None)
        if package is not None:
            surroundings = _describe_surroundings(recipe, deb, prefix, libraries, system)
            violations.extend(_check_package(package, files, surroundings))
        elif not name.endswith("-dbgsym"):  # debug symbols have a layout of their own, which lintian knows
            violations.append(
                PolicyViolation(package=name, path=deb.name, text="is a package that recipe.toml does not describe")
            )
    if violations:
        raise BuildError(
            f"{recipe.source}: {len(violations)} file(s) break the rules of the prefix",
            details=map(str, violations),
            hint="declare a file that must lie outside in recipe.toml, outside-prefix; docs/prefix.md has the rules",
        )


def _describe_surroundings(
    recipe: Recipe, deb: Path, prefix: str, libraries: Mapping[str, str], system: Mapping[str, frozenset[str]]
) -> _Surroundings:
    control = _read_control(deb)
    own = deb.name.split("_")[0]
    return _Surroundings(
        prefix=prefix,
        build_folder=f"{BUILD_FOLDER}/{recipe.source}",
        libraries=libraries,
        system=system,
        depends=frozenset({own, *_read_names(control, "Pre-Depends"), *_read_names(control, "Depends")}),
        recommends=frozenset(_read_names(control, "Recommends")),
    )


def _read_names(control: Mapping[str, str], field: str) -> list[str]:
    return [name for alternatives in parse_relation_names(control.get(field, "")) for name in alternatives]


def _list_libraries(paths: Iterable[str], prefix: str) -> list[str]:
    """File names, links included, of libraries where RUNPATH leads."""
    return [
        path.name for path in map(PurePosixPath, paths) if str(path.parent) == f"{prefix}/lib" and ".so" in path.name
    ]


def _list_paths(deb: Path) -> list[str]:
    return [member.name.removeprefix(".") for member, _ in _read_data(deb)]


def _read_control(deb: Path) -> Mapping[str, str]:
    try:
        return read_deb_control(deb)
    except ValueError as error:
        raise BuildError(str(error)) from error


def _read_data(deb: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    try:
        yield from read_members(deb, "data")
    except ValueError as error:
        raise BuildError(str(error)) from error


def _read_packages(debs: Sequence[Path], build_folder: str, scratch: Path) -> dict[Path, list[_File]]:
    """The members of packages and what their contents say. Raises BuildError for a damaged package."""
    with tempfile.TemporaryDirectory(prefix="elf-", dir=scratch) as made:
        images = Path(made)
        packages = {deb: _read_package(deb, build_folder, images) for deb in debs}
        elfs = _read_elfs(images)
        return {deb: [replace(file, elf=elfs.get(file.image)) for file in files] for deb, files in packages.items()}


def _read_package(deb: Path, build_folder: str, images: Path) -> list[_File]:
    """The members of a package. ELF files are copied into the folder of images."""
    files: list[_File] = []
    for member, content in _read_data(deb):
        named, image = False, ""
        with contextlib.ExitStack() as stack:
            block, last, out = content.read(BLOCK) if content else b"", b"", None
            if block.startswith(_ELF):
                image = f"{deb.name}-{len(files)}"
                out = stack.enter_context((images / image).open("wb"))
            while content and block:
                named = named or build_folder.encode() in last + block
                last = block[-len(build_folder) :]
                if out:
                    out.write(block)
                block = content.read(BLOCK)
        path = member.name.removeprefix(".")
        files.append(_File(path=path, member=member, names_build_folder=named, image=image))
    return files


def _read_elfs(images: Path) -> dict[str, _Elf]:
    """Facts about each ELF file of a folder, by name. Raises BuildError where readelf does not come to its end."""
    names = sorted(file.name for file in images.iterdir())
    if not names:
        return {}
    for path in (images, *images.iterdir()):
        path.chmod(0o755)  # for the user that readelf is
    files = [str(images / name) for name in names]
    told = confinement.run(["sh", "-c", _READ, "sh", *files], readable=[images], check=False).output.split("\0")
    if len(told) != 2 * len(names) + 1:
        raise BuildError("readelf ends early", details=told[-1].splitlines()[-3:], hint="look at the ELF files built")
    return {
        name: _read_elf(images / name, dynamic) if status == "0" else _Elf()
        for name, dynamic, status in zip(names, told[::2], told[1::2], strict=False)
    }


def _read_elf(file: Path, dynamic: str) -> _Elf:
    found = _RUNPATH.search(dynamic)
    loads = _LOADS.search(dynamic) is not None
    loaded: frozenset[tuple[str, str]] = frozenset()
    if loads:
        # The linker and dpkg-shlibdeps do not see what a program asks for by name while it runs.
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            matches = _LOADED.finditer(content)
            loaded = frozenset(((match["folder"] or b"").decode(), match["name"].decode()) for match in matches)
    return _Elf(
        needed=frozenset(_NEEDED.findall(dynamic)),
        own_names=frozenset(_OWN_NAME.findall(dynamic)),
        runpath=(found["tag"], found["path"]) if found else None,
        loads=loads,
        loaded=loaded,
    )


def _check_package(package: Package, files: Sequence[_File], surroundings: _Surroundings) -> Iterator[PolicyViolation]:
    filled = {str(folder) for file in files for folder in PurePosixPath(file.path).parents}
    for file in files:
        for text in _check_file(package, file, surroundings, filled=file.path in filled or not file.path):
            yield PolicyViolation(package=package.package, path=file.path or "/", text=text)


def _check_file(package: Package, file: _File, surroundings: _Surroundings, *, filled: bool) -> Iterator[str]:
    if file.member.isdir() and file.member.mode & stat.S_IWOTH:
        yield "is a folder writable by everybody"
    if filled:
        return
    yield from _check_member(package, file.member, file.path, surroundings)
    if file.names_build_folder:
        yield f"names {surroundings.build_folder}, where it was built"
    if file.elf is not None:
        yield from _check_elf(file.elf, surroundings)


def _check_member(package: Package, member: tarfile.TarInfo, path: str, surroundings: _Surroundings) -> Iterator[str]:
    prefix = surroundings.prefix
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
    if member.issym() and surroundings.build_folder in member.linkname:
        yield f"is a link to {member.linkname}, where it was built"


def _check_elf(elf: _Elf, surroundings: _Surroundings) -> Iterator[str]:
    if elf.needed is None:
        yield "cannot be read by readelf"
        return
    if not elf.needed and not elf.loads:
        return  # static, or a relocatable object: it loads nothing
    wanted = f"{surroundings.prefix}/lib"
    if elf.runpath is None:
        yield f"has no RUNPATH {wanted}"
    elif elf.runpath[0] != "RUNPATH" or wanted not in elf.runpath[1].split(":"):
        yield f"has {elf.runpath[0]} {elf.runpath[1]} instead of RUNPATH {wanted}"
    for soname in sorted(elf.needed):
        yield from _check_library(soname, "is linked to", surroundings, surroundings.depends)
        if not surroundings.knows(soname):
            yield f"is linked to {soname}, which no package has that the build could see"
    yield from _check_loaded(elf.loaded, elf.needed | elf.own_names, surroundings)


def _check_loaded(
    loaded: frozenset[tuple[str, str]], known: frozenset[str], surroundings: _Surroundings
) -> Iterator[str]:
    """Violations by the libraries that a file loads by name; known are those it is linked to.

    A program may try libone.so as well as libone.so.1: only the latter is a name for users of a library.
    """
    own = f"{surroundings.prefix}/lib/"
    versioned = {name.rpartition(".so.")[0] + ".so" for name in known | {name for _, name in loaded} if ".so." in name}
    for folder, soname in sorted(loaded):
        if not folder and soname in versioned:
            continue
        if folder not in ("", own):
            if soname in surroundings.libraries:
                yield f"loads {folder}{soname} instead of {own}{soname}"
        elif soname not in known:
            yield from _check_library(soname, "loads", surroundings, surroundings.depends | surroundings.recommends)
            if folder == own and soname not in surroundings.libraries and not surroundings.find_release(soname):
                yield f"loads {folder}{soname}, which no package of the stack has"


def _check_library(soname: str, verb: str, surroundings: _Surroundings, present: frozenset[str]) -> Iterator[str]:
    """Violations by the use of a library, if a package is known that has it."""
    owner = surroundings.libraries.get(soname)
    owners = frozenset({owner}) if owner else surroundings.system.get(soname, frozenset())
    if owner is None and (other := surroundings.find_release(soname)) is not None:
        yield f"{verb} {soname}, but the stack has {other}"
    elif owners and not owners & present:
        yield f"{verb} {soname} of {' or '.join(sorted(owners))}, which its package neither depends on nor recommends"
