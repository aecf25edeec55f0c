"""Retention: files that prune keeps and removes; apt judges what is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from hapkg.cli.main import app
from hapkg.control import SourceName, Suite
from hapkg.errors import RepositoryError
from hapkg.repository import snapshots
from hapkg.repository.change import PublishTarget
from hapkg.repository.indexes import read_pool
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.pruning import decide_pruning, prune
from hapkg.repository.publishing import promote, publish, rollback
from hapkg.repository.snapshots import list_snapshots, read_removed
from hapkg.repository.upload import Upload
from hapkg.repository.verify import verify_at_rest
from tests.support.packages import (
    BOOKWORM,
    IDENTITY,
    TRIXIE,
    Builds,
    Client,
    Issue,
    fork,
    make_deb,
    take_snapshot,
    verify_here,
)


@pytest.fixture
def site(root: Path, key: KeyChoice) -> PublishTarget:
    """The repository to prune."""
    return PublishTarget(root=root, identity=IDENTITY, choice=key)


def find_versions(root: Path, package: str, suite: Suite = BOOKWORM) -> list[str]:
    """Revisions of a package that a suite offers."""
    versions = [p.version for p in read_pool(root, suite).packages if (p.name, p.architecture) == (package, "all")]
    return sorted(version.removeprefix("1.2-").removesuffix("+ha12.0") for version in versions)


def test_the_newest_versions_stay_and_the_rest_goes_whole(
    root: Path, issue: Issue, builds: Builds, client: Callable[[str], Client], site: PublishTarget
) -> None:
    for number in (1, 2, 3):
        sources = issue(builds(number)).sources[0].read_text()
    pruning = decide_pruning(root, keep=2, days=0, at_once=True)
    assert pruning.releases == (("ha-logic", "1.2-1+ha12.0"),)
    assert len(pruning.files) == 5
    assert find_versions(root, "ha-stack") == ["1", "2", "3"]
    before = sum(file.stat().st_size for file in root.glob("pool/**/*.*"))
    publication, done = prune(site, keep=2, days=0, at_once=True)
    assert (done, publication.written) == (pruning, (BOOKWORM,))
    assert before - sum(file.stat().st_size for file in root.glob("pool/**/*.*")) == sum(done.files.values())
    assert not list(root.glob("pool/**/*1.2-1*"))
    assert list(root.glob("pool/**/ha-logic_1.2.orig.tar.gz"))
    machine = client(sources)
    machine.update()
    assert "1.2-1+ha12.0" not in machine.apt("apt-cache", "madison", "ha-stack")
    assert prune(site, keep=2, days=0, at_once=True)[1].files == {}
    assert verify_here(root).faults == ()


def test_what_a_kept_stack_pins_stays_however_old(
    root: Path, site: PublishTarget, key: KeyChoice, tmp_path: Path
) -> None:
    def upload(source: str, *debs: Path) -> Upload:
        return Upload(suite=BOOKWORM, source=SourceName(source), files=debs)

    libraries = [make_deb(tmp_path, "libha", version) for version in ("1", "2", "3", "4")]
    middle = make_deb(tmp_path, "ha-middle", "1", Depends="libha (= 1)")
    stack = make_deb(tmp_path, "ha-stack", "1", Depends="libc6 (>= 2), ha-middle (= 1)")
    newer = make_deb(tmp_path, "ha-middle", "2", Depends="libha (= 4)")
    publish(
        PublishTarget(root=root, identity=IDENTITY, choice=key),
        [
            *(upload("libha", deb) for deb in libraries),
            upload("ha-middle", middle),
            upload("ha-middle", newer),
            upload("ha-stack", stack),
        ],
    )
    assert prune(site, keep=1, days=0, at_once=True)[1].releases == (("libha", "2"), ("libha", "3"))
    assert sorted((p.name, p.version) for p in read_pool(root, BOOKWORM).packages) == [
        ("ha-middle", "1"),
        ("ha-middle", "2"),
        ("ha-stack", "1"),
        ("libha", "1"),
        ("libha", "4"),
    ]


def test_what_is_young_stays_and_age_is_that_of_the_pool_file(
    root: Path, issue: Issue, stacks: Builds, site: PublishTarget
) -> None:
    for number in (1, 2, 3):
        issue(stacks(number))
    old = time.time() - 10 * 86400
    os.utime(root / "pool/bookworm/main/h/ha-stack/ha-stack_1.2-1+ha12.0_all.deb", (old, old))
    prune(site, keep=1, days=9, at_once=True)
    assert find_versions(root, "ha-stack") == ["2", "3"]


def test_a_snapshot_is_forgotten_with_its_packages_unless_a_slow_client_reads_it(
    root: Path, issue: Issue, stacks: Builds, site: PublishTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3, 4, 5):
        issue(stacks(number))
    assert decide_pruning(root, keep=1, days=0, at_once=True).snapshots == ()
    monkeypatch.setattr(snapshots, "SLOW_CLIENT", timedelta(0))
    prune(site, keep=1, days=0, at_once=True)
    assert [s.number for s in list_snapshots(root, BOOKWORM)] == [3, 4, 5, 6]
    with pytest.raises(RepositoryError, match="is missing from the pool"):
        rollback(site, BOOKWORM, 4)
    assert verify_here(root).faults == ()


def test_what_a_client_may_still_fetch_stays_for_a_day(
    root: Path,
    issue: Issue,
    stacks: Builds,
    site: PublishTarget,
    client: Callable[[str], Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issue(stacks(1))
    machine = client(issue(stacks(2)).sources[0].read_text())
    machine.update()
    _, pruning = prune(site, keep=1, days=0)
    assert ([Path(path).name for path in pruning.delayed], pruning.files) == (["ha-stack_1.2-1+ha12.0_all.deb"], {})
    assert pruning.releases == (("ha-stack", "1.2-1+ha12.0"),)
    assert find_versions(root, "ha-stack") == ["2"]
    machine.apt("apt-get", "download", "ha-stack=1.2-1+ha12.0")  # by the state it has read before
    assert prune(site, keep=1, days=0)[0].unchanged == (BOOKWORM,)
    report = verify_here(root)
    assert (report.faults, report.surplus) == ((), ())
    monkeypatch.setattr(snapshots, "SLOW_CLIENT", timedelta(0))
    assert len(prune(site, keep=1, days=0)[1].files) == 1
    assert find_versions(root, "ha-stack") == ["2"]
    assert len(list(root.glob("pool/**/*.deb"))) == 1


def test_each_suite_and_pocket_keeps_its_own_newest(
    root: Path, stacks: Builds, site: PublishTarget, key: KeyChoice, tmp_path: Path
) -> None:
    for number, pocket in ((1, ""), (2, ""), (3, "testing"), (4, "testing"), (5, "testing")):
        publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [stacks(number)], pocket=pocket)
    for version in ("1.2-1+ha13.0", "1.2-2+ha13.0"):
        deb = make_deb(tmp_path, "ha-stack", version)
        upload = Upload(suite=TRIXIE, source=SourceName("ha-stack"), files=(deb,))
        publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [upload])
    _, pruning = prune(site, keep=1, days=0, at_once=True)
    assert [version for _, version in pruning.releases] == [
        "1.2-1+ha12.0", "1.2-1+ha13.0", "1.2-3+ha12.0", "1.2-4+ha12.0",
    ]  # fmt: skip
    assert find_versions(root, "ha-stack") == ["2"]
    assert find_versions(root, "ha-stack", Suite("bookworm-testing")) == ["5"]
    assert [p.version for p in read_pool(root, TRIXIE).packages] == ["1.2-2+ha13.0"]
    assert verify_here(root).faults == ()
    promote(site, Suite("bookworm-testing"), BOOKWORM)
    pruning = prune(site, keep=1, days=0, at_once=True)[1]
    assert pruning.releases == (("ha-stack", "1.2-2+ha12.0"),)
    assert find_versions(root, "ha-stack") == find_versions(root, "ha-stack", Suite("bookworm-testing")) == ["5"]


def test_what_was_rolled_back_goes_when_it_is_old(
    root: Path, issue: Issue, stacks: Builds, site: PublishTarget
) -> None:
    issue(stacks(1))
    issue(stacks(2))
    rollback(site, BOOKWORM, 1)
    assert prune(site, keep=1, days=1, at_once=True)[1].files == {}
    assert prune(site, keep=1, days=0, at_once=True)[1].releases == (("ha-stack", "1.2-2+ha12.0"),)
    assert find_versions(root, "ha-stack") == ["1"]


def test_the_name_of_a_pruned_file_stays_taken(
    root: Path, issue: Issue, stacks: Builds, site: PublishTarget, tmp_path: Path
) -> None:
    issue(stacks(1))
    issue(stacks(2))
    prune(site, keep=1, days=0, at_once=True)
    assert list(read_removed(root)) == ["pool/bookworm/main/h/ha-stack/ha-stack_1.2-1+ha12.0_all.deb"]
    (tmp_path / "other").mkdir()
    other = make_deb(tmp_path / "other", "ha-stack", "1.2-1+ha12.0", content="other")
    before = take_snapshot(root)
    with pytest.raises(RepositoryError, match="is already published with other bytes"):
        issue(Upload(suite=BOOKWORM, source=SourceName("ha-stack"), files=(other,)))
    assert take_snapshot(root) == before
    assert len(issue(stacks(1)).added) == 1


def test_a_prune_that_is_killed_before_it_removes_is_finished_by_the_next(
    root: Path, issue: Issue, stacks: Builds, site: PublishTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(stacks(1))
    issue(stacks(2))
    with monkeypatch.context() as patched:
        patched.setattr(snapshots, "add_removed", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        os.waitpid(fork(partial(prune, site, keep=1, days=0, at_once=True)), 0)
    assert find_versions(root, "ha-stack") == ["2"]
    assert len(list(root.glob("pool/**/*.deb"))) == 2
    assert verify_here(root).faults == ()
    assert len(prune(site, keep=1, days=0, at_once=True)[1].files) == 1
    assert len(list(root.glob("pool/**/*.deb"))) == 1


def test_the_command_only_says_what_it_would_do(
    root: Path,
    issue: Issue,
    stacks: Builds,
    key: KeyChoice,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HAPKG_KEYS", str(key.home))
    issue(stacks(1))
    issue(stacks(2))
    before = take_snapshot(root)
    words = ["repo", "prune", "--keep", "1", "--younger-than", "0", "--at-once", "--repo", str(root)]
    app([*words, "--dry-run"], standalone_mode=False)
    assert capsys.readouterr().out == "ha-stack 1.2-1+ha12.0\n"
    assert take_snapshot(root) == before
    app(words, standalone_mode=False)
    assert capsys.readouterr().out == "ha-stack 1.2-1+ha12.0\n"
    assert find_versions(root, "ha-stack") == ["2"]


def test_verify_beside_a_writer_finds_no_fault(root: Path, issue: Issue, stacks: Builds, site: PublishTarget) -> None:
    issue(stacks(1))
    keyring = next(root.glob("*-archive-keyring.gpg"))

    def write() -> None:
        for number in range(2, 1000):
            publish(site, [stacks(number)])
            prune(site, keep=1, days=0, at_once=True)

    writer = fork(write)
    try:
        reports = [verify_at_rest(lambda: contextlib.nullcontext(root), keyring) for _ in range(25)]
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    assert [report.faults for report in reports] == [()] * 25


def test_a_fault_that_stays_is_one_however_often_the_rest_changes(
    root: Path, issue: Issue, stacks: Builds, tmp_path: Path
) -> None:
    issue(stacks(1))
    issue(stacks(2))
    keyring = next(root.glob("*-archive-keyring.gpg"))
    looks: list[Path] = []

    def look(changes: int) -> contextlib.nullcontext[Path]:
        """A copy of the repository, in which something else is missing each time until it is at rest."""
        copy = tmp_path / f"copy{len(looks)}"
        shutil.copytree(root, copy)
        if len(looks) < changes:
            next(copy.glob(f"dists/bookworm/main/*/Packages.{'gz' if len(looks) % 2 else 'xz'}")).unlink()
        looks.append(copy)
        return contextlib.nullcontext(copy)

    assert verify_at_rest(lambda: look(2), keyring).faults == ()
    (deb,) = root.glob("pool/**/ha-stack_1.2-2*.deb")
    deb.write_bytes(b"")
    report = verify_at_rest(lambda: look(len(looks) + 2), keyring)
    assert report.faults == (f"{deb.relative_to(root)} is not what its index says",)
