"""VEX: statements of one publish go into the next, and the document is valid by OpenVEX's words."""

from __future__ import annotations

import json

import pytest

from hapkg.evidence.vex import VexStatement, VexStatus, merge_statements, read_vex, write_vex

OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"


def state(status: VexStatus, *products: str, hole: str = "CVE-2026-0001", date: str = "") -> VexStatement:
    return VexStatement(hole=hole, products=frozenset(products), status=status, why="because", date=date)


def test_what_is_said_again_keeps_its_date() -> None:
    before = [state(VexStatus.FIXED, "a", "b", date=OLD)]
    assert [one.date for one in merge_statements([state(VexStatus.FIXED, "a", "b")], before, "ab", NEW)] == [OLD]
    assert [one.date for one in merge_statements([state(VexStatus.AFFECTED, "a", "b")], before, "ab", NEW)] == [NEW]


def test_what_is_said_anew_takes_the_place_of_what_was_said_of_that_package() -> None:
    before = [state(VexStatus.AFFECTED, "a", "b", date=OLD)]
    merged = merge_statements([state(VexStatus.FIXED, "b")], before, "ab", NEW)
    assert {(one.status, one.products) for one in merged} == {
        (VexStatus.AFFECTED, frozenset("a")),
        (VexStatus.FIXED, frozenset("b")),
    }


def test_packages_that_are_gone_are_spoken_of_no_more() -> None:
    before = [state(VexStatus.FIXED, "a", "b", date=OLD), state(VexStatus.FIXED, "c", date=OLD)]
    assert [one.products for one in merge_statements([], before, "b", NEW)] == [frozenset("b")]


@pytest.mark.parametrize(
    ("status", "key"),
    [
        (VexStatus.FIXED, "status_notes"),
        (VexStatus.NOT_AFFECTED, "impact_statement"),
        (VexStatus.AFFECTED, "action_statement"),
    ],
)
def test_the_reason_stands_where_openvex_wants_it(status: VexStatus, key: str) -> None:
    content = write_vex("somebody", "bookworm", [state(status, "pkg:deb/v/a@1", date=OLD)])
    table = json.loads(content)
    (statement,) = table["statements"]
    assert (statement[key], statement["status"]) == ("because", str(status))
    assert table["@context"] == "https://openvex.dev/ns/v0.2.0"
    assert read_vex(content) == ([state(status, "pkg:deb/v/a@1", date=OLD)], 1)
