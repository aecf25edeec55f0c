"""Parts of a plan as recipes and builds grow: seconds of the processor, on made recipes and a made store.

    .venv/bin/python benchmarks/growth.py [--sources 100 1000 10000] [--folder DIR]

The recipes need each other as in scale.py's wide graph. The store has one build of each, described in as many bytes as
a real one (7.7 kB); they are made in a temporary folder, below --folder where that is given, and removed.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))

from scale import make_sources
from tables import keep, make_table

from hapkg.build.planner import group_builds
from hapkg.build.priority import find_longest, measure_paths
from hapkg.build.store import Store
from hapkg.control import SourceName, Suite
from hapkg.disk import measure_tree
from hapkg.recipe.graph import make_graph
from hapkg.records import format_record
from tests.support.samples import make_node, make_nodes
from tests.support.simulation import Times, make_artifact

Value = TypeVar("Value")


def main() -> None:
    """Measure them all; print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    columns = [measure(number, options.folder) for number in options.sources]
    rows = [(what, *(tell(column[what]) for column in columns)) for what in columns[0]]
    keep("growth", make_table(("", *(f"{number:,} sources" for number in options.sources)), rows))


def measure(number: int, folder: Path | None) -> dict[str, float]:
    """Seconds of each part."""
    found: dict[str, float] = {}

    def take(what: str, act: Callable[[], Value]) -> Value:
        begun = time.process_time()
        value = act()
        found[what] = time.process_time() - begun
        return value

    sources = make_sources(number, [Times("", 5, 50, 20, 7)], random.Random(1), number)
    recipes = make_nodes(*(make_node(name, times.needs.split()) for name, times in sources.items()))
    graph = take("graph of the recipes", lambda: make_graph(recipes, package_prefix="ha-"))
    take("closure of all targets", lambda: graph.closure(graph.order))
    rest = take("ways behind each source", lambda: measure_paths(graph, graph.order, {}))
    take("longest chain", lambda: find_longest(graph, rest))
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = Store(root=Path(place), suite="bookworm")
        fill(store, list(recipes))
        builds = take("builds of the store, listed", store.list_builds)
        assert len(builds) == number
        take("the same, by source", lambda: group_builds(builds, Suite("bookworm")))
        take("all of them marked as used", lambda: collections.deque(map(store.touch, builds), maxlen=0))
        take("the state folder, measured", lambda: measure_tree(store.root))
    return found


def fill(store: Store, names: list[SourceName]) -> None:
    """One build of each."""
    for name in names:
        key = f"{name}-key"
        build = replace(make_artifact(name), key=key, inputs={"padding": "x" * 7000})
        table = asdict(build)
        del table["folder"]
        (store.state.builds / key).mkdir(parents=True)
        (store.state.builds / key / "artifact.json").write_bytes(format_record(table))


def tell(seconds: float) -> str:
    """Seconds, or milliseconds of few."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


if __name__ == "__main__":
    main()
