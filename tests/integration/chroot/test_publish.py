"""From recipes to a node: published, installed with apt, run."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hapkg.chroot.schroot import find_chroot
from hapkg.chroot.sessions import Session, enter
from hapkg.control import Suite
from hapkg.locations import State
from hapkg.programs import process
from hapkg.programs.process import Result
from tests.integration.chroot.conftest import Built
from tests.support.machine import SUITE, Hapkg

SOURCES = "/etc/apt/sources.list.d/ha-stack.sources"


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The published miniature, on disk and over HTTP."""

    folder: Path
    url: str
    commands: tuple[str, ...]
    """For a node, as publish printed them."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A bare Debian, thrown away at the end."""

    session: Session

    def run(self, script: str, *, check: bool = True) -> Result:
        """Run a shell script as root with all rights and the host's network, as a node has and a session has not."""
        schroot = [
            "schroot",
            "--run-session",
            "--chroot",
            self.session.name,
            "--user",
            "root",
            "--directory",
            "/",
            "--",
        ]
        inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"]
        inside += ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
        return process.run([*schroot, *inside, "sh", "-ec", script], check=check)

    def install_stack(self) -> str:
        """Follow the instructions that publish prints; the output of the stack's program afterwards."""
        update = self.run("apt-get update").output
        assert not [line for line in update.splitlines() if line.startswith(("W:", "E:"))], update
        self.run("apt-get install ha-stack")
        return self.run("/opt/ha/bin/two").output


def is_added(line: str) -> bool:
    """Tell whether a line of publish names a new file, the keyring's aside: a preview has no key to make it from."""
    return line.startswith("added ") and "archive-keyring" not in line


@pytest.fixture(scope="module")
def repository(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """publish, and a web server on loopback."""
    folder = tmp_path_factory.mktemp("published") / "apt"
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        preview = json.loads(built.hapkg.succeed("publish", "--repo", str(folder), "--dry-run", "--json").stdout)
        assert not folder.exists(), "a preview writes nothing"
        done = built.hapkg.succeed("publish", "--repo", str(folder), "--url", url)
        assert preview["added"] == [line.split()[1] for line in done.stderr.splitlines() if is_added(line)]
        assert preview["suites"] == {SUITE: sorted(preview["added"])}
        again = built.hapkg.succeed("publish", "--repo", str(folder), "--dry-run")
        assert again.stderr.splitlines()[-1:] == [f"{SUITE} would offer nothing new"]
        assert f"note: whether this is newer than {SUITE}'s own is not known" in done.stderr
        commands = done.stdout.splitlines()[-3:]
        assert commands[1] == "apt update && apt install ha-stack ha-archive-keyring"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Repository(folder=folder, url=url, commands=tuple(commands))
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def make_node(hapkg: Hapkg, *sources: Path) -> Iterator[Node]:
    """A node that knows Debian and, where its file is given, one more repository."""
    base = find_chroot(State(hapkg.cache), Suite(SUITE))
    assert base is not None
    with enter(base, "node") as session:
        if sources:
            session.copy_in(sources, "/etc/apt/sources.list.d", user="root")
        node = Node(session=session)
        # the host's proxy, where it has one, does not serve loopback
        node.run("""echo 'Acquire::http::Proxy::127.0.0.1 "DIRECT";' > /etc/apt/apt.conf.d/60direct""")
        yield node


@pytest.fixture
def local(repository: Repository, tmp_path: Path) -> Path:
    """A copy of the repository as a folder of the node's own, and how apt is told of it."""
    folder = tmp_path / "apt"
    shutil.copytree(repository.folder, folder)
    sources = folder / f"ha-stack-{SUITE}.sources"
    sources.write_text(sources.read_text().replace(f"URIs: {repository.url}", "URIs: file:/srv/apt"))
    return folder


def test_the_stack_installs_over_http_and_runs(hapkg: Hapkg, repository: Repository) -> None:
    with make_node(hapkg) as node:
        for command in repository.commands:
            told = node.run(command).output
            assert not [line for line in told.splitlines() if line.startswith(("W:", "E:", "N:"))], told
        assert "Signed-By: /usr/share/keyrings/ha-archive-keyring.gpg\n" in node.run(f"cat {SOURCES}").output
        assert node.install_stack() == "two says moin\n"
        listed = node.run("dpkg-query -W -f '${Package} ${db:Status-Status}\\n' 'ha-*'").output.splitlines()
        assert listed == [f"ha-{name} installed" for name in ("archive-keyring", "one", "stack", "three", "two")]
        policy = node.run("apt-cache policy ha-two").output
        assert f"{repository.url} {SUITE}/main" in policy
        node.run("apt-get purge 'ha-*'")
        assert node.run("test ! -e /opt || find /opt -mindepth 1").output == ""


def test_the_stack_installs_from_a_folder_until_its_release_is_changed(hapkg: Hapkg, local: Path) -> None:
    with make_node(hapkg, local / f"ha-stack-{SUITE}.sources") as node:
        node.session.copy_in([local], "/srv", user="root")
        assert node.install_stack() == "two says moin\n"
        change_release(node)
        refused = node.run("apt-get update --error-on=any", check=False)
        assert refused.status == 100
        assert "signatures were invalid: BADSIG" in refused.output


def test_a_fresh_node_refuses_a_changed_release(hapkg: Hapkg, local: Path) -> None:
    with make_node(hapkg, local / f"ha-stack-{SUITE}.sources") as node:
        node.session.copy_in([local], "/srv", user="root")
        change_release(node)
        assert node.run("apt-get update", check=False).status == 100
        assert node.run("apt-get install ha-stack", check=False).status == 100


def test_a_changed_package_is_refused(hapkg: Hapkg, local: Path) -> None:
    (deb,) = local.glob("pool/*/main/h/ha-two/ha-two_*.deb")
    content = bytearray(deb.read_bytes())
    content[-10] ^= 1
    deb.write_bytes(content)
    with make_node(hapkg, local / f"ha-stack-{SUITE}.sources") as node:
        node.session.copy_in([local], "/srv", user="root")
        node.run("apt-get update")
        refused = node.run("apt-get install ha-two", check=False)
        assert refused.status == 100
        assert "Hash Sum mismatch" in refused.output


def change_release(node: Node) -> None:
    """Change what is signed."""
    node.run(f"sed -i 's/^Label: .*/Label: another/' /srv/apt/dists/{SUITE}/InRelease")
