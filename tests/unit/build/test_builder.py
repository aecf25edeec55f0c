"""Phases of a build, as its log tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.build.builder import _watch
from hapkg.build.timings import Clock

LOG = b"dpkg-buildpackage: info: source package ha-one\n   dh_auto_configure\n   dh_auto_build\nmake: *** Error 2\n"


@pytest.mark.parametrize("failure", [None, ValueError])
def test_the_phase_is_that_of_the_last_line_however_fast_the_end_comes(
    tmp_path: Path, failure: type[Exception] | None
) -> None:
    log, told = tmp_path / "build.log", list[str]()
    clock = Clock(told.append)
    with log.open("ab", buffering=0) as opened:
        clock.enter("unpack", opened)

        def build() -> None:
            with _watch(log, clock):
                opened.write(LOG)
                if failure:
                    raise failure

        if failure:
            with pytest.raises(failure):
                build()
        else:
            build()
    assert told == ["unpack", "configure", "compile"]
