"""The lock: what it holds, when it refuses, and that it is written whole."""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from hapkg.build.context import BuildContext, open_context
from hapkg.build.pins import find_unlocked, make_lock
from hapkg.build.store import Store
from hapkg.control import SourceName, Suite
from hapkg.errors import IntegrityError
from hapkg.recipe.collection import read_recipes
from hapkg.recipe.settings import find_project
from hapkg.source.lockfile import (
    Lock,
    LockedSource,
    check_entry,
    check_recipe,
    lock_file,
    read_lock,
    tree_digest,
    write_lock,
)
from tests.support.samples import TEMPLATES

SUITE = Suite("bookworm")
ONE = SourceName("ha-one")
ENTRY = {"version": "1.0", "origin": "somewhere", "sha256": "a" * 64, "tree": "b" * 64}

RECIPE = """
source = "ha-one"
version = "1.0"
style = "autotools"
date = 2024-01-01T00:00:00Z
homepage = "https://one.example.org"

[upstream]
git = "https://one.example.org/one.git"
tag = "v1.0"

[[origins]]
type = "tarball"
url = "file://{tarball}"
sha256 = "{sha256}"

[[copyright]]
copyright = ["2024 One"]
license = "GPL-2+"

[[packages]]
package = "ha-one"
synopsis = "one"
description = "One."
files = ["bin"]
"""


def make_entry(**changes: str) -> LockedSource:
    return LockedSource.model_validate({**ENTRY, **changes})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "folder").mkdir(parents=True)
    (root / "folder/file").write_text("content")
    (root / "program").write_text("#!/bin/sh\n")
    (root / "program").chmod(0o755)
    (root / "link").symlink_to("folder/file")
    return root


def test_the_digest_of_a_tree_does_not_know_times_owners_or_places(tree: Path, tmp_path: Path) -> None:
    before = tree_digest(tree)
    os.utime(tree / "program", (1, 1))
    (tree / "folder/file").chmod(0o600)
    assert tree_digest(tree.rename(tmp_path / "elsewhere")) == before


def test_the_digest_of_a_tree_knows_content_names_links_and_programs(tree: Path) -> None:
    digests = {tree_digest(tree)}
    (tree / "folder/file").write_text("contents")
    digests.add(tree_digest(tree))
    (tree / "program").chmod(0o644)
    digests.add(tree_digest(tree))
    (tree / "link").unlink()
    (tree / "link").symlink_to("program")
    digests.add(tree_digest(tree))
    (tree / "program").rename(tree / "programme")
    digests.add(tree_digest(tree))
    (tree / "folder/other").symlink_to("/nowhere")
    digests.add(tree_digest(tree))
    assert len(digests) == 6


def test_a_lock_reads_back_as_it_was_written(tmp_path: Path) -> None:
    patched = LockedSource.model_validate({**ENTRY, "patches": {"fix-1.patch": "c" * 64}})
    sources = {ONE: make_entry(), SourceName("ha-two"): patched}
    file = write_lock(tmp_path, SUITE, sources)
    assert read_lock(tmp_path, SUITE) == Lock(file=file, sources=sources)
    assert read_lock(tmp_path, Suite("trixie")) is None


def test_what_differs_is_named(tmp_path: Path) -> None:
    lock = Lock(file=tmp_path / "bookworm.toml", sources={ONE: make_entry()})
    check_entry(lock, ONE, make_entry(origin="elsewhere"))  # where it came from does not matter
    with pytest.raises(IntegrityError) as caught:
        check_entry(lock, ONE, make_entry(version="1.1", tree="d" * 64))
    assert caught.value.details == ("version: locked 1.0, found 1.1", f"tree: locked {'b' * 64}, found {'d' * 64}")
    assert caught.value.hint == "if the change is meant, run: hapkg lock ha-one"


def test_a_source_that_was_never_locked_is_no_difference(context: BuildContext) -> None:
    lock = Lock(file=lock_file(context.project.root, SUITE), sources={})
    check_entry(lock, ONE, make_entry())
    check_recipe(lock, context.recipes[ONE])
    assert find_unlocked(context, [ONE]) == [], "this suite has no lock"
    assert find_unlocked(replace(context, lock=lock), [ONE]) == [ONE]
    assert find_unlocked(replace(context, lock=replace(lock, sources={ONE: make_entry()})), [ONE]) == []


def test_another_signer_and_another_patch_are_errors(tmp_path: Path) -> None:
    patched = {**ENTRY, "signer": "A" * 40, "patches": {"fix-1.patch": "c" * 64}}
    lock = Lock(file=tmp_path / "bookworm.toml", sources={ONE: LockedSource.model_validate(patched)})
    check_entry(lock, ONE, LockedSource.model_validate(patched))
    for key, value in (
        ("signer", "B" * 40),
        ("signer", ""),
        ("patches", {"fix-1.patch": "d" * 64}),
        ("patches", {"fix-2.patch": "c" * 64}),
        ("patches", {}),
    ):
        with pytest.raises(IntegrityError) as caught:
            check_entry(lock, ONE, LockedSource.model_validate({**patched, key: value}))
        assert caught.value.details == (f"{key}: locked {patched[key]}, found {value}",)


def test_a_repositorys_tarball_may_be_packed_differently_but_not_signed_by_another(tmp_path: Path) -> None:
    locked = make_entry(origin="git https://one.example.org/one.git 5f", signer="A" * 40)
    lock = Lock(file=tmp_path / "bookworm.toml", sources={ONE: locked})
    check_entry(lock, ONE, locked.model_copy(update={"sha256": "e" * 64}))
    with pytest.raises(IntegrityError) as caught:
        check_entry(lock, ONE, locked.model_copy(update={"sha256": "e" * 64, "signer": ""}))
    assert caught.value.details == (f"signer: locked {'A' * 40}, found ",)


@pytest.mark.parametrize("text", ["[ha-one", "[ha-one]\nversion = 1", "ha-one = 3", '[ha-one]\nsha256 = "short"'])
def test_a_damaged_lock_is_named_and_stays(tmp_path: Path, text: str) -> None:
    file = lock_file(tmp_path, SUITE)
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(IntegrityError, match=r"locks/bookworm\.toml"):
        read_lock(tmp_path, SUITE)
    assert file.read_text() == text


@pytest.fixture
def context(tmp_path: Path, tree: Path) -> BuildContext:
    """A project of one recipe, whose tarball lies on this disk."""
    tarball = tmp_path / "one-1.0.tar.gz"
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(tree, "one-1.0")
    root = tmp_path / "project"
    (root / "recipes/one").mkdir(parents=True)
    (root / "debian-templates").symlink_to(TEMPLATES)
    (root / "pyproject.toml").write_text('[tool.hapkg]\nmaintainer = "One <one@example.org>"\n')
    sha256 = hashlib.sha256(tarball.read_bytes()).hexdigest()
    (root / "recipes/one/recipe.toml").write_text(RECIPE.format(tarball=tarball, sha256=sha256))
    return open_context(find_project(root), Store(root=tmp_path / "cache"), None, None)


def test_locking_writes_tarball_and_tree_of_every_source(context: BuildContext, tree: Path) -> None:
    make_lock(context, [ONE])
    lock = read_lock(context.project.root, SUITE)
    assert lock is not None
    entry = lock.sources[ONE]
    assert (entry.version, (entry.sha256,), entry.tree) == ("1.0", context.recipes[ONE].pins, tree_digest(tree))


def test_a_recipe_that_asks_for_something_else_than_the_lock_is_refused_without_its_source(
    context: BuildContext,
) -> None:
    recipe, file = context.recipes[ONE], lock_file(context.project.root, SUITE)
    entry = make_entry(sha256=recipe.pins[0])
    check_recipe(Lock(file=file, sources={ONE: entry}), recipe)
    check_recipe(Lock(file=file, sources={ONE: make_entry(origin="git https://one.example.org at 1")}), recipe)
    patched = LockedSource.model_validate({**ENTRY, "version": "0.9", "patches": {"fix.patch": "c" * 64}})
    with pytest.raises(IntegrityError) as caught:
        check_recipe(Lock(file=file, sources={ONE: patched}), recipe)
    assert caught.value.details == (
        "version: locked 0.9, the recipe has 1.0",
        f"patches: locked {{'fix.patch': '{'c' * 64}'}}, the recipe has {{}}",
        f"sha256: locked {'a' * 64}, the recipe pins {recipe.pins[0]}",
    )
    assert caught.value.hint == "if the change is meant, run: hapkg lock ha-one"


def test_locking_one_source_keeps_the_others_and_drops_what_has_no_recipe(context: BuildContext) -> None:
    gone, kept = SourceName("ha-gone"), make_entry()
    old = Lock(file=lock_file(context.project.root, SUITE), sources={ONE: kept, gone: kept})
    make_lock(replace(context, lock=old), [])
    lock = read_lock(context.project.root, SUITE)
    assert lock is not None
    assert lock.sources == {ONE: kept}


def test_the_locks_of_this_project_know_every_recipe_as_it_stands() -> None:
    project = find_project(Path(__file__))
    recipes = {name: recipe for name, recipe in read_recipes(project).items() if not recipe.native}
    assert lock_file(project.root, SUITE).exists()
    for suite in project.settings.suites:
        if (lock := read_lock(project.root, Suite(suite))) is not None:
            assert lock.sources.keys() == recipes.keys()
            for recipe in recipes.values():
                check_recipe(lock, recipe)
