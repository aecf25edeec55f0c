"""Machines that live as long as a test: namespaces of their own, a root folder each, and a switch between them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
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


def reach(switch: int, command: str) -> str:
    """Output of a program of the host that runs in the network of a switch, as a client there."""
    argv = ["nsenter", "--target", str(switch), "--net", "sh", "-c", command]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60).stdout


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


_UNSHARE = ("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child", "--")


def _prepare(root: Path, name: str) -> str:
    return f"""
        hostname {name}
        mount -t proc proc {root}/proc
        mount -t tmpfs -o mode=1777 tmpfs {root}/dev/shm
        mount -t tmpfs -o mode=755 tmpfs {root}/run
        """


@contextlib.contextmanager
def start_machine(root: Path, switch: int, *, name: str, address: str) -> Iterator[Machine]:
    """Boot a root folder and plug it into the switch. The address is IPv4 with the length of its prefix."""
    with _start([*_UNSHARE, "sh", "-ec", f'{_prepare(root, name)}exec chroot {root} sh -c "{INIT}"'], root) as pid:
        machine = Machine(name=name, address=address.partition("/")[0], root=root, pid=pid, switch=switch)
        wait_until(lambda: machine.tell("ps -o comm= 1").strip() == "bash", "machine", seconds=30)
        _plug_in(machine, address)
        machine.run("mkdir -p /run/lock")
        yield machine


def _plug_in(machine: Machine, address: str) -> None:
    link = f"ip link add {machine.name} type veth peer name ring0 netns {machine.pid}; ip link set {machine.name} up"
    _in_network(machine.switch, link)
    machine.plug()
    _in_network(machine.pid, f"ip link set lo up; ip address add {address} dev ring0; ip link set ring0 up")


@contextlib.contextmanager
def boot_systemd(root: Path, switch: int, *, name: str, address: str) -> Iterator[Machine]:
    """Boot a root folder by its systemd, in a control group of its own; the network is there before it, as ever.

    It is up when systemd has nothing more to start. It may end before the block does, when it is shut down.
    """
    group, own = f"{root}/sys/fs/cgroup", f"{name}-{os.getpid()}"
    # systemd makes a service's own view of its files by leaving the old root, which must be a mount for that.
    script = f"""
        mount --bind {root} {root}
        {_prepare(root, name)}
        mount -t tmpfs -o mode=1777 tmpfs {root}/tmp
        mount --bind {root}/dev {root}/dev
        mount -t tmpfs -o mode=1777 tmpfs {root}/dev/shm
        mount -t sysfs -o ro sysfs {root}/sys
        mount -t cgroup2 cgroup2 {group}
        mkdir {group}/{own}
        echo $$ > {group}/{own}/cgroup.procs
        umount {group}
        until ip -brief address show dev ring0 2>/dev/null | grep -q {address}; do sleep 0.1; done
        exec unshare --cgroup -- sh -ec "
            mount -t cgroup2 cgroup2 {group}
            exec env -i container=namespaces PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot {root} /lib/systemd/systemd"
        """
    try:
        with _start([*_UNSHARE, "sh", "-ec", script], root) as pid:
            machine = Machine(name=name, address=address.partition("/")[0], root=root, pid=pid, switch=switch)
            _plug_in(machine, address)
            up = ("running", "degraded")
            wait_until(lambda: machine.tell("systemctl is-system-running").strip() in up, "systemd", seconds=90)
            yield machine
    finally:
        with tempfile.TemporaryDirectory() as folder:
            # A group is busy until the kernel has done with the last process in it, which nobody sees any more.
            remove = f"mount -t cgroup2 cgroup2 {folder}; find {folder}/{own} -depth -type d -exec rmdir {{}} + 2>&1"
            argv = ["unshare", "--mount", "sh", "-ec", remove]
            wait_until(
                lambda: subprocess.run(argv, stdout=subprocess.PIPE, check=False).returncode == 0,
                "end of its group",
                seconds=60,
            )
