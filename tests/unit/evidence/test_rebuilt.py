"""Records of rebuilds: found by a file's digest, the last one of each set of variations."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.evidence.rebuilt import Rebuild, RebuiltPackage, make_rebuild, note_rebuilds, read_rebuilt
from hapkg.locations import State

A, B = "a" * 64, "b" * 64


def make_package(sha256: str, *rebuilds: Rebuild) -> RebuiltPackage:
    return RebuiltPackage(
        sha256=sha256,
        file="ha-one_1-1_all.deb",
        source="ha-one",
        version="1-1",
        suite="bookworm",
        rebuilds=rebuilds,
    )


def note(state: State, *packages: RebuiltPackage) -> None:
    note_rebuilds(state, {package.sha256: package for package in packages})


def test_a_file_is_found_by_its_digest_alone(tmp_path: Path) -> None:
    state = State(tmp_path)
    first = make_rebuild(identical=True, found=A, state=state)
    note(state, make_package(A, first))
    found = read_rebuilt(state, A)
    assert found is not None and found.rebuilds == (first,)
    assert found.identical
    assert (read_rebuilt(state, B), read_rebuilt(state, "../chroot"), read_rebuilt(state, A.upper())) == (None,) * 3


def test_the_last_rebuild_of_each_set_of_variations_stays(tmp_path: Path) -> None:
    state = State(tmp_path)
    note(state, make_package(A, make_rebuild(identical=True, found=A, state=state)))
    report = tmp_path / "rebuilt" / "differences" / "report.txt"
    different = make_rebuild(identical=False, found=B, variations=["umask", "path"], report=report, state=state)
    note(state, make_package(A, different))
    found = read_rebuilt(state, A)
    assert found is not None and not found.identical and found.variations == ()
    assert found.rebuilds[-1].report == "rebuilt/differences/report.txt"
    note(state, make_package(A, make_rebuild(identical=True, found=A, variations=["path", "umask"], state=state)))
    found = read_rebuilt(state, A)
    assert found is not None and found.identical and found.variations == ("path", "umask")
    assert [rebuild.variations for rebuild in found.rebuilds] == [(), ("path", "umask")]


def test_nothing_rebuilt_is_nothing_identical() -> None:
    assert not make_package(A).identical


def test_a_record_of_another_file_does_not_count(tmp_path: Path) -> None:
    state = State(tmp_path)
    note(state, make_package(A, make_rebuild(identical=True, found=A, state=state)))
    (state.rebuilt / f"{A}.json").rename(state.rebuilt / f"{B}.json")
    assert read_rebuilt(state, B) is None
    with pytest.raises(ValueError, match="digest"):
        note_rebuilds(state, {B: make_package(A)})
