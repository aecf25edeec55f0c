"""The base chroot itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hapkg.errors import MachineError
from tests.support.machine import SUITE, Hapkg, find_configuration
from tests.support.miniature import Miniature, make_plain_source


def test_create_keeps_a_chroot_that_exists(hapkg: Hapkg) -> None:
    description = hapkg.cache / "chroots" / SUITE / "chroot.json"
    before = description.stat().st_mtime_ns
    done = hapkg.succeed("chroot", "create")
    assert hapkg.chroot in done.stderr
    assert description.stat().st_mtime_ns == before


def test_schroot_is_told_of_it_in_files_of_our_name_alone(hapkg: Hapkg) -> None:
    assert find_configuration(hapkg.cache) == [
        Path("/etc/schroot/chroot.d", hapkg.chroot),
        Path("/etc/schroot/hapkg", f"{hapkg.chroot}.config"),
        Path("/etc/schroot/hapkg", f"{hapkg.chroot}.fstab"),
    ]


def test_a_chroot_that_another_hapkg_prepared_is_made_anew(hapkg: Hapkg, project: Miniature) -> None:
    project.add("any", make_plain_source())
    description = hapkg.cache / "chroots" / SUITE / "chroot.json"
    kept = description.read_text()
    try:
        description.write_text(json.dumps({**json.loads(kept), "contents": "other"}))
        (step,) = json.loads(hapkg.on(project.root).succeed("plan", "--json").stdout)
        assert step["reason"] == f"no base chroot of {SUITE} yet"
    finally:
        description.write_text(kept)


def test_a_base_that_a_hand_changed_is_refused(hapkg: Hapkg, project: Miniature) -> None:
    project.add("any", make_plain_source())
    file = hapkg.cache / "chroots" / SUITE / "root/etc/issue"
    kept, state = file.read_text(), file.stat()
    try:
        file.write_text(kept + "a line more\n")
        done = hapkg.on(project.root).run("build", "any", "--no-lintian", "--suite", SUITE)
    finally:
        file.write_text(kept)
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert done.status == MachineError.exit_code, done.stderr
    assert done.complaint.brief == f"the base chroot of {SUITE} is not as it was made"
    assert done.complaint.hint == f"run: hapkg chroot update --suite {SUITE}"
    hapkg.on(project.root).succeed("build", "any", "--no-lintian", "--suite", SUITE)
