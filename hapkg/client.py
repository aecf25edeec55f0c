"""What a machine needs to use the repository: one .sources file with the key inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hapkg import disk
from hapkg.control import Suite


def make_sources(uri: str, suite: Suite, armored_key: str) -> str:
    """A .sources file (deb822) for one suite; the key is part of it, so that this one file is all a machine needs."""
    lines = ["Signed-By:", *(f" {line}" if line else " ." for line in armored_key.strip().splitlines())]
    return (
        "# For source packages add deb-src to Types; for debug symbols add debug to Components.\n"
        f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n" + "\n".join(lines) + "\n"
    )


def write_sources(root: Path, suites: Sequence[Suite], name: str, uri: str, armored_key: str) -> tuple[Path, ...]:
    """One NAME-SUITE.sources per suite. NAME.sources as well while there is one suite alone: with several, a file that
    does not say its suite would be wrong on most machines, so it goes."""
    files = {root / f"{name}-{suite}.sources": make_sources(uri, suite, armored_key) for suite in suites}
    short = root / f"{name}.sources"
    if len(suites) == 1:
        files = {short: make_sources(uri, suites[0], armored_key), **files}
    else:
        short.unlink(missing_ok=True)
    for file, text in files.items():
        disk.replace(file, text.encode())
    return tuple(files)
