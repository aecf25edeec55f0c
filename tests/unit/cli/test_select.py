"""Selection beside a recipe that is wrong: commands do what does not need it, and name it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hapkg.cli.main import app
from hapkg.errors import HapkgError
from tests.support.samples import AUTOTOOLS, PACKAGE, TEMPLATES, change, write_recipe

NAMES = ("ha-one", "ha-other", "ha-top", "ha-two")


def make_table(name: str, *needs: str) -> dict[str, Any]:
    return {
        **AUTOTOOLS,
        "source": name,
        "build-depends": list(needs),
        "packages": [{**PACKAGE, "package": name}],
    }


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which ha-two needs ha-one, ha-top needs ha-two, and ha-other needs nothing."""
    tables = (
        make_table("ha-one"),
        make_table("ha-other"),
        make_table("ha-two", "ha-one"),
        make_table("ha-top", "ha-two"),
    )
    for table in tables:
        write_recipe(tmp_path / "recipes", table)
    (tmp_path / "pyproject.toml").write_text('[tool.hapkg]\nmaintainer = "Test Person <test@example.org>"\n')
    (tmp_path / "debian-templates").symlink_to(TEMPLATES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAPKG_CACHE", str(tmp_path / "cache"))
    return tmp_path


def break_reading(project: Path) -> str:
    (project / "recipes/one/recipe.toml").write_text("source = \n")
    return "recipes/one/recipe.toml"


def break_rendering(project: Path) -> str:
    """The commonest fault of a draft: a licence whose text nobody has."""
    write_recipe(project / "recipes", change(make_table("ha-one"), "copyright.0.license", "Nobodys-2.0"))
    return "Nobodys-2.0"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Status, output and complaints of hapkg; an error that ends it is the last complaint."""
    try:
        status, error = app(list(arguments), standalone_mode=False), ""
    except HapkgError as cause:
        status, error = cause.exit_code, f"error: {cause.brief} {' '.join(cause.details)}"
    said = capsys.readouterr()
    return int(status or 0), said.out, said.err + error


@pytest.mark.parametrize("damage", [break_reading, break_rendering])
def test_a_plan_leaves_out_what_needs_it(project: Path, capsys: pytest.CaptureFixture[str], damage: Any) -> None:
    told = damage(project)
    status, out, err = run(capsys, "plan", "--json")
    actions = {step["source"]: (step["action"], step["reason"]) for step in json.loads(out)}
    assert sorted(actions) == sorted(NAMES)
    assert actions["ha-other"][0] == "build"
    assert [actions[name][0] for name in ("ha-one", "ha-two", "ha-top")] == ["left out"] * 3
    assert "needs ha-one" in actions["ha-two"][1]
    assert (status, err.count("error: ")) == (4, 1)
    assert told in err


def test_a_plan_of_what_does_not_need_it_is_as_ever(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_reading(project)
    status, out, err = run(capsys, "plan", "other")
    assert (status, err) == (0, "")
    assert out.splitlines()[1].split()[:2] == ["ha-other", "build"]


@pytest.mark.parametrize("name", ["one", "ha-one"])
def test_who_asks_for_it_is_told_its_fault(project: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    told = break_reading(project)
    status, out, err = run(capsys, "plan", name)
    assert (status, out) == (4, "")
    assert told in err


def test_who_asks_for_what_needs_it_is_told_both(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = break_reading(project)
    status, _, err = run(capsys, "plan", "top")
    assert status == 4
    assert "ha-top cannot be planned: it needs ha-two" in err
    assert told in err


def test_a_list_names_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_reading(project)
    status, out, err = run(capsys, "list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["ha-other"]
    assert err.count("is left out") == 3


def test_with_every_recipe_wrong_there_is_nothing_to_plan(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in project.glob("recipes/*/recipe.toml"):
        file.write_text("source = \n")
    status, _, err = run(capsys, "plan")
    assert (status, err.count("error: ")) == (4, 4)
