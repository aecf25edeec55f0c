"""A .buildinfo file: what a build made, and every package that was there. It is input, and checked as such."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hapkg.control import is_package_name, split_stanzas
from hapkg.errors import IntegrityError
from hapkg.repository.paths import read_file

_MOST_BYTES = 16 << 20
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+:~-]*")
_INSTALLED = re.compile(r"([a-z0-9][a-z0-9+.-]+)(?::[a-z0-9-]+)? \(= ([^ )]+)\)")
_CHECKSUM = re.compile(r"([0-9a-f]{64}) [0-9]+ ([A-Za-z0-9.+:~_-]+)")
_PARALLEL = re.compile(r"\bparallel=([0-9]{1,4})\b")


@dataclass(frozen=True, kw_only=True)
class BuildInfo:
    """The facts of a build that a rebuild needs."""

    source: str
    version: str
    architecture: str
    digests: Mapping[str, str]
    """sha256 of each .deb that the build made, by file name."""
    installed: Mapping[str, str]
    """Versions of all packages that the build could see, by name."""
    parallel: int
    """Jobs that make ran at once."""


def read_buildinfo(file: Path) -> BuildInfo:
    """Read a .buildinfo file. Raises IntegrityError for one that is none, or lacks what a rebuild needs."""
    try:
        text = read_file(file, most=_MOST_BYTES).decode()
        (stanza,) = split_stanzas(text)
        source, version = stanza["Source"].partition(" ")[0], stanza["Version"]
        if not is_package_name(source) or not _VERSION.fullmatch(version):
            raise ValueError(f"source {source!a} in version {version!a}")
        digests = {name: digest for digest, name in _parse(_CHECKSUM, stanza["Checksums-Sha256"])}
        installed = dict(_parse(_INSTALLED, stanza["Installed-Build-Depends"]))
        if wrong := [known for known in installed.values() if not _VERSION.fullmatch(known)]:
            raise ValueError(f"version {wrong[0]!a}")
    except KeyError as cause:
        raise _describe(file, f"it has no field {cause.args[0]}") from cause
    except UnicodeDecodeError as cause:
        raise _describe(file, "it is not UTF-8 text") from cause
    except ValueError as cause:
        raise _describe(file, str(cause)) from cause
    parallel = _PARALLEL.search(stanza.get("Environment", ""))
    return BuildInfo(
        source=source,
        version=version,
        architecture=stanza.get("Build-Architecture", ""),
        digests={name: digest for name, digest in digests.items() if name.endswith(".deb")},
        installed=installed,
        parallel=int(parallel[1]) if parallel else 1,
    )


def _parse(pattern: re.Pattern[str], field: str) -> list[tuple[str, str]]:
    """Both groups of each line of a field. Raises ValueError for a line that is another thing."""
    found = []
    for line in filter(None, (line.strip().rstrip(",") for line in field.splitlines())):
        match = pattern.fullmatch(line)
        if match is None:
            raise ValueError(f"the line {line[:100]!a}")
        found.append((match[1], match[2]))
    return found


def _describe(file: Path, fault: str) -> IntegrityError:
    return IntegrityError(
        f"{file} is no .buildinfo file that can be built from: {fault}",
        hint="restore it from a copy, or build the package anew: hapkg build",
    )
