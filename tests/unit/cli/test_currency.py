"""hapkg audit and outdated on the command line: exit codes, and the forms of their answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hapkg.cli.main import app
from tests.support.samples import AUTOTOOLS, MAINTAINER, TEMPLATES, write_recipe

OPEN = {"description": "red\x1b[31m", "releases": {"sid": {"status": "open", "urgency": "high\x1b[2J"}}}
ORIGIN = {"type": "debian", "package": "one", "version": "1.2-1", "sha256": "0" * 64}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one recipe, and what the tracker says of it."""
    (tmp_path / "pyproject.toml").write_text(f'[tool.hapkg]\nmaintainer = "{MAINTAINER}"\n')
    (tmp_path / "debian-templates").symlink_to(TEMPLATES)
    write_recipe(tmp_path / "recipes", {**AUTOTOOLS, "origins": [ORIGIN]})
    (tmp_path / "data.json").write_text(json.dumps({"one": {"CVE-2026-0001": OPEN}}))
    return tmp_path


def audit(project: Path, *words: str) -> Result:
    place = ["--project", str(project), "--cache", str(project / "state")]
    return CliRunner().invoke(app, [*place, "audit", "--data", str(project / "data.json"), *words])


def test_an_open_hole_is_the_exit_code(project: Path) -> None:
    done = audit(project)
    assert done.exit_code == 1
    assert "CVE-2026-0001  ha-one  -         -      OPEN  not fixed in Debian's unstable" in done.output
    assert "1 open of 1" in done.output
    assert "\x1b" not in done.output


def test_nothing_open_is_0(project: Path) -> None:
    advisory = {"id": "CVE-2026-0001", "status": "not-affected", "why": "the daemon is not built"}
    write_recipe(project / "recipes", {**AUTOTOOLS, "origins": [ORIGIN], "advisories": [advisory]})
    done = audit(project, "one")
    assert done.exit_code == 0
    assert "not-affected  the daemon is not built" in done.output


def test_scripts_get_the_same_facts(project: Path) -> None:
    done = audit(project, "--json")
    (finding,) = json.loads(done.stdout)
    assert (finding["id"], finding["source"], finding["verdict"], done.exit_code) == (
        "CVE-2026-0001",
        "ha-one",
        "open",
        1,
    )
    assert "\x1b" not in done.output
    (run,) = json.loads(audit(project, "--sarif").stdout)["runs"]
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "recipes/one/recipe.toml"


def test_two_forms_at_once_are_none(project: Path) -> None:
    done = audit(project, "--json", "--sarif")
    assert "two forms of one answer" in str(done.exception)


def test_outdated_tells_in_its_exit_code_what_it_knows(project: Path) -> None:
    """Nothing answers: neither news nor the all-clear."""
    words = [
        "--project",
        str(project),
        "--cache",
        str(project / "state"),
        "outdated",
        "--mirror",
        "file:///nonexistent",
    ]
    write_recipe(project / "recipes", {**AUTOTOOLS, "upstream": {"git": "file:///nonexistent", "tag": "v1.2"}})
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 6, done.output
    assert "ha-one  1.2   ?" in done.output
    assert "no answer: file:///nonexistent" in done.output
