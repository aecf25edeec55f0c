"""The parts of a throw-away machine that need no machine: its command line, its first file system, its kernel."""

from __future__ import annotations

import itertools
import lzma
import struct
import subprocess
import threading
from pathlib import Path, PurePosixPath

import pytest

from hapkg.control import Suite
from hapkg.errors import MachineError, RepositoryError
from hapkg.prove.host_service import GuestService
from hapkg.prove.initrd import find_modules, make_initrd, read_module, write_cpio
from hapkg.prove.vm import SERVICE, GuestPlan, Link, make_argv, make_links, read_tail
from hapkg.prove.vm_image import GuestImage, decompress_kernel, find_needs
from hapkg.repository.indexes import IndexedPackage, Pool


def make_plan(folder: Path, links: tuple[Link, ...] = ()) -> GuestPlan:
    image = GuestImage(suite=Suite("bookworm"), folder=Path("/image"), kernel_version="6.1", packages=1)
    return GuestPlan(
        name="node1",
        number=1,
        image=image,
        folder=folder,
        console=folder / "console.log",
        links=links,
        service=folder / "service",
    )


def test_a_machine_reaches_its_links_and_one_service() -> None:
    link = Link(address="192.168.132.11/24", local=7701, remote=7702)
    argv = make_argv(make_plan(Path("/run/a,b"), (link,)), "tcg")
    networks = [value for option, value in itertools.pairwise(argv) if option == "-netdev"]
    assert networks == [
        f"user,id=host,restrict=on,guestfwd=tcp:{SERVICE}:80-cmd:nc -N -U /run/a,,b/service",
        "socket,id=link0,udp=127.0.0.1:7702,localaddr=127.0.0.1:7701",
    ]
    kernel = argv[argv.index("-append") + 1].split()
    assert "ip=192.168.132.11:::255.255.255.0::eth1:none" in kernel
    assert "systemd.hostname=node1" in kernel
    assert "kvm" not in argv


def test_kvm_is_the_hosts_own_processor() -> None:
    argv = make_argv(make_plan(Path("/run/x")), "kvm")
    assert argv[argv.index("-accel") + 1] == "kvm"
    assert argv[argv.index("-cpu") + 1] == "host"


def test_both_ends_of_a_link_know_each_other() -> None:
    (one,), (two,) = make_links([("10.0.0.1/24", "10.0.0.2/24")])
    assert (one.local, one.remote) == (two.remote, two.local)
    assert one.local != one.remote


def make_kernel(folder: Path) -> Path:
    (folder / "modules.dep").write_text(
        "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko\n"
        "kernel/fs/jbd2/jbd2.ko:\nkernel/lib/crc16.ko.xz:\nkernel/lib/crc16.ko:\n"
    )
    (folder / "modules.builtin").write_text("kernel/drivers/virtio/virtio-pci.ko\n")
    return folder


def test_modules_come_after_what_they_need(tmp_path: Path) -> None:
    found = find_modules(make_kernel(tmp_path), ("virtio_pci", "ext4"))
    assert found == tuple(
        PurePosixPath(p) for p in ("kernel/lib/crc16.ko", "kernel/fs/jbd2/jbd2.ko", "kernel/fs/ext4/ext4.ko")
    )


def test_a_kernel_without_a_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="no module gfs2"):
        find_modules(make_kernel(tmp_path), ("gfs2",))


def test_a_packed_module_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "dlm.ko.xz"
    file.write_bytes(lzma.compress(b"module"))
    assert read_module(file) == ("dlm.ko", b"module")


def test_the_first_file_system_is_one_that_others_can_read(tmp_path: Path) -> None:
    archive = tmp_path / "initrd"
    archive.write_bytes(make_initrd(b"\x7fELF", [("b.ko", b"bb"), ("a.ko", b"a")]))
    with archive.open("rb") as opened:
        listed = subprocess.run(
            ["cpio", "-t", "--quiet"],
            stdin=opened,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
    assert listed == ["bin", "dev", "lib", "proc", "root", "bin/busybox", "init", "modules", "lib/b.ko", "lib/a.ko"]


def test_an_archive_is_aligned_and_ends() -> None:
    archive = write_cpio({"a": (0o100644, b"x")})
    assert archive.count(b"070701") == 2
    assert len(archive) % 4 == 0
    assert b"TRAILER!!!" in archive


def make_bzimage(payload: bytes) -> bytes:
    header = bytearray(0x400)
    header[0x1F1] = 1
    struct.pack_into("<II", header, 0x248, 0, len(payload))
    return bytes(header) + payload


def test_the_kernel_is_found_in_its_image() -> None:
    packed = lzma.compress(b"\x7fELF kernel") + struct.pack("<I", 11)
    assert decompress_kernel(make_bzimage(packed)) == b"\x7fELF kernel"


@pytest.mark.parametrize("image", [b"", b"\0" * 100, make_bzimage(b"unknown")])
def test_another_image_is_refused(image: bytes) -> None:
    with pytest.raises(MachineError, match="packed in a way"):
        decompress_kernel(image)


def make_pool(*packages: tuple[str, str, str]) -> Pool:
    return Pool(
        packages=tuple(
            IndexedPackage(
                fields={"Package": name, "Version": version, "Architecture": "all", "Depends": depends, "Filename": "x"}
            )
            for name, version, depends in packages
        )
    )


def test_the_image_has_what_the_newest_versions_need_of_debian() -> None:
    pool = make_pool(
        ("ha-stack", "2", "ha-a (= 1), python3 (>= 3.11)"),
        ("ha-stack", "1", "perl"),
        ("ha-a", "1", "ha-b | libc6, systemd | systemd-sysusers"),
        ("ha-b", "1", "libc6 (>= 2), ha-stack"),
    )
    assert find_needs(pool, ["ha-stack"]) == ("libc6", "python3", "systemd")


def test_a_repository_without_the_site_is_refused() -> None:
    with pytest.raises(RepositoryError, match="does not offer ha-stack-site"):
        find_needs(make_pool(("ha-stack", "1", "")), ["ha-stack", "ha-stack-site"])


def test_the_tail_of_a_console_is_plain_text(tmp_path: Path) -> None:
    file = tmp_path / "console"
    file.write_bytes(b"one\r\n\x1b[31mtwo\r\n\n\xff three")
    assert read_tail(file, 2) == [r"\x1b[31mtwo", "\ufffd three"]
    assert read_tail(tmp_path / "none", 2) == []


class Lamp:
    """Something with a plug."""

    def __init__(self) -> None:
        self.alive = True
        self.cut = threading.Event()

    def power_off(self) -> None:
        self.alive = False
        self.cut.set()


def ask(socket: Path, method: str, path: str) -> tuple[int, str]:
    """Ask the service as a guest does: raw HTTP over nc."""
    request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    argv = ["python3", "-c", _CLIENT, str(socket)]
    done = subprocess.run(argv, input=request.encode(), capture_output=True, check=True, timeout=20)
    head, _, body = done.stdout.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


_CLIENT = """import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.stdin.buffer.read())
while d := s.recv(9999): sys.stdout.buffer.write(d)"""


def test_the_service_gives_files_and_switches_off(tmp_path: Path) -> None:
    (tmp_path / "apt/dists").mkdir(parents=True)
    (tmp_path / "apt/dists/Release").write_text("Suite: x")
    (tmp_path / "secret").write_text("secret")
    lamp = Lamp()
    with GuestService(tmp_path / "s", tmp_path / "apt") as service:
        service.machines["node1"] = lamp
        assert ask(service.path, "GET", "/repository/dists/Release") == (200, "Suite: x")
        assert ask(service.path, "GET", "/repository/../secret")[0] == 404
        assert ask(service.path, "GET", "/repository/%2e%2e/secret")[0] == 404
        assert ask(service.path, "GET", "/power/") == (200, "node1\n")
        assert ask(service.path, "GET", "/power/node1") == (200, "on\n")
        assert ask(service.path, "POST", "/power/other/off")[0] == 404
        assert ask(service.path, "POST", "/power/node1/off") == (200, "off\n")
        assert lamp.cut.is_set()
        assert ask(service.path, "GET", "/power/node1") == (200, "off\n")
        assert [entry[1:] for entry in service.switched] == [("node1", "killed")]
