"""The repository's history: snapshots, rollback, promotion, verification; apt is the judge of what is there now."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path

import pytest

from hapkg import disk
from hapkg.cli.main import app
from hapkg.control import SourceName, Suite
from hapkg.disk import Batch
from hapkg.errors import BusyError, RepositoryError
from hapkg.repository.change import PublishTarget
from hapkg.repository.indexes import read_release
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.pruning import prune
from hapkg.repository.publishing import promote, publish, rollback
from hapkg.repository.snapshots import (
    Difference,
    Snapshot,
    compare,
    find_snapshot,
    list_snapshots,
    read_held,
    read_snapshot,
)
from hapkg.repository.upload import Upload
from tests.support.packages import (
    BOOKWORM,
    IDENTITY,
    LOGIC,
    OWN,
    TRIXIE,
    Builds,
    Client,
    Issue,
    fork,
    read_index,
    run,
    take_snapshot,
    verify_here,
)

TESTING = Suite("bookworm-testing")
EXAMPLES = Path(__file__).parents[3] / "docs/examples"


@pytest.fixture
def site(root: Path, key: KeyChoice) -> PublishTarget:
    """The repository to roll back and promote in."""
    return PublishTarget(root=root, identity=IDENTITY, choice=key)


def test_commands_that_look_need_no_checkout_and_others_say_which(
    root: Path, issue: Issue, stacks: Builds, key: KeyChoice, tmp_path: Path
) -> None:
    issue(stacks(1))
    issue(stacks(2))
    program = Path(sys.executable).with_name("hapkg")

    def hapkg(*words: str, at: tuple[str, ...] = ("--repo", str(root))) -> str:
        options = ("--cache", str(tmp_path / "cache"))
        return run(program, *options, "repo", *words, *at, check=False, cwd=tmp_path, HAPKG_KEYS=str(key.home))

    assert hapkg("list").count("publish") == 2
    assert "1.2-2+ha12.0" in hapkg("show", "bookworm")
    assert hapkg("diff", "bookworm", "1") == "+ ha-stack 1.2-2+ha12.0 all\n"
    assert "checked 2 files of bookworm" in hapkg("verify")
    for told in (hapkg("list", at=()), hapkg("refresh"), hapkg("rollback", "bookworm", "1")):
        assert "no project found from" in told
        assert "--project" in told
        assert "Traceback" not in told


def test_a_relative_path_is_one_of_the_working_directory(
    root: Path, issue: Issue, stacks: Builds, key: KeyChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(stacks(1))
    issue(stacks(2))
    monkeypatch.chdir(root.parent)
    site = PublishTarget(root=Path(root.name), identity=IDENTITY, choice=key)
    rollback(site, BOOKWORM, 1)
    prune(site, keep=1, days=0, at_once=True)
    assert verify_here(root).faults == ()


def test_every_publish_is_a_snapshot_with_its_packages(
    root: Path, issue: Issue, stacks: Builds, key: KeyChoice
) -> None:
    assert list_snapshots(root, BOOKWORM) == ()
    fingerprint = issue(stacks(1)).key.fingerprint
    issue(stacks(2))
    issue(stacks(2))
    first, second = list_snapshots(root, BOOKWORM)
    assert [(s.number, s.act, s.keys) for s in (first, second)] == [
        (1, "publish", (fingerprint,)),
        (2, "publish", (fingerprint,)),
    ]
    assert abs(first.time.timestamp() - time.time()) < 60
    assert [[p.version for p in read_snapshot(root, s).packages] for s in (first, second)] == [
        ["1.2-1+ha12.0"],
        ["1.2-1+ha12.0", "1.2-2+ha12.0"],
    ]
    assert compare(read_snapshot(root, first), read_snapshot(root, second)) == Difference(
        added=("ha-stack 1.2-2+ha12.0 all",), removed=()
    )
    with pytest.raises(RepositoryError, match="there is no snapshot 7 of suite bookworm") as refused:
        find_snapshot(root, BOOKWORM, 7)
    assert refused.value.hint == "held are 1, 2; see: hapkg repo list"
    with pytest.raises(RepositoryError, match="suite trixie is not in the repository"):
        find_snapshot(root, TRIXIE)


def test_rollback_gives_machines_the_state_before_and_is_itself_a_snapshot(
    root: Path, issue: Issue, builds: Builds, client: Callable[[str], Client], site: PublishTarget
) -> None:
    machine = client(issue(builds(1)).sources[0].read_text())
    issue(builds(2))
    machine.update()
    assert machine.candidate("ha-stack") == "1.2-2+ha12.0"
    assert rollback(site, BOOKWORM, 1).written == (BOOKWORM,)
    machine.update()
    assert machine.candidate("ha-stack") == "1.2-1+ha12.0"
    assert [s.act for s in list_snapshots(root, BOOKWORM)] == ["publish", "publish", "rollback to 1"]
    assert rollback(site, BOOKWORM, 1).unchanged == (BOOKWORM,)
    rollback(site, BOOKWORM, 2)
    machine.update()
    assert machine.candidate("ha-stack") == "1.2-2+ha12.0"
    report = verify_here(root)
    assert (report.checked, report.faults, report.surplus, len(report.keys)) == (11, (), (), 1)


def test_an_older_stack_that_is_held_installs(issue: Issue, builds: Builds, client: Callable[[str], Client]) -> None:
    machine = client(issue(builds(1)).sources[0].read_text())
    issue(builds(2))
    machine.update()
    simulated = machine.apt("apt-get", "install", "--simulate", "ha-stack=1.2-1+ha12.0", "libha-logic1=1.2-1+ha12.0")
    assert "Inst ha-stack (1.2-1+ha12.0 " in simulated


def test_rollback_to_a_state_whose_packages_are_gone_is_refused(
    root: Path, issue: Issue, stacks: Builds, site: PublishTarget
) -> None:
    issue(stacks(1))
    issue(stacks(2))
    rollback(site, BOOKWORM, 1)
    (root / "pool/bookworm/main/h/ha-stack/ha-stack_1.2-2+ha12.0_all.deb").unlink()
    before = take_snapshot(root)
    with pytest.raises(RepositoryError, match=r"ha-stack_1\.2-2.*is missing from the pool"):
        rollback(site, BOOKWORM, 2)
    assert take_snapshot(root) == before
    assert verify_here(root).faults == (
        "snapshot 2 of bookworm lacks pool/bookworm/main/h/ha-stack/ha-stack_1.2-2+ha12.0_all.deb",
    )


def test_a_pocket_is_promoted_without_a_second_copy(
    root: Path, builds: Builds, client: Callable[[str], Client], site: PublishTarget, key: KeyChoice
) -> None:
    publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [builds(1)])
    pocket = publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [builds(2)], pocket="testing")
    assert [file.name for file in pocket.sources] == [f"ha-stack-{suite}.sources" for suite in (TESTING, BOOKWORM)]
    assert list(pocket.commands) == [TESTING]
    take, install = pocket.commands[TESTING]
    taken = ["install", "-m", "644", str(root / f"ha-stack-{TESTING}.sources")]
    assert shlex.split(take) == [*taken, "/etc/apt/sources.list.d/ha-stack.sources"]
    assert install == "apt update && apt install ha-stack"
    machines = [client((root / f"ha-stack-{suite}.sources").read_text()) for suite in (BOOKWORM, TESTING)]
    for machine, version in zip(machines, ("1.2-1+ha12.0", "1.2-2+ha12.0"), strict=True):
        machine.update()
        assert machine.candidate("ha-stack") == version
    pool = sorted((root / "pool").rglob("*.*"))
    publication = promote(site, TESTING, BOOKWORM)
    assert (publication.written, publication.unchanged) == ((BOOKWORM,), (TESTING,))
    machines[0].update()
    assert machines[0].candidate("ha-stack") == "1.2-2+ha12.0"
    assert sorted((root / "pool").rglob("*.*")) == pool
    assert list_snapshots(root, BOOKWORM)[-1].act == "promote bookworm-testing 1"
    versions = [stanza["Version"] for stanza in read_index(root / f"dists/bookworm/main/binary-{OWN}/Packages")]
    assert sorted(set(versions)) == ["1.2-1+ha12.0", "1.2-2+ha12.0"]


def test_promotion_between_releases_is_refused(issue: Issue, stacks: Builds, site: PublishTarget) -> None:
    issue(stacks(1))
    for source, target in ((BOOKWORM, TRIXIE), (BOOKWORM, BOOKWORM)):
        with pytest.raises(RepositoryError, match=f"bookworm cannot be promoted to {target}"):
            promote(site, source, target)


def test_a_name_in_a_pocket_cannot_have_other_bytes_elsewhere(
    root: Path, builds: Builds, stacks: Builds, key: KeyChoice
) -> None:
    publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [stacks(1)], pocket="testing")
    clash = next(file for file in builds(1).files if file.name.startswith("ha-stack_"))
    other = Upload(suite=BOOKWORM, source=stacks(1).source, files=(clash,))
    with pytest.raises(RepositoryError, match=r"ha-stack_1\.2-1.*already published with other bytes"):
        publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [other])


def test_a_snapshot_of_a_killed_publish_does_not_count(
    root: Path, issue: Issue, stacks: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(stacks(1))
    held = list_snapshots(root, BOOKWORM)
    move = disk.move

    def step(moves: dict[Path, Path]) -> None:
        if any(path.name == "InRelease" for path in moves.values()):
            os.kill(os.getpid(), signal.SIGKILL)
        move(moves)

    with monkeypatch.context() as patched:
        patched.setattr(disk, "move", step)
        os.waitpid(fork(partial(issue, stacks(2))), 0)
    assert (root / ".hapkg/snapshots/bookworm/00000002.json").is_file()
    assert list_snapshots(root, BOOKWORM) == held
    issue(stacks(3))
    assert [s.number for s in list_snapshots(root, BOOKWORM)] == [1, 2]
    assert len(read_snapshot(root, list_snapshots(root, BOOKWORM)[1]).packages) == 2


def test_a_repository_without_history_gets_one(root: Path, issue: Issue, stacks: Builds, site: PublishTarget) -> None:
    issue(stacks(1))
    shutil.rmtree(root / ".hapkg")
    (made_up,) = list_snapshots(root, BOOKWORM)
    assert isinstance(made_up, Snapshot)
    issue(stacks(2))
    assert [s.number for s in list_snapshots(root, BOOKWORM)] == [1, 2]
    rollback(site, BOOKWORM, 1)
    assert len(read_snapshot(root, list_snapshots(root, BOOKWORM)[-1]).packages) == 1


def test_a_lock_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    with disk.lock(tmp_path / "lock", what="work", hint=""):
        begun = time.monotonic()
        with pytest.raises(BusyError), disk.lock(tmp_path / "lock", what="work", hint="", timeout=0.3):
            pass
        assert 0.3 <= time.monotonic() - begun < 5
    with disk.lock(tmp_path / "lock", what="work", hint=""):
        pass


def test_packages_are_copied_before_the_lock_is_taken(
    root: Path, issue: Issue, stacks: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(stacks(1))
    copied: list[Path] = []
    copy = Batch.copy

    def record(batch: Batch, copies: Mapping[Path, Path]) -> None:
        copied.extend(copies)
        copy(batch, copies)

    monkeypatch.setattr(Batch, "copy", record)
    with disk.lock(root / ".hapkg/lock", what="work", hint=""), pytest.raises(BusyError):
        issue(stacks(2))
    assert [path.name for path in copied] == ["ha-stack_1.2-2+ha12.0_all.deb"]
    assert list((root / ".hapkg/incoming").iterdir()) == []


def test_verify_names_every_damage(root: Path, issue: Issue, stacks: Builds) -> None:
    issue(stacks(1))
    (deb,) = root.glob("pool/**/*.deb")
    deb.write_bytes(deb.read_bytes() + b"x")
    deb.with_name("stray.deb").write_bytes(b"")
    index = root / f"dists/bookworm/main/binary-{OWN}/Packages.gz"
    index.unlink()
    release = root / "dists/bookworm/Release"
    release.write_text(release.read_text().replace("Origin: ", "Origin: x"))
    report = verify_here(root)
    assert report.faults == (
        "dists/bookworm/Release.gpg carries no good signature of the keys it is checked with",
        "dists/bookworm/Release is not what InRelease says",
        f"dists/bookworm/main/binary-{OWN}/Packages.gz is missing, or is not what InRelease says",
        "pool/bookworm/main/h/ha-stack/ha-stack_1.2-1+ha12.0_all.deb is not what its index says",
    )
    assert report.surplus == ("pool/bookworm/main/h/ha-stack/stray.deb",)


def test_the_planner_counts_on_above_every_version_that_was_ever_published(
    root: Path, builds: Builds, issue: Issue, site: PublishTarget, key: KeyChoice
) -> None:
    issue(builds(1))
    issue(builds(2))
    rollback(site, BOOKWORM, 1)
    publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [builds(3)], pocket="testing")
    (root / ".hapkg/removed").write_text(f"{'0' * 64}  pool/bookworm/main/h/ha-logic/ha-logic_1.2-4+ha12.0.dsc\n")
    held = read_held(root, BOOKWORM)[SourceName(LOGIC)]
    assert sorted((release.version, release.key) for release in held) == [
        ("1.2-1+ha12.0", "key1"),
        ("1.2-2+ha12.0", "key2"),
        ("1.2-3+ha12.0", "key3"),
        ("1.2-4+ha12.0", ""),
    ]
    assert read_held(root, TRIXIE) == {}


def call(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The standard output of a command."""
    app(list(words), standalone_mode=False)
    return capsys.readouterr().out


def test_the_commands_show_and_change_the_history(
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
    repo = ("--repo", str(root))
    assert call(capsys, "repo", "diff", "bookworm", "1", *repo) == "+ ha-stack 1.2-2+ha12.0 all\n"
    call(capsys, "repo", "rollback", "bookworm", "1", *repo)
    rows = json.loads(call(capsys, "repo", "list", "--json", *repo))
    assert [(r["snapshot"], r["packages"], r["act"], r["current"]) for r in rows] == [
        (1, 1, "publish", False),
        (2, 2, "publish", False),
        (3, 1, "rollback to 1", True),
    ]
    assert call(capsys, "repo", "diff", "bookworm", "2", "3", *repo) == "- ha-stack 1.2-2+ha12.0 all\n"
    (package,) = json.loads(call(capsys, "repo", "show", "bookworm", "--json", *repo))
    assert (package["package"], package["version"]) == ("ha-stack", "1.2-1+ha12.0")
    call(capsys, "repo", "promote", "bookworm", "bookworm-old", *repo)
    call(capsys, "repo", "verify", *repo)
    assert (root / "dists/bookworm-old/InRelease").is_file()


def test_the_commands_compare_with_another_suite_and_promote_an_earlier_state(
    root: Path,
    issue: Issue,
    stacks: Builds,
    key: KeyChoice,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HAPKG_KEYS", str(key.home))
    issue(stacks(1))
    for number in (2, 3):
        issue(stacks(number), pocket="testing")
    repo = ("--repo", str(root))
    compared = call(capsys, "repo", "diff", "bookworm", "1", "--with", "bookworm-testing", *repo)
    assert compared.splitlines() == [
        "- ha-stack 1.2-1+ha12.0 all", "+ ha-stack 1.2-2+ha12.0 all", "+ ha-stack 1.2-3+ha12.0 all",
    ]  # fmt: skip
    call(capsys, "repo", "promote", "bookworm-testing", "bookworm", "--snapshot", "1", *repo)
    assert call(capsys, "repo", "diff", "bookworm", "1", *repo) == "+ ha-stack 1.2-2+ha12.0 all\n"
    assert list_snapshots(root, BOOKWORM)[-1].act == "promote bookworm-testing 1"
    compared = call(capsys, "repo", "diff", "bookworm", "2", "1", "--with", "bookworm-testing", *repo)
    assert compared == "- ha-stack 1.2-1+ha12.0 all\n"


def test_refresh_signs_for_as_long_as_the_project_says(
    root: Path,
    issue: Issue,
    stacks: Builds,
    key: KeyChoice,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HAPKG_KEYS", str(key.home))
    issue(stacks(1))
    release = root / "dists/bookworm/InRelease"
    assert "Valid-Until" not in release.read_text()
    project = tmp_path / "project"
    (project / "recipes").mkdir(parents=True)
    settings = f'maintainer = "{IDENTITY.maintainer}"\norigin = "{IDENTITY.origin}"\nvalid-days = 14\n'
    (project / "pyproject.toml").write_text(f"[tool.hapkg]\n{settings}")
    monkeypatch.chdir(project)
    service = (EXAMPLES / "hapkg-refresh.service").read_text()
    command = re.findall(r"^ExecStart=\S+/hapkg (.*)$", service, re.MULTILINE)[0].replace("/srv/apt", "REPO")
    words = [str(root) if word == "REPO" else word for word in command.split()]
    rows = json.loads(call(capsys, *words, "--json"))
    assert rows["written"] == ["bookworm"]
    fields = read_release(release)
    end, made = (parsedate_to_datetime(fields[name]) for name in ("Valid-Until", "Date"))
    assert end - made == timedelta(days=14)
    assert len(list_snapshots(root, BOOKWORM)) == 1
    assert verify_here(root).faults == ()


@pytest.mark.parametrize("name", ["hapkg-refresh", "hapkg-nightly"])
def test_systemd_takes_the_units_of_the_timer(tmp_path: Path, name: str) -> None:
    hapkg = Path(sys.executable).with_name("hapkg")
    units = []
    for file in sorted(EXAMPLES.glob(f"{name}.*")):
        units.append(tmp_path / file.name)
        units[-1].write_text(file.read_text().replace("/srv/hapkg/.venv/bin/hapkg", str(hapkg)))
    assert [unit.suffix for unit in units] == [".service", ".timer"]
    assert run("systemd-analyze", "verify", *units) == ""
    (calendar,) = re.findall(r"^OnCalendar=(.*)$", units[1].read_text(), re.MULTILINE)
    assert "Next elapse" in run("systemd-analyze", "calendar", calendar)
