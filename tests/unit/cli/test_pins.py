"""hapkg bump and outdated on the command line: one recipe or all, of a project with an upstream and an archive."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from hapkg.cli.main import app
from hapkg.errors import UsageError
from tests.support.samples import MAINTAINER, META, write_recipe
from tests.support.upstream import Place, git

Run = Callable[..., Result]


@pytest.fixture
def run(place: Place) -> Run:
    """hapkg COMMAND for a project with a recipe that can be bumped and one that has no upstream."""
    place.write()
    root = place.project.root
    (root / "pyproject.toml").write_text(f'[tool.hapkg]\nmaintainer = "{MAINTAINER}"\n')
    package = {**META["packages"][0], "package": "ha-all"}
    write_recipe(place.project.recipes, {**META, "source": "ha-all", "packages": [package]})
    before = ["--project", str(root), "--cache", str(place.state)]
    return lambda *words: CliRunner().invoke(app, [*before, *words, "--mirror", place.address])


@pytest.mark.parametrize(
    ("words", "told"),
    [([], "name one recipe, or say --all"), (["one", "--all"], "name one recipe"), (["all"], "ha-all has no upstream")],
)
def test_what_cannot_be_bumped_is_refused(run: Run, words: list[str], told: str) -> None:
    done = run("bump", *words)
    assert isinstance(done.exception, UsageError)
    assert told in done.exception.brief


@pytest.mark.parametrize("words", [["one"], ["ha-one", "1.10"], ["--all"]])
def test_news_are_taken_and_then_there_are_none(run: Run, words: list[str]) -> None:
    assert "1.10 is there" in run("outdated").output
    done = run("bump", *words)
    assert done.exit_code == 0, done.output
    for line in (
        "ha-one: 1.2 -> 1.10 (v1.10 ",
        "patch moved.patch: refreshed",
        "patch given.patch: dropped: the new tree has it",
        "it closed CVE-2026-0009: hapkg audit tells what closes that now",
        "the recipe gives --enable-fast, which upstream no longer takes",
        "wrote recipes/one/recipe.toml",
        "removed recipes/one/patches/given.patch",
        "wrote locks/bookworm.toml",
    ):
        assert line in done.output
    after = run("outdated")
    assert (after.exit_code, after.output.splitlines()[1].split()[-2:]) == (0, ["newer", "-"]), after.output
    assert run("bump", "--all").exit_code == 0, "nothing to do is no failure"


def test_one_commit_is_taken_as_a_patch(run: Run, place: Place) -> None:
    (place.repository / "words").write_text("x\na\nb\none\ntwo\nthree\nc\nD\n")
    git(place.repository, "commit", "-qam", "Check the last word")
    done = run("bump", "one", "--security", git(place.repository, "rev-parse", "HEAD"), "--fixes", "CVE-2026-0008")
    assert done.exit_code == 0, done.output
    assert "ha-one: 1.2, revision 4 -> 5 (v1.2 " in done.output
    assert "wrote recipes/one/patches/CVE-2026-0008.patch" in done.output


@pytest.mark.parametrize("words", [["one", "--fixes", "CVE-2026-0008"], ["one", "1.10", "--security", "a" * 40]])
def test_a_fix_keeps_the_version(run: Run, words: list[str]) -> None:
    done = run("bump", *words)
    assert isinstance(done.exception, UsageError)
    assert "keeps its version" in done.exception.brief
