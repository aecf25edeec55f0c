"""Where the Debian archive is: an option, else the host's apt configuration, else mmdebstrap's own default."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg import process
from hapkg.control import Suite, read_stanzas

SUITES = ("bookworm", "bullseye", "buster", "trixie", "forky", "sid", "stable", "testing", "unstable", "oldstable")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_ENTRY = re.compile(r"\s*deb\s+(?:\[[^\]]*\])?(.*)")
_ORIGIN = re.compile(r"^Origin:(.*)$", re.MULTILINE)
_OFF = ("no", "false", "without", "off", "disable", "0")
_CARRIED_OPTIONS = (
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
)


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """Addresses of a Debian archive. security is None where the host's configuration names none."""

    uri: str
    security: str | None

    def lines(self, suite: Suite, kind: str = "deb") -> tuple[str, ...]:
        """One-line apt entries of a suite, with its updates and security suites where there are such."""
        option = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
        entries = [f"{kind} {option}{self.uri} {suite} main"]
        if suite != "sid" and self.security:
            entries.append(f"{kind} {option}{self.uri} {suite}-updates main")
            entries.append(f"{kind} {option}{self.security} {suite}-security main")
        return tuple(entries)


def find_mirror(
    option: str | None, host: Path = Path("/etc/apt"), lists: Path = Path("/var/lib/apt/lists")
) -> Mirror | None:
    """The mirror to use, or None where only mmdebstrap's default is left.

    host is the host's apt configuration, lists what apt fetched by it: an archive that says there that it is not
    Debian's own, whatever its suites are called, is passed over.
    """
    if option:
        return Mirror(uri=option.rstrip("/") + "/", security=None)
    uri = security = None
    for address, suite in _read_entries(host):
        name = suite.partition("-")[0].partition("/")[0]
        if name not in SUITES or _read_origin(lists, address, suite) not in ("", "Debian"):
            continue
        if suite.endswith(("-security", "/updates")):
            security = security or address
        elif "-" not in suite:
            uri = uri or address
    return Mirror(uri=uri, security=security) if uri else None


def read_apt_options() -> dict[str, str]:
    """The host's apt options that decide whether and how its archive can be reached."""
    output = process.run(["apt-config", "dump", *_CARRIED_OPTIONS], check=False).output
    options: dict[str, str] = {}
    for line in output.splitlines():
        name, _, value = line.partition(" ")
        if name in _CARRIED_OPTIONS and value not in ('"";', ""):
            options[name] = value.strip('";')
    return options


def query_root(root: Path, cache: Path, argv: Sequence[str], *, check: bool = True) -> str:
    """Output of a program of apt, asked about the packages and the index inside a root; nothing of the host counts.

    cache is a folder where apt keeps its digest of the index: without it apt only takes longer. Raises ProcessError
    when check is on and the program fails.
    """
    with contextlib.suppress(OSError):
        cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hapkg-apt-") as scratch:
        settings = {
            "Dir::Etc::Main": "/dev/null",
            "Dir::Etc::Parts": "/dev/null",
            "Dir::Etc::SourceList": f"{root}/etc/apt/sources.list",
            "Dir::Etc::SourceParts": f"{root}/etc/apt/sources.list.d",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State::Lists": f"{root}/var/lib/apt/lists",
            "Dir::State::Status": f"{root}/var/lib/dpkg/status",
            "Dir::State::Extended_States": "/dev/null",
            "Dir::Cache": scratch,
            "Dir::Cache::PkgCache": f"{cache}/pkgcache-resolve.bin",
            "Dir::Cache::SrcPkgCache": f"{cache}/srcpkgcache-resolve.bin",
            "APT::Install-Recommends": "false",
        }
        file = Path(scratch, "apt.conf")  # not by -o: apt reads the host's configuration before it looks at options
        file.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()), "utf-8")
        return process.run(argv, check=check, environment={"APT_CONFIG": str(file)}).output


def _read_origin(lists: Path, address: str, suite: str) -> str:
    """The field Origin of a suite's Release file, as apt fetched it last; "" when it never did."""
    place = address.partition(":")[2].removeprefix("//").rstrip("/")
    stem = f"{place}/dists/{suite}".replace("_", "%5f").replace("/", "_")
    for name in ("InRelease", "Release"):
        with contextlib.suppress(OSError):
            found = _ORIGIN.search((lists / f"{stem}_{name}").read_text("utf-8", "replace"))
            return found[1].strip() if found else "unknown"
    return ""


def _read_entries(folder: Path) -> Iterator[tuple[str, str]]:
    """(address, suite) of every source of binary packages of Debian's main, as a chroot could use it too."""
    for file in sorted(folder.glob("sources.list.d/*.sources")):
        for stanza in read_stanzas(file.read_text("utf-8", "replace")):
            on = stanza.get("Enabled", "yes").strip().lower() not in _OFF
            if on and "deb" in stanza.get("Types", "").split() and "main" in stanza.get("Components", "").split():
                for uri in _resolve(stanza.get("URIs", "")):
                    yield from ((uri, suite) for suite in stanza.get("Suites", "").split())
    for file in (folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))):
        if file.is_file():
            for line in file.read_text("utf-8", "replace").splitlines():
                entry = _ENTRY.match(line.split("#")[0])
                words = entry[1].split() if entry else []
                if len(words) >= 3 and "main" in words[2:]:
                    yield from ((uri, words[1]) for uri in _resolve(words[0]))


def _resolve(uris: str) -> Iterator[str]:
    """Addresses that work outside this host: a list of mirrors gives its first one, a disc gives none."""
    for uri in uris.split():
        if uri.startswith("mirror+file:"):
            with contextlib.suppress(OSError):
                lines = Path(uri.removeprefix("mirror+file:")).read_text("utf-8", "replace").splitlines()
                yield from [line.split()[0] for line in lines if line.strip() and not line.startswith("#")][:1]
        elif uri.startswith(("http:", "https:", "ftp:", "file:", "copy:")):
            yield uri
