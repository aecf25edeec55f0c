"""Recipes of commits: a version that says what the commit contains, and the patches that it has not."""

from __future__ import annotations

import shutil
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hapkg.control import compare_versions
from hapkg.errors import SourceError
from hapkg.recipe.model import Recipe
from hapkg.source.origins.repository import Commit
from hapkg.source.snapshot import PatchedSnapshot, leave_out_contained, make_snapshot_recipe
from tests.support.samples import AUTOTOOLS, PATCH, make_recipe, make_recipe_from

COMMIT = Commit(
    kind="git",
    url="https://git.example.org/one.git",
    id="abcdef0" + "1" * 33,
    date=datetime(2026, 6, 3, 1, 2, 3, tzinfo=UTC),
    mirror=Path("/nowhere"),
)


@pytest.mark.parametrize("release", ["1.2", "1.10", "2.0~rc2", "1.1"])
def test_a_snapshot_comes_after_the_release_that_it_contains(release: str) -> None:
    recipe = make_snapshot_recipe(make_recipe_from(AUTOTOOLS), COMMIT, "main", release)
    assert recipe.version == f"{release}+git20260603010203.abcdef0"
    assert compare_versions(f"{release}-1", f"{recipe.version}-1") < 0
    assert recipe.upstream is not None
    assert (recipe.upstream.tag, recipe.upstream.commit, recipe.origins) == ("main", COMMIT.id, ())


def test_a_commit_needs_what_a_release_brings_finished() -> None:
    snapshot = {"build-depends": ["xsltproc"], "without": ["--with-prebuilt"]}
    table = {**AUTOTOOLS, "build-depends": ["flex"], "configure": ["--a", "--with-prebuilt"], "snapshot": snapshot}
    recipe = make_recipe_from(table)
    assert (recipe.build_depends, recipe.switches) == (("flex",), ("--a", "--with-prebuilt"))
    made = make_snapshot_recipe(recipe, COMMIT, "main", "1.3")
    assert (made.build_depends, made.switches) == (("flex", "xsltproc"), ("--a",))
    assert made.needs == ("flex", "xsltproc")


SECOND = PATCH.replace("greeting", "farewell").replace("-good bye\n+hello", "-until then\n+farewell")


def review(tmp_path: Path, remote: dict[str, bytes] | None = None, **files: str) -> PatchedSnapshot:
    """Two patches on a tree of these files."""
    recipe = make_recipe(
        tmp_path / "recipes", AUTOTOOLS, {"series": "one.patch\ntwo.patch\n", "one.patch": PATCH, "two.patch": SECOND}
    )
    return review_with(recipe, tmp_path, **files)


def review_with(recipe: Recipe, tmp_path: Path, **files: str) -> PatchedSnapshot:
    tree = tmp_path / "one-1.3"
    tree.mkdir()
    for name, text in files.items():
        (tree / name).write_text(text)
    with tarfile.open(tmp_path / "one.tar.gz", "w:gz") as archive:
        archive.add(tree, tree.name)
    shutil.rmtree(tree)
    scratch = tmp_path / "work" / "scratch"
    try:
        return leave_out_contained(recipe, tmp_path / "one.tar.gz", {}, scratch, was="1.2")
    finally:
        assert not scratch.exists()


def name_patches(snapshot: PatchedSnapshot) -> list[str]:
    return [patch.name for patch in snapshot.recipe.patches]


def test_patches_that_apply_stay(tmp_path: Path) -> None:
    found = review(tmp_path, greeting="good bye\n", farewell="until then\n")
    assert (name_patches(found), found.contained) == (["one.patch", "two.patch"], ())


def test_a_patch_that_the_commit_has_is_left_out(tmp_path: Path) -> None:
    found = review(tmp_path, greeting="hello\n", farewell="until then\n")
    assert (name_patches(found), found.contained) == (["two.patch"], ("one.patch",))
    assert found.recipe.series == ("two.patch",)


def test_all_patches_that_do_not_apply_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"ha-one: 2 of 2 patches for 1\.2 do not apply to 1\.2") as caught:
        review(tmp_path, greeting="nothing\n", farewell="of that\n")
    assert {line.partition(":")[0] for line in caught.value.details} == {"one.patch", "two.patch"}
    assert "patches" in caught.value.hint


def test_without_patches_nothing_is_unpacked(tmp_path: Path) -> None:
    recipe = make_recipe_from(AUTOTOOLS)
    found = leave_out_contained(recipe, tmp_path / "none.tar.gz", {}, tmp_path / "scratch", was="1.2")
    assert found == PatchedSnapshot(recipe=recipe, contained=())
