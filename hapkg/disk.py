"""Writes that last: whole or not at all, on the disk when the call returns, readable for everybody, one at a time.

`move`, `write` and the like wait for the disk each by itself. A `Batch` has the same methods and waits once for all of
them: docs/decisions/0014-few-waits.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from hapkg.errors import BusyError

T = TypeVar("T")
_WORKERS = 4
"""Threads that copy or sync many files."""


def sha256_file(file: Path | str) -> str:
    """SHA256 of a file's content, in hexadecimal digits. Raises OSError."""
    with open(file, "rb", buffering=0) as opened:  # noqa: PTH123 - of every package
        return hashlib.file_digest(opened, "sha256").hexdigest()


class Batch:
    """Writes and renames that share one wait for the disk, at the end of a `with` block that did not fail.

    A file that is moved within the block is waited for before; the order in which the rest reaches the disk is open.
    Methods raise OSError.
    """

    def __init__(self) -> None:
        self._pending: dict[Path, None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            self.sync()

    def add(self, paths: Iterable[Path]) -> None:
        """Wait for files, or folders' lists of names, that somebody else changed, too."""
        self._pending.update(dict.fromkeys(paths))

    def sync(self) -> None:
        """Wait now for everything so far."""
        paths = list(self._pending)
        self._pending.clear()
        work_on_all(sync, paths)

    def make_folder(self, folder: Path) -> None:
        """Make a folder with its parents where they are missing, mode 0755 whatever the umask says."""
        self.add(_add_folder(folder))

    def write(self, file: Path, content: bytes) -> None:
        """Write a file that nobody reads yet."""
        self.make_folder(file.parent)
        file.write_bytes(content)
        self.settle(file)

    def settle(self, file: Path) -> None:
        """Make a file that another program wrote readable and lasting."""
        file.chmod(0o644)
        self.add([file])

    def copy(self, copies: Mapping[Path, Path]) -> None:
        """Copy files, sources by target, under names that nobody reads yet. Never links: an original may change later.

        Several are copied side by side, for making a file or a folder takes longest.
        """

        def copy_one(target: Path) -> None:
            changed.update((target.parent, *_add_folder(target.parent)))
            shutil.copyfile(copies[target], target)
            target.chmod(0o644)

        changed: set[Path] = set()
        work_on_all(copy_one, list(copies))
        self.add((*copies, *changed))

    def move(self, moves: Mapping[Path, Path]) -> None:
        """Rename files or folders, targets by source, each at once and within one file system."""
        if not moves.keys().isdisjoint(self._pending):
            self.sync()
        for source, target in moves.items():
            self.add({target.parent, *_add_folder(target.parent)})
            source.replace(target)

    def replace(self, contents: Mapping[Path, bytes]) -> None:
        """Give files other content, each at once; those that have it already are not touched."""
        changes = {file: content for file, content in contents.items() if not _has_content(file, content)}
        new = {file.with_name(f".{file.name}.new"): file for file in changes}
        for temporary, file in new.items():
            self.write(temporary, changes[file])
        self.move(new)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Do `Batch.make_folder` and wait for the disk."""
    with Batch() as batch:
        batch.make_folder(folder)


def settle(file: Path) -> None:
    """Do `Batch.settle` and wait for the disk."""
    with Batch() as batch:
        batch.settle(file)


def write(file: Path, content: bytes) -> None:
    """Do `Batch.write` and wait for the disk."""
    with Batch() as batch:
        batch.write(file, content)


def move(moves: Mapping[Path, Path]) -> None:
    """Do `Batch.move` and wait for the disk, once for each folder."""
    with Batch() as batch:
        batch.move(moves)


def replace(file: Path, content: bytes) -> None:
    """Do `Batch.replace` with one file and wait for the disk."""
    with Batch() as batch:
        batch.replace({file: content})


def work_on_all(act: Callable[[T], object], things: Sequence[T]) -> None:
    """Do something to many files, in a few threads. Raises the first failure when all have ended."""
    failures: list[BaseException] = []

    def work(part: Sequence[T]) -> None:
        try:
            for thing in part:
                act(thing)
        except BaseException as error:
            failures.append(error)

    parts = [things[number::_WORKERS] for number in range(min(_WORKERS, len(things)))]
    threads = [threading.Thread(target=work, args=(part,)) for part in parts[1:]]
    for thread in threads:
        thread.start()
    for part in parts[:1]:
        work(part)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@contextlib.contextmanager
def run_beside(act: Callable[[], None]) -> Iterator[None]:
    """Do something while the caller does something else; when that fails too, its own failure counts."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            act()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if failures:
        raise failures[0]


def _add_folder(folder: Path) -> set[Path]:
    """Make a folder with its parents; return the folders whose list of names that changed."""
    if folder.is_dir():
        return set()
    parent = folder.parent
    changed = {parent, *_add_folder(parent)}
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    return changed


def _has_content(file: Path, content: bytes) -> bool:
    return file.is_file() and file.read_bytes() == content


def make_newer(file: Path, before: Path) -> None:
    """Date a file at least a second after the one it is to replace: apt and web servers compare whole seconds."""
    if before.exists():
        earliest = int(before.stat().st_mtime) + 1
        if file.stat().st_mtime < earliest:
            os.utime(file, (earliest, earliest))


def make_scratch(folder: Path, prefix: str) -> Path:
    """Make a folder for this process alone, and remove those that killed processes of the same user left."""
    for left in folder.glob(f"{prefix}[0-9]*-*"):
        owner = left.name.removeprefix(prefix).partition("-")[0]
        with contextlib.suppress(FileNotFoundError):
            if not Path("/proc", owner).exists() and left.lstat().st_uid == os.getuid():
                shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=folder))


@contextlib.contextmanager
def lock(file: Path, *, what: str, hint: str, timeout: float = 0) -> Iterator[None]:
    """Hold an exclusive lock on a file, which names its holder: process, host, and since when.

    Raises BusyError when another process still holds it after `timeout` seconds. The kernel drops the lock with its
    process, however that ends.
    """
    deadline = time.monotonic() + timeout
    with file.open("a+") as opened:
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    opened.seek(0)
                    holder = opened.read().strip() or "unknown"
                    raise BusyError(f"{what} is in use by process {holder}", hint=hint) from None
            time.sleep(0.05)
        opened.truncate(0)
        opened.write(f"{os.getpid()} on {os.uname().nodename} since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n")
        opened.flush()
        yield
