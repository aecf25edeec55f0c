"""Which recipe needs which. Pure: no disk, no processes.

An edge is derived, never declared: a package that a recipe names in its build dependencies (or a meta-package in its
exact stack) and that another recipe's binary package provides is an edge. A build also waits for what its dependencies
need at run time, because they must be installable and not merely built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from hapkg.control import BinaryName, SourceName, parse_relation_names
from hapkg.errors import GraphError, did_you_mean
from hapkg.recipe import Recipe


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
        wanted: set[SourceName] = set()
        stack = list(names)
        while stack:
            name = stack.pop()
            if name not in wanted:
                wanted.add(name)
                stack.extend(self.needs[name])
        return tuple(name for name in self.order if name in wanted)


def make_graph(recipes: Mapping[SourceName, Recipe], *, package_prefix: str) -> Graph:
    """Derive the graph. Raises GraphError for a duplicate package, a dependency nobody provides, or a cycle."""
    providers = _find_providers(recipes)
    direct = {
        name: _find_sources(recipe, recipe.needs, providers, package_prefix, "build-depends")
        for name, recipe in recipes.items()
    }
    at_run_time = {
        name: _find_sources(
            recipe,
            [
                candidate
                for package in recipe.packages
                for alternatives in parse_relation_names(", ".join(package.depends))
                for candidate in alternatives
            ],
            providers,
            package_prefix,
            "depends",
        )
        for name, recipe in recipes.items()
    }
    for name, sources in direct.items():
        if name in sources:
            raise GraphError(
                f"recipe {name} needs its own package to build",
                hint="remove it from build-depends, or split the recipe",
            )
    needs = {name: _reach(sources, at_run_time) - {name} for name, sources in direct.items()}
    try:
        order = tuple(TopologicalSorter({name: sorted(needs[name]) for name in sorted(needs)}).static_order())
    except CycleError as cause:
        cycle = list(reversed(cause.args[1]))
        raise GraphError(
            "these recipes need each other: " + " → ".join(cycle),
            hint="break the cycle: remove one of these build dependencies",
        ) from None
    rank = {name: index for index, name in enumerate(order)}
    ordered = {name: tuple(sorted(needs[name], key=rank.__getitem__)) for name in order}
    return Graph(order=order, needs=ordered, providers=providers)


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


def _find_sources(
    recipe: Recipe,
    packages: Iterable[BinaryName],
    providers: Mapping[BinaryName, SourceName],
    package_prefix: str,
    key: str,
) -> set[SourceName]:
    sources: set[SourceName] = set()
    for package in packages:
        if package in providers:
            sources.add(providers[package])
        elif package.startswith(package_prefix):
            raise GraphError(
                f"{recipe.folder.name}: {key} names {package}, which no recipe builds",
                hint=did_you_mean(package, providers) or "write a recipe for it, or remove it",
            )
    return sources


def _reach(start: set[SourceName], edges: Mapping[SourceName, set[SourceName]]) -> set[SourceName]:
    seen: set[SourceName] = set()
    stack = list(start)
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            stack.extend(edges[name])
    return seen
