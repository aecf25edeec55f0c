"""hapkg bump on the command line: one recipe or all."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hapkg.cli.main import app
from hapkg.errors import UsageError
from tests.support.samples import MAINTAINER, META, TEMPLATES, write_recipe


@pytest.mark.parametrize(
    ("words", "told"),
    [([], "name one recipe, or say --all"), (["one", "--all"], "name one recipe"), (["one"], "ha-one has no upstream")],
)
def test_what_cannot_be_bumped_is_refused(tmp_path: Path, words: list[str], told: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[tool.hapkg]\nmaintainer = "{MAINTAINER}"\n')
    (tmp_path / "debian-templates").symlink_to(TEMPLATES)
    write_recipe(tmp_path / "recipes", META)
    place = ["--project", str(tmp_path), "--cache", str(tmp_path / "state")]
    done = CliRunner().invoke(app, [*place, "bump", *words, "--mirror", "file:///nonexistent"])
    assert isinstance(done.exception, UsageError)
    assert told in done.exception.brief
