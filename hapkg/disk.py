"""Writes that last: whole or not at all, on the disk when the call returns, readable for everybody, one at a time."""

from __future__ import annotations

import contextlib
import ctypes
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
from typing import TypeVar

from hapkg.errors import BusyError
from hapkg.process import libc

T = TypeVar("T")
_WORKERS = 4
"""Threads that do the same to many files."""
_OPEN = 64
"""Files that one of them has open at a time."""
_SYNC_FILE_RANGE_WRITE = 2
_NONE = ctypes.c_longlong(0)
_local = threading.local()


def sha256_file(file: Path | str) -> str:
    """SHA256 of a file's content, in hexadecimal digits. Raises OSError."""
    with open(file, "rb", buffering=0) as opened:  # noqa: PTH123 - of every package
        return hashlib.file_digest(opened, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(paths: Iterable[Path]) -> None:
    """The same for many at once: waiting side by side, they share the disk's commits."""
    if (pending := _find_pending()) is None:
        _sync_now(paths)
    else:
        pending.update(dict.fromkeys(paths))


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Wait once, at the end, for all that this thread writes and moves within.

    What is moved is waited for before, as always; the order in which the rest reaches the disk is nobody's business.
    docs/decisions/0014-few-waits.md says why one system call for the whole file system is not what waits.
    """
    if _find_pending() is not None:
        yield
        return
    pending: dict[Path, None] = {}
    _local.pending = pending
    try:
        yield
    finally:
        _local.pending = None
    sync_all(pending)


def _find_pending() -> dict[Path, None] | None:
    return getattr(_local, "pending", None)


def _settle_pending() -> None:
    """Wait now for what together() has gathered."""
    if pending := _find_pending():
        paths = list(pending)
        pending.clear()
        _sync_now(paths)


def _sync_now(paths: Iterable[Path]) -> None:
    """Begin to write all of them, then wait for each: the first commit is most often that of the others, too."""
    paths = list(paths)
    size = max(1, min(_OPEN, -(-len(paths) // _WORKERS)))
    work_on_all(_sync_part, [paths[start : start + size] for start in range(0, len(paths), size)])


def _sync_part(paths: Sequence[Path]) -> None:
    with contextlib.ExitStack() as stack:
        opened = []
        for path in paths:
            opened.append(os.open(path, os.O_RDONLY))
            stack.callback(os.close, opened[-1])
        if len(opened) > 1:
            for descriptor in opened:  # what cannot begin early, a folder for one, is waited for all the same
                libc.sync_file_range(descriptor, _NONE, _NONE, _SYNC_FILE_RANGE_WRITE)
        for descriptor in opened:
            os.fsync(descriptor)


def work_on_all(act: Callable[[T], None], things: Sequence[T]) -> None:
    """Do something to many files, side by side."""
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


def make_folder(folder: Path) -> None:
    """Make a folder with its parents where they are missing, whatever the umask says."""
    sync_all(_add_folder(folder))


def settle(file: Path) -> None:
    """Make a file that another program wrote readable and lasting."""
    file.chmod(0o644)
    sync_all([file])


def write(file: Path, content: bytes) -> None:
    """Write a file nobody reads yet."""
    make_folder(file.parent)
    file.write_bytes(content)
    settle(file)


def write_all(contents: Mapping[Path, bytes]) -> None:
    """The same for many at once."""
    for file, content in contents.items():
        make_folder(file.parent)
        file.write_bytes(content)
        file.chmod(0o644)
    sync_all(contents)


def copy(source: Path, target: Path) -> None:
    """Copy a file's bytes under a name nobody reads yet. Never a link: the original may change later."""
    make_folder(target.parent)
    shutil.copyfile(source, target)
    settle(target)


def copy_all(copies: Mapping[Path, Path]) -> None:
    """copy() for many: sources by target. Several side by side, for making a file or a folder takes longest."""
    sync_all(begin_copies(copies))


def begin_copies(copies: Mapping[Path, Path]) -> set[Path]:
    """The same without waiting for the disk; the paths that are to be waited for."""

    def copy_one(target: Path) -> None:
        changed.update((target.parent, *_add_folder(target.parent)))
        shutil.copyfile(copies[target], target)
        target.chmod(0o644)

    changed: set[Path] = set()
    work_on_all(copy_one, list(copies))
    return {*copies, *changed}


def move(moves: Mapping[Path, Path]) -> None:
    """Rename files or folders, each at once, within one file system; then wait for the disk, once for each folder."""
    if not moves.keys().isdisjoint(_find_pending() or ()):
        _settle_pending()
    changed: set[Path] = set()
    for source, target in moves.items():
        changed |= {target.parent, *_add_folder(target.parent)}
        source.replace(target)
    sync_all(changed)


def _add_folder(folder: Path) -> set[Path]:
    """Make a folder with its parents; the folders whose list of names that changed."""
    if folder.is_dir():
        return set()
    parent = folder.parent
    changed = {parent, *_add_folder(parent)}
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    return changed


def replace(file: Path, content: bytes) -> None:
    """Give a file other content at once; a file that has it already is not touched."""
    if not file.is_file() or file.read_bytes() != content:
        new = file.with_name(f".{file.name}.new")
        write(new, content)
        move({new: file})


def replace_all(contents: Mapping[Path, bytes]) -> None:
    """The same for many files, each by itself: in no order, and waited for together."""
    new = {
        file.with_name(f".{file.name}.new"): file
        for file, content in contents.items()
        if not file.is_file() or file.read_bytes() != content
    }
    write_all({temporary: contents[file] for temporary, file in new.items()})
    move(new)


def make_newer(file: Path, before: Path) -> None:
    """Date a file at least a second after the one it is to replace: apt and web servers compare whole seconds."""
    if before.exists():
        earliest = int(before.stat().st_mtime) + 1
        if file.stat().st_mtime < earliest:
            os.utime(file, (earliest, earliest))


def make_scratch(folder: Path, prefix: str) -> Path:
    """A new folder for this process alone; those that killed processes of the same user left are removed."""
    for left in folder.glob(f"{prefix}[0-9]*-*"):
        owner = left.name.removeprefix(prefix).partition("-")[0]
        with contextlib.suppress(FileNotFoundError):
            if not Path("/proc", owner).exists() and left.lstat().st_uid == os.getuid():
                shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=folder))


@contextlib.contextmanager
def lock(file: Path, *, what: str, hint: str, seconds: float = 0) -> Iterator[None]:
    """Be the only one who works on something; the file names the process that does, its host, and since when.

    Raises BusyError when another one still does after so many seconds. The kernel drops the lock with its process,
    however that ends.
    """
    deadline = time.monotonic() + seconds
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
