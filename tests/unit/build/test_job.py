"""What a source that waits for others is taken to need, before these are built."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.build.context import BuildContext, find_relations, find_stack, open_context
from hapkg.build.job import guess_finished
from hapkg.build.store import Artifact, Store
from hapkg.control import SourceName, Suite
from hapkg.recipe.settings import find_project
from tests.support.samples import CHECKOUT

AGENTS, GLUE = SourceName("ha-resource-agents"), SourceName("ha-cluster-glue")


@pytest.fixture
def context(tmp_path: Path) -> BuildContext:
    return open_context(find_project(CHECKOUT), Store(root=tmp_path / "cache"), None, None)


def make_glue(suite: str, depends: str) -> Artifact:
    packages = {"ha-cluster-glue": depends, "ha-cluster-glue-dev": "ha-cluster-glue (= 1.0), libglib2.0-dev"}
    return Artifact(
        key="key",
        source=GLUE,
        version="1.0",
        suite=Suite(suite),
        architecture="amd64",
        inputs={},
        origin="a test",
        files={},
        seconds={},
        folder=Path("/nowhere"),
        packages={name: {"digest": "0", "depends": relations} for name, relations in packages.items()},
    )


def guess(context: BuildContext, *builds: Artifact) -> tuple[str, ...]:
    recipe = context.recipes[AGENTS]
    return find_relations(context, recipe, guess_finished(context, recipe, builds))


def test_a_source_that_was_never_built_needs_what_its_recipe_declares(context: BuildContext) -> None:
    recipe = context.recipes[AGENTS]
    finished = guess_finished(context, recipe, [])
    assert set(finished) == set(context.graph.needs[AGENTS])
    seen = ["ha-cluster-glue", "ha-cluster-glue-dev", "ha-libqb", "ha-libqb-dev"]
    assert sorted(find_stack(context, recipe, finished)) == seen
    relations = guess(context)
    assert {"libxml2-utils", "libglib2.0-dev"} <= set(relations)
    assert [relation for relation in relations if "$" in relation or relation.startswith("ha-")] == []


def test_a_source_that_was_built_needs_what_it_needed_last_in_this_suite(context: BuildContext) -> None:
    old = make_glue("bookworm", "libltdl3, ha-libqb (>= 2)")
    new = make_glue("bookworm", "libltdl7 (>= 2.4.7), ha-libqb (>= 2)")
    relations = guess(context, old, new, make_glue("trixie", "libltdl8"))
    assert set(relations) - set(guess(context)) == {"libltdl7 (>= 2.4.7)"}


def test_a_source_is_guessed_for_every_recipe(context: BuildContext) -> None:
    for recipe in context.recipes.values():
        assert find_relations(context, recipe, guess_finished(context, recipe, []))
