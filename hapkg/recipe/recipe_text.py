"""Changes of a recipe.toml that keep its comments, order and style: the one module that writes what a person wrote."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import tomlkit

_WIDTH = 100


class RecipeText:
    """The text of a recipe, changed key by key. The text is a recipe's that was read: its keys are as they must be."""

    def __init__(self, text: str) -> None:
        self._document: Any = tomlkit.parse(text)

    def __str__(self) -> str:
        return tomlkit.dumps(self._document)

    def set_release(self, version: str, *, tag: str, commit: str) -> None:
        """Name another version; it is the recipe's first of it. Without a commit ("") none is named."""
        self._document["version"] = version
        self._document.pop("revision", None)
        upstream = self._document["upstream"]
        upstream["tag"] = tag
        if commit:
            upstream["commit"] = commit
        else:
            upstream.pop("commit", None)

    def drop_homes(self, kinds: Collection[str]) -> None:
        """Remove repositories of upstream, by their kind: "git" or "hg"."""
        for kind in kinds:
            self._document["upstream"].pop(kind)

    def set_revision(self, revision: int) -> None:
        """Name another revision, after the version where there was none."""
        if "revision" in self._document:
            self._document["revision"] = revision
        else:
            text = tomlkit.dumps(self._document)
            line = next(line for line in text.splitlines(keepends=True) if re.match(r"version\s*=", line))
            self._document = tomlkit.parse(text.replace(line, f"{line}revision = {revision}\n", 1))

    def set_date(self, date: datetime) -> None:
        """Name another date of release."""
        self._document["date"] = tomlkit.datetime(f"{date.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")

    def set_origins(self, changes: Mapping[int, Mapping[str, str]], dropped: Collection[int]) -> None:
        """Give origins, by their place, other values; remove others."""
        for place, values in changes.items():
            self._document["origins"][place].update(values)
        self._remove("origins", dropped)

    def set_signature(self, file: str) -> None:
        """Name another file with the detached signature."""
        self._document["signature"]["file"] = file

    def drop_remote_patches(self, places: Collection[int]) -> None:
        """Remove fetched patches, by their place."""
        self._remove("remote-patches", places)

    def add_to(self, key: str, words: Iterable[str]) -> list[str]:
        """Add words that are not there yet to a list of the recipe itself, such as build-depends; those words."""
        had = list(self._document.get(key, []))
        new = [word for word in dict.fromkeys(words) if word not in had]
        if new:
            self._extend(self._document, key, new)
        return new

    def drop_switches(self, names: Collection[str]) -> list[str]:
        """Take away switches of configure, by their names without values; those that were there."""
        had = list(self._document.get("configure", []))
        dropped = [switch for switch in had if switch.partition("=")[0] in names]
        if dropped:
            self._document["configure"] = [switch for switch in had if switch not in dropped]
        return dropped

    def add_relation(self, place: int, field: str, relation: str) -> bool:
        """Add to depends or recommends of a package, by its place; False where it is there already."""
        table = self._document["packages"][place]
        if relation in table.get(field, []):
            return False
        self._extend(table, field, [relation])
        return True

    @property
    def source(self) -> str:
        """The name of the source package."""
        return str(self._document["source"])

    def add_override(self, place: int, tag: str, reason: str) -> bool:
        """Override a tag of lintian's in every file of a package, by its place; False where one of it is there."""
        table = self._document["packages"][place]
        had = [dict(override) for override in table.get("lintian-overrides", [])]
        if any(override["tag"] == tag for override in had):
            return False
        written = tomlkit.array()
        for override in (*had, {"tag": tag, "context": "*", "reason": reason}):
            inline = tomlkit.inline_table()
            inline.update(override)
            written.append(inline)
        table["lintian-overrides"] = written.multiline(True)
        return True

    def list_packages(self) -> list[tuple[str, list[str]]]:
        """Name and files of each binary package, in the recipe's order."""
        return [(table["package"], list(table.get("files", []))) for table in self._document["packages"]]

    def add_files(self, place: int, patterns: Iterable[str]) -> None:
        """Give patterns to a package, by its place."""
        self._extend(self._document["packages"][place], "files", patterns)

    def drop_files(self, patterns: Collection[str]) -> None:
        """Take patterns away from every package."""
        for table in self._document["packages"]:
            if "files" in table:
                table["files"] = [pattern for pattern in table["files"] if pattern not in patterns]

    def _extend(self, table: Any, key: str, words: Iterable[str]) -> None:
        had = list(table.get(key, []))
        written = tomlkit.array()
        written.extend(dict.fromkeys([*had, *words]))
        table[key] = written.multiline(len(repr(had)) > _WIDTH or len(repr(list(words))) > _WIDTH)

    def _remove(self, key: str, places: Collection[int]) -> None:
        for place in sorted(places, reverse=True):
            del self._document[key][place]
        if places and not self._document[key]:
            del self._document[key]
