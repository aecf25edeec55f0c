"""Base chroots as schroot knows them: made, found, replaced and removed.

A base chroot is made by mmdebstrap and never changed: `update` makes a new one and takes the old one's place. Builds
enter sessions of it, see sessions.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from hapkg import disk
from hapkg.apt.mirror import Mirror, digest_further
from hapkg.chroot.base import (
    PIN_HINT,
    Foreign,
    Pin,
    describe_layers,
    describe_mounts,
    digest_contents,
    digest_index,
    make_base,
    write_listing,
)
from hapkg.control import Suite, read_stanzas
from hapkg.errors import IntegrityError, MachineError, ProcessError, UsageError
from hapkg.locations import State
from hapkg.programs import launch, process
from hapkg.records import format_record, read_record

_CONFIGURATIONS = Path("/etc/schroot/chroot.d")
_PROFILES = Path("/etc/schroot/hapkg")


@dataclass(frozen=True, kw_only=True)
class Chroot:
    """A finished base chroot."""

    suite: Suite
    name: str
    """Its name in schroot's configuration."""
    folder: Path
    digest: str
    """sha256 over the names and versions of its packages: the part of a build's identity that the base is."""
    packages: int
    index: str = ""
    """sha256 over the archive's indexes in it: what apt resolves dependencies from."""
    contents: str = ""
    """sha256 over what hapkg put into it."""
    further: str = ""
    """Digest of the archives beside the distribution's that its index has; "" without any."""
    pinned: str = ""
    """Digest of the packages that it was pinned to, and that its index knows alone; "" where it was not."""

    @property
    def root(self) -> Path:
        """The folder with the files of the chroot."""
        return self.folder / "root"


def find_chroot(state: State, suite: Suite) -> Chroot | None:
    """The finished base chroot of a suite, or None."""
    folder, name = state.chroots / suite, name_chroot(state, suite)
    found = read_record(folder / "chroot.json", Chroot, suite=suite, name=name, folder=folder)
    if not (_CONFIGURATIONS / name).exists() or not (folder / "listing").is_file():
        return None  # made by another machine's installation, or its configuration was removed by hand
    if found is None or found.contents != digest_contents():
        return None  # made by a hapkg that prepared its chroots differently
    return found


def list_chroots(state: State) -> tuple[Chroot, ...]:
    """All finished base chroots of a state folder, by suite."""
    found = (find_chroot(state, Suite(file.parent.name)) for file in sorted(state.chroots.glob("*/chroot.json")))
    return tuple(chroot for chroot in found if chroot is not None)


def create_chroot(state: State, suite: Suite, mirror: Mirror, *, log: IO[bytes], pin: Pin | None = None) -> Chroot:
    """Make the base chroot of a suite anew; an existing one is replaced when the new one is complete.

    That of an architecture which is not this machine's own needs this machine's. Raises MachineError when mmdebstrap or
    a privilege is missing, ProcessError when mmdebstrap fails, UsageError without this machine's, IntegrityError for a
    base that does not hold the packages that it is pinned to.
    """
    if launch.find_program("mmdebstrap") is None:
        raise MachineError("the program mmdebstrap is not installed", hint="run: hapkg doctor")
    new = state.chroots / f".new-{suite}"
    disk.remove_tree(new, of_root=True)
    new.mkdir(parents=True)
    root = new / "root"
    try:
        make_base(root, suite, mirror, log, only=pin.packages if pin else (), foreign=_find_foreign(state, suite))
    except ProcessError as error:
        disk.remove_tree(new, of_root=True)
        raise ProcessError("mmdebstrap failed", details=error.details) from error
    digest, packages = digest_packages(root)
    if pin is not None and (faults := pin.find_faults(packages)):
        disk.remove_tree(new, of_root=True)
        raise IntegrityError(f"the base chroot of {suite} is not what it is pinned to", details=faults, hint=PIN_HINT)
    index = digest_index(root / "var/lib/apt/lists")
    description = {"contents": digest_contents(), "digest": digest, "index": index, "packages": len(packages)}
    description |= {"further": digest_further(mirror.further), "pinned": pin.digest if pin else ""}
    disk.write(new / "chroot.json", format_record(description))
    take_base(state, suite, new)
    made = find_chroot(state, suite)
    if made is None:
        raise MachineError(f"the chroot of {suite} vanished while it was made")
    return made


def digest_packages(root: Path) -> tuple[str, dict[str, str]]:
    """One digest of all packages of a base's root, with their versions and architectures; and the versions by name."""
    stanzas = list(read_stanzas((root / "var/lib/dpkg/status").read_text("utf-8")))
    packages = sorted(f"{s['Package']}={s['Version']}:{s['Architecture']}" for s in stanzas)
    digest = hashlib.sha256("\n".join(packages).encode()).hexdigest()
    return digest, {s["Package"]: s["Version"] for s in stanzas}


def take_base(state: State, suite: Suite, new: Path) -> None:
    """Put a whole base chroot in its place, that of another one perhaps, and tell schroot of it."""
    write_listing(new)
    process.run(["sync", "-f", str(new)])  # thousands of files of root's: once for the file system
    make_folders(state, suite)
    write_configuration(state, suite)
    target = state.chroots / suite
    if target.exists():
        old = target.parent / f".new-{suite}.old"
        disk.remove_tree(old, of_root=True)
        target.rename(old)
        disk.move({new: target})
        disk.remove_tree(old, of_root=True)
    else:
        disk.move({new: target})


def _find_foreign(state: State, suite: Suite) -> Foreign | None:
    """The architecture that a state folder is for; None for this machine's own. Raises UsageError without its base."""
    if not state.architecture:
        return None
    own = find_chroot(replace(state, architecture=""), suite)
    if own is None:
        raise UsageError(
            f"the base chroot of {suite} for {state.architecture} needs this machine's own first",
            hint=f"run: hapkg chroot create --suite {suite}",
        )
    return Foreign(architecture=state.architecture, base=own.root)


def make_folders(state: State, suite: Suite) -> None:
    """Make the folders that sessions of a suite mount: downloaded packages, and layers."""
    disk.make_folder(state.archives / suite)
    disk.make_folder(state.layers)


def remove_chroot(state: State, suite: Suite) -> None:
    """Remove the base chroot of a suite and its configuration."""
    name = name_chroot(state, suite)
    files = [_CONFIGURATIONS / name, _PROFILES / f"{name}.fstab", _PROFILES / f"{name}.config"]
    process.run(process.privileged(["rm", "-f", "--", *map(str, files)]))
    disk.remove_tree(state.chroots / suite, of_root=True)


def write_configuration(state: State, suite: Suite) -> None:
    """Tell schroot of the base chroot of a suite.

    /etc is not ours: every file has our name, and removal takes it back. Raises MachineError for a state folder whose
    name schroot's files cannot hold.
    """
    if re.search(r"[^A-Za-z0-9/._+@~-]", str(state)):  # it stands in mount options, a shell script and a table
        raise MachineError(
            f"the state folder {state} has more than letters, digits and ._+@~- in its name",
            hint="choose another with --cache or HAPKG_CACHE",
        )
    name = name_chroot(state, suite)
    files = {
        _PROFILES / "copyfiles": "/etc/resolv.conf\n",
        _PROFILES / "nssdatabases": "",
        _PROFILES / f"{name}.fstab": describe_mounts(state.chroots / suite / "root", state.archives / suite),
        _PROFILES / f"{name}.config": describe_layers(state.chroots / suite, state.layers),
        _CONFIGURATIONS / name: _describe_chroot(state, suite),
    }
    for path, text in files.items():
        with contextlib.suppress(OSError):
            if path.read_bytes() == text.encode():
                continue  # a session of another state folder may be reading what all share
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as staged:
            staged.write(text)
            staged.flush()
            process.run(process.privileged(["install", "-D", "-m", "644", staged.name, str(path)]))


def _describe_chroot(state: State, suite: Suite) -> str:
    """The chroot's entry in schroot's configuration. The options hapkg.* are read by hapkg-layers.sh."""
    name = name_chroot(state, suite)
    user = pwd.getpwuid(os.geteuid()).pw_name
    return f"""# Written by hapkg; removed by: hapkg chroot rm {suite}
[{name}]
description=hapkg build chroot of {suite}
type=directory
directory={state.chroots}/{suite}/root
union-type=overlay
user-modifiable-keys=hapkg.base,hapkg.layer,hapkg.save,hapkg.sweep
hapkg.base=
hapkg.layer=
hapkg.save=
hapkg.sweep=
setup.config=hapkg/{name}.config
users={user}
root-users={user}
setup.fstab=hapkg/{name}.fstab
setup.copyfiles=hapkg/copyfiles
setup.nssdatabases=hapkg/nssdatabases
shell=/bin/sh
"""


def name_chroot(state: State, suite: Suite) -> str:
    """The name of a suite's base chroot in schroot's configuration."""
    return f"hapkg-{suite}-{mark_state(state)}"


def mark_state(state: State) -> str:
    """Keeps chroots of different state folders (users, tests) apart in schroot's one name space."""
    return hashlib.sha256(str(state.own.resolve()).encode()).hexdigest()[:8]
