"""The command line: every command is where the tables say, and none imports what it does not need."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hapkg.cli.main import COMMANDS, GROUPS, app
from hapkg.errors import MachineError
from tests.support.machine import PROGRAM
from tests.support.samples import AUTOTOOLS, MAINTAINER, TEMPLATES, write_recipe

HEAVY = (
    "boto3",
    "distributed",
    "http.client",
    "rich",
    "sh",
    "debian",
    "hapkg.prove.testbed",
    "hapkg.prove.vm",
    "hapkg.site.model",
    "hapkg.draft.draft",
)
LOOK = f"""
import sys
from hapkg.cli.main import app
sys.argv[0] = "hapkg"
try:
    app(standalone_mode=False)
finally:
    print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize("name", [*COMMANDS, *GROUPS])
def test_every_command_is_where_it_is_looked_for(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"Usage: hapkg {name} ")


def test_the_help_names_every_command() -> None:
    listed = CliRunner().invoke(app, ["--help"]).output.partition("Commands:")[2]
    lines = [line for line in listed.splitlines() if line[2:3].strip()]
    assert [line.split()[0] for line in lines] == [*COMMANDS, *GROUPS]


@pytest.mark.parametrize("name", [*COMMANDS, *GROUPS])
def test_the_help_says_what_the_command_says(name: str) -> None:
    (_, line), done = {**COMMANDS, **GROUPS}[name], CliRunner().invoke(app, [name, "--help"])
    assert line in " ".join(done.output.split())


@pytest.mark.parametrize("word", ["plann", "chroto"])
def test_a_word_that_is_no_command_brings_a_suggestion(word: str) -> None:
    done = CliRunner().invoke(app, [word])
    assert done.exit_code == 2
    assert "Did you mean" in done.output


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (
            ["build-all", "corosync", "pacemaker"],
            "error: got unexpected extra argument(s) (corosync pacemaker)\n"
            "hint: it builds every recipe; one and what it needs: hapkg build corosync pacemaker\n",
        ),
        (["times", "x"], "error: got unexpected extra argument(s) (x)\nhint: hapkg times --help tells what it takes\n"),
        (["repo", "sho"], "error: no such command 'sho'\nhint: did you mean 'show'?\n"),
        (["logs"], "error: missing argument 'name'\nhint: hapkg logs --help tells what it takes\n"),
    ],
)
def test_a_wrong_command_line_is_told_as_every_error_is(argv: list[str], said: str) -> None:
    done = subprocess.run([PROGRAM, *argv], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.parametrize("argv", [[], ["repo"]])
def test_a_command_without_words_gets_its_help(argv: list[str]) -> None:
    done = subprocess.run([PROGRAM, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (done.stdout + done.stderr).startswith("Usage: hapkg")
    assert "rror:" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("build", "suite of pyproject.toml"),
        ("list", "suite of pyproject.toml"),
        ("publish", "all that something is built for"),
        ("sbom", "the one that is published alone"),
        ("init", "bookworm"),
    ],
)
def test_the_help_of_a_suite_names_its_default_and_no_distribution(name: str, default: str) -> None:
    told = " ".join(CliRunner().invoke(app, [name, "--help"]).output.split())
    assert f"[default: {default}]" in told.partition("--suite SUITE ")[2].partition(" --")[0]
    assert "Debian suite" not in told
    assert "Debian archive" not in told


@pytest.mark.parametrize("argv", [["--version"]])
def test_plain_words_are_understood_without_libraries(tmp_path: Path, argv: list[str]) -> None:
    """Where there is no project, nothing else happens."""
    look = LOOK.replace(repr(HEAVY), "('pydantic', 'jinja2', 'typer')")
    done = subprocess.run(
        [sys.executable, "-c", look, *argv], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stderr.splitlines()[0] == "typer"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one recipe."""
    write_recipe(tmp_path / "recipes", AUTOTOOLS)
    (tmp_path / "debian-templates").symlink_to(TEMPLATES)
    (tmp_path / "pyproject.toml").write_text(f'[tool.hapkg]\nmaintainer = "{MAINTAINER}"\n')
    return tmp_path


@pytest.mark.parametrize("argv", [["--version"], ["plan"], ["list"]])
def test_a_command_that_starts_nothing_imports_little(project: Path, argv: list[str]) -> None:
    options = ["--project", str(project), "--cache", str(project / "cache")]
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *options, *argv], capture_output=True, text=True, check=False, cwd=project
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "\n"
    assert not (project / "cache").exists(), "looking writes nothing"


@pytest.mark.parametrize("argv", [["plan"], ["list"], ["show", "tiny"], ["build-all"], ["build", "tiny"]])
def test_a_state_folder_that_is_none_is_one_error(project: Path, argv: list[str]) -> None:
    (project / "cache").touch()
    done = CliRunner().invoke(app, ["--project", str(project), "--cache", str(project / "cache"), *argv])
    assert isinstance(done.exception, MachineError), done.output
    assert done.exception.brief == f"the state folder {project / 'cache'} cannot be used: Not a directory"
    assert "HAPKG_CACHE" in done.exception.hint


@contextlib.contextmanager
def start(argv: Sequence[str], project: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A process with signals as env sets them, killed in the end."""
    argv = ["env", "--default-signal=HUP,INT,TERM", *options, *argv]
    process = subprocess.Popen(argv, cwd=project, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_it_waits(process: subprocess.Popen[str]) -> None:
    """Return when a process has come to the point of opening a fifo."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        calls = [file.read_text() for file in Path(f"/proc/{process.pid}/task").glob("*/wchan")]
        assert process.poll() is None, process.communicate()
        if any("fifo" in call or "wait_for_partner" in call for call in calls):
            return
        time.sleep(0.05)
    raise AssertionError(calls)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_stop_ends_hapkg_whatever_a_thread_waits_for(tmp_path: Path, number: signal.Signals) -> None:
    os.mkfifo(tmp_path / "fifo")
    program = """
import threading
from hapkg.cli import main
def wait(**options):
    thread = threading.Thread(target=lambda: open("fifo"))
    thread.start()
    try:
        thread.join()
    finally:
        thread.join()
main.app = wait
main.main()
"""
    with start([sys.executable, "-c", program], tmp_path) as process:
        wait_until_it_waits(process)
        process.send_signal(number)
        began = time.monotonic()
        assert (process.wait(20), (process.stderr or sys.stdin).read()) == (130, "stopped\n")
        assert time.monotonic() - began < 6, "3 on an idle machine"


def test_a_request_to_stop_is_answered_once_where_a_thread_outlasts_the_command(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    program = """
import threading
from hapkg.cli import main
def wait(**options):
    threading.Thread(target=lambda: open("fifo")).start()
    threading.Event().wait()
main.app = wait
main.main()
"""
    with start([sys.executable, "-c", program], tmp_path) as process:
        wait_until_it_waits(process)
        process.send_signal(signal.SIGTERM)
        assert (process.wait(20), (process.stderr or sys.stdin).read()) == (130, "stopped\n")


def test_started_by_nohup_hapkg_survives_the_end_of_its_terminal(project: Path) -> None:
    os.mkfifo(project / "site.toml")
    program = str(Path(sys.executable).with_name("hapkg"))
    with start([program, "site", "show"], project, "--ignore-signal=HUP") as process:
        wait_until_it_waits(process)
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 130


@pytest.mark.parametrize("argv", [["list"], ["list", "--json"], ["--version"], ["list", "--help"]])
def test_output_that_has_no_room_is_an_error_and_no_bug(project: Path, argv: list[str]) -> None:
    program = Path(sys.executable).with_name("hapkg")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [program, *argv], cwd=project, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (9, "error: there is no space left for what hapkg prints\n")


def test_verbose_tells_of_programs_and_quiet_of_nothing_that_went_well(project: Path) -> None:
    """Answers, on standard output, are the same; an error is told in any case."""
    options = ["--project", str(project), "--cache", str(project / "cache")]
    program = [sys.executable, "-c", "from hapkg.cli.main import main; main()"]

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*program, *argv], capture_output=True, text=True, check=False, cwd=project)

    plain, quiet, loud = (
        run(*words, *options, "init", f"p{number}") for number, words in enumerate(([], ["-q"], ["-v"]))
    )
    assert "wrote p0/pyproject.toml\n" in plain.stderr
    assert quiet.stderr == ""
    assert quiet.stdout == plain.stdout.replace("p0", "p1")
    assert "+ git config " in loud.stderr
    assert "wrote p2/pyproject.toml\n" in loud.stderr
    wrong = run("-q", *options, "logs", "nothing")
    assert wrong.returncode != 0
    assert wrong.stderr.startswith("error: ")
