"""Links that need more than the repository: lock and upstream's signature from a checkout, rebuilds on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hapkg.control import SourceName
from hapkg.errors import HapkgError
from hapkg.evidence.rebuilt import read_rebuilt
from hapkg.locations import State
from hapkg.recipe.model import Recipe
from hapkg.recipe.upstream import SignaturePolicy
from hapkg.repository.indexes import IndexedPackage
from hapkg.source.lockfile import Lock, LockedSource
from hapkg.source.signature import check_tarball
from hapkg.verification.links import ChainLink, LinkName, break_, hold, lack
from hapkg.verification.statement import Statement

_COMPARED = ("version", "sha256", "tree", "signer")


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """Recipes and lock of a checkout, for one suite."""

    recipes: Mapping[SourceName, Recipe]
    lock: Lock | None


def judge_source(
    state: State,
    checkout: Checkout | None,
    package: IndexedPackage,
    statement: Statement | None,
    files: Mapping[str, Path],
) -> Iterator[ChainLink]:
    """The links lock, upstream and, where this machine has a record, rebuilt."""
    yield _check_lock(checkout, package, statement)
    if signed := _check_upstream(checkout, package, statement, files):
        yield signed
    _, digest = next(iter(package.files.values()))
    if record := read_rebuilt(state, digest):
        last = record.rebuilds[-1]
        if record.identical:
            varied = f" under {', '.join(record.variations)}" if record.variations else ""
            yield hold(LinkName.REBUILT, f"bit-identical here, {last.when}{varied}")
        else:
            yield break_(LinkName.REBUILT, f"it came out different here, {last.when}: hapkg rebuild {record.source}")


def _check_lock(checkout: Checkout | None, package: IndexedPackage, statement: Statement | None) -> ChainLink:
    source = package.source[0]
    if statement is None:
        return lack(LinkName.LOCK, "no statement says what was built")
    if checkout is None or checkout.lock is None:
        told = "it quotes its lock" if statement.locked else "it was built without a lock"
        return lack(LinkName.LOCK, f"no lock here to compare with; {told}")
    locked = checkout.lock.sources.get(source)
    if locked is None and not statement.tarballs:
        return hold(LinkName.LOCK, "written by hapkg: nothing to lock")
    if locked is None:
        return lack(LinkName.LOCK, f"{checkout.lock.file.name} does not have {source}")
    if fault := _compare(locked, statement):
        return break_(LinkName.LOCK, f"{checkout.lock.file} has {fault} of {source} than was built")
    return hold(LinkName.LOCK, f"{checkout.lock.file.name}: {locked.origin}")


def _compare(locked: LockedSource, statement: Statement) -> str:
    """The first thing in which a lock and a statement differ, in words."""
    if statement.tarballs and locked.sha256 not in statement.tarballs.values() and not locked.vcs:
        return "another tarball"
    for key in _COMPARED if statement.locked else ():
        if statement.locked.get(key, "") != str(getattr(locked, key)):
            return f"another {key}"
    return ""


def _check_upstream(
    checkout: Checkout | None, package: IndexedPackage, statement: Statement | None, files: Mapping[str, Path]
) -> ChainLink | None:
    """The link to upstream's key; None where its policy is that there is none."""
    source = package.source[0]
    if statement is not None and not statement.tarballs:
        return hold(LinkName.UPSTREAM, "written by hapkg: there is no upstream")
    recipe = checkout.recipes.get(source) if checkout else None
    if recipe is not None and (recipe.signature is None or recipe.signature.policy is SignaturePolicy.PINNED_ONLY):
        return None  # upstream signs nothing: the sha256 alone counts
    if recipe is None or recipe.signature is None:
        return lack(LinkName.UPSTREAM, f"no recipe of {source} here, which has upstream's keys")
    policy = recipe.signature.policy
    tarballs = [file for name, file in files.items() if ".orig.tar." in name and not name.endswith(".asc")]
    if policy is not SignaturePolicy.PGP_TARBALL:
        locked = checkout.lock.sources.get(source) if checkout and checkout.lock else None
        if locked and locked.signer:
            return hold(LinkName.UPSTREAM, f"a tag signed by {locked.signer}, by the lock")
        absence = "a tag was checked when it was fetched; no lock says whose"
    elif not package.source[1].startswith(f"{recipe.version}-") or len(tarballs) != 1:
        absence = f"the recipe is of {recipe.version}, the package of {package.source[1]}"
    else:
        return _check_signature(recipe, tarballs[0])
    return lack(LinkName.UPSTREAM, absence)


def _check_signature(recipe: Recipe, tarball: Path) -> ChainLink:
    try:
        return hold(LinkName.UPSTREAM, f"signed by {check_tarball(recipe, tarball)}")
    except HapkgError as error:
        return break_(LinkName.UPSTREAM, error.brief)
