"""The build context: project, recipes, store and options, opened once and never changed."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hapkg.apt import Mirror, find_mirror
from hapkg.build.kernel_packages import add_packages
from hapkg.build.plan import KnownVersion
from hapkg.build.store import Store
from hapkg.control import SourceName, Suite
from hapkg.errors import RecipeError
from hapkg.host import count_cores, read_architecture
from hapkg.recipe.collection import read_collection
from hapkg.recipe.graph import Graph, find_blocked, make_graph
from hapkg.recipe.model import Recipe
from hapkg.recipe.selection import check_selection, select
from hapkg.recipe.settings import Project
from hapkg.recipe.upstream_version import is_between
from hapkg.repository.snapshots import read_held
from hapkg.source.lockfile import Lock, read_lock
from hapkg.version import make_snapshot

if TYPE_CHECKING:  # few commands need them, and they take time
    from hapkg.source.fetch import Tarball
    from hapkg.source.origins.repository import Commit


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """Everything a run works with, for one suite."""

    project: Project
    store: Store
    recipes: Mapping[SourceName, Recipe]
    graph: Graph
    suite: Suite
    archive: str | None = None
    """The Debian archive that was named; see mirror."""
    published: Mapping[SourceName, tuple[KnownVersion, ...]] = field(default_factory=dict)
    """Versions a repository already holds: rebuild numbers go on above them."""
    parallel: int = 1
    """Jobs that make may run at once inside one build: the cores, also where several builds run."""
    lintian: bool = True
    tests: bool = True
    """Upstream's tests run."""
    ccache: bool = False
    """Compilers are reached through ccache."""
    lock: Lock | None = None
    """Sources the suite is locked to; None where it is not locked."""
    snapshots: Mapping[SourceName, Tarball] = field(default_factory=dict)
    """Tarballs of sources built from a commit of upstream's repository; recipes has their recipe for that commit."""
    wrong: Mapping[SourceName, RecipeError] = field(default_factory=dict)
    """Faults of recipes that cannot be read. They are not among recipes."""
    blocked: Mapping[SourceName, str] = field(default_factory=dict)
    """Why a source is not among recipes: it needs one of those."""

    @functools.cached_property
    def selected(self) -> tuple[SourceName, ...]:
        """The sources that are built without being named."""
        return select(self.recipes, self.project.settings, self.suite)

    @functools.cached_property
    def mirror(self) -> Mirror | None:
        """The archive to use: the named one or the host's, found when it is first needed."""
        return find_mirror(self.archive)


def open_context(
    project: Project, store: Store, suite: str | None, mirror: str | None, extra: Sequence[Recipe] = ()
) -> BuildContext:
    """Read recipes, graph and published versions for a suite and a mirror, as the command line names them.

    extra are generated recipes, such as a site's. Recipes that cannot be read are left out, with all that need them.
    Raises RecipeError when a recipe of the project has the name of a generated one.
    """
    chosen, prefix = project.pick_suite(suite), project.settings.package_prefix
    found = read_collection(project)
    check_selection(found.recipes.values(), project.settings, found.wrong)
    recipes = add_packages(found.recipes, project.settings, chosen, store.state, read_architecture())
    for recipe in extra:
        if recipe.name in recipes:
            raise RecipeError(
                f"recipe {recipe.name} has the name of a package that hapkg makes", hint="rename the recipe"
            )
        recipes[recipe.name] = recipe
    blocked = find_blocked(recipes, package_prefix=prefix) if found.wrong else {}
    recipes = {name: recipe for name, recipe in recipes.items() if name not in blocked}
    published = read_held(project.repository, chosen)
    return BuildContext(
        project=project,
        store=store,
        recipes=recipes,
        graph=make_graph(recipes, package_prefix=prefix),
        suite=chosen,
        archive=mirror,
        published={
            name: tuple(KnownVersion(source=name, version=release.version, key=release.key) for release in releases)
            for name, releases in published.items()
        },
        parallel=count_cores(),
        lock=read_lock(project.root, chosen),
        wrong=found.wrong,
        blocked=blocked,
    )


def take_snapshots(context: BuildContext, names: Sequence[SourceName], kind: str, ref: str | None) -> BuildContext:
    """A context in which these sources are built from upstream's own repository (kind: git or hg).

    ref is a tag, branch or commit; None for the recipe's tag. The caller holds the store's lock. Raises FetchError.
    """
    from hapkg.source.fetch import fetch_commit  # noqa: PLC0415
    from hapkg.source.vcs import find_commit, find_release  # noqa: PLC0415

    recipes = dict(context.recipes)
    tarballs: dict[SourceName, Tarball] = {}
    for name in names:
        commit = find_commit(recipes[name], kind, ref, context.store.state)
        recipes[name] = make_snapshot_recipe(recipes[name], commit, ref, find_release(recipes[name], commit))
        tarballs[name] = fetch_commit(recipes[name], commit, context.store.state)
    return replace(context, recipes=recipes, snapshots=tarballs)


def make_snapshot_recipe(recipe: Recipe, commit: Commit, ref: str | None, release: str | None = None) -> Recipe:
    """The recipe of a commit: a snapshot version, the commit's date, the commit itself as its upstream.

    release is the newest one that the commit comes after. Patches that upstream had by then are left out.
    """
    upstream = recipe.upstream and recipe.upstream.narrow(commit.kind, tag=ref or recipe.upstream.tag, commit=commit.id)
    changes = {
        "version": make_snapshot(recipe.version, f"{commit.date:%Y%m%d%H%M%S}", commit.id),
        "date": commit.date,
        "upstream": upstream,
        "origins": (),
    }
    if release is not None:
        changes |= {
            "tree_version": release,
            "remote_patches": tuple(p for p in recipe.remote_patches if is_between(release, None, p.until)),
            "patches": tuple(p for p in recipe.patches if is_between(release, None, p.until)),
        }
    return recipe.model_copy(update=changes)
