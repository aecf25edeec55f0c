"""sudo that refuses: told as what it is, wherever the program's output goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hapkg.build.run import create_chroot
from hapkg.build.store import Store
from hapkg.chroot.mmdebstrap import enclose
from hapkg.control import Suite
from hapkg.doctor import diagnose
from hapkg.errors import MachineError, ProcessError
from hapkg.programs import launch, process
from hapkg.programs.sudo import REMEDY
from tests.unit.chroot.test_base_lock import MIRROR

ASKS = "sudo: a password is required"
TERMINAL = "sudo: a terminal is required to read the password; either use the -S option"
RUST = "sudo: interactive authentication is required"
FORBIDS = "Sorry, user joe is not allowed to execute '/bin/true' as root on host."


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that an ordinary user finds before the machine's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(launch, "SEARCH_PATH", f"{folder}:{launch.SEARCH_PATH}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return folder


def write_program(folder: Path, name: str, script: str) -> None:
    """A program that is a script of the shell."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def refuse(folder: Path, said: str) -> None:
    """A sudo that says why it starts nothing."""
    write_program(folder, "sudo", f'echo "{said}" >&2; exit 1')


@pytest.mark.parametrize(
    ("said", "brief", "hint"),
    [
        (ASKS, "sudo asks for a password", REMEDY),
        (TERMINAL, "sudo asks for a password", REMEDY),
        (RUST, "sudo asks for a password", REMEDY),
        (FORBIDS, "sudo is not allowed to this user", "have root allow it in sudoers(5), or run hapkg as root"),
        ("joe is not in the sudoers file.", "sudo is not allowed to this user", ""),
    ],
)
def test_sudo_that_refuses_is_the_machine_s_fault(programs: Path, said: str, brief: str, hint: str) -> None:
    refuse(programs, said)
    with pytest.raises(MachineError) as caught:
        process.run(process.privileged(["true"]))
    assert (caught.value.exit_code, caught.value.brief) == (9, brief)
    assert hint in caught.value.hint


def test_sudo_s_words_are_found_in_a_log_that_has_others_already(programs: Path, tmp_path: Path) -> None:
    refuse(programs, ASKS)
    with (tmp_path / "log").open("wb") as log:
        log.write(b"before\n")
        log.flush()
        with pytest.raises(MachineError, match="sudo asks for a password"):
            process.run(enclose(["true"]), log=log)
        log.write(b"after\n")
    assert (tmp_path / "log").read_text() == f"before\n{ASKS}\nafter\n"


def test_an_older_refusal_in_a_log_is_not_the_one_of_a_program_that_fails(programs: Path, tmp_path: Path) -> None:
    write_program(programs, "sudo", "echo broken; exit 7")
    with (tmp_path / "log").open("wb") as log:
        log.write(f"{ASKS}\n".encode())
        log.flush()
        with pytest.raises(ProcessError, match="exit status 7"):
            process.run(enclose(["true"]), log=log)


def test_a_program_that_sudo_starts_and_that_fails_is_no_refusal(programs: Path) -> None:
    write_program(programs, "sudo", 'shift 2; exec "$@"')
    with pytest.raises(ProcessError) as caught:
        process.run(process.privileged(["sh", "-c", "echo broken; exit 3"]))
    assert caught.value.details[0] == "broken"


def test_words_about_sudo_of_another_program_are_no_refusal() -> None:
    with pytest.raises(ProcessError):
        process.run(["sh", "-c", f"echo '{ASKS}'; exit 1"])


def test_a_base_chroot_that_sudo_does_not_let_be_made_says_so_each_time(programs: Path, tmp_path: Path) -> None:
    refuse(programs, ASKS)
    write_program(programs, "mmdebstrap", "exit 99")
    for _ in range(2):
        with pytest.raises(MachineError) as caught:
            create_chroot(Store(root=tmp_path / "state"), Suite("bookworm"), MIRROR, None)
        assert caught.value.brief == "the base chroot of bookworm cannot be made: sudo asks for a password"
        assert (caught.value.exit_code, caught.value.hint) == (9, REMEDY)


def test_doctor_says_it_in_the_same_words(programs: Path, tmp_path: Path) -> None:
    refuse(programs, ASKS)
    (found,) = [one for one in diagnose(Store(root=tmp_path / "state").state) if one.check == "privilege"]
    assert (found.ok, found.found, found.remedy) == (False, "sudo asks for a password", REMEDY)
