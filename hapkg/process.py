"""The one door through which processes run.

Every process gets an environment made from nothing, no terminal, its own session, and dies with hapkg. Output goes to
a file (a log, or a temporary one that is read back): `sh` is slow with callbacks and cuts its messages at 750 bytes.
What works into a log or stays is started by `sh`, which is imported here alone and only then; what is asked and answers
by the library that Python has: docs/decisions/0010-short-processes.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from hapkg.errors import Interrupted, MachineError, ProcessError
from hapkg.sudo import check_refusal, goes_through_sudo

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for: an ordinary user's PATH often lacks sbin."""
NICE = 10
"""The nice value of work that leaves the processor to others who want it."""
GRACE_SECONDS = 10.0
"""How long a process may take to end by itself."""
STOP_SECONDS = 2.0
"""How long a process may take to end after SIGTERM before it gets SIGKILL, when hapkg is being stopped."""

_FIRST_WORDS = 4096
"""Bytes of an output in which sudo says that it starts nothing."""
_NOT_STARTED = 127
"""Exit status of a program that starts another, and could not."""
_PR_SET_PDEATHSIG = 1
_DYING = ("/usr/bin/setpriv", "--pdeathsig", "KILL")
libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: dlopen is not safe between fork and exec

_running: dict[int, Any] = {}
_running_lock = threading.Lock()
_stopping = threading.Event()
_cleanups = 0
"""Processes that run to clean up."""
_observer: Callable[[Sequence[str]], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """Result of a process: its exit status (negative: the signal that ended it) and its captured output."""

    argv: tuple[str, ...]
    status: int
    output: str


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


def observe(observer: Callable[[Sequence[str]], None] | None) -> None:
    """Name who is told of each program as it is started, by any thread; None: nobody."""
    global _observer  # noqa: PLW0603 - it is of the whole process, as signals are
    _observer = observer


def _find(argv: Sequence[str]) -> str:
    """The path of a program that is about to be started. Raises MachineError when it is missing."""
    program = find_program(argv[0])
    if program is None:
        raise MachineError(f"the program {argv[0]} is not installed", hint="run: hapkg doctor")
    if _observer is not None:
        _observer(argv)
    return program


def privileged(argv: Sequence[str]) -> list[str]:
    """A command as root: unchanged for root, through sudo for everybody else."""
    return list(argv) if os.geteuid() == 0 else ["sudo", "-n", "--", *argv]


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    log: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
    check: bool = True,
    cleanup: bool = False,
    nice: int = 0,
) -> Result:
    """Run one process to its end.

    log receives both output streams; stdout, when given, receives standard output alone (binary data). Without either
    the output is captured (both streams) and returned. With check, a status other than 0 is a ProcessError that quotes
    the tail of the output and the command to repeat. A process marked as cleanup runs even while hapkg stops.
    nice is added to the process's nice value, and is that of its session (sched(7), autogroup).

    Raises MachineError when the program is missing or sudo does not start it, Interrupted when hapkg is being stopped.
    """
    if not cleanup:
        check_stop()
    program = _find(argv)
    through_sudo = goes_through_sudo(argv)
    began = os.fstat(log.fileno()).st_size if log is not None and through_sudo else 0
    with contextlib.ExitStack() as stack:
        captured = stack.enter_context(tempfile.TemporaryFile()) if log is None else log
        null = stack.enter_context(Path(os.devnull).open("rb"))
        start = _ask if log is None else _start
        process = start(program, argv, stdin or null, stdout or captured, captured, environment, cwd, nice)
        status = _wait(process, cleanup=cleanup)
        output = ""
        if log is None:
            captured.seek(0)
            output = captured.read().decode("utf-8", "replace")
    if not cleanup:
        check_stop()
    if status == _NOT_STARTED and output.startswith("setpriv: failed to execute"):
        raise MachineError(f"{argv[0]} cannot be started: {output.partition(': ')[2].strip()}")
    result = Result(argv=tuple(argv), status=status, output=output)
    if check and status != 0:
        if through_sudo:
            check_refusal(output if log is None else _read_first_words(log, began))
        raise ProcessError(
            f"{Path(argv[0]).name} failed with {describe_status(status)}",
            details=(*output.splitlines()[-12:], f"command: {shlex.join(argv)}"),
        )
    return result


def _read_first_words(log: IO[bytes], began: int) -> str:
    """The first words that a program wrote into a log, which may be open for writing alone."""
    with Path(f"/proc/self/fd/{log.fileno()}").open("rb") as file:
        file.seek(began)
        return file.read(_FIRST_WORDS).decode("utf-8", "replace")


def attach(argv: Sequence[str]) -> int:
    """Run one process on hapkg's own streams, a terminal perhaps, to its end; its exit status.

    Ctrl-C is meant for the process: hapkg does not heed it meanwhile. Raises MachineError when the program is missing,
    Interrupted when hapkg is being stopped.
    """
    check_stop()
    program = _find(argv)
    before = signal.signal(signal.SIGINT, lambda *_: None)  # not ignored: the process would be born deaf to it
    try:
        with subprocess.Popen([program, *argv[1:]], env=make_environment()) as process:
            try:
                return process.wait()
            except BaseException:
                process.terminate()
                raise
    finally:
        signal.signal(signal.SIGINT, before)


class Process:
    """A running process that its caller does not wait for: a machine. It dies with hapkg, as every other one does.

    The handle is the kernel's (pidfd), so that a number that another process got meanwhile is never meant.
    Start it in a thread that lives on: the kernel takes the end of that thread for the end of hapkg.
    """

    def __init__(self, argv: Sequence[str], log: IO[bytes]) -> None:
        check_stop()
        program = _find(argv)
        self.argv = tuple(argv)
        with Path(os.devnull).open("rb") as null:
            self._process = _start(program, argv, null, log, log, None)
        self._handle = os.pidfd_open(self._process.pid)
        self._lock = threading.Lock()
        with _running_lock:
            _running[self._process.pid] = self._process

    @property
    def pid(self) -> int:
        """Its number."""
        return int(self._process.pid)

    @property
    def alive(self) -> bool:
        """True while it runs; one that ended and was not waited for does not."""
        with self._lock:
            if self._handle < 0:
                return False
            if select.select([self._handle], [], [], 0)[0]:
                self._forget()
                return False
            return True

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._handle >= 0:
                signal.pidfd_send_signal(self._handle, number)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; return False when it still runs after so many seconds."""
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True

    def kill(self) -> None:
        """End it at once, and return when it is gone."""
        self.send(signal.SIGKILL)
        self.wait(GRACE_SECONDS)

    def _forget(self) -> None:
        with _running_lock:
            _running.pop(self._process.pid, None)
        with contextlib.suppress(Exception):
            self._process.wait(timeout=GRACE_SECONDS)
        os.close(self._handle)
        self._handle = -1


def describe_status(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exit status {status}"
    named = -status in set(signal.Signals)
    return f"signal {signal.Signals(-status).name if named else -status}"


@contextlib.contextmanager
def hold(
    argv: Sequence[str],
    *,
    stdin: IO[bytes],
    stdout: IO[bytes],
    stderr: IO[bytes],
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """One process for as long as the caller needs it; then it has a time to end by itself.

    It has none where the caller fails or is stopped: nobody waits for a program that may say nothing for ever.
    """
    check_stop()
    program = _find(argv)
    process = _ask(program, argv, stdin, stdout, stderr, environment, cwd)
    with _running_lock:
        _running[process.pid] = process
    grace = GRACE_SECONDS
    try:
        yield process
    except BaseException:
        _signal_group(process, signal.SIGTERM)
        grace = STOP_SECONDS
        raise
    finally:
        with contextlib.suppress(Exception):
            process.wait(timeout=grace)
        if process.poll() is None:
            _signal_group(process, signal.SIGKILL)
            with contextlib.suppress(Exception):
                process.wait()
        with _running_lock:
            _running.pop(process.pid, None)


def stop_all() -> None:
    """End every running process of hapkg and refuse new ones: TERM to its session, KILL after a grace period."""
    _stopping.set()
    with _running_lock:
        processes = list(_running.values())
    _end(processes)


def check_stop() -> None:
    """Raise Interrupted while hapkg is being stopped: for work that is no process."""
    if _stopping.is_set():
        raise Interrupted("stopped on request")


def is_busy() -> bool:
    """Tell whether any process of hapkg runs, those that clean up included."""
    with _running_lock:
        return bool(_running) or _cleanups > 0


def reset() -> None:
    """Accept processes again after stop_all(), for a caller that lives on."""
    _stopping.clear()


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


def _ask(
    program: str,
    argv: Sequence[str],
    stdin: IO[bytes],
    stdout: IO[bytes],
    stderr: IO[bytes],
    environment: Mapping[str, str] | None,
    cwd: Path | None = None,
    nice: int = 0,
) -> subprocess.Popen[bytes]:
    """_start() for a process of a moment: no sh, which takes longer to be imported than such a process to end.

    No Python runs between fork and exec either, so that the child need not be a copy of this process, which takes as
    long to make; setpriv asks the kernel for its death instead.
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


def _start(
    program: str,
    argv: Sequence[str],
    stdin: IO[bytes],
    stdout: IO[bytes],
    stderr: IO[bytes],
    environment: Mapping[str, str] | None,
    cwd: Path | None = None,
    nice: int = 0,
) -> Any:
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


def _wait(process: Any, *, cleanup: bool) -> int:
    global _cleanups  # noqa: PLW0603 - a count beside the table of the others
    with _running_lock:
        if cleanup:
            _cleanups += 1
        else:
            _running[process.pid] = process
    if _stopping.is_set() and not cleanup:  # stop_all() may have looked before the process was entered
        _end([process])
    try:
        process.wait()
    except BaseException:
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(Exception):
            process.wait(timeout=STOP_SECONDS)
        _signal_group(process, signal.SIGKILL)
        raise
    finally:
        with _running_lock:
            if cleanup:
                _cleanups -= 1
            else:
                _running.pop(process.pid, None)
    return int(process.returncode if isinstance(process, subprocess.Popen) else process.exit_code)


def _end(processes: Sequence[Any]) -> None:
    for process in processes:
        _signal_group(process, signal.SIGTERM)
    timer = threading.Timer(STOP_SECONDS, _kill_all, [processes])
    timer.daemon = True
    timer.start()


def _kill_all(processes: Sequence[Any]) -> None:
    """Kill what is left. A group whose leader has ended keeps its id while it has members; once it has none, the id may
    be a stranger's, who then leads it."""
    for process in processes:
        with _running_lock:
            known = _running.get(process.pid) is process
        if known or not Path(f"/proc/{process.pid}").exists():
            _signal_group(process, signal.SIGKILL)


def _signal_group(process: Any, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
