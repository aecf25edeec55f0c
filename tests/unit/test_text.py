"""Text of others as people see it."""

from __future__ import annotations

import pytest

from hapkg.errors import BuildError
from hapkg.text import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\twords, Übergröße, 漢字", "plain\twords, Übergröße, 漢字"),
        ("\x1b]0;owned\x07\x1b[2J", r"\x1b]0;owned\x07\x1b[2J"),
        ("two\nlines\r", r"two\x0alines\x0d"),
        (b"\xff\xfe".decode("utf-8", "surrogateescape"), r"\xff\xfe"),
        ("\x9b31m\u202egnp.exe\u2066", r"\x9b31m\u202egnp.exe\u2066"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_a_terminal_would_act_on_is_escaped(text: str, expected: str) -> None:
    assert printable(text) == expected
    assert printable(text).encode()


def test_an_error_that_quotes_others_is_printable() -> None:
    error = BuildError("bad \x1b[2J", details=["one\ntwo\x07", "three"], hint="\udcff")
    assert (error.brief, error.details, error.hint) == (r"bad \x1b[2J", ("one\ntwo\\x07", "three"), r"\xff")
    assert str(error) == error.brief
