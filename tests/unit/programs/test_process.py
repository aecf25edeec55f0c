"""Processes: what they find when they start, what they leave, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hapkg.errors import HapkgError, Interrupted, MachineError, ProcessError
from hapkg.programs import launch, process
from hapkg.programs.process import Result
from hapkg.repository.coprocess import converse

SOON = 8.0
"""Seconds after which a process that should have ended has not."""


@pytest.fixture(autouse=True)
def _accept_again() -> Iterator[None]:
    yield
    process.reset()


def shell(script: str, *, check: bool = True) -> Result:
    return process.run(["sh", "-c", script], check=check)


def wait_until(is_true: Callable[[], bool]) -> bool:
    """Tell whether it becomes true soon."""
    end = time.monotonic() + SOON
    while not is_true():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and was not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def read_pids(file: Path, count: int) -> list[int]:
    """Process ids that a script writes, once all are there."""
    assert wait_until(lambda: file.exists() and len(file.read_text().split()) == count)
    return [int(word) for word in file.read_text().split()]


def start(script: str) -> tuple[threading.Thread, list[HapkgError]]:
    """Run a script in another thread; its error is appended when it ends."""
    errors: list[HapkgError] = []

    def work() -> None:
        try:
            shell(script)
        except HapkgError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, errors


def test_the_environment_is_made_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "1")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("PATH", f"/nonexistent:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", "/home/somebody")
    result = process.run(["env", "-0"], environment={"EXTRA": "a\nb", "DEBIAN_FRONTEND": "readline"})
    assert dict(entry.split("=", 1) for entry in result.output.rstrip("\0").split("\0")) == {
        "PATH": launch.SEARCH_PATH,
        "HOME": "/home/somebody",
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "readline",
        "EXTRA": "a\nb",
    }


def test_a_process_has_a_session_of_its_own_and_nothing_else_of_hapkg(tmp_path: Path) -> None:
    with (tmp_path / "open").open("wb") as opened:
        os.set_inheritable(opened.fileno(), True)
        assert process.run(["ls", "/proc/self/fd"]).output.split() == ["0", "1", "2", "3"]
    assert (
        shell("read -r pid name state parent group session rest </proc/self/stat; echo $((session - $$))").output
        == "0\n"
    )
    assert process.run(["tty"], check=False).output == "not a tty\n"


def test_a_process_ignores_no_signal() -> None:
    output = process.run(["grep", "SigIgn", "/proc/self/status"]).output
    ignored = int(output.removeprefix("SigIgn:"), base=16)
    # Signals 32 and 33 are the C library's own: no program can ask for them, or for their end.
    assert [number for number in signal.valid_signals() if ignored & 1 << number - 1] == []


@pytest.mark.parametrize("logged", [False, True])
def test_a_process_ignores_no_signal_that_was_ignored_before_hapkg(tmp_path: Path, logged: bool) -> None:
    program = f"""
import signal, sys
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, signal.SIG_IGN)
from hapkg.programs import process
log = open({str(tmp_path / "log")!r}, "wb") if {logged} else None
print(process.run(["grep", "SigIgn", "/proc/self/status"], log=log).output)"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    output = (tmp_path / "log").read_text() if logged else done.stdout
    assert int(output.split()[1], base=16) & 0x7FFFFFFF == 0


@pytest.mark.parametrize("how", ["captured", "logged"])
def test_what_gives_way_says_so_to_the_kernel_and_the_next_process_does_not(tmp_path: Path, how: str) -> None:
    def ask(nice: int = 0) -> str:
        argv = ["sh", "-c", "nice; cat /proc/self/autogroup 2>/dev/null || true"]
        if how == "captured":
            return process.run(argv, nice=nice).output
        with (tmp_path / "log").open("wb") as log:
            process.run(argv, log=log, nice=nice)
        return (tmp_path / "log").read_text("utf-8")

    before = ask()
    nice = ask(nice=process.NICE)
    assert int(nice.split()[0]) == min(19, int(before.split()[0]) + process.NICE)
    if "nice" in before:
        assert nice.split()[-1] == str(process.NICE)
    assert before.split()[0] == ask().split()[0]


def test_output_of_both_streams_is_captured_in_order() -> None:
    assert shell("echo out; echo err >&2; echo out") == Result(
        argv=("sh", "-c", "echo out; echo err >&2; echo out"), status=0, output="out\nerr\nout\n"
    )


def test_output_that_is_no_text_does_no_harm() -> None:
    assert shell(r"printf 'a\377b\n'").output == "a�b\n"


def test_standard_output_can_be_data_and_a_log_takes_the_rest(tmp_path: Path) -> None:
    argv = ["sh", "-c", r"printf '\0\377'; echo story >&2"]
    with (tmp_path / "data").open("wb") as data, (tmp_path / "log").open("wb") as log:
        assert process.run(argv, stdout=data, log=log).output == ""
        assert process.run(argv, stdout=data).output == "story\n"
        assert process.run(["echo", "more"], log=log).output == ""
    assert (tmp_path / "data").read_bytes() == b"\0\xff\0\xff"
    assert (tmp_path / "log").read_bytes() == b"story\nmore\n"


def test_standard_input_is_empty_unless_given(tmp_path: Path) -> None:
    assert process.run(["cat"]).output == ""
    (tmp_path / "in").write_bytes(b"given\n")
    with (tmp_path / "in").open("rb") as file:
        assert process.run(["cat"], stdin=file).output == "given\n"


def test_a_process_starts_in_the_named_folder(tmp_path: Path) -> None:
    assert process.run(["pwd"], cwd=tmp_path).output == f"{tmp_path}\n"


def test_arguments_arrive_as_they_are() -> None:
    words = ["", " ", "a b", "$HOME", "`id`", "'\"", "ü\n", "-n", "--", "*"]
    assert process.run(["printf", "%s\\0", *words]).output == "".join(f"{word}\0" for word in words)


def test_a_missing_program_is_the_machines_failure() -> None:
    with pytest.raises(MachineError) as caught:
        process.run(["no-such-program", "x"])
    assert (caught.value.exit_code, caught.value.brief, caught.value.hint) == (
        9,
        "the program no-such-program is not installed",
        "run: hapkg doctor",
    )


def test_programs_are_found_where_administrators_have_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert launch.find_program("mine") is None
    assert launch.find_program(str(program)) == str(program)
    assert launch.find_program("sh") is not None


def test_a_program_that_cannot_start_is_the_machines_failure(tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_text("#!/nonexistent/interpreter\n")
    program.chmod(0o755)
    with pytest.raises(MachineError, match=f"{program} cannot be started: .*No such file"):
        process.run([str(program)])
    with (tmp_path / "log").open("wb") as log, pytest.raises(MachineError, match=f"{program} cannot be started: "):
        process.run([str(program)], log=log)


def test_a_program_that_is_none_fails_with_its_name(tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_text("\x7fELF garbage")  # a shell is tried, as everywhere
    program.chmod(0o755)
    with pytest.raises(ProcessError, match="broken failed with exit status 127") as caught:
        process.run([str(program)])
    assert str(program) in "".join(caught.value.details)


def test_a_program_that_is_not_talked_to_says_all_at_its_end(tmp_path: Path) -> None:
    script = "pwd; seq 20000; echo wrong >&2; exit 3"
    with converse(["sh", "-c", script], cwd=tmp_path) as program:
        done = program.finish()
    lines = done.output.splitlines()
    assert (done.status, lines[0], len(lines), lines[-1]) == (3, str(tmp_path), 20002, "wrong")


def test_a_folder_that_is_missing_is_the_machines_failure(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"true cannot be started: .*nowhere"):
        process.run(["true"], cwd=tmp_path / "nowhere")


def test_a_failure_quotes_the_end_of_the_output_and_the_command() -> None:
    script = "for i in $(seq 30); do echo line $i; done; exit 3"
    with pytest.raises(ProcessError) as caught:
        shell(script)
    assert caught.value.brief == "sh failed with exit status 3"
    assert caught.value.details == (
        *(f"line {number}" for number in range(19, 31)),
        "command: sh -c 'for i in $(seq 30); do echo line $i; done; exit 3'",
    )
    assert shell(script, check=False).status == 3


@pytest.mark.parametrize("name", ["HUP", "INT", "KILL", "PIPE", "TERM", "USR1", "XFSZ"])
def test_a_signal_is_named(name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    assert shell(f"kill -{name} $$", check=False).status == -number
    with pytest.raises(ProcessError) as caught:
        shell(f"kill -{name} $$")
    assert caught.value.brief == f"sh failed with signal SIG{name}"


def test_every_status_has_words() -> None:
    assert shell("kill -40 $$", check=False).status == -40
    words = [process.describe_status(status) for status in (0, 1, 255, -9, -40)]
    assert words == ["exit status 0", "exit status 1", "exit status 255", "signal SIGKILL", "signal 40"]


def test_only_others_than_root_go_through_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert process.privileged(["ls", "/"]) == ["ls", "/"]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert process.privileged(["ls", "/"]) == ["sudo", "-n", "--", "ls", "/"]


def test_stopping_ends_a_process_and_its_children(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    thread, errors = start(f"sleep 60 & echo $! >>{file}; sleep 60 & echo $! >>{file}; echo $$ >>{file}; wait")
    pids = read_pids(file, 3)
    assert all(map(is_alive, pids))
    process.stop_all()
    assert wait_until(lambda: not any(map(is_alive, pids)))
    thread.join(SOON)
    assert [(type(error), error.exit_code) for error in errors] == [(Interrupted, 130)]


def test_a_process_that_will_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "STOP_SECONDS", 0.1)
    file = tmp_path / "pids"
    thread, errors = start(f"trap '' TERM; sleep 60 & echo $! $$ >{file}; wait; sleep 60")
    pids = read_pids(file, 2)
    process.stop_all()
    assert wait_until(lambda: not any(map(is_alive, pids)))
    thread.join(SOON)
    assert [type(error) for error in errors] == [Interrupted]


def test_nothing_starts_while_hapkg_stops_but_what_cleans_up() -> None:
    process.stop_all()
    with pytest.raises(Interrupted):
        process.run(["true"])
    with pytest.raises(Interrupted):
        process.check_stop()
    assert process.run(["echo", "cleaned"], cleanup=True).output == "cleaned\n"
    process.reset()
    process.check_stop()
    assert process.run(["true"]).status == 0


@pytest.mark.parametrize("script", ["exec sleep 60", "trap '' TERM; sleep 60; sleep 60"])
def test_a_process_that_starts_in_the_very_moment_of_stopping_is_ended(
    monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(process, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(process, "check_stop", lambda: None)  # stands for a look that came too early
    process.stop_all()
    started = time.monotonic()
    assert shell(script, check=False).status in (-signal.SIGTERM, -signal.SIGKILL)
    assert time.monotonic() - started < SOON


HAPKG = """
import sys
from hapkg.programs import process
process.run(["sh", "-c", sys.argv[1]])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_process_dies_with_hapkg(tmp_path: Path, number: signal.Signals) -> None:
    file = tmp_path / "pids"
    argv = [sys.executable, "-c", HAPKG, f"echo $$ >{file}; exec sleep 60"]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as hapkg:
        (pid,) = read_pids(file, 1)
        hapkg.send_signal(number)
        hapkg.wait(SOON)
    assert wait_until(lambda: not is_alive(pid))


def test_a_conversation_is_lines_both_ways_and_ends_with_its_input() -> None:
    with converse(["sh", "-c", 'while read -r line; do echo "<$line>"; done']) as program:
        program.tell("one  two")
        assert program.hear() == "<one  two>"
        program.tell("three")
        assert program.hear() == "<three>"


def test_a_conversation_with_a_program_that_ended_quotes_its_last_words() -> None:
    with pytest.raises(ProcessError) as caught, converse(["sh", "-c", "echo why >&2; exit 3"]) as program:
        program.hear()
    assert caught.value.details == ("why",)


def test_stopping_ends_a_conversation() -> None:
    try:
        with pytest.raises(Interrupted), converse(["sh", "-c", "echo begun; exec sleep 60"]) as program:
            assert program.hear() == "begun"
            process.stop_all()
            program.hear()
    finally:
        process.reset()


def test_the_last_kill_spares_a_stranger_who_got_the_number_of_a_process_that_ended() -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        process._kill_all([stranger])
        time.sleep(0.05)
        assert stranger.poll() is None
        stranger.kill()
