"""Recipes among all versions there are, and what they lost: upstream's tags, Debian's suites, its own origins.

The promise compares upstream's part of the version with the one that the suite, its updates and its security have.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cmp_to_key

from hapkg.build.kernel_packages import name_package
from hapkg.control import SourceName
from hapkg.currency.debian_archive import DebianIndexes, DebianRelease
from hapkg.currency.promises import Promise
from hapkg.disk import work_on_all
from hapkg.errors import FetchError
from hapkg.locations import State
from hapkg.recipe.model import Recipe
from hapkg.recipe.upstream import DebianOrigin, DebianPatch, PinnedFile, RepositoryOrigin, TarballOrigin, UrlPatch
from hapkg.recipe.upstream_tags import find_versions, is_candidate_for
from hapkg.recipe.upstream_version import compare_upstream, upstream_of
from hapkg.source.origins.tarball import is_there
from hapkg.source.vcs import KINDS


@dataclass(frozen=True, kw_only=True)
class RemoteAnswers:
    """Answers of upstream's repositories and servers about one recipe."""

    tags: Mapping[str, Mapping[str, str]]
    """Commits by tag, by kind of repository; a kind that did not answer is left out."""
    gone: tuple[str, ...]
    """Addresses that have nothing any more."""
    unasked: tuple[str, ...]
    """Those that did not answer, each with the reason."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One recipe among the versions that there are; "" stands for a version that there is not."""

    source: SourceName
    version: str
    upstream: str
    """The newest of upstream's tags; "?" where no repository answered."""
    debian: Mapping[str, str]
    """Debian's version by index; "suite" is the highest of the suite, its updates and its security."""
    promise: Promise
    newest: str
    """The highest version known anywhere, of upstream's; ours where there is none above it."""
    gone: tuple[str, ...]
    """Origins and remote patches that can no longer be had as the recipe says."""
    hold: str
    unasked: tuple[str, ...]

    @property
    def has_news(self) -> bool:
        """True where somebody should look: a newer version that is not held, a broken promise, a lost origin."""
        is_behind = self.newest != self.version or self.promise is Promise.OLDER
        return bool(self.gone) or (is_behind and not self.hold)


def compare_all(recipes: Sequence[Recipe], indexes: DebianIndexes, state: State) -> tuple[Standing, ...]:
    """Ask the repositories and servers of all recipes, some at a time, and compare. Sorted by source."""
    answers: dict[SourceName, RemoteAnswers] = {}

    def ask(recipe: Recipe) -> None:
        answers[recipe.name] = ask_remotes(recipe, state)

    tracked = sorted((recipe for recipe in recipes if recipe.upstream), key=lambda recipe: recipe.name)
    work_on_all(ask, tracked)
    return tuple(compare(recipe, indexes, answers[recipe.name]) for recipe in tracked)


def ask_remotes(recipe: Recipe, state: State) -> RemoteAnswers:
    """Ask upstream's repositories for their tags, and servers for the files that the recipe pins."""
    tags: dict[str, Mapping[str, str]] = {}
    gone: list[str] = []
    unasked: list[str] = []
    for kind, url in recipe.upstream.repositories.items() if recipe.upstream else ():
        try:
            tags[kind] = KINDS[kind].ask_tags(url, state)
        except FetchError as error:
            unasked.append(f"{url}: {error.details[0] if error.details else error.brief}")
    for pinned in (*recipe.origins, *recipe.remote_patches):
        if isinstance(pinned, TarballOrigin | UrlPatch):
            try:
                if not is_there(pinned.url):
                    gone.append(pinned.describe())
            except FetchError as error:
                unasked.append(f"{pinned.url}: {error.brief}")
    return RemoteAnswers(tags=tags, gone=tuple(gone), unasked=tuple(unasked))


def compare(recipe: Recipe, indexes: DebianIndexes, answers: RemoteAnswers) -> Standing:
    """Put one recipe among the versions that were found."""
    package = recipe.debian_source
    found = {
        "suite": indexes.of_suite(package),
        "backports": indexes.newest(package, [f"{indexes.suite}-backports"]),
        **{suite: indexes.newest(package, [suite]) for suite in indexes.later},
    }
    tagged = [*find_versions(recipe, (tag for tags in answers.tags.values() for tag in tags))]
    packaged = [upstream_of(release.version) for release in found.values() if release]
    candidates = [*tagged, *(version for version in packaged if is_candidate_for(recipe, version))]
    promise = make_promise(recipe, found["suite"])
    if promise is Promise.ALONE and indexes.suite in indexes.unasked:
        promise = Promise.UNKNOWN
    return Standing(
        source=recipe.name,
        version=recipe.version,
        upstream=pick_newest(tagged) if answers.tags else "?",
        debian={name: release.version if release else "" for name, release in found.items()},
        promise=promise,
        newest=pick_newest([recipe.version, *candidates]),
        gone=(*answers.gone, *_find_gone(recipe, indexes, answers)),
        hold=recipe.upstream.hold or "" if recipe.upstream else "",
        unasked=answers.unasked,
    )


def find_missing_modules(recipes: Iterable[Recipe], kernel: str, there: Collection[SourceName]) -> list[str]:
    """Packages of the recipes' modules for a kernel that are not among those that are there; none for no kernel."""
    wanted = (name_package(recipe, kernel) for recipe in recipes if recipe.module and kernel)
    return [name for name in wanted if name not in there]


def make_promise(recipe: Recipe, release: DebianRelease | None) -> Promise:
    """Compare a recipe with the suite's version."""
    if release is None:
        return Promise.ALONE
    order = compare_upstream(recipe.version, upstream_of(release.version))
    return Promise.NEWER if order > 0 else Promise.EQUAL if order == 0 else Promise.OLDER


def pick_newest(versions: Iterable[str]) -> str:
    """The highest version, or "" of none; of equal ones the first."""
    return max(versions, key=cmp_to_key(compare_upstream), default="")


def _find_gone(recipe: Recipe, indexes: DebianIndexes, answers: RemoteAnswers) -> list[str]:
    """Origins of the archive and of repositories that have no more what the recipe pins."""
    upstream, gone = recipe.upstream, list[str]()
    for pinned in (*recipe.origins, *recipe.remote_patches):
        if isinstance(pinned, DebianOrigin):
            lost = indexes.is_whole and not indexes.has_orig(pinned.sha256, pinned.package)
        elif isinstance(pinned, DebianPatch):
            lost = indexes.is_whole and not indexes.has_version(pinned.package, pinned.version)
        elif isinstance(pinned, RepositoryOrigin) and upstream and pinned.type in answers.tags:
            lost = answers.tags[pinned.type].get(upstream.tag) != upstream.commit_in(pinned.type)
        else:
            continue
        if lost:
            what = f", tag {upstream.tag}" if upstream and not isinstance(pinned, PinnedFile) else ""
            gone.append(f"{pinned.describe()}{what}")
    return gone
