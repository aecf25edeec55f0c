"""The release that a recipe is to be of next: version, tag, commit, and where its tarball is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from hapkg.currency.debian_archive import DebianIndexes
from hapkg.currency.outdated import RemoteAnswers, compare
from hapkg.disk import sha256_file
from hapkg.errors import FetchError, UsageError
from hapkg.recipe.model import Recipe
from hapkg.recipe.upstream import DebianOrigin, GitOrigin, HgOrigin, Origin, TarballOrigin
from hapkg.recipe.upstream_tags import find_pattern, find_versions
from hapkg.source.origins.tarball import download


@dataclass(frozen=True, kw_only=True)
class Target:
    """A release."""

    version: str
    tag: str
    commit: str
    """Of the repository that [upstream] commit is of; "" where it did not answer."""
    kind: str
    """The kind of that repository."""
    left: tuple[str, ...] = ()
    """Kinds of former homes, which do not have the release."""


@dataclass(frozen=True, kw_only=True)
class NewOrigins:
    """Origins of a release, by the places that they have in the recipe."""

    changes: Mapping[int, Mapping[str, str]]
    dropped: Sequence[int]
    notes: Sequence[str]


def choose_target(recipe: Recipe, version: str | None, indexes: DebianIndexes, answers: RemoteAnswers) -> Target:
    """The named release, or the newest that is known. Raises UsageError where there is none, or the recipe is held."""
    upstream = recipe.upstream
    if upstream is None:
        raise AssertionError("a recipe without upstream has no releases")
    standing = compare(recipe, indexes, answers)
    if version is None and standing.newest == recipe.version:
        raise UsageError(
            f"nothing newer than {recipe.source} {recipe.version} is known",
            details=[f"no answer: {line}" for line in answers.unasked],
            hint="name a version, if you know better",
        )
    if version is None and standing.hold:
        raise UsageError(
            f"{recipe.source} is held: {standing.hold}", hint=f"name {standing.newest} to take it all the same"
        )
    chosen = version or standing.newest
    if chosen == recipe.version:
        raise UsageError(f"{recipe.source} is of version {chosen} already")
    pattern = find_pattern(upstream.tag, recipe.version)
    tagged = find_versions(recipe, (tag for tags in answers.tags.values() for tag in tags))
    tag = tagged.get(chosen) or (pattern.write(chosen) if pattern else "")
    homes = [*upstream.repositories]
    kind = next((home for home in reversed(homes) if tag in answers.tags.get(home, {})), homes[-1])
    tags = answers.tags.get(kind, {})
    if not tag:
        raise UsageError(
            f"{recipe.source}: the tag of {chosen} is not known: {upstream.tag} does not show its version",
            hint="change recipe.toml by hand",
        )
    if kind in answers.tags and tag not in tags:
        raise UsageError(
            f"{recipe.source}: upstream has no tag {tag}", hint="hapkg outdated tells what upstream has, and Debian"
        )
    left = tuple(homes[homes.index(kind) + 1 :])
    return Target(version=chosen, tag=tag, commit=tags.get(tag, ""), kind=kind, left=left)


def find_origins(recipe: Recipe, target: Target, indexes: DebianIndexes, scratch: Path) -> NewOrigins:
    """Where the release's tarball can be had. Raises FetchError where it can be had nowhere."""
    found: dict[int, dict[str, str]] = {}
    dropped: list[int] = []
    notes: list[str] = []
    for place, origin in enumerate(recipe.origins):
        values, note = _find_origin(recipe, origin, target, indexes, scratch)
        if values is None:
            dropped.append(place)
        else:
            found[place] = values
        if note:
            notes.append(note)
    sha256 = next((values["sha256"] for values in found.values() if "sha256" in values), "")
    for place, values in [*found.items()]:
        if values.get("url") and not values.get("sha256"):
            if sha256:
                values["sha256"] = sha256
            else:
                dropped.append(place)
                del found[place]
    if not found:
        raise FetchError(
            f"{recipe.source}: no origin has version {target.version}", details=notes, hint="add one to recipe.toml"
        )
    return NewOrigins(changes=found, dropped=dropped, notes=notes)


def _find_origin(
    recipe: Recipe, origin: Origin, target: Target, indexes: DebianIndexes, scratch: Path
) -> tuple[dict[str, str] | None, str]:
    """New values of an origin, None where it has no such release; and what a person should know.

    An address that does not answer keeps its place: the digest that another origin has decides what it may deliver.
    """
    if isinstance(origin, DebianOrigin):
        release = indexes.find_upstream(origin.package, target.version)
        if release is None:
            return None, f"origin dropped: no suite of the archive has {origin.package} {target.version}"
        return {"version": release.version, "sha256": min(release.origs)}, ""
    if isinstance(origin, TarballOrigin):
        old_tag = recipe.upstream.tag if recipe.upstream else ""
        url = origin.url.replace(old_tag, target.tag).replace(recipe.version, target.version)
        if url == origin.url:
            return None, f"origin dropped: {url} does not show its version"
        try:
            return {"url": url, "sha256": sha256_file(download(url, scratch / "tarball"))}, ""
        except FetchError as error:
            return {"url": url}, f"{url} was not fetched ({error.brief}): it may deliver what the other origins have"
    if isinstance(origin, GitOrigin | HgOrigin):
        if not target.commit:
            raise FetchError(
                f"{recipe.source}: the commit of {target.tag} is not known, and an origin of type {origin.type}"
                " needs it",
                hint="upstream's repository has to answer",
            )
        return {}, ""
    assert_never(origin)
