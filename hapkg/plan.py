"""What must be built, in which order, and why. Pure: it compares values and never looks at the disk.

A build's key is the sha256 of its inputs written as sorted JSON: the pinned source, every patch, every file of the
rendered debian/, the base chroot's packages, and what the stack packages it uses turned out to be. The version is not
an input: it follows from the key, so that the same inputs get the same version even after the store was deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hapkg.config import RELEASES
from hapkg.control import SourceName, Suite
from hapkg.recipe import Recipe
from hapkg.store import Artifact
from hapkg.template import DebianFolder
from hapkg.version import Version

KEY_FORMAT = 1
"""Raised when hapkg itself changes how packages come out, so that everything is rebuilt once."""
PLACEHOLDER = "0"
"""Stands for version and key where debian/ is rendered to compute the key."""


class Action(StrEnum):
    """What happens to one source."""

    BUILD = "build"
    REUSE = "reuse"


@dataclass(frozen=True, kw_only=True)
class Release:
    """A version that is known to exist, in the store or in a published repository."""

    source: SourceName
    version: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """One source of the plan. key and version are None while they depend on a build that has not run yet."""

    source: SourceName
    action: Action
    reason: str
    version: str | None
    key: str | None
    artifact: Artifact | None = None
    """The finished build, when it is reused."""


def make_inputs(
    recipe: Recipe,
    debian: DebianFolder,
    *,
    suite: Suite,
    architecture: str,
    chroot_digest: str,
    stack: Mapping[SourceName, str],
) -> dict[str, Any]:
    """All that decides what a build gives. debian is rendered with PLACEHOLDER; stack maps sources to digests."""
    files = {path: hashlib.sha256(content).hexdigest() for path, content in debian.files.items()}
    return {
        "format": KEY_FORMAT,
        "suite": suite,
        "architecture": architecture,
        "chroot": chroot_digest,
        "source": list(recipe.pins),
        "upstream": recipe.version,
        "debian": files,
        "stack": dict(stack),
    }


def make_key(inputs: Mapping[str, Any]) -> str:
    """The build key of these inputs."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def choose_version(recipe: Recipe, suite: Suite, key: str, known: Iterable[Release]) -> str:
    """The version for a key: the one it had before, or the next rebuild number of this recipe in this suite."""
    revision = None if recipe.native else recipe.revision
    first = Version(upstream=recipe.version, revision=revision, release=RELEASES[suite], rebuild=1)
    highest = 0
    for release in known:
        try:
            version = Version.parse(release.version)
        except ValueError:
            continue
        if release.source == recipe.name and version.base == first.base:
            if release.key == key:
                return release.version
            highest = max(highest, version.rebuild)
    return f"{first.base}.{highest + 1}"


def decide(
    recipe: Recipe,
    inputs: Mapping[str, Any],
    *,
    suite: Suite,
    builds: Sequence[Artifact],
    published: Iterable[Release],
) -> Step:
    """The step of a source whose inputs are all known. builds are the finished ones, oldest first."""
    key = make_key(inputs)
    own = [build for build in builds if build.source == recipe.name and build.suite == suite]
    for build in own:
        if build.key == key:
            return Step(
                source=recipe.name,
                action=Action.REUSE,
                reason="nothing changed",
                version=build.version,
                key=key,
                artifact=build,
            )
    known = [Release(source=build.source, version=build.version, key=build.key) for build in own]
    version = choose_version(recipe, suite, key, [*known, *published])
    reason = explain_change(own[-1].inputs, inputs) if own else "not built yet"
    return Step(source=recipe.name, action=Action.BUILD, reason=reason, version=version, key=key)


def defer(recipe: Recipe, waiting: Sequence[SourceName]) -> Step:
    """The step of a source that waits for sources that are built first."""
    names = ", ".join(waiting)
    return Step(source=recipe.name, action=Action.BUILD, reason=f"needs {names}, built first", version=None, key=None)


def explain_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Which inputs differ between two builds, in words."""
    words = {
        "format": "hapkg builds differently now",
        "chroot": "the base chroot's packages changed",
        "source": "the source changed",
        "architecture": "the architecture changed",
    }
    changes = [text for name, text in words.items() if old.get(name) != new.get(name)]
    if old.get("upstream") != new.get("upstream"):
        changes.append(f"upstream version {old.get('upstream')} became {new.get('upstream')}")
    for name, place in (("debian", "debian/{} {}"), ("stack", "{} {}")):
        before, after = old.get(name, {}), new.get(name, {})
        for item in sorted(before.keys() | after.keys()):
            if before.get(item) != after.get(item):
                verb = "is new" if item not in before else "is gone" if item not in after else "changed"
                changes.append(place.format(item, verb))
    if not changes:
        return "the finished build is gone"
    return "; ".join(changes[:4]) + (f"; and {len(changes) - 4} more" if len(changes) > 4 else "")
