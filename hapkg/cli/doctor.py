"""Checks of this host: each lack, and the command that mends it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from hapkg import apt, process
from hapkg.locations import State

PROGRAMS = {
    "apt-ftparchive": "apt-utils",
    "dpkg-buildpackage": "dpkg-dev",
    "dpkg-source": "dpkg-dev",
    "gpg": "gnupg",
    "lintian": "lintian",
    "mmdebstrap": "mmdebstrap",
    "readelf": "binutils",
    "schroot": "schroot",
    "tar": "tar",
    "xz": "xz-utils",
}
PROVE_PROGRAMS = {
    "mke2fs": "e2fsprogs",
    "nc": "netcat-openbsd",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
}
"""Programs that prove alone needs."""
NEEDED_BYTES = 5 << 30


@dataclass(frozen=True, kw_only=True)
class HostCheck:
    """Result of one check of the host."""

    check: str
    ok: bool
    found: str
    remedy: str = ""


def diagnose(state: State) -> tuple[HostCheck, ...]:
    """Look at everything a build needs from its host. Changes nothing."""
    return (
        *_check_programs(),
        *_check_machines(),
        _check_privilege(),
        _check_overlay(),
        _check_space(state),
        _check_archive(),
    )


def _check_programs() -> list[HostCheck]:
    findings = []
    for program, package in PROGRAMS.items():
        path = process.find_program(program)
        remedy = "" if path else f"apt-get install {package}"
        findings.append(
            HostCheck(check=f"program {program}", ok=bool(path), found=path or "not installed", remedy=remedy)
        )
    return findings


def _check_machines() -> list[HostCheck]:
    """Programs that only prove needs: what is missing is told, and no fault of the host."""
    missing = {program: package for program, package in PROVE_PROGRAMS.items() if not process.find_program(program)}
    found = f"without {', '.join(missing)}: prove cannot run, everything else can" if missing else "all there"
    remedy = f"apt-get install {' '.join(missing.values())}" if missing else ""
    return [HostCheck(check="programs of prove", ok=True, found=found, remedy=remedy)]


def _check_privilege() -> HostCheck:
    if os.geteuid() == 0:
        return HostCheck(check="privilege", ok=True, found="root")
    if process.find_program("sudo") is None:
        return HostCheck(check="privilege", ok=False, found="not root, no sudo", remedy="su -c 'apt-get install sudo'")
    allowed = process.run(["sudo", "-n", "true"], check=False).status == 0
    return HostCheck(
        check="privilege",
        ok=allowed,
        found="sudo without a password" if allowed else "sudo asks for a password",
        remedy="" if allowed else "sudo -v, then run hapkg again within its time; or run hapkg as root",
    )


def _check_overlay() -> HostCheck:
    known = Path("/proc/filesystems").read_text("ascii").split()
    module = bool(list(Path("/lib/modules").glob(f"{os.uname().release}/kernel/fs/overlayfs/overlay.ko*")))
    ok = "overlay" in known or module
    return HostCheck(
        check="overlayfs",
        ok=ok,
        found="in this kernel" if ok else "not in this kernel",
        remedy="" if ok else "modprobe overlay, or boot a kernel that has it",
    )


def _check_space(state: State) -> HostCheck:
    existing = next(folder for folder in (state.root, *state.root.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    return HostCheck(
        check=f"space below {state}",
        ok=free >= NEEDED_BYTES,
        found=f"{free >> 30} GiB free, {NEEDED_BYTES >> 30} GiB wanted",
        remedy="" if free >= NEEDED_BYTES else "hapkg clean, or another folder with --cache",
    )


def _check_archive() -> HostCheck:
    found = apt.find_mirror(None)
    return HostCheck(
        check="Debian archive",
        ok=True,
        found=f"{found.uri} (from the host's apt)" if found else "mmdebstrap's default; sources need --mirror",
    )
