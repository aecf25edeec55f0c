"""Planning many recipes: the graph, every key, every reason, and who goes first.

    .venv/bin/python benchmarks/plan.py [--runs 3]

The recipes are the stack's own, copied again and again under other names; each copy needs what the real ones need
within its copy. Half of the sources are built already, the others changed. Reading recipes from the disk and rendering
debian/ are timed apart: they are the same work for every recipe, and no planning. Seconds are the processor's: planning
is one thread that waits for nothing, and a machine with other work would make it look slow and uneven.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from tables import keep, make_table

from hapkg.build.plan import Action, decide, make_inputs, make_key
from hapkg.build.priority import measure_paths
from hapkg.build.store import Artifact
from hapkg.control import BinaryName, SourceName, Suite
from hapkg.recipe.collection import read_recipes
from hapkg.recipe.debian_folder import DebianFolder
from hapkg.recipe.graph import make_graph
from hapkg.recipe.model import Recipe
from hapkg.recipe.settings import find_project

SUITE = Suite("bookworm")


def copy_recipes(originals: dict[SourceName, Recipe], count: int) -> dict[SourceName, Recipe]:
    """So many recipes in copies of the stack, each complete in itself."""
    names = {package.package for recipe in originals.values() for package in recipe.packages}
    made: dict[SourceName, Recipe] = {}

    def rename(word: str, number: int) -> str:
        name, blank, rest = word.partition(" ")
        return f"{name}-c{number}{blank}{rest}" if name in names else word

    number = 0
    while len(made) < count:
        number += 1
        for recipe in originals.values():
            packages = tuple(
                package.model_copy(
                    update={
                        "package": f"{package.package}-c{number}",
                        "depends": tuple(rename(word, number) for word in package.depends),
                        "stack": tuple(rename(word, number) for word in package.stack),
                        "pre_depends": (),
                    }
                )
                for package in recipe.packages
            )
            source = f"{recipe.source}-c{number}"
            depends = tuple(rename(word, number) for word in recipe.build_depends)
            made[SourceName(source)] = recipe.model_copy(
                update={"source": source, "packages": packages, "build_depends": depends}
            )
    return made


def plan(recipes: dict[SourceName, Recipe], built: dict[SourceName, list[Artifact]]) -> list[Action]:
    """Decisions of a run before it does anything."""
    graph = make_graph(recipes, package_prefix="ha-")
    actions = []
    for name in graph.closure(recipes):
        recipe = recipes[name]
        stack = {BinaryName(need): "0" * 64 for need in recipe.needs if need in graph.providers}
        inputs = make_inputs(
            recipe,
            DebianFolder(files={"control": name.encode(), "rules": b"#!/usr/bin/make -f\n"}),
            suite=SUITE,
            architecture="amd64",
            chroot_digest="c" * 64,
            depends={},
            stack=stack,
        )
        step = decide(recipe, inputs, suite=SUITE, release="12", builds=built.get(name, ()), published=())
        actions.append(step.action)
        if name not in built:
            built[name] = [make_build(name, recipe, inputs, changed=len(built) % 2 == 1)]
    measure_paths(graph, recipes, {})
    return actions


def make_build(name: SourceName, recipe: Recipe, inputs: dict[str, object], *, changed: bool) -> Artifact:
    """A finished build of a source, with the same inputs or with others."""
    inputs = {**inputs, "upstream": "0.9"} if changed else inputs
    return Artifact(
        key=make_key(inputs),
        source=name,
        version=f"{recipe.version}-1+ha12.1",
        suite=SUITE,
        architecture="amd64",
        inputs=inputs,
        origin="a benchmark",
        files={},
        seconds={},
        folder=Path("/nowhere"),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    originals = read_recipes(find_project(Path(__file__).parent))
    rows = []
    first = 0.0
    for count in (1000, 3000, 10000):
        recipes = copy_recipes(originals, count)
        built: dict[SourceName, list[Artifact]] = {}
        plan(recipes, built)
        figures = []
        for _ in range(options.runs):
            begun = time.process_time()
            actions = plan(recipes, built)
            figures.append(time.process_time() - begun)
        median = statistics.median(figures)
        first = first or median / count
        share = actions.count(Action.REUSE) / len(actions)
        rows.append((f"{len(recipes)}", f"{median:.2f} s", f"{median / count / first:.2f}", f"{share:.0%}"))
    keep("plan", make_table(("recipes", "plan", "per recipe ÷ that of 1,000", "reused"), rows))


if __name__ == "__main__":
    main()
