"""Versions in upstream's tags, as its projects make them."""

from __future__ import annotations

import pytest

from hapkg.recipe.upstream_tags import find_pattern, find_versions
from tests.support.samples import AUTOTOOLS, make_recipe_from


@pytest.mark.parametrize(
    ("tag", "version", "other", "read"),
    [
        ("v2.0.8", "2.0.8", "v2.0.10", "2.0.10"),
        ("v2.0.8", "2.0.8", "v2.0.10-rc1", "2.0.10~rc1"),
        ("v2.0.8", "2.0.8", "2.0.10", None),
        ("v2.0.8", "2.0.8", "v2.0.10-5-gabc", None),
        ("Pacemaker-3.0.1", "3.0.1", "Pacemaker-3.0.3", "3.0.3"),
        ("Pacemaker-3.0.1", "3.0.1", "Pacemaker-3.0.3\n", None),
        ("5.0.0-rc1", "5.0.0~rc1", "5.1.0", "5.1.0"),
        ("5.0.0-rc1", "5.0.0~rc1", "5.1.0-rc2", "5.1.0~rc2"),
        ("5.0.0", "5.0.0", "5.0.0_beta.2", "5.0.0~beta2"),
        ("glue-1.0.12", "1.0.12", "glue-1.0.9", "1.0.9"),
        ("release_1_2_3", "1.2.3", "release_1_3_0", "1.3.0"),
        ("one-1.2-stable", "1.2", "one-1.3-stable", "1.3"),
        ("one-1.2-stable", "1.2", "one-1.3", None),
    ],
)
def test_a_tag_is_read_as_the_recipes_own(tag: str, version: str, other: str, read: str | None) -> None:
    pattern = find_pattern(tag, version)
    assert pattern is not None
    assert pattern.read(tag) == version
    assert pattern.read(other) == read


@pytest.mark.parametrize(
    ("tag", "version"), [("final", "1.2"), ("v11.2", "1.2"), ("v1.20", "1.2"), ("5.0.0-rc2", "5.0.0~rc1")]
)
def test_a_tag_without_the_version_has_no_pattern(tag: str, version: str) -> None:
    assert find_pattern(tag, version) is None


def versions(tags: list[str], **upstream: object) -> list[str]:
    table = {**AUTOTOOLS, "upstream": {"git": "https://git.example.org/one.git", "tag": "v1.2", **upstream}}
    return [*find_versions(make_recipe_from(table), tags)]


def test_candidates_dates_and_ignored_versions_are_no_news() -> None:
    tags = ["v1.3", "v1.4-rc1", "v20250101", "v2.0", "other-1.9"]
    assert versions(tags) == ["1.3", "2.0"]
    assert versions(tags, ignore=[r"^2\."]) == ["1.3"]
