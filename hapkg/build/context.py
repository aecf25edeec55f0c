"""Everything a run works with, and what it decides before it does anything: the plan.

Reads the store, the recipes and the published repository; changes nothing.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hapkg.apt import Mirror, find_mirror
from hapkg.build.kernel_packages import add_packages
from hapkg.build.plan import PLACEHOLDER, Action, Release, Step, decide, defer, find_visible, make_inputs
from hapkg.build.store import Artifact, Store
from hapkg.chroot import schroot
from hapkg.chroot.resolver import choose_relations, read_relations, recall, resolve
from hapkg.chroot.schroot import Chroot
from hapkg.control import TARBALLS, BinaryName, SourceName, Suite
from hapkg.errors import BuildError, RecipeError, RepositoryError
from hapkg.host import count_cores, read_architecture
from hapkg.recipe.debian_folder import DebianFolder, render_debian
from hapkg.recipe.graph import Graph, make_graph
from hapkg.recipe.model import Recipe, read_recipes
from hapkg.recipe.settings import Project
from hapkg.recipe.style import META
from hapkg.repository.snapshots import read_held
from hapkg.source.lockfile import Lock, check_recipe, read_lock
from hapkg.version import make_snapshot

if TYPE_CHECKING:  # at work they are needed by few commands, and they take time
    from hapkg.repository.publishing import Upload
    from hapkg.source.fetch import Tarball
    from hapkg.source.vcs import Commit


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """Everything a run works with."""

    project: Project
    store: Store
    recipes: Mapping[SourceName, Recipe]
    graph: Graph
    suite: Suite
    archive: str | None = None
    """The Debian archive that was named; see mirror."""
    published: Mapping[SourceName, tuple[Release, ...]] = field(default_factory=dict)
    """Versions a repository already holds: rebuild numbers go on above them."""
    parallel: int = 1
    """What make may run at once inside one build."""
    lintian: bool = True
    tests: bool = True
    """Whether upstream's tests run."""
    ccache: bool = False
    """Whether compilers are reached through ccache."""
    lock: Lock | None = None
    """What the suite's sources must be, when that is locked."""
    snapshots: Mapping[SourceName, Tarball] = field(default_factory=dict)
    """Sources that are built from a commit of upstream's repository; recipes holds their recipe for that commit."""

    @functools.cached_property
    def mirror(self) -> Mirror | None:
        """The archive to use: the named one or the host's, which is looked for when it is needed."""
        return find_mirror(self.archive)


def open_context(
    project: Project, store: Store, suite: str | None, mirror: str | None, extra: Sequence[Recipe] = ()
) -> BuildContext:
    """Read recipes, graph and published versions for a suite and a mirror, as the command line names them.

    extra are generated recipes, such as a site's. Raises RecipeError when a recipe of the project has the name of one.
    """
    chosen = project.pick_suite(suite)
    recipes = add_packages(read_recipes(project), project.settings, chosen, store.state, read_architecture())
    for recipe in extra:
        if recipe.name in recipes:
            raise RecipeError(
                f"recipe {recipe.name} has the name of a package that hapkg makes", hint="rename the recipe"
            )
        recipes[recipe.name] = recipe
    published = read_held(project.repository, chosen)
    return BuildContext(
        project=project,
        store=store,
        recipes=recipes,
        graph=make_graph(recipes, package_prefix=project.settings.package_prefix),
        suite=chosen,
        archive=mirror,
        published={
            name: tuple(Release(source=name, version=release.version, key=release.key) for release in releases)
            for name, releases in published.items()
        },
        parallel=count_cores(),
        lock=read_lock(project.root, chosen),
    )


def take_snapshots(context: BuildContext, names: Sequence[SourceName], kind: str, ref: str | None) -> BuildContext:
    """The same context with these sources taken from upstream's own repository. The caller holds the store's lock."""
    from hapkg.source.fetch import fetch_commit  # noqa: PLC0415
    from hapkg.source.vcs import find_commit  # noqa: PLC0415

    recipes = dict(context.recipes)
    tarballs: dict[SourceName, Tarball] = {}
    for name in names:
        commit = find_commit(recipes[name], kind, ref, context.store.state)
        recipes[name] = make_snapshot_recipe(recipes[name], commit, ref)
        tarballs[name] = fetch_commit(recipes[name], commit, context.store.state)
    return replace(context, recipes=recipes, snapshots=tarballs)


def make_snapshot_recipe(recipe: Recipe, commit: Commit, ref: str | None) -> Recipe:
    """The recipe of a commit: a snapshot version, the commit's date, the commit itself as its upstream."""
    home = {"git": None, "hg": None, commit.kind: commit.url}
    upstream = recipe.upstream and recipe.upstream.model_copy(
        update={**home, "tag": ref or recipe.upstream.tag, "commit": commit.id}
    )
    version = make_snapshot(recipe.version, f"{commit.date:%Y%m%d%H%M%S}", commit.id)
    return recipe.model_copy(update={"version": version, "date": commit.date, "upstream": upstream, "origins": ()})


def make_plan(context: BuildContext, targets: Sequence[SourceName], *, hasty: bool = False) -> tuple[Step, ...]:
    """The steps for the targets and all they need, in build order. Reads the store, changes nothing.

    A hasty plan leaves open what apt was not asked before.
    """
    base = schroot.find_chroot(context.store.state, context.suite)
    builds = sort_builds(context.store.list_builds(), context.suite)
    finished: dict[SourceName, Artifact] = {}
    steps: list[Step] = []
    for name in context.graph.closure(targets):
        recipe = context.recipes[name]
        waiting = [need for need in context.graph.needs[name] if need not in finished]
        if waiting:
            step = _defer(context, recipe, waiting, base, builds.get(name, ()))
        else:
            step = _try_step(context, recipe, base, builds.get(name, ()), finished, hasty=hasty)
            if base is None:
                step = replace(step, reason=f"no base chroot of {context.suite} yet")
        if step.artifact is not None:
            finished[name] = step.artifact
        steps.append(step)
    return tuple(steps)


def sort_builds(builds: Iterable[Artifact], suite: Suite) -> Mapping[SourceName, Sequence[Artifact]]:
    """The builds of a suite by source, in their order."""
    found: dict[SourceName, list[Artifact]] = defaultdict(list)
    for build in builds:
        if build.suite == suite:
            found[build.source].append(build)
    return found


def _try_step(
    context: BuildContext,
    recipe: Recipe,
    base: Chroot | None,
    builds: Sequence[Artifact],
    finished: Mapping[SourceName, Artifact],
    *,
    hasty: bool,
) -> Step:
    """The step of a source; one whose dependencies the archive lacks will fail when it is built."""
    try:
        debian = render(context, recipe, PLACEHOLDER, PLACEHOLDER, finished)
        relations = find_relations(context, recipe, finished, debian)
        if hasty and base and recall(base, relations, context.store.state) is None:
            reason = "its build dependencies are not resolved yet"
            return Step(source=recipe.name, action=Action.MAYBE, reason=reason, version=None, key=None)
        return decide_step(context, recipe, base, builds, finished, debian)
    except BuildError as error:
        return Step(source=recipe.name, action=Action.BUILD, reason=error.brief, version=None, key=None)


def _defer(
    context: BuildContext,
    recipe: Recipe,
    waiting: Sequence[SourceName],
    base: Chroot | None,
    own: Sequence[Artifact],
) -> Step:
    """The step of a source that waits. One that pins versions is built whenever one of its sources is."""
    known: dict[str, object] | None = None
    if base is not None and own and not any(package.stack for package in recipe.packages):
        debian = render(context, recipe, PLACEHOLDER, PLACEHOLDER, {})
        known = make_inputs(
            recipe,
            debian,
            suite=context.suite,
            architecture=read_architecture(),
            chroot_digest=base.digest,
            depends={},
            stack={},
            tests=context.tests,
        )
        del known["depends"], known["stack"]
    return defer(recipe, waiting, own[-1] if own else None, known)


def collect_uploads(context: BuildContext) -> tuple[Upload, ...]:
    """What the recipes give as they stand now, verified, as uploads for a repository.

    Raises RepositoryError when any of it is not built: a part of a stack would not install.
    """
    from hapkg.repository.publishing import Upload  # noqa: PLC0415

    steps = make_plan(context, list(context.recipes))
    missing = [f"{step.source}: {step.reason}" for step in steps if step.artifact is None]
    if missing:
        raise RepositoryError(
            f"{len(missing)} of {len(steps)} sources are not built for {context.suite} as their recipes stand now",
            details=missing,
            hint=f"run: hapkg build-all --suite {context.suite}",
        )
    artifacts = [step.artifact for step in steps if step.artifact is not None]
    for artifact in artifacts:
        context.store.verify(artifact)
    return tuple(
        Upload(suite=artifact.suite, source=artifact.source, files=artifact.paths(".deb", ".dsc", *TARBALLS))
        for artifact in artifacts
    )


def check_pins(context: BuildContext, recipe: Recipe) -> None:
    """Refuse a recipe that asks for something else than the suite's lock says, also where a build of it is reused.

    A snapshot was asked for by name: it is never locked.
    """
    if context.lock is not None and not recipe.native and recipe.name not in context.snapshots:
        check_recipe(context.lock, recipe)


def decide_step(
    context: BuildContext,
    recipe: Recipe,
    base: Chroot | None,
    builds: Sequence[Artifact],
    finished: Mapping[SourceName, Artifact],
    debian: DebianFolder | None = None,
) -> Step:
    """The step of a source whose needs are all finished. Raises BuildError when the archive lacks a dependency.

    Where tests are left out, a build that passed them is as good. debian is what render() gave with placeholders.
    """
    inputs = collect_inputs(context, recipe, base, finished, debian)
    published = context.published.get(recipe.name, ())
    step = decide(recipe, inputs, suite=context.suite, builds=builds, published=published)
    if step.action is Action.BUILD and "tests" in inputs:
        tested_inputs = {name: value for name, value in inputs.items() if name != "tests"}
        tested = decide(recipe, tested_inputs, suite=context.suite, builds=builds, published=published)
        return tested if tested.action is Action.REUSE else step
    return step


def collect_inputs(
    context: BuildContext,
    recipe: Recipe,
    base: Chroot | None,
    finished: Mapping[SourceName, Artifact],
    debian: DebianFolder | None = None,
) -> dict[str, object]:
    """All that decides what a build of this recipe gives."""
    debian = debian or render(context, recipe, PLACEHOLDER, PLACEHOLDER, finished)
    visible = find_stack(context, recipe, finished)
    relations = find_relations(context, recipe, finished, debian)
    return make_inputs(
        recipe,
        debian,
        suite=context.suite,
        architecture=read_architecture(),
        chroot_digest=base.digest if base else "none yet",
        depends=resolve(base, relations, context.store.state, source=recipe.source) if base else {},
        stack={name: package["digest"] for name, package in visible.items()},
        tests=context.tests,
    )


def find_relations(
    context: BuildContext,
    recipe: Recipe,
    finished: Mapping[SourceName, Artifact],
    debian: DebianFolder | None = None,
) -> tuple[str, ...]:
    """What the archive must give to a build: its own build dependencies, and what the stack's packages need."""
    debian = debian or render(context, recipe, PLACEHOLDER, PLACEHOLDER, finished)
    visible = find_stack(context, recipe, finished)
    fields = [*read_relations(debian.files["control"].decode()), *(package["depends"] for package in visible.values())]
    return choose_relations(fields, context.graph.providers)


def find_stack(
    context: BuildContext, recipe: Recipe, finished: Mapping[SourceName, Artifact]
) -> dict[BinaryName, Mapping[str, str]]:
    """The packages of the stack that a build sees, and what each is to it. A meta-package only names versions."""
    if recipe.style.name == META:
        return {}
    offered = {
        BinaryName(name): package
        for need in context.graph.needs[recipe.name]
        for name, package in finished[need].packages.items()
        if name in context.graph.providers
    }
    return {name: offered[name] for name in find_visible(recipe.needs, offered)}


def render(
    context: BuildContext, recipe: Recipe, version: str, key: str, finished: Mapping[SourceName, Artifact]
) -> DebianFolder:
    """The debian/ folder of a recipe, of which only the sources it needs are known."""
    versions: dict[BinaryName, str] = {
        package.name: finished[need].version
        for need in context.graph.needs[recipe.name]
        if need in finished
        for package in context.recipes[need].packages
    }
    return render_debian(
        recipe,
        context.project.settings,
        context.project.templates,
        suite=context.suite,
        version=version,
        key=key,
        versions=versions,
        compiled=context.store.state.templates,
    )
