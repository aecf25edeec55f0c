"""Addresses of upstreams as people type them: a forge's page, git@host, .tgz, .dsc."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.request import url2pathname

from hapkg.control import TARBALLS, find_tarball_suffix

FORMS = (
    "a tarball ends in .tar.gz, .tar.xz or .tar.bz2, or short in .tgz, .txz or .tbz2; a repository in .git, or it "
    "starts with git+, hg+ or git@, or is a page of GitHub, GitLab, Codeberg; .dsc and debian:NAME are source packages"
)
FORGES = r"(?:github\.com|gitlab\.com|codeberg\.org|[a-z.]*\bgitlab\.[a-z.]+)"
"""Hosts whose pages and archives have a repository behind them, by OWNER/NAME."""
_PAGE = re.compile(
    rf"https?://(?:www\.)?(?P<host>{FORGES})/(?P<path>[\w.-]+(?:/[\w.-]+)+?)(?:\.git)?/?"
    r"(?:/(?:-/)?(?:releases/tag|tree|tags|src/tag|releases)(?:/(?P<ref>[\w./+-]+?))?/?)?(?:[?#].*)?",
    re.ASCII,
)
_SCP = re.compile(r"(?P<user>[\w.-]+)@(?P<host>[A-Za-z0-9][\w.-]*):(?!/)(?P<path>[\w./~+-]+?)(?:\.git)?/?", re.ASCII)
_PUBLIC = ("github.com", "gitlab.com", "codeberg.org")
"""Hosts that give over https, to everybody, what git@HOST gives to their users."""
_ENDING = r"(?:\.tar\.(?:zst|lz|lzma|Z)|\.tzst|\.zip|\.7z)"
_UNTAKEN = re.compile(rf".*{_ENDING}", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Address:
    """An upstream's address by its kind."""

    kind: str
    """tarball, dsc, git, hg, or archive: a file that dpkg-source does not take."""
    url: str
    ref: str = ""
    """The tag that a page of a forge is of."""


def read_address(origin: str) -> Address:
    """The address that was typed."""
    url = _complete(origin)
    if repository := _read_repository(origin, url):
        return repository
    if url.endswith(".dsc"):
        return Address(kind="dsc", url=url)
    if not find_tarball_suffix(url) and (page := _PAGE.fullmatch(origin)):
        return Address(kind="git", url=f"https://{page['host']}/{page['path']}.git", ref=page["ref"] or "")
    if _UNTAKEN.fullmatch(url):
        return Address(kind="archive", url=url)
    return Address(kind="tarball", url=url)


def _read_repository(origin: str, url: str) -> Address | None:
    """A repository's own address; None for another one."""
    if scp := _SCP.fullmatch(origin):
        public = scp["host"] in _PUBLIC
        login = f"https://{scp['host']}" if public else f"ssh://{scp['user']}@{scp['host']}"
        return Address(kind="git", url=f"{login}/{scp['path']}.git")
    kind, plus, after = origin.partition("+")
    if plus and kind in ("git", "hg") and "://" in after:
        return Address(kind=kind, url=after)
    return Address(kind="git", url=url) if url.endswith(".git") or url.startswith("ssh://") else None


def list_siblings(url: str) -> tuple[str, ...]:
    """Addresses of tarballs beside an archive of another kind, as forges offer both of a release."""
    return tuple(re.sub(rf"{_ENDING}$", suffix, url, flags=re.IGNORECASE) for suffix in TARBALLS)


def find_path(url: str) -> Path | None:
    """The path of a file: address."""
    return Path(url2pathname(url.removeprefix("file://"))) if url.startswith("file://") else None


def _complete(origin: str) -> str:
    """A path as an address."""
    return origin if "://" in origin else Path(origin).absolute().as_uri()
