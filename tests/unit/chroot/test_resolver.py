"""Packages of the archive that a build needs; apt's answers are tested with a real base in tests/integration."""

from __future__ import annotations

from pathlib import Path

from hapkg.chroot.resolver import choose_relations, read_installed, read_relations
from hapkg.chroot.schroot import Chroot
from hapkg.control import BinaryName, Suite

CONTROL = """\
Source: ha-one
Build-Depends:
 debhelper-compat (= 13),
# A remark.
 libfoo-dev (>= 1.2)  |  libbar-dev,
 ha-two-dev,
Build-Depends-Indep: python3
Maintainer: Test Person <test@example.org>

Package: ha-one
Depends: libc6
"""
STACK = {BinaryName("ha-two"), BinaryName("ha-two-dev")}


def test_the_source_stanza_tells_what_a_build_needs() -> None:
    expected = ("debhelper-compat (= 13)", "libfoo-dev (>= 1.2) | libbar-dev", "ha-two-dev", "python3")
    assert read_relations(CONTROL) == expected


def test_the_archive_gives_what_the_stack_does_not() -> None:
    fields = [*read_relations(CONTROL), "ha-two (= 1), libc6 (>= 2.34)", "", "ha-two | libtwo, python3"]
    assert choose_relations(fields, STACK) == (
        "debhelper-compat (= 13)",
        "libc6 (>= 2.34)",
        "libfoo-dev (>= 1.2) | libbar-dev",
        "python3",
    )


def test_a_base_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    """A worker runs for days, while its base chroot is made anew at the same path."""
    status = tmp_path / "root/var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    for digest, version in (("old", "1.0"), ("new", "1.1")):
        status.write_text(f"Package: libc6\nVersion: {version}\n")
        base = Chroot(suite=Suite("bookworm"), name="base", folder=tmp_path, digest=digest, packages=1)
        assert read_installed(base) == {"libc6": version}
