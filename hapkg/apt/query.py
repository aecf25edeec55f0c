"""Questions to apt about a root: its packages and the index inside it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hapkg.apt.settings import describe_index, format_settings
from hapkg.host import find_architecture
from hapkg.programs import process


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
        text = format_settings(settings)
        if architecture := find_architecture(status):
            text += f'APT::Architecture "{architecture}";\nAPT::Architectures {{ "{architecture}"; }};\n'
        file.write_text(text, "utf-8")
        return process.run(argv, check=check, environment={"APT_CONFIG": str(file)}).output
