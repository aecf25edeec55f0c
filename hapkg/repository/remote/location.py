"""Locations of a repository: a folder here, a folder of another host, or a part of a bucket."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from hapkg.errors import UsageError

_HOST = r"(?!-)(?:[\w.+-]+@)?(?:[\w.-]+|\[[0-9A-Fa-f:.%]+\])"
FORMS = "name a folder, USER@HOST:FOLDER, ssh://USER@HOST:PORT/FOLDER or s3://BUCKET/PREFIX"
WAIT_HINT = "wait until it has ended, or let hapkg wait: --wait SECONDS"
"""The remedy when another one works on a repository."""
LOCK = ".hapkg/lock"
STAGING = ".hapkg/staging"
JOURNAL = f"{STAGING}/journal"
PAGE = ".hapkg/page"
"""Folder of what the page was made of; making it again needs less with it."""
_LONGEST_PART = 255
OWN = (".hapkg/cache/", ".hapkg/incoming/", f"{PAGE}/", f"{STAGING}/", LOCK)
"""Folders and files of one machine, never carried to another; but for the journal."""


@dataclass(frozen=True, kw_only=True)
class HostFolder:
    """A folder of a host that ssh reaches."""

    host: str
    """As ssh takes it: USER@HOST, or a name of ~/.ssh/config."""
    path: str
    port: int | None = None

    def __str__(self) -> str:
        return f"ssh://{self.host}:{self.port}{self.path}" if self.port else f"{self.host}:{self.path}"


@dataclass(frozen=True, kw_only=True)
class BucketFolder:
    """Objects of an S3 bucket whose keys begin alike."""

    bucket: str
    prefix: str
    """Ends in / unless it is empty."""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


Location = Path | HostFolder | BucketFolder


class Remote(Protocol):
    """A repository elsewhere. Paths are below it; whatever fails is a RepositoryError or a MachineError."""

    def open(self, *, owner: str, change: bool, timeout: float) -> AbstractContextManager[None]:
        """Reach it; to change it also hold its lock, which names the owner. Raises BusyError after timeout seconds."""

    def fetch(self, mirror: Path) -> None:
        """Make a folder the same as the repository, but for OWN; nothing when there is no repository yet.

        A state that is being replaced meanwhile is complete all the same: InRelease is fetched before what it names.
        """

    def store(self, mirror: Path, paths: Sequence[str]) -> None:
        """Copy files of the folder, each whole or not at all; they last when this returns."""

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files."""


def parse_location(text: str, base: Path) -> Location:
    """Parse the value of --repo; a relative folder is below base. Raises UsageError for anything else.

    As with scp and rsync, a colon before the first slash makes a host of what stands before it.
    """
    scheme, found, rest = text.partition("://")
    if re.match(r"(file|https?|s3|ssh):/(?!/)", text):
        raise UsageError(f"{text!r} has one slash where an address has two", hint=FORMS)
    if found and scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        prefix = prefix.strip("/")
        if re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket) and ".." not in prefix.split("/"):
            return BucketFolder(bucket=bucket, prefix=f"{prefix}/" if prefix else "")
    elif found and scheme == "ssh":
        host, slash, path = rest.partition("/")
        match = re.fullmatch(rf"({_HOST})(?::([0-9]+))?", host)
        if match and path.strip("/"):
            path = _clean(f"{slash}{unquote(path)}")
            return HostFolder(host=match[1], path=path, port=int(match[2] or 0) or None)
    elif found and scheme == "file" and (match := re.fullmatch(r"[\w.-]*(/[^?#]*)", rest)):
        return _check_folder(Path(unquote(match[1])))
    elif not found and (match := re.fullmatch(rf"({_HOST}):(?!:)(.+)", text)) and "/" not in match[1]:
        return HostFolder(host=match[1], path=_find_home(match[2]))
    elif not found and text and not re.match(r"[^/]*:(:|\Z)", text):
        return _check_folder(base / text)
    daemon = scheme == "rsync" or re.match(r"[^/]*::", text)
    problem = "has neither lock nor order" if daemon else "is no location of a repository"
    raise UsageError(f"{text!r} {problem}", hint=FORMS)


def name_mirror(location: Location) -> str:
    """A name for the local copy of a repository elsewhere: to read, and no other's."""
    text = str(location)
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") + "-" + hashlib.sha256(text.encode()).hexdigest()[:8]


def _check_folder(folder: Path) -> Path:
    """Return a path that gpg, apt and a .sources file can name. Raises UsageError."""
    text = str(folder)
    if text.isprintable() and all(len(part.encode()) <= _LONGEST_PART for part in folder.parts):
        return folder
    raise UsageError(
        f"{ascii(text)[:200]} cannot be the folder of a repository",
        hint="name one of printable UTF-8 text without line ends, of at most 255 bytes between slashes",
    )


def _find_home(path: str) -> str:
    """A folder of a host; ~/ is left out, for paths begin in the home anyway, and no shell there expands it."""
    if not path.startswith("~"):
        return _clean(path)
    folder = path.removeprefix("~/").strip("/")
    if not folder or folder.startswith("~"):
        raise UsageError(
            f"{path!r} is no folder of a host that hapkg can name",
            hint="name a folder below the home, as in HOST:apt, or a path that begins with /",
        )
    return folder


def _clean(path: str) -> str:
    return path.rstrip("/") or "/"
