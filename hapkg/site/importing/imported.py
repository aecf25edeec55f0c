"""Tables of a site file as they come together, and the file that they become."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
Section = dict[str, Any]
"""Keys of a configuration file, and lists of its inner sections."""


@dataclass
class Imported:
    """A site file's tables, and what a person should know of them."""

    table: dict[str, Any] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_value(text: str) -> str | int | bool:
    """A value of a configuration file as TOML has it."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return int(text) if re.fullmatch(r"0|[1-9][0-9]{0,9}", text) else text


def write_site(table: Mapping[str, Any]) -> str:
    """A site file with these tables."""
    lines: list[str] = []
    for name, value in table.items():
        if isinstance(value, list):
            for part in value:
                lines += [f"[[{name}]]", *_write_keys(part), ""]
        else:
            inner = {key: part for key, part in value.items() if key != "devices"}
            lines += [f"[{name}]", *_write_keys(inner), ""] if inner else []
            for device in value.get("devices", []):
                lines += [f"[[{name}.devices]]", *_write_keys(device), ""]
    return "\n".join(lines)


def _write_keys(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        if key == "extra":
            plain = "'''" not in value and not _CONTROL.search(value)
            yield f"extra = '''\n{value}'''" if plain else f"extra = {_quote(value)}"
        else:
            yield f"{_write_key(key)} = {_write_value(value)}"


def _write_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _quote(key)


def _write_value(value: object) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_write_key(key)} = {_write_value(part)}" for key, part in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_write_value(part) for part in value)}]"
    return _quote(value)


def _quote(value: object) -> str:
    """A value of TOML: JSON's form, and one sign more that has to be escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")
