"""Settings of apt: of roots that hapkg makes, of an index that is not the host's, and the host's own."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hapkg.programs import process

BASE = {"APT::Install-Recommends": "false", "APT::Sandbox::User": "root", "Acquire::Languages": "none"}
"""Settings of every root that hapkg makes: what is asked for and no more, fetched by root, for nobody to read."""
_CARRIED = re.compile(
    r"Acquire::(Check-Valid-Until|Check-Date|https?::(Proxy(::[^:]+)?|Proxy-?Auto-?Detect|Pipeline-Depth)"
    r"|https::([^:]+::)?(CaInfo|SslCert|SslKey|Verify-Peer|Verify-Host))",
    re.IGNORECASE,
)
"""Options of one host, too: Acquire::http::Proxy::HOST, Acquire::https::HOST::CAInfo."""
_PASSWORDS = {"Dir::Etc::netrc": Path("/etc/apt/auth.conf"), "Dir::Etc::netrcparts": Path("/etc/apt/auth.conf.d")}


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


def write_settings(file: Path, settings: Mapping[str, str]) -> Path:
    """Write settings into a file of apt's that its owner alone reads, for --config-file; return it.

    As options of programs they would be seen by everybody, and a proxy may have a password in its address.
    """
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, delete=False) as new:  # mode 0600
        new.write(format_settings(settings))
    return Path(new.name).replace(file)


def format_settings(settings: Mapping[str, str]) -> str:
    """Settings as a file of apt's configuration has them."""
    return "".join(f'{name} "{value}";\n' for name, value in settings.items())


def read_apt_options() -> dict[str, str]:
    """The host's apt options that decide whether and how its archive can be reached.

    Passwords of archives are none of them: apt is told the files of the host that hold them. One of a proxy may be.
    """
    output = process.run(["apt-config", "dump", "Acquire"], check=False).output
    options: dict[str, str] = {}
    for line in output.splitlines():
        name, _, value = line.partition(" ")
        if _CARRIED.fullmatch(name) and value not in ('"";', ""):
            options[name] = value.strip('";')
    return options | {name: str(path) for name, path in _PASSWORDS.items() if path.exists()}
