"""Base chroots of a build cache: which one is taken, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest

from hapkg.cache.base import BaseEntry, BaseRequest, bring_base, find_base_blobs
from hapkg.cache.entry import CachedFile, find_blob_path
from hapkg.cache.signed import write_signed
from hapkg.chroot.transport import BaseFacts
from hapkg.records import format_record
from tests.unit.cache.conftest import SUITE, Shared

WISH = BaseRequest(suite=SUITE, architecture="amd64", further="", pinned="")
FILE = CachedFile(sha256="ab" * 32, size=100)
PATH = f"bases/{SUITE}-amd64.json"


def put(shared: Shared, *, made: int = 100, other: bool = False, **facts: str) -> None:
    """Sign a base that was never packed."""
    plain = {"digest": "d", "index": "i", "contents": "c", "further": "", "pinned": ""}
    described: Mapping[str, Any] = {**plain, **{name: value for name, value in facts.items() if name in plain}}
    entry = BaseEntry(
        suite=facts.get("suite", SUITE),
        architecture=facts.get("architecture", "amd64"),
        facts=BaseFacts(packages=3, **described),
        file=FILE,
        made=made,
    )
    write_signed(shared.place, PATH, format_record(asdict(entry)), shared.other if other else shared.key)


def find_clause(shared: Shared) -> str:
    """The words about why no base is taken."""
    base, clause = bring_base(shared.place, (shared.key.fingerprint,), shared.here.state, WISH)
    assert base is None
    assert not list(shared.here.state.chroots.glob("**/*"))
    return clause


def test_a_cache_without_one_needs_no_words(shared: Shared) -> None:
    assert find_clause(shared) == ""


@pytest.mark.parametrize(
    ("facts", "clause"),
    [
        ({"suite": "sid"}, "is of another suite or architecture"),
        ({"architecture": "arm64"}, "is of another suite or architecture"),
        ({"further": "f" * 64}, "is of other archives"),
        ({"pinned": "f" * 64}, "has other packages than the lock"),
        ({"other": True}, "which build-cache-trust does not name"),
        ({}, "lacks base.tar.zst"),
    ],
)
def test_a_base_that_is_not_the_one_that_is_wanted_is_named(shared: Shared, facts: dict[str, Any], clause: str) -> None:
    put(shared, **facts)
    assert clause in find_clause(shared)


def test_a_base_that_somebody_put_back_is_not_taken(shared: Shared) -> None:
    memory = shared.here.state.cache_entries / PATH.replace("/", "-")
    memory.parent.mkdir(parents=True)
    memory.write_bytes(format_record({"made": 200, "sha256": FILE.sha256}))
    put(shared, made=100)
    assert "is older than the one that was taken before" in find_clause(shared)
    put(shared, made=200)
    assert "lacks base.tar.zst" in find_clause(shared)


def test_the_archive_of_a_base_is_not_pruned(shared: Shared) -> None:
    put(shared)
    assert list(find_base_blobs(shared.place)) == [find_blob_path(FILE.sha256)]
