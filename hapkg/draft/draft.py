"""`hapkg new`: a recipe drafted from what upstream ships.

The tarball is read and nothing in it runs. What cannot be guessed is left out or said in a comment of the draft, and a
draft that read_recipe() refuses is not written. docs/new-recipe.md tells what is guessed from what.
"""

from __future__ import annotations

import os
import re
import tempfile
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hapkg import disk
from hapkg.apt.mirror import Mirror
from hapkg.control import SourceName
from hapkg.draft.autotools import (
    Installed,
    find_folder_words,
    find_make_words,
    find_required,
    find_words,
    read_makefiles,
    split,
)
from hapkg.draft.debian_packages import find_packages
from hapkg.draft.debian_source import choose_relations
from hapkg.draft.manifest import PackageManifest, read_manifest
from hapkg.draft.meson import Meson, read_meson
from hapkg.draft.metadata import FoundLicenses, UpstreamIdentity, describe, find_holders, find_licenses, identify
from hapkg.draft.recipe_text import Entry, TomlTable, format_tables
from hapkg.draft.upstream_release import NOWHERE, UpstreamRelease, take
from hapkg.errors import FetchError, MachineError, SourceError, UsageError
from hapkg.host import read_architecture
from hapkg.locations import State
from hapkg.recipe import licenses
from hapkg.recipe.collection import read_collection
from hapkg.recipe.model import RECIPE_FILE, Recipe, read_recipe
from hapkg.recipe.settings import Project
from hapkg.recipe.style import EXTERNAL_MODULE, Style, read_styles

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_BUILD_SYSTEMS = {
    "configure.ac": "autotools",
    "configure.in": "autotools",
    "configure": "autotools",
    "meson.build": "meson",
    "CMakeLists.txt": "cmake",
    "SConstruct": "scons",
    "Makefile.PL": "perl",
    "setup.py": "python",
    "pyproject.toml": "pyproject",
    "Cargo.toml": "cargo",
    "go.mod": "go",
    "GNUmakefile": "make",
    "Makefile": "make",
}
"""The build style of a source that has one of these files at its top; the first one decides."""
_EXTENSION = re.compile(r"\b(ext_modules|Extension|cffi_modules|cythonize)\b")
"""Words of a setup.py that compiles."""


FindOwners = Callable[[Sequence[str]], Mapping[str, str]]
"""The packages that have the files of some words: find_owners() for a suite."""


def draft(
    project: Project,
    name: str,
    origin: str,
    state: State,
    find_owners: FindOwners | None = None,
    mirror: Mirror | None = None,
    ref: str = "",
) -> Path:
    """Write recipes/NAME/recipe.toml for what origin holds; its path. The caller holds the store's lock.

    origin is a tarball (path or address), a git or Mercurial repository (folder or address, or its page), of which the
    tag ref is taken or the newest that looks like a version, a .dsc, or debian:NAME, a source package of mirror,
    Debian's archive. find_owners is asked for what neither recipes nor hapkg's own table know.

    Raises UsageError for a name or an origin that cannot be, FetchError when the origin cannot be reached, SourceError
    when it holds nothing that hapkg can build.
    """
    plain = name.removeprefix(project.settings.package_prefix)
    if not _NAME.fullmatch(plain):
        raise UsageError(
            f"{name!r} cannot be the name of a recipe",
            hint="lower-case letters, digits, '+', '-' and '.', with a letter or digit first",
        )
    source, target = project.settings.package_prefix + plain, project.recipes / plain
    if os.path.lexists(target):
        raise UsageError(f"{target} exists already", hint="edit its recipe.toml, or remove the folder first")
    recipes = read_collection(project).recipes if any(project.recipes.glob(f"*/{RECIPE_FILE}")) else {}
    for recipe in recipes.values():
        if taken := {source, f"{source}-dev"} & {package.package for package in recipe.packages}:
            raise UsageError(f"{recipe.source} builds {min(taken)} already", hint="choose another name")
    try:
        release = take(source, origin, state, mirror, ref)
        files = _compose(project, plain, release, recipes, find_owners)
        disk.make_folder(project.recipes)
        with tempfile.TemporaryDirectory(dir=project.recipes, prefix=".new-") as scratch:
            for path, text in files.items():
                disk.make_folder((Path(scratch) / plain / path).parent)
                disk.write(Path(scratch) / plain / path, text.encode())
            read_recipe(
                Path(scratch) / plain,
                package_prefix=project.settings.package_prefix,
                styles=read_styles(project.templates),
            )
            disk.move({Path(scratch) / plain: target})
    except OSError as cause:
        raise MachineError(
            f"{cause.filename or target}: {cause.strerror}", hint="free some space, or mend the folder"
        ) from cause
    return target / RECIPE_FILE


def _compose(
    project: Project,
    plain: str,
    release: UpstreamRelease,
    recipes: Mapping[SourceName, Recipe],
    find_owners: FindOwners | None,
) -> dict[str, str]:
    """The texts of recipe.toml and of licences that it brings, by their paths."""
    facts = _gather(project, plain, release, recipes, find_owners)
    found = find_licenses(release, plain, project.templates, facts.meson.license or facts.manifest.license)
    tables = [
        TomlTable("", _describe_source(facts)),
        TomlTable("[upstream]", _describe_upstream(facts)),
        TomlTable("[[origins]]", _describe_origin(release)),
        TomlTable("[[copyright]]", _describe_copyright(found, facts)),
        TomlTable("[[packages]]", _describe_package(facts)),
    ]
    if facts.development:
        required, _ = find_packages(find_required(release.files), recipes)
        tables.append(TomlTable("[[packages]]", _describe_development(facts, required)))
    own = {f"debian/{licenses.FOLDER}/{name}": text for name, text in found.texts.items()}
    if blocks := _find_foreign_switches(facts):
        empty = "".join(f"{{% block {block} %}}{{% endblock %}}\n" for block in blocks)
        own["debian/rules.j2"] = f'{{% extends "{facts.style.name}/rules.j2" %}}\n{empty}'
    return {RECIPE_FILE: format_tables(tables), **own}


def _find_foreign_switches(facts: _Facts) -> list[str]:
    """Blocks of the style with switches that this configure does not know: automake's, and autoconf's own."""
    if facts.style.name != "autotools":
        return []
    files = facts.release.files
    written = any(name in files for name in ("configure.ac", "configure.in"))
    automake = re.search(r"\b(AM_INIT_AUTOMAKE|AM_SILENT_RULES)\b", facts.identity.configure)
    return [*([] if automake else ["automake"]), *([] if written else ["option_checking"])]


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """Findings of a release that more than one table of the draft tells."""

    source: str
    style: Style
    release: UpstreamRelease
    meson: Meson
    manifest: PackageManifest
    identity: UpstreamIdentity
    synopsis: str
    description: str
    needs: Sequence[str]
    unknown: Sequence[str]
    """Words that no known package has; of a source package of Debian, relations that are left out."""
    unasked: str
    """Why the suite's Contents index could not be asked for them."""
    installed: Installed
    runtime: Sequence[str]
    development: Sequence[str]
    left: Sequence[str]
    """Patterns of files that no package takes."""


def _gather(
    project: Project,
    plain: str,
    release: UpstreamRelease,
    recipes: Mapping[SourceName, Recipe],
    find_owners: FindOwners | None,
) -> _Facts:
    """Read all of the release. Raises SourceError when hapkg cannot build it or its version is not known."""
    files, style = release.files, _find_style(project, release)
    meson = read_meson(files)
    if style.name != "meson":
        meson = replace(meson, words={}, subprojects=set(), both=False)  # another system builds it
    manifest = read_manifest(files, style.name)
    identity = identify(plain, release, meson, manifest)
    installed = Installed()
    if style.name == "autotools":
        installed = read_makefiles(files, identity.configure, identity.tarname)
    runtime, development, left = split(installed)
    make = find_make_words(files) if style.name == "make" else {}
    unasked = ""
    if release.debian:
        needs, unknown = choose_relations(release.debian.build_depends, recipes, read_architecture())
    else:
        needs, unknown = find_packages({**find_words(files, identity.configure), **make, **meson.words}, recipes)
    if unknown and find_owners and not release.debian:
        try:
            owners = find_owners(unknown)
        except FetchError as error:
            unasked = error.brief
        else:
            needs = sorted({*needs, *owners.values()})
            unknown = [word for word in unknown if word not in owners]
    synopsis, description = describe(release, identity, meson, manifest)
    return _Facts(
        source=project.settings.package_prefix + plain,
        style=style,
        release=release,
        meson=meson,
        manifest=manifest,
        identity=identity,
        synopsis=synopsis,
        description=description,
        needs=needs,
        unknown=unknown,
        unasked=unasked,
        installed=installed,
        runtime=runtime,
        development=development,
        left=left,
    )


def _describe_source(facts: _Facts) -> list[Entry]:
    identity, subprojects = facts.identity, ", ".join(sorted(facts.meson.subprojects))
    libtool = re.search(r"\b(LT_INIT|A[CM]_PROG_LIBTOOL)\b", identity.configure)
    shared_alone = ["--disable-static"] if libtool else ["-Ddefault_library=shared"] if facts.meson.both else []
    start = {"autotools": "--", "cmake": "-D", "meson": "-D"}.get(facts.style.name)
    told = facts.release.debian.switches if facts.release.debian else ()
    debian = [word for word in told if start and word.startswith(start)]
    left = "for a profile or another architecture, left out" if facts.release.debian else "not known which package has"
    unknown = f"{left}: {', '.join(facts.unknown)}" if facts.unknown else ""
    unknown += f"; {facts.unasked}" if facts.unasked else ""
    nowhere = "not known: put upstream's page here" if NOWHERE in identity.homepage else ""
    return [
        Entry("source", facts.source),
        Entry("version", identity.version),
        Entry(
            "style", facts.style.name, f"subprojects, which no build downloads: {subprojects}" if subprojects else ""
        ),
        Entry("date", facts.release.date),
        Entry("section", "libs" if facts.development else ""),
        Entry("homepage", identity.homepage, nowhere),
        Entry("build-depends", sorted({*facts.needs, *_find_tools(facts.style, facts.meson)}), unknown),
        Entry("configure", [*shared_alone, *debian], "switches of Debian's own rules" if debian else ""),
        Entry("make", list(find_folder_words(facts.release.files)) if facts.style.name == "make" else []),
        Entry("not-installed", facts.left),
    ]


def _describe_upstream(facts: _Facts) -> list[Entry]:
    identity, release = facts.identity, facts.release
    nowhere = "not known: put the address of upstream's repository here" if NOWHERE in identity.git else ""
    guessed = "guessed from the version" if release.is_tarball and f"/{identity.tag}" not in release.url else ""
    return [
        Entry("git" if release.is_tarball else release.kind, identity.git, nowhere),
        Entry("tag", identity.tag, guessed),
        Entry("commit", "" if release.is_tarball else release.pin),
    ]


def _describe_origin(release: UpstreamRelease) -> list[Entry]:
    if debian := release.debian:
        repacked = "Debian packed this tarball anew: it is not upstream's own" if debian.is_repacked else ""
        missed = f"newer, but not delivered: {', '.join(debian.missed)}" if debian.missed else ""
        patches = f"Debian's patches, none of which is taken: {', '.join(debian.patches)}" if debian.patches else ""
        return [
            Entry("type", release.kind, debian.unread or patches),
            Entry("package", debian.package),
            Entry("version", debian.version, "; ".join(filter(None, (repacked, missed)))),
            Entry("sha256", debian.sha256),
        ]
    if not release.is_tarball:
        return [Entry("type", release.kind)]
    local = release.url.startswith("file:")
    return [
        Entry("type", release.kind),
        Entry("url", release.url, "a local file: put the address of upstream's release here" if local else ""),
        Entry("sha256", release.pin),
    ]


def _describe_copyright(found: FoundLicenses, facts: _Facts) -> list[Entry]:
    nobody = f"{facts.release.date.year} the authors of {facts.identity.name}"
    holders, holders_remark = find_holders(facts.release.files, nobody)
    return [Entry("copyright", holders, holders_remark), Entry("license", found.names, found.remark)]


def _describe_package(facts: _Facts) -> list[Entry]:
    python = "dh-python" in facts.style.build_depends
    extension = python and _EXTENSION.search(facts.release.files.get("setup.py", ""))
    plain = not extension if python else facts.runtime and not facts.installed.compiled
    return [
        Entry("package", facts.source),
        Entry("architecture", "all" if plain else ""),
        # An extension is for the Python that it was built with, which dh_python3 knows.
        Entry("depends", ["${python3:Depends}" if extension else "python3"] if python else []),
        Entry(
            "synopsis",
            facts.synopsis or f"{facts.identity.name} as upstream released it",
            "" if facts.synopsis else "not known: say in a few words what it is",
        ),
        Entry("description", facts.description),
        Entry(
            "files",
            facts.runtime or ["*"],
            "; ".join(facts.installed.remarks) if facts.runtime else "not known what it installs: all of it is taken",
        ),
    ]


def _describe_development(facts: _Facts, required: Sequence[str]) -> list[Entry]:
    short = textwrap.shorten(facts.synopsis or facts.identity.name, 60, placeholder="")
    return [
        Entry("package", f"{facts.source}-dev"),
        Entry("section", "libdevel"),
        Entry("depends", [f"{facts.source} (= ${{binary:Version}})", *required]),
        Entry("synopsis", f"{short}: development files"),
        Entry("description", f"Headers and what else it takes to build programs that use {facts.identity.name}."),
        Entry("files", facts.development),
    ]


def _find_tools(style: Style, meson: Meson) -> list[str]:
    """Relations to the packages that build a style."""
    pkgconf = ["pkgconf"] if any(word.endswith(".pc") for word in meson.words) else []
    least = {"meson": f" (>= {meson.at_least})"} if meson.at_least else {}
    return [*(name + least.get(name, "") for name in style.build_depends), *pkgconf]


def choose_style(possible: Sequence[Style], build_depends: Sequence[str]) -> str:
    """The first style, or the one that these relations build with where they lack the first one's tools."""
    had = {re.split(r"[\s(:|]", relation, maxsplit=1)[0] for relation in build_depends}
    first, *others = possible
    if first.build_depends and had.isdisjoint(first.build_depends):
        return next((style.name for style in others if not had.isdisjoint(style.build_depends)), first.name)
    return first.name


def _find_style(project: Project, release: UpstreamRelease) -> Style:
    """The style for the files at the top. Raises SourceError when there is none."""
    found = {file: style for file, style in _BUILD_SYSTEMS.items() if file in release.files}
    styles = read_styles(project.templates)
    known = [name for name, style in styles.items() if not style.native and name != EXTERNAL_MODULE]
    first = next(iter(found.values()), "")
    if release.debian and first in known:
        first = choose_style([styles[name] for name in found.values() if name in known], release.debian.build_depends)
    if first in known:
        return styles[first]
    systems = ", ".join(f"{style} ({file})" for file, style in found.items())
    top = sorted(path for path in release.files if "/" not in path)
    raise SourceError(
        f"{release.url} builds with {systems}, for which there is no style"
        if found
        else f"{release.url} has nothing at its top that says how it builds",
        details=[f"at the top: {', '.join(top[:12]) or 'no file'}"],
        hint=f"styles: {', '.join(known) or 'none'}; a folder of debian-templates/ with a rules.j2 adds one",
    )
