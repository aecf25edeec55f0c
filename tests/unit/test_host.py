"""Architectures that this machine runs programs of."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.errors import MachineError, UsageError
from hapkg.host import check_architecture, read_architecture
from hapkg.programs import launch

FOREIGN = "arm64" if read_architecture() != "arm64" else "amd64"


def test_its_own_is_always_one() -> None:
    check_architecture(read_architecture())


@pytest.mark.parametrize("name", ["x86_65", "", "../arm64", "arm64 ", "all"])
def test_a_word_that_is_no_architecture(name: str) -> None:
    with pytest.raises(UsageError, match="Debian has no architecture") as refused:
        check_architecture(name)
    assert refused.value.hint == "list them: dpkg-architecture -L"


@pytest.mark.parametrize(("script", "told"), [("exit 1", "runs no programs of"), ("exit 0", "")])
def test_the_kernel_is_asked_by_a_program_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, told: str
) -> None:
    program = tmp_path / "arch-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(launch, "SEARCH_PATH", f"{tmp_path}:{launch.SEARCH_PATH}")
    if not told:
        check_architecture(FOREIGN)
        return
    with pytest.raises(MachineError, match=told) as refused:
        check_architecture(FOREIGN)
    assert "qemu-user" in refused.value.hint


def test_without_the_program_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    found = launch.find_program
    monkeypatch.setattr(launch, "find_program", lambda name: None if name == "arch-test" else found(name))
    with pytest.raises(MachineError, match="arch-test is not installed"):
        check_architecture(FOREIGN)
