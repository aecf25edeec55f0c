"""Records: JSON files that hapkg keeps for itself.

A crash, a full disk, another version of hapkg or a person may have left anything in one. It is used only when all of
it is as the dataclass that stands for it says; else it is as good as absent, and what it told is found out anew.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")
_MOST_BYTES = 256 << 20
_MOST_DIGITS = 20
"""Of a whole number: a time in nanoseconds has 19."""


def read_record(file: Path, kind: type[T], **known: object) -> T | None:
    """A record as what it stands for; None when it is missing, damaged, or of a hapkg that writes other keys.

    `known` are the fields of a dataclass that do not stand in its file.
    """
    try:
        table = json.loads(_read(file), parse_int=_read_number)
        if is_dataclass(kind) and not table.keys() <= {field.name for field in fields(kind)} - known.keys():
            return None
        # As JSON again, for there pydantic takes an array for a tuple, and still no word for a number.
        text = json.dumps({**table, **known}, allow_nan=False, default=str)
        record: T = _find_adapter(kind).validate_json(text, strict=True)  # type: ignore[arg-type]  # a class has a hash
        return record
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


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
