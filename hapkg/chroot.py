"""How a clean schroot is made, entered, updated and removed.

A base chroot is made by mmdebstrap and never changed: `update` makes a new one and takes the old one's place. Every
build enters a session of Debian's schroot with an overlay over the base; the session is thrown away. One process holds
the cache's lock while it works with chroots, so any session found by the next holder belongs to a dead process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO

from hapkg import command
from hapkg.control import Suite, read_stanzas
from hapkg.errors import MachineError, ProcessError
from hapkg.mirror import Mirror, read_apt_options

BUILD_USER = "hapkg"
BUILD_UID = 2952
"""Fixed, so that a number that leaks into a package is the same everywhere."""
BUILD_FOLDER = "/build"
LOCAL_REPOSITORY = "/srv/hapkg/stack"
ARCHIVES = "/srv/hapkg/archives"
_ENTER = "/usr/libexec/hapkg-enter"
# What an ordinary user starts through sudo can neither be signalled by him nor asks the kernel to die with its parent.
# So it dies as soon as the process $0, which is the user's own, has died.
_WATCHED = """perl -e 'my ($holder, $watched) = @ARGV;
    select undef, undef, undef, 0.2 while kill(0, $holder) && getppid == $watched;
    kill KILL => $watched if getppid == $watched' "$0" $$ </dev/null >/dev/null 2>&1 &
exec "$@"
"""
_CONFIGURATIONS = Path("/etc/schroot/chroot.d")
_PROFILES = Path("/etc/schroot/hapkg")

_BASE_FILES = {
    "/etc/apt/apt.conf.d/50hapkg": 'APT::Install-Recommends "false";\nAPT::Sandbox::User "root";\n'
    'Acquire::Languages "none";\nAcquire::Retries "3";\nAPT::Get::Assume-Yes "true";\n',
    "/etc/dpkg/dpkg.cfg.d/50hapkg": "force-unsafe-io\n",  # sessions are thrown away: nothing to keep safe
}
_POLICY = "#!/bin/sh\n# No daemon starts in a build chroot.\nexit 101\n"

_archives_lock = threading.Lock()


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


class Session:
    """An entered chroot: an overlay that lives until the session ends."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str = BUILD_USER,
        network: bool = False,
        log: IO[bytes] | None = None,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        check: bool = True,
    ) -> command.Result:
        """Run one command inside; without a network unless asked. See command.run for the streams and errors."""
        inside = [_ENTER, str(os.getpid()), "on" if network else "off", user, *argv]
        return command.run(
            ["schroot", "--run-session", "--chroot", self.name, "--user", "root", "--directory", "/", "--", *inside],
            log=log,
            stdin=stdin,
            stdout=stdout,
            check=check,
        )

    def copy_in(self, files: Sequence[Path], folder: str, *, user: str = BUILD_USER) -> None:
        """Put files of the host into a folder of the chroot, made if missing and owned by the user."""
        if user != "root":
            self.run(["install", "-d", "-o", user, "-g", user, folder], user="root")
        else:
            self.run(["mkdir", "-p", folder], user="root")
        with tempfile.TemporaryFile() as archive:
            # GNU tar follows the store's names; ownership inside is the extracting user's
            listing = [argument for file in files for argument in ("-C", str(file.parent), file.name)]
            command.run(["tar", "-c", "--dereference", *listing], stdout=archive)
            archive.seek(0)
            self.run(["tar", "-x", "--no-same-owner", "-C", folder], user=user, stdin=archive)

    def copy_out(self, names: Sequence[str], folder: str, target: Path) -> None:
        """Bring files out of a folder of the chroot into a folder of the host."""
        with tempfile.TemporaryFile() as archive:
            self.run(["tar", "-c", "-C", folder, "--", *names], stdout=archive)
            archive.seek(0)
            command.run(["tar", "-x", "--no-same-owner", "-C", str(target)], stdin=archive)

    def install_build_depends(self, dsc: str, *, log: IO[bytes]) -> None:
        """Install what a .dsc inside the chroot declares, from the archive and the session's local repository."""
        options = ["-o", f"Dir::Cache::Archives={ARCHIVES}", "-o", "APT::Get::Show-Versions=true"]
        with _archives_lock:  # sessions share downloaded packages; apt would refuse a second user of the folder
            self.run(["apt-get", *options, "--download-only", "build-dep", dsc], user="root", network=True, log=log)
        unlocked = ["-o", "Debug::NoLocking=true"]  # everything is there: apt only reads the shared folder
        self.run(["apt-get", *options, *unlocked, "build-dep", dsc], user="root", log=log)

    def add_local_packages(self, debs: Sequence[Path], *, log: IO[bytes]) -> None:
        """Offer these packages, and no other of the stack, to apt inside the session."""
        if not debs:
            return
        self.copy_in(debs, LOCAL_REPOSITORY, user="root")
        script = f"""set -e
            cd {LOCAL_REPOSITORY}
            dpkg-scanpackages --multiversion . > Packages
            echo 'deb [trusted=yes] file:{LOCAL_REPOSITORY} ./' > /etc/apt/sources.list.d/hapkg-stack.list
            apt-get update -o Dir::Etc::SourceList=sources.list.d/hapkg-stack.list -o Dir::Etc::SourceParts=- \\
                -o APT::Get::List-Cleanup=false"""
        self.run(["sh", "-c", script], user="root", log=log)

    def installed_packages(self) -> tuple[str, ...]:
        """Names of the packages installed in the session."""
        output = self.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"]).output
        return tuple(line.split()[1] for line in output.splitlines() if line.startswith("installed "))


@contextlib.contextmanager
def enter(chroot: Chroot, label: str) -> Iterator[Session]:
    """A session of a chroot, ended whatever happens inside. The label keeps sessions of one chroot apart."""
    name = f"{chroot.name}-{label.replace('+', '_')}"  # schroot takes no plus, names of packages may have one
    try:
        command.run(["schroot", "--begin-session", "--chroot", f"chroot:{chroot.name}", "--session-name", name])
        yield Session(name)
    finally:
        end_session(name)


def end_session(name: str) -> None:
    """End a session: its processes are killed and its overlay is removed."""
    try:
        command.run(["schroot", "--end-session", "--chroot", f"session:{name}"], cleanup=True)
    except ProcessError:
        # A first attempt can meet a mount that a dying process still holds; force is schroot's own second attempt.
        command.run(["schroot", "--end-session", "--force", "--chroot", f"session:{name}"], cleanup=True, check=False)


def find_sessions(cache: Path) -> tuple[str, ...]:
    """Names of the sessions that belong to the chroots of a cache."""
    if command.find_program("schroot") is None:
        return ()
    output = command.run(["schroot", "--list", "--all-sessions"], cleanup=True, check=False).output
    names = (line.strip().removeprefix("session:") for line in output.splitlines())
    return tuple(name for name in names if name.startswith("hapkg-") and f"-{_cache_mark(cache)}-" in name)


def reclaim(cache: Path) -> tuple[str, ...]:
    """End sessions and remove half-made chroots that a dead process left. The caller holds the cache's lock."""
    left = find_sessions(cache)
    for name in left:
        end_session(name)
    for folder in (cache / "chroots").glob(".new-*"):
        _remove_tree(folder)
    return left


def find_chroot(cache: Path, suite: Suite) -> Chroot | None:
    """The finished base chroot of a suite, or None."""
    folder = cache / "chroots" / suite
    try:
        data = json.loads((folder / "chroot.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    name = _schroot_name(cache, suite)
    if not (_CONFIGURATIONS / name).exists():
        return None  # made by another machine's installation, or its configuration was removed by hand
    if data.get("contents") != _digest_contents():
        return None  # made by a hapkg that prepared its chroots differently
    return Chroot(suite=suite, name=name, folder=folder, digest=data["digest"], packages=data["packages"])


def list_chroots(cache: Path) -> tuple[Chroot, ...]:
    """All finished base chroots of a cache, by suite."""
    found = (find_chroot(cache, Suite(file.parent.name)) for file in sorted((cache / "chroots").glob("*/chroot.json")))
    return tuple(chroot for chroot in found if chroot is not None)


def create_chroot(cache: Path, suite: Suite, mirror: Mirror | None, *, log: IO[bytes]) -> Chroot:
    """Make the base chroot of a suite anew; an existing one is replaced when the new one is complete.

    Raises MachineError when mmdebstrap or a privilege is missing, ProcessError when mmdebstrap fails.
    """
    if command.find_program("mmdebstrap") is None:
        raise MachineError("the program mmdebstrap is not installed", hint="run: hapkg doctor")
    target = cache / "chroots" / suite
    new = target.parent / f".new-{suite}"
    _remove_tree(new)
    new.mkdir(parents=True)
    root = new / "root"
    try:
        with tempfile.TemporaryDirectory() as scratch:
            _run_mmdebstrap(root, suite, mirror, Path(scratch), log)
    except ProcessError as error:
        _remove_tree(new)
        raise ProcessError("mmdebstrap failed", details=error.details) from error
    status = (root / "var/lib/dpkg/status").read_text("utf-8")
    packages = sorted(f"{s['Package']}={s['Version']}:{s['Architecture']}" for s in read_stanzas(status))
    digest = hashlib.sha256("\n".join(packages).encode()).hexdigest()
    description = {"contents": _digest_contents(), "digest": digest, "packages": len(packages)}
    (new / "chroot.json").write_text(json.dumps(description) + "\n", "utf-8")
    make_archives(cache, suite)
    _write_configuration(cache, suite)
    if target.exists():
        old = target.parent / f".new-{suite}.old"
        _remove_tree(old)
        target.rename(old)
        new.rename(target)
        _remove_tree(old)
    else:
        new.rename(target)
    made = find_chroot(cache, suite)
    if made is None:
        raise MachineError(f"the chroot of {suite} vanished while it was made")
    return made


def make_archives(cache: Path, suite: Suite) -> None:
    """Make the folder of downloaded packages that sessions of a suite mount."""
    (cache / "archives" / suite / "partial").mkdir(parents=True, exist_ok=True)


def remove_chroot(cache: Path, suite: Suite) -> None:
    """Remove the base chroot of a suite and its configuration."""
    name = _schroot_name(cache, suite)
    files = [_CONFIGURATIONS / name, _PROFILES / f"{name}.fstab"]
    command.run(command.privileged(["rm", "-f", "--", *map(str, files)]))
    _remove_tree(cache / "chroots" / suite)


def _read_contents() -> dict[str, str]:
    """The files that hapkg puts into a base chroot."""
    return {**_BASE_FILES, _ENTER: resources.files("hapkg").joinpath("data/hapkg-enter").read_text("utf-8")}


def _digest_contents() -> str:
    return hashlib.sha256(json.dumps([BUILD_UID, _read_contents()], sort_keys=True).encode()).hexdigest()


def _run_mmdebstrap(root: Path, suite: Suite, mirror: Mirror | None, scratch: Path, log: IO[bytes]) -> None:
    hooks: list[str] = []
    for number, (path, text) in enumerate(_read_contents().items()):
        staged = scratch / str(number)
        staged.write_text(text, "utf-8")
        staged.chmod(0o755 if text.startswith("#!") else 0o644)
        hooks.append(f"--customize-hook=upload {staged} {path}")
        hooks.append(f'--customize-hook=chmod {"755" if text.startswith("#!") else "644"} "$1"{path}')
    account = f"useradd --uid {BUILD_UID} --user-group --no-create-home --home-dir /nonexistent {BUILD_USER}"
    hooks.append(f'--customize-hook=chroot "$1" {account}')
    hooks.append(f'--customize-hook=mkdir -p "$1"{ARCHIVES} "$1"{BUILD_FOLDER}')
    options = [f'--aptopt={name} "{value}"' for name, value in read_apt_options().items()]
    sources = list(mirror.lines(suite)) if mirror else []
    argv = ["mmdebstrap", "--variant=buildd", "--mode=root", "--format=directory", "--skip=cleanup/apt/lists"]
    command.run(
        _enclose([*argv, *options, *hooks, str(suite), str(root), *sources]),
        log=log,
        environment={"TMPDIR": str(scratch)},
    )
    # Not by a hook: mmdebstrap has a policy-rc.d of its own while it works, and removes it at the end.
    policy = scratch / "policy-rc.d"
    policy.write_text(_POLICY, "utf-8")
    command.run(command.privileged(["install", "-m", "755", str(policy), str(root / "usr/sbin/policy-rc.d")]))


def _enclose(argv: Sequence[str]) -> list[str]:
    """The same command as root, in process and mount namespaces that end with it: nothing of it outlives hapkg."""
    namespaces = ["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    enclosed = ["setpriv", "--pdeathsig", "KILL", "--", "unshare", *namespaces, "--", *argv]
    if os.geteuid() == 0:
        return enclosed
    return ["sh", "-c", 'sudo -n -- sh -c "$0" $$ "$@"; exit $?', _WATCHED, *enclosed]


def _write_configuration(cache: Path, suite: Suite) -> None:
    """Tell schroot of the chroot. /etc is not ours: every file has our name, and removal takes it back."""
    name = _schroot_name(cache, suite)
    user = pwd.getpwuid(os.geteuid()).pw_name
    configuration = f"""# Written by hapkg; removed by: hapkg chroot rm {suite}
[{name}]
description=hapkg build chroot of {suite}
type=directory
directory={cache}/chroots/{suite}/root
union-type=overlay
users={user}
root-users={user}
setup.fstab=hapkg/{name}.fstab
setup.copyfiles=hapkg/copyfiles
setup.nssdatabases=hapkg/nssdatabases
shell=/bin/sh
"""
    fstab = f"""/sys /sys none ro,bind 0 0
/dev/pts /dev/pts none rw,bind 0 0
tmpfs /dev/shm tmpfs mode=1777 0 0
{cache}/archives/{suite} {ARCHIVES} none rw,bind 0 0
"""
    files = {
        _PROFILES / "copyfiles": "/etc/resolv.conf\n",
        _PROFILES / "nssdatabases": "",
        _PROFILES / f"{name}.fstab": fstab,
        _CONFIGURATIONS / name: configuration,
    }
    if any(blank in str(cache) for blank in " \t\n"):
        raise MachineError(f"the cache folder {cache} has a blank in its name", hint="choose another with --cache")
    for path, text in files.items():
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as staged:
            staged.write(text)
            staged.flush()
            command.run(command.privileged(["install", "-D", "-m", "644", staged.name, str(path)]))


def _schroot_name(cache: Path, suite: Suite) -> str:
    return f"hapkg-{suite}-{_cache_mark(cache)}"


def _cache_mark(cache: Path) -> str:
    """Keeps chroots of different caches (users, tests) apart in schroot's one name space."""
    return hashlib.sha256(str(cache.resolve()).encode()).hexdigest()[:8]


def _remove_tree(folder: Path) -> None:
    if folder.exists():
        command.run(command.privileged(["rm", "-rf", "--one-file-system", "--", str(folder)]), cleanup=True)
