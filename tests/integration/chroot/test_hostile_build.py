"""Hostile build: what upstream's code does to the folder of its build reaches nothing on the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.machine import NOTHING, SUITE, Hapkg, find_leftovers
from tests.support.miniature import Miniature, make_plain_source

PRECIOUS = "one line\n"
LEAVES = {
    "link at hapkg's log": "ln -sf {victim} ../build.log; touch '../build.log a.buildinfo' ../a.buildinfo",
    "link at a result": "ln -s {victim} ../ha-evil_1.0-1+ha12.1_amd64.buildinfo.deb",
    "link to read": "ln -s {victim} ../secret.txt; touch '../secret.txt a.buildinfo' ../a.buildinfo",
    "FIFO": "mkfifo ../a.buildinfo",
    "setuid": "cp /usr/bin/id ../a.buildinfo; chmod 4755 ../a.buildinfo",
    "folder": "mkdir ../a.deb",
    "newline": "touch \"../$$(printf 'a\\nb.deb')\"",
    "another package": "cp /dev/null ../ha-forge_9_all.deb",
}
"""Commands of a build, run in its source tree."""
INSTALL = ("mkdir -p $(DESTDIR)$(prefix)/share/plain", "cp README $(DESTDIR)$(prefix)/share/plain/")


@pytest.mark.parametrize("leave", LEAVES)
def test_what_a_build_leaves_beside_its_results_ends_it(
    leave: str, hapkg: Hapkg, project: Miniature, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text(PRECIOUS)
    victim.chmod(0o600)
    project.add("evil", make_plain_source(install=[*INSTALL, LEAVES[leave].format(victim=victim)]))
    done = hapkg.on(project.root).run("build", "evil", "--no-lintian", "--suite", SUITE)
    assert done.status == 10, done.stderr
    assert done.complaint.brief.startswith("ha-evil: the build leaves ")
    assert victim.read_text() == PRECIOUS
    assert victim.stat().st_mode & 0o7777 == 0o600
    assert [folder for folder in hapkg.cache.glob("builds/*") if list(folder.glob("*evil*"))] == []
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING


def test_a_link_in_the_place_of_a_result_is_refused(hapkg: Hapkg, project: Miniature, tmp_path: Path) -> None:
    """The last thing that dpkg-buildpackage runs is of the build, too: a hook of the source's own rules."""
    victim = tmp_path / "victim"
    victim.write_text(PRECIOUS)
    project.add("evil", make_plain_source(build=[f"({_replace(victim)}) >/dev/null 2>&1 </dev/null &"]))
    done = hapkg.on(project.root).run("build", "evil", "--no-lintian", "--suite", SUITE)
    assert "Traceback" not in done.stderr
    assert victim.read_text() == PRECIOUS
    if done.status:
        assert done.status == 10, done.stderr


def _replace(victim: Path) -> str:
    """Commands that wait in the background for a result, and put a link there."""
    return f"for i in 1 2 3 4 5 6 7 8 9; do sleep 0.3; for f in ../*.changes; do ln -sf {victim} $$f; done; done"
