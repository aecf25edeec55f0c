"""docs/acme.md from an empty folder, line by line, as who reads it runs it: `make guide`."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hapkg.chroot.schroot import find_chroot
from hapkg.control import Suite
from hapkg.locations import State
from tests.support.machine import NOTHING, find_leftovers
from tests.support.samples import CHECKOUT
from tests.system.acceptance.conftest import Node, make_bare_root

GUIDE = CHECKOUT / "docs/acme.md"
BOOKWORM = Suite("bookworm")
MACHINE = "A machine that installs"
UPSTREAMS = ("cjson", "fping", "fribidi", "mccabe", "pv")


def read_lines(guide: str) -> dict[str, list[str]]:
    """The indented lines of the guide by section."""
    sections = re.split(r"(?m)^## ", guide)[1:]
    found = {section.partition("\n")[0]: re.findall(r"(?m)^    (\S.*)$", section) for section in sections}
    return {title: lines for title, lines in found.items() if lines}


class Reader:
    """A person with an empty home, who types one line after the other into one shell."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home
        self.environment = {
            "HOME": str(home),
            "PATH": f"{home}/.local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
        }
        self.server: subprocess.Popen[str] | None = None

    def type(self, line: str) -> str:
        """Run a line, which must succeed; its output. A cd lasts, a line that ends in & goes on."""
        if line.startswith("cd "):
            self.folder /= line.removeprefix("cd ")
            return ""
        argv = ["sh", "-c", line.replace("CHECKOUT", str(CHECKOUT))]
        if line.endswith("&"):
            argv[2] = f"exec {argv[2].rstrip(' &')}"
            quiet = subprocess.DEVNULL
            self.server = subprocess.Popen(
                argv, cwd=self.folder, env=self.environment, stdout=quiet, stderr=quiet, text=True
            )
            return ""
        done = subprocess.run(argv, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def reader() -> Iterator[Reader]:
    home = Path(tempfile.mkdtemp(prefix="hapkg-guide-", dir="/var/tmp"))
    home.chmod(0o755)
    reader = Reader(home)
    yield reader
    if reader.server:
        reader.server.send_signal(signal.SIGTERM)
        reader.server.wait(30)
    if (reader.folder / "pyproject.toml").exists():
        reader.type("hapkg chroot rm bookworm")
    shutil.rmtree(home)


def test_five_upstreams_become_a_repository_that_a_machine_installs_from(reader: Reader) -> None:
    sections = read_lines(GUIDE.read_text())
    assert list(sections)[-1] == MACHINE
    for title, lines in sections.items():
        for line in lines:
            if title != MACHINE:
                told = reader.type(line)
                assert "--trial" not in line or ": built " in told
    packages = {file.name.partition("_")[0] for file in (reader.folder / "apt/pool").rglob("*.deb")}
    assert {"acme-stack", *(f"acme-{name}" for name in UPSTREAMS)} <= packages
    first, *others = sections[MACHINE]
    reader.type(first)
    node = Node(root=reader.home / "machine")
    make_bare_root(node.root, BOOKWORM)
    shutil.copy("/etc/resolv.conf", node.root / "etc/resolv.conf")
    node.run("apt-get update && apt-get install -y --no-install-recommends wget ca-certificates")
    told = node.run("\n".join(("set -e", *others))).stdout
    assert "pv 1" in told
    assert "FriBidi" in told
    cache = reader.home / ".cache/hapkg"
    chroot = find_chroot(State(cache), BOOKWORM)
    assert chroot
    assert find_leftovers(chroot.name, cache) == NOTHING
