"""The state folder: one process at a time, builds whole or not at all, damage found."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hapkg.build.store import Artifact, Store, check_same
from hapkg.control import SourceName, Suite
from hapkg.disk import sha256_file
from hapkg.errors import BusyError, IntegrityError, MachineError

KEY = "ab" * 32
BOOKWORM = Suite("bookworm")
HOLDER = """
import sys, time
from pathlib import Path
from hapkg.build.store import Store
with Store(root=Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(root=tmp_path / "state")


def test_who_may_wait_begins_when_the_other_one_has_ended(store: Store) -> None:
    entered = threading.Event()

    def work() -> None:
        with replace(store, timeout=60).lock():
            entered.set()

    with store.lock():
        thread = threading.Thread(target=work)
        thread.start()
        with pytest.raises(BusyError, match="in use by process") as refusal, store.lock():
            pass
        assert "hapkg --wait SECONDS" in refusal.value.hint
        assert not entered.is_set()
    thread.join(60)
    assert entered.is_set()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The files that a build leaves in its scratch folder."""
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "ha-one_1_amd64.deb").write_bytes(b"deb")
    (folder / "ha-one_1.dsc").write_bytes(b"dsc")
    (folder / "build.log").write_bytes(b"log\n")
    return folder


def describe(made: Path, key: str = KEY) -> Artifact:
    names = ("ha-one_1_amd64.deb", "ha-one_1.dsc")
    return Artifact(
        key=key,
        source=SourceName("ha-one"),
        version="1-1+ha12.1",
        suite=BOOKWORM,
        architecture="amd64",
        inputs={"format": 1, "debian": {"rules": "0"}},
        origin="a test",
        files={name: sha256_file(made / name) for name in names},
        seconds={"compile": 1.5},
        folder=made,
    )


def test_a_build_comes_back_as_it_was_added(store: Store, made: Path) -> None:
    stored = store.add_build(describe(made), made)
    assert stored == replace(describe(made), folder=store.root / "builds" / KEY)
    assert store.list_builds() == (stored,)
    assert stored.log.read_text() == "log\n"
    assert stored.paths(".deb", ".dsc") == (stored.folder / "ha-one_1.dsc", stored.folder / "ha-one_1_amd64.deb")
    store.verify(stored)


def test_nothing_is_found_in_an_empty_store(store: Store) -> None:
    assert store.list_builds() == ()


def test_builds_are_listed_by_last_use(store: Store, made: Path) -> None:
    keys = ["3" * 64, "1" * 64, "2" * 64]
    builds = [store.add_build(describe(made, key), made) for key in keys]
    for second, build in enumerate(builds, 1):
        os.utime(build.folder / "artifact.json", (second, second))
    assert [build.key for build in store.list_builds()] == keys
    store.touch(builds[0])
    assert [build.key for build in store.list_builds()] == [*keys[1:], keys[0]]


def test_a_build_that_is_half_written_or_half_removed_is_invisible(store: Store, made: Path) -> None:
    stored = store.add_build(describe(made), made)
    stored.folder.rename(stored.folder.with_name(f".new-{KEY}"))
    assert store.list_builds() == ()
    store.reclaim()
    assert list((store.root / "builds").iterdir()) == []


def test_an_interrupted_store_does_not_hinder_the_next(store: Store, made: Path) -> None:
    left = store.root / "builds" / f".new-{KEY}"
    left.mkdir(parents=True)
    (left / "rubbish").write_bytes(b"x")
    stored = store.add_build(describe(made), made)
    assert sorted(file.name for file in stored.folder.iterdir()) == [
        "artifact.json",
        "build.log",
        "ha-one_1.dsc",
        "ha-one_1_amd64.deb",
    ]


def test_a_build_can_be_added_again(store: Store, made: Path) -> None:
    store.add_build(describe(made), made)
    (made / "ha-one_1_amd64.deb").write_bytes(b"other")
    store.verify(store.add_build(describe(made), made))
    assert len(store.list_builds()) == 1


def test_the_store_keeps_copies(store: Store, made: Path) -> None:
    stored = store.add_build(describe(made), made)
    (made / "ha-one_1_amd64.deb").write_bytes(b"changed afterwards")
    store.verify(stored)


def test_a_removed_build_is_gone(store: Store, made: Path) -> None:
    store.remove_build(store.add_build(describe(made), made))
    assert (store.list_builds(), list((store.root / "builds").iterdir())) == ((), [])


@pytest.mark.parametrize("damage", [b"deX", b"de", b"", None])
def test_a_changed_file_is_found(store: Store, made: Path, damage: bytes | None) -> None:
    stored = store.add_build(describe(made), made)
    file = stored.folder / "ha-one_1_amd64.deb"
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    with pytest.raises(IntegrityError) as caught:
        store.verify(stored)
    assert (caught.value.exit_code, caught.value.brief, caught.value.hint) == (
        7,
        f"{file} is not what the build of ha-one made",
        "run: hapkg clean ha-one",
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"format": 2}',
        json.dumps({"key": KEY}).encode(),
    ],
)
def test_a_damaged_description_is_as_good_as_absent(store: Store, made: Path, content: bytes) -> None:
    stored = store.add_build(describe(made), made)
    (stored.folder / "artifact.json").write_bytes(content)
    assert store.list_builds() == ()
    assert store.add_build(describe(made), made) == stored


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", "0" * 64),
        ("version", 1),
        ("files", []),
        ("files", None),
        ("inputs", "x"),
        ("folder", "/etc"),
        ("new", 1),
    ],
)
def test_a_description_of_another_shape_is_as_good_as_absent(
    store: Store, made: Path, field: str, value: object
) -> None:
    file = store.add_build(describe(made), made).folder / "artifact.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    assert store.list_builds() == ()


def test_a_stray_file_among_the_builds_is_passed_over(store: Store, made: Path) -> None:
    stored = store.add_build(describe(made), made)
    (store.root / "builds" / "stray").write_bytes(b"x")
    (store.root / "builds" / "empty").mkdir()
    assert store.list_builds() == (stored,)


def test_scratch_is_emptied_at_every_start(store: Store) -> None:
    (store.state.work / "left").mkdir(parents=True)
    store.reclaim()
    assert list(store.state.work.iterdir()) == []


def test_a_busy_state_folder_names_its_holder_and_is_free_after_its_violent_death(store: Store) -> None:
    argv = [sys.executable, "-c", HOLDER, str(store.root)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError) as caught, store.lock():
            pass
        assert caught.value.exit_code == 12
        assert str(store.root) in caught.value.brief
        assert f"process {holder.pid}" in caught.value.brief
        assert caught.value.hint != ""
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with store.lock():
            assert (store.root / "lock").read_text().startswith(f"{os.getpid()} on ")


def test_the_lock_is_free_after_an_error_inside(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.lock():
        raise ZeroDivisionError
    with store.lock(), pytest.raises(BusyError), Store(root=store.root).lock():
        pass
    with store.lock():
        pass


@pytest.mark.parametrize("place", ["file", "file/state"])
@pytest.mark.parametrize("locked", [True, False])
def test_a_state_folder_that_cannot_be_is_the_machines_failure(tmp_path: Path, place: str, locked: bool) -> None:
    (tmp_path / "file").touch()
    store = Store(root=tmp_path / place)
    with pytest.raises(MachineError) as caught, store.lock() if locked else contextlib.nullcontext():
        store.check()
    assert (caught.value.brief, caught.value.hint) == (
        f"the state folder {tmp_path}/{place} cannot be used: Not a directory",
        "choose another with --cache or HAPKG_CACHE",
    )


def test_a_state_folder_that_is_not_there_yet_is_as_good_as_an_empty_one(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "new/state"):
        Store(root=place).check()
    assert list(tmp_path.iterdir()) == []


def test_the_log_of_a_failure_has_its_place(store: Store) -> None:
    log = store.failure_log(BOOKWORM, SourceName("ha-one"))
    assert log == store.root / "failed/bookworm/ha-one/build.log"


def try_lock(store: Store) -> bool:
    """Take the lock of a store, if nobody is in the way, for a moment."""
    try:
        with store.lock():
            return True
    except BusyError:
        return False


def test_suites_do_not_wait_for_each_other_and_the_whole_folder_waits_for_all(tmp_path: Path) -> None:
    whole = Store(root=tmp_path)
    one, other = whole.narrow(Suite("bookworm")), whole.narrow(Suite("trixie"))
    with one.lock():
        assert [try_lock(store) for store in (one, other, whole)] == [False, True, False]
    with whole.lock(), pytest.MonkeyPatch.context() as patched:
        patched.setattr("hapkg.build.store._TIDY_SECONDS", 0)
        assert [try_lock(store) for store in (one, other, whole)] == [False, False, False]
    assert [try_lock(store) for store in (one, other, whole)] == [True, True, True]


def test_what_suites_share_is_tidied_by_who_is_alone(tmp_path: Path) -> None:
    one, other = (Store(root=tmp_path).narrow(Suite(name)) for name in ("bookworm", "trixie"))
    tidied: list[str] = []
    with one.lock(lambda: tidied.append("one")):
        assert tidied == ["one"]
        with other.lock(lambda: tidied.append("other")):
            pass
        assert tidied == ["one"]
    assert tidied == ["one", "one"]


def test_scratch_of_another_suite_stays(tmp_path: Path) -> None:
    one, other = (Store(root=tmp_path).narrow(Suite(name)) for name in ("bookworm", "trixie"))
    for store in (one, other):
        store.reclaim()
        (store.state.work / "half").touch()
        (store.state.builds / f".new-{store.suite}-key").mkdir(parents=True)
    one.reclaim()
    assert not (one.state.work / "half").exists()
    assert (other.state.work / "half").exists()
    assert [left.name for left in one.state.builds.iterdir()] == [".new-trixie-key"]
    Store(root=tmp_path).reclaim()
    assert not other.state.work.exists()
    assert list(one.state.builds.iterdir()) == []


def test_the_newest_build_is_the_last_one_whatever_the_clock_says(store: Store, made: Path) -> None:
    first, second = (store.add_build(describe(made, key * 64), made) for key in "12")
    ahead = time.time_ns() + 10**15
    os.utime(second.description, ns=(ahead, ahead))
    store = Store(root=store.root)  # of a process that begins when the clock is right again
    store.touch(first)
    assert [build.key for build in store.list_builds()] == [second.key, first.key]
    third = store.add_build(describe(made, "3" * 64), made)
    assert store.list_builds()[-1].key == third.key


def test_packages_that_come_out_other_than_those_of_others_are_named_with_who_signed(tmp_path: Path) -> None:
    for name in ("one_1_all.deb", "two_1_all.deb"):
        (tmp_path / name).write_text(name)
    files = {name: sha256_file(tmp_path / name) for name in ("one_1_all.deb", "two_1_all.deb")}
    known = Artifact(
        key=KEY,
        source=SourceName("ha-one"),
        version="1",
        suite=BOOKWORM,
        architecture="amd64",
        inputs={},
        origin="",
        files={**files, "lintian.txt": "0" * 64},
        seconds={},
        folder=tmp_path,
        signer="A" * 40,
    )
    check_same(known, tmp_path)
    (tmp_path / "two_1_all.deb").write_text("other")
    (tmp_path / "three_1_all.deb").write_text("more")
    with pytest.raises(IntegrityError, match=f"than the build that {'A' * 40} signed") as refusal:
        check_same(known, tmp_path)
    assert refusal.value.details == ("three_1_all.deb", "two_1_all.deb")
    (tmp_path / "one_1_all.deb").unlink()
    with pytest.raises(IntegrityError) as refusal:
        check_same(known, tmp_path)
    assert "one_1_all.deb" in refusal.value.details
