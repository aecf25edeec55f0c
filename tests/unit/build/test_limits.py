"""Limits of a build: which one is passed. How a build is ended: tests/integration/chroot/test_limits.py."""

from __future__ import annotations

import pytest

from hapkg.build.limits import MEGABYTE, Usage, find_excess, find_refusal, make_command
from hapkg.errors import ConfigError
from hapkg.recipe.settings import Limits
from hapkg.tables import parse_table

LIMITS = Limits()
EXCESSES = {
    "writes a log of more than 256 MB (log-megabytes)": (Usage(log=256 * MEGABYTE), Usage(log=256 * MEGABYTE + 1)),
    "says nothing for 3600 seconds (silence-seconds)": (Usage(silent=3600), Usage(silent=3600.1)),
    "takes more than 43200 seconds (total-seconds)": (Usage(seconds=43200), Usage(seconds=43200.1)),
    "holds more than 16384 MB of memory (memory-megabytes)": (Usage(memory=1 << 34), Usage(memory=(1 << 34) + 1)),
    "runs more than 4096 processes (processes)": (Usage(processes=4096), Usage(processes=4097)),
    "puts more than 2048 MB into /dev/shm (shm-megabytes)": (Usage(shm=1 << 31), Usage(shm=(1 << 31) + 1)),
}
"""Clauses by the most that passes, and the least that does not."""


@pytest.mark.parametrize("clause", EXCESSES)
def test_a_limit_is_passed_by_more_than_it_says(clause: str) -> None:
    most, more = EXCESSES[clause]
    assert (find_excess(LIMITS, most), find_excess(LIMITS, more)) == ("", clause)


@pytest.mark.parametrize(
    ("line", "clause"),
    [
        (
            "make: *** [Makefile:3: all] File size limit exceeded",
            "writes a file of more than 1048576 MB (file-megabytes)",
        ),
        ("/bin/sh: 1: Cannot fork", "makes 8192 processes"),
        ("bash: fork: retry: Resource temporarily unavailable", "makes 8192 processes"),
        ("cc: error: fork.c: No such file or directory", ""),
    ],
)
def test_what_the_kernel_refuses_is_told_by_the_log(line: str, clause: str) -> None:
    told = find_refusal(LIMITS, ["a line", line, "make: *** Error 2"])
    assert told.startswith(clause)
    assert bool(told) == bool(clause)
    assert {f"--fsize={(1 << 20) * MEGABYTE}", "--nproc=8192"} <= set(make_command(LIMITS))


@pytest.mark.parametrize("value", [0, -1, 1.5, "1", True])
def test_a_limit_is_a_whole_number_above_zero(value: object) -> None:
    with pytest.raises(ConfigError, match="log-megabytes"):
        parse_table(Limits, {"log-megabytes": value}, where="pyproject.toml", error=ConfigError)
