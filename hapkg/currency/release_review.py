"""Two releases of upstream side by side: their files, switches of configure, and sonames of what was built."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hapkg.deb import read_deb_content

_SWITCH = re.compile(r"AC_ARG_(ENABLE|WITH)\(\s*\[?([A-Za-z0-9_-]+)")
_LIBTOOL = re.compile(r"(aclocal|libtool|lt.*)\.m4")
"""Macros that the release was made with: their switches are not upstream's."""
_OPTION = re.compile(r"^option\(\s*'([A-Za-z0-9_-]+)'", re.MULTILINE)
_SONAME = re.compile(r"/(lib[^/]+\.so\.[0-9]+)$")
_MOST_BYTES = 4 << 20
"""Of a file that is searched for switches."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Things that came and went."""

    new: tuple[str, ...]
    gone: tuple[str, ...]


def compare_sets(old: Iterable[str], new: Iterable[str]) -> Change:
    """The names that only one of two has, sorted."""
    before, after = set(old), set(new)
    return Change(new=tuple(sorted(after - before)), gone=tuple(sorted(before - after)))


def list_files(tree: Path) -> set[str]:
    """Paths of all files and links below a folder."""
    found: set[str] = set()
    for folder, _, names in os.walk(tree):
        found |= {str((Path(folder) / name).relative_to(tree)) for name in names}
    return found


def list_switches(tree: Path) -> set[str]:
    """Switches that configure or meson takes, as a recipe names them without their values."""
    found: set[str] = set()
    for name in list_files(tree):
        base = Path(name).name
        if base in ("configure.ac", "configure.in") or (base.endswith(".m4") and not _LIBTOOL.fullmatch(base)):
            for kind, word in _SWITCH.findall(_read(tree / name)):
                found.add(f"--{kind.lower()}-{word.replace('_', '-')}")
        elif base in ("meson_options.txt", "meson.options"):
            found |= {f"-D{word}" for word in _OPTION.findall(_read(tree / name))}
    return found


def list_sonames(debs: Iterable[Path]) -> set[str]:
    """Names by which programs ask for the libraries of packages: libqb.so.100."""
    files = (file for deb in debs for file in read_deb_content(deb).files)
    return {match[1] for file in files if (match := _SONAME.search(file))}


def _read(file: Path) -> str:
    if file.is_symlink() or file.stat().st_size > _MOST_BYTES:
        return ""
    return file.read_text("utf-8", "replace")
