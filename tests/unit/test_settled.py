"""A run that finds everything as the last one did, and whatever makes it look again."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import hapkg
from hapkg.build import plan_cache
from hapkg.build.context import collect_inputs, find_relations, make_plan, open_workshop
from hapkg.build.plan import Action, Step, make_key
from hapkg.build.plan_cache import View, recall, remember
from hapkg.build.store import Artifact, Store
from hapkg.chroot import resolver, schroot
from hapkg.chroot.base import digest_contents
from hapkg.cli import running
from hapkg.cli.main import app
from hapkg.control import Suite
from hapkg.errors import IntegrityError
from hapkg.host import read_architecture
from hapkg.recipe.settings import find_project
from tests.unit.samples import AUTOTOOLS, MAINTAINER, TEMPLATES, write_recipe

BOOKWORM = Suite("bookworm")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one recipe, and a state folder in which it is built."""
    monkeypatch.setattr(schroot, "_CONFIGURATIONS", tmp_path / "schroot")
    monkeypatch.setattr(plan_cache, "_CODE", shutil.copytree(Path(hapkg.__file__).parent, tmp_path / "code"))
    monkeypatch.setenv("HAPKG_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "checkout"
    write_recipe(root / "recipes", AUTOTOOLS)
    shutil.copytree(TEMPLATES, root / "debian-templates")
    (root / "pyproject.toml").write_text(f'[tool.hapkg]\nmaintainer = "{MAINTAINER}"\n')
    monkeypatch.chdir(root)
    store = Store(root=tmp_path / "cache")
    description = {"contents": digest_contents(), "digest": "d" * 64, "index": "i", "packages": 1}
    write(store.root / "chroots/bookworm/chroot.json", json.dumps(description))
    write(tmp_path / "schroot" / schroot._schroot_name(store.root, BOOKWORM), "")
    base = schroot.find_chroot(store.root, BOOKWORM)
    assert base is not None
    workshop = open_workshop(find_project(root), store, None, None)
    (recipe,) = workshop.recipes.values()
    write(resolver._find_memory(base, find_relations(workshop, recipe, {}), store.root), '{"m4": "1.4"}')
    inputs = collect_inputs(workshop, recipe, base, {})
    made = tmp_path / "made"
    write(made / "ha-one_1.2-1+ha12.1_amd64.deb", "a package")
    build = Artifact(
        key=make_key(inputs),
        source=recipe.name,
        version="1.2-1+ha12.1",
        suite=BOOKWORM,
        architecture=read_architecture(),
        inputs=inputs,
        origin="a test",
        files={file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in made.iterdir()},
        seconds={},
        folder=made,
    )
    store.add_build(build, made)
    return root


def write(file: Path, text: str) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file.write_text(text)


def find_store(root: Path) -> Store:
    return Store(root=root.parent / "cache")


def find_build(root: Path) -> Path:
    (folder,) = (root.parent / "cache/builds").iterdir()
    return folder


def look_again(root: Path) -> tuple[Step, ...]:
    """What is recalled by a run that names no suite."""
    return recall(find_store(root), root, None)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What the program says, without seconds."""
    app(list(argv), standalone_mode=False)
    said = capsys.readouterr()
    return re.sub(r"\d\.\ds", "TIME", said.out + said.err)


@pytest.fixture
def _no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning is a failure."""

    def fail(*_: object) -> None:
        raise AssertionError("this run works out what is known")

    monkeypatch.setattr(running, "build", fail)
    monkeypatch.setattr("hapkg.build.context.make_plan", fail)


def test_the_second_run_says_what_the_first_one_said(
    root: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    looks = [["build-all"], ["build-all", "--json"], ["plan"], ["plan", "--json"], ["plan", "--why"]]
    said = []
    for look in looks:
        shutil.rmtree(find_store(root).settled, ignore_errors=True)
        said.append(run(capsys, *look))
    run(capsys, "build-all")
    request.getfixturevalue("_no_plan")
    assert [run(capsys, *look) for look in looks] == said
    assert "reused 1.2-1+ha12.1 (nothing changed)" in said[0]


def test_what_is_recalled_is_the_plan(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert look_again(root) == ()
    workshop = open_workshop(find_project(root), find_store(root), None, None)
    plan = make_plan(workshop, list(workshop.recipes))
    assert [step.action for step in plan] == [Action.REUSE]
    run(capsys, "build-all")
    assert look_again(root) == plan


CHANGES: dict[str, Callable[[Path], object]] = {
    "a recipe": lambda root: write(root / "recipes/one/recipe.toml", "# nothing\n"),
    "a comment in a recipe": lambda root: (root / "recipes/one/recipe.toml").open("a").write("# nothing\n"),
    "a file of a recipe": lambda root: write(root / "recipes/one/debian/NEWS", "one"),
    "an empty file of a recipe": lambda root: write(root / "recipes/one/debian/NEWS", ""),
    "another recipe": lambda root: write_recipe(root / "recipes", {**AUTOTOOLS, "source": "ha-two"}),
    "a folder of recipes elsewhere": lambda root: (root / "recipes/two").symlink_to(TEMPLATES),
    "a template": lambda root: write(root / "debian-templates/common/NEWS.j2", "one"),
    "a template's name": lambda root: (root / "debian-templates/common/copyright.j2").rename(root / "copyright"),
    "a setting": lambda root: write(root / "pyproject.toml", f'[tool.hapkg]\nmaintainer = "X {MAINTAINER}"\n'),
    "a lock": lambda root: write(root / "locks/bookworm.toml", ""),
    "a site": lambda root: write(root / "site.toml", ""),
    "hapkg": lambda root: write(root.parent / "code/plan.py", ""),
    "what hapkg brings": lambda root: write(root.parent / "code/data/new", ""),
    "the base chroot": lambda root: write(
        root.parent / "cache/chroots/bookworm/chroot.json",
        json.dumps({"contents": digest_contents(), "digest": "e" * 64, "index": "i", "packages": 1}),
    ),
    "no base chroot": lambda root: shutil.rmtree(root.parent / "schroot"),
    "what apt answers": lambda root: shutil.rmtree(root.parent / "cache/resolved"),
    "the repository": lambda root: write(root / "apt/dists/bookworm/Release", "Suite: bookworm\n"),
    "what the repository was": lambda root: write(root / "apt/.hapkg/removed", ""),
    "what a build is said to be": lambda root: (find_build(root) / "artifact.json").open("a").write("\n"),
    "no build": lambda root: shutil.rmtree(find_build(root)),
    "the note": lambda root: [write(file, "{}") for file in (root.parent / "cache/settled").iterdir()],
    "no words": lambda root: [file.write_bytes(b"\xff[") for file in (root.parent / "cache/settled").iterdir()],
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_the_plan_follows_from_makes_a_run_look_again(
    root: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    run(capsys, "build-all")
    assert look_again(root)
    CHANGES[change](root)
    assert look_again(root) == ()


def test_another_library_makes_a_run_look_again(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, "build-all")
    (root.parent / "lib/jinja2-99.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(root.parent / "lib")])
    assert look_again(root) == ()


def test_neither_another_checkout_nor_another_suite_is_meant(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "build-all")
    assert recall(find_store(root), root.parent, None) == ()
    assert recall(find_store(root), root, "bookworm") == ()
    run(capsys, "build-all", "--suite", "bookworm")
    assert recall(find_store(root), root, "bookworm") == look_again(root)


@pytest.mark.parametrize("argv", [["build", "one"], ["build-all", "--no-tests"]])
def test_only_a_run_of_all_recipes_as_they_are_is_noted(
    root: Path, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    assert "reused" in run(capsys, *argv)
    assert not find_store(root).settled.exists()


def test_what_changes_during_a_run_is_not_taken_for_what_it_saw(root: Path) -> None:
    view = View(store=find_store(root), root=root, suite=BOOKWORM, repository=root / "apt")
    seen = view.look()
    workshop = open_workshop(find_project(root), find_store(root), None, None)
    plan = make_plan(workshop, list(workshop.recipes))
    CHANGES["a comment in a recipe"](root)
    remember(view, seen, None, plan)
    assert not find_store(root).settled.exists()
    remember(view, view.look(), None, plan)
    assert look_again(root) == plan


def test_a_damaged_package_is_found_all_the_same(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "build-all")
    (package,) = find_build(root).glob("*.deb")
    package.write_text("A package")
    assert look_again(root)
    with pytest.raises(IntegrityError, match="is not what the build"):
        run(capsys, "build-all")
