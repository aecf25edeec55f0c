"""A build that hangs, floods or forks is ended, and named as what it did."""

from __future__ import annotations

import pytest

from tests.support.machine import NOTHING, SUITE, Hapkg, find_leftovers
from tests.support.miniature import SLEEP, Miniature, make_plain_source

EXCESSES = {
    "hang": ("silence-seconds = 5", [SLEEP], "says nothing for 5 seconds (silence-seconds)"),
    "flood": ("log-megabytes = 1", ["yes"], "writes a log of more than 1 MB (log-megabytes)"),
    "one long line": ("log-megabytes = 1", ["cat /dev/zero"], "writes a log of more than 1 MB (log-megabytes)"),
    "talk without end": (
        "total-seconds = 8",
        ["while sleep 0.2; do echo x; done"],
        "takes more than 8 seconds (total-seconds)",
    ),
    "forks": (
        "processes = 400",
        [f"for n in $$(seq 450); do setsid {SLEEP} & done; wait"],
        "runs more than 400 processes (processes)",
    ),
    "memory": (
        "memory-megabytes = 300",
        ["perl -e '$$held = \"x\" x (400 << 20); sleep 7391'"],
        "holds more than 300 MB of memory (memory-megabytes)",
    ),
    "shared memory": (
        "shm-megabytes = 10",
        ["head -c 30000000 /dev/zero > /dev/shm/large", SLEEP],
        "puts more than 10 MB into /dev/shm (shm-megabytes)",
    ),
    "disk": (
        "disk-megabytes = 50",
        ["for n in 1 2 3 4 5 6 7 8; do head -c 20000000 /dev/urandom > large$$n; done", "sync", SLEEP],
        "puts more than 50 MB on the disk (disk-megabytes)",
    ),
    "file": (
        "file-megabytes = 10",
        ["head -c 30000000 /dev/zero > large"],
        "writes a file of more than 10 MB (file-megabytes)",
    ),
}
"""By what a build does: a limit, its commands, and how it is named."""


@pytest.mark.parametrize("excess", EXCESSES)
def test_a_build_that_passes_a_limit_is_ended_and_named(hapkg: Hapkg, project: Miniature, excess: str) -> None:
    limit, commands, clause = EXCESSES[excess]
    with (project.root / "pyproject.toml").open("a") as settings:
        settings.write(f"\n[tool.hapkg.limits]\n{limit}\n")
    project.add("greedy", make_plain_source(build=commands))
    done = hapkg.on(project.root).run("build", "greedy", "--no-lintian", "--suite", SUITE)
    assert done.status == 10, done.stderr
    assert done.complaint.brief.startswith(f"ha-greedy {clause}, and was ended in phase ")
    assert "[tool.hapkg.limits]" in done.complaint.hint
    assert max(map(len, done.complaint.details)) < 2000
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING


def test_a_built_package_whose_script_hangs_ends_the_build_that_installs_it(hapkg: Hapkg, project: Miniature) -> None:
    with (project.root / "pyproject.toml").open("a") as settings:
        settings.write("\n[tool.hapkg.limits]\nsilence-seconds = 8\n")
    project.add("slow", make_plain_source())
    project.add_debian_file("slow", "ha-slow.postinst", f"#!/bin/sh\nset -e\n{SLEEP}\n#DEBHELPER#\n")
    project.add("user", make_plain_source(), build_depends=["ha-slow"])
    done = hapkg.on(project.root).run("build", "user", "--no-lintian", "--suite", SUITE)
    assert done.status == 10, done.stderr
    told = "ha-user says nothing for 8 seconds (silence-seconds), and was ended in phase dependencies"
    assert done.complaint.brief == told
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING
