"""Requirements of a source that waits for others, before these are built."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.build.context import BuildContext, open_context
from hapkg.build.planner import Planner, Requirements
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


def guess(context: BuildContext, *builds: Artifact, name: SourceName = AGENTS) -> Requirements:
    return Planner(context, None, builds).guess(context.recipes[name], {})


def test_a_source_that_was_never_built_needs_what_its_recipe_declares(context: BuildContext) -> None:
    required = guess(context)
    assert sorted(required.stack) == ["ha-cluster-glue", "ha-cluster-glue-dev", "ha-libqb", "ha-libqb-dev"]
    assert {"libxml2-utils", "libglib2.0-dev"} <= set(required.relations)
    assert [relation for relation in required.relations if "$" in relation or relation.startswith("ha-")] == []


def test_a_source_that_was_built_needs_what_it_needed_last_in_this_suite(context: BuildContext) -> None:
    old = make_glue("bookworm", "libltdl3, ha-libqb (>= 2)")
    new = make_glue("bookworm", "libltdl7 (>= 2.4.7), ha-libqb (>= 2)")
    required = guess(context, old, new, make_glue("trixie", "libltdl8"))
    assert set(required.relations) - set(guess(context).relations) == {"libltdl7 (>= 2.4.7)"}


def test_a_source_that_was_compiled_just_now_needs_what_it_needs_now(context: BuildContext) -> None:
    old, new = make_glue("bookworm", "libltdl3"), make_glue("bookworm", "libltdl7")
    required = Planner(context, None, [old]).guess(context.recipes[AGENTS], {GLUE: new})
    assert set(required.relations) - set(guess(context).relations) == {"libltdl7"}


def test_a_source_is_guessed_for_every_recipe(context: BuildContext) -> None:
    for name in context.recipes:
        assert guess(context, name=name).relations
