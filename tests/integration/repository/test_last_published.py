"""The publisher's own memory: an older state that is put back, and signatures that are taken away, are noticed."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hapkg.cli.main import app
from hapkg.errors import RepositoryError
from hapkg.repository.change import Publication, PublishTarget
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.last_published import Memory, find_memory, read_published
from hapkg.repository.publishing import publish, refresh, rollback
from hapkg.repository.verify import verify
from tests.support.packages import BOOKWORM, IDENTITY, OWN, Builds, read_index

Change = Callable[[PublishTarget], Publication]


@pytest.fixture
def site(root: Path, key: KeyChoice) -> PublishTarget:
    """A repository with a memory beside a key's folder."""
    return PublishTarget(root=root, identity=IDENTITY, choice=key, memory=find_memory(key.home, str(root)))


def change(site: PublishTarget, act: Change) -> Publication:
    """Change a repository and keep that in mind, as the commands do."""
    assert site.memory is not None
    with site.memory.keep() as states:
        publication = act(site)
        states.update(read_published(site.root))
    return publication


def replay(root: Path, stacks: Builds, site: PublishTarget) -> None:
    """Publish twice, and put the first state back."""
    change(site, lambda site: publish(site, [stacks(1)]))
    old = root.parent / "old"
    shutil.copytree(root, old)
    time.sleep(1.1)
    change(site, lambda site: publish(site, [stacks(2)]))
    shutil.rmtree(root)
    old.rename(root)


def test_an_older_state_is_refused_until_it_is_adopted(root: Path, stacks: Builds, site: PublishTarget) -> None:
    replay(root, stacks, site)
    before = (root / "dists/bookworm/InRelease").read_bytes()
    acts: tuple[Change, ...] = (
        refresh,
        lambda site: publish(site, [stacks(3)]),
        lambda site: rollback(site, BOOKWORM, 1),
    )
    for act in acts:
        with pytest.raises(RepositoryError, match=r"suite bookworm of .* was published from here at ") as refused:
            change(site, act)
        assert "hapkg repo refresh --adopt" in refused.value.hint
        assert (root / "dists/bookworm/InRelease").read_bytes() == before
    keyring = root / "hapkg-test-archive-keyring.gpg"
    assert verify(root, keyring).faults == ()
    (fault,) = verify(root, keyring, site.memory).faults
    assert fault == refused.value.brief
    assert change(replace(site, adopt=True), refresh).written == (BOOKWORM,)
    assert verify(root, keyring, site.memory).faults == ()
    assert change(site, lambda site: publish(site, [stacks(3)])).written == (BOOKWORM,)


def strip(root: Path) -> None:
    """Make a repository one that was never signed."""
    for kind in ("dists/*/InRelease", "dists/*/Release.gpg", "*-archive-keyring.*"):
        for file in root.glob(kind):
            file.unlink()


def test_a_repository_without_signatures_is_known_as_one_that_had_them(
    root: Path, stacks: Builds, site: PublishTarget
) -> None:
    change(site, lambda site: publish(site, [stacks(1)]))
    strip(root)
    for target in (site, replace(site, choice=replace(site.choice, unsigned=True)), replace(site, adopt=True)):
        with pytest.raises(RepositoryError, match=r"suite bookworm of .* has lost its InRelease"):
            change(target, refresh)
    (fault,) = verify(root, None, site.memory).faults
    assert "has lost its InRelease" in fault


def test_a_journal_beside_it_makes_it_a_first_publish_of_which_nothing_is_taken(
    root: Path, stacks: Builds, site: PublishTarget
) -> None:
    change(site, lambda site: publish(site, [stacks(1)]))
    strip(root)
    (root / ".hapkg/staging").mkdir(exist_ok=True)
    (root / ".hapkg/staging/journal").write_text("")
    change(site, lambda site: publish(site, [stacks(2)]))
    (index,) = root.glob(f"dists/bookworm/main/binary-{OWN}/Packages")
    assert [stanza["Version"] for stanza in read_index(index)] == ["1.2-2+ha12.0"]


def test_a_suite_that_was_removed_may_begin_anew(root: Path, stacks: Builds, site: PublishTarget) -> None:
    change(site, lambda site: publish(site, [stacks(1)]))
    change(site, lambda site: publish(site, [stacks(1)], pocket="testing"))
    testing = root / "dists/bookworm-testing"
    (testing / "InRelease").unlink()  # its first publish after that was killed
    (root / ".hapkg/staging").mkdir(exist_ok=True)
    (root / ".hapkg/staging/journal").write_text("")
    change(site, lambda site: publish(site, [stacks(2)]))
    change(site, lambda site: publish(site, [stacks(2)], pocket="testing"))
    (index,) = testing.glob(f"main/binary-{OWN}/Packages")
    assert [stanza["Version"] for stanza in read_index(index)] == ["1.2-2+ha12.0"]


def test_a_repository_that_is_begun_anew_may_be_unsigned(root: Path, stacks: Builds, site: PublishTarget) -> None:
    change(site, lambda site: publish(site, [stacks(1)]))
    shutil.rmtree(root)
    unsigned = replace(site, choice=replace(site.choice, unsigned=True))
    for number in (1, 2):
        change(unsigned, lambda site, number=number: publish(site, [stacks(number)]))  # type: ignore[misc]
    assert site.memory is not None
    assert site.memory.read() == {}


def test_a_second_machine_with_the_same_keys_publishes_by_turns(
    root: Path, stacks: Builds, site: PublishTarget, tmp_path: Path
) -> None:
    other = replace(site, memory=find_memory(tmp_path / "copied keys", str(root)))
    for number, target in enumerate((site, other, site, other, other, site), 1):
        assert change(target, lambda site, number=number: publish(site, [stacks(number)])).written  # type: ignore[misc]


def test_what_failed_is_not_kept_in_mind(root: Path, stacks: Builds, site: PublishTarget) -> None:
    def fail(site: PublishTarget) -> Publication:
        publish(site, [stacks(2)])
        raise RepositoryError("the line is cut")

    assert site.memory is not None
    change(site, lambda site: publish(site, [stacks(1)]))
    before = site.memory.read()
    with pytest.raises(RepositoryError, match="the line is cut"):
        change(site, fail)
    assert site.memory.read() == before != {}


DAMAGED = (
    "",
    "{",
    "[]",
    "7",
    "\0",
    '{"format": 2}',
    '{"format": 1, "place": "PLACE"}',
    '{"format": 1, "place": "PLACE", "suites": []}',
    '{"format": 1, "place": "PLACE", "suites": {"bookworm": 7}}',
    '{"format": 1, "place": "PLACE", "suites": {"bookworm": ["x", "yesterday"]}}',
    '{"format": 1, "place": "PLACE", "suites": {"bookworm": ["x", 9]}}',
    '{"format": 1, "place": "elsewhere", "suites": {"bookworm": ["x", "2999-01-01T00:00:00+00:00"]}}',
    '{"format": 2, "place": "PLACE", "suites": {"bookworm": ["x", "2999-01-01T00:00:00+00:00"]}}',
    "[" * 100000,
)


@pytest.mark.parametrize("text", DAMAGED, ids=lambda text: text[:60])
def test_a_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    memory = Memory(file=tmp_path / "memory.json", place="PLACE")
    assert memory.read() == {}
    memory.file.write_text(text)
    assert memory.read() == {}
    memory.file.write_text(
        '{"format": 1, "place": "PLACE", "suites": {"bookworm": ["x", "2999-01-01T00:00:00+00:00"]}}'
    )
    assert list(memory.read()) == ["bookworm"]


def test_the_commands_keep_it_in_mind(
    root: Path, stacks: Builds, key: KeyChoice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    shutil.copytree(key.home, keys)
    keys.chmod(0o700)
    monkeypatch.setenv("HAPKG_KEYS", str(keys))
    publish(PublishTarget(root=root, identity=IDENTITY, choice=KeyChoice(home=keys)), [stacks(1)])
    repo = ["--repo", str(root)]
    app(["repo", "refresh", *repo], standalone_mode=False)
    (file,) = (tmp_path / "keys-published").iterdir()
    table = json.loads(file.read_text())
    assert (table["format"], table["place"], list(table["suites"])) == (1, str(root), ["bookworm"])
    old = root.parent / "old"
    shutil.copytree(root, old)
    time.sleep(1.1)
    app(["repo", "refresh", *repo], standalone_mode=False)
    shutil.rmtree(root)
    old.rename(root)
    for words in (["refresh"], ["rollback", "bookworm", "1"], ["verify"]):
        with pytest.raises(Exception, match=r"suite bookworm of .* was published from here at "):
            app(["repo", *words, *repo], standalone_mode=False)
    app(["repo", "refresh", "--adopt", *repo], standalone_mode=False)
    app(["repo", "verify", *repo], standalone_mode=False)
