"""Contents of a base chroot, made by mmdebstrap. schroot.py knows where it lies, sessions.py how it is entered."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hapkg.apt.mirror import Mirror
from hapkg.apt.settings import BASE, format_settings
from hapkg.chroot.mmdebstrap import bootstrap
from hapkg.control import Suite
from hapkg.locations import DATA
from hapkg.programs import process
from hapkg.programs.confinement import BUILD_UID
from hapkg.records import digest_json

BUILD_USER = "hapkg"
BUILD_FOLDER = "/build"
ARCHIVES = "/srv/hapkg/archives"
DEFAULT_HOST = "hapkg"
"""The name of the machine that a session sees."""
ENTER = "/hapkg/enter"
"""The program that runs a command in a session: data/hapkg-enter.c."""
_ENTER_FOLDER = "/usr/libexec/hapkg"
"""Where it lies in the base. Sessions see this folder of the base at /hapkg as well, and cannot change that."""
_ENTER_SOURCE = f"{_ENTER_FOLDER}/hapkg-enter.c"
_DEFINES = f"""-DBUILD_UID={BUILD_UID} '-DBUILD_USER="{BUILD_USER}"' '-DDEFAULT_HOST="{DEFAULT_HOST}"'"""
_COMPILE = f"gcc -static -O2 -Wall -Werror {_DEFINES} -o {_ENTER_FOLDER}/enter {_ENTER_SOURCE}"
_MOUNTS = f"""/sys /sys none ro,bind 0 0
devpts /dev/pts devpts newinstance,gid=5,mode=620,ptmxmode=666,nosuid,noexec 0 0
tmpfs /dev/shm tmpfs mode=1777 0 0
@ROOT@{_ENTER_FOLDER} {Path(ENTER).parent} none ro,bind 0 0
@ARCHIVES@ {ARCHIVES} none ro,bind 0 0
"""
"""Mounts of every session, as fstab lines."""
_LIST = r"find . -type d -printf 'd %m %U %G %P\n' -o -printf '%y %m %U %G %s %T@ %l %P\n' | LC_ALL=C sort | sha256sum"
"""Names, kinds, modes, owners, sizes and times of all that is in a folder: what a crash or a hand changes."""
_MOUNT_AS_BEFORE = "export LIBMOUNT_FORCE_MOUNT2=always\n"
"""For mount(8) since trixie: the newer system calls give an option 256 bytes, and the layers of a build are longer."""
_BASE_FILES = {
    "/etc/apt/apt.conf.d/50hapkg": format_settings({**BASE, "Acquire::Retries": "3", "APT::Get::Assume-Yes": "true"}),
    "/etc/dpkg/dpkg.cfg.d/50hapkg": "force-unsafe-io\n",  # sessions are thrown away: nothing to keep safe
}
_ANSWERS = "man-db man-db/auto-update boolean false"
"""To debconf: nobody looks for a manual by its words in a chroot that is thrown away."""
_POLICY = "#!/bin/sh\n# No daemon starts in a build chroot.\nexit 101\n"

PIN_HINT = "the lock of the base is not whole: restore it, or write it anew: hapkg lock --base"


@dataclass(frozen=True, kw_only=True)
class Pin:
    """Packages that a base chroot is to hold, and no others."""

    digest: str
    """That of all packages that there are to be had."""
    packages: Mapping[str, str]
    """Versions by name."""

    def find_faults(self, found: Mapping[str, str]) -> list[str]:
        """Differences of what a base holds, a line each."""
        names = sorted(name for name in {*found, *self.packages} if found.get(name) != self.packages.get(name))
        return [f"{name}: {found.get(name, 'absent')}, not {self.packages.get(name, 'absent')}" for name in names]


def read_data(name: str) -> str:
    """A file of hapkg's own, of those that others run."""
    return (DATA / name).read_text("utf-8")


def _read_contents() -> dict[str, str]:
    """The files that hapkg puts into a base chroot."""
    return {**_BASE_FILES, _ENTER_SOURCE: read_data("hapkg-enter.c")}


def describe_mounts(root: Path, archives: Path) -> str:
    """Mounts of every session over the base root, as fstab lines; archives has the downloaded packages of its suite."""
    return _MOUNTS.replace("@ROOT@", str(root)).replace("@ARCHIVES@", str(archives))


def describe_layers(base: Path, layers: Path) -> str:
    """A shell script for schroot's setup: the base in a folder, compared with its listing, and layers above it."""
    script = _MOUNT_AS_BEFORE + read_data("hapkg-layers.sh").replace("@LIST@", _LIST)
    return script.replace("@BASE@", str(base)).replace("@LAYERS@", str(layers))


def write_listing(base: Path) -> None:
    """Write the listing of the root in a base's folder, with which sessions compare it."""
    process.run(process.privileged(["sh", "-c", f'cd "$0/root" && {_LIST} > ../listing', str(base)]))


def digest_contents() -> str:
    """One digest of all that hapkg puts into a base, and of how sessions find their layers."""
    whole = [_COMPILE, _read_contents(), _MOUNTS, _ANSWERS, _LIST, read_data("hapkg-layers.sh")]
    return digest_json(whole)


def digest_index(lists: Path) -> str:
    """One digest of all the package lists that apt has."""
    found = {}
    for file in sorted(lists.glob("*_Packages*")):
        with file.open("rb") as stream:
            found[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digest_json(found)


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """An architecture whose programs this machine emulates."""

    architecture: str
    base: Path
    """The root of a base chroot of this machine's own: what enters sessions is no program that is emulated."""


def make_base(
    root: Path,
    suite: Suite,
    mirror: Mirror,
    log: IO[bytes],
    *,
    only: Collection[str] = (),
    foreign: Foreign | None = None,
) -> None:
    """Make the files of a base chroot in the folder root. Raises ProcessError when mmdebstrap fails.

    only are the packages that it is to hold; none: those that the archive's priorities give, which its index alone has.
    """
    account = f"useradd --uid {BUILD_UID} --user-group --no-create-home --home-dir /nonexistent {BUILD_USER}"
    bootstrap(
        root,
        suite,
        mirror,
        variant="essential" if only else "buildd",
        log=log,
        include=only,
        options=["--skip=cleanup/apt/lists"],
        hooks=[
            f'chroot "$1" {account}',
            f"chroot \"$1\" sh -c 'echo {_ANSWERS} | debconf-set-selections'",
            f'mkdir -p "$1"{ARCHIVES} "$1"{BUILD_FOLDER} "$1"{Path(ENTER).parent} "$1"{_ENTER_FOLDER}',
        ],
        files=_read_contents(),
        architecture=foreign.architecture if foreign else "",
    )
    enter = f"{_ENTER_FOLDER}/enter"
    if foreign:
        process.run(process.privileged(["cp", f"{foreign.base}{enter}", f"{root}{enter}"]), log=log)
    else:
        process.run(process.privileged(["chroot", str(root), "sh", "-c", _COMPILE]), log=log)
    # Not by a hook: mmdebstrap has a policy-rc.d of its own while it works, and removes it at the end.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as policy:
        policy.write(_POLICY)
        policy.flush()
        process.run(process.privileged(["install", "-m", "755", policy.name, str(root / "usr/sbin/policy-rc.d")]))
