"""A .buildinfo file as it is read: what was made, what was installed, and when; anything else is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hapkg.evidence.buildinfo import parse_buildinfo

DIGEST = "5f" * 32
TEXT = f"""\
Format: 1.0
Source: ha-one
Version: 1.2-3
Checksums-Sha256:
 {DIGEST} 10 ha-one_1.2-3_all.deb
 {DIGEST} 10 ha-one_1.2-3.dsc
Build-Architecture: amd64
Build-Date: Sun, 29 Nov 2026 17:37:39 +0000
Installed-Build-Depends:
 gcc (= 4:12.2.0-3),
 libc6:amd64 (= 2.36-9+deb12u10),
 make (= 4.3-4.1)
Environment:
 DEB_BUILD_OPTIONS="parallel=2 nocheck"
 LANG="C.UTF-8"
 odd (= 1)
"""


def test_it_tells_what_was_made_what_was_installed_and_when() -> None:
    info = parse_buildinfo(TEXT)
    assert (info.source, info.version, info.architecture, info.parallel) == ("ha-one", "1.2-3", "amd64", 2)
    assert info.digests == {"ha-one_1.2-3_all.deb": DIGEST}
    assert info.installed == {"gcc": "4:12.2.0-3", "libc6": "2.36-9+deb12u10", "make": "4.3-4.1"}
    assert info.date == datetime(2026, 11, 29, 17, 37, 39, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT.replace("Installed-Build-Depends", "Other"),
        TEXT.replace("Build-Date", "Other"),
        TEXT.replace("Sun, 29 Nov 2026 17:37:39 +0000", "yesterday"),
        TEXT.replace("2026", "99999999999999999999"),
        TEXT.replace("(= 4.3-4.1)", "(>= 4.3-4.1)"),
        TEXT.replace("4.3-4.1", "4.3/../4.1"),
        TEXT.replace(DIGEST, DIGEST[1:]),
        TEXT.replace("Source: ha-one", "Source: ../one"),
        f"{TEXT}\n{TEXT}",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_buildinfo(text)
