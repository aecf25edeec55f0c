"""The build context: project, recipes, store and options, opened once and never changed."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hapkg import disk
from hapkg.apt.mirror import Mirror, find_mirror
from hapkg.build.kernel_packages import add_packages
from hapkg.build.plan import KnownVersion
from hapkg.build.store import Artifact, Store
from hapkg.chroot.base_lock import BaseLock, read_base_lock
from hapkg.chroot.layer import LayerOffer
from hapkg.chroot.schroot import Chroot, find_chroot
from hapkg.control import SourceName, Suite
from hapkg.distribution import Distribution, read_debian
from hapkg.errors import ConfigError, FetchError, HapkgError, IntegrityError, RecipeError, SourceError, UsageError
from hapkg.host import count_cores, read_architecture
from hapkg.locations import State
from hapkg.recipe.collection import read_collection
from hapkg.recipe.graph import Graph, find_blocked, make_graph
from hapkg.recipe.model import Recipe
from hapkg.recipe.selection import check_selection, select
from hapkg.recipe.settings import Project, find_further
from hapkg.records import format_record, read_record
from hapkg.repository.snapshots import read_held
from hapkg.source.lockfile import Lock, read_lock

if TYPE_CHECKING:  # few commands need them, and they take time
    from hapkg.source.fetch import Tarball
    from hapkg.source.origins.repository import Commit


@dataclass(frozen=True, kw_only=True)
class CacheAnswer:
    """The answer of a build cache."""

    artifact: Artifact | None = None
    """A build whose files are still there."""
    place: str = "the cache"
    """Where it comes from, in words."""
    again: bool = False
    """It is built here once more, and must come out the same."""
    note: str = ""
    """Words about why what is there is not used."""


class SharedBuilds(Protocol):
    """A build cache that several machines share."""

    @property
    def notes(self) -> Sequence[str]:
        """Words about what of it is not used, beside builds."""

    def find(self, key: str, source: SourceName, suite: Suite) -> CacheAnswer:
        """Look a build up by its key. It does not fail."""

    def bring(self, artifact: Artifact, target: Path) -> Artifact:
        """Put the files of a build that was found into an empty folder. Raises FetchError and IntegrityError."""

    def bring_base(self, suite: Suite, *, further: str, pinned: str) -> Chroot | None:
        """The base chroot of a suite, stored here; None where there is none that is to be used. It does not fail.

        further is the digest of the archives beside the distribution's, pinned that of the packages that it is pinned
        to; "" for none. The caller holds the store's lock.
        """

    def offer_layer(self, base: Chroot, key: str) -> LayerOffer | None:
        """The layer of build dependencies with a key over a base chroot; None where there is none. It does not fail."""


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """Everything a run works with, for one suite."""

    project: Project
    store: Store
    recipes: Mapping[SourceName, Recipe]
    graph: Graph
    suite: Suite
    archive: str | None = None
    """Address of an archive of the suite's distribution that was named; see mirror."""
    published: Mapping[SourceName, tuple[KnownVersion, ...]] = field(default_factory=dict)
    """Versions a repository already holds: rebuild numbers go on above them."""
    parallel: int = 1
    """Jobs that make may run at once inside one build: the cores, also where several builds run."""
    lintian: bool = True
    tests: bool = True
    """Upstream's tests run."""
    ccache: bool = False
    """Compilers are reached through ccache."""
    shared: SharedBuilds | None = None
    """The build cache that is asked before something is built."""
    lock: Lock | None = None
    """Sources the suite is locked to; None where it is not locked."""
    pin: BaseLock | None = None
    """Packages that the base chroot is made of, and builds find; None where these are the archive's."""
    vendored: Mapping[SourceName, Tarball] = field(default_factory=dict)
    """Tarballs of commits that were packed before, where builds have no network."""
    snapshots: Mapping[SourceName, Tarball] = field(default_factory=dict)
    """Tarballs of sources built from a commit of upstream's repository; recipes has their recipe for that commit."""
    contained: Mapping[SourceName, tuple[str, ...]] = field(default_factory=dict)
    """Patches that a snapshot goes without, because its commit has them."""
    requests: Mapping[SourceName, SnapshotRequest] = field(default_factory=dict)
    """Requests that the snapshots fulfil."""
    lead: Mapping[SourceName, Artifact] | None = None
    """Builds of this machine's own architecture that those for another one follow; None where that is what is built."""
    wrong: Mapping[SourceName, RecipeError] = field(default_factory=dict)
    """Faults of recipes that cannot be read. They are not among recipes."""
    blocked: Mapping[SourceName, str] = field(default_factory=dict)
    """Why a source is not among recipes: it needs one of those."""

    @functools.cached_property
    def selected(self) -> tuple[SourceName, ...]:
        """The sources that are built without being named."""
        return select(self.recipes, self.project.settings, self.suite)

    @property
    def architecture(self) -> str:
        """The architecture that is built for."""
        return self.store.architecture or read_architecture()

    @property
    def distribution(self) -> Distribution:
        """The distribution that the suite is of."""
        return self.project.distributions[self.suite]

    @functools.cached_property
    def mirror(self) -> Mirror:
        """The archive that chroots are made from: the named one or the host's, found when it is first needed."""
        return find_build_mirror(self.project, self.suite, self.archive, self.store.state)

    @functools.cached_property
    def debian_mirror(self) -> Mirror:
        """Debian's archive, from which sources are fetched for every suite."""
        return find_debian_mirror(self.project, self.mirror, self.store.state)

    @property
    def most_download(self) -> int:
        """The most bytes of a file of upstream that is downloaded."""
        return self.project.settings.limits.download_megabytes * 1_000_000

    def find_base(self) -> Chroot | None:
        """The finished base chroot of the suite; one of other packages than it is pinned to is none."""
        base = find_chroot(self.store.state, self.suite)
        return base if base is None or self.pin is None or base.pinned == self.pin.digest else None

    def describe_command(self, name: SourceName) -> str:
        """The command that builds a source again, as it is built here."""
        words = self.requests[name].words if name in self.requests else ""
        words += f" --architecture {self.store.architecture}" if self.store.architecture else ""
        return f"hapkg build {name} --suite {self.suite}{words}"


def open_context(
    project: Project, store: Store, suite: str | None, mirror: str | None, extra: Sequence[Recipe] = ()
) -> BuildContext:
    """Read recipes, graph and published versions for a suite and a mirror, as the command line names them.

    extra are generated recipes, such as a site's. Recipes that cannot be read are left out, with all that need them.
    Raises RecipeError when a recipe of the project has the name of a generated one, MachineError when the state folder
    cannot be used.
    """
    store.check()
    chosen, prefix = project.pick_suite(suite), project.settings.package_prefix
    found = read_collection(project)
    check_selection(found.recipes.values(), project.settings, found.wrong)
    recipes = add_packages(found.recipes, project, chosen, store.state, read_architecture())
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
        store=store.narrow(chosen),
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
        pin=read_base_lock(project.root, chosen, read_architecture()),
        wrong=found.wrong,
        blocked=blocked,
    )


def find_build_mirror(project: Project, suite: Suite, archive: str | None, state: State) -> Mirror:
    """The archives that a suite's chroots are made from: the named one or the host's, and the project's further ones.

    For another architecture the distribution's archive of its ports goes before the host's. The state folder says for
    which it is.

    Raises ConfigError where a further one has no key, or stands alone.
    """
    distribution = project.distributions[suite]
    ports = distribution.ports.get(state.architecture)
    if ports and not archive:
        mirror = Mirror(distribution=distribution, uri=ports, security=ports)
    else:
        mirror = find_mirror(archive, distribution, state=state, suite=suite)
    further = find_further(project, suite)
    if further and mirror.uri is None:
        raise ConfigError(
            f"{project.root / 'pyproject.toml'}, [[tool.hapkg.archives]]: the archive of {suite} itself is not known",
            hint="name it with --mirror",
        )
    return replace(mirror, further=further)


def find_debian_mirror(project: Project, own: Mirror, state: State) -> Mirror:
    """Debian's archive: own, which is built from, where it is Debian's; else the configured one or the host's.

    An archive of ports has no source packages.
    """
    debian = read_debian()
    if own.distribution.vendor == debian.vendor and own.uri not in own.distribution.ports.values():
        return own
    return find_mirror(project.settings.debian_mirror, debian, state=state)


@dataclass(frozen=True, kw_only=True)
class SnapshotRequest:
    """A request for a commit of upstream's own repository."""

    kind: str
    """git or hg."""
    ref: str | None
    """A tag, branch or commit; None for the recipe's tag."""
    commit: str | None = None
    """Its id, where it was found before: then the ref is not looked up again."""

    @property
    def words(self) -> str:
        """The options by which it is asked for."""
        return f" --origin {self.kind}" + (f" --ref {shlex.quote(self.ref)}" if self.ref else "")


@dataclass(frozen=True, kw_only=True)
class _SnapshotRecord:
    """Commits of a run with snapshots, by source."""

    requests: Mapping[str, SnapshotRequest]


def find_commits(
    context: BuildContext, requests: Mapping[SourceName, SnapshotRequest | None]
) -> dict[SourceName, Commit]:
    """The commit of each source of which a snapshot is asked for. The caller holds the store's lock.

    Raises FetchError where a repository cannot be reached, UsageError for a ref that is none.
    """
    from hapkg.source.vcs import find_commit  # noqa: PLC0415

    wanted = {name: request for name, request in requests.items() if request is not None}
    state = context.store.state
    recipes = context.recipes
    return {name: find_commit(recipes[name], one.kind, one.commit or one.ref, state) for name, one in wanted.items()}


def take_snapshots(context: BuildContext, requests: Mapping[SourceName, SnapshotRequest | None]) -> BuildContext:
    """A context in which these sources are built from upstream's own repositories as well, where that is asked for.

    Patches that a commit has are left out of its recipe. The caller holds the store's lock. Raises what find_commits
    does, and SourceError where patches do not apply.
    """
    commits = find_commits(context, requests)
    if not commits:
        return context
    from hapkg.source.fetch import fetch_commit, fetch_patches  # noqa: PLC0415
    from hapkg.source.snapshot import leave_out_contained, make_snapshot_recipe  # noqa: PLC0415
    from hapkg.source.vcs import find_release  # noqa: PLC0415

    recipes, state = dict(context.recipes), context.store.state
    mirror, most = context.debian_mirror, context.most_download
    tarballs: dict[SourceName, Tarball] = {}
    contained: dict[SourceName, tuple[str, ...]] = {}
    wanted = {name: request for name, request in requests.items() if request is not None}
    for name, commit in commits.items():
        recipe = make_snapshot_recipe(recipes[name], commit, wanted[name].ref, find_release(recipes[name], commit))
        tarballs[name] = fetch_commit(recipe, commit, state)
        remote = fetch_patches(recipe, state, mirror, most_bytes=most)
        scratch = state.work / f"{name}-patches"
        disk.remove_tree(scratch)
        patched = leave_out_contained(recipe, tarballs[name].path, remote, scratch, was=recipes[name].version)
        recipes[name], contained[name] = patched.recipe, patched.contained
        wanted[name] = replace(wanted[name], commit=commit.id)
    return replace(
        context,
        recipes=recipes,
        snapshots={**context.snapshots, **tarballs},
        contained={**context.contained, **contained},
        requests={**context.requests, **wanted},
    )


def take_each(
    context: BuildContext, requests: Mapping[SourceName, SnapshotRequest | None]
) -> tuple[BuildContext, dict[SourceName, HapkgError]]:
    """Take snapshots one after another; the context, and errors of sources that stay at their release for them.

    The caller holds the store's lock.
    """
    failed: dict[SourceName, HapkgError] = {}
    for name, request in requests.items():
        try:
            context = take_snapshots(context, {name: request})
        except (FetchError, IntegrityError, SourceError, UsageError) as error:
            failed[name] = error
    return context, failed


def request_newest(recipe: Recipe) -> SnapshotRequest | None:
    """A request for the default branch of a source's home; None where upstream has no repository."""
    from hapkg.source.vcs import KINDS  # noqa: PLC0415

    kind = next(iter(recipe.upstream.repositories), None) if recipe.upstream else None
    return SnapshotRequest(kind=kind, ref=KINDS[kind].default_branch) if kind else None


def save_snapshots(context: BuildContext) -> None:
    """Note the commits that a run is built from, in the place of an earlier run's, for who publishes them."""
    file = context.store.state.snapshots / f"{context.suite}.json"
    disk.make_folder(file.parent)
    noted = {str(name): request for name, request in context.requests.items()}
    disk.replace(file, format_record({"requests": {name: vars(request) for name, request in noted.items()}}))


def reopen_snapshots(context: BuildContext) -> BuildContext | None:
    """A context of the commits that the suite's last run with snapshots was built from; None where there was none.

    The caller holds the store's lock. Raises what take_snapshots does; known commits need no network.
    """
    record = read_record(context.store.state.snapshots / f"{context.suite}.json", _SnapshotRecord)
    noted = record.requests if record else {}
    # Another project may use the same state folder.
    known = {SourceName(name): request for name, request in noted.items() if name in context.recipes}
    return take_snapshots(context, known) if known else None
