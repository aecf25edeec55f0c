"""Which recipe needs which. Pure: no disk, no processes.

An edge is derived, never declared: a package that a recipe names in its build dependencies (or a meta-package in its
exact stack) and that another recipe's binary package provides is an edge. A build also waits for what its dependencies
need at run time, because they must be installable and not merely built: what a binary package declares in depends, and
for one of architecture any also what its own build saw, because ${shlibs:Depends} can name any of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import groupby, pairwise
from typing import TypeVar

from hapkg.control import BinaryName, SourceName, parse_relation_names
from hapkg.errors import GraphError, did_you_mean
from hapkg.recipe.model import Recipe

Name = TypeVar("Name", BinaryName, SourceName)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The recipes in an order in which each comes after everything it needs."""

    order: tuple[SourceName, ...]
    needs: Mapping[SourceName, tuple[SourceName, ...]]
    """Sources that must be finished before a source can start, direct and by run-time closure, in build order."""
    providers: Mapping[BinaryName, SourceName]
    """Which source builds a binary package."""

    def closure(self, names: Iterable[SourceName]) -> tuple[SourceName, ...]:
        """The named sources and everything they need, in build order."""
        wanted = _reach(names, self.needs)
        return tuple(name for name in self.order if name in wanted)


def make_graph(recipes: Mapping[SourceName, Recipe], *, package_prefix: str) -> Graph:
    """Derive the graph. Raises GraphError for a duplicate package, a dependency nobody provides, or a cycle."""
    providers = _find_providers(recipes)
    direct = {
        name: _find_packages(recipe, recipe.needs, providers, package_prefix, "the build")
        for name, recipe in recipes.items()
    }
    for name, packages in direct.items():
        if name in {providers[package] for package in packages}:
            raise GraphError(
                f"recipe {name} needs its own package to build",
                hint="remove it from build-depends, or split the recipe",
            )
    at_run_time: dict[BinaryName, set[BinaryName]] = {}
    for name, recipe in recipes.items():
        for package in recipe.packages:
            relations = parse_relation_names(", ".join(package.depends))
            declared = [candidate for alternatives in relations for candidate in alternatives]
            found = _find_packages(recipe, declared, providers, package_prefix, f"depends of {package.name}")
            # What a program may have been linked with becomes a dependency that no recipe declares.
            at_run_time[package.name] = found | direct[name] if package.architecture == "any" else found
            at_run_time[package.name].update(BinaryName(pinned) for pinned in package.stack if pinned in providers)
    needs = {
        name: {providers[package] for package in _reach(packages, at_run_time)} for name, packages in direct.items()
    }
    try:
        order = tuple(TopologicalSorter({name: sorted(needs[name]) for name in sorted(needs)}).static_order())
    except CycleError as cause:
        cycle = list(reversed(cause.args[1]))
        ways = (_trace(start, goal, direct, at_run_time, providers) for start, goal in pairwise(cycle))
        chain = [name for way in ways for name in way]
        raise GraphError(
            "these recipes need each other: " + " → ".join([*chain, cycle[-1]]),
            hint="break the cycle: remove one of these dependencies",
        ) from None
    rank = {name: index for index, name in enumerate(order)}
    ordered = {name: tuple(sorted(needs[name], key=rank.__getitem__)) for name in order}
    return Graph(order=order, needs=ordered, providers=providers)


def find_blocked(recipes: Mapping[SourceName, Recipe], *, package_prefix: str) -> dict[SourceName, str]:
    """Sources that need a package of the stack which none of the recipes builds, or such a source; why, in words."""
    blocked: dict[SourceName, str] = {}
    while True:
        left = {name: recipe for name, recipe in recipes.items() if name not in blocked}
        built = {package.name for recipe in left.values() for package in recipe.packages}
        found = {name: _find_unbuilt(recipe, built, package_prefix) for name, recipe in left.items()}
        more = {name: f"needs {package}, which no other recipe builds" for name, package in found.items() if package}
        if not more:
            return blocked
        blocked |= more


def _find_unbuilt(recipe: Recipe, built: set[BinaryName], package_prefix: str) -> BinaryName | None:
    """The first package of the stack that a recipe needs and nobody builds."""
    relations = parse_relation_names(", ".join(word for package in recipe.packages for word in package.depends))
    needed = [*recipe.needs, *(name for alternatives in relations for name in alternatives)]
    return next((name for name in needed if name.startswith(package_prefix) and name not in built), None)


def _find_providers(recipes: Mapping[SourceName, Recipe]) -> dict[BinaryName, SourceName]:
    providers: dict[BinaryName, SourceName] = {}
    for source, recipe in recipes.items():
        for package in recipe.packages:
            if package.name in providers:
                raise GraphError(
                    f"package {package.name} is built by two recipes: {providers[package.name]} and {source}",
                    hint="rename it in one of them",
                )
            providers[package.name] = source
    return providers


def _find_packages(
    recipe: Recipe,
    packages: Iterable[BinaryName],
    providers: Mapping[BinaryName, SourceName],
    package_prefix: str,
    place: str,
) -> set[BinaryName]:
    """Those of the packages that recipes build."""
    found: set[BinaryName] = set()
    for package in packages:
        if package in providers:
            found.add(package)
        elif package.startswith(package_prefix):
            raise GraphError(
                f"{recipe.source}: {place} needs {package}, which no recipe builds",
                hint=did_you_mean(package, providers) or "write a recipe for it, or remove it",
            )
    return found


def _reach(start: Iterable[Name], edges: Mapping[Name, Iterable[Name]]) -> set[Name]:
    seen: set[Name] = set()
    stack = list(start)
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            stack.extend(edges[name])
    return seen


def _trace(
    start: SourceName,
    goal: SourceName,
    direct: Mapping[SourceName, set[BinaryName]],
    at_run_time: Mapping[BinaryName, set[BinaryName]],
    providers: Mapping[BinaryName, SourceName],
) -> list[SourceName]:
    """The shortest way from a source to one it needs: itself and every source between them."""
    found_by: dict[BinaryName, BinaryName | None] = dict.fromkeys(sorted(direct[start]))
    for package in (queue := list(found_by)):
        if providers[package] == goal:
            break
        for other in sorted(at_run_time[package] - found_by.keys()):
            found_by[other] = package
            queue.append(other)
    way: list[SourceName] = []
    step = found_by[package]
    while step is not None:
        way.append(providers[step])
        step = found_by[step]
    return [start, *(name for name, _ in groupby(reversed(way)))]
