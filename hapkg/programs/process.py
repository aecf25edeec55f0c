"""The one door through which processes run.

Every process gets an environment made from nothing, no terminal, its own session, and dies with hapkg. Output goes to
a file (a log, or a temporary one that is read back): `sh` is slow with callbacks and cuts its messages at 750 bytes.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hapkg.errors import Interrupted, MachineError, ProcessError
from hapkg.programs.launch import find_program, make_environment, start_long, start_short
from hapkg.programs.sudo import check_refusal, goes_through_sudo

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
        start = start_short if log is None else start_long
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
            self._process = start_long(program, argv, null, log, log, None)
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
    process = start_short(program, argv, stdin, stdout, stderr, environment, cwd)
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
