"""How programs are started: where they are looked for, what they find, and that they die with hapkg.

What works into a log or stays is started by `sh`, which is imported here alone and only then; what is asked and answers
by the library that Python has: docs/decisions/0010-short-processes.md.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from hapkg.errors import MachineError

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for: an ordinary user's PATH often lacks sbin."""
_PR_SET_PDEATHSIG = 1
_DYING = ("/usr/bin/setpriv", "--pdeathsig", "KILL")
libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: dlopen is not safe between fork and exec


def make_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every process: search path, home, a UTF-8 locale, and what the caller adds."""
    home = os.environ.get("HOME", "/")
    return {
        "PATH": SEARCH_PATH,
        "HOME": home,
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        **(extra or {}),
    }


def find_program(name: str) -> str | None:
    """The full path of a program, or None."""
    return shutil.which(name, path=SEARCH_PATH)


def prepare_child(nice: int = 0) -> None:
    """Die with hapkg, and ignore no signal: Python ignores XFSZ, and sh and nohup make their children ignore HUP."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for number in _find_ignored():
        signal.signal(number, signal.SIG_DFL)
    if nice:
        _set_nice(nice)


def _find_ignored() -> list[int]:
    return [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]


def _set_nice(nice: int) -> None:
    """Where the kernel shares the processor between sessions (sched(7), autogroup), the nice value of each counts."""
    os.nice(nice)
    for _ in range(8):
        try:
            Path("/proc/self/autogroup").write_text(str(nice), "ascii")
            return
        except BlockingIOError:  # the kernel takes ten of these a second from ordinary users
            time.sleep(0.05)
        except OSError:
            return


def start_short(
    program: str,
    argv: Sequence[str],
    stdin: IO[bytes],
    stdout: IO[bytes],
    stderr: IO[bytes],
    environment: Mapping[str, str] | None,
    cwd: Path | None = None,
    nice: int = 0,
) -> subprocess.Popen[bytes]:
    """Start a process of a moment: without sh, which takes longer to be imported than such a process to end.

    No Python runs between fork and exec either, so that the child need not be a copy of this process, which takes as
    long to make; setpriv asks the kernel for its death instead. Raises MachineError when it cannot be started.
    """
    # Popen restores what Python itself ignores; the rest is left from who started hapkg: nohup, or a shell with &.
    ignored = ",".join(map(str, set(_find_ignored()) - {signal.SIGPIPE, signal.SIGXFSZ}))
    heed = ("/usr/bin/env", f"--default-signal={ignored}") if ignored else ()
    try:
        return subprocess.Popen(
            [*(() if nice else (*heed, *_DYING)), program, *argv[1:]],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=make_environment(environment),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=partial(prepare_child, nice) if nice else None,  # noqa: PLW1509 - it calls what was loaded before
        )
    except OSError as error:  # of the child too: a folder, an interpreter that is missing
        raise MachineError(f"{argv[0]} cannot be started: {error.strerror}: {error.filename}") from error


def start_long(
    program: str,
    argv: Sequence[str],
    stdin: IO[bytes],
    stdout: IO[bytes],
    stderr: IO[bytes],
    environment: Mapping[str, str] | None,
    cwd: Path | None = None,
    nice: int = 0,
) -> Any:
    """Start a process that works into a log or stays, by sh; its handle.

    Raises MachineError when it cannot be started.
    """
    import sh  # noqa: PLC0415 - a tenth of a second

    try:
        return sh.Command(program)(
            *argv[1:],
            _bg=True,
            _bg_exc=False,
            _new_session=True,
            _tty_out=False,
            _in=stdin,
            _out=stdout,
            _err=stderr,
            _env=make_environment(environment),
            _cwd=str(cwd) if cwd else None,
            _ok_code=list(range(-signal.NSIG, 256)),
            _preexec_fn=partial(prepare_child, nice),
            _close_fds=True,
        )
    except OSError as error:
        raise MachineError(f"{argv[0]} cannot be started: {error.strerror}") from error
    except sh.ForkException as error:  # whatever failed in the child: a folder, an interpreter that is missing
        raise MachineError(f"{argv[0]} cannot be started: {str(error).strip().splitlines()[-1].strip()}") from error
