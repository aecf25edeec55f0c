"""The disk that guests of one suite start from: Debian with its own kernel and what the stack needs of Debian.

Made by mmdebstrap from the archive that chroots are made from, and kept in the state folder under a name that follows
from all its inputs. The packages that the stack depends on are in it, the stack is not: guests reach nothing but the
published repository, so what they install comes from there alone.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import struct
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cmp_to_key
from pathlib import Path
from typing import IO

from hapkg import disk
from hapkg.apt.mirror import Mirror
from hapkg.apt.settings import BASE, format_settings
from hapkg.chroot.mmdebstrap import bootstrap, enclose
from hapkg.control import Suite, compare_versions, parse_relation_names, read_stanzas
from hapkg.errors import MachineError, ProcessError, RepositoryError
from hapkg.locations import State
from hapkg.programs import process
from hapkg.prove import initrd
from hapkg.records import digest_json, format_record, read_record
from hapkg.repository.indexes import IndexedPackage, Pool

SIZE = "3G"
_PACKAGES = (
    "busybox-static",
    "iproute2",
    "kmod",
    "linux-image-amd64",
    "lvm2",
    "lvm2-lockd",
    "netbase",
    "procps",
    "python3",
    "qemu-guest-agent",
    "rsyslog",
    "systemd-sysv",
    "udev",
)
_LEFT_OUT = (
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    *(
        f"{root}/lib/modules/*/kernel/{folder}/*"
        for root in ("", "/usr")
        for folder in (
            "sound",
            *(f"drivers/{name}" for name in ("bluetooth", "gpu", "iio", "infiniband", "isdn", "media", "staging")),
            *(f"drivers/net/{name}" for name in ("ethernet", "usb", "wireless")),
        )
    ),
)
_MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "logrotate.timer",
    "man-db.timer",
    "systemd-logind.service",
    "systemd-pstore.service",
)
"""Units that take an emulated machine's time and belong to no cluster."""
_EMPTIED = ("apt/sources.list", "hostname", "machine-id", "resolv.conf")
"""Files that each machine, or none, has of its own."""
_FILES = {
    "/etc/apt/apt.conf.d/50hapkg": format_settings(BASE),
    "/etc/dpkg/dpkg.cfg.d/50hapkg": "force-unsafe-io\n",
    "/etc/fstab": "",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/default/qemu-guest-agent": "",
}


@dataclass(frozen=True, kw_only=True)
class GuestImage:
    """Kernel, initrd and disk that guests of a suite start from."""

    suite: Suite
    folder: Path
    kernel_version: str
    packages: int

    @property
    def root(self) -> Path:
        """The disk, which nobody writes: guests have overlays."""
        return self.folder / "root.qcow2"

    @property
    def kernel(self) -> Path:
        """The kernel, decompressed: an emulated processor takes seconds to do that."""
        return self.folder / "vmlinux"

    @property
    def initrd(self) -> Path:
        """The first file system."""
        return self.folder / "initrd.img"


def find_needs(pool: Pool, names: Iterable[str]) -> tuple[str, ...]:
    """The packages of Debian that packages of a repository need, whichever of its packages they need on the way.

    Raises RepositoryError when the repository does not offer one of the names.
    """
    offered = _pick_newest(pool)
    needs: set[str] = set()
    seen: set[str] = set()
    waiting = list(names)
    for name in waiting:
        if name not in offered:
            raise RepositoryError(f"the repository does not offer {name}", hint="build and publish it first")
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for field in ("Pre-Depends", "Depends"):
            for alternatives in parse_relation_names(offered[name].fields.get(field, "")):
                own = next((other for other in alternatives if other in offered), None)
                if own is not None:
                    waiting.append(own)
                else:
                    needs.add(alternatives[0])
    return tuple(sorted(needs))


@dataclass(frozen=True, kw_only=True)
class _ImageFacts:
    """The record of an image."""

    kernel: str
    packages: str


def find_image(state: State, suite: Suite, needs: Iterable[str], mirror: Mirror) -> GuestImage | None:
    """The finished image of a suite for exactly these inputs, or None."""
    folder = _find_folder(state, suite, needs, mirror)
    facts = read_record(folder / "image.json", _ImageFacts)
    if facts is None or not facts.packages.isdecimal():
        return None
    return GuestImage(suite=suite, folder=folder, kernel_version=facts.kernel, packages=int(facts.packages))


def make_image(
    state: State,
    suite: Suite,
    needs: Iterable[str],
    mirror: Mirror,
    *,
    log: IO[bytes],
    report: Callable[[str], None],
) -> GuestImage:
    """Make the image of a suite. Older ones of the suite go. The caller holds the store's lock.

    Raises MachineError and ProcessError.
    """
    needs = tuple(needs)
    folder = _find_folder(state, suite, needs, mirror)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(".new-*"):
        disk.remove_tree(left, of_root=True)
    new = folder.with_name(f".new-{folder.name}")
    new.mkdir()
    try:
        report(f"mmdebstrap of {suite} with its kernel and {len(needs)} packages that the stack needs")
        _bootstrap(new / "root", suite, needs, mirror, log)
        report("kernel, initrd and disk")
        facts = _read_facts(new / "root")
        _take_kernel(new, facts["kernel"])
        raw = new / "root.raw"
        process.run(["truncate", "-s", SIZE, str(raw)])
        ext4 = ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-d", str(new / "root"), str(raw)]
        process.run(enclose(ext4), log=log)
        process.run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(new / "root.qcow2")], log=log)
        raw.unlink()
        disk.remove_tree(new / "root", of_root=True)
        (new / "image.json").write_bytes(format_record(facts))
        for file in new.iterdir():
            disk.sync(file)
        disk.remove_tree(folder, of_root=True)
        disk.move({new: folder})
    except ProcessError as error:
        raise ProcessError(
            f"the guest image of {suite} cannot be made", details=(*error.details, f"log: {log.name}")
        ) from error
    finally:
        disk.remove_tree(new, of_root=True)
    for old in folder.parent.iterdir():
        if old != folder:
            disk.remove_tree(old, of_root=True)
    found = find_image(state, suite, needs, mirror)
    if found is None:
        raise MachineError(f"the guest image {folder} vanished while it was made")
    return found


def decompress_kernel(image: bytes) -> bytes:
    """The ELF file inside a bzImage, by the offsets of its header (boot protocol 2.08). Raises MachineError."""
    with contextlib.suppress(struct.error):
        (sectors,) = struct.unpack_from("<B", image, 0x1F1)
        offset, length = struct.unpack_from("<II", image, 0x248)
        start = (sectors + 1) * 512 + offset
        payload = image[start : start + length]
        if payload.startswith(b"\xfd7zXZ"):
            return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
        if payload.startswith(b"\x28\xb5\x2f\xfd"):
            with tempfile.TemporaryFile() as packed, tempfile.TemporaryFile() as plain:
                packed.write(payload[:-4])  # the last four bytes tell the size of what is packed
                packed.seek(0)
                process.run(["zstd", "-d", "-c"], stdin=packed, stdout=plain)
                plain.seek(0)
                return plain.read()
    raise MachineError("the guest's kernel is packed in a way that hapkg does not know")


def _pick_newest(pool: Pool) -> Mapping[str, IndexedPackage]:
    newest: dict[str, IndexedPackage] = {}
    order = cmp_to_key(compare_versions)
    for package in sorted(pool.packages, key=lambda p: order(p.version)):
        if package.architecture != "source":
            newest[package.name] = package
    return newest


def _find_folder(state: State, suite: Suite, needs: Iterable[str], mirror: Mirror) -> Path:
    inputs = {
        "format": 1,
        "suite": suite,
        "size": SIZE,
        "packages": sorted({*_PACKAGES, *needs}),
        "left out": _LEFT_OUT,
        "masked": _MASKED,
        "files": _FILES,
        "initrd": (initrd.INIT, initrd.MODULES),
        "archive": mirror.lines(suite),
    }
    digest = digest_json(inputs)
    return state.guests / suite / digest[:32]


def _bootstrap(root: Path, suite: Suite, needs: Iterable[str], mirror: Mirror, log: IO[bytes]) -> None:
    bootstrap(
        root,
        suite,
        mirror,
        variant="minbase",
        log=log,
        include={*_PACKAGES, *needs},
        options=[
            *(f'--aptopt={name} "{value}"' for name, value in BASE.items()),
            "--dpkgopt=force-unsafe-io",
            "--skip=check/empty",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
        ],
        hooks=[
            f'chroot "$1" systemctl mask {" ".join(_MASKED)}',
            'chroot "$1" systemctl enable systemd-networkd systemd-network-generator',
            *(f'rm -f "$1"/etc/{name}' for name in _EMPTIED),
            'touch "$1"/etc/machine-id',
        ],
        files=_FILES,
        environment={"INITRD": "No"},
    )


def _read_facts(root: Path) -> dict[str, str]:
    status = list(read_stanzas((root / "var/lib/dpkg/status").read_text("utf-8")))
    kernels = sorted(path.name for path in (root / "lib/modules").iterdir())
    return {"kernel": kernels[-1], "packages": str(len(status))}


def _take_kernel(folder: Path, version: str) -> None:
    root = folder / "root"
    modules = root / "lib/modules" / version
    process.run(process.privileged(["chmod", "a+r", str(root / f"boot/vmlinuz-{version}")]))
    (folder / "vmlinux").write_bytes(decompress_kernel((root / f"boot/vmlinuz-{version}").read_bytes()))
    files = [modules / path for path in initrd.find_modules(modules, initrd.MODULES)]
    busybox = next(path for path in (root / "usr/bin/busybox", root / "bin/busybox") if path.exists())
    content = initrd.make_initrd(busybox.read_bytes(), [initrd.read_module(file) for file in files])
    (folder / "initrd.img").write_bytes(content)
    os.sync()
