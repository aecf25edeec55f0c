"""Confined programs: what they see, what they may write, and what becomes of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hapkg.errors import ProcessError
from hapkg.programs import confinement

SECRET = "kept from others\n"


def ask(folder: Path, script: str, readable: tuple[Path, ...] = ()) -> str:
    """The output of a shell script that may write in a folder."""
    return confinement.run(["sh", "-c", script], readable=readable, writable=folder, check=False).output


def test_a_program_is_the_build_user_without_rights_and_network(tmp_path: Path) -> None:
    told = ask(
        tmp_path, "id -u; grep -E '^(CapEff|CapPrm|NoNewPrivs)' /proc/self/status; ls /sys/class/net /proc/1/cwd"
    )
    if os.geteuid() == 0:
        assert told.startswith(f"{confinement.BUILD_UID}\n")
    assert "CapEff:\t0000000000000000" in told
    assert "CapPrm:\t0000000000000000" in told
    assert "NoNewPrivs:\t1" in told
    interfaces = ask(tmp_path, "tail -n +3 /proc/net/dev | cut -d: -f1").split()
    assert interfaces == ["lo"]


def test_a_program_sees_what_it_is_given_and_no_more(tmp_path: Path) -> None:
    given, kept, work = (tmp_path / name for name in ("given", "kept", "work"))
    for folder in (given, kept, work):
        folder.mkdir()
        (folder / "file").write_text(SECRET)
    assert ask(work, f"cat {given}/file", (given,)) == SECRET
    assert "No such file" in ask(work, f"cat {kept}/file", (given,))
    assert "No such file" in ask(work, "cat /etc/shadow /etc/passwd /root/.bashrc")
    for target in (f"{given}/new", "/usr/bin/new", "/etc/new"):
        assert "cannot touch" in ask(work, f"LC_ALL=C touch {target}", (given,))
    assert not (given / "new").exists()


def test_what_it_leaves_is_of_whoever_asked_and_has_no_set_id_bit(tmp_path: Path) -> None:
    ask(tmp_path, "cp /usr/bin/id mine; chmod 6755 mine; ln -s /etc/hostname link; mkfifo fifo; mkdir -m 0 closed")
    for path in tmp_path.iterdir():
        assert path.lstat().st_uid == os.geteuid()
    if os.geteuid() == 0:
        assert (tmp_path / "mine").stat().st_mode & (stat.S_ISUID | stat.S_ISGID) == 0
    assert Path("/etc/hostname").stat().st_uid == 0


def test_a_failure_is_told_in_the_programs_words(tmp_path: Path) -> None:
    with pytest.raises(ProcessError) as caught:
        confinement.run(["sh", "-c", "echo these words; exit 3"], writable=tmp_path)
    assert caught.value.details == ("these words",)


@pytest.mark.parametrize("mask", [0o077, 0o000])
def test_a_umask_changes_nothing(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        assert ask(tmp_path, "touch file; ls") == "file\n"
    finally:
        os.umask(before)
