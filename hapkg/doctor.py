"""Checks of this host: each lack, and the command that mends it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg.apt.mirror import find_mirror
from hapkg.distribution import Distribution, read_debian
from hapkg.errors import MachineError, UsageError
from hapkg.host import check_architecture
from hapkg.locations import State
from hapkg.programs import launch, process, sudo
from hapkg.programs.confinement import confine
from hapkg.text import printable

PROGRAMS = {
    "apt-ftparchive": "apt-utils",
    "bwrap": "bubblewrap",
    "dpkg-buildpackage": "dpkg-dev",
    "dpkg-source": "dpkg-dev",
    "gpg": "gnupg",
    "lintian": "lintian",
    "mmdebstrap": "mmdebstrap",
    "readelf": "binutils",
    "schroot": "schroot",
    "tar": "tar",
    "xz": "xz-utils",
    "zstd": "zstd",
}
PROVE_PROGRAMS = {
    "mke2fs": "e2fsprogs",
    "nc": "netcat-openbsd",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
}
"""Programs that prove alone needs."""
REBUILD_PROGRAMS = {"diffoscope": "diffoscope-minimal"}
"""Programs by which rebuild tells what differs."""
NEEDED_BYTES = 5 << 30
UNION = Path("/var/lib/schroot/union/overlay")
"""Where schroot keeps what sessions write."""
RESTRICTION = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
"""Says 1 where AppArmor lets programs without a profile make no user namespaces: Ubuntu since 23.10."""
_PROFILE = "bwrap-userns-restrict"
_NAMESPACES = ("--mount", "--pid", "--ipc", "--uts", "--net", "--fork", "--mount-proc")


@dataclass(frozen=True, kw_only=True)
class HostCheck:
    """Result of one check of the host."""

    check: str
    ok: bool
    found: str
    remedy: str = ""


def diagnose(
    state: State,
    architectures: Sequence[str] = (),
    distributions: Sequence[Distribution] = (),
    debian_mirror: str | None = None,
) -> tuple[HostCheck, ...]:
    """Look at, and try, everything a build needs from its host, also for further architectures. Leaves nothing.

    distributions are those of the project's suites, Debian where there is no project; debian_mirror is its setting.
    """
    return (
        *_check_programs(),
        *_check_optional(),
        *map(_check_emulation, architectures),
        _check_privilege(),
        _check_namespaces(),
        _check_confinement(),
        *check_state(state),
        *check_archives(distributions or (read_debian(),), debian_mirror, state=state),
    )


def _check_programs() -> list[HostCheck]:
    findings = []
    for program, package in PROGRAMS.items():
        path = launch.find_program(program)
        remedy = "" if path else f"apt-get install {package}"
        findings.append(
            HostCheck(check=f"program {program}", ok=bool(path), found=path or "not installed", remedy=remedy)
        )
    return findings


def _check_optional() -> list[HostCheck]:
    """Programs that one command alone needs: what is missing is told, and no fault of the host."""
    findings = []
    for check, programs, without in (
        ("programs of prove", PROVE_PROGRAMS, "prove cannot run, everything else can"),
        ("programs of rebuild", REBUILD_PROGRAMS, "rebuild tells that a package differs, and not where"),
    ):
        missing = {program: package for program, package in programs.items() if not launch.find_program(program)}
        found = f"without {', '.join(missing)}: {without}" if missing else "all there"
        remedy = f"apt-get install {' '.join(missing.values())}" if missing else ""
        findings.append(HostCheck(check=check, ok=True, found=found, remedy=remedy))
    return findings


def _check_emulation(architecture: str) -> HostCheck:
    try:
        check_architecture(architecture)
    except (MachineError, UsageError) as error:
        return HostCheck(check=f"programs of {architecture}", ok=False, found=error.brief, remedy=error.hint)
    return HostCheck(check=f"programs of {architecture}", ok=True, found="this machine runs them")


def _check_privilege() -> HostCheck:
    if os.geteuid() == 0:
        return HostCheck(check="privilege", ok=True, found="root")
    if launch.find_program("sudo") is None:
        return HostCheck(check="privilege", ok=False, found="not root, no sudo", remedy="su -c 'apt-get install sudo'")
    allowed = _may_sudo()
    return HostCheck(
        check="privilege",
        ok=allowed,
        found="sudo without a password" if allowed else "sudo asks for a password",
        remedy="" if allowed else sudo.REMEDY,
    )


def _may_sudo() -> bool:
    return launch.find_program("sudo") is not None and process.run(["sudo", "-n", "true"], check=False).status == 0


def _check_namespaces() -> HostCheck:
    remedy = "in a container: give it CAP_SYS_ADMIN and a seccomp profile that lets it; or run hapkg on the host"
    return _try(
        "namespaces", ["unshare", *_NAMESPACES, "--", "true"], "mount, pid, ipc, uts and net can be made", remedy
    )


def _check_confinement() -> HostCheck:
    """Run a program as those are run that read bytes of others: without root's rights, also by an ordinary user."""
    if launch.find_program("bwrap") is None:
        return HostCheck(check="confinement", ok=False, found="no bwrap", remedy="apt-get install bubblewrap")
    done = process.run(confine(["true"]), check=False)
    return HostCheck(
        check="confinement",
        ok=done.status == 0,
        found="programs can be confined" if done.status == 0 else printable(" ".join(done.output.split())),
        remedy="" if done.status == 0 else advise_confinement(root=os.geteuid() == 0),
    )


def advise_confinement(restriction: Path = RESTRICTION, *, root: bool) -> str:
    """The remedy where bwrap confines nothing, by what the kernel says of AppArmor and by who runs hapkg."""
    container = "in a container: give it CAP_SYS_ADMIN and a seccomp profile that lets it"
    try:
        restricted = restriction.read_text("ascii").strip() == "1"
    except OSError:
        restricted = False
    if not restricted:
        return f"allow user namespaces: sysctl kernel.unprivileged_userns_clone=1; {container}"
    if root:  # makes no user namespace, but that profile lets nothing below bwrap become the build user
        return f"{container}; where AppArmor has the profile {_PROFILE} (aa-status): run hapkg by an ordinary user"
    return (
        f"AppArmor forbids it user namespaces: load a profile of /usr/bin/bwrap with `userns,`. Ubuntu has {_PROFILE}: "
        f"apt-get install apparmor-profiles && install -m 0644 /usr/share/apparmor/extra-profiles/{_PROFILE} "
        f"/etc/apparmor.d/ && apparmor_parser -r /etc/apparmor.d/{_PROFILE}"
    )


def check_state(state: State) -> tuple[HostCheck, ...]:
    """Try what lies in the state folder, where it is or can be one."""
    existing = _find_existing(state)
    if existing.is_dir():
        return (_check_overlay(state), _check_mount(state), _check_space(state))
    remedy = "choose another with --cache or HAPKG_CACHE"
    return (HostCheck(check="state folder", ok=False, found=f"{existing} is no folder", remedy=remedy),)


def _check_overlay(state: State) -> HostCheck:
    """Mount an overlay as a session does: over the state folder, with what is written in schroot's folder."""
    script = """set -e
        lower=$(mktemp -d "$1/.hapkg-doctor-XXXXXX")
        trap 'rm -rf "$lower" "$upper"' EXIT
        upper=$(mktemp -d "$2/.hapkg-doctor-XXXXXX")
        mkdir "$upper/upper" "$upper/work" "$upper/all"
        echo lower > "$lower/file"
        mount -t overlay -o "lowerdir=$lower,upperdir=$upper/upper,workdir=$upper/work" overlay "$upper/all"
        echo upper > "$upper/all/file"
        umount "$upper/all"
    """
    folders = [str(_find_existing(state)), str(UNION if UNION.is_dir() else UNION.parents[1])]
    argv = ["unshare", "--mount", "--", "sh", "-c", script, "sh", *folders]
    remedy = (
        f"put {folders[1]} on a file system such as ext4: an overlay in a container and xfs without ftype do not serve"
    )
    return _try("overlay", argv, f"works over {folders[0]}", remedy)


def _check_mount(state: State) -> HostCheck:
    """Base chroots have devices and programs, which a mount can forbid."""
    existing = _find_existing(state)
    flags = os.statvfs(existing).f_flag
    forbidden = [name for name, flag in (("nodev", os.ST_NODEV), ("noexec", os.ST_NOEXEC)) if flags & flag]
    return HostCheck(
        check="mount options",
        ok=not forbidden,
        found=f"{existing} is mounted {','.join(forbidden)}" if forbidden else "devices and programs are allowed",
        remedy="mount it without that, or choose another folder with --cache" if forbidden else "",
    )


def _try(check: str, argv: list[str], found: str, remedy: str) -> HostCheck:
    """Try something as root; the program's own words when it fails."""
    if os.geteuid() != 0 and not _may_sudo():
        return HostCheck(check=check, ok=True, found="not tried, without the privilege")
    done = process.run(process.privileged(argv), check=False)
    said = " ".join(printable(line.strip()) for line in done.output.splitlines() if "dmesg(1)" not in line)
    return HostCheck(
        check=check,
        ok=done.status == 0,
        found=found if done.status == 0 else said or f"exit status {done.status}",
        remedy="" if done.status == 0 else remedy,
    )


def _find_existing(state: State) -> Path:
    """The state folder, or the folder that it is to lie in."""
    return next(folder for folder in (state.root, *state.root.parents) if folder.exists())


def _check_space(state: State) -> HostCheck:
    free = shutil.disk_usage(_find_existing(state)).free
    return HostCheck(
        check=f"space below {state}",
        ok=free >= NEEDED_BYTES,
        found=f"{free >> 30} GiB free, {NEEDED_BYTES >> 30} GiB wanted",
        remedy="" if free >= NEEDED_BYTES else "hapkg clean, or another folder with --cache",
    )


def check_archives(
    distributions: Sequence[Distribution],
    debian_mirror: str | None = None,
    *,
    host: Path = Path("/etc/apt"),
    lists: Path = Path("/var/lib/apt/lists"),
    state: State | None = None,
) -> tuple[HostCheck, ...]:
    """Look for the archive and the keys of each distribution, and for Debian's sources where others are built for.

    host and lists are apt's configuration and lists, as for find_mirror(). Raises UsageError for a debian_mirror with
    a password.
    """
    debian, checks = read_debian(), []
    for distribution in distributions:
        own = find_mirror(None, distribution, host, lists, state)
        default = "not in the host's apt: --mirror, else mmdebstrap's default"
        default += ", which has no sources" if distribution.vendor == debian.vendor else ""
        default += f"; {own.remark}" if own.remark else ""
        found = f"{own.uri} (from the host's apt)" if own.uri else default
        checks.append(HostCheck(check=f"{distribution.vendor} archive", ok=True, found=found))
        checks.append(_check_keys(distribution))
    vendors = {distribution.vendor for distribution in distributions}
    if vendors == {debian.vendor}:
        return tuple(checks)
    sources = find_mirror(debian_mirror, debian, host, lists, state)
    place = "[tool.hapkg] debian-mirror"
    found = f"{sources.uri} ({place})" if debian_mirror else f"{sources.uri} (from the host's apt)"
    without = f"upstream's own addresses alone: {place} is not set, and the host's apt has no entry for Debian"
    checks.append(HostCheck(check="Debian sources", ok=True, found=found if sources.uri else without))
    if sources.uri and not sources.uri.startswith("[") and debian.vendor not in vendors:
        checks.append(_check_keys(debian))
    return tuple(checks)


def _check_keys(distribution: Distribution) -> HostCheck:
    remedy = distribution.missing_keys
    found = f"{distribution.keyring} is missing" if remedy else distribution.keyring
    return HostCheck(check=f"{distribution.vendor} keys", ok=not remedy, found=found, remedy=remedy)
