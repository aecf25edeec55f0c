"""The plan: sources to build, their keys and versions, and the reasons."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hapkg.build.plan import (
    PLACEHOLDER,
    Action,
    InputChange,
    KnownVersion,
    Step,
    choose_version,
    decide,
    defer,
    explain_changes,
    find_changes,
    find_visible,
    make_inputs,
    make_key,
)
from hapkg.build.store import Artifact
from hapkg.control import BinaryName, SourceName, Suite
from hapkg.recipe.debian_folder import DebianFolder, render_debian
from hapkg.recipe.model import read_recipe
from tests.support.samples import (
    AUTOTOOLS,
    DIGEST,
    META,
    PATCH,
    SETTINGS,
    STYLES,
    TEMPLATES,
    change,
    make_node,
    make_recipe_from,
    write_recipe,
)

BOOKWORM, TRIXIE = Suite("bookworm"), Suite("trixie")
ONE = SourceName("ha-one")
RECIPE = make_recipe_from(AUTOTOOLS)
DEBIAN = DebianFolder(files={"rules": b"#!/usr/bin/make -f\n", "control": b"Source: ha-one\n"})
GOLDEN_INPUTS = {
    "format": 3,
    "suite": "bookworm",
    "architecture": "amd64",
    "chroot": "c" * 64,
    "source": [DIGEST],
    "upstream": "1.2",
    "debian": {
        "rules": "2d7d14424883f3f5186659c2a6cba151b9401c41e49dc9cfcbc17011d5605cd5",
        "control": "2bef947e6b55a2d599d9f3edece5f973be7c21ca1c55245c2ad8f2a053d0b58d",
    },
    "depends": {"zlib1g-dev": "1:1.2"},
    "stack": {"ha-two-dev": "2" * 64},
}
GOLDEN_KEY = "4acaea0f9c378cc6e0eabc7ef92fd53a24c0f7e31496cb18ac3803e0930a782a"


def explain(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The differences, in words."""
    return explain_changes(find_changes(old, new))


def make(**changes: Any) -> dict[str, Any]:
    """Inputs of the sample, with other arguments."""
    arguments: dict[str, Any] = {
        "suite": BOOKWORM,
        "architecture": "amd64",
        "chroot_digest": "c" * 64,
        "depends": {"zlib1g-dev": "1:1.2"},
        "stack": {"ha-two-dev": "2" * 64},
        **changes,
    }
    return make_inputs(arguments.pop("recipe", RECIPE), arguments.pop("debian", DEBIAN), **arguments)


def make_artifact(
    inputs: Mapping[str, Any], version: str, suite: Suite = BOOKWORM, source: SourceName = ONE
) -> Artifact:
    return Artifact(
        key=make_key(inputs),
        source=source,
        version=version,
        suite=suite,
        architecture="amd64",
        inputs=inputs,
        origin="a test",
        files={},
        seconds={},
        folder=Path("/nowhere"),
    )


def inputs_of(checkout: Path, stack: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Inputs of the recipe one in a checkout, as a run computes them."""
    recipe = read_recipe(checkout / "recipes" / "one", package_prefix="ha-", styles=STYLES)
    debian = render_debian(
        recipe,
        SETTINGS,
        (checkout / "debian-templates",),
        suite=BOOKWORM,
        version=PLACEHOLDER,
        key=PLACEHOLDER,
        versions={},
    )
    arguments = {"suite": BOOKWORM, "architecture": "amd64", "chroot_digest": "c", "depends": {}}
    return make_inputs(recipe, debian, **arguments, stack=stack or {})  # type: ignore[arg-type]


def decide_for_bookworm(
    inputs: Mapping[str, Any], builds: Sequence[Artifact] = (), published: Iterable[KnownVersion] = ()
) -> Step:
    """The step of the sample recipe for these inputs."""
    return decide(RECIPE, inputs, suite=BOOKWORM, release="12", builds=builds, published=published)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one recipe that has a patch."""
    folder = tmp_path / "checkout"
    shutil.copytree(TEMPLATES, folder / "debian-templates")
    write_recipe(folder / "recipes", AUTOTOOLS, {"series": "x.patch\n", "x.patch": PATCH})
    return folder


def test_a_build_without_tests_is_another_one_and_says_so() -> None:
    tested, untested = make(), make(tests=False)
    assert untested == {**tested, "tests": "left out"}
    step = decide_for_bookworm(tested, builds=[make_artifact(untested, "1.2-1+ha12.1")])
    assert (step.action, step.reason) == (Action.BUILD, "its tests were left out before")
    step = decide_for_bookworm(untested, builds=[make_artifact(tested, "1.2-1+ha12.1")])
    assert (step.action, step.reason) == (Action.BUILD, "its tests are left out")
    without = RECIPE.model_copy(update={"tests": False, "tests_off_reason": "there are none"})
    assert make(recipe=without, tests=False) == make(recipe=without)


def test_a_key_is_the_digest_of_its_inputs() -> None:
    assert make() == GOLDEN_INPUTS
    assert make_key(GOLDEN_INPUTS) == GOLDEN_KEY


def test_the_order_of_inputs_does_not_matter() -> None:
    assert make_key(dict(reversed(GOLDEN_INPUTS.items()))) == GOLDEN_KEY


def test_origins_with_the_same_bytes_are_one_source() -> None:
    debian = {"type": "debian", "package": "one", "version": "1.2-3", "sha256": DIGEST}
    recipe = make_recipe_from(change(AUTOTOOLS, "origins", [debian, *AUTOTOOLS["origins"]]))
    assert make(recipe=recipe) == GOLDEN_INPUTS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"chroot_digest": "d" * 64}, "the base chroot's packages changed"),
        ({"architecture": "arm64"}, "the architecture changed"),
        ({"recipe": make_recipe_from(change(AUTOTOOLS, "origins.0.sha256", "0" * 64))}, "the source changed"),
        ({"recipe": make_recipe_from(change(AUTOTOOLS, "version", "1.3"))}, "upstream version 1.2 became 1.3"),
        ({"debian": DebianFolder(files={**DEBIAN.files, "rules": b"x"})}, "debian/rules changed"),
        ({"debian": DebianFolder(files={**DEBIAN.files, "new": b"x"})}, "debian/new is new"),
        ({"debian": DebianFolder(files={"rules": DEBIAN.files["rules"]})}, "debian/control is gone"),
        ({"depends": {"zlib1g-dev": "1:1.3"}}, "zlib1g-dev changed"),
        ({"depends": {"zlib1g-dev": "1:1.2", "m4": "1"}}, "m4 is new"),
        ({"stack": {"ha-two-dev": "3" * 64}}, "ha-two-dev changed"),
        ({"stack": {}}, "ha-two-dev is gone"),
        ({"stack": {"ha-two-dev": "2" * 64, "ha-three": "3" * 64}}, "ha-three is new"),
    ],
)
def test_whatever_changes_a_build_changes_its_key_and_is_named(changes: dict[str, Any], reason: str) -> None:
    inputs = make(**changes)
    assert make_key(inputs) != GOLDEN_KEY
    assert explain(GOLDEN_INPUTS, inputs) == reason
    step = decide_for_bookworm(inputs, builds=[make_artifact(GOLDEN_INPUTS, "1.2-1+ha12.1")])
    assert (step.action, step.reason, step.key) == (Action.BUILD, reason, make_key(inputs))


def test_another_suite_is_another_key() -> None:
    assert make_key(make(suite=TRIXIE)) != GOLDEN_KEY


def test_a_long_explanation_is_cut() -> None:
    debian = DebianFolder(files=dict.fromkeys("abc", b"x"))
    text = "the architecture changed; debian/a is new; debian/b is new; debian/c is new; and 2 more"
    assert explain(GOLDEN_INPUTS, make(architecture="arm64", debian=debian)) == text
    assert explain(GOLDEN_INPUTS, GOLDEN_INPUTS) == "the finished build is gone"


def test_a_new_format_is_one_sentence() -> None:
    """Files of debian/ that came with it need no words; an input that changed at the same time does."""
    before = {**GOLDEN_INPUTS, "format": 2, "debian": {"rules": "x"}}
    after = {**GOLDEN_INPUTS, "sbom": "s"}
    assert explain(before, after) == "every package brings its SBOM from now on"
    assert explain({**before, "chroot": "old"}, after) == (
        "every package brings its SBOM from now on; the base chroot's packages changed"
    )


def test_what_only_the_sbom_tells_is_an_input(checkout: Path) -> None:
    before = inputs_of(checkout)
    origins = checkout / "recipes/one/recipe.toml"
    origins.write_text(origins.read_text().replace("example.org/one-1.2", "example.net/one-1.2"))
    after = inputs_of(checkout)
    assert explain(before, after) == "what the SBOM tells changed"


def test_neither_time_nor_place_of_a_checkout_is_an_input(checkout: Path, tmp_path: Path) -> None:
    before = inputs_of(checkout)
    moved = tmp_path / "elsewhere" / "deeper"
    shutil.copytree(checkout, moved, copy_function=shutil.copyfile)
    for file in moved.rglob("*"):
        os.utime(file, (1, 1))
        file.chmod(0o700)
    assert inputs_of(moved) == before
    assert make_key(inputs_of(moved)) == make_key(before)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("recipes/one/patches/x.patch", "debian/patches/x.patch changed"),
        ("debian-templates/common/rules.j2", "debian/rules changed"),
        ("debian-templates/common/exports.sh.j2", "debian/exports.sh changed"),
        ("recipes/one/debian/ha-one.docs", "debian/ha-one.docs is new"),
    ],
)
def test_a_changed_file_of_a_checkout_is_named(checkout: Path, file: str, reason: str) -> None:
    before = inputs_of(checkout)
    path = checkout / file
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as opened:
        opened.write("# more\n")
    assert explain(before, inputs_of(checkout)) == reason


def test_a_build_with_other_bytes_in_the_stack_is_named(checkout: Path) -> None:
    old, new = (inputs_of(checkout, {"ha-two": digest}) for digest in ("2", "3"))
    assert explain(old, new) == "ha-two changed"


def test_a_finished_build_is_used_again() -> None:
    artifact = make_artifact(GOLDEN_INPUTS, "1.2-1+ha12.7")
    others = [make_artifact(make(stack={}), "1.2-1+ha12.8"), artifact, make_artifact(make(stack={}), "1.2-1+ha12.9")]
    step = decide_for_bookworm(GOLDEN_INPUTS, builds=others)
    assert step == Step(
        source=ONE,
        action=Action.REUSE,
        reason="nothing changed",
        version="1.2-1+ha12.7",
        key=GOLDEN_KEY,
        artifact=artifact,
        inputs=GOLDEN_INPUTS,
    )


def test_a_first_build_is_number_one_in_its_suite() -> None:
    other = make_artifact(make(suite=TRIXIE), "1.2-1+ha13.4", TRIXIE)
    step = decide_for_bookworm(GOLDEN_INPUTS, builds=[other])
    assert step == Step(
        source=ONE,
        action=Action.BUILD,
        reason="not built yet",
        version="1.2-1+ha12.1",
        key=GOLDEN_KEY,
        inputs=GOLDEN_INPUTS,
    )


def test_a_change_is_explained_against_the_newest_build() -> None:
    old, new = make(stack={}), make(chroot_digest="d")
    builds = [make_artifact(old, "1.2-1+ha12.1"), make_artifact(new, "1.2-1+ha12.2")]
    step = decide_for_bookworm(GOLDEN_INPUTS, builds=builds)
    assert (step.reason, step.version) == ("the base chroot's packages changed", "1.2-1+ha12.3")


def release(version: str, key: str = "another", source: SourceName = ONE) -> KnownVersion:
    return KnownVersion(source=source, version=version, key=key)


@pytest.mark.parametrize(
    ("known", "version"),
    [
        ([], "1.2-1+ha12.1"),
        ([release("1.2-1+ha12.9", "mine")], "1.2-1+ha12.9"),
        ([release("1.2-1+ha12.3"), release("1.2-1+ha12.2", "mine"), release("1.2-1+ha12.9")], "1.2-1+ha12.2"),
        ([release("1.2-1+ha12.9"), release("1.2-1+ha12.10")], "1.2-1+ha12.11"),
        ([release("1.2-2+ha12.9"), release("1.3-1+ha12.9"), release("1.2-1+ha13.9")], "1.2-1+ha12.1"),
        ([release("1.2+ha12.9"), release("1.2-1"), release("1:1.2-1+ha12.9"), release("")], "1.2-1+ha12.1"),
        ([release("1.2-1+ha12.9", "mine", SourceName("ha-two"))], "1.2-1+ha12.1"),
        ([release("1.3-1+ha12.1", "mine")], "1.2-1+ha12.1"),
    ],
)
def test_the_same_key_keeps_its_version_and_another_gets_the_next(known: list[KnownVersion], version: str) -> None:
    assert choose_version(RECIPE, "12", "mine", known) == version


def test_a_published_repository_raises_the_number() -> None:
    builds = [make_artifact(make(stack={}), "1.2-1+ha12.2")]
    published = [release("1.2-1+ha12.5"), release("1.2-1+ha12.4")]
    step = decide_for_bookworm(GOLDEN_INPUTS, builds=builds, published=published)
    assert step.version == "1.2-1+ha12.6"


def test_a_published_build_keeps_its_version_when_the_store_is_gone() -> None:
    published = [release("1.2-1+ha12.5", GOLDEN_KEY), release("1.2-1+ha12.6")]
    step = decide_for_bookworm(GOLDEN_INPUTS, published=published)
    assert (step.action, step.version) == (Action.BUILD, "1.2-1+ha12.5")


def test_a_revision_starts_again_at_one_and_a_native_source_has_none() -> None:
    known = [release("1.2-1+ha12.9"), release("1.2+ha13.3")]
    assert choose_version(make_recipe_from({**AUTOTOOLS, "revision": 2}), "12", "k", known) == "1.2-2+ha12.1"
    assert choose_version(make_recipe_from(META), "13", "k", known) == "1.2+ha13.4"


def test_a_source_that_waits_has_neither_version_nor_key() -> None:
    step = defer(make_node("ha-one"), [SourceName("ha-three"), SourceName("ha-two")])
    assert step == Step(
        source=ONE, action=Action.BUILD, reason="needs ha-three, ha-two, built first", version=None, key=None
    )


def test_a_source_that_waits_may_be_reused_unless_something_else_changed() -> None:
    last = make_artifact(GOLDEN_INPUTS, "1.2-1+ha12.1")
    known = {name: value for name, value in GOLDEN_INPUTS.items() if name not in ("depends", "stack")}
    waiting = [SourceName("ha-two")]
    step = defer(RECIPE, waiting, last, known)
    assert (step.action, step.changes) == (Action.MAYBE, ())
    assert step.reason == "needs ha-two, built first: reused if they come out the same"
    step = defer(RECIPE, waiting, last, {**known, "upstream": "1.3"})
    assert (step.action, step.reason) == (
        Action.BUILD,
        "upstream version 1.2 became 1.3; needs ha-two, built first",
    )
    assert defer(RECIPE, waiting, last).action is Action.BUILD


def test_every_change_is_named_with_old_and_new() -> None:
    inputs = make(
        recipe=make_recipe_from(change(AUTOTOOLS, "origins.0.sha256", "0" * 64)),
        depends={"m4": "1", "zlib1g-dev": "1:1.3"},
        stack={},
    )
    step = decide_for_bookworm(inputs, builds=[make_artifact(GOLDEN_INPUTS, "1.2-1+ha12.1")])
    assert step.changes == (
        InputChange(name="source", old=DIGEST, new="0" * 64),
        InputChange(name="m4", old=None, new="1"),
        InputChange(name="zlib1g-dev", old="1:1.2", new="1:1.3"),
        InputChange(name="ha-two-dev", old="2" * 64, new=None),
    )


def test_a_build_sees_what_it_names_and_what_that_needs_at_run_time() -> None:
    offered = {
        BinaryName("ha-two-dev"): {"digest": "1", "depends": "ha-two (= 1), libc6 (>= 2)"},
        BinaryName("ha-two"): {"digest": "2", "depends": "ha-three | elsewhere"},
        BinaryName("ha-three"): {"digest": "3", "depends": ""},
        BinaryName("ha-two-doc"): {"digest": "4", "depends": ""},
    }
    named = [BinaryName("ha-two-dev"), BinaryName("m4")]
    assert find_visible(named, offered) == ("ha-three", "ha-two", "ha-two-dev")


def test_a_comment_in_a_recipe_is_no_input(checkout: Path) -> None:
    before = inputs_of(checkout)
    recipe = checkout / "recipes" / "one" / "recipe.toml"
    recipe.write_text("# A remark.\n" + recipe.read_text() + "\n# Another.\n")
    assert inputs_of(checkout) == before


def test_versions_of_the_stack_are_no_input_of_a_recipe_that_pins_none(checkout: Path) -> None:
    recipe = read_recipe(checkout / "recipes" / "one", package_prefix="ha-", styles=STYLES)
    rendered = [
        render_debian(
            recipe,
            SETTINGS,
            (checkout / "debian-templates",),
            suite=BOOKWORM,
            version=PLACEHOLDER,
            key=PLACEHOLDER,
            versions=versions,
        )
        for versions in ({}, {BinaryName("ha-two"): "2"})
    ]
    assert rendered[0] == rendered[1]
