"""The archive of a distribution: the one that the host is configured for, or another."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hapkg import disk
from hapkg.apt.entries import AptEntry, list_entries
from hapkg.apt.settings import make_options
from hapkg.control import Suite
from hapkg.distribution import SECURITY, Distribution
from hapkg.errors import UsageError
from hapkg.locations import State
from hapkg.tables import find_login

_DIGEST = Path("/var/cache/apt/pkgcache.bin")
"""Where apt keeps its digest of the host's lists, as Debian configures it."""
_DIGEST_ROOM = 1 << 30
"""Bytes that must be free for another one: that of one suite takes 40 MB, and builds want theirs first."""


@dataclass(frozen=True, kw_only=True)
class FurtherArchive:
    """An archive beside the distribution's, whose packages builds may have."""

    uri: str
    suite: str
    components: tuple[str, ...]
    keyring: Path
    """File with the keys that sign it."""

    def line(self) -> str:
        """Its one-line apt entry. Of a folder apt makes copies: it would use the files themselves by file:."""
        uri = re.sub(r"^file:", "copy:", self.uri)
        return f"deb [signed-by={self.keyring}] {uri} {self.suite} {' '.join(self.components)}"


def digest_further(archives: Sequence[FurtherArchive]) -> str:
    """sha256 over entries and keys, whatever folder the keys are in; "" without an archive. Raises OSError."""
    if not archives:
        return ""
    content = hashlib.sha256()
    for archive in archives:
        entry = (
            archive.uri,
            archive.suite,
            *archive.components,
            hashlib.sha256(archive.keyring.read_bytes()).hexdigest(),
        )
        content.update("\n".join((*entry, "")).encode())
    return content.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """Addresses of a distribution's archive."""

    distribution: Distribution
    uri: str | None
    """None where only mmdebstrap's default is left."""
    security: str | None
    """None where the host's configuration names none."""
    updates: bool = False
    """The host's configuration names updates of the archive, with or without an address of security updates."""
    remark: str = field(default="", compare=False)
    """Where the address is from, or why none of the host's was taken: for errors."""
    folder: str | None = None
    """A folder of packages with an index of them, which stands for all suites: nothing is fetched from elsewhere."""
    further: tuple[FurtherArchive, ...] = ()
    """Archives beside it, of the one suite that is built for."""

    def lines(self, suite: Suite, kind: str = "deb") -> tuple[str, ...]:
        """One-line apt entries of a suite, with its updates and security suites where there are such."""
        if self.folder is not None:
            return (f"{kind} [trusted=yes] copy:{self.folder} ./",)
        if self.uri is None:
            return ()
        entries = [self.line(name, kind) for name in (suite, *self.list_pockets(suite))]
        if kind == "deb":
            entries += [archive.line() for archive in self.further]
        return tuple(entries)

    def list_pockets(self, suite: str) -> tuple[str, ...]:
        """The suites that come with a suite and have an address: bookworm-updates, bookworm-security."""
        names = self.distribution.list_pockets(suite)
        if self.security:
            return names
        return tuple(name for name in names if self.updates and not name.endswith(f"-{SECURITY}"))

    def line(self, suite: str, kind: str) -> str:
        """One-line apt entry of one suite, which may be a suite's updates, security or backports.

        An address that was named with apt's options before it, in brackets, keeps them and gets none.
        """
        keyring = self.distribution.keyring
        uri = (self.security if suite.endswith(f"-{SECURITY}") else self.uri) or ""
        option = f"[signed-by={keyring}] " if Path(keyring).exists() and not uri.startswith("[") else ""
        return f"{kind} {option}{uri} {suite} {' '.join(self.distribution.components)}"


def find_mirror(
    option: str | None,
    distribution: Distribution,
    host: Path = Path("/etc/apt"),
    lists: Path = Path("/var/lib/apt/lists"),
    state: State | None = None,
    suite: Suite | None = None,
) -> Mirror:
    """The distribution's archive: the option, else the host's, else no address.

    host is the host's apt configuration, lists what apt fetched by it: an archive that says there that it is not
    the distribution's own, whatever its suites are called, is passed over. Of the others one that says that it is
    goes first, then one that has the suite that is wanted. The options of its entry, such as the key that signs it,
    stand before the address. apt itself takes the password out of a host's address; an option with one is a
    UsageError. state is where apt may keep its digest of these lists if the host has it keep none, as Docker's images
    do: without one it reads them all again for each question; and where keys go that stand in the entry itself.
    """
    if option:
        if login := find_login(option):
            raise UsageError(login[0], hint=login[1])
        return Mirror(distribution=distribution, uri=option.rstrip("/") + "/", security=None)
    settings = {"Dir::Etc": str(host), "Dir::State::Lists": str(lists)}
    if state is not None and not _DIGEST.exists():
        settings |= _keep_digest(state.apt)
    entries = [
        entry
        for entry in list_entries(make_options(settings))
        if entry.component == "main" and entry.base in distribution.known_suites and _resolve(entry.site)
    ]
    own = [entry for entry in entries if entry.origin in ("", distribution.vendor)]
    chosen = _choose([entry for entry in own if entry.release == entry.base], own, distribution, suite)
    if chosen is None:
        return Mirror(distribution=distribution, uri=None, security=None, remark=_explain(entries, distribution))
    secure = [entry for entry in own if entry.release.endswith((f"-{SECURITY}", "/updates"))]
    security = _choose(secure, own, distribution, suite)
    beside = {f"{entry.base}-{pocket}" for entry in own for pocket in distribution.pockets if pocket != SECURITY}
    return Mirror(
        distribution=distribution,
        uri=_describe(chosen, distribution, state),
        security=_describe(security, distribution, state) if security else None,
        updates=any(entry.site == chosen.site and entry.release in beside for entry in own),
        remark=f"the archive is the one of {chosen.file}",
    )


def _choose(
    choices: Sequence[AptEntry], entries: Sequence[AptEntry], distribution: Distribution, suite: Suite | None
) -> AptEntry | None:
    """The entry that is most likely the distribution's own archive and has the suite; of equals the first."""
    listed = {(entry.site, entry.release) for entry in entries}

    def rank(entry: AptEntry) -> tuple[bool, ...]:
        return (
            entry.origin == distribution.vendor,
            suite in entry.names,
            _is_keyring(entry.signers, distribution),
            not entry.names.isdisjoint(distribution.suites),
            any((entry.site, name) in listed for name in distribution.list_pockets(entry.release)),
        )

    return max(choices, key=rank, default=None)


def _is_keyring(signers: Sequence[str], distribution: Distribution) -> bool:
    """True where an entry names the distribution's keyring, by whatever name it has on this host."""
    return len(signers) == 1 and Path(signers[0]).resolve() == Path(distribution.keyring).resolve()


def _describe(entry: AptEntry, distribution: Distribution, state: State | None) -> str:
    """The address of an entry, after its options where these are others than those that every address gets."""
    signers, options = entry.signers, entry.options
    if entry.key and state is not None:
        signers = (str(_keep_key(entry.key, state)),)
    if not options and (not signers or _is_keyring(signers, distribution)):
        return _resolve(entry.site) or ""
    if not signers and not entry.is_trusted and Path(distribution.keyring).exists():
        signers = (distribution.keyring,)
    words = [*([f"signed-by={','.join(signers)}"] if signers else []), *(f"{k}={v}" for k, v in options.items())]
    return f"[{' '.join(words)}] {_resolve(entry.site)}"


def _keep_key(key: str, state: State) -> Path:
    """A file with a key that stands in an entry itself: one line cannot hold it."""
    file = state.apt / "keys" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.asc"
    with contextlib.suppress(OSError):  # apt names the file that is not there
        disk.make_folder(file.parent)
        disk.replace(file, key.encode())
    return file


def _explain(entries: Sequence[AptEntry], distribution: Distribution) -> str:
    """Words on archives of the host that have suites of the distribution and say that they are another's."""
    for entry in entries:
        if entry.origin not in ("", distribution.vendor):
            said = f"its Release says Origin: {entry.origin}, not {distribution.vendor}"
            return f"{entry.site} of {entry.file} is passed over, {said}: it can be named with --mirror"
    return ""


def _keep_digest(folder: Path) -> Mapping[str, str]:
    """Settings by which apt keeps its digest in a folder; none where that cannot be, or has no room for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < _DIGEST_ROOM:
            return {}
    except OSError:
        return {}
    return {"Dir::Cache::pkgcache": str(folder / _DIGEST.name), "Dir::Cache::srcpkgcache": ""}


def _resolve(site: str) -> str | None:
    """An address that works outside this host: a list of mirrors gives its first one, a disc gives none."""
    if site.startswith("mirror+file:"):
        with contextlib.suppress(OSError):
            lines = Path(site.removeprefix("mirror+file:")).read_text("utf-8", "replace").splitlines()
            return next((line.split()[0] for line in lines if line.strip() and not line.startswith("#")), None)
    return site if site.startswith(("http:", "https:", "ftp:", "file:", "copy:")) else None
