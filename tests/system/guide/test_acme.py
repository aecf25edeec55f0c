"""docs/acme.md from an empty folder, line by line, as who reads it runs it: `make guide`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import chain
from pathlib import Path

import pytest

from hapkg.chroot.schroot import find_chroot
from hapkg.control import Suite
from hapkg.locations import State
from tests.support.machine import NOTHING, find_leftovers
from tests.support.samples import CHECKOUT
from tests.system.acceptance.conftest import HAPKG, Node, make_bare_root

GUIDE = CHECKOUT / "docs/acme.md"
BOOKWORM = Suite("bookworm")
WHEEL, PACKAGE, MACHINE = "hapkg as a wheel", "Or hapkg as a package", "A machine that installs"
TRIXIE = Suite("trixie")
PACKAGES = "http://127.0.0.1:8001"
ENTER = """
mount --rbind {root} {root}
mount -t proc proc {root}/proc
mount --rbind /sys {root}/sys
mount --rbind /dev {root}/dev
cd {root}
pivot_root . mnt
umount -l /mnt
exec sh -c "$0"
"""
"""The beginning of a process whose root is another folder: unlike after chroot, it may make namespaces."""
UPSTREAMS = ("cjson", "fping", "fribidi", "mccabe", "pv")


def read_lines(guide: str) -> dict[str, list[str]]:
    """The indented lines of the guide by section."""
    sections = re.split(r"(?m)^## ", guide)[1:]
    found = {section.partition("\n")[0]: re.findall(r"(?m)^    (\S.*)$", section) for section in sections}
    return {title: lines for title, lines in found.items() if lines}


class Reader:
    """A person with an empty home, who types one line after the other into one shell, of this machine or of another."""

    def __init__(self, home: Path, root: Path = Path("/")) -> None:
        self.root = root
        self.folder = home
        """As its machine calls it."""
        self.environment = {
            "HOME": str(home),
            "PATH": f"{home}/.local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
        }

    @property
    def seen(self) -> Path:
        """The folder as this machine calls it."""
        return self.root / self.folder.relative_to("/")

    def type(self, line: str) -> str:
        """Run a line, which must succeed; its output. A cd lasts."""
        if line.startswith("cd "):
            self.folder /= line.removeprefix("cd ")
            return ""
        script = f"cd {self.folder}\n{line}"
        argv = ["sh", "-ec", script]
        if self.root != Path("/"):
            enter = ENTER.format(root=self.root)
            argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-ec", enter, script]
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@contextlib.contextmanager
def serve(folder: Path, port: int) -> Iterator[None]:
    """A web server of a folder, on this machine's loopback."""
    argv = [sys.executable, "-m", "http.server", "--directory", str(folder), "--bind", "127.0.0.1", str(port)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(100):  # until it listens
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.1)
            yield
        finally:
            server.send_signal(signal.SIGTERM)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder on the disk, below which everything of a test is made."""
    home = Path(tempfile.mkdtemp(prefix="hapkg-guide-", dir="/var/tmp"))
    home.chmod(0o755)
    yield home
    shutil.rmtree(home)


def follow(reader: Reader, machine: Path, *, left_out: str, names: Mapping[str, str]) -> None:
    """Type every line of the guide but those of one section, and try what comes of it on a bare machine."""
    sections = read_lines(GUIDE.read_text())
    assert {WHEEL, PACKAGE, MACHINE} <= set(sections)
    server, *others = sections.pop(MACHINE)
    del sections[left_out]
    for line in chain.from_iterable(sections.values()):
        told = reader.type(reduce(lambda text, pair: text.replace(*pair), names.items(), line))
        assert "--trial" not in line or ": built " in told
    packages = {file.name.partition("_")[0] for file in (reader.seen / "apt/pool").rglob("*.deb")}
    assert {"acme-stack", *(f"acme-{name}" for name in UPSTREAMS)} <= packages
    assert server == "python3 -m http.server --directory ./apt --bind 127.0.0.1 8000 &"
    with serve(reader.seen / "apt", 8000):
        told = install_wget(machine, BOOKWORM).run("\n".join(("set -e", *others))).stdout
    assert "pv 1" in told
    assert "FriBidi" in told


def install_wget(root: Path, suite: Suite) -> Node:
    """A minimal machine of a suite that can fetch."""
    node = Node(root=root)
    make_bare_root(root, suite)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    node.run("apt-get update && apt-get install -y --no-install-recommends wget ca-certificates")
    return node


def test_five_upstreams_with_the_wheel(home: Path) -> None:
    reader = Reader(home)
    try:
        follow(reader, home / "machine", left_out=PACKAGE, names={"CHECKOUT": str(CHECKOUT)})
        cache = home / ".cache/hapkg"
        chroot = find_chroot(State(cache), BOOKWORM)
        assert chroot
        assert find_leftovers(chroot.name, cache) == NOTHING
    finally:
        if (reader.seen / "pyproject.toml").exists():
            reader.type("hapkg chroot rm bookworm")


def test_five_upstreams_with_the_package(home: Path) -> None:
    project, state = home / "deb", {"HAPKG_CACHE": str(home / "state"), "HAPKG_KEYS": str(home / "keys")}
    make = ["make", "-C", str(CHECKOUT), "deb", f"DEB={project}", f"DEB_URL={PACKAGES}"]
    try:
        done = subprocess.run(make, env={**os.environ, **state}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        argv = [str(HAPKG), "--project", str(project), "chroot", "rm", str(TRIXIE)]
        subprocess.run(argv, env={**os.environ, **state}, check=True)
    build_machine = home / "build-machine"
    install_wget(build_machine, TRIXIE)
    reader = Reader(Path("/root"), build_machine)
    with serve(project / "apt", 8001):
        follow(reader, home / "machine", left_out=WHEEL, names={"PACKAGES": PACKAGES})
