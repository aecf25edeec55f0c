"""Files of bbolt, the database in which Trivy keeps what it knows: written in one go, to be read alone."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE = 4096
_MAGIC, _VERSION = 0xED0CDAED, 2
_LEAF, _META, _FREELIST = 0x02, 0x04, 0x10
"""Kinds of pages."""
_PLAIN, _NESTED = 0, 1
"""Kinds of values: bytes, and another bucket."""
_FREELIST_PAGE, _FIRST_PAGE = 2, 3
_HEAD = 16
"""Bytes of the head of a page, and of that of a key."""


def write_bolt(file: Path, buckets: Mapping[str, Any]) -> None:
    """Write a file: bytes by key, in buckets, which may have others in them."""
    pages = bytearray()
    root = _write_bucket(pages, buckets)
    end = _FIRST_PAGE + len(pages) // PAGE
    metas = [_make_page(number, _META, 0, _make_meta(root, end, number)) for number in (0, 1)]
    file.write_bytes(b"".join((*metas, _make_page(_FREELIST_PAGE, _FREELIST, 0, b""), pages)))


def _write_bucket(pages: bytearray, bucket: Mapping[str, Any]) -> int:
    """Append a bucket, one leaf of as many pages as it needs, after those in it; the number of its first page."""
    content = []
    for key, value in sorted((name.encode(), value) for name, value in bucket.items()):
        if isinstance(value, bytes):
            content.append((_PLAIN, key, value))
        else:
            content.append((_NESTED, key, struct.pack("<QQ", _write_bucket(pages, value), 0)))
    number = _FIRST_PAGE + len(pages) // PAGE
    heads, bodies = b"", b""
    for at, (kind, key, value) in enumerate(content):
        distance = (len(content) - at) * _HEAD + len(bodies)
        heads += struct.pack("<IIII", kind, distance, len(key), len(value))
        bodies += key + value
    pages += _make_page(number, _LEAF, len(content), heads + bodies)
    return number


def _make_page(number: int, kind: int, count: int, content: bytes) -> bytes:
    used = -(-(_HEAD + len(content)) // PAGE)
    return (struct.pack("<QHHI", number, kind, count, used - 1) + content).ljust(used * PAGE, b"\0")


def _make_meta(root: int, end: int, transaction: int) -> bytes:
    body = struct.pack("<IIIIQQQQQ", _MAGIC, _VERSION, PAGE, 0, root, 0, _FREELIST_PAGE, end, transaction)
    return body + struct.pack("<Q", _digest(body))


def _digest(content: bytes) -> int:
    """FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in content:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
