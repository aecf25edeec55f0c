"""How a process of hapkg lives: for a moment most often, so that it leaves out what only a long life repays."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
from typing import NoReturn

_SELDOM = 100_000
"""Objects made, less those gone, until garbage that refers to itself is looked for; Python's own value is 700."""


def begin() -> None:
    """To be called before most modules are imported: these make many objects, and none is garbage."""
    gc.set_threshold(_SELDOM)


def end(status: int) -> NoReturn:
    """Leave with an exit status, once what was printed is written.

    Python would free every object first, which takes a tenth of a short command. While other
    threads work, it still does.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # whoever read it is gone, or its disk is full
            status = status or 1
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if threading.active_count() == 1:
        os._exit(status)
    sys.exit(status)
