"""A copy of this process that works beside it: for what keeps Python itself busy, where threads only take turns.

docs/decisions/0016-a-twin-draws-the-page.md says why.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import IO, NoReturn

from hapkg.process import prepare_child


class Twin:
    """The running copy. It is told lines, and gives one answer, which is empty when it could not do its work."""

    def __init__(self, asked: IO[bytes], answers: IO[bytes]) -> None:
        self._asked, self._answers = asked, answers

    def tell(self, line: bytes) -> None:
        """Write a line, which it reads when it comes to it."""
        with contextlib.suppress(BrokenPipeError):  # it has failed, and take() will say so
            self._asked.write(line + b"\n")
            self._asked.flush()

    def take(self) -> bytes:
        """Its answer, when that is ready."""
        with contextlib.suppress(BrokenPipeError):
            self._asked.close()
        return self._answers.read()


@contextlib.contextmanager
def open_twin(work: Callable[[IO[bytes]], bytes]) -> Iterator[Twin | None]:
    """Let a copy of this process do a work, which reads lines and returns an answer; it ends when the caller is done.

    The copy has no file of this process open but its own pipes. Open it before taking a lock, so that it never holds
    one. None where other threads run: locks that they hold would stay locked in a copy.
    """
    if threading.active_count() > 1:
        yield None
        return
    (their_input, our_output), (our_input, their_output) = os.pipe(), os.pipe()
    process = os.fork()
    if process == 0:
        _live(work, their_input, their_output)
    os.close(their_input)
    os.close(their_output)
    with os.fdopen(our_output, "wb") as asked, os.fdopen(our_input, "rb") as answers:
        try:
            yield Twin(asked, answers)
        finally:
            os.kill(process, signal.SIGKILL)  # not waited for yet, so that the number is still its own
            os.waitpid(process, 0)
            with contextlib.suppress(BrokenPipeError):
                asked.close()


def _live(work: Callable[[IO[bytes]], bytes], given: int, taken: int) -> NoReturn:
    """The life of a twin: silent, and without any of what this process does when it ends."""
    try:
        prepare_child()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        first, last = sorted((given, taken))
        for start, end in ((3, first), (first + 1, last), (last + 1, os.sysconf("SC_OPEN_MAX"))):
            os.closerange(start, end)
        with os.fdopen(given, "rb") as asked, os.fdopen(taken, "wb") as answers:
            answers.write(work(asked))
    finally:
        os._exit(0)
