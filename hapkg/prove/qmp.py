"""QEMU's JSON: the guest agent runs commands inside a machine, the monitor (QMP) pulls its cables and disks.

Both are sockets of the host: no network, no keys, no terminal.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hapkg.errors import ProofError
from hapkg.programs.process import check_stop

_MONITOR_SECONDS = 20.0


class AgentSilent(Exception):  # noqa: N818 - a state of the machine, told on by whoever asked
    """The machine did not answer in time, or its agent said no."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Result of a command inside a machine."""

    status: int
    """Its exit status; 128 and more: the signal that ended it."""
    output: str
    """Both streams."""


class GuestAgent:
    """The agent of one machine. Threads may share it: commands run side by side, messages do not mix."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._buffer = b""

    def answers(self) -> bool:
        """Tell whether the agent answers within two seconds."""
        try:
            self._ask("guest-ping", time.monotonic() + 2)
        except AgentSilent:
            return False
        return True

    def run(self, script: str, *, seconds: float, stdin: bytes = b"") -> Answer:
        """Run a shell script to its end. Raises AgentSilent when the end does not come in so many seconds."""
        deadline = time.monotonic() + seconds
        arguments: dict[str, Any] = {"path": "/bin/sh", "arg": ["-c", f"exec 2>&1\n{script}"], "capture-output": True}
        arguments["input-data"] = base64.b64encode(stdin).decode()
        pid = self._ask("guest-exec", deadline, **arguments)["pid"]
        pause = 0.05
        while True:
            state = self._ask("guest-exec-status", deadline, pid=pid)
            if state["exited"]:
                break
            if time.monotonic() > deadline:
                raise AgentSilent(f"a command did not end in {seconds:.0f} s")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        output = base64.b64decode(state.get("out-data", "")).decode("utf-8", "replace")
        status = int(state["exitcode"]) if "exitcode" in state else 128 + int(state.get("signal", 0))
        return Answer(status=status, output=output)

    def _ask(self, execute: str, deadline: float, **arguments: Any) -> Any:
        check_stop()
        with self._lock, self._connect(deadline) as channel:
            self._send(channel, "guest-sync-delimited", {"id": (mark := time.monotonic_ns() % (1 << 53))})
            self._read_until(channel, b"\xff", deadline)
            while self._read_answer(channel, deadline) != mark:
                self._read_until(channel, b"\xff", deadline)
            self._send(channel, execute, arguments)
            return self._read_answer(channel, deadline)

    @contextlib.contextmanager
    def _connect(self, deadline: float) -> Iterator[socket.socket]:
        """A connection for one question: whatever an earlier one left behind is gone with its connection."""
        self._buffer = b""
        with socket.socket(socket.AF_UNIX) as channel:
            try:
                channel.settimeout(max(0.1, deadline - time.monotonic()))
                channel.connect(str(self._path))
                yield channel
            except OSError as error:
                raise AgentSilent(f"the guest agent does not answer: {error or type(error).__name__}") from error

    def _send(self, channel: socket.socket, execute: str, arguments: dict[str, Any]) -> None:
        message = json.dumps({"execute": execute, "arguments": arguments}).encode()
        channel.sendall((b"\xff" if execute == "guest-sync-delimited" else b"") + message + b"\n")

    def _read_until(self, channel: socket.socket, mark: bytes, deadline: float) -> bytes:
        while mark not in self._buffer:
            check_stop()
            channel.settimeout(max(0.1, min(1.0, deadline - time.monotonic())))
            try:
                received = channel.recv(65536)
            except TimeoutError:
                received = None
            if received == b"":
                raise AgentSilent("the machine is gone")
            if received is None and time.monotonic() > deadline:
                raise AgentSilent("the guest agent does not answer")
            self._buffer += received or b""
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _read_answer(self, channel: socket.socket, deadline: float) -> Any:
        answer = json.loads(self._read_until(channel, b"\n", deadline))
        if "error" in answer:
            raise AgentSilent(f"the guest agent refuses: {answer['error'].get('desc', answer['error'])}")
        return answer["return"]


def tell_monitor(path: Path, execute: str, **arguments: Any) -> Any:
    """Run one command of QEMU's monitor and return its result. Raises ProofError when it refuses or does not answer."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(_MONITOR_SECONDS)
        try:
            channel.connect(str(path))
            stream = channel.makefile("rwb")
            stream.readline()  # its greeting
            for name, values in (("qmp_capabilities", {}), (execute, arguments)):
                stream.write(json.dumps({"execute": name, "arguments": values}).encode() + b"\n")
                stream.flush()
                answer = json.loads(stream.readline())
                while "event" in answer:
                    answer = json.loads(stream.readline())
                if "error" in answer:
                    raise ProofError(f"QEMU refuses {name}: {answer['error'].get('desc')}")
        except (OSError, ValueError) as error:
            raise ProofError(f"QEMU's monitor does not answer {execute}: {error}") from error
    return answer["return"]
