"""Trials of a draft: built, its failure read, the recipe amended and built again, as a person would.

Only what a log names is changed: build dependencies, files and recommendations of packages, switches that configure
does not know, an autoreconf that fails, a library that lintian knows. Everything else ends the trial.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from hapkg import disk
from hapkg.build.failures import Cause, Lack
from hapkg.control import SourceName
from hapkg.draft.debian_packages import find_packages
from hapkg.draft.draft import FindOwners
from hapkg.recipe.model import Recipe
from hapkg.recipe.recipe_text import RecipeText

_DEVELOPMENT = re.compile(
    r"include/.*|(lib|share)/pkgconfig/.*|lib/[^/]*\.so|lib/cmake/.*|share/(man/man[23]|aclocal)/.*"
)
_UNWANTED = re.compile(r".*\.(la|a)|share/(doc|info)/.*")
"""Files that no package of a draft takes: what static linking alone wants, and documents."""
_LIBRARY = re.compile(r"(lib/lib[^*]*)\.so\.\*")
_FEW = 3
"""Files of one folder that are named one by one; of more than these the folder is named."""


def amend(
    file: Path, cause: Cause, prefix: str, recipes: Mapping[SourceName, Recipe], find_owners: FindOwners | None
) -> list[str]:
    """Change a draft for what its build told; lines that say what was changed, none where nothing could be.

    prefix is an absolute path. find_owners is asked for what neither recipes nor hapkg's own table know; it may raise
    FetchError.
    """
    text = RecipeText(file.read_text("utf-8"))
    match cause.lack:
        case Lack.DEPENDENCY:
            told = _add_dependencies(text, cause.words, recipes, find_owners)
        case Lack.UNMADE:
            told = _drop_files(text, [_strip(word, prefix) for word in cause.words])
        case Lack.UNTAKEN:
            told = _place_files(text, cause.words, prefix)
        case Lack.UNRELATED:
            told = _relate(text, "recommends", cause.words)
        case Lack.INTERPRETER:
            told = _relate(text, "depends", cause.words)
        case Lack.SWITCH:
            told = [f"configure: - {switch}" for switch in text.drop_switches(cause.words)]
        case Lack.AUTORECONF:
            return _keep_configure(file.parent / "debian/rules.j2")
        case Lack.EMBEDDED:
            told = _declare_own(text, cause.words)
    if told:
        disk.replace(file, str(text).encode())
    return told


def _add_dependencies(
    text: RecipeText, words: Sequence[str], recipes: Mapping[SourceName, Recipe], find_owners: FindOwners | None
) -> list[str]:
    packages, unknown = find_packages(dict.fromkeys(words, True), recipes)
    owners = find_owners(unknown) if unknown and find_owners else {}
    return [f"build-depends: + {name}" for name in text.add_to("build-depends", sorted({*packages, *owners.values()}))]


def _drop_files(text: RecipeText, patterns: Sequence[str]) -> list[str]:
    """Take patterns away; nothing is done where a package would be left with none.

    A library may have its release in its name, libone-1.2.so.0: a wider pattern takes the place of the plain one.
    """
    packages = text.list_packages()
    known = {pattern for _, files in packages for pattern in files} & set(patterns)
    wider = {pattern: f"{match[1]}-*.so.*" for pattern in known if (match := _LIBRARY.fullmatch(pattern))}
    if any(files and not set(files) - known and not set(files) & set(wider) for _, files in packages):
        return []
    for place, (_, files) in enumerate(packages):
        text.add_files(place, [wider[pattern] for pattern in files if pattern in wider])
    text.drop_files(known)
    instead = {pattern: f", + {other}" for pattern, other in wider.items()}
    return [f"files: - {pattern}{instead.get(pattern, '')}" for pattern in sorted(known)]


def _place_files(text: RecipeText, paths: Sequence[str], prefix: str) -> list[str]:
    """Give files to packages: what programs are built with to the -dev package, the rest to the first; some to none.

    Nothing is done where a file lies outside the prefix: a person decides whether a node may get it.
    """
    inside = prefix.strip("/") + "/"
    if not all(path.startswith(inside) for path in paths):
        return []
    names = [name for name, _ in text.list_packages()]
    development = next((place for place, name in enumerate(names) if name.endswith("-dev")), 0)
    told: list[str] = []
    for pattern in _gather([path.removeprefix(inside) for path in paths], text):
        if _UNWANTED.fullmatch(pattern):
            text.add_to("not-installed", [pattern])
            told.append(f"not-installed: + {pattern}")
        else:
            place = development if _DEVELOPMENT.fullmatch(pattern) or _DEVELOPMENT.fullmatch(f"{pattern}/x") else 0
            text.add_files(place, [pattern])
            told.append(f"files of {names[place]}: + {pattern}")
    return told


def _relate(text: RecipeText, field: str, pairs: Sequence[str]) -> list[str]:
    """Have packages depend on what they cannot run without, or recommend what they load when they can."""
    names = [name for name, _ in text.list_packages()]
    told = []
    for package, wanted in (pair.split() for pair in pairs):
        if package in names and text.add_relation(names.index(package), field, wanted):
            told.append(f"{field} of {package}: + {wanted}")
    return told


def _keep_configure(rules: Path) -> list[str]:
    """Have the style take upstream's own configure as it is."""
    had = rules.read_text("utf-8") if rules.exists() else '{% extends "autotools/rules.j2" %}\n'
    if "block autoreconf" in had:
        return []
    disk.make_folder(rules.parent)
    disk.replace(rules, f"{had}{{% block autoreconf %}}{{% endblock %}}\n".encode())
    return ["debian/rules.j2: upstream's own configure, without autoreconf"]


def _declare_own(text: RecipeText, pairs: Sequence[str]) -> list[str]:
    """Tell lintian that a library is the source's own, where it is called as the source is."""
    names = [name for name, _ in text.list_packages()]
    told = []
    for package, library in (pair.split() for pair in pairs):
        own = text.source == library or text.source.endswith(f"-{library}")
        reason = "This is the source of it, below a prefix of its own."
        if own and package in names and text.add_override(names.index(package), "embedded-library", reason):
            told.append(f"lintian-overrides of {package}: + embedded-library")
    return told


def _gather(paths: Sequence[str], text: RecipeText) -> Iterator[str]:
    """Folders in the place of their files, where there are many and no package has a pattern in there."""
    had = {str(PurePosixPath(pattern).parent) for _, files in text.list_packages() for pattern in files}
    folders: dict[str, list[str]] = {}
    for path in sorted(paths):
        folders.setdefault(str(PurePosixPath(path).parent), []).append(path)
    for folder, files in folders.items():
        plain = len(files) > _FEW and "/" in folder and not any(one.startswith(folder) for one in had)
        if plain and len({(bool(_UNWANTED.fullmatch(f)), bool(_DEVELOPMENT.fullmatch(f))) for f in files}) == 1:
            yield folder
        else:
            yield from files


def _strip(path: str, prefix: str) -> str:
    """A path or pattern as a recipe has it: without the build's folder and the prefix."""
    return path.removeprefix("debian/tmp/").lstrip("/").removeprefix(prefix.strip("/") + "/")
