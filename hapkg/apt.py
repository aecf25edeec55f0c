"""apt: the archive that the host is configured for, and settings to read an index that is not the host's."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg import process
from hapkg.control import Suite
from hapkg.distribution import Distribution
from hapkg.errors import UsageError
from hapkg.locations import State

_TARGET = "$(SITE)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)"
_CARRIED = re.compile(
    r"Acquire::(Check-Valid-Until|Check-Date|https?::Proxy(::[^:]+)?"
    r"|https::([^:]+::)?(CaInfo|SslCert|SslKey|Verify-Peer|Verify-Host))",
    re.IGNORECASE,
)
"""Options of one host, too: Acquire::http::Proxy::HOST, Acquire::https::HOST::CAInfo."""
_DIGEST = Path("/var/cache/apt/pkgcache.bin")
"""Where apt keeps its digest of the host's lists, as Debian configures it."""
_DIGEST_ROOM = 1 << 30
"""Bytes that must be free for another one: that of one suite takes 40 MB, and builds want theirs first."""
_PASSWORDS = {"Dir::Etc::netrc": Path("/etc/apt/auth.conf"), "Dir::Etc::netrcparts": Path("/etc/apt/auth.conf.d")}


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
        entries = [self.line(suite, kind)]
        if suite != "sid" and self.security:
            entries += [self.line(f"{suite}-updates", kind), self.line(f"{suite}-security", kind)]
        if kind == "deb":
            entries += [archive.line() for archive in self.further]
        return tuple(entries)

    def line(self, suite: str, kind: str) -> str:
        """One-line apt entry of one suite, which may be a suite's updates, security or backports.

        An address that was named with apt's options before it, in brackets, keeps them and gets none.
        """
        keyring = self.distribution.keyring
        uri = (self.security if suite.endswith("-security") else self.uri) or ""
        option = f"[signed-by={keyring}] " if Path(keyring).exists() and not uri.startswith("[") else ""
        return f"{kind} {option}{uri} {suite} {' '.join(self.distribution.components)}"


def find_mirror(
    option: str | None,
    distribution: Distribution,
    host: Path = Path("/etc/apt"),
    lists: Path = Path("/var/lib/apt/lists"),
    state: State | None = None,
) -> Mirror:
    """The distribution's archive: the option, else the host's, else no address.

    host is the host's apt configuration, lists what apt fetched by it: an archive that says there that it is not
    the distribution's own, whatever its suites are called, is passed over. apt itself takes the password out of
    a host's address; an option with one is a UsageError. state is where apt may keep its digest of these lists if
    the host has it keep none, as Docker's images do: without one it reads them all again for each question.
    """
    if option:
        _refuse_password(option)
        return Mirror(distribution=distribution, uri=option.rstrip("/") + "/", security=None)
    vendor, known = distribution.vendor, distribution.known_suites
    settings = {"Dir::Etc": str(host), "Dir::State::Lists": str(lists)}
    if state is not None and not _DIGEST.exists():
        settings |= _keep_digest(state.apt)
    origins = {(site, suite): origin for site, suite, _, origin in _list_targets(settings) if origin != "$(ORIGIN)"}
    uri = security = None
    for site, suite, component, _ in _list_targets(settings, "--no-release-info"):
        name = suite.partition("-")[0].partition("/")[0]
        if component != "main" or name not in known or origins.get((site, suite), vendor) != vendor:
            continue
        if suite.endswith(("-security", "/updates")):
            security = security or _resolve(site)
        elif "-" not in suite:
            uri = uri or _resolve(site)
    return Mirror(distribution=distribution, uri=uri, security=security if uri else None)


def _keep_digest(folder: Path) -> Mapping[str, str]:
    """Settings by which apt keeps its digest in a folder; none where that cannot be, or has no room for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < _DIGEST_ROOM:
            return {}
    except OSError:
        return {}
    return {"Dir::Cache::pkgcache": str(folder / _DIGEST.name), "Dir::Cache::srcpkgcache": ""}


def _refuse_password(address: str) -> None:
    """Refuse a password in an address: it would stand in base chroots, logs and lists of processes."""
    if found := re.search(r"//[^/@\s]*:[^/@\s]*@(?P<host>[^/\s]*)", address):
        raise UsageError(
            f"the address of the archive on {found['host']} holds a password",
            hint=f"put it into /etc/apt/auth.conf.d/: machine {found['host']} login NAME password PASSWORD",
        )


def describe_index(lists: Path, sources: Path, parts: Path | None = None, status: Path | None = None) -> dict[str, str]:
    """Settings by which apt sees one index and nothing of the host's: no preferences, no packages but those of status.

    lists is the folder of the index, sources and parts the file and the folder of source entries that it belongs to.
    """
    return {
        "Dir::Etc::SourceList": str(sources),
        "Dir::Etc::SourceParts": str(parts or "/dev/null"),
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State::Lists": str(lists),
        "Dir::State::Status": str(status or "/dev/null"),
    }


def make_options(settings: Mapping[str, str]) -> list[str]:
    """Settings as options of an apt program."""
    return [argument for name, value in settings.items() for argument in ("-o", f"{name}={value}")]


def read_apt_options() -> dict[str, str]:
    """The host's apt options that decide whether and how its archive can be reached.

    Passwords are none of them: apt is told the files of the host that hold them.
    """
    output = process.run(["apt-config", "dump", "Acquire"], check=False).output
    options: dict[str, str] = {}
    for line in output.splitlines():
        name, _, value = line.partition(" ")
        if _CARRIED.fullmatch(name) and value not in ('"";', ""):
            options[name] = value.strip('";')
    return options | {name: str(path) for name, path in _PASSWORDS.items() if path.exists()}


def query_root(root: Path, cache: Path, argv: Sequence[str], *, check: bool = True) -> str:
    """Output of a program of apt, asked about the packages and the index inside a root; nothing of the host counts.

    cache is a folder where apt keeps its digest of the index: without it apt only takes longer. Raises ProcessError
    when check is on and the program fails.
    """
    sources, parts = root / "etc/apt/sources.list", root / "etc/apt/sources.list.d"
    lists, status = root / "var/lib/apt/lists", root / "var/lib/dpkg/status"
    with contextlib.suppress(OSError):
        cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hapkg-apt-") as scratch:
        settings = {
            "Dir::Etc::Main": "/dev/null",
            "Dir::Etc::Parts": "/dev/null",
            **describe_index(lists, sources, parts, status),
            "Dir::State::Extended_States": "/dev/null",
            "Dir::Cache": scratch,
            "Dir::Cache::PkgCache": f"{cache}/pkgcache-resolve.bin",
            "Dir::Cache::SrcPkgCache": f"{cache}/srcpkgcache-resolve.bin",
            "APT::Install-Recommends": "false",
        }
        file = Path(scratch, "apt.conf")  # not by -o: apt reads the host's configuration before it looks at options
        lines = [f'{name} "{value}";\n' for name, value in settings.items()]
        if architecture := _read_architecture(status):
            lines += [f'APT::Architecture "{architecture}";\n', f'APT::Architectures {{ "{architecture}"; }};\n']
        file.write_text("".join(lines), "utf-8")
        return process.run(argv, check=check, environment={"APT_CONFIG": str(file)}).output


def _read_architecture(status: Path) -> str:
    """The architecture of a root, by dpkg's own package; "" where that is not installed yet."""
    found = re.search(r"(?m)^Package: dpkg\n(?:.+\n)*?Architecture: (\S+)$", status.read_text("utf-8", "replace"))
    return found[1] if found else ""


def _list_targets(settings: Mapping[str, str], *options: str) -> Iterator[tuple[str, str, str, str]]:
    """Address, suite, component and origin of every index of binary packages; nothing where apt refuses its sources.

    An index that was never fetched is only listed without release info, and then nobody knows its origin.
    """
    argv = ["apt-get", *make_options(settings), *options, "indextargets", "--format", _TARGET, "Created-By: Packages"]
    result = process.run(argv, check=False)
    for line in result.output.splitlines() if result.status == 0 else ():
        words = line.split("|")
        if len(words) == 4:  # apt's warnings are there, too
            yield words[0], words[1], words[2], words[3]


def _resolve(site: str) -> str | None:
    """An address that works outside this host: a list of mirrors gives its first one, a disc gives none."""
    if site.startswith("mirror+file:"):
        with contextlib.suppress(OSError):
            lines = Path(site.removeprefix("mirror+file:")).read_text("utf-8", "replace").splitlines()
            return next((line.split()[0] for line in lines if line.strip() and not line.startswith("#")), None)
    return site if site.startswith(("http:", "https:", "ftp:", "file:", "copy:")) else None
