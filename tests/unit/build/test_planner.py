"""The decision what is built: plans, final steps, and requirements that are guessed before others are built."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hapkg.build.context import BuildContext, CacheAnswer, open_context
from hapkg.build.plan import Action, Step, make_key
from hapkg.build.planner import Planner, Requirements, collect_inputs, find_requirements
from hapkg.build.store import Artifact, Store
from hapkg.chroot import resolver
from hapkg.chroot.archives import Archive
from hapkg.chroot.layer import LayerOffer
from hapkg.chroot.schroot import Chroot
from hapkg.control import SourceName, Suite
from hapkg.errors import BuildError
from hapkg.recipe.settings import find_project
from tests.support.samples import AUTOTOOLS, CHECKOUT, MAINTAINER, PACKAGE, TEMPLATES, write_recipe

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


def test_a_meta_package_waits_for_what_it_pins(context: BuildContext) -> None:
    steps = {step.source: step for step in Planner(context, None, ()).plan(list(context.recipes))}
    stack = steps[SourceName("ha-stack")]
    assert (stack.action, "ha-pacemaker" in stack.reason) == (Action.BUILD, True)


ONE, TWO = SourceName("ha-one"), SourceName("ha-two")
ANSWER = {"m4": "1.4"}


class Bench:
    """A project of two recipes, the second of which needs the first, and a base chroot whose apt has answered."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root=root / "cache")
        write_recipe(root / "recipes", AUTOTOOLS)
        two = {
            **AUTOTOOLS,
            "source": "ha-two",
            "build-depends": ["ha-one"],
            "packages": [{**PACKAGE, "package": "ha-two"}],
        }
        write_recipe(root / "recipes", two)
        shutil.copytree(TEMPLATES, root / "debian-templates")
        (root / "pyproject.toml").write_text(f'[tool.hapkg]\nmaintainer = "{MAINTAINER}"\n')
        folder = self.store.state.chroots / "bookworm"
        self.base = Chroot(suite=Suite("bookworm"), name="none", folder=folder, digest="d" * 64, packages=1)
        self.builds: list[Artifact] = []

    def open(self, *, tests: bool = True) -> BuildContext:
        return replace(open_context(find_project(self.root), self.store, None, None), tests=tests)

    def answer(self, context: BuildContext, relations: tuple[str, ...]) -> None:
        """Put down what apt answers."""
        archives = {
            name: Archive(
                version=version, file=f"{name}.deb", uri=f"http://archive.invalid/{name}", bytes=1, sha256="0"
            )
            for name, version in ANSWER.items()
        }
        resolver._save(self.base, relations, context.store.state, archives)

    def build(self, name: SourceName, content: str = "0", *, tests: bool = True) -> Artifact:
        """Build a source as it is now; content is the digest of its package."""
        context = self.open(tests=tests)
        recipe = context.recipes[name]
        finished = {build.source: build for build in self.builds}
        required = find_requirements(context, recipe, finished)
        self.answer(context, required.relations)
        inputs = collect_inputs(context, recipe, self.base, required)
        build = replace(
            make_glue("bookworm", ""),
            source=name,
            key=make_key(inputs),
            inputs=inputs,
            version=f"1.2-1+ha12.{len(self.builds) + 1}",
            packages={name: {"digest": content, "depends": ""}},
        )
        self.builds.append(build)
        return build

    def plan(self, *, tests: bool = True, base: bool = True, offline: bool = False) -> list[Step]:
        context = self.open(tests=tests)
        planner = Planner(context, self.base if base else None, self.builds)
        return list(planner.plan(list(context.recipes), offline=offline))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_is_built_is_reused(bench: Bench) -> None:
    bench.build(ONE)
    bench.build(TWO)
    steps = bench.plan()
    assert [(step.source, step.action, step.reason) for step in steps] == [
        (ONE, Action.REUSE, "nothing changed"),
        (TWO, Action.REUSE, "nothing changed"),
    ]
    assert [step.artifact for step in steps] == bench.builds


def test_what_was_never_built_is_built_and_who_needs_it_waits(bench: Bench) -> None:
    bench.answer(bench.open(), find_requirements(bench.open(), bench.open().recipes[ONE], {}).relations)
    one, two = bench.plan()
    assert (one.action, one.reason, one.version) == (Action.BUILD, "not built yet", "1.2-1+ha12.1")
    assert (two.action, two.reason, two.key) == (Action.BUILD, "needs ha-one, built first", None)
    with pytest.raises(ValueError, match="is not final"):
        _ = two.identity


def test_a_changed_template_rebuilds_a_source_and_whoever_needs_it_perhaps(bench: Bench) -> None:
    bench.build(ONE)
    bench.build(TWO)
    folder = bench.root / "recipes/one/debian"
    folder.mkdir()
    (folder / "NEWS").write_text("one\n")
    one, two = bench.plan()
    assert (one.action, one.reason) == (Action.BUILD, "debian/NEWS is new")
    assert (two.action, two.reason) == (
        Action.MAYBE,
        "needs ha-one, built first: reused if they come out the same",
    )


@pytest.mark.parametrize(("content", "action"), [("0", Action.REUSE), ("1", Action.BUILD)])
def test_the_final_step_follows_from_the_content_of_what_was_rebuilt(
    bench: Bench, content: str, action: Action
) -> None:
    bench.build(ONE)
    bench.build(TWO)
    context = bench.open()
    rebuilt = replace(bench.builds[0], version="1.2-1+ha12.9", packages={ONE: {"digest": content, "depends": ""}})
    step = Planner(context, bench.base, bench.builds).decide(context.recipes[TWO], {ONE: rebuilt})
    assert step.action is action
    assert [change.name for change in step.changes] == ([] if action is Action.REUSE else ["ha-one"])


def test_without_tests_a_build_that_passed_them_is_as_good_and_not_the_other_way_round(bench: Bench) -> None:
    bench.build(ONE)
    assert bench.plan(tests=False)[0].action is Action.REUSE
    bench.builds.clear()
    bench.build(ONE, tests=False)
    assert bench.plan(tests=False)[0].action is Action.REUSE
    assert (bench.plan()[0].action, bench.plan()[0].reason) == (Action.BUILD, "its tests were left out before")


def test_offline_apt_is_not_asked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.build(ONE)
    shutil.rmtree(bench.store.state.resolved)

    def fail(*_: object) -> None:
        raise BuildError("apt was asked")

    monkeypatch.setattr(resolver, "_ask", fail)
    step = bench.plan(offline=True)[0]
    assert (step.action, step.reason) == (Action.MAYBE, "its build dependencies are not resolved yet")
    step = bench.plan()[0]
    assert (step.action, step.reason) == (Action.BUILD, "apt was asked"), "it fails when it is built"


def test_without_a_base_chroot_everything_is_built(bench: Bench) -> None:
    bench.build(ONE)
    one, two = bench.plan(base=False)
    assert (one.action, one.reason) == (Action.BUILD, "no base chroot of bookworm yet")
    assert two.action is Action.BUILD


class Followed(Bench):
    """A project like Bench's, for another architecture: its second source is for all of them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        package = {**PACKAGE, "package": "ha-two", "architecture": "all"}
        two = {**AUTOTOOLS, "source": "ha-two", "build-depends": ["ha-one"], "packages": [package]}
        write_recipe(root / "recipes", two)
        self.lead = {name: self.build(name) for name in (ONE, TWO)}
        self.builds.clear()

    def open(self, *, tests: bool = True) -> BuildContext:
        context = super().open(tests=tests)
        foreign = "arm64" if context.architecture != "arm64" else "riscv64"
        return (
            replace(context, store=context.store.turn_to(foreign), lead=self.lead) if hasattr(self, "lead") else context
        )

    def follow(self, *, tests: bool = True) -> Artifact:
        """Build the first source for the other architecture."""
        context = self.open(tests=tests)
        required = find_requirements(context, context.recipes[ONE], {})
        self.answer(context, required.relations)
        inputs = {**collect_inputs(context, context.recipes[ONE], self.base, required), "lead": self.lead[ONE].key}
        version = self.lead[ONE].version
        build = replace(self.lead[ONE], key=make_key(inputs), inputs=inputs, version=version, architecture="arm64")
        self.builds.append(build)
        return build


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    return Followed(tmp_path)


def test_a_build_for_another_architecture_has_the_version_of_the_one_that_it_follows(followed: Followed) -> None:
    followed.lead[ONE] = replace(followed.lead[ONE], version="1.2-1+ha12.7")
    context = followed.open()
    followed.answer(context, find_requirements(context, context.recipes[ONE], {}).relations)
    one, two = followed.plan()
    assert (one.action, one.version) == (Action.BUILD, "1.2-1+ha12.7")
    assert one.key != followed.lead[ONE].key
    assert (two.action, two.key) == (Action.BUILD, None), "it waits: its first source is not built"


def test_what_is_for_all_architectures_is_not_built_again(followed: Followed) -> None:
    build = followed.follow()
    context = followed.open()
    required = find_requirements(context, context.recipes[TWO], {ONE: build})
    followed.answer(context, required.relations)
    one, two = followed.plan()
    assert (one.action, one.artifact) == (Action.REUSE, build)
    assert (two.action, two.reason, two.artifact) == (Action.REUSE, "for all architectures", followed.lead[TWO])


def test_a_follower_is_built_again_when_the_followed_is_and_not_for_its_own_base(followed: Followed) -> None:
    build = followed.follow()
    followed.base = replace(followed.base, digest="e" * 64)
    context = followed.open()
    followed.answer(context, find_requirements(context, context.recipes[ONE], {}).relations)
    assert followed.plan()[0].artifact == build
    followed.lead[ONE] = replace(followed.lead[ONE], key="f" * 64, version="1.2-1+ha12.8")
    one = followed.plan()[0]
    assert (one.action, one.version) == (Action.BUILD, "1.2-1+ha12.8")


def test_a_follower_without_tests_is_not_as_good(followed: Followed) -> None:
    followed.follow(tests=False)
    assert followed.plan(tests=False)[0].action is Action.REUSE
    assert followed.plan()[0].action is Action.BUILD


def test_what_is_not_built_for_this_machine_cannot_be_followed(followed: Followed) -> None:
    del followed.lead[ONE]
    context = followed.open()
    with pytest.raises(BuildError, match=r"is not built for .* as its recipe stands now") as refused:
        Planner(context, followed.base, ()).decide(context.recipes[ONE], {})
    assert refused.value.hint == "run: hapkg build ha-one --suite bookworm"


class Lender:
    """Shared builds: one, which is to be made again or not."""

    def __init__(self, build: Artifact, *, again: bool) -> None:
        self._build, self._again = build, again

    def find(self, key: str, source: SourceName, suite: Suite) -> CacheAnswer:
        if key != self._build.key:
            return CacheAnswer()
        return CacheAnswer(artifact=self._build, place="there", again=self._again)

    def bring(self, artifact: Artifact, target: Path) -> Artifact:
        raise AssertionError("a plan brings nothing")

    notes = ()

    def bring_base(self, suite: Suite, *, further: str, pinned: str) -> Chroot | None:
        raise AssertionError("a plan brings nothing")

    def offer_layer(self, base: Chroot, key: str) -> LayerOffer | None:
        raise AssertionError("a plan brings nothing")


def test_a_build_of_others_is_taken_or_built_again_in_its_version_to_be_compared(bench: Bench) -> None:
    lent = replace(bench.build(ONE), signer="A" * 40, version="1.2-1+ha12.7")
    bench.builds.clear()
    for again in (False, True):
        context = replace(bench.open(), shared=Lender(lent, again=again))
        step = Planner(context, bench.base, []).plan([ONE])[0]
        assert (step.version, step.key) == ("1.2-1+ha12.7", lent.key)
        if again:
            assert (step.action, step.artifact, step.compared) == (Action.BUILD, None, lent)
            assert step.reason == f"built again, to be compared with that of there, signed by {'A' * 40}"
        else:
            assert (step.action, step.artifact, step.compared) == (Action.FETCH, lent, None)
            assert step.reason == f"from there, signed by {'A' * 40}"
