"""A disk that fills up while a build runs."""

from __future__ import annotations

import pytest

from tests.support.machine import NOTHING, SUITE, Hapkg, find_leftovers
from tests.support.miniature import Miniature, make_plain_source

# Each is a small file system in a mount namespace of its own, which is gone with its last process.
PLACES = {
    # where sessions write: what the build makes does not fit
    "chroot": """
        mount -t tmpfs -o size=20m tmpfs /var/lib/schroot/union/overlay
    """,
    # where layers are made: the dependencies do not fit
    "layers": """
        mount -t tmpfs -o size=2m tmpfs "$HAPKG_CACHE/layers"
    """,
    # the state folder with everything but the base chroot: the downloaded packages do not fit
    "cache": f"""
        aside=$(mktemp -d)
        mount --bind "$HAPKG_CACHE/chroots" "$aside"
        mount -t tmpfs -o size=3m tmpfs "$HAPKG_CACHE"
        mkdir -p "$HAPKG_CACHE/chroots" "$HAPKG_CACHE/archives/{SUITE}"
        mount --bind "$aside" "$HAPKG_CACHE/chroots"
        umount "$aside"
        rmdir "$aside"
    """,
    # the store alone: what was built does not fit
    "store": """
        mkdir -p "$HAPKG_CACHE/builds"
        mount -t tmpfs -o size=24k tmpfs "$HAPKG_CACHE/builds"
    """,
}


@pytest.mark.parametrize("where", PLACES)
def test_a_full_disk_is_one_clear_error(hapkg: Hapkg, project: Miniature, where: str) -> None:
    project.add("large", make_plain_source(build=["head -c 40000000 /dev/zero > large"]))
    within = ("unshare", "--mount", "sh", "-ec", f'{PLACES[where]}\nexec "$@"', "sh")
    done = hapkg.on(project.root).run("build", "large", "--no-lintian", within=within)
    assert done.status == 9, done.stderr
    assert done.complaint.brief == "ha-large: the disk is full"
    assert done.complaint.hint == "free some space: hapkg clean"
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING


def test_with_room_again_the_build_completes(hapkg: Hapkg, project: Miniature) -> None:
    project.add("large", make_plain_source())
    done = hapkg.on(project.root).succeed("build", "large", "--no-lintian", "--json")
    assert done.outcomes["ha-large"]["reason"] == "not built yet"
    assert done.endings == {"ha-large": "built"}
