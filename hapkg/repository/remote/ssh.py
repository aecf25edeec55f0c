"""A repository on a host that ssh reaches. rsync copies, and ssh runs here alone.

One connection carries everything. Its far end holds the repository's lock, the same that hapkg takes on that host
itself, and drops it when the connection ends, however it ends; rsync runs through this connection or not at all, so
that nobody writes without the lock.
"""

from __future__ import annotations

import math
import secrets
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hapkg.disk import make_folder, make_scratch, remove_tree
from hapkg.errors import BusyError, ProcessError, RepositoryError
from hapkg.programs.process import run
from hapkg.repository.coprocess import Conversation, converse
from hapkg.repository.remote.location import JOURNAL, OWN, WAIT_HINT, HostFolder
from hapkg.repository.remote.login import find_login

_OPENING_SECONDS = 90
"""A host that answers at all has done so by then."""
_SHOWN = 5
"""Lines of these that an error tells."""
_MOST_GREETINGS = 1000
"""Lines that a host may print of its own accord."""
# Every line of ours begins with the word $4, which nobody else can know: a login shell may greet.
_CHANGE = """\
say() { printf '%s %s\\n' "$4" "$5"; }
umask 022
for name in flock find dd rsync; do
    command -v "$name" >/dev/null || { say "$@" "lacks $name"; exit; }
done
mkdir -p -- "$1" && cd -- "$1" || exit
for name in .hapkg .hapkg/staging .hapkg/lock pool dists changelogs; do
    [ ! -L "$name" ] || { say "$@" "link $name"; exit; }
done
mkdir -p .hapkg/staging || exit
[ -e .hapkg/lock ] || (set -C; : > .hapkg/lock) 2>/dev/null
exec 9>>.hapkg/lock || exit
until flock -n 9; do
    [ $? -eq 1 ] || exit
    [ "$3" -gt 0 ] || { say "$@" "busy $(cat .hapkg/lock)"; exit; }
    set -- "$1" "$2" $(($3 - 1)) "$4"; sleep 1
done
printf '%s\\n' "$2" | dd of=.hapkg/lock oflag=nofollow status=none || exit
find .hapkg/staging -mindepth 1 ! -path .hapkg/staging/journal -delete
say "$@" ready
while IFS= read -r command; do
    eval "$command" && say "$@" done || exit
done
"""
_AT_ONCE = 200
"""Arguments of one command: far fewer than any system takes."""
_LOOK = """\
command -v rsync >/dev/null || { echo "$4 lacks rsync"; exit; }
[ -d "$1" ] || { echo "$4 absent"; exit; }
echo "$4 ready"
read -r _
"""


class Host:
    """A Remote over ssh."""

    def __init__(self, location: HostFolder) -> None:
        self._location = location
        self._login = find_login(location)
        self._conversation: Conversation | None = None
        self._shell = ""
        self._word = ""
        self._greetings: list[str] = []
        self._absent = False

    @contextmanager
    def open(self, *, owner: str, change: bool, timeout: float) -> Iterator[None]:
        """See Remote."""
        scratch = make_scratch(Path("/tmp"), "hapkg-ssh-")
        socket = scratch / "connection"
        self._word, self._greetings = secrets.token_hex(8), []
        words = [self._location.path, owner, str(math.ceil(timeout)), self._word]
        script = shlex.join(["sh", "-c", _CHANGE if change else _LOOK, "hapkg", *words])
        options = ("ConnectTimeout=30", "ServerAliveInterval=15", "ControlMaster=yes", "ControlPersist=no")
        alive = [word for option in options for word in ("-o", option)]
        argv = [*self._login.batch, *alive, "-S", str(socket), "--", self._location.host, script]
        self._shell = shlex.join(
            [
                *self._login.batch,
                "-S",
                str(socket),
                "-o",
                "ControlMaster=no",
                "-o",
                "ProxyCommand=false",
                "-o",
                "ProxyJump=none",
            ]
        )
        try:
            with converse(argv, environment=self._login.environment) as self._conversation:
                with self._translate_errors():
                    word, _, rest = self._hear(timeout + _OPENING_SECONDS).partition(" ")
                self._check_opening(word, rest)
                self._absent = word == "absent"
                yield
        finally:
            self._conversation = None
            remove_tree(scratch)

    def _check_opening(self, word: str, rest: str) -> None:
        """Raise what the host's first word means, if it is none to go on from."""
        if word == "busy":
            raise BusyError(f"the repository {self._location} is in use by process {rest or 'unknown'}", hint=WAIT_HINT)
        if word == "lacks":
            raise RepositoryError(
                f"the host of the repository {self._location} has no program {rest}",
                hint="install it there: flock is in util-linux, find in findutils, dd in coreutils, rsync in rsync",
            )
        if word == "link":
            raise RepositoryError(
                f"{rest} of the repository {self._location} is a symbolic link",
                hint="hapkg makes none: find out who else can write there, and remove it",
            )

    def _hear(self, seconds: float | None = None) -> str:
        """The next answer of our script; what the host prints beside it is kept as evidence."""
        assert self._conversation is not None
        while len(self._greetings) < _MOST_GREETINGS:
            said = self._conversation.hear(seconds)
            word, _, answer = said.partition(" ")
            if word == self._word:
                return answer
            self._greetings.append(said)
        raise ProcessError("the host does not come to an end with what it prints")

    def fetch(self, mirror: Path) -> None:
        """See Remote."""
        if self._absent:
            remove_tree(mirror)
            make_folder(mirror)
            return
        # Times to the nanosecond: two states of a suite may be of one second, and of one size.
        copy = ("--recursive", "--times", "--perms", "--delete-after", "--prune-empty-dirs", "--modify-window=-1")
        newest = (
            "--include=/dists/",
            "--include=/dists/*/",
            "--include=/dists/*/InRelease",
            "--include=/dists/*/Release",
            "--exclude=*",
        )
        self._rsync(*copy, *newest, f"{self._target}/", f"{mirror}/")
        own = [f"--exclude=/{name}" for name in OWN if not JOURNAL.startswith(name)]
        journal = ("--include=/.hapkg/staging/", f"--include=/{JOURNAL}", "--exclude=/.hapkg/staging/*")
        self._rsync(
            *copy,
            *journal,
            *own,
            "--exclude=/dists/*/InRelease",
            "--exclude=/dists/*/Release",
            f"{self._target}/",
            f"{mirror}/",
        )

    def store(self, mirror: Path, paths: Sequence[str]) -> None:
        """See Remote."""
        with tempfile.NamedTemporaryFile(prefix="hapkg-rsync-") as names:
            names.write(b"".join(path.encode() + b"\0" for path in paths))
            names.flush()
            self._rsync(
                "--times", "--perms", "--ignore-times", "--from0", f"--files-from={names.name}",
                "--fsync", "--temp-dir=.hapkg/staging", f"{mirror}/", f"{self._target}/",
            )  # fmt: skip
        self._order("sync", sorted({str(folder) for path in paths for folder in Path(path).parents}))

    def remove(self, paths: Sequence[str]) -> None:
        """See Remote."""
        self._order("rm -f", paths)
        folders = sorted({str(Path(path).parent) for path in paths if path != JOURNAL} - {"."})
        self._order("rmdir --ignore-fail-on-non-empty", folders)

    @property
    def _target(self) -> str:
        return f"{self._location.host}:{self._location.path}"

    def _order(self, command: str, paths: Sequence[str]) -> None:
        """Have the holder of the lock run a command with all the paths."""
        assert self._conversation is not None
        with self._translate_errors():
            for start in range(0, len(paths), _AT_ONCE):
                self._conversation.tell(f"{command} -- {shlex.join(paths[start : start + _AT_ONCE])}")
                self._hear()

    def _rsync(self, *arguments: str) -> None:
        with self._translate_errors():
            run(["rsync", "--protect-args", f"--rsh={self._shell}", *arguments], environment=self._login.environment)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except ProcessError as error:
            printed = [
                f"the shell of {self._location.host} prints: {line}" for line in self._greetings[:_SHOWN] if line
            ]
            said = [line for line in error.details if not line.startswith("command: ")]  # three lines of our options
            raise RepositoryError(
                f"the repository {self._location} cannot be reached or written",
                details=(*(said or [error.brief]), *printed),
                hint=self._login.give_hint("rsync --version"),
            ) from error
