"""Fetching, from a real HTTP server on loopback that misbehaves on demand."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

import pytest

from hapkg.errors import FetchError, HapkgError, IntegrityError, Interrupted, MachineError, SourceError, UsageError
from hapkg.locations import State
from hapkg.programs import process
from hapkg.recipe.model import Recipe
from hapkg.recipe.upstream import DebianOrigin, Origin, PinnedFile, RemotePatch, Upstream
from hapkg.source import fetch as origin
from hapkg.source.fetch import Tarball, fetch, fetch_patches
from hapkg.source.origins import tarball
from hapkg.source.vcs import KINDS
from tests.support.samples import AUTOTOOLS, make_recipe_from

CONTENT = gzip.compress(b"upstream's code", mtime=0)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PAUSES = origin._PAUSES
TRY_AGAIN = "check the network, or add another [[origins]] to recipe.toml; --mirror names a Debian archive"
LOOK = "a tarball that changed upstream needs a look before its sha256 is changed"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The server's answer to one request."""

    status: int = 200
    body: bytes = CONTENT
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """The connection ends in the middle of what the headers promise."""


GOOD = Answer()
CUT = Answer(headers={"Content-Length": str(2 * len(CONTENT))}, cut=True)
ABSENT = Answer(status=404, body=b"no")
BROKEN = Answer(status=500, body=b"sorry")


class Server(ThreadingHTTPServer):
    """Gives each path its answers in turn, the last one for ever; remembers what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[str] = []

    def give(self, path: str, *answers: Answer) -> str:
        """The address that gives these answers."""
        self.answers[path] = list(answers)
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        answers = self.server.answers[self.path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(answer.status)
        for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()
        if answer.cut:
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between attempts, noted instead of taken."""
    noted: list[float] = []
    monkeypatch.setattr(origin, "_PAUSES", PAUSES)
    monkeypatch.setattr("time.sleep", noted.append)
    monkeypatch.setenv("no_proxy", "*")
    return noted


def make(*urls: str, sha256: str = DIGEST) -> Recipe:
    origins = [{"type": "tarball", "url": url, "sha256": sha256} for url in urls]
    return make_recipe_from({**AUTOTOOLS, "origins": origins})


def kept(cache: Path) -> list[str]:
    """Names below sources, in the cache: finished files, and scratch if any was left."""
    return sorted(str(path.relative_to(cache / "sources")) for path in (cache / "sources").rglob("*"))


def refuse(recipe: Recipe, cache: Path) -> HapkgError:
    with pytest.raises((FetchError, IntegrityError)) as caught:
        fetch(recipe, State(cache), None)
    assert caught.value.brief == "ha-one: no origin delivered the source of version 1.2"
    assert kept(cache) == ["sha256"]
    return caught.value


def test_a_good_download_is_kept_under_its_digest(server: Server, tmp_path: Path, pauses: list[float]) -> None:
    url = server.give("/one-1.2.tar.gz", GOOD)
    path = tmp_path / "sources" / "sha256" / DIGEST
    assert fetch(make(url), State(tmp_path), None) == Tarball(path=path, sha256=DIGEST, suffix=".tar.gz", origin=url)
    assert path.read_bytes() == CONTENT
    assert (kept(tmp_path), server.asked, pauses) == (["sha256", f"sha256/{DIGEST}"], ["/one-1.2.tar.gz"], [])


def test_a_cached_file_needs_no_network(server: Server, tmp_path: Path) -> None:
    url = server.give("/one-1.2.tar.gz", GOOD)
    fetched = fetch(make(url), State(tmp_path), None)
    server.shutdown()
    server.server_close()
    again = fetch(make(url), State(tmp_path), None)
    assert again == Tarball(path=fetched.path, sha256=DIGEST, suffix=".tar.gz", origin=f"{url} (cached)")


@pytest.mark.parametrize("damage", [b"", CONTENT[:-1], CONTENT + b"x"])
def test_a_cached_file_that_was_damaged_is_fetched_again(server: Server, tmp_path: Path, damage: bytes) -> None:
    recipe = make(server.give("/one-1.2.tar.gz", GOOD))
    path = fetch(recipe, State(tmp_path), None).path
    path.write_bytes(damage)
    again = fetch(recipe, State(tmp_path), None)
    assert again.notes == (f"the cached copy {DIGEST[:12]}… was damaged and is fetched again",)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["/one-1.2.tar.gz"] * 2


@pytest.mark.parametrize("bad", [CUT, BROKEN, Answer(status=429), Answer(status=408)])
def test_a_passing_failure_is_tried_again(server: Server, tmp_path: Path, pauses: list[float], bad: Answer) -> None:
    tarball = fetch(make(server.give("/one-1.2.tar.gz", bad, bad, GOOD)), State(tmp_path), None)
    assert tarball.path.read_bytes() == CONTENT
    assert (tarball.notes, pauses) == ((), [1.0, 4.0])


def test_a_truncated_download_is_an_error_in_the_end(server: Server, tmp_path: Path) -> None:
    url = server.give("/one-1.2.tar.gz", CUT)
    error = refuse(make(url), tmp_path)
    size = len(CONTENT)
    assert (type(error), error.exit_code) == (FetchError, 6)
    assert error.details == (f"{url}: the download was cut off: {size} of {2 * size} bytes",)
    assert error.hint == TRY_AGAIN
    assert server.asked == ["/one-1.2.tar.gz"] * 3


def test_a_chunked_download_that_breaks_off_is_an_error(server: Server, tmp_path: Path) -> None:
    chunked = Answer(body=b"ff\r\nshort", headers={"Content-Length": "", "Transfer-Encoding": "chunked"}, cut=True)
    url = server.give("/one-1.2.tar.gz", chunked)
    error = refuse(make(url), tmp_path)
    assert type(error) is FetchError
    assert error.details[0].startswith(f"{url}: the connection failed: ")


def test_a_download_of_unknown_length_is_judged_by_its_digest(server: Server, tmp_path: Path) -> None:
    for length in ("", "garbage"):
        url = server.give("/one-1.2.tar.gz", Answer(headers={"Content-Length": length}, cut=True))
        assert fetch(make(url), State(tmp_path / (length or "none")), None).path.read_bytes() == CONTENT


def test_an_origin_that_has_nothing_gives_way_to_the_next_with_a_note(
    server: Server, tmp_path: Path, pauses: list[float]
) -> None:
    first, second = server.give("/gone.tar.gz", ABSENT), server.give("/one-1.2.tar.gz", GOOD)
    tarball = fetch(make(first, second), State(tmp_path), None)
    assert (tarball.origin, tarball.notes) == (second, (f"{first}: the server answers 404 Not Found",))
    assert (server.asked, pauses) == (["/gone.tar.gz", "/one-1.2.tar.gz"], [])


def test_an_origin_with_other_bytes_gives_way_to_the_next_with_a_note(server: Server, tmp_path: Path) -> None:
    first, second = server.give("/bad.tar.gz", Answer(body=b"evil")), server.give("/one-1.2.tar.gz", GOOD)
    tarball = fetch(make(first, second), State(tmp_path), None)
    found = hashlib.sha256(b"evil").hexdigest()
    note = f"{first}: checksum mismatch: sha256 is {found}, the recipe pins {DIGEST}"
    assert (tarball.origin, tarball.notes) == (second, (note,))
    assert kept(tmp_path) == ["sha256", f"sha256/{DIGEST}"]


def test_bytes_that_were_not_promised_are_an_error_and_not_kept(server: Server, tmp_path: Path) -> None:
    url = server.give("/one-1.2.tar.gz", Answer(body=b"evil"))
    error = refuse(make(url), tmp_path)
    found = hashlib.sha256(b"evil").hexdigest()
    assert (type(error), error.exit_code) == (IntegrityError, 7)
    assert error.details == (f"{url}: checksum mismatch: sha256 is {found}, the recipe pins {DIGEST}", "size: 4")
    assert error.hint == f"check the network and recipe.toml, [[origins]]; {LOOK}"
    assert server.asked == ["/one-1.2.tar.gz"]


def test_a_mismatch_weighs_more_than_a_missing_file(server: Server, tmp_path: Path) -> None:
    urls = server.give("/bad.tar.gz", Answer(body=b"evil")), server.give("/gone.tar.gz", ABSENT)
    assert type(refuse(make(*urls), tmp_path)) is IntegrityError
    assert type(refuse(make(*reversed(urls)), tmp_path)) is IntegrityError


def test_every_origin_that_failed_is_named(server: Server, tmp_path: Path) -> None:
    first, second = server.give("/a.tar.gz", ABSENT), server.give("/b.tar.gz", Answer(status=503))
    error = refuse(make(first, second), tmp_path)
    assert error.details == (
        f"{first}: the server answers 404 Not Found",
        f"{second}: the server answers 503 Service Unavailable",
    )


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/one-1.2.tar.gz"
    error = refuse(make(url), tmp_path)
    assert error.details == (f"{url}: cannot be reached: [Errno 111] Connection refused",)


@pytest.mark.parametrize(
    "target", ["http://[/x.tar.gz", "http://127.0.0.1:no/x.tar.gz", "ssh://example.org/x.tar.gz", "http://a b/x.tar.gz"]
)
def test_a_redirect_to_nonsense_is_an_error(server: Server, tmp_path: Path, target: str) -> None:
    url = server.give("/one-1.2.tar.gz", Answer(status=302, headers={"Location": target}))
    assert type(refuse(make(url), tmp_path)) is FetchError


def test_a_redirect_is_followed(server: Server, tmp_path: Path) -> None:
    target = server.give("/target.tar.gz", GOOD)
    url = server.give("/one-1.2.tar.gz", Answer(status=302, headers={"Location": target}))
    assert fetch(make(url), State(tmp_path), None).origin == url


def test_a_host_name_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    refuse(make(f"http://{'a' * 64}.example.org/one-1.2.tar.gz"), tmp_path)


def test_a_file_of_this_host_is_an_origin_too(tmp_path: Path) -> None:
    file = tmp_path / "one-1.2.tar.gz"
    file.write_bytes(CONTENT)
    assert fetch(make(f"file://{file}"), State(tmp_path / "cache"), None).path.read_bytes() == CONTENT
    file.unlink()
    refuse(make(f"file://{file}"), tmp_path / "other")


@pytest.mark.parametrize(
    ("content", "suffix"),
    [(gzip.compress(b"x", mtime=0), ".tar.gz"), (b"\xfd7zXZ\0x", ".tar.xz"), (b"BZh9x", ".tar.bz2")],
)
def test_a_tarball_is_named_after_what_it_is(server: Server, tmp_path: Path, content: bytes, suffix: str) -> None:
    url = server.give("/one-1.2.tar.gz", Answer(body=content))
    assert fetch(make(url, sha256=hashlib.sha256(content).hexdigest()), State(tmp_path), None).suffix == suffix


def test_a_tarball_that_is_not_compressed_is_refused(server: Server, tmp_path: Path) -> None:
    url = server.give("/one-1.2.tar.gz", Answer(body=b"plain"))
    with pytest.raises(IntegrityError) as caught:
        fetch(make(url, sha256=hashlib.sha256(b"plain").hexdigest()), State(tmp_path), None)
    assert caught.value.brief.endswith(" is neither gzip, xz nor bzip2")


def test_a_debian_origin_needs_an_archive(tmp_path: Path) -> None:
    debian = {"type": "debian", "package": "one", "version": "1.2-3", "sha256": DIGEST}
    error = refuse(make_recipe_from({**AUTOTOOLS, "origins": [debian]}), tmp_path)
    assert error.details == ("Debian orig of one 1.2-3: no Debian archive is configured on this host",)
    assert DebianOrigin.model_validate(debian).describe() == "Debian orig of one 1.2-3"


def test_a_pinned_patch_is_fetched_once(server: Server, tmp_path: Path) -> None:
    content = b"--- a/x\n+++ b/x\n"
    url = server.give("/x", Answer(body=content))
    patch = {"type": "url", "name": "x.patch", "url": url, "sha256": hashlib.sha256(content).hexdigest()}
    recipe = make_recipe_from({**AUTOTOOLS, "remote-patches": [patch]})
    found = [fetch_patches(recipe, State(tmp_path), None) for _ in range(2)]
    assert (found, server.asked) == ([{"x.patch": content}] * 2, ["/x"])


@pytest.mark.parametrize("kind", [UsageError, SourceError, FetchError])
def test_a_repository_without_the_commit_is_an_origin_that_delivers_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[HapkgError]
) -> None:
    def find_commit(*_: object) -> None:
        raise kind("no such commit", hint="of no use here")

    monkeypatch.setattr(origin, "find_commit", find_commit)
    url = server.give("/gone.tar.gz", ABSENT)
    gone = {"type": "tarball", "url": url, "sha256": DIGEST}
    upstream = {**AUTOTOOLS["upstream"], "commit": "a" * 40}
    recipe = make_recipe_from({**AUTOTOOLS, "upstream": upstream, "origins": [gone, {"type": "git"}]})
    error = refuse(recipe, tmp_path)
    assert (type(error), error.hint) == (FetchError, TRY_AGAIN)
    assert error.details == (f"{url}: the server answers 404 Not Found", "upstream's git repository: no such commit")


def test_a_cache_that_cannot_be_written_is_the_machines_failure(server: Server, tmp_path: Path) -> None:
    (tmp_path / "sources").touch()
    with pytest.raises(MachineError) as caught:
        fetch(make(server.give("/one-1.2.tar.gz", GOOD)), State(tmp_path), None)
    assert caught.value.hint == "free some space, or use another --cache"


def test_a_full_disk_is_the_machines_failure(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(origin, "_keep", fail)
    with pytest.raises(MachineError) as caught:
        fetch(make(server.give("/one-1.2.tar.gz", GOOD)), State(tmp_path), None)
    assert caught.value.brief == f"{tmp_path}: No space left on device"
    assert kept(tmp_path) == ["sha256"]


def test_a_stop_ends_a_download(server: Server, tmp_path: Path) -> None:
    recipe = make(server.give("/one-1.2.tar.gz", GOOD))
    process.stop_all()
    try:
        with pytest.raises(Interrupted):
            fetch(recipe, State(tmp_path), None)
    finally:
        process.reset()
    assert server.asked == []


def test_every_origin_has_its_module() -> None:
    members = [kind for union in (Origin, RemotePatch) for kind in get_args(get_args(union)[0])]
    files = {kind for kind in members if issubclass(kind, PinnedFile)}
    assert origin._FETCHERS.keys() == files
    kinds = {get_args(kind.model_fields["type"].annotation)[0] for kind in members if kind not in files}
    assert KINDS.keys() == kinds
    assert kinds <= Upstream.model_fields.keys()


def test_a_server_that_sends_too_much_or_hardly_anything_is_given_up(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.give("/one.tar.gz", GOOD)
    with pytest.raises(FetchError, match="larger than 10 bytes"):
        tarball.download(url, tmp_path / "file", most_bytes=10)
    monkeypatch.setattr(tarball, "SLOW_SECONDS", 0)
    monkeypatch.setattr(tarball, "LEAST_BYTES", 1 << 60)
    with pytest.raises(FetchError, match="bytes a second"):
        tarball.download(url, tmp_path / "file")
