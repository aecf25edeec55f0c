"""Limits of a build: which one is passed, and the memory that it holds, measured from outside.

How a build is ended: tests/integration/chroot/test_limits.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from hapkg.build.limits import (
    MEGABYTE,
    Gauge,
    Usage,
    find_excess,
    find_refusal,
    make_command,
    measure,
    read_available,
)
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
    "puts more than 65536 MB on the disk (disk-megabytes)": (Usage(disk=1 << 36), Usage(disk=(1 << 36) + 1)),
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


MIB = 1 << 20
HOLDER = """
held = bytearray(b"x" * (64 << 20))
print("holds", flush=True)
input()
del held
print("let go", flush=True)
input()
"""


def write_process(proc: Path, number: int, parent: int, held: int | None, argv: Sequence[str]) -> None:
    folder = proc / str(number)
    folder.mkdir()
    lines = [f"Name:\t{argv[0]}", "State:\tS (sleeping)", f"PPid:\t{parent}", "VmRSS:\t  999999 kB"]
    if held is not None:
        lines.append(f"RssAnon:\t{held:8} kB")
    (folder / "status").write_text("\n".join(lines) + "\n")
    (folder / "cmdline").write_bytes(b"\0".join(word.encode() for word in argv) + b"\0")


def test_a_build_is_all_that_is_below_its_schroot(tmp_path: Path) -> None:
    write_process(tmp_path, 1, 0, 9000, ["init"])
    write_process(tmp_path, 2, 0, None, ["kthreadd"])
    write_process(tmp_path, 10, 1, 5000, ["hapkg", "build", "one"])
    write_process(tmp_path, 20, 10, 100, ["schroot", "--run-session", "--chroot", "hapkg-one", "--", "make"])
    write_process(tmp_path, 21, 20, 20, ["unshare"])
    write_process(tmp_path, 22, 21, 3, ["cc1"])
    write_process(tmp_path, 30, 10, 7000, ["schroot", "--run-session", "--chroot", "hapkg-one-more", "--", "make"])
    write_process(tmp_path, 31, 30, 7000, ["cc1", "hapkg-one"])
    (tmp_path / "40").mkdir()  # it has ended meanwhile
    assert measure("hapkg-one", tmp_path) == (123 * 1024, 3)
    assert measure("hapkg-two", tmp_path) == (0, 0)


def test_a_gauge_keeps_the_peak(tmp_path: Path) -> None:
    program = tmp_path / "schroot"  # the name that the kernel knows it by
    program.symlink_to(sys.executable)
    gauge, session = Gauge(), f"hapkg-{os.getpid()}"
    environment = {**os.environ, "PYTHONHOME": sys.base_prefix}
    with subprocess.Popen(
        [program, "-c", HOLDER, session], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "holds\n"
        gauge.look(session)
        assert gauge.now == gauge.peak > 64 * MIB
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "let go\n"
        gauge.look(session)
        assert gauge.now < 64 * MIB < gauge.peak
        process.stdin.write("\n")
    gauge.look(session)
    assert gauge.now == 0 < gauge.peak


def test_the_machine_tells_what_programs_can_have(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       2000 kB\nMemFree:  10 kB\nMemAvailable:       1000 kB\n")
    assert read_available(tmp_path, tmp_path) == 1000 * 1024
    assert read_available() > MIB


@pytest.mark.parametrize(("limit", "left"), [("max", 1000 * 1024), ("600000", 500_000), ("50000", 0)])
def test_a_control_group_leaves_no_more_than_its_limit(tmp_path: Path, limit: str, left: int) -> None:
    (tmp_path / "meminfo").write_text("MemAvailable:       1000 kB\n")
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("0::/outer/inner\n")
    (tmp_path / "outer/inner").mkdir(parents=True)
    for group, most in (("outer", limit), ("outer/inner", "max")):
        (tmp_path / group / "memory.max").write_text(f"{most}\n")
        (tmp_path / group / "memory.current").write_text("100000\n")
    assert read_available(tmp_path, tmp_path) == left


@pytest.mark.parametrize("text", ["", "MemTotal: 2000 kB\n"])
def test_a_kernel_that_does_not_tell_is_taken_to_have_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "meminfo").write_text(text)
    assert read_available(tmp_path, tmp_path) == 0
