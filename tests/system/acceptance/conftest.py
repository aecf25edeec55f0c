"""The real stack: built, published, and installed on a node made from nothing."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hapkg.apt.mirror import Mirror, find_mirror
from hapkg.apt.settings import read_apt_options
from hapkg.control import Suite
from hapkg.recipe.settings import find_project
from tests.support.shared import make_once
from tests.system.acceptance.formation import NAMES, Cluster, form_cluster

CHECKOUT = Path(__file__).parents[3]
HAPKG = Path(sys.executable).with_name("hapkg")
SITE = Path(__file__).with_name("site.toml")
SITE_PACKAGE = "ha-stack-site-fiestaha"
SUITE = os.environ.get("HAPKG_SUITE", "bookworm")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is an acceptance test.

    What takes longest comes first: the other process does the rest meanwhile. Every command of crm comes last: they
    leave traces.
    """
    items.sort(key=lambda item: (item.path.name == "test_crm.py", item.path.name != "test_piuparts.py"))
    for item in items:
        if Path(__file__).parent in Path(item.path).parents:
            item.add_marker("acceptance")


@dataclass(frozen=True)
class Node:
    """A machine's root folder, entered with process, mount and host name of its own."""

    root: Path

    def run(
        self, script: str, *, check: bool = True, address: str = "", hostname: str = "node"
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script on the node. With an address the node has a network of its own and this address on it."""
        prepare = [f"hostname {hostname}", f"mount -t proc proc {self.root}/proc"]
        prepare.append(f"mount -t tmpfs -o mode=1777 tmpfs {self.root}/dev/shm")
        network: list[str] = []
        if address:
            network = ["--net"]
            prepare += ["ip link set lo up", "ip link add ring0 type veth peer name far", "ip link set far up"]
            prepare += [f"ip address add {address}/24 dev ring0", "ip link set ring0 up"]
        enter = f'exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 chroot {self.root} sh -c "$0"'
        argv = ["unshare", "--mount", "--pid", "--uts", "--ipc", *network, "--fork", "--kill-child", "--", "sh", "-ec"]
        argv += ["\n".join((*prepare, enter)), f"export DEBIAN_FRONTEND=noninteractive\n{script}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=900)
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done

    def elf_files(self) -> list[Path]:
        """Programs and libraries below the prefix."""
        return [
            file
            for file in sorted((self.root / "opt/ha").rglob("*"))
            if file.is_file() and not file.is_symlink() and file.open("rb").read(4) == b"\x7fELF"
        ]


@dataclass(frozen=True)
class Stack:
    """The finished builds and the repository they were published to."""

    suite: str
    outcomes: list[dict[str, Any]]
    repository: Path
    url: str


def find_version(recipe: str) -> str:
    """Upstream's version that a recipe builds."""
    return str(tomllib.loads((CHECKOUT / "recipes" / recipe / "recipe.toml").read_text())["version"])


def run_hapkg(*arguments: str | Path, folder: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    """Run hapkg in the checkout; one at a time, for the processes of a run share its state folder."""
    argv = [str(HAPKG), "--wait", "3600", *map(str, arguments)]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


def succeed(*arguments: str) -> str:
    """Run hapkg in the checkout, which must succeed: its output."""
    done = run_hapkg(*arguments)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """build-all and publish, then the repository over HTTP on loopback. Each process of a run has its own."""
    outcomes = json.loads(succeed("build-all", "--suite", SUITE, "--site", str(SITE), "--json"))
    alone = not hasattr(pytestconfig, "workerinput")
    repository = CHECKOUT / "apt" if alone else tmp_path_factory.mktemp("published") / "apt"
    succeed("publish", "--repo", str(repository), "--suite", SUITE, "--site", str(SITE))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(repository))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield Stack(suite=SUITE, outcomes=outcomes, repository=repository, url=url)
        server.shutdown()


def build_site(text: str, folder: Path) -> Path:
    """Build the package of a site file, and nothing else: the package."""
    folder.mkdir(exist_ok=True)
    site = folder / "site.toml"
    site.write_text(text)
    outcomes = json.loads(succeed("build-all", "--suite", SUITE, "--site", str(site), "--json"))
    (outcome,) = [outcome for outcome in outcomes if outcome["source"].startswith("ha-stack-site-")]
    (deb,) = Path(outcome["log"]).parent.glob("ha-stack-site-*.deb")
    return deb


@pytest.fixture(scope="session")
def bare_node(shared: Path) -> Path:
    """The root folder of a minimal machine of the suite, made once in a run, to be copied."""
    return make_once(shared / "bare" / "root", lambda root: make_bare_root(root, Suite(SUITE)))


def make_bare_root(root: Path, suite: Suite, mirror: Mirror | None = None) -> None:
    """Make the root folder of a minimal machine of a suite, from an archive, or from the host's of its distribution."""
    mirror = mirror or find_mirror(None, find_project(CHECKOUT).distributions[suite])
    options = [f'--aptopt={name} "{value}"' for name, value in read_apt_options().items()]
    lines = mirror.lines(suite) or ("--components=" + ",".join(mirror.distribution.components),)
    missing = mirror.distribution.missing_keys
    assert not missing, f"a node of {suite} cannot be made without the keys of its archive: {missing}"
    argv = ["mmdebstrap", "--variant=minbase", "--mode=root", "--skip=cleanup/apt/lists", *options]
    argv += ['--aptopt=APT::Sandbox::User "root"', "--dpkgopt=force-unsafe-io", suite, str(root), *lines]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def make_node(bare: Path, stack: Stack, url: str | None) -> Iterator[Node]:
    """A fresh node that knows its distribution and the published repository; without a URL by file:."""
    folder = Path(tempfile.mkdtemp(dir=bare.parent))
    root = folder / "root"
    subprocess.run(["cp", "-a", str(bare), str(root)], check=True)
    node = Node(root=root)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    text = (stack.repository / f"ha-stack-{stack.suite}.sources").read_text()
    address = url or "file:/srv/apt"
    lines = [f"URIs: {address}" if line.startswith("URIs:") else line for line in text.splitlines()]
    (root / "etc/apt/sources.list.d/ha-stack.sources").write_text("\n".join(lines) + "\n")
    if url is None:
        shutil.copytree(stack.repository, root / "srv/apt")
    try:
        yield node
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cluster(bare_node: Path, stack: Stack) -> Iterator[Cluster]:
    """Two nodes in a cluster, and a machine that has the stack and no site. Tests leave it whole."""
    with install_cluster(bare_node, stack) as made:
        yield made


@contextlib.contextmanager
def install_cluster(bare_node: Path, stack: Stack) -> Iterator[Cluster]:
    """A cluster of two fresh nodes, and a machine that has the stack and no site."""
    with contextlib.ExitStack() as scope:
        # By file:, so that what a test publishes later reaches a machine whose network has nobody else in it.
        nodes = [scope.enter_context(make_node(bare_node, stack, None)) for _ in range(3)]
        wanted = (f"ha-stack {SITE_PACKAGE}", f"ha-stack {SITE_PACKAGE}", "ha-stack")
        script = "apt-get update && apt-get install -y rsyslog iproute2 faketime "
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda node, name, more: node.run(script + more, hostname=name), nodes, NAMES, wanted))
        yield scope.enter_context(form_cluster([node.root for node in nodes]))


@pytest.fixture(scope="session")
def node(bare_node: Path, stack: Stack) -> Iterator[Node]:
    """A node with ha-stack installed over HTTP. Tests leave it as they found it."""
    with make_node(bare_node, stack, stack.url) as made:
        made.run("apt-get update && apt-get install -y ha-stack")
        yield made
