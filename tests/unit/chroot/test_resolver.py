"""Packages of the archive that a build needs; apt's answers are tested with a real base in tests/integration."""

from __future__ import annotations

from hapkg.chroot.resolver import choose_relations, read_relations
from hapkg.control import BinaryName

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
