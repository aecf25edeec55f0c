"""Sessions of schroot: an overlay over a base chroot, entered for one purpose and thrown away.

One process holds the lock of the state folder while it works with chroots, so any session found by the next holder
belongs to a dead process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from hapkg import disk
from hapkg.chroot.base import ARCHIVES, BUILD_USER, DEFAULT_HOST, ENTER
from hapkg.chroot.schroot import Chroot, mark_state
from hapkg.control import Suite
from hapkg.errors import MachineError, ProcessError
from hapkg.locations import State
from hapkg.programs import launch, process

LOCAL_REPOSITORY = "/srv/hapkg/stack"
INSTALL_SECONDS = 3600
"""Time that the archive's packages may take to be installed: the longest layers take half a minute."""
_TIMED_OUT = ("exit status 124", "exit status 137")
LAYER_MARK = "/srv/hapkg/layer-is-complete"
"""A file by which a session that becomes a layer says that all of it is there."""
DAMAGED = re.compile("the layer ([0-9a-f]+) is damaged")
"""Words of hapkg-layers.sh about a layer that is not as it was made."""
_DAMAGED_BASE = "the base chroot is damaged"
"""Its words about a base that is not."""
_WITHOUT_INDEX = (
    "Dir::State::Lists=/nonexistent",
    "Dir::Etc::SourceList=/dev/null",
    "Dir::Etc::SourceParts=/dev/null",
    "Dir::Cache::PkgCache=",
    "Dir::Cache::SrcPkgCache=",
    "APT::Get::Show-Versions=true",
)
_SESSIONS = Path("/var/lib/schroot/session")
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
    if launch.find_program("schroot") is None or not _may_have_sessions(state):
        return ()
    output = process.run(["schroot", "--list", "--all-sessions"], cleanup=True, check=False).output
    names = (line.strip().removeprefix("session:") for line in output.splitlines())
    start = f"hapkg-{state.suite}-" if state.suite else "hapkg-"
    return tuple(name for name in names if name.startswith(start) and f"-{mark_state(state)}-" in name)


def _may_have_sessions(state: State) -> bool:
    """False when schroot's folder of sessions has none of this folder: looking there spares a process."""
    try:
        return any(f"-{mark_state(state)}-" in file.name for file in _SESSIONS.iterdir())
    except OSError:
        return True


def reclaim(state: State) -> None:
    """End sessions and remove half-made chroots that a dead process left. The caller holds the lock."""
    for name in find_sessions(state):
        end_session(name)
    for folder in state.chroots.glob(f".new-{state.suite}*"):
        disk.remove_tree(folder, of_root=True)
