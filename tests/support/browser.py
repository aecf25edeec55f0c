"""Chromium without a window: shows a page of this machine without scripts, in light and dark, narrow and wide."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

SEEN = """
[...document.querySelectorAll(%r)].filter(element => {
  const box = element.getBoundingClientRect();
  return element.checkVisibility({visibilityProperty: true, opacityProperty: true}) && box.width > 0 && box.height > 0
    && box.left >= 0;
}).map(element => element.textContent)
"""
OVERFLOWING = """
[...document.querySelectorAll("body *")].filter(element =>
  element.checkVisibility() && !element.closest(".scroll *") && element.getBoundingClientRect().right > innerWidth
).map(element => element.outerHTML.slice(0, 200))
"""
CUT = """
[...document.querySelectorAll("pre.copy, td, p, h1, h2, h3, summary")].filter(element =>
  element.checkVisibility() && element.scrollWidth > element.clientWidth && element.clientWidth > 0
).map(element => element.outerHTML.slice(0, 200))
"""
WIDTHS = "[innerWidth, document.documentElement.scrollWidth]"
OPEN = "document.querySelectorAll('details').forEach(element => element.open = true)"


class Browser:
    """One tab, driven by the messages of the debugging protocol, each of which ends in a NUL."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers
        self._number = 0
        self._session = ""
        self._rest = b""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Page.enable")
        self._call("Emulation.setScriptExecutionDisabled", value=True)

    def show(self, page: Path, *, width: int, dark: bool) -> None:
        """Load a page into a window of that width."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = "dark" if dark else "light"
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._call("Page.navigate", url=page.as_uri())
        while self._read().get("method") != "Page.loadEventFired":
            pass

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page: it looks from outside, the page's own scripts stay off."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def photograph(self, file: Path | None = None) -> bytes:
        """The pixels of the window, three bytes each; also as a PNG file."""
        png = base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])
        if file:
            file.write_bytes(png)
        return read_pixels(png)

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._requests, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            pass
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            got = os.read(self._answers, 1 << 16)
            assert got, "Chromium has ended"
            self._rest += got
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


def see(browser: Browser, selector: str) -> list[str]:
    """The text of every element of that kind that takes room on the page."""
    found: list[str] = browser.ask(SEEN % selector)
    return found


@contextlib.contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Start Chromium with a profile of its own below folder; it ends with the block."""
    requests, answers = os.pipe(), os.pipe()
    # the protocol's pipes are 3 and 4; both are moved out of the way of each other first
    words = 'exec 8<&"$1" 9>&"$2"; shift 2; exec chromium "$@" 3<&8 4>&9 8<&- 9>&-'
    numbers = (str(requests[0]), str(answers[1]))
    argv = ["bash", "-c", words, "bash", *numbers, *_ARGUMENTS, f"--user-data-dir={folder}"]
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen(
            argv, pass_fds=(requests[0], answers[1]), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    os.close(requests[0])
    os.close(answers[1])
    try:
        yield Browser(requests[1], answers[0])
    finally:
        os.close(requests[1])  # the end of the pipe ends it
        os.close(answers[0])
        process.terminate()
        process.wait()


def read_pixels(png: bytes) -> bytes:
    """The pixels of a PNG with eight bits a channel, without its alpha."""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert (depth, kind) in ((8, 2), (8, 6))
    size = {2: 3, 6: 4}[kind]
    data, place = b"", 8
    while place < len(png):
        length, name = struct.unpack(">I4s", png[place : place + 8])
        data += png[place + 8 : place + 8 + length] if name == b"IDAT" else b""
        place += length + 12
    lines = zlib.decompress(data)
    before = bytearray(width * size)
    pixels = bytearray()
    for row in range(height):
        start = row * (width * size + 1)
        line = bytearray(lines[start + 1 : start + 1 + width * size])
        _undo(lines[start], line, before, size)
        before = line
        pixels += line if size == 3 else bytes(v for n, v in enumerate(line) if n % 4 != 3)
    return bytes(pixels)


def _undo(kind: int, line: bytearray, above: bytearray, size: int) -> None:
    """Undo the filter of one line of a PNG."""
    for place in range(len(line)) if kind else ():
        left = line[place - size] if place >= size else 0
        corner = above[place - size] if place >= size else 0
        up = above[place]
        if kind == 4:
            guess = left + up - corner
            _, _, best = min((abs(guess - value), order, value) for order, value in enumerate((left, up, corner)))
        else:
            best = {1: left, 2: up, 3: (left + up) // 2}[kind]
        line[place] = (line[place] + best) & 0xFF
