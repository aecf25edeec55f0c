"""The security tracker's data: limits, shape, and what hostile or broken files are answered."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapkg.control import SourceName, Suite
from hapkg.currency import tracker
from hapkg.currency.tracker import SuiteState, TrackerData, parse_tracker, read_tracker
from hapkg.errors import FetchError, IntegrityError, UsageError
from hapkg.locations import State

ONE = SourceName("one")
STATE = {"status": "resolved", "fixed_version": "1.2-1", "urgency": "low", "repositories": {"sid": "1.3-1"}}
GOOD = {"one": {"CVE-2026-0001": {"description": "a hole", "debianbug": 7, "releases": {"sid": STATE}}}, "two": {}}


def parse(value: object) -> TrackerData:
    return parse_tracker(json.dumps(value).encode(), "data.json", [ONE])


def with_state(state: object) -> object:
    return {"one": {"CVE-2026-0001": {"releases": {"sid": state}}}}


def test_what_is_asked_for_is_read_and_nothing_else() -> None:
    data = parse({**GOOD, "unread": {"CVE-1": "broken, and none of ours"}})
    (hole,) = data.holes[ONE]
    assert (hole.id, hole.description, data.packages) == ("CVE-2026-0001", "a hole", 3)
    assert hole.suites == {Suite("sid"): SuiteState(status="resolved", fixed="1.2-1", urgency="low")}


def test_data_without_any_of_our_sources_is_not_taken_for_good_news() -> None:
    with pytest.raises(IntegrityError, match="knows none of our 1 sources"):
        parse({"other": {}})


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], "the whole is not an object"),
        ({"one": []}, "one is not an object"),
        ({"one": {"CVE-2026-0001": None}}, "CVE-2026-0001 is not an object"),
        ({"one": {"CVE-2026-0001": {}}}, "releases is not an object"),
        ({"one": {"\x1b[2J": {"releases": {}}}}, "is no id of a hole"),
        ({"one": {f"CVE-2026-{number:05}": {"releases": {}} for number in range(10_001)}}, "more than 10,000 holes"),
        ({"one": {"CVE-2026-0001": {"releases": {}, "description": "x" * 100_001}}}, "description is not a text"),
        ({"one": {"CVE-2026-0001": {"releases": {}, "description": [7]}}}, "description is not a text"),
        (with_state({**STATE, "status": "fine"}), "status is 'fine'"),
        (with_state({**STATE, "status": ["open"]}), "status is not a text"),
        (with_state({**STATE, "fixed_version": "1 && reboot"}), "which is no version"),
        (with_state({"status": "resolved"}), "which is no version"),
        (with_state([]), "sid is not an object"),
    ],
)
def test_another_shape_is_refused_with_its_place(value: object, told: str) -> None:
    with pytest.raises(IntegrityError, match=r"^data\.json: ") as caught:
        parse(value)
    assert told in caught.value.brief
    assert "\x1b" not in caught.value.brief


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"\xff\xfe", b"{" * 100_000, b"[" * 1_000_000, b'{"one": {}} x', b'{"one"', b"\x00" * 100],
    ids=["empty", "page", "bytes", "deep objects", "deep lists", "more", "cut off", "zeros"],
)
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(IntegrityError, match="is not JSON of the security tracker"):
        parse_tracker(content, "data.json", [ONE])


def test_a_number_of_any_length_costs_nothing() -> None:
    content = json.dumps(GOOD).replace("7", "7" * 1_000_000).encode()
    assert parse_tracker(content, "data.json", [ONE]).packages == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["one", "CVE-2026-0001", "releases", "sid"]), inner)
    ),
)


@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        data = parse(value)
    except IntegrityError:
        return
    assert isinstance(data.holes, Mapping)


def test_a_file_and_an_address_are_read_alike(tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_text(json.dumps(GOOD))
    state = State(tmp_path / "state")
    assert read_tracker(str(file), [ONE], state).holes == read_tracker(file.as_uri(), [ONE], state).holes
    assert list(state.sources.iterdir()) == []


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("missing", "fifo", "."):
        with pytest.raises(UsageError, match=r"--data|is no file|cannot be read"):
            read_tracker(str(tmp_path / name), [ONE], State(tmp_path / "state"))


def test_what_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "MOST_BYTES", 100)
    file = tmp_path / "data.json"
    file.write_text(json.dumps(GOOD))
    with pytest.raises(IntegrityError, match="larger than 100 bytes"):
        read_tracker(str(file), [ONE], State(tmp_path / "state"))
    with pytest.raises(FetchError, match="larger than 100 bytes"):
        read_tracker(file.as_uri(), [ONE], State(tmp_path / "state"))


def test_an_address_that_does_not_answer_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="cannot be reached") as caught:
        read_tracker((tmp_path / "missing").as_uri(), [ONE], State(tmp_path / "state"))
    assert "--data" in caught.value.hint
