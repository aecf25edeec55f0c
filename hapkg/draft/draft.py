"""`hapkg new`: a recipe drafted from what upstream ships.

The tarball is read and nothing in it runs. What cannot be guessed is left out or said in a comment of the draft, and a
draft that read_recipe() refuses is not written. docs/new-recipe.md tells what is guessed from what.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from hapkg import disk
from hapkg.control import SourceName
from hapkg.draft.autotools import find_make_words, find_packages, find_required, find_words, read_makefiles, split
from hapkg.draft.meson import Meson, read_meson
from hapkg.draft.metadata import describe, find_holders, find_licenses, identify
from hapkg.draft.upstream_release import NOWHERE, Release, take
from hapkg.errors import MachineError, SourceError, UsageError
from hapkg.locations import State
from hapkg.recipe.model import RECIPE_FILE, Recipe, read_recipe, read_recipes
from hapkg.recipe.settings import Project
from hapkg.recipe.style import Style, read_styles

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_BUILD_SYSTEMS = {
    "configure.ac": "autotools",
    "configure.in": "autotools",
    "configure": "autotools",
    "meson.build": "meson",
    "CMakeLists.txt": "cmake",
    "setup.py": "python",
    "pyproject.toml": "pyproject",
    "Cargo.toml": "cargo",
    "go.mod": "go",
    "GNUmakefile": "make",
    "Makefile": "make",
}
"""What builds a source that has one of these files at its top; the first one decides."""


def draft(project: Project, name: str, origin: str, state: State) -> Path:
    """Write recipes/NAME/recipe.toml for what origin holds; its path. The caller holds the store's lock.

    origin is a tarball (path or address) or a git or Mercurial repository (folder or address), of which the newest
    tag that looks like a version is taken.

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
    recipes = read_recipes(project) if any(project.recipes.glob(f"*/{RECIPE_FILE}")) else {}
    for recipe in recipes.values():
        if taken := {source, f"{source}-dev"} & {package.package for package in recipe.packages}:
            raise UsageError(f"{recipe.source} builds {min(taken)} already", hint="choose another name")
    try:
        release = take(source, origin, state)
        text = _compose(project, plain, release, recipes)
        disk.make_folder(project.recipes)
        with tempfile.TemporaryDirectory(dir=project.recipes, prefix=".new-") as scratch:
            disk.write(Path(scratch) / plain / RECIPE_FILE, text.encode())
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


def _compose(project: Project, plain: str, release: Release, recipes: Mapping[SourceName, Recipe]) -> str:
    """The text of recipe.toml."""
    files, source, pinned = release.files, project.settings.package_prefix + plain, release.kind == "tarball"
    chosen = _find_style(project, release)
    style = chosen.name
    meson = read_meson(files)
    if style != "meson":
        meson = replace(meson, words={}, required={}, subprojects=set(), both=False)  # another system builds it
    identity = identify(plain, release, meson)
    installed = meson.installed if style == "meson" else read_makefiles(files, identity.configure, identity.tarname)
    runtime, development, left = split(installed)
    make = find_make_words(files) if style == "make" else {}
    needs, unknown = find_packages({**find_words(files, identity.configure), **make, **meson.words}, recipes)
    licenses, license_remark = find_licenses(files, plain, project.templates / "common" / "licenses", meson.license)
    holders, holders_remark = find_holders(files, f"{release.date.year} the authors of {identity.name}")
    synopsis, description = describe(files, identity, meson)
    libtool = re.search(r"\b(LT_INIT|A[CM]_PROG_LIBTOOL)\b", identity.configure)
    shared_alone = ["--disable-static"] if libtool else ["-Ddefault_library=shared"] if meson.both else []
    tables: list[tuple[str, dict[str, str | datetime | Sequence[str]]]] = [
        (
            "",
            {
                "source": source,
                "version": identity.version,
                "#style": f"subprojects, which no build downloads: {', '.join(sorted(meson.subprojects))}"
                if meson.subprojects
                else "",
                "style": style,
                "date": release.date,
                "section": "libs" if development else "",
                "#homepage": "not known: put upstream's page here" if NOWHERE in identity.homepage else "",
                "homepage": identity.homepage,
                "#build-depends": f"not known which package has: {', '.join(unknown)}" if unknown else "",
                "build-depends": sorted({*needs, *_find_tools(chosen, meson)}),
                "configure": shared_alone,
                "not-installed": left,
            },
        ),
        (
            "[upstream]",
            {
                "#git": "not known: put the address of upstream's repository here" if NOWHERE in identity.git else "",
                "git" if pinned else release.kind: identity.git,
                "#tag": "guessed from the version" if pinned and f"/{identity.tag}" not in release.url else "",
                "tag": identity.tag,
                "commit": "" if pinned else release.pin,
            },
        ),
        (
            "[[origins]]",
            {
                "type": release.kind,
                "#url": "a local file: put the address of upstream's release here"
                if pinned and release.url.startswith("file:")
                else "",
                "url": release.url if pinned else "",
                "sha256": release.pin if pinned else "",
            },
        ),
        (
            "[[copyright]]",
            {"#copyright": holders_remark, "copyright": holders, "#license": license_remark, "license": licenses},
        ),
        (
            "[[packages]]",
            {
                "package": source,
                "architecture": "all" if style == "python" or (runtime and not installed.compiled) else "",
                "depends": ["python3"] if style == "python" else [],
                "#synopsis": "" if synopsis else "not known: say in a few words what it is",
                "synopsis": synopsis or f"{identity.name} as upstream released it",
                "description": description,
                "#files": "; ".join(installed.remarks) if runtime else "not known what it installs: all of it is taken",
                "files": runtime or ["*"],
            },
        ),
    ]
    if development:
        required, _ = find_packages({**find_required(files), **meson.required}, recipes)
        short = textwrap.shorten(synopsis or identity.name, 60, placeholder="")
        table = {
            "package": f"{source}-dev",
            "section": "libdevel",
            "depends": [f"{source} (= ${{binary:Version}})", *required],
            "synopsis": f"{short}: development files",
            "description": f"Headers and what else it takes to build programs that use {identity.name}.",
            "files": development,
        }
        tables.append(("[[packages]]", {**table}))
    return "\n".join(_format(title, table) for title, table in tables)


def _find_tools(style: Style, meson: Meson) -> list[str]:
    """Relations to the packages that build a style."""
    pkgconf = ["pkgconf"] if any(word.endswith(".pc") for word in meson.words) else []
    least = {"meson": f" (>= {meson.at_least})"} if meson.at_least else {}
    return [*(name + least.get(name, "") for name in style.build_depends), *pkgconf]


def _format(title: str, table: Mapping[str, str | datetime | Sequence[str]]) -> str:
    """A table of TOML as a person writes it. What is empty is left out; #KEY holds a remark, which stands above KEY."""
    lines = [title] if title else []
    for key, value in table.items():
        if isinstance(value, datetime):
            lines.append(f"{key} = {value:%Y-%m-%dT%H:%M:%SZ}")
        elif value and key.startswith("#") and isinstance(value, str):
            remark = "".join(letter if letter.isprintable() else "?" for letter in value)
            lines += textwrap.wrap(remark, 120, initial_indent="# ", subsequent_indent="# ")
        elif value and isinstance(value, str):
            wrapped = textwrap.wrap(value, 78, break_on_hyphens=False) if key == "description" else []
            text = "\n".join(_quote(line)[1:-1] for line in wrapped)
            lines.append(f'{key} = """\n{text}"""' if wrapped else f"{key} = {_quote(value)}")
        elif value:
            line = f"{key} = [{', '.join(map(_quote, value))}]"
            lines += [line] if len(line) <= 120 else [f"{key} = [", *(f"  {_quote(item)}," for item in value), "]"]
    return "".join(f"{line}\n" for line in lines)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _find_style(project: Project, release: Release) -> Style:
    """The style for the files at the top. Raises SourceError when there is none."""
    found = {file: style for file, style in _BUILD_SYSTEMS.items() if file in release.files}
    styles = read_styles(project.templates)
    known = [name for name, style in styles.items() if not style.native]
    first = next(iter(found.values()), "")
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
