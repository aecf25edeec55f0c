"""Service of the host for its guests, over HTTP on a socket file: the published repository and the power switch.

    GET  /repository/PATH        a file of the repository
    GET  /power/NAME             on or off
    POST /power/NAME/off         kill the machine; the answer comes when its process is gone

The file lies in a folder of this user alone, and nothing listens on a port.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import unquote


class Switched(Protocol):
    """Something with a plug."""

    @property
    def alive(self) -> bool: ...

    def power_off(self) -> None: ...


@dataclass
class GuestService:
    """The service while it runs: a context."""

    path: Path
    repository: Path
    machines: dict[str, Switched] = field(default_factory=dict)
    switched: list[tuple[float, str, str]] = field(default_factory=list)
    """When (monotonic) which machine was asked to be off, and what came of it."""

    def __enter__(self) -> Self:
        handler: Callable[..., Any] = functools.partial(_Handler, self)
        self._server = _Server(str(self.path), handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def switch_off(self, name: str) -> bool:
        """Switch a machine off; return True when its process is gone."""
        machine = self.machines[name]
        before = machine.alive
        machine.power_off()
        off = not machine.alive
        told = ("killed" if before else "was off already") if off else "still runs"
        self.switched.append((time.monotonic(), name, told))
        return off


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A guest that is switched off leaves its connections broken: that is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, service: GuestService, *arguments: Any) -> None:
        self.service = service
        super().__init__(*arguments)

    def do_GET(self) -> None:
        kind, _, rest = unquote(self.path).lstrip("/").partition("/")
        if kind == "repository":
            self._send_file(rest)
        elif kind == "power" and rest in self.service.machines:
            self._send("on\n" if self.service.machines[rest].alive else "off\n")
        elif kind == "power" and not rest:
            self._send("".join(f"{name}\n" for name in self.service.machines))
        else:
            self._send("there is no such thing\n", 404)

    def do_POST(self) -> None:
        words = unquote(self.path).strip("/").split("/")
        if len(words) == 3 and words[0] == "power" and words[2] == "off" and words[1] in self.service.machines:
            done = self.service.switch_off(words[1])
            self._send("off\n" if done else "on\n", 200 if done else 500)
        else:
            self._send("there is no such thing\n", 404)

    def address_string(self) -> str:
        return "guest"

    def log_message(self, format: str, *args: object) -> None:
        """Drop it: standard error shows the progress of the proof."""

    def _send(self, text: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def _send_file(self, path: str) -> None:
        root = self.service.repository.resolve()
        file = (root / path).resolve()
        if root not in file.parents or not file.is_file():
            self._send("there is no such file\n", 404)
            return
        with file.open("rb") as opened:
            self.send_response(200)
            self.send_header("Content-Length", str(os.fstat(opened.fileno()).st_size))
            self.end_headers()
            shutil.copyfileobj(opened, self.wfile)
