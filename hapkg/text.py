"""Text of others, shown to people: file names, logs, fields of packages."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f"  # controls, tab left out: they move, colour and rename the terminal
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # they hide letters or turn their order
    "\ud800-\udfff]"  # bytes that are no UTF-8, as Python carries them
)


def printable(text: str) -> str:
    r"""Escape what a terminal would act on, and what is no UTF-8: ESC becomes \x1b, a line end \x0a."""
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    if 0xDC80 <= number <= 0xDCFF:
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
