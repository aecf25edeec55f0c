"""The decider: it is decided here whether a source is rebuilt.

One Planner answers twice: for the whole plan, before anything is done, and for each source again when all it needs is
built and its step is final. It reads the store, the recipes and the index of the base chroot, asks the build cache, if
there is one, and changes no build; apt's answers are kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hapkg.build.context import BuildContext
from hapkg.build.plan import (
    PLACEHOLDER,
    Action,
    KnownVersion,
    Step,
    decide,
    defer,
    find_visible,
    leave_out,
    make_inputs,
    make_key,
)
from hapkg.build.store import Artifact
from hapkg.chroot.resolver import choose_relations, load_answer, read_relations, resolve
from hapkg.chroot.schroot import Chroot
from hapkg.control import BinaryName, SourceName, Suite
from hapkg.errors import BuildError, RecipeError, UsageError
from hapkg.host import check_architecture, read_architecture
from hapkg.recipe.debian_folder import DebianFolder, render_debian
from hapkg.recipe.graph import make_graph
from hapkg.recipe.model import Recipe
from hapkg.recipe.style import KERNEL_PACKAGE, META


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """All that a build of one recipe sees, where the builds of the sources it needs are known."""

    debian: DebianFolder
    """debian/ with PLACEHOLDER for version and key."""
    stack: Mapping[BinaryName, Mapping[str, str]]
    """Packages of the stack that are installed for the build, with their entries of Artifact.packages."""
    relations: tuple[str, ...]
    """Relations that the archive must fulfil: the recipe's, and those of the packages of the stack."""


class Planner:
    """Decides for each source of a context whether a finished build is reused."""

    def __init__(self, context: BuildContext, base: Chroot | None, builds: Iterable[Artifact]) -> None:
        """base is the base chroot that builds use, None while there is none yet; builds are those of the store."""
        self.context = context
        self.base = base
        trusted = ("", *context.project.settings.build_cache_trust)
        self._builds = group_builds((build for build in builds if build.signer in trusted), context.suite)

    def plan(self, targets: Sequence[SourceName], *, offline: bool = False) -> tuple[Step, ...]:
        """Steps for the targets and all they need, in build order.

        A source that waits for others has a step without version and key. With offline, apt is not asked: sources
        whose build dependencies were not resolved before stay MAYBE. One whose debian/ cannot be rendered is left out,
        with those that need it.
        """
        finished: dict[SourceName, Artifact] = {}
        steps: dict[SourceName, Step] = {}
        for name in self.context.graph.closure(targets):
            needs = self.context.graph.needs[name]
            if left_out := next((need for need in needs if steps[need].action is Action.LEAVE_OUT), None):
                steps[name] = leave_out(name, f"needs {left_out}, which is left out")
                continue
            recipe = self.context.recipes[name]
            waiting = [need for need in needs if need not in finished]
            try:
                step = self._defer(recipe, waiting) if waiting else self._try(recipe, finished, offline=offline)
            except RecipeError as error:
                step = leave_out(name, error)
            if step.artifact is not None:
                finished[name] = step.artifact
            steps[name] = step
        return tuple(steps.values())

    def decide(self, recipe: Recipe, finished: Mapping[SourceName, Artifact], *, shared: bool = True) -> Step:
        """The final step of a source; finished has the builds of all it needs. Without shared, no build cache is asked.

        Where tests are left out, a build that passed them is as good. Raises BuildError when the archive lacks a
        dependency.
        """
        return self._decide(recipe, find_requirements(self.context, recipe, finished), shared=shared)

    def guess(self, recipe: Recipe, compiled: Mapping[SourceName, Artifact]) -> Requirements:
        """Requirements of a source while some of its needs are not built: as they came out now, last, or as declared.

        Relations of a package seldom change from build to build. Of one that was never built, the libraries it links
        are unknown; most of them come with the build dependencies anyway.
        """
        finished = {need: compiled.get(need) or self._find_last(need) for need in self.context.graph.needs[recipe.name]}
        return find_requirements(self.context, recipe, finished)

    def _find_last(self, name: SourceName) -> Artifact:
        """The last build of a source, or what its recipe declares where there is none."""
        if builds := self._builds.get(name):
            return builds[-1]
        return _make_stand_in(self.context, self.context.recipes[name])

    def _try(self, recipe: Recipe, finished: Mapping[SourceName, Artifact], *, offline: bool) -> Step:
        """The step of a source whose needs are built. One whose dependencies the archive lacks fails when built."""
        try:
            required = find_requirements(self.context, recipe, finished)
            if offline and self.base and load_answer(self.base, required.relations, self.context.store.state) is None:
                reason = "its build dependencies are not resolved yet"
                return Step(source=recipe.name, action=Action.MAYBE, reason=reason, version=None, key=None)
            step = self._decide(recipe, required)
        except BuildError as error:
            return Step(source=recipe.name, action=Action.BUILD, reason=error.brief, version=None, key=None)
        return step if self.base else replace(step, reason=f"no base chroot of {self.context.suite} yet")

    def _decide(self, recipe: Recipe, required: Requirements, *, shared: bool = True) -> Step:
        context = self.context
        if context.lead is not None:
            return self._follow(recipe, required, context.lead.get(recipe.name), shared=shared)
        suite, release = context.suite, context.distribution.suites[context.suite]
        inputs = collect_inputs(context, recipe, self.base, required)
        builds, published = self._builds.get(recipe.name, ()), context.published.get(recipe.name, ())
        step = decide(recipe, inputs, suite=suite, release=release, builds=builds, published=published)
        if step.action is Action.BUILD and "tests" in inputs:
            tested_inputs = {name: value for name, value in inputs.items() if name != "tests"}
            tested = decide(recipe, tested_inputs, suite=suite, release=release, builds=builds, published=published)
            if tested.action is Action.REUSE:
                return tested
        if step.action is Action.BUILD and shared and self.base is not None:
            return self._look_up(step, [*builds, *published])
        return step

    def _follow(self, recipe: Recipe, required: Requirements, lead: Artifact | None, *, shared: bool) -> Step:
        """The step of a source for another architecture: the version and source package of this machine's build.

        One build follows each of these, whatever its base chroot became since: another one would have other bytes and
        no version of its own.
        """
        if lead is None:
            raise BuildError(
                f"{recipe.source} is not built for {read_architecture()} as its recipe stands now",
                hint=f"run: hapkg build {recipe.name} --suite {self.context.suite}",
            )
        step = Step(source=recipe.name, action=Action.REUSE, reason="", version=lead.version, key=lead.key)
        if not any(package.architecture == "any" for package in recipe.packages):
            return replace(step, reason="for all architectures", artifact=lead, inputs=lead.inputs)
        followers = [build for build in self._builds.get(recipe.name, ()) if build.inputs.get("lead") == lead.key]
        for build in reversed(followers):
            if "tests" not in build.inputs or not self.context.tests:
                reason = f"follows {lead.version} of {lead.architecture}"
                return replace(step, reason=reason, key=build.key, artifact=build, inputs=build.inputs)
        inputs = {**collect_inputs(self.context, recipe, self.base, required), "lead": lead.key}
        reason = f"{lead.version} of {lead.architecture} is not built for {self.context.architecture} yet"
        step = replace(step, action=Action.BUILD, reason=reason, key=make_key(inputs), inputs=inputs)
        known = [KnownVersion(source=lead.source, version=lead.version, key=make_key(inputs))]
        return self._look_up(step, known) if shared and self.base is not None else step

    def _look_up(self, step: Step, known: Sequence[KnownVersion | Artifact]) -> Step:
        """Take the build from the build cache, if that has it and its version is not another build's here."""
        if self.context.shared is None or step.key is None:
            return step
        found = self.context.shared.find(step.key, step.source, self.context.suite)
        artifact = found.artifact
        if artifact is None:
            return replace(step, reason=f"{step.reason}; {found.note}") if found.note else step
        if any((one.version == artifact.version) != (one.key == step.key) for one in known):
            note = f"the build cache has {artifact.version}, and here versions of these builds are others"
            return replace(step, reason=f"{step.reason}; {note}")
        if found.again:
            reason = f"built again, to be compared with that of {found.place}, signed by {artifact.signer}"
            return replace(step, reason=reason, version=artifact.version, compared=artifact)
        reason = f"from {found.place}, signed by {artifact.signer}"
        return replace(step, action=Action.FETCH, reason=reason, version=artifact.version, artifact=artifact)

    def _defer(self, recipe: Recipe, waiting: Sequence[SourceName]) -> Step:
        """The step of a source that waits. One that pins versions is built whenever one of its sources is."""
        own = self._builds.get(recipe.name, ())
        known: dict[str, object] | None = None
        debian = render(self.context, recipe, PLACEHOLDER, PLACEHOLDER, {})
        if (
            self.context.lead is None
            and self.base is not None
            and own
            and not any(package.stack for package in recipe.packages)
        ):
            known = make_inputs(
                recipe,
                debian,
                suite=self.context.suite,
                architecture=self.context.architecture,
                chroot_digest=self.base.digest,
                depends={},
                stack={},
                tests=self.context.tests,
            )
            del known["depends"], known["stack"]
        return defer(recipe, waiting, own[-1] if own else None, known)


def make_plan(
    context: BuildContext, targets: Sequence[SourceName] | None = None, *, offline: bool = False
) -> tuple[Step, ...]:
    """The plan for the targets and all they need, with the base chroot and the builds that there are.

    Without targets it is that of all that are built without being named; those that cannot be read are told at its end.
    """
    base = context.find_base()
    planner = Planner(context, base, context.store.list_builds())
    if targets is not None:
        return planner.plan(targets, offline=offline)
    causes: dict[SourceName, RecipeError | str] = {**context.wrong, **context.blocked}
    unread = [leave_out(name, causes[name]) for name in sorted(causes)]
    return (*planner.plan(context.selected, offline=offline), *unread)


def follow(context: BuildContext, architecture: str, targets: Sequence[SourceName] | None = None) -> BuildContext:
    """The context of builds for another architecture, of the targets or of all that is built without being named.

    Each follows the build of the same source for this machine's: it has the version and the source package of that.
    Packages of kernel modules are for kernels of this machine's architecture, and left out. Raises UsageError where a
    source is not built for this machine's as its recipe stands now.
    """
    check_architecture(architecture)
    recipes = {name: one for name, one in context.recipes.items() if one.style.name != KERNEL_PACKAGE}
    graph = make_graph(recipes, package_prefix=context.project.settings.package_prefix)
    wanted = graph.closure([name for name in targets or context.selected if name in recipes])
    lead = {step.source: step.artifact for step in make_plan(replace(context, shared=None), wanted) if step.artifact}
    if missing := [name for name in wanted if name not in lead]:
        raise UsageError(
            f"{len(missing)} of {len(wanted)} sources are not built for {context.architecture} as their recipes stand "
            f"now: those for {architecture} follow them",
            details=missing,
            hint=f"run: hapkg build-all --suite {context.suite}",
        )
    store = context.store.turn_to(architecture)
    return replace(context, store=store, recipes=recipes, graph=graph, lead=lead, pin=None)


def group_builds(builds: Iterable[Artifact], suite: Suite) -> Mapping[SourceName, Sequence[Artifact]]:
    """The builds of a suite by source, in their order."""
    found: dict[SourceName, list[Artifact]] = defaultdict(list)
    for build in builds:
        if build.suite == suite:
            found[build.source].append(build)
    return dict(found)


def find_requirements(context: BuildContext, recipe: Recipe, finished: Mapping[SourceName, Artifact]) -> Requirements:
    """Requirements of a recipe; finished has a build of every source it needs."""
    debian = render(context, recipe, PLACEHOLDER, PLACEHOLDER, finished)
    stack = _find_stack(context, recipe, finished)
    fields = [*read_relations(debian.files["control"].decode()), *(package["depends"] for package in stack.values())]
    return Requirements(debian=debian, stack=stack, relations=choose_relations(fields, context.graph.providers))


def collect_inputs(
    context: BuildContext, recipe: Recipe, base: Chroot | None, required: Requirements
) -> dict[str, object]:
    """The inputs of a build's key. Raises BuildError when the archive cannot fulfil the relations."""
    state = context.store.state
    return make_inputs(
        recipe,
        required.debian,
        suite=context.suite,
        architecture=context.architecture,
        chroot_digest=base.digest if base else "none yet",
        depends=resolve(base, required.relations, state, source=recipe.source) if base else {},
        stack={name: package["digest"] for name, package in required.stack.items()},
        tests=context.tests,
    )


def render(
    context: BuildContext, recipe: Recipe, version: str, key: str, finished: Mapping[SourceName, Artifact]
) -> DebianFolder:
    """The debian/ folder of a recipe; of the other sources, only those in finished have a version by now."""
    versions: dict[BinaryName, str] = {
        package.name: finished[need].version if need in finished else PLACEHOLDER
        for need in context.graph.needs[recipe.name]
        for package in context.recipes[need].packages
    }
    pinned = sorted(context.graph.needs[recipe.name]) if recipe.style.name == META else ()
    return render_debian(
        recipe,
        context.project.settings,
        context.project.templates,
        suite=context.suite,
        version=version,
        key=key,
        versions=versions,
        components=[context.recipes[need] for need in pinned],
        distribution=context.distribution,
        compiled=context.store.state.templates,
    )


def _find_stack(
    context: BuildContext, recipe: Recipe, finished: Mapping[SourceName, Artifact]
) -> dict[BinaryName, Mapping[str, str]]:
    """Packages of the stack that a build sees. A meta-package only names versions: it sees none."""
    if recipe.style.name == META:
        return {}
    offered = {
        BinaryName(name): package
        for need in context.graph.needs[recipe.name]
        for name, package in finished[need].packages.items()
        if name in context.graph.providers
    }
    return {name: offered[name] for name in find_visible(recipe.needs, offered)}


def _make_stand_in(context: BuildContext, recipe: Recipe) -> Artifact:
    """A source that was never built, as the sources that need it will see it."""
    return Artifact(
        key="",
        source=recipe.name,
        version=recipe.version,
        suite=context.suite,
        architecture=context.architecture,
        inputs={},
        origin="",
        files={},
        seconds={},
        folder=context.store.state.work,
        packages={package.name: {"digest": "", "depends": ", ".join(package.depends)} for package in recipe.packages},
    )
