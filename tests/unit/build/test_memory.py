"""The memory that a build holds, measured from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from hapkg.build.memory import Gauge, measure, read_available

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
    assert read_available(tmp_path) == 1000 * 1024
    assert read_available() > MIB


@pytest.mark.parametrize("text", ["", "MemTotal: 2000 kB\n"])
def test_a_kernel_that_does_not_tell_is_taken_to_have_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "meminfo").write_text(text)
    assert read_available(tmp_path) == 0
