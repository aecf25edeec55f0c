"""Harm to a file: of its size, shorter, longer."""

from __future__ import annotations

from pathlib import Path


def poison(file: Path) -> None:
    """Put another content of its size into a file."""
    file.write_bytes(b"x" * file.stat().st_size)


def truncate(file: Path) -> None:
    """Take the last byte of a file."""
    file.write_bytes(file.read_bytes()[:-1])


def lengthen(file: Path) -> None:
    """Add a byte to a file."""
    file.write_bytes(file.read_bytes() + b"x")
