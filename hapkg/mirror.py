"""Where the Debian archive is: an option, else the host's apt configuration, else mmdebstrap's own default."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hapkg import command
from hapkg.control import Suite, read_stanzas

SUITES = ("bookworm", "bullseye", "buster", "trixie", "forky", "sid", "stable", "testing", "unstable", "oldstable")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
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


def find_mirror(option: str | None) -> Mirror | None:
    """The mirror to use, or None where only mmdebstrap's default is left."""
    if option:
        return Mirror(uri=option.rstrip("/") + "/", security=None)
    uri = security = None
    for address, suite in _host_entries():
        name = suite.partition("-")[0].partition("/")[0]
        if name not in SUITES:
            continue
        if suite.endswith(("-security", "/updates")):
            security = security or address
        elif "-" not in suite:
            uri = uri or address
    return Mirror(uri=uri, security=security) if uri else None


def read_apt_options() -> dict[str, str]:
    """The host's apt options that decide whether and how its archive can be reached."""
    output = command.run(["apt-config", "dump", *_CARRIED_OPTIONS], check=False).output
    options: dict[str, str] = {}
    for line in output.splitlines():
        name, _, value = line.partition(" ")
        if name in _CARRIED_OPTIONS and value not in ('"";', ""):
            options[name] = value.strip('";')
    return options


def _host_entries(folder: Path = Path("/etc/apt")) -> Iterator[tuple[str, str]]:
    """(address, suite) of every binary package source of Debian's in the host's configuration."""
    for file in sorted(folder.glob("sources.list.d/*.sources")):
        for stanza in read_stanzas(file.read_text("utf-8", "replace")):
            if "deb" in stanza.get("Types", "").split() and stanza.get("Enabled", "yes") != "no":
                for uri in stanza.get("URIs", "").split():
                    yield from ((uri, suite) for suite in stanza.get("Suites", "").split() if _is_debian(stanza))
    for file in (folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))):
        if file.is_file():
            for line in file.read_text("utf-8", "replace").splitlines():
                words = line.split("#")[0].split()
                if words[:1] == ["deb"]:
                    rest = line.split("]", 1)[1].split() if words[1:] and words[1].startswith("[") else words[1:]
                    if len(rest) >= 3 and "main" in rest[2:]:
                        yield rest[0], rest[1]


def _is_debian(stanza: object) -> bool:
    components = getattr(stanza, "get", lambda *_: "")("Components", "")
    return "main" in str(components).split()
