"""A build cache in a folder of a host that ssh reaches.

Each act is a short command of the host's own programs; ssh carries them all through one connection, and ends that by
itself when nobody needed it for a while. The host is not trusted: what it sends has an end, in bytes and in time, and
what it lists is checked by name.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import select
import shlex
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NoReturn

from hapkg.disk import sha256_file
from hapkg.errors import FetchError
from hapkg.programs.process import check_stop, hold
from hapkg.repository.paths import is_inside
from hapkg.repository.remote.location import HostFolder
from hapkg.repository.remote.login import find_login

_BLOCK = 1 << 16
_AT_ONCE = 8
"""Commands that run in one connection: sshd takes ten."""
_STAY_SECONDS = 15
"""Time that an idle connection waits for the next command."""
_SILENT_SECONDS = 90
"""A host that works on a command has said something by then."""
_LEAST_BYTES = 1000
"""By the second, on average: a host that sends less, or takes less, has no end, either."""
_MOST_GREETINGS = 64 << 10
"""Bytes that a login shell may print of its own accord."""
_MOST_LISTED = 256 << 20
"""Bytes of a list of files: a million of them have fewer."""
_ERROR_LINES = 5
_FAULTS = {
    "closed": "lies in a folder that cannot be entered",
    "cut": "did not come whole to the host",
    "irregular": "is no regular file",
    "link": "is a symbolic link, or lies in one",
}
"""Answers of the scripts below, in words."""
_ROW = re.compile(r"([0-9]{1,12}(?:\.[0-9]*)?) (.+)", re.DOTALL)

# $1: the folder, $2: a word that nobody else can know, $3: the path. A link on the way is somebody else's work.
_BEGIN = """\
say() { printf '%s %s\\n' "$word" "$1"; }
root=$1 word=$2 path=$3
cd -- "$root" 2>/dev/null || { [ -e "$root" ] && say closed || say absent; exit; }
way=$path
while :; do
    [ ! -L "$way" ] || { say "link $way"; exit; }
    case $way in */*) way=${way%/*} ;; *) break ;; esac
done
"""
_READ = """\
[ -e "$path" ] || { say absent; exit; }
[ -f "$path" ] || { say irregular; exit; }
exec <"$path" || exit
say done; exec head -c "$4"
"""
_HOLDS = """\
holds() { [ -f "$path" ] && [ "$(wc -c <"$path")" -eq "$2" ] && [ "$(sha256sum <"$path")" = "$1  -" ]; }
"""
_ASK = f"""\
{_HOLDS}holds "$4" "$5" || {{ say absent; exit; }}
say done
"""
_WRITE = f"""\
{_HOLDS}if holds "$4" "$5"; then touch -c -- "$path" && say done; exit; fi
new=$path.new-$word
case $path in */*) mkdir -p -- "${{path%/*}}" || exit ;; esac
trap 'rm -f -- "$new"' EXIT
dd bs=64k conv=fsync,excl oflag=nofollow status=none of="$new" || exit
[ "$(sha256sum <"$new")" = "$4  -" ] || {{ say "cut off"; exit; }}
mv -fT -- "$new" "$path" && sync -- "${{path%/*}}" && say done
"""
_LIST = """\
[ -d "$path" ] || { say absent; exit; }
say done; exec find -P "$path" -type f -printf '%T@ %p\\0'
"""
_TOUCH = 'touch -ch -- "$path" && say done\n'
_REMOVE = 'rm -f -- "$path" && say done\n'


class HostPlace:
    """A WritablePlace over ssh."""

    def __init__(self, location: HostFolder) -> None:
        self._location = location
        self._login = find_login(location)
        self._connection = f"/tmp/hapkg-ssh-{secrets.token_hex(8)}"  # nobody else can know it and be there before
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def __str__(self) -> str:
        return str(self._location)

    def read(self, path: str, target: Path, most_bytes: int) -> bool:
        """See Place."""
        with target.open("wb") as copy:
            return self._ask(_READ, path, str(most_bytes + 1), copy=copy, most_bytes=most_bytes) == "done"

    def write(self, path: str, file: Path) -> None:
        """See WritablePlace."""
        digest, size = sha256_file(file), file.stat().st_size
        with file.open("rb") as content:
            self._ask(_WRITE, path, digest, str(size), stdin=content, more_seconds=size / _LEAST_BYTES, make=True)

    def holds(self, path: str, sha256: str, size: int) -> bool:
        """See WritablePlace. The host reads the file."""
        return self._ask(_ASK, path, sha256, str(size), more_seconds=size / _LEAST_BYTES) == "done"

    def list(self, folder: str) -> Iterator[tuple[str, float]]:
        """See WritablePlace. Files of names that hapkg never gives are nobody's business."""
        with tempfile.TemporaryFile() as copy:
            self._ask(_LIST, folder, copy=copy, most_bytes=_MOST_LISTED)
            copy.seek(0)
            rows = copy.read().decode("utf-8", "replace").split("\0")
        for match in filter(None, map(_ROW.fullmatch, rows)):
            if match[2].startswith(f"{folder}/") and is_inside(match[2]):
                yield match[2], float(match[1])

    def touch(self, path: str) -> None:
        """See WritablePlace."""
        self._ask(_TOUCH, path)

    def remove(self, path: str) -> None:
        """See WritablePlace."""
        self._ask(_REMOVE, path)

    def _ask(
        self,
        script: str,
        path: str,
        *words: str,
        stdin: IO[bytes] | None = None,
        copy: IO[bytes] | None = None,
        most_bytes: int = 0,
        more_seconds: float = 0,
        make: bool = False,
    ) -> str:
        """Have the host run a script; its answer: "done", or a word about why not.

        What follows the answer goes into a copy. more_seconds are added to those that it may be silent.
        Raises FetchError.
        """
        word = secrets.token_hex(8)
        begin = f'mkdir -p -- "$1" || exit\n{_BEGIN}' if make else _BEGIN
        command = shlex.join(["sh", "-c", begin + script, "hapkg", self._location.path, word, path, *words])
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._turns)
            errors = stack.enter_context(tempfile.TemporaryFile())
            nothing = stack.enter_context(Path(os.devnull).open("rb"))
            reading, writing = os.pipe()
            answers = stack.enter_context(os.fdopen(reading, "rb", buffering=0))
            with contextlib.ExitStack() as inner:
                with os.fdopen(writing, "wb") as theirs:
                    held = hold(
                        self._make_argv(command),
                        stdin=stdin or nothing,
                        stdout=theirs,
                        stderr=errors,
                        environment=self._login.environment,
                    )
                    process = inner.enter_context(held)
                blocks = self._read_blocks(answers.fileno(), more_seconds)
                answer, rest = _find_answer(blocks, word.encode())
                if len(rest) > _MOST_GREETINGS and answer is None:
                    self._fail(errors, rest)
                if answer == "done" and copy is not None:
                    self._copy(itertools.chain((rest,), blocks), copy, path, most_bytes)
            if answer is None or process.returncode != 0:
                self._fail(errors, b"" if answer else rest)
        if answer in ("done", "absent"):
            return answer
        raise FetchError(f"{path} of {self} {_FAULTS.get(answer.partition(' ')[0], 'cannot be used')}")

    def _copy(self, blocks: Iterable[bytes], copy: IO[bytes], path: str, most_bytes: int) -> None:
        size = 0
        for block in blocks:
            size += len(block)
            if size > most_bytes:
                raise FetchError(f"{path} of {self} has more than {most_bytes:,} bytes")
            copy.write(block)

    def _read_blocks(self, descriptor: int, more_seconds: float) -> Iterator[bytes]:
        """The blocks that the host sends."""
        began, size, quiet = time.monotonic(), 0, _SILENT_SECONDS + more_seconds
        while True:
            check_stop()
            if not select.select([descriptor], [], [], quiet)[0]:
                raise FetchError(f"{self} says nothing for {quiet:.0f} seconds")
            if not (block := os.read(descriptor, _BLOCK)):
                return
            size += len(block)
            if (seconds := time.monotonic() - began) > quiet and size < seconds * _LEAST_BYTES:
                raise FetchError(f"{self} sends less than {_LEAST_BYTES:,} bytes a second")
            yield block

    def _fail(self, errors: IO[bytes], said: bytes) -> NoReturn:
        check_stop()
        errors.seek(0)
        lines = (errors.read(_MOST_GREETINGS) + said).decode("utf-8", "replace").splitlines()
        told = [line for line in lines if line.strip()][-_ERROR_LINES:]
        cause = f": {told[-1].strip()}" if told else ""
        raise FetchError(
            f"{self} cannot be reached or used{cause}",
            details=told[:-1],
            hint=self._login.give_hint("sha256sum --version"),
        )

    def _make_argv(self, command: str) -> tuple[str, ...]:
        options = (
            "ConnectTimeout=30",
            "ServerAliveInterval=15",
            "ControlMaster=auto",
            f"ControlPersist={_STAY_SECONDS}",
            f"ControlPath={self._connection}",
        )
        settings = (word for option in options for word in ("-o", option))
        return (*self._login.batch, *settings, "--", self._location.host, command)


def _find_answer(blocks: Iterator[bytes], word: bytes) -> tuple[str | None, bytes]:
    """The answer behind our word, and what was read after it; None, and all that was said, where there is none."""
    said = b""
    for block in blocks:
        said += block
        _, found, rest = said.partition(word + b" ")
        answer, ended, more = rest.partition(b"\n")
        if found and ended:
            return answer.decode("utf-8", "replace"), more
        if len(said) > _MOST_GREETINGS:
            break
    return None, said
