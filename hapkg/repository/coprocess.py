"""Programs that are asked and answer, a line at a time: gpg's agent, rsync at another host, apt-ftparchive."""

from __future__ import annotations

import contextlib
import os
import select
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from hapkg.errors import ProcessError
from hapkg.programs.process import Result, check_stop, hold

_LONGEST = 1 << 16
"""Bytes of one line of an answer."""


class Conversation:
    """A running program that is asked and answers, a line at a time."""

    def __init__(self, process: Any, asked: IO[bytes], answers: IO[bytes], errors: IO[bytes]) -> None:
        self._process, self._asked, self._answers, self._errors = process, asked, answers, errors
        self._waiting = b""
        """Bytes that were read and not heard yet."""

    def tell(self, line: str) -> None:
        """Write one line. Raises ProcessError when the program has ended."""
        try:
            self._asked.write(line.encode() + b"\n")
            self._asked.flush()
        except OSError:
            self._fail()

    def hear(self, seconds: float | None = None) -> str:
        """The next line that the program writes.

        Raises ProcessError when it has ended, says nothing for so many seconds, or does not come to a line's end.
        """
        check_stop()
        deadline = None if seconds is None else time.monotonic() + seconds
        line = b""
        while not line.endswith(b"\n"):
            if not self._waiting and not select.select([self._answers], [], [], _left(deadline))[0]:
                raise ProcessError(f"no answer within {seconds:.0f} seconds")
            self._waiting = self._waiting or os.read(self._answers.fileno(), _LONGEST)
            if not self._waiting or len(line) > _LONGEST:
                self._fail()
            head, end, self._waiting = self._waiting.partition(b"\n")
            line += head + end
        return line.decode("utf-8", "replace").rstrip("\n")

    def finish(self) -> Result:
        """Wait for its end and return what it wrote. Raises Interrupted when hapkg is being stopped."""
        said = self._waiting + self._answers.read()
        status = self._process.wait()
        check_stop()
        self._errors.seek(0)
        output = (said + self._errors.read()).decode("utf-8", "replace")
        return Result(argv=tuple(self._process.args), status=status, output=output)

    def _fail(self) -> NoReturn:
        check_stop()
        with contextlib.suppress(Exception):  # what it says of its end comes before its end
            self._process.wait(timeout=1)
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").splitlines()
        raise ProcessError("the program ended before its work was done", details=said[-12:])


@contextlib.contextmanager
def converse(
    argv: Sequence[str], *, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Conversation]:
    """Run one process for as long as the caller talks to it; then its input ends, and it has a time to end as well.

    It is ended at once where the caller fails or is stopped.
    """
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile())
        (their_input, our_output), (our_input, their_output) = os.pipe(), os.pipe()
        answers = stack.enter_context(os.fdopen(our_input, "rb"))
        asked = os.fdopen(our_output, "wb")
        stack.callback(_close, asked)
        with os.fdopen(their_input, "rb") as theirs, os.fdopen(their_output, "wb") as back:
            held = hold(argv, stdin=theirs, stdout=back, stderr=errors, environment=environment, cwd=cwd)
            process = stack.enter_context(held)
        stack.callback(_close, asked)  # before it is waited for
        yield Conversation(process, asked, answers, errors)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _close(stream: IO[bytes]) -> None:
    with contextlib.suppress(OSError):  # what was not read any more
        stream.close()
