"""A copy of this process beside it: what it is told and answers, what it has not got, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from hapkg.repository.page_worker import open_twin

SOON = 20.0
"""Seconds."""


@pytest.fixture(autouse=True)
def _alone() -> None:
    wait_until(lambda: threading.active_count() == 1)  # a timer of an earlier test may be left for some seconds


def count(asked: IO[bytes]) -> bytes:
    return b",".join(line.strip() for line in asked)


def test_it_reads_lines_and_answers_once() -> None:
    with open_twin(count) as twin:
        assert twin
        twin.tell(b"one")
        twin.tell(b"two")
        assert twin.take() == b"one,two"


def test_a_long_answer_is_whole() -> None:
    with open_twin(lambda asked: asked.read() * 1_000_000) as twin:
        assert twin
        twin.tell(b"page")
        assert twin.take() == b"page\n" * 1_000_000


def test_one_that_fails_says_nothing_and_answers_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(asked: IO[bytes]) -> bytes:
        raise ValueError(asked.readline())

    with open_twin(fail) as twin:
        assert twin
        twin.tell(b"one")
        time.sleep(0.2)
        twin.tell(b"two")  # nobody reads it any more
        assert twin.take() == b""
    assert capfd.readouterr() == ("", "")


def test_it_has_no_file_of_its_maker_open(tmp_path: Path) -> None:
    def look(asked: IO[bytes]) -> bytes:
        links = [os.path.realpath(file) for file in Path("/proc/self/fd").iterdir() if int(file.name) > 2]
        return f"open: {[link for link in links if Path(link).is_file()]}".encode()

    with (tmp_path / "lock").open("w"), open_twin(look) as twin:
        assert twin
        assert twin.take() == b"open: []"


def test_it_ends_with_its_user_and_with_its_process(tmp_path: Path) -> None:
    program = (
        "import os, sys, time\n"
        "from hapkg.repository.page_worker import open_twin\n"
        "def wait(asked):\n"
        "    open(sys.argv[1], 'w').write(f'{os.getpid()}\\n')\n"
        "    time.sleep(600)\n"
        "with open_twin(wait):\n"
        "    sys.stdin.readline()\n"
    )
    for end in ("leave", "kill"):
        note = tmp_path / end
        with subprocess.Popen([sys.executable, "-c", program, str(note)], stdin=subprocess.PIPE) as process:
            wait_until(lambda note=note: note.exists() and note.read_text().endswith("\n"))  # type: ignore[misc]
            if end == "kill":
                process.kill()
            else:
                process.communicate(b"\n", timeout=SOON)
        twin = int(note.read_text())
        wait_until(lambda twin=twin: not is_alive(twin))  # type: ignore[misc]


def test_there_is_none_beside_other_threads() -> None:
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        with open_twin(count) as twin:
            assert twin is None
    finally:
        ended.set()
        thread.join()


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.01)
