"""The rendered source packages need no hapkg: Debian's sbuild builds the same from them."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.chroot.conftest import Built
from tests.support.machine import SUITE, Hapkg, find_mounts, find_sessions

CONFIGURATION = """\
[{name}]
type=directory
directory={root}
union-type=overlay
users=root
root-users=root
profile=sbuild
"""


@pytest.fixture
def chroot(hapkg: Hapkg) -> Iterator[str]:
    """A schroot as sbuild wants it, over the packages of the base chroot."""
    name = f"{hapkg.chroot}-sbuild"
    file = Path("/etc/schroot/chroot.d") / name
    root = hapkg.cache / "chroots" / SUITE / "root"
    file.write_text(CONFIGURATION.format(name=name, root=root))
    yield name
    file.unlink()
    assert find_sessions(name) == []
    assert find_mounts(name) == []


def test_sbuild_builds_the_same_bytes(built: Built, chroot: str, tmp_path: Path) -> None:
    argv = ["sbuild", f"--chroot={chroot}", f"--dist={SUITE}", "--no-run-lintian", "--nolog"]
    argv += ["--no-apt-update", "--no-apt-upgrade", "--no-apt-distupgrade"]  # the packages hapkg built against
    jobs = {}
    for source, extra in (("ha-one", []), ("ha-two", ["ha-one", "ha-one-dev"])):
        folder = tmp_path / source
        folder.mkdir()
        (dsc,) = built.hapkg.folder(built.run.outcomes[source]).glob("*.dsc")
        packages = [f"--extra-package={built.deb(name)}" for name in extra]
        with (folder / "log").open("w") as log:
            jobs[source] = subprocess.Popen(
                [*argv, *packages, str(dsc)], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
    for source, job in jobs.items():
        folder = tmp_path / source
        assert job.wait(timeout=900) == 0, (folder / "log").read_text()
        theirs = {deb.name: digest(deb) for deb in folder.glob("*.deb")}
        ours = {deb.name: digest(deb) for deb in built.hapkg.folder(built.run.outcomes[source]).glob("*.deb")}
        assert theirs == ours


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
