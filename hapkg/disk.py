"""Writes that last: whole or not at all, on the disk when the call returns, readable for everybody, one at a time.
Removal of trees that others wrote.

`move`, `write` and the like wait for the disk each by itself. A `Batch` has the same methods and waits once for all of
them: docs/decisions/0016-a-plain-publish.md.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

from hapkg.errors import BusyError, MachineError
from hapkg.programs import process

T = TypeVar("T")
_BLOCK = 1 << 20
_MOST_HOLDER = 200
"""Letters of a lock that are shown."""
_WORKERS = 4
"""Threads that copy or sync many files."""


def sha256_file(file: Path | str) -> str:
    """SHA256 of a file's content, in hexadecimal digits. Raises OSError, also for what is no regular file."""
    with open(file, "rb", buffering=0, opener=_open_at_once) as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(file))
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _open_at_once(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)  # nobody need write into a FIFO


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
        """Write a file that nobody reads yet: a new one in place of what has that name, never through a link.

        Its content is waited for; its name is when it is moved.
        """
        self.make_folder(file.parent)
        with _create(file) as new:
            new.write(content)
        self.add([file])

    def settle(self, file: Path) -> None:
        """Make a file that another program wrote readable and lasting."""
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fchmod(descriptor, 0o644)
        finally:
            os.close(descriptor)
        self.add([file])

    def copy(self, copies: Mapping[Path, Path]) -> None:
        """Copy files, sources by target, under names that nobody reads yet. Never links: an original may change later.

        Several are copied side by side, for making a file or a folder takes longest.
        """

        def copy_one(target: Path) -> None:
            changed.update((target.parent, *_add_folder(target.parent)))
            with open(copies[target], "rb") as source, _create(target) as new:  # noqa: PTH123 - of every package
                shutil.copyfileobj(source, new, _BLOCK)

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


def work_on_all(operate: Callable[[T], object], things: Sequence[T]) -> None:
    """Do something to many files, in a few threads. Raises the first failure when all have ended."""
    failures: list[BaseException] = []

    def work(part: Sequence[T]) -> None:
        try:
            for thing in part:
                operate(thing)
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


def _add_folder(folder: Path) -> set[Path]:
    """Make a folder with its parents; return the folders whose list of names that changed."""
    if folder.is_dir():
        return set()
    parent = folder.parent
    changed = {parent, *_add_folder(parent)}
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    return changed


def _create(file: Path) -> IO[bytes]:
    """Open a new file, mode 0644 whatever the umask says; a file or link of that name is removed, never written to."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(file, flags, 0o600)
    except FileExistsError:  # of a writer that was killed, or planted
        file.unlink()
        descriptor = os.open(file, flags, 0o600)
    os.fchmod(descriptor, 0o644)
    return open(descriptor, "wb")  # noqa: PTH123 - a descriptor


def _has_content(file: Path, content: bytes) -> bool:
    return file.is_file() and not file.is_symlink() and file.read_bytes() == content


def make_newer(file: Path, before: Path) -> None:
    """Date a file at least a second after the one it is to replace: apt and web servers compare whole seconds."""
    if before.exists():
        earliest = int(before.stat().st_mtime) + 1
        if file.stat().st_mtime < earliest:
            os.utime(file, (earliest, earliest))


def make_scratch(folder: Path, prefix: str) -> Path:
    """Make a folder for this process alone, and remove those that killed processes of the same user left.

    A process is told by its number and its process namespace: containers that share a folder leave each other's alone.
    """
    namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    for left in folder.glob(f"{prefix}[0-9]*-*"):
        owner, *rest = left.name.removeprefix(prefix).split("-")
        # Another process may be removing it as well, or a gpg-agent that ends now: what is left goes the next time.
        with contextlib.suppress(FileNotFoundError, MachineError):
            here = rest[0] == namespace or len(rest) == 1  # of an older hapkg
            if here and left.lstat().st_uid == os.getuid() and not Path("/proc", owner).exists():
                remove_tree(left)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-{namespace}-", dir=folder))


def remove_tree(path: Path, *, of_root: bool = False) -> None:
    """Remove a file, a link or a folder of any depth and any modes; nothing is done when it does not exist.

    Links and other file systems are not entered. `of_root`: an ordinary user removes root's files, through sudo.
    Raises MachineError when something is left.
    """
    if of_root and os.geteuid() != 0 and path.exists():
        process.run(process.privileged(["rm", "-rf", "--one-file-system", "--", str(path)]), cleanup=True)
        return
    try:
        above = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        if path.is_symlink() or not path.is_dir():
            os.unlink(path.name, dir_fd=above)
        else:
            _empty_folder(path.name, above)
            os.rmdir(path.name, dir_fd=above)
    except FileNotFoundError:
        return
    except OSError as cause:
        raise MachineError(f"{path} cannot be removed: {cause.filename}: {cause.strerror}") from cause
    finally:
        os.close(above)


def _empty_folder(name: str, above: int) -> None:
    """Remove all that is in a folder. One descriptor is open at a time, however deep the tree is."""
    current = _open_folder(name, above)
    try:
        device = os.fstat(current).st_dev
        outer: list[tuple[str, int, list[str]]] = []  # the way down: name, its folder's inode, what is left there
        left = _remove_files(current)
        while left or outer:
            inode = os.fstat(current).st_ino
            if left:
                name = left.pop()
                inner = _open_folder(name, current)
                outer.append((name, inode, left))
                os.close(current)
                current = inner
                if os.fstat(current).st_dev != device:
                    raise OSError(errno.EXDEV, "a file system is mounted there", name)
                left = _remove_files(current)
            else:
                name, inode, left = outer.pop()
                folder = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=current)
                os.close(current)
                current = folder
                if os.fstat(current).st_ino != inode:
                    raise OSError(errno.ESTALE, "it was moved meanwhile", name)
                os.rmdir(name, dir_fd=current)
    finally:
        os.close(current)


def _open_folder(name: str, above: int) -> int:
    """Open a folder, never a link, after giving its owner all rights to it."""
    found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
    try:
        mode = os.fstat(found).st_mode
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            Path(f"/proc/self/fd/{found}").chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=found)
    finally:
        os.close(found)


def _remove_files(folder: int) -> list[str]:
    """Remove everything in an open folder but its folders; return their names."""
    with os.scandir(folder) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in names:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in names if is_folder]


def measure_tree(folder: Path, *, without: Path | None = None) -> int:
    """Sum the sizes of all files below a folder, in bytes. What vanishes or cannot be read meanwhile counts nothing."""
    total, folders = 0, [folder]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if without is None or Path(entry.path) != without:
                        folders.append(Path(entry.path))
                else:
                    with contextlib.suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_size
    return total


def _open_lock(file: Path) -> IO[str]:
    try:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(file, flags, 0o666), "a+", errors="replace")
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise MachineError(
            f"the lock {file} is a symbolic link",
            hint="hapkg makes none: find out who else can write there, and remove it",
        ) from error


@contextlib.contextmanager
def lock(file: Path, *, what: str, hint: str, timeout: float = 0, shared: bool = False) -> Iterator[None]:
    """Hold a lock on a file, which names its holder: process, host, and since when. shared: beside others who say so.

    Raises BusyError when another process still holds it after `timeout` seconds, MachineError for a link in its place.
    The kernel drops the lock with its process, however that ends.
    """
    deadline = time.monotonic() + timeout
    with _open_lock(file) as opened:
        while True:
            try:
                fcntl.flock(opened, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    opened.seek(0)
                    holder = opened.read(_MOST_HOLDER).strip() or "unknown"
                    raise BusyError(f"{what} is in use by process {holder}", hint=hint) from None
            time.sleep(0.05)
        opened.truncate(0)
        opened.write(f"{os.getpid()} on {os.uname().nodename} since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n")
        opened.flush()
        yield
