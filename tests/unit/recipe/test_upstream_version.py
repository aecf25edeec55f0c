"""Upstream's part of Debian's versions."""

from __future__ import annotations

import pytest

from hapkg.recipe.upstream_version import compare_upstream, is_between, upstream_of


@pytest.mark.parametrize(
    ("version", "upstream"),
    [
        ("1:4.16.0-3+deb13u2", "4.16.0"),
        ("1.0-283-g9d4029a-2+deb12u1", "1.0-283-g9d4029a"),
        ("5.0.0~rc1-1", "5.0.0~rc1"),
        ("2.0+dfsg2-1", "2.0"),
        ("1.2", "1.2"),
    ],
)
def test_upstreams_part_of_a_version(version: str, upstream: str) -> None:
    assert upstream_of(version) == upstream


def test_versions_with_hyphens_have_their_order() -> None:
    assert compare_upstream("1.0-283-g9d4029a", "1.0") == 1
    assert compare_upstream("5.0.0~rc1", "5.0.0") == -1
    assert compare_upstream("2.0.10", "2.0.8") == 1


@pytest.mark.parametrize(
    ("version", "since", "until", "inside"),
    [
        ("1.9", None, "1.10", True),
        ("1.10", None, "1.10", False),
        ("1.10~rc1", None, "1.10", True),
        ("1.10", "1.10", None, True),
        ("1.9", "1.10", None, False),
        ("1.9", "1.8", "1.10", True),
        ("1.9", None, None, True),
    ],
)
def test_a_span_begins_with_its_first_version_and_ends_before_its_last(
    version: str, since: str | None, until: str | None, inside: bool
) -> None:
    assert is_between(version, since, until) is inside
