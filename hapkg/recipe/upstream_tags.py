"""Upstream's versions: the tags of its repository that are made as the recipe's own tag is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hapkg.recipe.model import Recipe

_CANDIDATE = r"(?:[-_.~+]?(?P<word>alpha|beta|pre|rc|dev)[-_.]?(?P<number>[0-9]*))?"
"""The part of a tag by which it is a candidate of a version."""


@dataclass(frozen=True, kw_only=True)
class TagPattern:
    """The way in which a recipe's tag holds its version: Pacemaker-{}, v{}, release_{}."""

    before: str
    after: str
    separator: str
    """Between the numbers: "." mostly."""

    def read(self, tag: str) -> str | None:
        """The version that a tag names, as Debian would write it (5.0.0~rc1), or None for a tag of another kind."""
        numbers = rf"(?P<numbers>[0-9]+(?:{re.escape(self.separator)}[0-9]+)*)"
        match = re.fullmatch(re.escape(self.before) + numbers + _CANDIDATE + re.escape(self.after), tag)
        if match is None:
            return None
        version = match["numbers"].replace(self.separator, ".")
        return f"{version}~{match['word']}{match['number']}" if match["word"] else version

    def write(self, version: str) -> str:
        """The tag of a version, or "" for a candidate: upstreams mark these in too many ways."""
        return "" if "~" in version else self.before + version.replace(".", self.separator) + self.after


def find_pattern(tag: str, version: str) -> TagPattern | None:
    """The pattern of a recipe's tag; None where its version cannot be seen in it."""
    numbers, _, candidate = version.partition("~")
    for separator in (".", "_", "-"):
        before, found, rest = tag.partition(numbers.replace(".", separator))
        if not found or before[-1:].isdigit() or rest[:1].isdigit():
            continue
        match = re.match(_CANDIDATE, rest) if candidate else None
        if candidate and (match is None or f"{match['word']}{match['number']}" != candidate):
            continue
        return TagPattern(before=before, after=rest[match.end() :] if match else rest, separator=separator)
    return None


def find_versions(recipe: Recipe, tags: Iterable[str]) -> dict[str, str]:
    """Tags by version, of those that are made as the recipe's.

    Left out are candidates, unless the recipe is one, and where the recipe's version has a dot, numbers without one:
    they are dates.
    """
    upstream = recipe.upstream
    pattern = find_pattern(upstream.tag, recipe.version) if upstream else None
    versions = ((pattern.read(tag), tag) for tag in tags) if pattern else ()
    return {version: tag for version, tag in versions if version and is_candidate_for(recipe, version)}


def is_candidate_for(recipe: Recipe, version: str) -> bool:
    """True for a version that may stand in a recipe's place: not ignored, and no preliminary one, unless it has one."""
    ignored = recipe.upstream.ignore if recipe.upstream else ()
    if any(re.search(pattern, version) for pattern in ignored):
        return False
    if "~" in version and "~" not in recipe.version:
        return False
    return "." in version or "." not in recipe.version
