"""The runner of mmdebstrap, for base chroots and for the disks of machines."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from hapkg.apt.mirror import Mirror
from hapkg.apt.settings import read_apt_options, write_settings
from hapkg.control import Suite
from hapkg.programs import process

# What an ordinary user starts through sudo can neither be signalled by him nor asks the kernel to die with its parent.
# So it dies as soon as the process $0, which is the user's own, has died.
_WATCHED = """perl -e 'my ($holder, $watched) = @ARGV;
    select undef, undef, undef, 0.2 while kill(0, $holder) && getppid == $watched;
    kill KILL => $watched if getppid == $watched' "$0" $$ </dev/null >/dev/null 2>&1 &
exec "$@"
"""
_COPY = '"$1"/etc/apt/apt.conf.d/99mmdebstrap'
"""Options for apt, as mmdebstrap keeps them in what it makes: proxies of the host, perhaps with a password."""


def bootstrap(
    root: Path,
    suite: Suite,
    mirror: Mirror,
    *,
    variant: str,
    log: IO[bytes],
    include: Iterable[str] = (),
    options: Sequence[str] = (),
    hooks: Sequence[str] = (),
    files: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
    architecture: str = "",
) -> None:
    """Make a system of a distribution in the folder root, from the mirror or from mmdebstrap's default.

    hooks are shell commands that are run with the root as $1 when all packages are there; after them files are put into
    it, by path: those that begin with #! can be executed, all are root's. architecture is one that this machine
    emulates, "" its own. Options for apt, the host's and those among options, hold until then and leave nothing.
    Raises ProcessError when mmdebstrap fails.
    """
    with tempfile.TemporaryDirectory(prefix="hapkg-mmdebstrap-") as scratch:
        arguments = [*options]
        if settings := read_apt_options():
            arguments += [f"--aptopt={write_settings(Path(scratch, 'apt.conf'), settings)}"]
        arguments += [f"--setup-hook=[ ! -e {_COPY} ] || chmod 600 {_COPY}", f"--customize-hook=rm -f {_COPY}"]
        arguments += [f"--architectures={architecture}"] if architecture else []
        arguments += [f"--include={','.join(sorted(include))}"] if include else []
        arguments += [f"--customize-hook={hook}" for hook in hooks]
        for number, (path, text) in enumerate(files.items()):
            staged = Path(scratch, str(number))
            staged.write_text(text, "utf-8")
            arguments.append(f"--customize-hook=upload {staged} {path}")
            arguments.append(f'--customize-hook=chmod {"755" if text.startswith("#!") else "644"} "$1"{path}')
        argv = ["mmdebstrap", f"--variant={variant}", "--mode=root", "--format=directory", *arguments]
        sources = mirror.lines(suite) or ("--components=" + ",".join(mirror.distribution.components),)
        process.run(
            enclose([*argv, str(suite), str(root), *sources]),
            log=log,
            environment={"TMPDIR": scratch, **(environment or {})},
        )


def enclose(argv: Sequence[str]) -> list[str]:
    """Arguments that run a command as root, in process and mount namespaces that end with it and with hapkg."""
    namespaces = ["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    enclosed = ["setpriv", "--pdeathsig", "KILL", "--", "unshare", *namespaces, "--", *argv]
    if os.geteuid() == 0:
        return enclosed
    return ["sh", "-c", 'sudo -n -- sh -c "$0" $$ "$@"; exit $?', _WATCHED, *enclosed]
