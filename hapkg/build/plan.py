"""Keys, versions and steps: the rules by which a source is built or reused. Pure: values are compared, no disk is read.

A build's key is the sha256 of its inputs written as sorted JSON: the pinned source, every patch, every file of the
rendered debian/, what the SBOMs tell, the base chroot's packages, the archive's packages that are installed for it, and
what the stack packages it uses turned out to be. The version is not an input: it follows from the key, so that the same
inputs get the same version even after the store was deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from hapkg.build.store import Artifact
from hapkg.control import BinaryName, SourceName, Suite, parse_relation_names
from hapkg.errors import RecipeError
from hapkg.recipe.version import Version
from hapkg.records import digest_json

if TYPE_CHECKING:  # whoever only tells a step needs neither
    from hapkg.recipe.debian_folder import DebianFolder
    from hapkg.recipe.model import Recipe

KEY_FORMAT = 3
"""Raised when hapkg itself changes how packages come out, so that everything is rebuilt once."""
_FORMAT_NEWS = "every package brings its SBOM from now on"
"""The change of the newest format, as the plan tells it."""
PLACEHOLDER = "0"
"""Stands for version and key where debian/ is rendered to compute the key."""


class Action(StrEnum):
    """The action for one source."""

    BUILD = "build"
    REUSE = "reuse"
    FETCH = "fetch"
    """A build cache has its finished build."""
    MAYBE = "maybe"
    """It waits for others, and is reused when what it uses of them comes out the same."""
    LEAVE_OUT = "left out"
    """Its recipe is wrong, or that of a source it needs."""


@dataclass(frozen=True, kw_only=True)
class KnownVersion:
    """A version that is known to exist, of a build that is not at hand: in a published repository."""

    source: SourceName
    version: str
    key: str


@dataclass(frozen=True, kw_only=True)
class InputChange:
    """One input that differs from the last build's; None where there was, or is, none."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One source of the plan. version, key and inputs are None while they depend on a build that has not run yet.

    Such a step is not the last word: Planner.decide() gives the final one when the sources it waits for are built.
    """

    source: SourceName
    action: Action
    reason: str
    version: str | None
    key: str | None
    artifact: Artifact | None = None
    """The finished build, when it is reused."""
    compared: Artifact | None = None
    """A build of others whose packages must come out of this one, byte by byte."""
    changes: tuple[InputChange, ...] = ()
    """Inputs that differ from the last build's."""
    inputs: Mapping[str, Any] | None = None
    """The values that the key was computed from."""
    error: RecipeError | None = None
    """The fault of its recipe, where that is why it is left out."""

    @property
    def identity(self) -> tuple[str, str, Mapping[str, Any]]:
        """Version, key and inputs of a final step. Raises ValueError while it waits for another build."""
        if self.version is None or self.key is None or self.inputs is None:
            raise ValueError(f"the step of {self.source} is not final: {self.reason}")
        return self.version, self.key, self.inputs


def make_inputs(
    recipe: Recipe,
    debian: DebianFolder,
    *,
    suite: Suite,
    architecture: str,
    chroot_digest: str,
    depends: Mapping[str, str],
    stack: Mapping[BinaryName, str],
    tests: bool = True,
) -> dict[str, Any]:
    """The inputs of a build's key: all that decides the bytes of its packages.

    debian is rendered with PLACEHOLDER; depends maps packages of the archive to versions, stack those of the stack to
    digests of their content. A build whose tests were left out is another one than the same with its tests.
    """
    files = {path: hashlib.sha256(content).hexdigest() for path, content in debian.files.items()}
    return {
        **({} if tests or not recipe.tests else {"tests": "left out"}),
        "format": KEY_FORMAT,
        "suite": suite,
        "architecture": architecture,
        "chroot": chroot_digest,
        "source": list(recipe.pins),
        "upstream": recipe.version,
        "debian": files,
        **({"sbom": debian.facts.digest} if debian.facts else {}),
        "depends": dict(depends),
        "stack": dict(stack),
    }


def make_key(inputs: Mapping[str, Any]) -> str:
    """The build key of these inputs."""
    return digest_json(inputs)


def find_visible(
    needs: Iterable[BinaryName], offered: Mapping[BinaryName, Mapping[str, str]]
) -> tuple[BinaryName, ...]:
    """The packages of the stack that a build may see: those it needs, and what these need at run time.

    offered maps names to what Artifact.packages tells of them.
    """
    found: set[BinaryName] = set()
    stack = [name for name in needs if name in offered]
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            relations = parse_relation_names(offered[name]["depends"])
            stack.extend(other for alternatives in relations for other in alternatives if other in offered)
    return tuple(sorted(found))


def choose_version(recipe: Recipe, release: str, key: str, known: Iterable[KnownVersion | Artifact]) -> str:
    """The version for a key: the one it had before, or the next rebuild number of this recipe for this release."""
    revision = None if recipe.native else recipe.revision
    first = Version(upstream=recipe.version, revision=revision, release=release, rebuild=1)
    highest = 0
    for one in known:
        try:
            version = Version.parse(one.version)
        except ValueError:
            continue
        if one.source == recipe.name and version.base == first.base:
            if one.key == key:
                return one.version
            highest = max(highest, version.rebuild)
    return f"{first.base}.{highest + 1}"


def decide(
    recipe: Recipe,
    inputs: Mapping[str, Any],
    *,
    suite: Suite,
    release: str,
    builds: Sequence[Artifact],
    published: Iterable[KnownVersion],
) -> Step:
    """The step of a source whose inputs are all known. builds are the finished ones, oldest first; release is the
    suite's number in versions."""
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
                inputs=inputs,
            )
    version = choose_version(recipe, release, key, [*own, *published])
    changes = find_changes(own[-1].inputs, inputs) if own else ()
    reason = explain_changes(changes) if own else "not built yet"
    return Step(
        source=recipe.name,
        action=Action.BUILD,
        reason=reason,
        version=version,
        key=key,
        changes=changes,
        inputs=inputs,
    )


def leave_out(source: SourceName, cause: RecipeError | str) -> Step:
    """The step of a source whose recipe is wrong, or that needs such a source: cause says which."""
    error = cause if isinstance(cause, RecipeError) else None
    reason = error.brief if error else str(cause)
    return Step(source=source, action=Action.LEAVE_OUT, reason=reason, version=None, key=None, error=error)


def defer(
    recipe: Recipe, waiting: Sequence[SourceName], last: Artifact | None = None, inputs: Mapping[str, Any] | None = None
) -> Step:
    """The step of a source that waits for sources that are built first.

    last is its newest build; inputs are those that are known already. Without them it is built in any case.
    """
    names = ", ".join(waiting)
    changes = find_changes({name: last.inputs.get(name) for name in inputs}, inputs) if last and inputs else ()
    if last is None or inputs is None or changes:
        why = explain_changes(changes) + "; " if changes else ""
        reason, action = f"{why}needs {names}, built first", Action.BUILD
    else:
        reason, action = f"needs {names}, built first: reused if they come out the same", Action.MAYBE
    return Step(source=recipe.name, action=action, reason=reason, version=None, key=None, changes=changes)


def find_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[InputChange, ...]:
    """Inputs that differ between two builds: single values first, then files, packages and packages of the stack."""
    changes: list[InputChange] = []
    for name in ("format", "tests", "suite", "architecture", "chroot", "source", "upstream", "sbom"):
        before, after = old.get(name), new.get(name)
        if before != after:
            changes.append(InputChange(name=name, old=_show(before), new=_show(after)))
    for name, prefix in (("debian", "debian/"), ("depends", ""), ("stack", "")):
        before, after = old.get(name) or {}, new.get(name) or {}
        changes.extend(
            InputChange(name=f"{prefix}{item}", old=_show(before.get(item)), new=_show(after.get(item)))
            for item in sorted(before.keys() | after.keys())
            if before.get(item) != after.get(item)
        )
    return tuple(changes)


def explain_changes(changes: Sequence[InputChange]) -> str:
    """Changes in words, the first few of them."""
    words = {
        "format": _FORMAT_NEWS,
        "chroot": "the base chroot's packages changed",
        "source": "the source changed",
        "sbom": "what the SBOM tells changed",
        "architecture": "the architecture changed",
    }
    told = []
    if any(change.name == "format" for change in changes):  # the files of debian/ that it touched need no words
        changes = [change for change in changes if change.name != "sbom" and not change.name.startswith("debian/")]
    if any(change.name in ("source", "upstream") or "patches/" in change.name for change in changes):
        changes = [change for change in changes if change.name != "sbom"]  # it tells the same
    for change in changes:
        verb = "is new" if change.old is None else "is gone" if change.new is None else "changed"
        if change.name == "tests":
            told.append("its tests were left out before" if change.new is None else "its tests are left out")
        elif change.name == "upstream":
            told.append(f"upstream version {change.old} became {change.new}")
        else:
            told.append(words.get(change.name, f"{change.name} {verb}"))
    if not told:
        return "the finished build is gone"
    return "; ".join(told[:4]) + (f"; and {len(told) - 4} more" if len(told) > 4 else "")


def _show(value: Any) -> str | None:
    return None if value is None else " ".join(value) if isinstance(value, list) else str(value)
