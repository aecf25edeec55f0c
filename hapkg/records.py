"""Records: JSON files that hapkg keeps for itself.

A crash, a full disk, another version of hapkg or a person may have left anything in one. It is used only when all of
it is as the dataclass that stands for it says; else it is as good as absent, and what it told is found out anew. Each
has the number of its format; those from before numbers were written are of the first.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")
FORMAT = 1
"""Raised when records of an older hapkg are not to be read any more."""
_MOST_BYTES = 256 << 20
_MOST_DIGITS = 20
"""Of a whole number: a time in nanoseconds has 19."""


def read_record(file: Path, kind: type[T], **known: object) -> T | None:
    """A record as what it stands for; None when it is missing, damaged, or of a hapkg that writes other keys.

    `known` are the fields of a dataclass that do not stand in its file.
    """
    try:
        content = _read(file)
    except (OSError, ValueError):
        return None
    return parse_record(content, kind, **known)


def parse_record(content: bytes | str, kind: type[T], **known: object) -> T | None:
    """A record by its bytes, as read_record() reads a file."""
    try:
        table = json.loads(content, parse_int=_read_number)
        if not _has_own_format(kind) and json.dumps(table.pop("format", FORMAT)) != str(FORMAT):
            return None
        if not is_dataclass(kind):
            table, others = table.pop("names"), table
            if others:
                return None
        elif not table.keys() <= {field.name for field in fields(kind)} - known.keys():
            return None
        # As JSON again, for there pydantic takes an array for a tuple, and still no word for a number.
        text = json.dumps({**table, **known}, allow_nan=False, default=str)
        record: T = _find_adapter(kind).validate_json(text, strict=True)  # type: ignore[arg-type]  # a class has a hash
        return record
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None


def format_record(content: Mapping[str, Any], *, names: bool = False) -> bytes:
    """Bytes of a record with these fields; names: of a table of names, which is read as a dictionary."""
    whole = {"format": FORMAT, "names": content} if names else {"format": FORMAT, **content}
    return json.dumps(whole, indent=1, sort_keys=True).encode() + b"\n"


def digest_json(value: object) -> str:
    """SHA256, in hexadecimal digits, of a value written as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _has_own_format(kind: Any) -> bool:
    """Test for a record that others keep as well, with a number of its own."""
    return is_dataclass(kind) and any(field.name == "format" for field in fields(kind))


def _read(file: Path) -> bytes:
    """Content of a file that is none of the kinds that never end. Raises OSError and ValueError."""
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
        state = os.fstat(opened.fileno())
        if not stat.S_ISREG(state.st_mode) or state.st_size > _MOST_BYTES:
            raise ValueError("no record")
        return opened.read()


def _read_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError("no number that hapkg writes")
    return int(digits)


@cache
def _find_adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
