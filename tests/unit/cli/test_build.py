"""Several architectures on one command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hapkg.build.plan import Action, Step
from hapkg.cli import build
from hapkg.cli.main import app
from hapkg.cli.options import BuildOptions, find_architectures
from hapkg.control import SourceName
from hapkg.errors import HapkgError, MachineError, UsageError
from hapkg.host import read_architecture
from hapkg.programs import launch
from tests.support.samples import AUTOTOOLS, TEMPLATES, write_recipe

OWN = read_architecture()
FIRST, SECOND = [name for name in ("arm64", "amd64", "armhf") if name != OWN][:2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one recipe on a machine that runs the programs of two further architectures."""
    write_recipe(tmp_path / "recipes", AUTOTOOLS)
    settings = f'architectures = ["{SECOND}"]\nmaintainer = "Test Person <test@example.org>"\n'
    (tmp_path / "pyproject.toml").write_text(f"[tool.hapkg]\n{settings}")
    (tmp_path / "debian-templates").symlink_to(TEMPLATES)
    program = tmp_path / "bin/arch-test"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncase $1 in {FIRST}|{SECOND}) exit 0 ;; esac\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(launch, "SEARCH_PATH", f"{program.parent}:{launch.SEARCH_PATH}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAPKG_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("named", "found"),
    [
        (None, ()),
        ([FIRST], (FIRST,)),
        ([f"{FIRST},{SECOND}"], (FIRST, SECOND)),
        ([SECOND, FIRST], (SECOND, FIRST)),
        ([f"{FIRST}, {OWN}", FIRST], (OWN, FIRST)),
    ],
)
def test_architectures_are_listed_or_repeated(named: list[str] | None, found: tuple[str, ...]) -> None:
    assert find_architectures(named) == found


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("named", "kind", "told"),
    [
        ([FIRST, "arm46"], UsageError, "Debian has no architecture 'arm46'"),
        ([f"{FIRST},"], UsageError, "Debian has no architecture ''"),
        ([OWN, "s390x"], MachineError, "runs no programs of s390x"),
    ],
)
def test_each_is_looked_at_before_the_first_is_built(named: list[str], kind: type[HapkgError], told: str) -> None:
    with pytest.raises(kind, match=told):
        find_architectures(named)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("words", "turns"),
    [
        (["build-all"], [None, SECOND]),
        (["build-all", "--architecture", FIRST], [FIRST]),
        (["build-all", "--architecture", f"{FIRST},{OWN}"], [OWN, FIRST]),
        (["build", "one"], [None]),
        (["build", "one", "--architecture", FIRST, "--architecture", SECOND], [FIRST, SECOND]),
    ],
)
def test_each_is_built_in_its_turn(monkeypatch: pytest.MonkeyPatch, words: list[str], turns: list[str | None]) -> None:
    seen: list[str | None] = []

    def build_nothing(context: object, options: BuildOptions) -> tuple[list[object], list[object]]:
        seen.append(options.architecture)
        return [], []

    monkeypatch.setattr(build, "_run", build_nothing)  # the real one makes chroots
    app(words, standalone_mode=False)
    assert seen == turns


@pytest.mark.usefixtures("project")
def test_a_plan_names_the_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    app(["plan", "--json", "--architecture", f"{OWN},{OWN}"], standalone_mode=False)
    (step,) = json.loads(capsys.readouterr().out)
    assert (step["source"], step["architecture"]) == (AUTOTOOLS["source"], OWN)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("words", [["plan"], ["build", "one", "--dry-run"], ["build-all", "--dry-run"]])
def test_a_plan_for_another_follows_what_is_built_for_this_machine(words: list[str]) -> None:
    with pytest.raises(UsageError, match=f"1 of 1 sources are not built for {OWN} .* those for {FIRST} follow them"):
        app([*words, "--architecture", f"{OWN},{FIRST}"], standalone_mode=False)


def test_tables_of_several_say_which(capsys: pytest.CaptureFixture[str]) -> None:
    step = Step(source=SourceName("ha-one"), action=Action.BUILD, version="1", key=None, reason="it is new")
    build._show({OWN: [step], FIRST: [step]}, as_json=False)
    head, *rows = [line.split(maxsplit=4) for line in capsys.readouterr().out.splitlines()]
    assert head == ["source", "architecture", "action", "version", "reason"]
    assert rows == [["ha-one", name, "build", "1", "it is new"] for name in (OWN, FIRST)]
    build._show({OWN: [step], FIRST: [step]}, why=True, as_json=False)
    assert capsys.readouterr().out == "".join(f"ha-one for {name}: build 1 - it is new\n" for name in (OWN, FIRST))
    build._show({OWN: [step]}, as_json=False)
    assert capsys.readouterr().out.split()[:4] == ["source", "action", "version", "reason"]
