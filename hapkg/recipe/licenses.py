"""Texts of licences as debian/copyright quotes them: a recipe's own, those of the templates, and Debian's by reference.

A recipe's own lie in debian/licenses/ of its folder, those of the templates in common/licenses/; each file is named as
debian/copyright names the licence, and is written as that file wants it, with a blank before each line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from hapkg.recipe.settings import Templates, find_template
from hapkg.text import printable

FOLDER = "licenses"
_COMMON = re.compile(r"(Apache-2\.0|Artistic|CC0-1\.0|GFDL-1\.[23]|GPL-[123]|LGPL-(2|2\.1|3)|MPL-(1\.1|2\.0))")
"""Files of /usr/share/common-licenses on every system of Debian and Ubuntu."""


def has_text(name: str, templates: Templates) -> bool:
    """True for a licence that every recipe can name."""
    return find_template(templates, f"common/{FOLDER}/{name}").is_file() or bool(_refer(name))


def is_common(name: str) -> bool:
    """True for a licence whose text every Debian system has."""
    return bool(_refer(name))


def find_texts(names: Iterable[str], own: Path, templates: Templates) -> dict[str, str]:
    """Texts of a recipe's own, which lie in the folder own, and of licences that the templates have no file for."""
    found: dict[str, str] = {}
    for name in names:
        file = own / name
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", name) and file.is_file():
            found[name] = file.read_text("utf-8", "replace").rstrip("\n")
        elif not find_template(templates, f"common/{FOLDER}/{name}").is_file() and (text := _refer(name)):
            found[name] = text
    return found


def quote(text: str) -> str:
    """A text as a field of debian/copyright continues: a blank before each line, a dot for an empty one."""
    lines = (printable(line.expandtabs()).rstrip() for line in text.strip().splitlines())
    return "".join(f" {line or '.'}\n" for line in lines)


def _refer(name: str) -> str:
    """Words that name Debian's own copy of a licence; "" where there is none."""
    base = name.removesuffix("+")
    if not _COMMON.fullmatch(base):
        return ""
    later = " This version or any later one.\n .\n" if name != base else ""
    return f"{later} On Debian systems its full text is in /usr/share/common-licenses/{base}."
