"""A disk that fills up while a build runs."""

from __future__ import annotations

import pytest

from tests.chroot.machine import NOTHING, Hapkg, find_leftovers
from tests.chroot.miniature import Miniature, make_plain_source

# A small file system in a mount namespace of its own: it is gone with its last process.
SMALL = """
folder=$1 size=$2
shift 2
mount -t tmpfs -o "size=$size" tmpfs "$folder"
exec "$@"
"""

# The state folder itself is small; only the base chroot stays where it is.
SMALL_CACHE = """
folder=$1 size=$2
shift 2
aside=$(mktemp -d)
mount --bind "$folder/chroots" "$aside"
mount -t tmpfs -o "size=$size" tmpfs "$folder"
mkdir -p "$folder/chroots" "$folder"/archives/{suite}/partial
mount --bind "$aside" "$folder/chroots"
exec "$@"
"""


@pytest.mark.parametrize("place", ["chroot", "cache", "store"])
def test_a_full_disk_is_one_clear_error_and_the_next_run_completes(
    hapkg: Hapkg, project: Miniature, place: str
) -> None: ...
