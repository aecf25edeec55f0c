"""Upstream's tarball becomes a tree. The bytes are others': extraction.py reads them, confined."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path

from hapkg.errors import SourceError
from hapkg.programs import confinement, process
from hapkg.recipe.model import Recipe
from hapkg.source import extraction

_CALL = """
import sys
status, said = extract(sys.stdin.buffer, *map(int, sys.argv[1:]))
sys.stdout.write(said)
sys.exit(status)
"""
"""Below the code of extraction.py: extract standard input into the current folder, and say why it does not go on."""
MOST_MEMBERS = 1_000_000
MOST_LEVELS = 100
MOST_BYTES = 10_000_000_000


def unpack(recipe: Recipe, tarball: Path, tree: Path) -> None:
    """Unpack the tarball's one folder as the tree, an empty folder.

    Raises SourceError for a tarball that is damaged, hostile or holds anything but one folder, OSError when the disk
    cannot take it.
    """
    scratch = tree.with_name(".unpacked")
    scratch.mkdir(0o755)
    status, said = _extract(tarball, scratch)
    if status == extraction.HOSTILE:
        raise SourceError(
            f"{recipe.source}: the tarball {said}",
            hint="its checksum matches the recipe, so upstream's own file is so: look at it before you trust the rest",
        )
    if status == extraction.MACHINE:
        raise OSError(int(said), os.strerror(int(said)), str(scratch))
    if status != 0:
        raise SourceError(
            f"{recipe.source}: the tarball cannot be unpacked",
            details=said.splitlines()[-3:] or [process.describe_status(status)],
            hint="its checksum matches the recipe, so upstream's file itself is damaged: pin another",
        )
    found = sorted(scratch.iterdir())
    if len(found) != 1 or found[0].is_symlink() or not found[0].is_dir():
        raise SourceError(
            f"{recipe.source}: the tarball does not hold one folder with everything in it",
            details=[f"found: {', '.join(ascii(entry.name)[1:-1] for entry in found[:5]) or 'nothing'}"],
            hint="pin upstream's release tarball",
        )
    found[0].rename(tree)
    scratch.rmdir()


def _extract(tarball: Path, target: Path) -> tuple[int, str]:
    """Extract a tarball into a folder: the status that extraction.py gives, and its words."""
    python = Path(sys.executable).resolve()
    limits = [str(most) for most in (MOST_MEMBERS, MOST_LEVELS, MOST_BYTES)]
    readable = [] if python.is_relative_to("/usr") else [Path(sys.base_prefix)]
    # The code itself, for the file may be one that only its owner reads.
    argv = [str(python), "-ISB", "-c", inspect.getsource(extraction) + _CALL, *limits]
    with tarball.open("rb") as stream:
        done = confinement.run(argv, readable=readable, writable=target, stdin=stream, check=False)
    return done.status, done.output.strip()
