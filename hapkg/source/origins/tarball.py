"""Files at an address: release tarballs, and patches of others."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from hapkg.errors import FetchError
from hapkg.programs import process
from hapkg.recipe.upstream import TarballOrigin, UrlPatch
from hapkg.source.origins.request import FINAL, MOST_BYTES, Request

TIMEOUT_SECONDS = 30
SLOW_SECONDS = 60
LEAST_BYTES = 1000
"""By the second, on average, once a download took SLOW_SECONDS: a server that sends less has no end, either."""


def fetch(origin: TarballOrigin | UrlPatch, request: Request) -> Path:
    """The file at the origin's address. Raises FetchError."""
    return download(origin.url, request.scratch / "download", most_bytes=request.most_bytes)


def download(url: str, target: Path, *, most_bytes: int = MOST_BYTES) -> Path:
    """Write what an address answers to a file, and give that file; FetchError if it does not answer whole."""
    response = _open(url, "GET")
    size = 0
    with response, target.open("wb") as file:
        for block in _read_blocks(response):
            size += file.write(block)
            if size > most_bytes:
                raise FetchError(f"the download is larger than {most_bytes:,} bytes", hint=FINAL)
        expected = response.headers.get("Content-Length", "")
    if expected.isdecimal() and size != int(expected):
        raise FetchError(f"the download was cut off: {size} of {expected} bytes")
    return target


def is_there(url: str) -> bool:
    """Ask whether an address still has something, without fetching it. Raises FetchError where nobody answers that."""
    try:
        _open(url, "HEAD").close()
    except FetchError as error:
        if re.search(r"answers (404|410) |No such file", error.brief):
            return False
        raise
    return True


def post(url: str, body: bytes, *, most_bytes: int) -> bytes:
    """The answer to a JSON document that is sent to an address. Raises FetchError."""
    with _open(url, "POST", body) as response:
        content = b""
        for block in _read_blocks(response):
            content += block
            if len(content) > most_bytes:
                raise FetchError(f"the answer is larger than {most_bytes:,} bytes", hint=FINAL)
    return content


def _open(url: str, method: str, body: bytes | None = None) -> Any:
    """The answer of an address. Raises FetchError."""
    import http.client  # noqa: PLC0415 - these three take longer than a plan that fetches nothing
    import urllib.error  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    class Redirects(urllib.request.HTTPRedirectHandler):
        """Follows no redirect that leaves https: nobody vouches for what comes from there."""

        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            if req.full_url.startswith("https:") and not newurl.startswith("https:"):
                raise FetchError(f"the server redirects to {newurl}, which is not protected", hint=FINAL)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    headers = {"User-Agent": "hapkg", **({"Content-Type": "application/json"} if body else {})}
    request = urllib.request.Request(url, headers=headers, method=method, data=body)
    try:
        return urllib.request.build_opener(Redirects).open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as cause:
        final = 400 <= cause.code < 500 and cause.code not in (408, 425, 429)
        raise FetchError(f"the server answers {cause.code} {cause.reason}", hint=FINAL if final else "") from cause
    except (OSError, http.client.HTTPException, ValueError) as cause:
        raise FetchError(f"cannot be reached: {getattr(cause, 'reason', cause)}") from cause


def _read_blocks(response: IO[bytes]) -> Iterator[bytes]:
    """The blocks that a server sends. The network's failures end here, so that only the disk's are the caller's."""
    import http.client  # noqa: PLC0415

    began, size = time.monotonic(), 0
    try:
        while block := response.read1(1 << 20):  # type: ignore[attr-defined] # what is there, and no wait for more
            process.check_stop()
            size += len(block)
            seconds = time.monotonic() - began
            if seconds > SLOW_SECONDS and size < seconds * LEAST_BYTES:
                raise FetchError(f"the server sends less than {LEAST_BYTES:,} bytes a second")
            yield block
    except (OSError, http.client.HTTPException) as cause:
        raise FetchError(f"the connection failed: {cause}") from cause
