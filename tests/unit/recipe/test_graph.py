"""Which recipe needs which: derived edges, the order, and what cannot be ordered."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hapkg.control import BinaryName, SourceName
from hapkg.errors import GraphError
from hapkg.recipe.graph import Graph, find_blocked, make_graph
from hapkg.recipe.model import Recipe
from tests.support.samples import AUTOTOOLS, META, PACKAGE, change, make_node, make_nodes, make_recipe_from

Edges = dict[int, set[int]]


def make(*recipes: Recipe) -> Graph:
    return make_graph(make_nodes(*recipes), package_prefix="ha-")


def needs(graph: Graph) -> dict[str, tuple[str, ...]]:
    return {str(name): tuple(map(str, graph.needs[name])) for name in graph.order}


def refuse(*recipes: Recipe) -> tuple[str, str]:
    """The error's sentence and its hint."""
    with pytest.raises(GraphError) as caught:
        make(*recipes)
    assert caught.value.exit_code == 5
    return caught.value.brief, caught.value.hint


def split(name: str, build: Sequence[str] = (), **run: Sequence[str]) -> Recipe:
    """A recipe of several binary packages: NAME-KEY depends on the relations given for KEY; KEY doc is for all."""
    packages = [
        {
            **PACKAGE,
            "package": f"{name}-{key}" if key != "own" else name,
            "depends": list(relations),
            "architecture": "all" if key == "doc" else "any",
        }
        for key, relations in run.items()
    ]
    return make_recipe_from({**AUTOTOOLS, "source": name, "build-depends": list(build), "packages": packages})


def test_what_needs_a_package_that_nobody_builds_is_blocked_with_all_that_needs_it() -> None:
    nodes = make_nodes(
        make_node("ha-a"),
        make_node("ha-b", build=["ha-gone-dev", "zlib1g-dev"]),
        split("ha-c", ["ha-a"], own=["ha-b (= 1)"]),
        make_node("ha-d", build=["ha-c"]),
    )
    assert find_blocked(nodes, package_prefix="ha-") == {
        "ha-b": "needs ha-gone-dev, which no other recipe builds",
        "ha-c": "needs ha-b, which no other recipe builds",
        "ha-d": "needs ha-c, which no other recipe builds",
    }
    assert find_blocked({name: nodes[name] for name in nodes if name == "ha-a"}, package_prefix="ha-") == {}


def test_an_edge_is_a_build_dependency_that_another_recipe_builds() -> None:
    graph = make(
        make_node("ha-c", build=["ha-b", "zlib1g-dev"]),
        make_node("ha-b", build=["ha-a (>= 1) | a-dev"]),
        make_node("ha-a"),
    )
    assert graph.order == ("ha-a", "ha-b", "ha-c")
    assert needs(graph) == {"ha-a": (), "ha-b": ("ha-a",), "ha-c": ("ha-a", "ha-b")}
    assert graph.providers == {name: name for name in ("ha-a", "ha-b", "ha-c")}


def test_a_package_leads_to_the_recipe_that_builds_it() -> None:
    graph = make(make_node("ha-b", build=["ha-a-dev"]), split("ha-a", own=[], dev=["ha-a (= ${binary:Version})"]))
    assert needs(graph) == {"ha-a": (), "ha-b": ("ha-a",)}
    assert graph.providers == {"ha-b": "ha-b", "ha-a": "ha-a", "ha-a-dev": "ha-a"}


def test_the_order_is_the_same_whatever_order_recipes_come_in() -> None:
    recipes = [
        make_node("ha-a"),
        make_node("ha-c", build=["ha-a"]),
        make_node("ha-b", build=["ha-a"]),
        make_node("ha-d"),
    ]
    assert make(*recipes) == make(*reversed(recipes))


def test_a_build_waits_for_what_its_dependencies_need_at_run_time() -> None:
    graph = make(make_node("ha-c", build=["ha-b"]), make_node("ha-b", run=["ha-a"]), make_node("ha-a"))
    assert needs(graph) == {"ha-a": (), "ha-b": (), "ha-c": ("ha-a", "ha-b")}


def test_a_build_waits_for_what_its_dependencies_were_linked_with() -> None:
    graph = make(make_node("ha-c", build=["ha-b"]), make_node("ha-b", build=["ha-a"]), make_node("ha-a"))
    assert graph.needs[SourceName("ha-c")] == ("ha-a", "ha-b")


def test_a_package_for_all_architectures_is_linked_with_nothing() -> None:
    graph = make(make_node("ha-c", build=["ha-b-doc"]), split("ha-b", ["ha-a"], doc=[]), make_node("ha-a"))
    assert graph.needs[SourceName("ha-c")] == ("ha-b",)
    assert graph.order == ("ha-a", "ha-b", "ha-c")


def test_packages_that_need_each_other_at_run_time_are_no_cycle() -> None:
    graph = make(make_node("ha-a", run=["ha-b"]), make_node("ha-b", run=["ha-a"]), make_node("ha-c", build=["ha-a"]))
    assert needs(graph) == {"ha-a": (), "ha-b": (), "ha-c": ("ha-a", "ha-b")}


def test_only_the_packages_a_build_installs_count() -> None:
    plugin = split("ha-b", own=[], plugin=["ha-a"])
    graph = make(plugin, make_node("ha-a", build=["ha-b"]))
    assert needs(graph) == {"ha-b": (), "ha-a": ("ha-b",)}


def test_a_meta_recipe_comes_after_its_stack() -> None:
    stack = make_recipe_from(
        change(
            {**META, "source": "ha-stack"},
            "packages.0",
            {**PACKAGE, "package": "ha-stack", "architecture": "all", "stack": ["ha-b"]},
        )
    )
    graph = make(stack, make_node("ha-b", build=["ha-a"]), make_node("ha-a"), make_node("ha-c", build=["ha-stack"]))
    assert needs(graph) == {
        "ha-a": (),
        "ha-b": ("ha-a",),
        "ha-stack": ("ha-a", "ha-b"),
        "ha-c": ("ha-a", "ha-b", "ha-stack"),
    }


def test_the_closure_is_what_the_named_sources_need_in_build_order() -> None:
    graph = make(
        make_node("ha-a"),
        make_node("ha-b", build=["ha-a"]),
        make_node("ha-c", build=["ha-b"]),
        make_node("ha-d", build=["ha-a"]),
    )
    assert graph.closure([SourceName("ha-c")]) == ("ha-a", "ha-b", "ha-c")
    assert graph.closure([SourceName("ha-d"), SourceName("ha-a")]) == ("ha-a", "ha-d")
    assert graph.closure([]) == ()


def test_a_cycle_names_every_package_in_it() -> None:
    hint = "break the cycle: remove one of these dependencies"
    two = make_node("ha-a", build=["ha-b"]), make_node("ha-b", build=["ha-a"])
    assert refuse(*two) == ("these recipes need each other: ha-a → ha-b → ha-a", hint)
    three = make_node("ha-a", build=["ha-b"]), make_node("ha-b", build=["ha-c"]), make_node("ha-c", build=["ha-a"])
    assert refuse(make_node("ha-0"), *three) == ("these recipes need each other: ha-a → ha-b → ha-c → ha-a", hint)


def test_a_cycle_through_run_time_needs_names_every_package_in_it() -> None:
    recipes = make_node("ha-a", build=["ha-b"]), make_node("ha-b", run=["ha-c"]), make_node("ha-c", run=["ha-a"])
    assert refuse(*recipes)[0] == "these recipes need each other: ha-a → ha-b → ha-c → ha-a"


def test_a_cycle_of_packages_that_link_nothing_is_found() -> None:
    recipes = split("ha-a", ["ha-b-doc"], doc=[]), split("ha-b", ["ha-a-doc"], doc=[])
    assert refuse(*recipes)[0] in (
        "these recipes need each other: ha-a → ha-b → ha-a",
        "these recipes need each other: ha-b → ha-a → ha-b",
    )


def test_a_recipe_cannot_need_its_own_package() -> None:
    assert refuse(split("ha-a", ["ha-a-dev"], dev=[])) == (
        "recipe ha-a needs its own package to build",
        "remove it from build-depends, or split the recipe",
    )


def test_a_dependency_nobody_builds_gets_a_guess() -> None:
    libqb = make_node("ha-libqb")
    assert refuse(libqb, make_node("ha-x", build=["ha-libqp"])) == (
        "ha-x: the build needs ha-libqp, which no recipe builds",
        "did you mean ha-libqb?",
    )
    assert refuse(libqb, make_node("ha-x", run=["ha-qqqqqq"])) == (
        "ha-x: depends of ha-x needs ha-qqqqqq, which no recipe builds",
        "write a recipe for it, or remove it",
    )


def test_two_recipes_cannot_build_the_same_package() -> None:
    other = make_recipe_from(change({**AUTOTOOLS, "source": "ha-b"}, "packages.0.package", "ha-a"))
    assert refuse(make_node("ha-a"), other) == (
        "package ha-a is built by two recipes: ha-a and ha-b",
        "rename it in one of them",
    )


def label(number: int) -> str:
    return f"ha-{number:02}"


def make_random(build: Edges, run: Edges) -> Graph:
    nodes = [
        make_node(label(node), build=sorted(map(label, build[node])), run=sorted(map(label, run[node])))
        for node in build
    ]
    return make(*nodes)


def reach(start: set[int], *tables: Edges) -> set[int]:
    """All nodes that can be reached, found by walking until nothing new is found."""
    found = set(start)
    while True:
        more = found | {other for node in found for table in tables for other in table[node]}
        if more == found:
            return found
        found = more


@st.composite
def downward_edges(draw: st.DrawFn) -> tuple[Edges, Edges]:
    """Build and run-time needs that lead to smaller numbers alone."""
    size = draw(st.integers(1, 12))
    tables: list[Edges] = [{}, {}]
    for node in range(size):
        for table in tables:
            table[node] = draw(st.sets(st.integers(0, node - 1), max_size=3)) if node else set()
    return tables[0], tables[1]


@settings(max_examples=60)
@given(downward_edges())
def test_each_source_comes_after_everything_it_needs(tables: tuple[Edges, Edges]) -> None:
    build, run = tables
    graph = make_random(build, run)
    rank = {name: index for index, name in enumerate(graph.order)}
    assert sorted(graph.order) == sorted(map(label, build))
    for node in build:
        name = SourceName(label(node))
        expected = {SourceName(label(other)) for other in reach(build[node], build, run)}
        assert graph.needs[name] == tuple(sorted(expected, key=rank.__getitem__))
        assert all(rank[other] < rank[name] for other in expected)
        assert graph.closure([name]) == (*graph.needs[name], name)


@settings(max_examples=60)
@given(downward_edges(), st.data())
def test_a_way_back_up_is_refused_by_a_chain_that_is_really_there(
    tables: tuple[Edges, Edges], data: st.DataObject
) -> None:
    build, run = tables
    top = data.draw(st.integers(0, max(build)), label="top")
    below = sorted(reach(build[top], build, run))
    if not below:
        return
    bottom = data.draw(st.sampled_from(below), label="bottom")
    build[bottom].add(top)
    with pytest.raises(GraphError) as caught:
        make_random(build, run)
    chain = [int(name.removeprefix("ha-")) for name in caught.value.brief.partition(": ")[2].split(" → ")]
    assert chain[0] == chain[-1]
    assert len(chain) > 2
    assert all(other in build[node] | run[node] for node, other in pairwise(chain))


def test_ten_thousand_recipes_are_ordered() -> None:
    count = 10_000
    template = make_node("ha-0")
    package = template.packages[0]
    recipes: dict[SourceName, Recipe] = {}
    for number in range(count):
        name = SourceName(f"ha-{number}")
        update = {
            "source": name,
            "build_depends": (f"ha-{number // 2}",) if number > 1 else (),
            "packages": (package.model_copy(update={"package": name}),),
        }
        recipes[name] = template.model_copy(update=update)
    graph = make_graph(recipes, package_prefix="ha-")
    assert len(graph.order) == count
    assert sum(map(len, graph.needs.values())) == sum(number.bit_length() - 1 for number in range(1, count))
    assert graph.needs[SourceName("ha-9999")] == tuple(
        f"ha-{9999 >> shift}" for shift in range((9999).bit_length() - 1, 0, -1)
    )
    assert graph.providers[BinaryName("ha-77")] == SourceName("ha-77")
