"""ccache in builds, where it is wanted: what a recipe compiled before is not compiled again.

It never changes what a build gives. Its packages are installed with the build dependencies, and they are no part of a
key. What is kept belongs to one recipe and to exactly one set of packages: with another compiler, or another anything
from the archive, nothing of it is found. A session gets the recipe's own cache alone, as a copy, and gives it back at
its end; so a build that is killed harms nothing.

ccache/<suite>/<source>.tar   what ccache keeps for a recipe
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from hapkg.chroot.base import BUILD_USER
from hapkg.chroot.layer import make_layer_key
from hapkg.chroot.resolver import find_archives, resolve
from hapkg.chroot.schroot import Chroot
from hapkg.chroot.sessions import Session
from hapkg.errors import BuildError, MachineError, ProcessError
from hapkg.locations import State

MOST_BYTES = "500M"
"""Limit of one recipe's cache, in ccache's words."""
_FOLDER = "/srv/hapkg/ccache"
_COMPILERS = "/usr/lib/ccache"
"""The folder in which Debian's ccache has a link for every compiler."""


def find_packages(base: Chroot, packages: Mapping[str, str], state: State, source: str) -> Mapping[str, str]:
    """Packages that ccache needs beside these of the archive, which stay in their versions. Raises MachineError."""
    pins = sorted(f"{name} (= {version})" for name, version in packages.items())
    try:
        answer = resolve(base, ("ccache", *pins), state, source=source)
    except BuildError as error:
        raise MachineError(
            f"{source}: the archive has no ccache that fits its build dependencies",
            details=error.details,
            hint="run: hapkg chroot update; or build without --ccache",
        ) from error
    return {name: version for name, version in answer.items() if name not in packages}


def make_exports(base: Chroot, packages: Mapping[str, str], state: State) -> str:
    """Shell commands that make a build of these packages use its cache."""
    values = {
        "CCACHE_DIR": _FOLDER,
        "CCACHE_MAXSIZE": MOST_BYTES,
        "CCACHE_NAMESPACE": make_layer_key(base, find_archives(base, packages, state)),
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    return "\n".join((*lines, f"export PATH={_COMPILERS}:$PATH", "ccache --zero-stats"))


@contextlib.contextmanager
def lend_cache(session: Session, state: State, suite: str, source: str, log: IO[bytes]) -> Iterator[None]:
    """Give a session the cache of a recipe, and keep it as the session leaves it, also when the build fails."""
    kept = state.ccache / suite / f"{source}.tar"
    session.run(["install", "-d", "-o", BUILD_USER, "-g", BUILD_USER, _FOLDER], user="root")
    with contextlib.suppress(FileNotFoundError), kept.open("rb") as archive:
        if session.run(["tar", "-x", "-C", _FOLDER], stdin=archive, log=log, check=False).status != 0:
            log.write(b"ccache: what was kept is damaged, and is left\n")
            session.run(["find", _FOLDER, "-mindepth", "1", "-delete"])
    try:
        yield
    except ProcessError:
        with contextlib.suppress(ProcessError, OSError):
            _keep(session, kept, log)
        raise
    _keep(session, kept, log)


def _keep(session: Session, kept: Path, log: IO[bytes]) -> None:
    session.run(["env", f"CCACHE_DIR={_FOLDER}", f"CCACHE_MAXSIZE={MOST_BYTES}", "ccache", "--show-stats"], log=log)
    kept.parent.mkdir(parents=True, exist_ok=True)
    new = kept.with_name(f".new-{kept.name}")
    with new.open("wb") as archive:
        session.run(["tar", "-c", "-C", _FOLDER, "."], stdout=archive)
    new.replace(kept)
