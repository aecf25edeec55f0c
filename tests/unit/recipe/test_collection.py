"""All recipes of a project: one that is wrong hides no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.errors import RecipeError
from hapkg.recipe.collection import read_collection, read_recipes
from hapkg.recipe.settings import Project, find_project
from tests.support.samples import AUTOTOOLS, MAINTAINER, PACKAGE, TEMPLATES, write_recipe

TWO = {**AUTOTOOLS, "source": "ha-two", "packages": [{**PACKAGE, "package": "ha-two"}]}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for table in (AUTOTOOLS, TWO):
        write_recipe(tmp_path / "recipes", table)
    (tmp_path / "pyproject.toml").write_text(f'[tool.hapkg]\nmaintainer = "{MAINTAINER}"\n')
    (tmp_path / "debian-templates").symlink_to(TEMPLATES)
    return find_project(tmp_path)


def test_recipes_are_in_the_order_of_their_names(project: Project) -> None:
    found = read_collection(project)
    assert (list(found.recipes), found.wrong) == (["ha-one", "ha-two"], {})
    assert read_recipes(project) == found.recipes


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("recipe.toml", "source = ", "recipe.toml"),
        ("recipe.toml", 'source = "ha-one"\n', "missing key"),
        ("patches/series", "none.patch\n", "none.patch does not exist"),
        ("recipe.toml", b"\xff\xfe", "recipe.toml"),
    ],
)
def test_a_recipe_that_cannot_be_read_hides_no_other(
    project: Project, file: str, content: str | bytes, told: str
) -> None:
    path = project.recipes / "one" / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_collection(project)
    assert list(found.recipes) == ["ha-two"]
    assert list(found.wrong) == ["ha-one"]
    assert told in found.wrong[next(iter(found.wrong))].brief
    with pytest.raises(RecipeError, match=str(project.recipes / "one")):
        read_recipes(project)


def test_a_project_without_recipes_says_where_they_live(project: Project) -> None:
    for name in ("one", "two"):
        (project.recipes / name / "recipe.toml").unlink()
    with pytest.raises(RecipeError, match="holds no recipe"):
        read_collection(project)
