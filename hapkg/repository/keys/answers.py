"""What gpg said of the public keys in hapkg's own gpg home: it need not be asked again while they are the same.

The answers lie beside the keys: who can write there could as well replace the keys.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hapkg.disk import replace
from hapkg.process import find_program

_FILE = "answers.json"
_MOMENT = 2
"""Seconds: gpg may have looked at its clock a little later than hapkg."""


def remember(home: Path, question: str, ask: Callable[[], bytes]) -> bytes:
    """The answer to a question about the public keys in home, asked when it is new, or may have another answer now.

    It may when the keys changed, when gpg did, or when the time came at which something in the answer begins or ends.
    """
    state = _describe(home)
    if not state:
        return ask()
    answers = _read(home, state)
    now = int(time.time())
    known = answers.get(question)
    if known and known["since"] <= now < known["until"]:
        return str(known["answer"]).encode("latin-1")
    answer = ask()
    if _describe(home) == state:
        answers[question] = {"since": now, "until": _find_end(answer, now), "answer": answer.decode("latin-1")}
        with contextlib.suppress(OSError):  # it is asked again then
            replace(home / _FILE, json.dumps({"state": state, "answers": answers}).encode())
    return answer


def _describe(home: Path) -> str:
    """What becomes another one when the public keys do, or the program that reads them; "" when it cannot be told."""
    try:
        program = Path(find_program("gpg") or "").stat()
        keys = hashlib.sha256((home / "pubring.kbx").read_bytes()).hexdigest()
    except OSError:
        return ""
    return f"{keys} {program.st_ino} {program.st_size} {program.st_mtime_ns}"


def _read(home: Path, state: str) -> dict[str, dict[str, Any]]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        table = json.loads((home / _FILE).read_bytes())
        if table["state"] == state:
            return dict(table["answers"])
    return {}


def _find_end(answer: bytes, now: int) -> int:
    """Until when an answer holds: a moment before a key, subkey or user id of a listing begins or ends to be valid.

    While that happens no answer holds. What is no listing holds for ever.
    """
    rows = re.findall(rb"^(?:pub|sec|sub|ssb|uid):[^:]*:[^:]*:[^:]*:[^:]*:(\d*):(\d*):", answer, re.M)
    times = (int(time) - _MOMENT for row in rows for time in row if time)
    return min((time for time in times if time > now - 2 * _MOMENT), default=1 << 62)
