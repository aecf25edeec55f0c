"""Debian's .buildinfo files: what a build made, when, and every package that was there. They are input, and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from hapkg.control import is_package_name, split_stanzas

_VERSION = re.compile(r"[0-9][A-Za-z0-9.+:~-]{0,199}")
_INSTALLED = re.compile(r"([a-z0-9][a-z0-9+.-]+)(?::[a-z0-9-]+)? \(= ([^ )]+)\)")
_CHECKSUM = re.compile(r"([0-9a-f]{64}) [0-9]+ ([A-Za-z0-9.+:~_-]+)")
_PARALLEL = re.compile(r"\bparallel=([0-9]{1,4})\b")
_MOST_PACKAGES = 20_000


@dataclass(frozen=True, kw_only=True)
class BuildInfo:
    """The facts of a build that others need who build it again, or tell of it."""

    source: str
    version: str
    architecture: str
    date: datetime
    """When it ended, in UTC."""
    digests: Mapping[str, str]
    """sha256 of each .deb that the build made, by file name."""
    installed: Mapping[str, str]
    """Versions of all packages that the build could see, by name."""
    parallel: int
    """Jobs that make ran at once."""


def parse_buildinfo(text: str) -> BuildInfo:
    """Read the text of a .buildinfo file. Raises ValueError, which says what it lacks or which part is wrong."""
    stanzas = list(split_stanzas(text))
    if len(stanzas) != 1:
        raise ValueError(f"it has {len(stanzas)} stanzas")
    (stanza,) = stanzas
    needed = ("Source", "Version", "Checksums-Sha256", "Installed-Build-Depends", "Build-Date")
    if missing := [name for name in needed if name not in stanza]:
        raise ValueError(f"it has no field {missing[0]}")
    source, version = stanza["Source"].partition(" ")[0], stanza["Version"]
    if not is_package_name(source) or not _VERSION.fullmatch(version):
        raise ValueError(f"source {source[:100]!a} in version {version[:100]!a}")
    installed = dict(_parse(_INSTALLED, stanza["Installed-Build-Depends"]))
    if not installed or len(installed) > _MOST_PACKAGES:
        raise ValueError(f"{len(installed)} packages were installed")
    if wrong := [known for known in installed.values() if not _VERSION.fullmatch(known)]:
        raise ValueError(f"version {wrong[0][:100]!a}")
    digests = {name: digest for digest, name in _parse(_CHECKSUM, stanza["Checksums-Sha256"])}
    try:
        date = parsedate_to_datetime(stanza["Build-Date"]).astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as cause:
        raise ValueError(f"Build-Date {stanza['Build-Date'][:80]!a}") from cause
    parallel = _PARALLEL.search(stanza.get("Environment", ""))
    return BuildInfo(
        source=source,
        version=version,
        architecture=stanza.get("Build-Architecture", ""),
        date=date,
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
