"""The first file system of a guest: busybox, the modules that its root needs, and a script. Made without a tool.

Debian's own initrd would take a guest half a minute to unpack and walk through; this one knows what the machine has.
"""

from __future__ import annotations

import io
import lzma
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from hapkg.errors import MachineError

MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "crc32c_generic", "ext4")
"""Modules of the kernel for mounting its root, and for the devices that every guest has."""
PROBE = "hapkg.probe"
"""On the kernel's command line: say the mark and switch off, instead of booting."""
MARK = "hapkg: the kernel and its first process run"

INIT = f"""#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
for m in $($b cat /modules); do $b insmod /lib/$m || echo "hapkg: module $m does not load"; done
if $b grep -q {PROBE} /proc/cmdline; then echo "{MARK}"; $b poweroff -f; fi
n=0
until [ -b /dev/vda ]; do n=$((n+1)); [ $n -lt 100 ] || echo 'hapkg: there is no root disk'; $b sleep 0.1; done
$b mount -t ext4 -o rw,noatime /dev/vda /root || echo 'hapkg: the root disk cannot be mounted'
$b umount /proc
exec $b switch_root /root /sbin/init
"""


def find_modules(modules: Path, names: Iterable[str]) -> tuple[PurePosixPath, ...]:
    """Files of modules and of all they need, below the folder of a kernel, in the order to load them.

    A module that is built in needs no file. Raises MachineError when the kernel has not got one.
    """
    needs: dict[str, tuple[str, ...]] = {}
    paths: dict[str, str] = {}
    for line in (modules / "modules.dep").read_text("utf-8").splitlines():
        path, _, wanted = line.partition(":")
        paths[_name(path)] = path
        needs[path] = tuple(wanted.split())
    built_in = {_name(line) for line in (modules / "modules.builtin").read_text("utf-8").splitlines()}
    order: list[str] = []

    def add(path: str) -> None:
        for need in reversed(needs[path]):
            if need not in order:
                add(need)
        if path not in order:
            order.append(path)

    for name in names:
        if name in paths:
            add(paths[name])
        elif name not in built_in:
            raise MachineError(f"the kernel {modules.name} has no module {name}", hint="prove needs linux-image-amd64")
    return tuple(PurePosixPath(path) for path in order)


def make_initrd(busybox: bytes, modules: Sequence[tuple[str, bytes]]) -> bytes:
    """An archive for the kernel: busybox, modules in the order to load them, and the script."""
    members: dict[str, tuple[int, bytes]] = dict.fromkeys(("bin", "dev", "lib", "proc", "root"), (0o040755, b""))
    members["bin/busybox"] = (0o100755, busybox)
    members["init"] = (0o100755, INIT.encode())
    members["modules"] = (0o100644, "".join(f"{name}\n" for name, _ in modules).encode())
    members.update({f"lib/{name}": (0o100644, content) for name, content in modules})
    return write_cpio(members)


def read_module(file: Path) -> tuple[str, bytes]:
    """Name and content of a module's file, decompressed: busybox loads plain ones."""
    content = file.read_bytes()
    if file.suffix == ".xz":
        return file.name.removesuffix(".xz"), lzma.decompress(content)
    return file.name, content


def write_cpio(members: Mapping[str, tuple[int, bytes]]) -> bytes:
    """An archive of the kind that the kernel unpacks (newc): name to mode and content, in this order."""
    out = io.BytesIO()
    for number, (name, (mode, content)) in enumerate([*members.items(), ("TRAILER!!!", (0, b""))], 1):
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw), 0)
        out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + raw)
        out.write(b"\0" * (-out.tell() % 4))
        out.write(content)
        out.write(b"\0" * (-out.tell() % 4))
    return out.getvalue()


def _name(path: str) -> str:
    return re.sub(r"\.ko(\.\w+)?\Z", "", path.rpartition("/")[2]).replace("-", "_")
