"""A throw-away machine: QEMU with Debian's kernel, a disk over the shared image, links to its neighbours.

It reaches nothing but its neighbours and one service of the host: its own network card is restricted, and each
connection to SERVICE goes to a socket file that only this user can open.
"""

from __future__ import annotations

import shlex
import signal
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from hapkg.errors import ProofError
from hapkg.programs import process
from hapkg.programs.process import Process
from hapkg.prove.initrd import MARK, PROBE
from hapkg.prove.qmp import AgentSilent, Answer, GuestAgent, tell_monitor
from hapkg.prove.vm_image import GuestImage
from hapkg.text import printable

SERVICE = "10.0.2.100"
"""Where guests find the host's service, at port 80."""
_PROBE_SECONDS = 20.0
_KERNEL = (
    "console=ttyS0 root=/dev/vda rw quiet panic=1 net.ifnames=0 mitigations=off nokaslr audit=0 apparmor=0 "
    "no_timer_check nowatchdog cryptomgr.notests random.trust_cpu=on systemd.show_status=false"
)
_ENVIRONMENT = "export HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8\n. /etc/profile\n"
"""Environment of a login shell of root: PATH with the stack, once it is installed."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """One end of a cable: two UDP ports on loopback. Neither end serves the other, so either may be absent."""

    address: str
    """Of the machine on this link, with the length of its prefix."""
    local: int
    remote: int


@dataclass(frozen=True, kw_only=True)
class GuestPlan:
    """All that makes one machine."""

    name: str
    number: int
    image: GuestImage
    folder: Path
    """Where its sockets and disks are: a short path, sockets have at most 108 characters."""
    console: Path
    links: tuple[Link, ...]
    service: Path
    """Socket of the host's service."""
    disk_bytes: int = 1 << 30
    megabytes: int = 512

    @property
    def disk(self) -> Path:
        """The disk of the cluster's data: empty at first."""
        return self.folder / f"{self.name}.data.raw"

    @property
    def overlay(self) -> Path:
        """Changes of this machine to the image."""
        return self.folder / f"{self.name}.root.qcow2"


def make_argv(plan: GuestPlan, accelerator: str) -> list[str]:
    """The command that is this machine."""
    folder, mac = plan.folder, f"{plan.number:02x}"
    addresses = map(IPv4Interface, ["10.0.2.15/24", *(link.address for link in plan.links)])
    network = " ".join(f"ip={one.ip}:::{one.netmask}::eth{number}:none" for number, one in enumerate(addresses))
    kernel = f"{_KERNEL} systemd.hostname={plan.name} systemd.machine_id={plan.number:032x} {network}"
    service = _option(shlex.join(["nc", "-N", "-U", str(plan.service)]))
    argv = ["qemu-system-x86_64", "-name", plan.name, *_list_machine(accelerator), "-m", str(plan.megabytes)]
    argv += ["-kernel", str(plan.image.kernel), "-initrd", str(plan.image.initrd), "-append", kernel]
    argv += ["-chardev", f"file,id=console,path={_option(str(plan.console))},append=on", "-serial", "chardev:console"]
    argv += ["-qmp", f"unix:{_option(str(folder / f'{plan.name}.qmp'))},server=on,wait=off"]
    argv += ["-drive", f"file={_option(str(plan.overlay))},if=none,id=root,format=qcow2,cache=unsafe"]
    argv += ["-device", "virtio-blk-pci,drive=root"]
    argv += ["-drive", f"file={_option(str(plan.disk))},if=none,id=data,format=raw,cache=unsafe"]
    argv += ["-device", "virtio-blk-pci,drive=data,id=data-disk,serial=data"]
    argv += ["-netdev", f"user,id=host,restrict=on,guestfwd=tcp:{SERVICE}:80-cmd:{service}"]
    argv += ["-device", f"virtio-net-pci,netdev=host,mac=52:54:00:aa:00:{mac},romfile="]
    for number, link in enumerate(plan.links):
        ends = f"udp=127.0.0.1:{link.remote},localaddr=127.0.0.1:{link.local}"
        argv += ["-netdev", f"socket,id=link{number},{ends}"]
        argv += ["-device", f"virtio-net-pci,netdev=link{number},mac=52:54:00:b{number:x}:00:{mac},romfile="]
    argv += ["-device", "virtio-serial-pci"]
    argv += ["-chardev", f"socket,path={_option(str(folder / f'{plan.name}.agent'))},server=on,wait=off,id=agent"]
    argv += ["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
    argv += ["-chardev", f"file,id=acks,path={_option(str(folder / f'{plan.name}.acks'))},append=on"]
    argv += ["-device", "virtserialport,chardev=acks,name=hapkg.acks", "-device", "virtio-rng-pci"]
    return argv


def probe_accelerator(image: GuestImage) -> str:
    """kvm where the host's kernel can run Debian's, else tcg: found out by booting, not by looking for a device."""
    if not Path("/dev/kvm").exists():
        return "tcg"
    with tempfile.TemporaryFile() as log, tempfile.NamedTemporaryFile() as console:
        argv = ["qemu-system-x86_64", *_list_machine("kvm"), "-m", "256", "-kernel", str(image.kernel)]
        argv += ["-initrd", str(image.initrd), "-append", f"console=ttyS0 quiet panic=1 {PROBE}"]
        process = Process([*argv, "-serial", f"file:{console.name}"], log)
        try:
            process.wait(_PROBE_SECONDS)
        finally:
            process.kill()
        return "kvm" if MARK in Path(console.name).read_text("utf-8", "replace") else "tcg"


class Guest:
    """One machine, on or off. It ends with hapkg."""

    def __init__(self, plan: GuestPlan, accelerator: str) -> None:
        self.plan = plan
        self.name = plan.name
        self._accelerator = accelerator
        self._process: Process | None = None
        self.agent = GuestAgent(plan.folder / f"{plan.name}.agent")
        self._monitor = plan.folder / f"{plan.name}.qmp"
        backing = ["-F", "qcow2", "-b", str(plan.image.root)]
        process.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(plan.overlay)])
        with plan.disk.open("wb") as file:
            file.truncate(plan.disk_bytes)

    @property
    def alive(self) -> bool:
        """True while its process runs."""
        return self._process is not None and self._process.alive

    def power_on(self) -> None:
        """Switch it on; boot() waits for it. Called by the thread that lives as long as the proof."""
        if self.alive:
            return
        with (self.plan.folder / f"{self.name}.qemu.log").open("ab") as log:
            self._process = Process(make_argv(self.plan, self._accelerator), log)

    def power_off(self) -> None:
        """Pull its plug: returns when its process is gone."""
        if self._process is not None:
            self._process.kill()

    def freeze(self) -> None:
        """Stop its processor in the middle of what it does: it hangs, and holds all that it held."""
        if self._process is not None:
            self._process.send(signal.SIGSTOP)

    def cut_links(self, *, cut: bool) -> None:
        """Pull the cables to its neighbours, or plug them in again."""
        for number in range(len(self.plan.links)):
            tell_monitor(self._monitor, "set_link", name=f"link{number}", up=not cut)

    def pull_disk(self) -> None:
        """Take the disk of the cluster's data out of the running machine. It is there again at the next boot."""
        tell_monitor(self._monitor, "device_del", id="data-disk")

    def boot(self, seconds: float = 240) -> None:
        """Switch it on and wait until it is there with its network. Raises ProofError with its console."""
        self.power_on()
        deadline = time.monotonic() + seconds
        while not self.agent.answers():
            if not self.alive or time.monotonic() > deadline:
                ended = "does not answer" if self.alive else "ended"
                raise self.describe_failure(f"{self.name} {ended} while it booted, {seconds:.0f} s allowed")
            time.sleep(0.5)
        self.run("systemctl start network-online.target", seconds=max(30.0, deadline - time.monotonic()))

    def run(self, script: str, *, seconds: float = 120, check: bool = True, stdin: bytes = b"") -> Answer:
        """Run a shell script as root's login shell would. Raises ProofError when it fails or does not end.

        A machine that does not answer in time is killed: what hangs is of no further use, its console is.
        """
        try:
            answer = self.agent.run(_ENVIRONMENT + script, seconds=seconds, stdin=stdin)
        except AgentSilent as silence:
            error = self.describe_failure(f"{self.name}: {silence}", f"command: {script.strip()}")
            if self.alive:
                self.power_off()
            raise error from None
        if check and answer.status != 0:
            raise ProofError(
                f"{self.name}: a command failed with exit status {answer.status}",
                details=(f"command: {script.strip()}", *answer.output.splitlines()[-30:]),
            )
        return answer

    def describe_failure(self, brief: str, *details: str) -> ProofError:
        """An error with the last lines of the console."""
        lines = read_tail(self.plan.console, 25)
        qemu = read_tail(self.plan.folder / f"{self.name}.qemu.log", 5)
        return ProofError(
            brief, details=(*details, *qemu, f"console of {self.name}:", *(f"| {line}" for line in lines))
        )


def make_links(addresses: Sequence[tuple[str, str]]) -> tuple[tuple[Link, ...], tuple[Link, ...]]:
    """Cables between two machines, one for each pair of addresses: the ends of the first one, and of the second."""
    first: list[Link] = []
    second: list[Link] = []
    for one, two in addresses:
        left, right = _find_two_ports()
        first.append(Link(address=one, local=left, remote=right))
        second.append(Link(address=two, local=right, remote=left))
    return tuple(first), tuple(second)


def read_tail(file: Path, lines: int) -> list[str]:
    """The last lines of a text that are not empty, printable."""
    try:
        text = file.read_text("utf-8", "replace")
    except FileNotFoundError:
        return []
    plain = (printable(line.rstrip()) for line in text.splitlines())
    return [line for line in plain if line][-lines:]


def _list_machine(accelerator: str) -> list[str]:
    speed = ["-accel", "kvm", "-cpu", "host"] if accelerator == "kvm" else ["-accel", "tcg,thread=multi,tb-size=256"]
    model = [] if accelerator == "kvm" else ["-cpu", "qemu64"]
    options = "-M pc -smp 1 -nodefaults -no-reboot -display none -monitor none"
    return [*speed, *model, *options.split()]


def _find_two_ports() -> tuple[int, int]:
    """UDP ports on loopback that nobody uses now."""
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(two.getsockname()[1])


def _option(value: str) -> str:
    """A value inside an option of QEMU, where a comma would end it."""
    return value.replace(",", ",,")
