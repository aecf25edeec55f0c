"""Hostile build: what upstream's code does to the folder of its build reaches nothing on the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.host import read_architecture
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
    _check_nothing_outside(hapkg, victim)


OWN = "#!/bin/sh\nset -e\n#DEBHELPER#\n"
SCRIPTS = {
    "a script of its own": ("", "printf '#!/bin/sh\\ntouch /owned\\n' > debian/ha-evil.postinst", "postinst"),
    "a line more": (OWN, "sed -i '2a touch /owned' debian/ha-evil.postinst", "postinst"),
    "what looks as if debhelper had added it": (
        OWN,
        "printf '# Automatically added by dh_x/1\\ntouch /owned\\n# End automatically added section\\n'"
        " > debian/ha-evil.postinst.debhelper",
        "postinst",
    ),
    "a trigger": ("", "echo interest /usr/bin > debian/ha-evil.triggers", "triggers"),
}
"""Scripts of a package that debian/ has, the command by which the build changes them, and which is named."""


@pytest.mark.parametrize("change", SCRIPTS)
def test_a_maintainer_script_that_the_build_makes_ends_it(change: str, hapkg: Hapkg, project: Miniature) -> None:
    own, command, name = SCRIPTS[change]
    project.add("evil", make_plain_source(install=[*INSTALL, command]))
    if own:
        project.add_debian_file("evil", "ha-evil.postinst", own)
    done = hapkg.on(project.root).run("build", "evil", "--no-lintian", "--suite", SUITE)
    assert done.status == 10, done.stderr
    assert done.complaint.brief.startswith("ha-evil_1.0-1+ha12.1_")
    assert name in done.complaint.brief
    assert "debian/" in done.complaint.brief


IN_PLACE = {
    "kept": "ha-evil_1.0-1+ha12.1_{architecture}.deb is a symbolic link, and no file",
    "{victim}": "",
}
"""Targets of the link, and how the build ends: Debian's own tools follow the first; for the second they end it."""


@pytest.mark.parametrize("target", IN_PLACE)
def test_a_link_put_in_the_place_of_a_result_ends_the_build(
    target: str, hapkg: Hapkg, project: Miniature, tmp_path: Path
) -> None:
    """A process of the build waits until the package is made, and puts a link in its place."""
    victim = tmp_path / "victim"
    victim.write_text(PRECIOUS)
    victim.chmod(0o600)
    swap = _swap(target.format(victim=victim))
    project.add("evil", make_plain_source(install=[*INSTALL, f"({swap}) >/dev/null 2>&1 </dev/null &"]))
    done = hapkg.on(project.root).run("build", "evil", "--no-lintian", "--suite", SUITE)
    assert done.status == 10, done.stderr
    assert IN_PLACE[target].format(architecture=read_architecture()) in done.complaint.brief
    _check_nothing_outside(hapkg, victim)


def _swap(target: str) -> str:
    deb = "../ha-evil_*.deb"
    wait = "until test -e ../*.buildinfo; do sleep 0.01; done"
    return f"{wait}; cp {deb} ../kept; ln -s {target} ../link; mv -T ../link {deb}"


def _check_nothing_outside(hapkg: Hapkg, victim: Path) -> None:
    assert victim.read_text() == PRECIOUS
    assert victim.stat().st_mode & 0o7777 == 0o600
    assert [folder for folder in hapkg.cache.glob("builds/*") if list(folder.glob("*evil*"))] == []
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING
