"""Patches in a recipe's folder: patches/series, and the versions of upstream that each patch is for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hapkg.errors import RecipeError
from hapkg.recipe.dep3 import PatchHeader, read_header
from hapkg.recipe.upstream_version import is_between

_SERIES_LINE = re.compile(
    r"(?P<name>[^#]*)"
    r"(?:#(?=\s*(?:since|until))(?:\s*since\s+(?P<since>[0-9][A-Za-z0-9.+~]*))?"
    r"(?:\s*until\s+(?P<until>[0-9][A-Za-z0-9.+~]*))?\s*\Z)?"
)
"""NAME, and a comment that may tell which versions of upstream it is for: # since 1.31 until 1.35"""
_PATCH_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+~-]*\Z")


@dataclass(frozen=True, kw_only=True)
class OwnPatch:
    """A patch in the recipe's folder."""

    name: str
    header: PatchHeader
    since: str | None = None
    """The first version that it is written for."""
    until: str | None = None
    """The version in which upstream has it, or which another patch is written for."""

    def is_for(self, version: str) -> bool:
        """True where this version of upstream takes it."""
        return is_between(version, self.since, self.until)

    @property
    def fixes(self) -> tuple[str, ...]:
        """CVE ids, as a fetched patch has them."""
        return self.header.fixes


def read_series(folder: Path) -> tuple[OwnPatch, ...]:
    """All patches of patches/series; every one must exist and start with a DEP-3 header. Raises RecipeError."""
    series = folder / "patches" / "series"
    if not series.exists():
        return ()
    try:
        matches = [_SERIES_LINE.match(line) for line in series.read_text("utf-8").split("\n")]
    except (OSError, UnicodeDecodeError) as cause:
        raise RecipeError(f"{series} cannot be read: {cause}", hint="it is a text file with one name a line") from cause
    lines = {match: match["name"].strip() for match in matches if match and match["name"].strip()}
    names = list(lines.values())
    found: list[OwnPatch] = []
    for line, name in lines.items():
        if not _PATCH_NAME.match(name):
            raise RecipeError(
                f"{series}: {name!r} must be a file name in the same folder",
                hint="letters, digits and . _ + ~ - alone; every patch is applied with -p1",
            )
        if names.count(name) > 1:
            raise RecipeError(f"{series}: patch {name} stands there twice", hint="remove one of the lines")
        patch = series.parent / name
        if not patch.is_file():
            raise RecipeError(f"{series}: patch {name} does not exist", hint="add the file, or remove the line")
        header = read_header(patch.read_text("utf-8", "replace"))
        if header is None:
            raise RecipeError(
                f"{patch}: no DEP-3 header", hint="start the patch with Description: and Author: (or Origin:) lines"
            )
        found.append(OwnPatch(name=name, header=header, since=line["since"], until=line["until"]))
    return tuple(found)
