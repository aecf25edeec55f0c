"""hapkg new as a person runs it: every form of an address, and what each failure says, leaves behind and ends with."""

from __future__ import annotations

import functools
import hashlib
import ssl
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hapkg.recipe.model import read_recipe
from tests.support.drafts import MESON, SOURCE, make_git, make_tarball, run
from tests.support.machine import Hapkg
from tests.support.miniature import Miniature
from tests.support.samples import STYLES

NEW = ("new", "--no-contents")


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, without a word."""

    def do_GET(self) -> None:
        """Redirect what is asked for below /plain to where no certificate vouches for it."""
        if not self.path.startswith("/plain/"):
            super().do_GET()
            return
        self.send_response(302)
        self.send_header("Location", f"http://127.0.0.1:1{self.path}")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A folder on the web, by https, with a certificate of its own."""

    folder: Path
    address: str
    certificate: Path


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    place = tmp_path_factory.mktemp("upstream")
    key, certificate, folder = place / "key", place / "certificate", place / "web"
    folder.mkdir()
    made: list[str | Path] = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    named = ["-subj", "/CN=upstream", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", "req", "-x509", *made, *named], check=True, capture_output=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield Upstream(folder=folder, address=f"https://127.0.0.1:{server.server_port}", certificate=certificate)
    server.shutdown()
    server.server_close()


@pytest.fixture
def hapkg(tmp_path: Path, upstream: Upstream) -> Hapkg:
    """The program with an empty project, which trusts the server's certificate."""
    project = Miniature.create(tmp_path / "project", suite="bookworm")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f"[http]\nsslCAInfo = {upstream.certificate}\n")
    trusted = {"SSL_CERT_FILE": str(upstream.certificate), "no_proxy": "*"}
    return Hapkg(project=project.root, cache=tmp_path / "cache", home=home, environment=trusted)


def list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_tarball_by_https(hapkg: Hapkg, upstream: Upstream) -> None:
    tarball = make_tarball(upstream.folder, MESON, suffix="xz")
    done = hapkg.succeed(*NEW, "one", "--from", f"{upstream.address}/{tarball.name}")
    file = hapkg.project / "recipes/one/recipe.toml"
    assert done.stderr == f"wrote {file}\n"
    (origin,) = read_recipe(file.parent, package_prefix="ha-", styles=STYLES).origins
    assert origin.type == "tarball"
    assert origin.url == f"{upstream.address}/{tarball.name}"
    assert "one" in hapkg.succeed("list").stdout


def test_a_draft_is_locked_where_the_suite_is(hapkg: Hapkg, upstream: Upstream) -> None:
    lock = hapkg.project / "locks/bookworm.toml"
    lock.parent.mkdir()
    lock.write_text("")
    tarball = make_tarball(upstream.folder, MESON, suffix="xz")
    done = hapkg.succeed(*NEW, "one", "--from", f"{upstream.address}/{tarball.name}")
    assert done.stderr == f"wrote {hapkg.project / 'recipes/one/recipe.toml'}\nwrote {lock}\n"
    entry = tomllib.loads(lock.read_text())["ha-one"]
    assert entry["sha256"] == hashlib.sha256(tarball.read_bytes()).hexdigest()


@pytest.mark.parametrize("form", ["{}", "git+{}"])
def test_a_git_repository_by_https(hapkg: Hapkg, upstream: Upstream, tmp_path: Path, form: str) -> None:
    work = make_git(tmp_path / "work", ["v1.1", "v1.2", "v2.0-rc1"], SOURCE)
    bare = upstream.folder / f"{tmp_path.name}.git"
    run("git", "clone", "-q", "--bare", work, bare)
    run("git", "-C", bare, "update-server-info")
    address = f"{upstream.address}/{bare.name}"
    hapkg.succeed(*NEW, "one", "--from", form.format(address))
    recipe = read_recipe(hapkg.project / "recipes/one", package_prefix="ha-", styles=STYLES)
    assert recipe.upstream is not None
    commit = run("git", "-C", work, "rev-parse", "v1.2^{commit}")
    assert (recipe.upstream.git, recipe.upstream.tag, recipe.upstream.commit) == (address, "v1.2", commit)
    assert [origin.type for origin in recipe.origins] == ["git"]


@pytest.mark.parametrize(
    ("origin", "status", "brief", "hint"),
    [
        ("{web}/none-1.tar.gz", 6, "{web}/none-1.tar.gz: the server answers 404 File not found", "check the address"),
        ("{web}/none.git", 6, "{web}/none.git cannot be reached", "check the address"),
        (
            "https://127.0.0.1:1/x-1.tar.gz",
            6,
            "https://127.0.0.1:1/x-1.tar.gz: cannot be reached: ",
            "check the address",
        ),
        (
            "{web}/plain/x-1.tar.gz",
            6,
            "{web}/plain/x-1.tar.gz: the server redirects to http://127.0.0.1:1/plain/x-1.tar.gz, which is",
            "check the address",
        ),
        ("{web}/page.tar.gz", 8, "{web}/page.tar.gz cannot be read: ", "name a whole, compressed tarball"),
        ("{here}/page.tar.gz", 8, "file://{here}/page.tar.gz cannot be read: ", "name a whole, compressed tarball"),
        (
            "{here}/other-1.tar.gz",
            8,
            "file://{here}/other-1.tar.gz has nothing at its top",
            "styles: autotools, cargo",
        ),
        (
            "{here}/scons-1.tar.gz",
            8,
            "file://{here}/scons-1.tar.gz builds with scons",
            "styles: autotools, cargo",
        ),
        ("{here}/none.tar.gz", 2, "{here}/none.tar.gz does not exist", "a tarball ends in"),
        ("{here}/pipe.tar.gz", 2, "{here}/pipe.tar.gz is neither a file nor a folder", "a tarball ends in"),
        ("{web}/one.zip", 2, "{web}/one.zip: dpkg-source takes no such archive", "name upstream's .tar.gz"),
        ("{web}/one", 2, "{web}/one is neither a tarball nor a repository", "a tarball ends in"),
    ],
)
def test_what_cannot_be_drafted_leaves_nothing(
    hapkg: Hapkg, upstream: Upstream, tmp_path: Path, origin: str, status: int, brief: str, hint: str
) -> None:
    for folder in (tmp_path, upstream.folder):
        (folder / "page.tar.gz").write_text("<html>Sign in</html>\n")
    make_tarball(tmp_path, {"src/one.c": ""}, top="other-1")
    make_tarball(tmp_path, {"SConstruct": ""}, top="scons-1")
    subprocess.run(["mkfifo", tmp_path / "pipe.tar.gz"], check=True)
    names = {"web": upstream.address, "here": tmp_path}
    before = list_files(hapkg.project)
    done = hapkg.run(*NEW, "one", "--from", origin.format(**names))
    assert done.status == status
    assert done.complaint.brief.startswith(brief.format(**names))
    assert done.complaint.hint.startswith(hint)
    assert done.stdout == ""
    assert list_files(hapkg.project) == before
    assert list((hapkg.cache / "sources").glob("**/.*")) == []


def test_a_name_that_is_taken_is_left_alone(hapkg: Hapkg, tmp_path: Path) -> None:
    tarball = str(make_tarball(tmp_path, SOURCE))
    hapkg.succeed(*NEW, "one", "--from", tarball)
    file = hapkg.project / "recipes/one/recipe.toml"
    file.write_text(file.read_text().replace("One Author", "Somebody"))
    before = file.read_text()
    for name, brief in [("one", "recipes/one exists already"), ("One", "'One' cannot be the name of a recipe")]:
        done = hapkg.run(*NEW, name, "--from", tarball)
        assert (done.status, file.read_text()) == (2, before)
        assert done.complaint.brief.endswith(brief)
        assert list_files(hapkg.project / "recipes") == [file]


def test_a_file_that_may_not_be_read(hapkg: Hapkg, tmp_path: Path) -> None:
    tarball = make_tarball(tmp_path, SOURCE)
    tarball.chmod(0)
    # root may read everything, unless it gives that up
    done = hapkg.run(*NEW, "one", "--from", str(tarball), within=["setpriv", "--bounding-set=-all", "--inh-caps=-all"])
    assert done.status == 2
    assert done.complaint.brief == f"{tarball} cannot be read: Permission denied"
    assert list_files(hapkg.project / "recipes") == []
