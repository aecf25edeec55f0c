"""The end of a suite: out of sight at once, its packages with a prune, its names and its history for good."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hapkg.cli.main import app
from hapkg.control import SourceName, Suite
from hapkg.errors import IntegrityError, RepositoryError
from hapkg.repository.change import PublishTarget
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.last_published import find_memory
from hapkg.repository.pruning import prune
from hapkg.repository.publishing import drop, promote, publish, refresh
from hapkg.repository.snapshots import find_ended, list_snapshots, read_held
from tests.support.miniature import CHECKOUT
from tests.support.packages import BOOKWORM, IDENTITY, Builds, Client, Issue, fork, serve, verify_here

TESTING = Suite("bookworm-testing")


@pytest.fixture
def site(root: Path, key: KeyChoice) -> PublishTarget:
    """The repository whose suites end."""
    return PublishTarget(root=root, identity=IDENTITY, choice=key)


def test_a_suite_that_ended_is_gone_from_all_that_others_see(
    root: Path, issue: Issue, stacks: Builds, site: PublishTarget, client: Callable[[str], Client]
) -> None:
    with serve(root) as url:
        issue(stacks(1), url=url)
        issue(stacks(2), pocket="testing")
        stable, testing = (client((root / f"ha-stack-{suite}.sources").read_text()) for suite in (BOOKWORM, TESTING))
        for machine in (stable, testing):
            machine.update()
        publication = drop(site, TESTING)
        assert (publication.written, publication.unchanged) == ((), (BOOKWORM,))
        stable.update()
        assert stable.candidate("ha-stack") == "1.2-1+ha12.0"
        told = testing.apt("apt-get", "update", "-q", check=False)
        assert "bookworm-testing Release' no longer has a Release file" in told
        # What it knew it still knows, until the prune.
        testing.apt("apt-get", "download", "ha-stack")
        assert sorted(file.name for file in root.glob("*.sources")) == ["ha-stack-bookworm.sources", "ha-stack.sources"]
        assert "testing" not in (root / "index.html").read_text()
        assert [folder.name for folder in (root / "dists").iterdir()] == ["bookworm"]
        report = verify_here(root)
        assert report.faults == ()
        assert report.surplus == ("pool/bookworm/main/h/ha-stack/ha-stack_1.2-2+ha12.0_all.deb",)
        prune(site, keep=3, days=30)
        assert (verify_here(root).faults, verify_here(root).surplus) == ((), ())


def test_packages_that_another_suite_has_too_stay(
    root: Path, issue: Issue, builds: Builds, site: PublishTarget
) -> None:
    issue(builds(1))
    issue(builds(2), pocket="testing")
    promote(site, TESTING, BOOKWORM)
    pool = sorted(root.glob("pool/**/*"))
    drop(site, TESTING)
    prune(site, keep=9, days=0, at_once=True)
    assert sorted(root.glob("pool/**/*")) == pool
    assert not (root / ".hapkg/removed").exists() or (root / ".hapkg/removed").read_text() == ""


@pytest.mark.parametrize("pruned", [False, True])
def test_names_stay_taken_and_versions_counted(
    root: Path, issue: Issue, builds: Builds, site: PublishTarget, tmp_path: Path, pruned: bool
) -> None:
    issue(builds(1))
    issue(builds(2), pocket="testing")
    drop(site, TESTING)
    if pruned:
        prune(site, keep=3, days=30)
        assert not list(root.glob("pool/**/*_1.2-2+ha12.0*"))
    held = read_held(root, BOOKWORM)[SourceName("ha-logic")]
    assert {one.version for one in held} == {"1.2-1+ha12.0", "1.2-2+ha12.0"}
    other = builds(2)
    files = [tmp_path / file.name for file in other.files]
    for file, copy in zip(other.files, files, strict=True):
        copy.write_bytes(file.read_bytes() + (b"\n" if file.name.startswith("ha-stack_") else b""))
    with pytest.raises(RepositoryError, match="already published with other bytes"):
        issue(replace(other, files=tuple(files)))
    issue(other)
    assert verify_here(root).faults == ()


def test_its_history_says_that_it_ended_and_goes_on_when_it_begins_anew(
    root: Path, issue: Issue, stacks: Builds, site: PublishTarget
) -> None:
    issue(stacks(1))
    issue(stacks(1), pocket="testing")
    issue(stacks(2), pocket="testing")
    drop(site, TESTING)
    (end,) = find_ended(root).values()
    assert (end.suite, end.number, end.act) == (TESTING, 3, "drop")
    refresh(site)
    assert find_ended(root) == {TESTING: end}
    assert [file.name for file in (root / ".hapkg/snapshots" / TESTING).iterdir()] == ["00000003.json"]
    issue(stacks(3), pocket="testing")
    assert find_ended(root) == {}
    assert [(one.number, one.act) for one in list_snapshots(root, TESTING)] == [(3, "drop"), (4, "publish")]
    prune(site, keep=1, days=0)
    assert verify_here(root).faults == ()


@pytest.mark.parametrize("name", ["trixie", "", "..", "../dists/bookworm-testing", "\x1b[2J"])
def test_only_a_suite_that_is_there_ends(
    root: Path, issue: Issue, stacks: Builds, site: PublishTarget, name: str
) -> None:
    issue(stacks(1))
    issue(stacks(1), pocket="testing")
    with pytest.raises(RepositoryError, match="is not in the repository") as refused:
        drop(site, Suite(name))
    assert refused.value.brief.isprintable()
    assert refused.value.hint == "published suites: bookworm, bookworm-testing"


def test_the_only_suite_does_not_end(root: Path, issue: Issue, stacks: Builds, site: PublishTarget) -> None:
    issue(stacks(1))
    with pytest.raises(RepositoryError, match="is the only suite"):
        drop(site, BOOKWORM)
    assert verify_here(root).faults == ()


def test_a_kill_at_any_step_leaves_the_suite_or_its_end(
    root: Path, issue: Issue, stacks: Builds, site: PublishTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(stacks(1))
    issue(stacks(2), pocket="testing")
    saved = root.with_name("saved")
    shutil.copytree(root, saved)

    def die_at(step: int) -> None:
        """Drop, and die just before the numbered rename or removal."""
        left = iter(range(step))

        def guard(act: Callable[..., object]) -> Callable[..., object]:
            def guarded(*words: object, **more: object) -> object:
                if next(left, None) is None:
                    os._exit(9)
                return act(*words, **more)

            return guarded

        for name in ("replace", "unlink"):
            monkeypatch.setattr(Path, name, guard(getattr(Path, name)))
        drop(site, TESTING)

    seen = set()
    for step in range(200):
        shutil.rmtree(root)
        shutil.copytree(saved, root)
        pid = fork(lambda step=step: die_at(step))  # type: ignore[misc]
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status in (0, 9)
        assert verify_here(root).faults == (), step
        suites = tuple(sorted(folder.name for folder in (root / "dists").iterdir()))
        seen.add(suites)
        refresh(site)  # whoever changes it next finishes it, or starts from what was
        assert verify_here(root).faults == (), step
        names = {file.name for file in root.glob("*.sources")} - {"ha-stack.sources"}
        assert names == {f"ha-stack-{suite}.sources" for suite in suites}, step
        assert ("testing" in (root / "index.html").read_text()) == (TESTING in suites), step
        assert [one.act for one in find_ended(root).values()] == (["drop"] if len(suites) == 1 else []), step
        if status == 0:
            break
    assert status == 0
    assert step > 8
    assert seen == {("bookworm", "bookworm-testing"), ("bookworm",)}


def test_the_memory_knows_that_a_suite_ended(
    root: Path,
    stacks: Builds,
    key: KeyChoice,
    site: PublishTarget,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    memory = find_memory(key.home, str(root))
    publish(site, [stacks(1)])
    publish(site, [stacks(2)], pocket="testing")
    old = root.with_name("old")
    shutil.copytree(root / "dists" / TESTING, old)
    monkeypatch.setenv("HAPKG_KEYS", str(key.home))

    def hapkg(*words: str) -> str:
        app(["--project", str(CHECKOUT), "repo", *words, "--repo", str(root)], standalone_mode=False)
        return capsys.readouterr().out

    hapkg("drop", TESTING, "--url", "https://packages.example.org/")
    rows = json.loads(hapkg("list", "--json"))
    assert [(row["suite"], row["act"], row["current"]) for row in rows] == [
        ("bookworm", "publish", True),
        (TESTING, "drop", False),
    ]
    assert memory.read()[TESTING].digest == ""
    assert memory.find_faults(root) == {}
    shutil.copytree(old, root / "dists" / TESTING)  # somebody who can write there puts it back
    with pytest.raises(RepositoryError, match="and was ended from here at"):
        hapkg("refresh")
    assert list(memory.find_faults(root)) == [TESTING]


def test_verify_knows_a_suite_that_is_gone_without_an_end_until_that_is_adopted(
    root: Path, stacks: Builds, key: KeyChoice, site: PublishTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAPKG_KEYS", str(key.home))
    memory = find_memory(key.home, str(root))
    publish(site, [stacks(1)])
    publish(site, [stacks(1)], pocket="testing")

    def hapkg(*words: str) -> None:
        app(["--project", str(CHECKOUT), "repo", *words, "--repo", str(root)], standalone_mode=False)

    hapkg("refresh")
    shutil.rmtree(root / "dists" / TESTING)
    hapkg("refresh")  # what is there goes on
    with pytest.raises(IntegrityError, match=r"suite bookworm-testing of .* was published from here .*, and is gone"):
        hapkg("verify")
    hapkg("refresh", "--adopt")
    hapkg("verify")
    assert list(memory.read()) == [BOOKWORM]
