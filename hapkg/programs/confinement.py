"""Programs of this machine on bytes of others: tar's archives, packages, ELF files.

bubblewrap gives such a program namespaces of its own without a network, /usr to read, the folders that it is given, and
nothing else of the machine; it is the build user, or whoever runs hapkg where that is not root.
docs/decisions/0022-host-programs-are-confined.md has the reasons.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from hapkg.errors import MachineError, ProcessError
from hapkg.programs import process

BUILD_UID = 2952
"""Of the user that runs code of others, in sessions as well. Fixed: a number that leaks into a package is the same
everywhere."""
SECONDS = 3600
"""Time that a program may take."""
_MOST_MEMORY = 8 << 30
_MOST_FILE = 64 << 30
_ETC = ("alternatives", "dpkg", "ld.so.cache", "perl")
_NAMESPACES = ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session")
_AS_BUILD_USER = (
    *("setpriv", "--reuid", str(BUILD_UID), "--regid", str(BUILD_UID), "--clear-groups"),
    *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--"),
)
_RIGHTS = (
    "--cap-drop",
    "ALL",
    *(word for right in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{right}")),
)
"""Of root in its namespaces, until it is the build user."""


def confine(argv: Sequence[str], *, readable: Sequence[Path] = (), writable: Path | None = None) -> list[str]:
    """Arguments that run a program confined. It sees the paths that it is given where they are.

    As root, what is readable must be so for everybody, and the writable folder is to be lent to it: see lend().
    """
    given = [*(("--ro-bind", path) for path in readable), *([("--bind", writable)] if writable else [])]
    etc = [("--ro-bind", Path("/etc", name)) for name in _ETC if Path("/etc", name).exists()]
    words = [*_NAMESPACES, "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    words += ["--chmod", "1777", "/tmp"]
    for path in (Path("/bin"), Path("/lib"), Path("/lib64"), Path("/sbin")):
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    above = {parent for _, path in (*etc, *given) for parent in path.parents} - {Path("/"), Path("/tmp")}
    for parent in sorted(above):
        words += ["--dir", str(parent), "--chmod", "0755", str(parent)]
    for option, path in (*etc, *given):
        words += [option, str(path), str(path)]
    limits = ["prlimit", f"--as={_MOST_MEMORY}", f"--fsize={_MOST_FILE}", "timeout", "--kill-after=10", str(SECONDS)]
    limits += ["env", "-C", str(writable or "/")]
    if os.geteuid() == 0:
        return ["bwrap", *words, *_RIGHTS, "--", *_AS_BUILD_USER, *limits, *argv]
    return ["bwrap", "--unshare-user", *words, "--", *limits, *argv]


def run(
    argv: Sequence[str],
    *,
    readable: Sequence[Path] = (),
    writable: Path | None = None,
    stdin: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
    check: bool = True,
    nice: int = 0,
) -> process.Result:
    """Run a program confined; a writable folder is lent to it. See process.run for the rest.

    Raises MachineError where this machine cannot confine it.
    """
    whole = confine(argv, readable=readable, writable=writable)
    with lend(writable) if writable else contextlib.nullcontext():
        done = process.run(whole, stdin=stdin, environment=environment, check=False, nice=nice)
    if done.status != 0 and done.output.startswith("bwrap: "):
        raise MachineError(
            "programs cannot be confined on this machine", details=done.output.splitlines(), hint="run: hapkg doctor"
        )
    if check and done.status != 0:
        raise ProcessError(
            f"{argv[0]} failed with {process.describe_status(done.status)}", details=done.output.splitlines()[-12:]
        )
    return done


@contextlib.contextmanager
def lend(folder: Path) -> Iterator[None]:
    """Give a folder and all in it to confined programs, and take it back with what they left: root's, without set-id.

    Links are not followed.
    """
    _give(folder, BUILD_UID)
    try:
        yield
    finally:
        _give(folder, 0)


def _give(folder: Path, owner: int) -> None:
    if os.geteuid() == 0:
        process.run(["chown", "-hR", f"{owner}:{owner}", "--", str(folder)], cleanup=True)
