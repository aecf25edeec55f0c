"""The one line of a publish on what is not newer than the suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.control import SourceName, Suite
from hapkg.currency.promises import Promise, remember, tell_not_newer
from hapkg.locations import State

SUITE = Suite("trixie")
ONE, TWO, THREE = map(SourceName, ("ha-one", "ha-two", "ha-three"))


def test_older_equal_and_changed_ones_are_named(tmp_path: Path) -> None:
    state = State(tmp_path)
    remember(state, SUITE, [(ONE, "1.2", Promise.EQUAL), (TWO, "2.0", Promise.OLDER)])
    remember(state, SUITE, [(THREE, "3.0", Promise.NEWER)])
    told = tell_not_newer(state, SUITE, [(ONE, "1.2"), (TWO, "2.0"), (THREE, "3.0")])
    assert told.startswith("not newer than trixie's own of 20")
    assert told.endswith(": older: ha-two; equal: ha-one")
    assert tell_not_newer(state, SUITE, [(THREE, "3.0")]) == ""
    assert tell_not_newer(state, SUITE, [(THREE, "3.1")]).endswith("unknown: ha-three")


@pytest.mark.parametrize("content", [None, "", "[]", '{"asked": 1, "sources": {}}'])
def test_without_a_memory_it_says_how_to_get_one(tmp_path: Path, content: str | None) -> None:
    state = State(tmp_path)
    if content is not None:
        state.promises.mkdir()
        (state.promises / "trixie.json").write_text(content)
    assert "hapkg outdated --suite trixie" in tell_not_newer(state, SUITE, [(ONE, "1.2")])
    assert tell_not_newer(state, SUITE, []) == ""
