"""Readers of foreign bytes, with mutations of what they expect: a value or an error of hapkg, no other."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hapkg.errors import HapkgError
from tests.support.foreign import Reader, make_readers

NAMES = tuple(make_readers())
PIECES = (
    b"",
    b"\0",
    b"\n",
    b"\n\n",
    b" ",
    b"\xff",
    b"../",
    b"/",
    b":",
    b"-1",
    b"9" * 30,
    b"[",
    b"{}",
    b'"',
    b"\xed\xa0\x80",
)
"""Bytes that stand at a border of some grammar."""


EXAMPLES = int(os.environ.get("HAPKG_EXAMPLES", "60"))


@cache
def find_readers() -> dict[str, Reader]:
    return make_readers()


@st.composite
def mutations(draw: Callable[..., int], sample: bytes) -> bytes:
    """A sample with a few parts replaced, repeated or left out."""
    content = sample
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        piece = PIECES[draw(st.integers(0, len(PIECES) - 1))]
        content = content[:start] + piece * draw(st.integers(1, 2)) + content[end:]
    return content


@pytest.mark.parametrize("name", NAMES)
def test_foreign_bytes_end_in_a_value_or_an_error_of_hapkg(name: str) -> None:
    reader = find_readers()[name]
    with tempfile.TemporaryDirectory() as folder:

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.binary(max_size=64) | mutations(reader.sample))
        def read(content: bytes) -> None:
            with contextlib.suppress(HapkgError, *reader.also):
                reader.read(Path(folder), content)

        read()
