"""Contents of published packages: kept for the page, and their changelogs as `apt changelog` asks for them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hapkg.deb import DebContent, read_deb_content
from hapkg.disk import Batch, remove_tree
from hapkg.records import read_record
from hapkg.repository.indexes import Pool
from hapkg.repository.remote.location import PAGE
from hapkg.repository.sources_file import is_folder_address, is_web

CHANGELOGS = "changelogs"
"""Folder of changelogs, one a source version; without signatures, as those of Debian's archive."""
_CONTENTS = f"{PAGE}/contents.json"
_FORMAT = 1
"""Of the kept contents; to be raised when `read_deb_content` gives others for the same file."""
_SOURCE = re.compile(r"[a-z0-9][a-z0-9+.-]*")


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """The kept contents by the SHA256 of their .deb."""

    format: int
    contents: Mapping[str, DebContent]


class ContentCache:
    """File lists, changelogs and licences of packages, read from each .deb once: a published file never changes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._used: dict[str, DebContent | None] = {}
        table = read_record(root / _CONTENTS, _Contents)
        self._kept = table.contents if table and table.format == _FORMAT else {}  # else everything is read again

    def read(self, path: str, digest: str) -> DebContent | None:
        """The content of the .deb at a pool path; None when it cannot be read."""
        if digest not in self._used:
            self._used[digest] = self._kept.get(digest) or _read_content(self._root / path)
        return self._used[digest]

    def write(self, batch: Batch) -> None:
        """Keep all that was asked for, for the next page."""
        contents = {digest: vars(content) for digest, content in sorted(self._used.items()) if content}
        batch.replace({self._root / _CONTENTS: json.dumps({"format": _FORMAT, "contents": contents}).encode()})


def make_changelog_address(url: str) -> str:
    """The field Changelogs of a Release file: where apt finds changelogs of packages that are not installed.

    "no" where files have no address of their own: without one, or behind a list of mirrors.
    """
    return f"{url.rstrip('/')}/{CHANGELOGS}/@CHANGEPATH@" if is_web(url) or is_folder_address(url) else "no"


def write_changelogs(root: Path, pools: Iterable[Pool], contents: ContentCache, batch: Batch) -> None:
    """Write the changelog of every source version that the pools offer, once, and remove all others."""
    folder = root / CHANGELOGS
    wanted = {folder / name: deb for pool in pools for name, deb in _find_changelogs(pool)}
    new = {file: contents.read(*deb) for file, deb in wanted.items() if file.is_symlink() or not file.is_file()}
    batch.replace({file: content.changelog.encode() for file, content in new.items() if content and content.changelog})
    for file in sorted([folder, *folder.rglob("*")], reverse=True):
        if file not in wanted and not (file.is_dir() and not file.is_symlink() and any(file.iterdir())):
            remove_tree(file)


def _find_changelogs(pool: Pool) -> Iterator[tuple[str, tuple[str, str]]]:
    """Names of changelogs as apt makes them, and for each the path and digest of a .deb that has it."""
    for package in pool.packages:
        source, version = package.source
        if package.architecture == "source" or not _SOURCE.fullmatch(source) or package.name.endswith("-dbgsym"):
            continue
        (path, (_, digest)), *_ = package.files.items()
        component = path.split("/")[2]
        letter = source[:4] if source.startswith("lib") else source[:1]
        yield f"{component}/{letter}/{source}/{source}_{version.partition(':')[2] or version}", (path, digest)


def _read_content(deb: Path) -> DebContent | None:
    try:
        return read_deb_content(deb)
    except (OSError, ValueError):
        return None  # verify says what is wrong with it; a page is no reason to fail
