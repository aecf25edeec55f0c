"""Clean chroots by schroot: made, entered, renewed and removed.

A base chroot is made by mmdebstrap and never changed: `update` makes a new one and takes the old one's place. Every
build enters a session of Debian's schroot with an overlay over the base; the session is thrown away. One process holds
the lock of the state folder while it works with chroots, so any session found by the next holder belongs to a dead
process.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import pwd
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from hapkg import disk, process
from hapkg.apt import Mirror, digest_further
from hapkg.chroot.base import (
    ARCHIVES,
    BUILD_USER,
    DEFAULT_HOST,
    ENTER,
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
from hapkg.records import format_record, read_record

LOCAL_REPOSITORY = "/srv/hapkg/stack"
INSTALL_SECONDS = 3600
"""Time that the archive's packages may take to be installed: the longest layers take half a minute."""
_TIMED_OUT = ("exit status 124", "exit status 137")
LAYER_MARK = "/srv/hapkg/layer-is-complete"
"""A file by which a session that becomes a layer says that all of it is there."""
DAMAGED = re.compile("the layer ([0-9a-f]+) is damaged")
"""Words of hapkg-layers.sh about a layer that is not as it was made."""
_WITHOUT_INDEX = (
    "Dir::State::Lists=/nonexistent",
    "Dir::Etc::SourceList=/dev/null",
    "Dir::Etc::SourceParts=/dev/null",
    "Dir::Cache::PkgCache=",
    "Dir::Cache::SrcPkgCache=",
    "APT::Get::Show-Versions=true",
)
_DAMAGED_BASE = "the base chroot is damaged"
"""Its words about a base that is not."""
_CONFIGURATIONS = Path("/etc/schroot/chroot.d")
_PROFILES = Path("/etc/schroot/hapkg")
_SESSIONS = Path("/var/lib/schroot/session")


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
        """Its files."""
        return self.folder / "root"


_compared: set[Chroot] = set()
"""Base chroots that were as they were made when this process entered them first."""


class Session:
    """An entered chroot: an overlay that lives until the session ends."""

    def __init__(self, name: str, nice: int = 0) -> None:
        self.name = name
        self.holder = os.getpid()
        """The process whose end is that of every command, within a second."""
        self._nice = nice

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str = BUILD_USER,
        host: str = DEFAULT_HOST,
        log: IO[bytes] | None = None,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        check: bool = True,
    ) -> process.Result:
        """Run one command inside, without a network. See process.run for the streams and errors.

        Root has the rights that dpkg needs, and no others. On a host of another name than the default it may also give
        itself addresses, in the network namespace of this command alone.
        """
        return process.run(
            self._make_command(argv, user, host),
            log=log,
            stdin=stdin,
            stdout=stdout,
            check=check,
            nice=self._nice,
        )

    def attach(self, argv: Sequence[str], *, user: str = BUILD_USER) -> int:
        """Run one command inside on hapkg's own streams; its exit status. See process.attach."""
        return process.attach(self._make_command(argv, user))

    def _make_command(self, argv: Sequence[str], user: str, host: str = DEFAULT_HOST) -> list[str]:
        inside = [ENTER, str(self.holder), user, host, *argv]
        return ["schroot", "--run-session", "--chroot", self.name, "--user", "root", "--directory", "/", "--", *inside]

    def copy_in(self, files: Sequence[Path], folder: str, *, user: str = BUILD_USER) -> None:
        """Put files of the host into a folder of the chroot, made if missing and owned by the user."""
        if user != "root":
            self.run(["install", "-d", "-o", user, "-g", user, folder], user="root")
        else:
            self.run(["mkdir", "-p", folder], user="root")
        with tempfile.TemporaryFile() as archive:
            # GNU tar follows the store's names; ownership inside is the extracting user's
            listing = [argument for file in files for argument in ("-C", str(file.parent), file.name)]
            process.run(["tar", "-c", "--dereference", *listing], stdout=archive)
            archive.seek(0)
            self.run(["tar", "-x", "--no-same-owner", "-C", folder], user=user, stdin=archive)

    def install(self, files: Sequence[str], *, log: IO[bytes]) -> None:
        """Install packages of the archive, all that they need among them: names in the folder mounted at ARCHIVES.

        Files are named to apt one by one, and then it does not look into the archive's index: reading that takes longer
        than to decide about a hundred packages. Raises ProcessError, also after INSTALL_SECONDS.
        """
        settings = [f"--option={setting}" for setting in _WITHOUT_INDEX]
        # The shell is process 1 of the session: since coreutils 9.10 a child of process 1 takes its timeout for dead.
        limit = ["sh", "-c", 'timeout "$@"; exit $?', "timeout", "--kill-after=10", str(INSTALL_SECONDS)]
        argv = [*limit, "apt-get", *settings, "install"]
        try:
            self.run([*argv, *(f"{ARCHIVES}/{file}" for file in files)], user="root", log=log)
        except ProcessError as error:
            if error.brief.endswith(_TIMED_OUT):
                log.write(f"hapkg: apt-get did not end within {INSTALL_SECONDS} seconds\n".encode())
            raise

    def install_local(self, debs: Sequence[Path], *, log: IO[bytes], ordered: bool = False) -> None:
        """Install these packages of the stack, whose dependencies are there.

        dpkg takes them in any order; ordered has apt put those first that others need before they are unpacked.
        """
        if debs:
            self.copy_in(debs, LOCAL_REPOSITORY, user="root")
            names = [f"{LOCAL_REPOSITORY}/{deb.name}" for deb in debs]
            settings = [f"--option={setting}" for setting in _WITHOUT_INDEX]
            argv = ["apt-get", *settings, "install"] if ordered else ["dpkg", "--install"]
            self.run([*argv, *names], user="root", log=log)

    def installed_packages(self) -> dict[str, str]:
        """Names and versions of the packages installed in the session."""
        output = self.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\n"]).output
        lines = (line.split() for line in output.splitlines() if line.startswith("installed "))
        return {name: version for _, name, version in lines}


@contextlib.contextmanager
def enter(chroot: Chroot, label: str, options: Mapping[str, str] | None = None, *, nice: int = 0) -> Iterator[Session]:
    """A session of a chroot, ended whatever happens inside. The label keeps sessions of one chroot apart.

    options are those of data/hapkg-layers.sh; nice is the nice value of everything that runs inside.
    """
    name = f"{chroot.name}-{label.replace('+', '_')}"  # schroot takes no plus, names of packages may have one
    chosen = [f"--option=hapkg.{option}={value}" for option, value in (options or {}).items()]
    if chroot not in _compared:
        chosen.append("--option=hapkg.base=yes")
    argv = ["schroot", "--begin-session", "--chroot", f"chroot:{chroot.name}", "--session-name", name, *chosen]
    try:
        _begin_session(argv, chroot.suite)
        _compared.add(chroot)
        yield Session(name, nice)
    finally:
        end_session(name)


def _begin_session(argv: Sequence[str], suite: Suite) -> None:
    """Begin a session. Raises ProcessError for a damaged layer or a full disk, else MachineError in schroot's words."""
    try:
        process.run(argv)
    except ProcessError as error:
        text = "\n".join(error.details)
        if DAMAGED.search(text) or os.strerror(errno.ENOSPC) in text:
            raise
        if _DAMAGED_BASE in text:
            raise MachineError(
                f"the base chroot of {suite} is not as it was made", hint=f"run: hapkg chroot update --suite {suite}"
            ) from error
        raise MachineError(
            "schroot cannot begin a session on this machine", details=error.details, hint="run: hapkg doctor"
        ) from error


def end_session(name: str) -> None:
    """End a session: its processes are killed and its overlay is removed."""
    try:
        process.run(["schroot", "--end-session", "--chroot", f"session:{name}"], cleanup=True)
    except ProcessError:
        # A first attempt can meet a mount that a dying process still holds; force is schroot's own second attempt.
        process.run(["schroot", "--end-session", "--force", "--chroot", f"session:{name}"], cleanup=True, check=False)


def find_sessions(state: State) -> tuple[str, ...]:
    """Names of the sessions that belong to the chroots of a state folder, or to that of the suite worked for."""
    if process.find_program("schroot") is None or not _may_have_sessions(state):
        return ()
    output = process.run(["schroot", "--list", "--all-sessions"], cleanup=True, check=False).output
    names = (line.strip().removeprefix("session:") for line in output.splitlines())
    start = f"hapkg-{state.suite}-" if state.suite else "hapkg-"
    return tuple(name for name in names if name.startswith(start) and f"-{_state_mark(state)}-" in name)


def _may_have_sessions(state: State) -> bool:
    """False when schroot's folder of sessions has none of this folder: looking there spares a process."""
    try:
        return any(f"-{_state_mark(state)}-" in file.name for file in _SESSIONS.iterdir())
    except OSError:
        return True


def reclaim(state: State) -> tuple[str, ...]:
    """End sessions and remove half-made chroots that a dead process left. The caller holds the lock."""
    left = find_sessions(state)
    for name in left:
        end_session(name)
    for folder in state.chroots.glob(f".new-{state.suite}*"):
        disk.remove_tree(folder, of_root=True)
    return left


def find_chroot(state: State, suite: Suite) -> Chroot | None:
    """The finished base chroot of a suite, or None."""
    folder, name = state.chroots / suite, _schroot_name(state, suite)
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
    if process.find_program("mmdebstrap") is None:
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
    name = _schroot_name(state, suite)
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
            hint="choose another with --cache",
        )
    name = _schroot_name(state, suite)
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
    name = _schroot_name(state, suite)
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


def _schroot_name(state: State, suite: Suite) -> str:
    return f"hapkg-{suite}-{_state_mark(state)}"


def _state_mark(state: State) -> str:
    """Keeps chroots of different state folders (users, tests) apart in schroot's one name space."""
    return hashlib.sha256(str(state.own.resolve()).encode()).hexdigest()[:8]
