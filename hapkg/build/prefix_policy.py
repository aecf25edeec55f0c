"""The rules of the private prefix, checked on every finished package. docs/prefix.md explains each.

* nothing, not even an empty folder, lies outside the prefix but what the recipe declares (and a package's own
  documentation);
* every ELF file finds its private libraries by RUNPATH;
* what it needs of libraries, linked or loaded by name (dlopen), comes with its package; what is the stack's, in the
  stack's version;
* no libtool archive, byte code, setuid file, nothing world-writable, and nothing that names the folder of the build.
"""

from __future__ import annotations

import fnmatch
import re
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hapkg import process
from hapkg.chroot.base import BUILD_FOLDER
from hapkg.control import parse_relation_names, read_deb_control
from hapkg.errors import BuildError
from hapkg.recipe.model import Package, Recipe

_ELF = b"\x7fELF"
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
        return f"{self.package}: {self.path}: {self.text}"


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
    """Check the .debs of one build in a folder. Raises BuildError that names every fault.

    stack_debs are the stack's packages that the build could see; system has the file names of all libraries that were
    installed when it ended, and the packages of each.
    """
    violations: list[PolicyViolation] = []
    debs = sorted(folder.glob("*.deb"))
    libraries = {
        name: str(read_deb_control(deb)["Package"])
        for deb in (*stack_debs, *debs)
        if "-dbgsym_" not in deb.name
        for name in _list_libraries(deb, prefix)
    }
    for deb in debs:
        name = deb.name.split("_")[0]
        package = next((package for package in recipe.packages if package.package == name), None)
        if package is not None:
            control = read_deb_control(deb)
            surroundings = _Surroundings(
                prefix=prefix,
                build_folder=f"{BUILD_FOLDER}/{recipe.source}",
                libraries=libraries,
                system=system,
                depends=frozenset({name, *_read_names(control, "Pre-Depends"), *_read_names(control, "Depends")}),
                recommends=frozenset(_read_names(control, "Recommends")),
            )
            violations.extend(_check_package(package, deb, surroundings))
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


def _read_names(control: Mapping[str, str], field: str) -> list[str]:
    return [name for alternatives in parse_relation_names(control.get(field, "")) for name in alternatives]


def _list_libraries(deb: Path, prefix: str) -> list[str]:
    """File names, links included, of the libraries that a package puts where RUNPATH leads."""
    with tempfile.TemporaryFile() as stream:
        process.run(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=stream)
        stream.seek(0)
        with tarfile.open(fileobj=stream) as archive:
            paths = [PurePosixPath(member.name.removeprefix(".")) for member in archive]
    return [path.name for path in paths if str(path.parent) == f"{prefix}/lib" and ".so" in path.name]


def _check_package(package: Package, deb: Path, surroundings: _Surroundings) -> Iterator[PolicyViolation]:
    with tempfile.TemporaryFile() as stream, tempfile.TemporaryDirectory() as scratch:
        process.run(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=stream)
        stream.seek(0)
        with tarfile.open(fileobj=stream) as archive:
            members = {member.name.removeprefix("."): member for member in archive}
            filled = {str(folder) for path in members for folder in PurePosixPath(path).parents}
            for path, member in members.items():
                if member.isdir() and member.mode & stat.S_IWOTH:
                    yield PolicyViolation(
                        package=package.package, path=path or "/", text="is a folder writable by everybody"
                    )
                if path in filled or not path:
                    continue
                for text in _check_member(package, member, path, surroundings):
                    yield PolicyViolation(package=package.package, path=path, text=text)
                if not member.isfile() or (stream_of := archive.extractfile(member)) is None:
                    continue
                content = stream_of.read()
                if surroundings.build_folder.encode() in content:
                    yield PolicyViolation(
                        package=package.package,
                        path=path,
                        text=f"names {surroundings.build_folder}, where it was built",
                    )
                if content.startswith(_ELF):
                    file = Path(scratch) / "elf"
                    file.write_bytes(content)
                    for text in _check_elf(file, surroundings):
                        yield PolicyViolation(package=package.package, path=path, text=text)


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


def _check_elf(file: Path, surroundings: _Surroundings) -> Iterator[str]:
    result = process.run(["readelf", "--dynamic", "--dyn-syms", "--wide", str(file)], check=False)
    dynamic = result.output
    if result.status != 0:
        yield "cannot be read by readelf"
        return
    needed = set(_NEEDED.findall(dynamic))
    loads = _LOADS.search(dynamic) is not None
    if not needed and not loads:
        return  # static, or a relocatable object: it loads nothing
    wanted = f"{surroundings.prefix}/lib"
    found = _RUNPATH.search(dynamic)
    if found is None:
        yield f"has no RUNPATH {wanted}"
    elif found["tag"] != "RUNPATH" or wanted not in found["path"].split(":"):
        yield f"has {found['tag']} {found['path']} instead of RUNPATH {wanted}"
    for soname in sorted(needed):
        yield from _check_library(soname, "is linked to", surroundings, surroundings.depends)
        if not surroundings.knows(soname):
            yield f"is linked to {soname}, which no package has that the build could see"
    if loads:
        # The linker and dpkg-shlibdeps do not see what a program asks for by name while it runs.
        known = needed | set(_OWN_NAME.findall(dynamic))
        yield from _check_loaded(file.read_bytes(), known, surroundings)


def _check_loaded(content: bytes, known: set[str], surroundings: _Surroundings) -> Iterator[str]:
    """Violations by the libraries that a file loads by name; known are those it is linked to."""
    found = {((match["folder"] or b"").decode(), match["name"].decode()) for match in _LOADED.finditer(content)}
    own = f"{surroundings.prefix}/lib/"
    for folder, soname in sorted(found):
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
