"""Rights inside a session: a build, and a maintainer script that root runs there, get no further than the chroot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.chroot.test_build import read_content
from tests.support.machine import SUITE, Hapkg
from tests.support.miniature import Miniature, make_package, make_plain_source

ATTEMPTS = Path(__file__).parents[2] / "support/attempts.c"
OF_BUILD = {
    "mknod": "EPERM",
    "mount": "EPERM",
    "remount": "EPERM",
    "umount": "EPERM",
    "chroot": "EPERM",
    "handle": "EPERM",
    "user namespace": "EPERM",
    "host name": "EPERM",
    "raw socket": "EPERM",
    "interface": "EPERM",
    "core_pattern": "EACCES",
    "archives": "EROFS",
    "beside enter": "EROFS",
    "rename": "EACCES",
}
"""How each attempt of a build ends."""
OF_ROOT = {**OF_BUILD, "ptrace": "EPERM", "core_pattern": "EROFS", "rename": "EBUSY"}
"""How each attempt of root ends in a session."""
SHARE = "$(DESTDIR)$(prefix)/share"
NOTE = """\
#define _GNU_SOURCE
#include <linux/capability.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
static void __attribute__ ((constructor)) note (void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct rights[2];
    FILE *file = fopen ("/tmp/rights", "a");
    if (file && syscall (SYS_capget, &header, rights) == 0)
        fprintf (file, "%08x%08x\\n", rights[1].effective, rights[0].effective);
    if (file)
        fclose (file);
}
"""
"""A library that notes the rights of each program that loads it."""
POSTINST = """\
#!/bin/sh
set -e
cd /opt/ha/share/intruder
./attempts > /tmp/of-root
touch /tmp/rights
chmod 666 /tmp/rights
echo "$PWD/note.so" > /etc/ld.so.preload
#DEBHELPER#
"""
KEPT = 0xA00000FB
"""Rights that dpkg needs, as a mask."""


@pytest.fixture(scope="module")
def files(hapkg: Hapkg, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[str]]:
    """Reports of attempts by a build, and by root in the build that depends on its package; and root's rights there."""
    project = Miniature.create(tmp_path_factory.mktemp("rights") / "project", suite=SUITE)
    project.add(
        "intruder",
        make_plain_source(
            build=[
                "cc $(LDFLAGS) -o attempts attempts.c",
                "./attempts > of-build",
                "cc $(LDFLAGS) -shared -fPIC -o note.so note.c",
            ],
            install=[f"mkdir -p {SHARE}/intruder", f"cp attempts of-build note.so {SHARE}/intruder/"],
            **{"attempts.c": ATTEMPTS.read_text(), "note.c": NOTE},
        ),
        packages=[make_package("intruder", ["share/intruder"])],
    )
    project.add_debian_file("intruder", "ha-intruder.postinst", POSTINST)
    project.add(
        "victim",
        make_plain_source(install=[f"mkdir -p {SHARE}/plain", f"cp /tmp/of-root /tmp/rights {SHARE}/plain/"]),
        build_depends=["ha-intruder"],
    )
    done = hapkg.on(project.root).succeed("build-all", "--no-lintian", "--json")
    found = {}
    for outcome in done.outcomes.values():
        for deb in hapkg.folder(outcome).glob("*.deb"):
            for path, content in read_content(deb).items():
                found[Path(path).name] = content.decode("utf-8", "replace").splitlines()
    return found


@pytest.mark.parametrize(("who", "expected"), [("of-build", OF_BUILD), ("of-root", OF_ROOT)])
def test_no_attempt_leads_out(files: Mapping[str, list[str]], who: str, expected: dict[str, str]) -> None:
    ends = dict(line.split("=", 1) for line in files[who])
    assert ends.pop("module") in ("EPERM", "ENOSYS")  # of a kernel that takes no modules at all
    assert ends == expected


def test_no_file_of_a_session_is_started_with_more_rights(files: Mapping[str, list[str]]) -> None:
    rights = {int(line, 16) for line in files["rights"]}
    assert 0 in rights, "the build loads what the package left"
    assert rights <= {0, KEPT}
