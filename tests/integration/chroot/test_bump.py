"""The step to another release with its build: a test of upstream's that fails leaves the recipe as it was."""

from __future__ import annotations

from pathlib import Path

from hapkg.recipe.model import read_recipe
from hapkg.recipe.style import read_styles
from tests.support.machine import Hapkg
from tests.support.miniature import Miniature, make_plain_source


def test_a_release_that_fails_its_tests_is_not_taken_and_one_that_passes_is(hapkg: Hapkg, project: Miniature) -> None:
    recipe = project.root / "recipes/bumped/recipe.toml"
    project.add("bumped", make_plain_source(check=["false"]), version="1.1")
    project.add("bumped", make_plain_source(check=["grep -q new README"], README="A new source.\n"), version="1.2")
    project.add("bumped", make_plain_source(), version="1.0")
    before = recipe.read_bytes()
    run = hapkg.on(project.root).run

    failed = run("bump", "bumped", "1.1", "--build")
    assert failed.status == 10, failed.stderr
    assert recipe.read_bytes() == before

    done = run("bump", "bumped", "1.2", "--build")
    assert done.status == 0, done.stderr
    assert "ha-bumped: 1.0 -> 1.2 (v1.2, 2024-05-06)" in done.stdout
    new = read_recipe(recipe.parent, package_prefix="ha-", styles=read_styles((project.root / "debian-templates",)))
    assert (new.version, new.pins) == ("1.2", (new.origins[0].pin(None),))
    assert run("build-all", "--json").endings == {"ha-bumped": "reused"}, "what was tried is what is built"
    assert [*Path(hapkg.cache / "sources").glob(".bump-*")] == []
