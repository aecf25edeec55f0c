"""A repository that nobody signs: only when told to, loud, and whole all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from hapkg.disk import Batch
from hapkg.errors import RepositoryError
from hapkg.repository.change import PublishTarget
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.page import write_page
from hapkg.repository.publishing import refresh, rollback
from hapkg.repository.snapshots import list_snapshots
from hapkg.repository.verify import is_unsigned
from tests.support.packages import BOOKWORM, IDENTITY, Builds, Client, Issue, take_snapshot, verify_here


def test_apt_reads_what_is_not_signed_when_told_to_trust_it(
    root: Path, issue: Issue, stacks: Builds, key: KeyChoice, client: Callable[[str], Client]
) -> None:
    unsigned = replace(key, unsigned=True)
    sources = issue(stacks(1), choice=unsigned).sources[0].read_text()
    assert sources.startswith("# NOT SIGNED")
    assert "\nTrusted: yes\n" in sources
    machine = client(sources)
    machine.update()
    assert machine.candidate("ha-stack") == "1.2-1+ha12.0"
    machine.apt("apt-get", "download", "ha-stack")
    assert client(sources.replace("Trusted: yes\n", "")).refuses()
    before = take_snapshot(root)
    issue(stacks(1), choice=unsigned)
    assert take_snapshot(root) == before
    issue(stacks(2), choice=unsigned)
    machine.update()
    assert machine.candidate("ha-stack") == "1.2-2+ha12.0"
    rollback(PublishTarget(root=root, identity=IDENTITY, choice=unsigned), BOOKWORM, 1)
    machine.update()
    assert machine.candidate("ha-stack") == "1.2-1+ha12.0"
    assert [snapshot.keys for snapshot in list_snapshots(root, BOOKWORM)] == [(), (), ()]
    assert is_unsigned(root)
    assert (verify_here(root).faults, verify_here(root).surplus) == ((), ())
    assert "Nothing here is signed" in write_page(root, IDENTITY, (), Batch()).read_text()


def test_what_is_not_signed_may_be_signed_later_and_never_the_other_way(
    root: Path, issue: Issue, stacks: Builds, key: KeyChoice, client: Callable[[str], Client]
) -> None:
    issue(stacks(1), choice=replace(key, unsigned=True))
    machine = client(issue(stacks(2)).sources[0].read_text())
    machine.update()
    assert machine.candidate("ha-stack") == "1.2-2+ha12.0"
    assert verify_here(root).faults == ()
    assert not is_unsigned(root)
    before = take_snapshot(root)
    unsigned = replace(key, unsigned=True)
    acts: tuple[Callable[[], object], ...] = (
        partial(issue, stacks(3), choice=unsigned),
        partial(refresh, PublishTarget(root=root, identity=IDENTITY, choice=unsigned)),
    )
    for act in acts:
        with pytest.raises(RepositoryError, match=r"bookworm of .* is signed, and would not be any more"):
            act()
    assert take_snapshot(root) == before


def test_a_signature_that_somebody_took_away_is_a_fault(root: Path, issue: Issue, stacks: Builds) -> None:
    issue(stacks(1))
    (root / "dists/bookworm/InRelease").unlink()
    assert verify_here(root).faults == (
        "dists/bookworm/InRelease carries no good signature of the keys it is checked with",
    )
