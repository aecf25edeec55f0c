"""Versions: put together, taken apart, and in the order that dpkg gives them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hapkg.control import compare_versions
from hapkg.distribution import read_distributions
from hapkg.recipe.version import Version, is_upstream_version, make_snapshot

COMMIT = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"

digits = st.sampled_from("0123456789")
upstreams = st.builds(str.__add__, digits, st.text("019abhzAZ.+~", max_size=12)).filter(is_upstream_version)
numbers = st.integers(0, 10**6)
releases = st.lists(st.integers(1, 99), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
SUITES = {name: distribution.suites[name] for name, distribution in read_distributions().items()}
"""Release numbers that versions get, by suite."""
ORDERS = {
    one.vendor: tuple(one.suites[suite] for suite in one.bases[: len(one.suites)])
    for one in read_distributions().values()
}
"""Release numbers of each distribution that hapkg brings, the oldest first."""
STEPS = [step for order in ORDERS.values() for step in pairwise(order)]
versions = st.builds(
    Version,
    upstream=upstreams,
    revision=st.none() | st.integers(1, 10**6),
    release=releases,
    rebuild=numbers,
)


def compare_with_dpkg(pairs: Sequence[tuple[str, str]]) -> list[int]:
    """-1, 0 or 1 for each pair, by one shell that asks dpkg for all of them."""
    script = """while read -r left right; do
        if dpkg --compare-versions "$left" lt "$right"; then echo -1
        elif dpkg --compare-versions "$left" eq "$right"; then echo 0
        else echo 1; fi
    done"""
    lines = "".join(f"{left} {right}\n" for left, right in pairs)
    done = subprocess.run(["sh", "-c", script], input=lines, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [int(line) for line in done.stdout.split()]


def assert_rising(texts: Iterable[str]) -> None:
    """Each version is older than the next, for dpkg and for hapkg."""
    pairs = list(pairwise(texts))
    assert compare_with_dpkg(pairs) == [-1] * len(pairs), pairs
    assert [compare_versions(*pair) for pair in pairs] == [-1] * len(pairs), pairs


def make(upstream: str, revision: int | None = 1, release: str = "12", rebuild: int = 1) -> str:
    return str(Version(upstream=upstream, revision=revision, release=release, rebuild=rebuild))


@given(versions)
def test_a_version_survives_writing_and_reading(version: Version) -> None:
    assert Version.parse(str(version)) == version


@given(st.one_of(st.text(max_size=20), st.text("01.-+ha", max_size=12).map("1{}+ha1.1".format)))
def test_what_can_be_read_is_written_the_same(text: str) -> None:
    try:
        version = Version.parse(text)
    except ValueError as error:
        assert str(error) == f"{text!r} is not a version made by hapkg"
    else:
        assert str(version) == text


@pytest.mark.parametrize(
    "text", ["", "2.0.8-1", "2.0.8-0+ha12.1", "1:2.0.8-1+ha12.1", "2.0.8-1+ha12", "2.0-1+ha12.1\n"]
)
def test_a_version_of_somebody_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a version made by hapkg"):
        Version.parse(text)


def test_a_version_is_built_from_its_parts() -> None:
    assert make("2.0.8") == "2.0.8-1+ha12.1"
    assert make("1.0.0", None, "13", 2) == "1.0.0+ha13.2"
    assert make("1.0.0", 1, "24.04", 2) == "1.0.0-1+ha24.04.2"
    assert Version(upstream="2.0.8", revision=3, release="13", rebuild=10).base == "2.0.8-3+ha13"


def test_an_upstream_version_has_neither_epoch_nor_hyphen_nor_our_mark() -> None:
    candidates = ("2.0.8", "1.0~rc1", "2.0.8+git20240131.1a2b3c4", "", "v2", "1:2", "2-1", "2+ha1", "2_0", "2\n", "²")
    assert [text for text in candidates if is_upstream_version(text)] == list(candidates[:3])


def test_a_snapshot_names_date_and_commit() -> None:
    assert make_snapshot("2.0.8", "20240131120000", COMMIT) == "2.0.8+git20240131120000.1a2b3c4"


def test_releases_candidates_and_snapshots_are_in_order() -> None:
    first, second = (make_snapshot("2.0.8", date, COMMIT) for date in ("20240131120000", "20240201000000"))
    rising = ("2.0.7", "2.0.8~rc1", "2.0.8~rc2", "2.0.8", first, second, "2.0.8.1", "2.0.9", "2.0.10", "2.1", "10")
    assert_rising(map(make, rising))


@pytest.mark.parametrize("upstream", ["2.0.8", "1.0~rc1", make_snapshot("2.0.8", "20240131", COMMIT), "10"])
@pytest.mark.parametrize("suites", ORDERS.values(), ids=ORDERS)
def test_the_revision_is_judged_before_the_suite_and_the_suite_before_the_rebuild(
    upstream: str, suites: tuple[str, ...]
) -> None:
    assert_rising(
        make(upstream, revision, release, rebuild)
        for revision in (1, 9, 10)
        for release in suites
        for rebuild in (1, 9, 10, 100)
    )


@pytest.mark.parametrize("suites", ORDERS.values(), ids=ORDERS)
def test_native_versions_are_in_order(suites: tuple[str, ...]) -> None:
    assert_rising(
        make(upstream, None, release, rebuild)
        for upstream in ("1.0.0~rc1", "1.0.0", "1.0.0.1", "1.0.1", "1.0.10", "1.1", "2")
        for release in suites
        for rebuild in (1, 9, 10)
    )


def test_versions_of_all_suites_are_different_files_in_one_pool() -> None:
    made = {make("2.0.8", 1, release, rebuild) for release in SUITES.values() for rebuild in range(1, 200)}
    assert len(made) == len(SUITES) * 199
    assert {Version.parse(version).release for version in made} == set(SUITES.values())


@settings(max_examples=3)
@given(st.lists(st.tuples(versions, versions), min_size=30, max_size=30))
def test_hapkg_orders_its_versions_as_dpkg_does(pairs: list[tuple[Version, Version]]) -> None:
    texts = [(str(left), str(right)) for left, right in pairs]
    assert [compare_versions(*pair) for pair in texts] == compare_with_dpkg(texts)


plain = st.lists(st.integers(0, 30), min_size=1, max_size=4)


@settings(max_examples=3)
@given(st.lists(st.tuples(plain, plain, numbers, numbers), min_size=30, max_size=30))
def test_a_newer_release_of_upstream_wins_whatever_the_rest_says(
    samples: list[tuple[list[int], list[int], int, int]],
) -> None:
    pairs: list[tuple[str, str]] = []
    for one, other, first, second in samples:
        older, newer = sorted((one, other))
        if older != newer:
            left, right = (".".join(map(str, parts)) for parts in (older, newer))
            pairs.append((make(left, 1 + first, "26.04", second), make(right, 1 + second, "12", first)))
    assert compare_with_dpkg(pairs) == [-1] * len(pairs)


def test_each_suite_has_its_place_in_an_order() -> None:
    assert sorted(number for order in ORDERS.values() for number in order) == sorted(SUITES.values())
    assert {suite for step in STEPS for suite in step} == set(SUITES.values()), "the order of each is tested"


@settings(max_examples=3)
@given(st.lists(st.tuples(upstreams, numbers, numbers), min_size=30, max_size=30))
def test_a_newer_suite_wins_whatever_the_rebuilds_were(samples: list[tuple[str, int, int]]) -> None:
    pairs = [
        (make(upstream, 1, old, first), make(upstream, 1, new, second))
        for upstream, first, second in samples
        for old, new in STEPS
    ]
    assert compare_with_dpkg(pairs) == [-1] * len(pairs)


epochs = st.sampled_from(["", "0:", "1:", "00:"])
foreign = st.builds(
    "{}{}{}".format, epochs, upstreams, st.sampled_from(["", "-1", "-0", "-1.1", "-1+deb12u1", "-1~bpo12+1"])
)


@settings(max_examples=3)
@given(st.lists(st.tuples(foreign, foreign), min_size=30, max_size=30))
def test_hapkg_orders_versions_of_debian_as_dpkg_does(pairs: list[tuple[str, str]]) -> None:
    assert [compare_versions(*pair) for pair in pairs] == compare_with_dpkg(pairs)
