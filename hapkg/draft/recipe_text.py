"""recipe.toml as a person writes it: tables of entries, some with a remark above."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

_WIDTH = 120
_PROSE_WIDTH = 78


@dataclass(frozen=True)
class Entry:
    """One key. It is left out where its value is empty; its remark stands all the same."""

    key: str
    value: str | datetime | Sequence[str]
    remark: str = ""


@dataclass(frozen=True)
class TomlTable:
    """One table; the title is as TOML writes it, such as [upstream], and "" for the first one."""

    title: str
    entries: Sequence[Entry]


def format_tables(tables: Sequence[TomlTable]) -> str:
    """The text of the file."""
    return "\n".join(_format_table(table) for table in tables)


def _format_table(table: TomlTable) -> str:
    lines = [table.title] if table.title else []
    for entry in table.entries:
        remark = "".join(letter if letter.isprintable() else "?" for letter in entry.remark)
        lines += textwrap.wrap(remark, _WIDTH, initial_indent="# ", subsequent_indent="# ")
        lines += _format_entry(entry.key, entry.value) if entry.value else []
    return "".join(f"{line}\n" for line in lines)


def _format_entry(key: str, value: str | datetime | Sequence[str]) -> list[str]:
    """The lines of one key: prose folded, a list that is too long with an item a line."""
    if isinstance(value, datetime):
        return [f"{key} = {value:%Y-%m-%dT%H:%M:%SZ}"]
    if isinstance(value, str):
        wrapped = textwrap.wrap(value, _PROSE_WIDTH, break_on_hyphens=False) if key == "description" else []
        text = "\n".join(_quote(line)[1:-1] for line in wrapped)
        return [f'{key} = """\n{text}"""' if wrapped else f"{key} = {_quote(value)}"]
    line = f"{key} = [{', '.join(map(_quote, value))}]"
    return [line] if len(line) <= _WIDTH else [f"{key} = [", *(f"  {_quote(item)}," for item in value), "]"]


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
