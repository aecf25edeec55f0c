"""Packages that have the words of a build: those of the project's own recipes, then Debian's by a table.

Words are pkg-config files (foo.pc), libraries (-lfoo), headers (foo.h), programs, and macros of m4.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from hapkg.control import SourceName
from hapkg.locations import DATA
from hapkg.recipe.model import Recipe

_NO_PACKAGE = "-"
"""Package of a word that needs none."""


def find_packages(words: Mapping[str, bool], recipes: Mapping[SourceName, Recipe]) -> tuple[list[str], list[str]]:
    """The packages that have these words, the project's own first asked, and the words that are to be told of."""
    own = {word: package for recipe in recipes.values() for word, package in _list_words(recipe)}
    known = _read_table()
    # Where one takes a whole folder, pacemaker.pc stands in for pacemaker-fencing.pc.
    plain = {word: word.replace("_", "-") for word in words}
    stems = {word: re.sub(r"-.*\.pc$", ".pc", text) for word, text in plain.items()}
    found = {word: own.get(plain[word]) or known.get(word) or own.get(stems[word], "") for word in words}
    packages = sorted({package for package in found.values() if package} - {_NO_PACKAGE})
    return packages, [word for word, telling in words.items() if telling and not found[word]]


@functools.cache
def _read_table() -> dict[str, str]:
    """Debian's packages by the words of a build."""
    table = tomllib.loads((DATA / "debian-packages.toml").read_text("utf-8"))
    named = {word: package for package, words in table["packages"].items() for word in words}
    return named | dict.fromkeys(table["always-there"], _NO_PACKAGE)


def _list_words(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Words that a recipe's packages have, with the package; shadows stand in where one takes a whole folder."""
    stems = [re.sub(r"\d*(\[0-9\])?\*$", "", pattern) for pattern in recipe.shadows]
    for package in recipe.packages:
        for file in package.files:
            folder, _, base = file.rpartition("/")
            if folder == "lib/pkgconfig" and base.endswith(".pc") and "*" not in base:
                yield base.replace("_", "-"), package.package
            elif folder == "lib" and re.fullmatch(r"lib[^*]+\.so", base):
                yield f"-l{base[3:-3]}".replace("_", "-"), package.package
            elif folder in ("bin", "sbin") and "*" not in base:
                yield base, package.package
            elif file in ("lib/pkgconfig", "lib/pkgconfig/*.pc"):
                yield from ((f"{stem}.pc", package.package) for stem in stems)
            else:
                yield from ((f"-l{stem[3:]}", package.package) for stem in stems if fnmatchcase(f"lib/{stem}.so", file))
