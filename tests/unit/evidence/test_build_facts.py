"""A .buildinfo file as it is read: what was installed, and when; anything else is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hapkg.evidence.build_facts import read_buildinfo

TEXT = """\
Format: 1.0
Source: ha-one
Build-Date: Sun, 29 Nov 2026 17:37:39 +0000
Installed-Build-Depends:
 gcc (= 4:12.2.0-3),
 libc6:amd64 (= 2.36-9+deb12u10),
 make (= 4.3-4.1)
Environment:
 LANG="C.UTF-8"
 odd (= 1)
"""


def test_it_tells_what_was_installed_and_when() -> None:
    packages, date = read_buildinfo(TEXT)
    assert packages == {"gcc": "4:12.2.0-3", "libc6": "2.36-9+deb12u10", "make": "4.3-4.1"}
    assert date == datetime(2026, 11, 29, 17, 37, 39, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT.replace("Installed-Build-Depends", "Other"),
        TEXT.replace("Build-Date", "Other"),
        TEXT.replace("Sun, 29 Nov 2026 17:37:39 +0000", "yesterday"),
        TEXT.replace("2026", "99999999999999999999"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_buildinfo(text)
