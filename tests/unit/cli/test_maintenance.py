"""hapkg in a shell: its manual page names everything it can, and a shell completes it."""

from __future__ import annotations

import re
import subprocess

import pytest
from typer.testing import CliRunner

from hapkg.cli.main import COMMANDS, GROUPS, app
from tests.support.machine import PROGRAM

REQUESTS = ("TH", "SH", "SS", "TP", "B", "I", "RI")


@pytest.fixture(scope="module")
def page() -> str:
    """hapkg(1) as troff reads it."""
    done = CliRunner().invoke(app, ["manual"])
    assert done.exit_code == 0
    return done.output


def test_every_command_is_in_the_manual_with_its_options(page: str) -> None:
    told = page.replace("\\-", "-")
    heads = re.findall(r"^\.SS hapkg (.*)$", told, re.MULTILINE)
    assert {head.split()[0] for head in heads} == {*COMMANDS, *GROUPS}
    for head in heads:
        words = [word for word in head.split() if re.fullmatch(r"[a-z-]+", word)]
        part = told.partition(f".SS hapkg {head}\n")[2].partition("\n.SS ")[0]
        help_ = CliRunner().invoke(app, [*words, "--help"]).output
        options = set(re.findall(r"^  +(?:-\w, )?(--[a-z-]+)", help_, re.MULTILINE)) - {"--help"}
        assert options <= set(re.findall(r"--[a-z-]+", part)), head


def test_the_manual_is_troff(page: str) -> None:
    requests = {line[1:].partition(" ")[0] for line in page.splitlines() if line.startswith((".", "'"))}
    assert requests <= set(REQUESTS)
    assert page.startswith(".TH HAPKG 1 ")
    assert not re.search(r"(?<!\\)\\(?![-ef&])", page), "an escape that nobody meant"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hapkg build-", {"build-all"}),
        ("hapkg repo ro", {"rollback"}),
        ("hapkg publish --unsig", {"--unsigned"}),
        ("hapkg completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes(line: str, expected: set[str]) -> None:
    words = " ".join(f"'{word}'" for word in line.split(" "))
    script = f"""source <("{PROGRAM}" completion bash)
        hapkg() {{ "{PROGRAM}" "$@"; }}; export -f hapkg
        COMP_WORDS=({words}); COMP_CWORD={line.count(" ")}
        _hapkg_completion "{PROGRAM}"; printf '%s\\n' "${{COMPREPLY[@]}}\""""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected, done.stderr


def test_zsh_and_fish_get_their_own() -> None:
    assert CliRunner().invoke(app, ["completion", "zsh"]).output.startswith("#compdef hapkg\n")
    assert CliRunner().invoke(app, ["completion", "fish"]).output.startswith("complete --command hapkg ")
    assert CliRunner().invoke(app, ["completion", "ksh"]).exit_code == 2


def test_fish_is_answered_by_the_program_that_its_completion_asks() -> None:
    script = CliRunner().invoke(app, ["completion", "fish"]).output
    (variable,) = set(re.findall(r"_HAPKG_COMPLETE=complete_fish", script))
    asked = [variable, "_TYPER_COMPLETE_FISH_ACTION=get-args", "_TYPER_COMPLETE_ARGS=hapkg build-"]
    done = subprocess.run(["env", *asked, PROGRAM], capture_output=True, text=True, check=True)
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()][:1] == ["build-all"]
