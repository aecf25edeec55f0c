"""doctor tries what builds need, and a build on a machine that lacks it says so."""

from __future__ import annotations

import json

import pytest

from tests.support.machine import NOTHING, Done, Hapkg, find_leftovers
from tests.support.miniature import Miniature, make_plain_source

ON_OVERLAY = """
    place=$(mktemp -d)
    mount -t tmpfs tmpfs "$place"
    mkdir "$place/lower" "$place/upper" "$place/work"
    options="lowerdir=$place/lower,upperdir=$place/upper,workdir=$place/work"
    mount -t overlay -o "$options" overlay /var/lib/schroot/union/overlay
    umount --lazy "$place"
    rmdir "$place"
"""
"""A machine on which sessions write on an overlay, as in a container."""
LACKS = {
    "overlay": ("unshare", "--mount", "sh", "-ec", f'{ON_OVERLAY}\nexec "$@"', "sh"),
    "namespaces": ("setpriv", "--bounding-set=-sys_admin"),
    "mount options": ("unshare", "--mount", "sh", "-ec", 'mount -t tmpfs -o nodev none /mnt\nexec "$@"', "sh"),
}
"""By the check that finds it: commands that make a machine on which builds do not work."""


def find_lacks(done: Done) -> dict[str, str]:
    """Remedies of what doctor finds wrong, by check."""
    return {found["check"]: found["remedy"] for found in json.loads(done.stdout) if not found["ok"]}


@pytest.mark.parametrize("lack", LACKS)
def test_doctor_finds_what_does_not_work(hapkg: Hapkg, lack: str) -> None:
    cache = {"HAPKG_CACHE": "/mnt/state"} if lack == "mount options" else {}
    done = hapkg.run("doctor", "--json", within=LACKS[lack], **cache)
    assert done.status != 0
    assert find_lacks(done)[lack]


def test_doctor_leaves_nothing(hapkg: Hapkg) -> None:
    before = sorted(path.name for path in hapkg.cache.iterdir())
    assert find_lacks(hapkg.run("doctor", "--json")).keys() <= {f"space below {hapkg.cache}"}
    assert sorted(path.name for path in hapkg.cache.iterdir()) == before


def test_a_session_that_cannot_begin_is_the_machines_fault(hapkg: Hapkg, project: Miniature) -> None:
    project.add("stranded", make_plain_source())
    done = hapkg.on(project.root).run("build", "stranded", "--no-lintian", within=LACKS["overlay"])
    assert done.status == 9, done.stderr
    assert done.complaint.brief.endswith("schroot cannot begin a session on this machine")
    assert any("mount" in line for line in done.complaint.details)
    assert "doctor" in done.complaint.hint
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING
    assert hapkg.on(project.root).succeed("build", "stranded", "--no-lintian", "--json").endings == {
        "ha-stranded": "built"
    }
