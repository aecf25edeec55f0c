"""Machines that live as long as a test: namespaces of their own, a root folder each, and a switch between them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.machine import wait_until

# The first process of a machine: it adopts what daemons leave behind.
INIT = "exec bash -c 'while sleep 1; do :; done'"
ENVIRONMENT = (
    "HOME=/root",
    "LC_ALL=C.UTF-8",
    "DEBIAN_FRONTEND=noninteractive",
    "PATH=/opt/ha/sbin:/opt/ha/bin:/usr/sbin:/usr/bin:/sbin:/bin",
)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A running machine: a root folder with processes, mounts, host name and network of its own."""

    name: str
    address: str
    root: Path
    pid: int
    """Of its first process, as the host counts."""
    switch: int
    """Of the first process in the network that all machines are plugged into."""

    def run(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell script on the machine."""
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        argv = [*enter, "env", "-i", *ENVIRONMENT, "sh", "-c", script]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=900)
        assert not check or done.returncode == 0, f"{self.name}: {script}\n{done.stdout}\n{done.stderr}"
        return done

    def tell(self, script: str) -> str:
        """The output of a shell script, whether it succeeds or not."""
        return self.run(script, check=False).stdout

    def find(self, program: str) -> str:
        """Pid of a daemon on the machine. The oldest: pacemaker-based, for one, forks to write its file."""
        return (self.tell(f"pidof {program}").split() or [""])[-1]

    def unplug(self) -> None:
        """Cut the cable between machine and switch."""
        _in_network(self.switch, f"ip link set {self.name} nomaster")

    def plug(self) -> None:
        """Mend the cable."""
        _in_network(self.switch, f"ip link set {self.name} master switch")


def _in_network(pid: int, script: str) -> None:
    subprocess.run(["nsenter", "--target", str(pid), "--net", "sh", "-ec", script], check=True)


@contextlib.contextmanager
def _start(argv: Sequence[str], root: Path | None = None) -> Iterator[int]:
    """A first process of new namespaces: its pid. Everything in them ends with it, which is looked for."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
        namespaces: frozenset[str] = frozenset()
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            wait_until(lambda: bool(children.read_text().split()), "first process", seconds=30)
            pid = int(children.read_text().split()[0])
            namespaces = _list_namespaces(Path(f"/proc/{pid}")) - _list_namespaces(Path("/proc/self"))
            assert len(namespaces) == sum(word in _NAMESPACES for word in argv), "not all of its namespaces are new"
            yield pid
        finally:
            process.kill()  # unshare ignores a polite word while its child lives
    wait_until(
        lambda: not find_remains(namespaces, root),
        "end of everything in a machine",
        seconds=30,
        evidence=lambda: "\n".join(find_remains(namespaces, root)),
    )


_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid")


def _list_namespaces(process: Path) -> frozenset[str]:
    return frozenset(str(link.readlink()) for link in (process / "ns").iterdir() if not link.name.endswith("_children"))


def find_remains(namespaces: frozenset[str], root: Path | None) -> list[str]:
    """Processes in one of these namespaces or below a root folder, and mounts below it that any process sees."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            place = (process / "root").readlink()
            inside = bool(root) and place.is_relative_to(root or "/")
            mounts = [line for line in (process / "mountinfo").read_text().splitlines() if root and f" {root}" in line]
            if inside or mounts or _list_namespaces(process) & namespaces:
                found.append(" ".join((process.name, (process / "comm").read_text().strip(), str(place), *mounts)))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        except OSError:
            continue  # a zombie has no mounts
    return found


@contextlib.contextmanager
def make_switch() -> Iterator[int]:
    """A network with a bridge in it; the pid of its first process."""
    script = "ip link set lo up; ip link add switch type bridge; ip link set switch up; exec sleep infinity"
    argv = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--", "sh", "-ec", script]
    with _start(argv) as pid:
        wait_until(lambda: _bridge_is_up(pid), "switch", seconds=30)
        yield pid


def _bridge_is_up(pid: int) -> bool:
    argv = ["nsenter", "--target", str(pid), "--net", "ip", "link", "show", "switch", "up"]
    return "switch" in subprocess.run(argv, capture_output=True, text=True, check=False).stdout


@contextlib.contextmanager
def start_machine(root: Path, switch: int, *, name: str, address: str) -> Iterator[Machine]:
    """Boot a root folder and plug it into the switch. The address is IPv4 with the length of its prefix."""
    script = f"""
        hostname {name}
        mount -t proc proc {root}/proc
        mount -t tmpfs -o mode=1777 tmpfs {root}/dev/shm
        mount -t tmpfs -o mode=755 tmpfs {root}/run
        exec chroot {root} sh -c "{INIT}"
        """
    unshare = ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child", "--"]
    with _start([*unshare, "sh", "-ec", script], root) as pid:
        machine = Machine(name=name, address=address.partition("/")[0], root=root, pid=pid, switch=switch)
        wait_until(lambda: machine.tell("ps -o comm= 1").strip() == "bash", "machine", seconds=30)
        _in_network(switch, f"ip link add {name} type veth peer name ring0 netns {pid}; ip link set {name} up")
        machine.plug()
        machine.run(f"ip link set lo up; ip address add {address} dev ring0; ip link set ring0 up; mkdir -p /run/lock")
        yield machine
