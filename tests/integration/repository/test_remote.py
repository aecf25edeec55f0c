"""Repositories elsewhere: over ssh to a real sshd, and in a bucket of a server that speaks S3, both on the loopback."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial, partialmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest

from hapkg.control import Suite
from hapkg.errors import BusyError, FetchError, RepositoryError, UsageError
from hapkg.locations import State
from hapkg.repository.change import PublishTarget
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.pruning import prune
from hapkg.repository.publishing import drop, publish, refresh, rollback
from hapkg.repository.remote.location import LOCK, BucketFolder, HostFolder, Location, name_mirror, parse_location
from hapkg.repository.remote.s3 import Bucket
from hapkg.repository.remote.ssh import Host
from hapkg.repository.remote.sync import open_repository
from hapkg.repository.snapshots import find_ended, list_snapshots
from hapkg.source.origins.git import Git
from tests.integration.conftest import find_port
from tests.support.drafts import make_git
from tests.support.machine import Hapkg, wait_until
from tests.support.miniature import CHECKOUT
from tests.support.packages import BOOKWORM, IDENTITY, Builds, Client, fork, run, serve, verify_here

KILLS = int(os.environ.get("HAPKG_KILLS", "4"))


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """A repository to be, its URL, and two machines that publish there."""

    place: Location
    url: str
    here: Path
    there: Path


@pytest.fixture(params=["ssh", "s3"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    """A repository of each kind."""
    here, there = tmp_path / "here", tmp_path / "there"
    if request.param == "ssh":
        monkeypatch.setenv("RSYNC_RSH", request.getfixturevalue("ssh"))
        folder = tmp_path / "a% far" / "apt's"
        folder.mkdir(parents=True)
        with serve(folder) as url:
            yield Elsewhere(place=parse_location(f"elsewhere:{folder}", tmp_path), url=url, here=here, there=there)
    else:
        request.getfixturevalue("bucket")
        place = parse_location("s3://packages/some/apt/", tmp_path)
        yield Elsewhere(place=place, url=f"{request.getfixturevalue('s3')}/packages/some/apt/", here=here, there=there)


Put = Callable[..., None]


@pytest.fixture
def put(elsewhere: Elsewhere, key: KeyChoice, stacks: Builds) -> Put:
    """Publishes revision N of ha-stack from one of the two machines."""

    def put(number: int, state: Path = elsewhere.here, timeout: float = 0) -> None:
        with open_repository(elsewhere.place, State(state), change=True, timeout=timeout) as root:
            publish(PublishTarget(root=root, identity=IDENTITY, choice=key, url=elsewhere.url), [stacks(number)])

    return put


def check(elsewhere: Elsewhere, state: Path, surplus: tuple[str, ...] = ()) -> None:
    """The repository is whole, to the last byte, as another machine sees it."""
    with open_repository(elsewhere.place, State(state), change=False) as root:
        report = verify_here(root)
        assert (report.faults, report.surplus) == ((), surplus)


def test_two_machines_publish_by_turns_and_apt_reads_it(
    elsewhere: Elsewhere, put: Put, key: KeyChoice, client: Callable[[str], Client]
) -> None:
    put(1)
    put(2, elsewhere.there)
    with open_repository(elsewhere.place, State(elsewhere.here), change=False) as root:
        assert [snapshot.number for snapshot in list_snapshots(root, BOOKWORM)] == [1, 2]
        machine = client((root / "ha-stack.sources").read_text())
    machine.update()
    assert machine.candidate("ha-stack") == "1.2-2+ha12.0"
    machine.apt("apt-get", "download", "ha-stack")
    with open_repository(elsewhere.place, State(elsewhere.here), change=True) as root:
        rollback(PublishTarget(root=root, identity=IDENTITY, choice=key), BOOKWORM, 1)
    machine.update()
    assert machine.candidate("ha-stack") == "1.2-1+ha12.0"
    put(3, elsewhere.there)
    with open_repository(elsewhere.place, State(elsewhere.there), change=True) as root:
        prune(PublishTarget(root=root, identity=IDENTITY, choice=key), keep=1, days=0, at_once=True)
    check(elsewhere, elsewhere.here)
    with open_repository(elsewhere.place, State(elsewhere.here), change=False) as root:
        assert [file.name for file in root.glob("pool/**/*.deb")] == ["ha-stack_1.2-3+ha12.0_all.deb"]
        assert f"URIs: {elsewhere.url}\n" in (root / "ha-stack.sources").read_text()
    machine.update()
    assert machine.candidate("ha-stack") == "1.2-3+ha12.0"


@pytest.mark.parametrize("name", [".hapkg", ".hapkg/staging", ".hapkg/lock", "pool", "dists"])
def test_a_link_where_hapkg_writes_on_a_host_is_refused(
    ssh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("RSYNC_RSH", ssh)
    folder, victim = tmp_path / "far", tmp_path / "victim"
    (folder / name).parent.mkdir(parents=True)
    victim.write_text("precious")
    (folder / name).symlink_to(victim)
    place = parse_location(f"elsewhere:{folder}", tmp_path)
    with (
        pytest.raises(RepositoryError, match=rf"{name} of the repository .* is a symbolic link"),
        open_repository(place, State(tmp_path / "state"), change=True),
    ):
        pass
    assert victim.read_text() == "precious"


def test_nothing_becomes_real_when_the_change_fails(
    elsewhere: Elsewhere, put: Put, key: KeyChoice, stacks: Builds
) -> None:
    put(1)
    with pytest.raises(ZeroDivisionError), open_repository(elsewhere.place, State(elsewhere.here), change=True) as root:
        publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [stacks(2)])
        raise ZeroDivisionError
    check(elsewhere, elsewhere.there)
    put(3, elsewhere.there)
    check(elsewhere, elsewhere.here)


def test_a_suite_whose_end_was_cut_off_in_the_middle_ends_with_the_next_change(
    elsewhere: Elsewhere, put: Put, key: KeyChoice, stacks: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = partial(PublishTarget, identity=IDENTITY, choice=key, url=elsewhere.url)
    put(1)
    with open_repository(elsewhere.place, State(elsewhere.here), change=True) as root:
        publish(target(root=root), [stacks(2)], pocket="testing")
    removed: list[str] = []

    def cut(remote: Any, paths: Sequence[str], *, remove: Callable[..., None]) -> None:
        remove(remote, [path for path in paths if path.endswith(("InRelease", ".sources"))])
        removed.extend(paths)
        if any(path.endswith("InRelease") for path in paths):
            raise ZeroDivisionError

    with monkeypatch.context() as patched:
        for kind in (Bucket, Host):
            patched.setattr(kind, "remove", partialmethod(cut, remove=kind.remove))
        with (
            pytest.raises(ZeroDivisionError),
            open_repository(elsewhere.place, State(elsewhere.here), change=True) as root,
        ):
            drop(target(root=root), Suite("bookworm-testing"))
    assert removed
    with open_repository(elsewhere.place, State(elsewhere.there), change=False) as root:
        report = verify_here(root)
        assert (report.faults, report.unfinished) == ((), ("dists/bookworm-testing is not published yet",))
    with open_repository(elsewhere.place, State(elsewhere.there), change=True) as root:
        refresh(target(root=root))
    with open_repository(elsewhere.place, State(elsewhere.here), change=False) as root:
        assert [folder.name for folder in (root / "dists").iterdir()] == ["bookworm"]
        assert verify_here(root).faults == ()
        assert list(find_ended(root)) == ["bookworm-testing"]


def test_a_second_writer_is_told_who_is_at_work_or_waits(elsewhere: Elsewhere, put: Put) -> None:
    put(1)
    words = f"the repository {re.escape(str(elsewhere.place))} is in use by process {os.getpid()} of .* on .* since 20"
    with open_repository(elsewhere.place, State(elsewhere.here), change=True):
        with pytest.raises(BusyError, match=words):
            put(2, elsewhere.there)
        check(elsewhere, elsewhere.there)  # looking needs no lock
        waiting = fork(partial(put, 2, elsewhere.there, timeout=60))
        time.sleep(0.5)
        assert os.waitpid(waiting, os.WNOHANG) == (0, 0)
    assert os.waitstatus_to_exitcode(os.waitpid(waiting, 0)[1]) == 0
    check(elsewhere, elsewhere.here)


def test_kills_in_the_middle_of_an_upload_leave_it_whole(
    elsewhere: Elsewhere, put: Put, client: Callable[[str], Client]
) -> None:
    begun = time.monotonic()
    put(1)
    put(2)
    lasts = (time.monotonic() - begun) / 2
    with open_repository(elsewhere.place, State(elsewhere.here), change=False) as root:
        machine = client((root / "ha-stack.sources").read_text())
    dice = random.Random(KILLS)
    killed = 0
    for number in range(3, 3 + KILLS):
        pid = fork(partial(put, number, timeout=60))
        time.sleep(dice.uniform(0.4, 1) * lasts)
        os.kill(pid, signal.SIGKILL)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL:
            killed += 1
        else:
            lasts *= 0.7  # the machine is less busy than it was at first
        if isinstance(elsewhere.place, BucketFolder):  # as its lease would end
            boto3.client("s3").delete_object(Bucket="packages", Key=f"{elsewhere.place.prefix}{LOCK}")
        machine.update()
        before = machine.candidate("ha-stack")
        assert before in {f"1.2-{known}+ha12.0" for known in range(2, number + 1)}
    assert killed > KILLS / 3
    put(3 + KILLS, elsewhere.there, timeout=60)
    check(elsewhere, elsewhere.here)
    machine.update()
    assert machine.candidate("ha-stack") == f"1.2-{3 + KILLS}+ha12.0"


def test_the_commands_take_a_place_elsewhere(elsewhere: Elsewhere, put: Put, key: KeyChoice) -> None:
    def hapkg(*words: str, check: bool = True) -> str:
        program = Path(sys.executable).with_name("hapkg")
        options = ("--project", str(Path(__file__).parents[3]), "--cache", str(elsewhere.there))
        return run(
            program, *options, "repo", *words, "--repo", str(elsewhere.place), check=check, HAPKG_KEYS=str(key.home)
        )

    assert "is not a published repository" in hapkg("list", check=False)
    put(1)
    put(2)
    hapkg("rollback", "bookworm", "1")
    listed = json.loads(hapkg("list", "--json"))
    assert [(row["snapshot"], row["act"]) for row in listed] == [(1, "publish"), (2, "publish"), (3, "rollback to 1")]
    assert "checked 2 files" in hapkg("verify")
    assert "would be removed" in hapkg("prune", "--dry-run")


# A bucket


def test_a_lock_that_nobody_renews_is_taken_over_and_its_owner_notices(bucket: Any, tmp_path: Path) -> None:
    place = BucketFolder(bucket="packages", prefix="")
    (tmp_path / "file").write_text("x")
    slow = Bucket(place, lease=3600)
    with slow.open(owner="the slow one", change=True, timeout=0):
        slow.fetch(tmp_path / "slow")
        with pytest.raises(BusyError, match="the slow one"), Bucket(place).open(owner="x", change=True, timeout=0):
            pass
        time.sleep(2.1)
        with Bucket(place, lease=1).open(owner="the next one", change=True, timeout=0):
            held = json.loads(bucket.get_object(Bucket="packages", Key=LOCK)["Body"].read())
            assert held["owner"] == "the next one"
    assert bucket.list_objects_v2(Bucket="packages").get("Contents", []) == []
    brief = Bucket(place, lease=0.6)
    with brief.open(owner="one", change=True, timeout=0):
        bucket.delete_object(Bucket="packages", Key=LOCK)
        time.sleep(0.5)
        with pytest.raises(BusyError, match="is lost"):
            brief.store(tmp_path, ["file"])


def test_an_owner_that_slept_too_long_stops_and_leaves_the_lock_of_the_next_one(bucket: Any, tmp_path: Path) -> None:
    place = BucketFolder(bucket="packages", prefix="")
    (tmp_path / "file").write_text("x")
    sleeper = Bucket(place, lease=3600)
    with sleeper.open(owner="the sleeper", change=True, timeout=0):
        sleeper.fetch(tmp_path / "sleeper")
        sleeper.store(tmp_path, ["file"])
        sleeper._renewed -= 1900  # a machine that was suspended: its threads slept as well
        with pytest.raises(BusyError, match="is lost: it was not renewed in time"):
            sleeper.store(tmp_path, ["file"])
    other = Bucket(place, lease=3600)
    bucket.delete_object(Bucket="packages", Key=LOCK)
    with other.open(owner="the first one", change=True, timeout=0):
        bucket.put_object(Bucket="packages", Key=LOCK, Body=b'{"owner": "the next one"}')
    assert bucket.get_object(Bucket="packages", Key=LOCK)["Body"].read() == b'{"owner": "the next one"}'


def test_an_inrelease_that_somebody_else_wrote_is_not_overwritten(bucket: Any, tmp_path: Path) -> None:
    place = BucketFolder(bucket="packages", prefix="")
    bucket.put_object(Bucket="packages", Key="dists/bookworm/InRelease", Body=b"old")
    writer = Bucket(place)
    with writer.open(owner="one", change=True, timeout=0):
        writer.fetch(tmp_path / "mirror")
        bucket.put_object(Bucket="packages", Key="dists/bookworm/InRelease", Body=b"theirs")
        (tmp_path / "mirror/dists/bookworm/InRelease").write_text("ours")
        with pytest.raises(RepositoryError, match="somebody else"):
            writer.store(tmp_path / "mirror", ["dists/bookworm/InRelease"])
    assert bucket.get_object(Bucket="packages", Key="dists/bookworm/InRelease")["Body"].read() == b"theirs"


class OldStore(BaseHTTPRequestHandler):
    """A store in front of another one: it knows no checksums but MD5, or no conditions."""

    behind: str
    refused: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    def answer(self) -> None:
        """Pass a request on, or refuse it."""
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length) if length else None
        if any(
            re.match(pattern, f"{name}: {value}", re.IGNORECASE)
            for name, value in self.headers.items()
            for pattern in self.refused
        ):
            self.send_response(501)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        kept = {name: value for name, value in self.headers.items() if name.lower() not in self.ignored}
        connection = http.client.HTTPConnection(self.behind)
        connection.request(self.command, self.path, body, kept)
        found = connection.getresponse()
        content = found.read()
        self.send_response(found.status)
        for name, value in found.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def serve_old(s3: str, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Puts such a store before the other one."""
    with ExitStack() as stack:

        def begin(refused: tuple[str, ...] = (), ignored: tuple[str, ...] = ()) -> None:
            kind = type(
                "Store", (OldStore,), {"behind": s3.removeprefix("http://"), "refused": refused, "ignored": ignored}
            )
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), kind))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")

        yield begin


def test_a_store_that_knows_no_checksums_of_today_is_published_into(
    serve_old: Callable[..., None], key: KeyChoice, stacks: Builds, tmp_path: Path
) -> None:
    serve_old(refused=("x-amz-(sdk-)?checksum", "x-amz-trailer", "content-encoding: aws-chunked"))
    place = parse_location("s3://packages/some/apt/", tmp_path)
    with open_repository(place, State(tmp_path / "here"), change=True) as root:
        publish(PublishTarget(root=root, identity=IDENTITY, choice=key, url="https://example.org/"), [stacks(1)])
    with open_repository(place, State(tmp_path / "there"), change=False) as root:
        assert verify_here(root).faults == ()


def test_a_store_without_conditions_is_refused_and_left_as_it_was(
    serve_old: Callable[..., None], bucket: Any, tmp_path: Path
) -> None:
    serve_old(ignored=("if-none-match", "if-match"))
    place = parse_location("s3://packages/some/apt/", tmp_path)
    with (
        pytest.raises(RepositoryError, match="does not know conditional writes"),
        open_repository(place, State(tmp_path / "here"), change=True),
    ):
        pass
    assert "Contents" not in bucket.list_objects_v2(Bucket="packages")


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_or_a_server_that_is_not_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = BucketFolder(bucket="missing", prefix="")
    for change in (False, True):
        with (
            pytest.raises(RepositoryError, match="bucket does not exist"),
            open_repository(place, State(tmp_path), change=change),
        ):
            pass
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{find_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    unreachable = open_repository(place, State(tmp_path), change=True)
    with pytest.raises(RepositoryError, match="cannot be reached"), unreachable:
        pass


# A host


def test_a_host_that_is_not_there_is_said(ssh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSYNC_RSH", ssh)
    place = HostFolder(host="elsewhere", path="/srv/apt", port=find_port())
    with (
        pytest.raises(RepositoryError, match="cannot be reached") as caught,
        open_repository(place, State(tmp_path), change=True),
    ):
        pass
    assert any("refused" in line for line in caught.value.details)
    assert "BatchMode" not in caught.value.hint  # a question of ssh can be answered there


GREETS = "case $SSH_ORIGINAL_COMMAND in rsync*) ;; *) echo Welcome; echo ready ;; esac"
"""A login shell that greets whoever comes, but rsync, which its manual asks for."""


def add_host(ssh: str, folder: Path, name: str, shell: str) -> None:
    """Another name of the host, with a key for which its shell does something first."""
    config = Path(ssh.rsplit(maxsplit=1)[-1])
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
    command = f'{shell}; exec sh -c \\"$SSH_ORIGINAL_COMMAND\\"'
    with (config.parent / "authorized").open("a") as authorized:
        authorized.write(f'command="{command}" {(folder / "key.pub").read_text()}')
    old = config.read_text()
    changed = (
        old.split("\nHost ")[0]
        .replace("Host elsewhere", f"Host {name}")
        .replace(f"{config.parent}/user", str(folder / "key"))
    )
    config.write_text(f"{old}{changed}\n")


def test_a_shell_that_greets_is_no_answer(
    ssh: str, key: KeyChoice, stacks: Builds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSYNC_RSH", ssh)
    add_host(ssh, tmp_path, "greeting", GREETS)
    place, elsewhere = (HostFolder(host=host, path=str(tmp_path / "far")) for host in ("greeting", "elsewhere"))
    with open_repository(place, State(tmp_path / "here"), change=True) as root:
        publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [stacks(1)])
        with (
            pytest.raises(BusyError, match="in use by process"),
            open_repository(place, State(tmp_path / "there"), change=True),
        ):
            pass
    with open_repository(elsewhere, State(tmp_path / "there"), change=False) as root:
        assert verify_here(root).faults == ()


SHELLS = {
    "exec sh -c 'while :; do echo Welcome; done'": "does not come to an end with what it prints",
    "exec head -c 200000 /dev/zero": "ended before its work was done",
    "echo This account is closed; exit 1": "the shell of closed prints: This account is closed",
    "echo Welcome": "is your shell clean?",
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_that_does_not_run_commands_is_said(
    ssh: str, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSYNC_RSH", ssh)
    name = f"shell{list(SHELLS).index(shell)}"
    add_host(ssh, tmp_path, name, shell)
    place = HostFolder(host=name, path=str(tmp_path / "far"))
    with (
        pytest.raises(RepositoryError, match="cannot be reached or written") as caught,
        open_repository(place, State(tmp_path / "here"), change=True),
    ):
        pass
    assert SHELLS[shell].replace("closed prints", f"{name} prints") in " ".join(caught.value.details)
    assert not any("--prune-empty-dirs" in line or "ControlMaster" in line for line in caught.value.details)


@pytest.mark.parametrize("missing", ["flock", "rsync"])
def test_a_host_without_a_program_is_not_said_to_be_busy(
    ssh: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSYNC_RSH", ssh)
    (tmp_path / "bin").mkdir()
    for name in {"sh", "flock", "find", "dd", "rsync", "mkdir", "cat"} - {missing}:
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    name = f"lacking-{missing}"
    add_host(ssh, tmp_path, name, f"PATH={tmp_path}/bin")
    place = HostFolder(host=name, path=str(tmp_path / "far"))
    with (
        pytest.raises(RepositoryError, match=f"has no program {missing}"),
        open_repository(place, State(tmp_path / "here"), change=True),
    ):
        pass
    assert not (tmp_path / "far").exists()


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_silent_host_is_not_waited_for_without_end(
    silent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSYNC_RSH", "ssh -o ConnectTimeout=1")
    place = HostFolder(host="127.0.0.1", path="/srv/apt", port=silent)
    with (
        pytest.raises(RepositoryError, match="cannot be reached") as caught,
        open_repository(place, State(tmp_path), change=True),
    ):
        pass
    assert any("timed out" in line for line in caught.value.details)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_hapkg_ends_at_once_while_a_host_is_silent(silent: int, tmp_path: Path, number: signal.Signals) -> None:
    program = Hapkg(project=CHECKOUT, cache=tmp_path / "cache", home=tmp_path / "home")
    heed = ("env", "--default-signal=HUP,INT,TERM")  # under nohup hapkg would go on, as it was asked to
    running = program.start("repo", "list", "--repo", f"ssh://127.0.0.1:{silent}/srv/apt", within=heed)
    try:
        wait_until(lambda: find_children(running.process.pid, "ssh") != [], "ssh", seconds=60)
        (ssh,) = find_children(running.process.pid, "ssh")
        done = running.stop(number)
    finally:
        running.end()
    assert (done.status, done.stderr.splitlines()) == (130, ["stopped"])
    wait_until(lambda: not Path("/proc", ssh).exists(), "the end of ssh", seconds=10)  # a busy machine reaps it later


def find_children(pid: int, name: str) -> list[str]:
    """Children of a process that run a program."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in children if Path(f"/proc/{child}/comm").read_text() == f"{name}\n"]


def test_the_lock_of_a_host_is_the_one_that_hapkg_takes_there(
    ssh: str, root: Path, key: KeyChoice, stacks: Builds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSYNC_RSH", ssh)
    publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [stacks(1)])
    with open_repository(HostFolder(host="elsewhere", path=str(root)), State(tmp_path), change=True) as mirror:
        with pytest.raises(BusyError, match="in use by process"):
            publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [stacks(2)])
        publish(PublishTarget(root=mirror, identity=IDENTITY, choice=key), [stacks(3)])
    publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [stacks(4)])
    assert (verify_here(root).faults, verify_here(root).surplus) == ((), ())
    assert len(list_snapshots(root, BOOKWORM)) == 3


# What --repo names


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("apt", Path("/base/apt")),
        ("./a:b", Path("/base/a:b")),
        ("/srv/a:b", Path("/srv/a:b")),
        ("file:///srv/a%20b", Path("/srv/a b")),
        ("host:apt", HostFolder(host="host", path="apt")),
        ("host:~/apt", HostFolder(host="host", path="apt")),
        ("me@host.example.org:/srv/apt/", HostFolder(host="me@host.example.org", path="/srv/apt")),
        ("ssh://me@host:2222/srv/apt", HostFolder(host="me@host", port=2222, path="/srv/apt")),
        ("s3://packages", BucketFolder(bucket="packages", prefix="")),
        ("s3://packages/a/b/", BucketFolder(bucket="packages", prefix="a/b/")),
    ],
)
def test_places(text: str, place: Location) -> None:
    assert parse_location(text, Path("/base")) == place
    if not isinstance(place, Path):
        assert parse_location(str(place), Path("/base")) == place
        assert name_mirror(place) != name_mirror(HostFolder(host="other", path="x"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rsync://host/apt",
        "host::apt",
        "host:",
        "s3:/bucket",
        "ssh:/host/apt",
        "https://host/apt",
        "s3://",
        "s3://A/b",
        "apt\nx",
        "apt\udcff",
        f"srv/{'x' * 256}",
        "file:///srv/a%0Ab",
        "ssh://host",
        "s3://aaa/../b",
        "ssh://-Jfoo/srv",
        "file://[::1/srv",
    ],
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_location(text, Path("/base"))
    assert "s3://BUCKET/PREFIX" in caught.value.hint or "printable" in caught.value.hint
    assert caught.value.brief.isprintable()


@pytest.mark.parametrize("text", ["host:~", "host:~/", "host:~other/apt", "host:~/~x"])
def test_a_home_that_no_shell_expands_is_no_folder(text: str) -> None:
    with pytest.raises(UsageError, match="no folder of a host"):
        parse_location(text, Path("/base"))


def test_upstreams_git_repository_is_reached_over_ssh(
    tmp_path: Path, ssh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_git(tmp_path / "home", ["v1.0"], {"README": "one\n"})
    monkeypatch.setenv("GIT_SSH_COMMAND", ssh)
    commit = Git().find_commit(f"ssh://elsewhere{home}", "v1.0", State(tmp_path / "state"), tag=True)
    assert commit.id == run("git", "-C", home, "rev-parse", "v1.0^{commit}").strip()
    monkeypatch.setenv("GIT_SSH_COMMAND", f"{ssh} -o PubkeyAuthentication=no -o BatchMode=yes")
    with pytest.raises(FetchError, match="cannot be reached"):
        Git().find_commit(f"ssh://elsewhere{home}/", "v1.0", State(tmp_path / "other"), tag=True)
