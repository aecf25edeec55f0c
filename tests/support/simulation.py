"""The real scheduler in simulated time: stages take the seconds that were recorded, and no second passes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from hapkg.build.events import Progress
from hapkg.build.failures import Failure
from hapkg.build.plan import Action, Step
from hapkg.build.priority import Measured, find_longest, measure_paths
from hapkg.build.scheduler import Done, Scheduler, Stages, Work
from hapkg.build.store import Artifact
from hapkg.control import SourceName, Suite
from hapkg.errors import HapkgError
from hapkg.recipe.graph import Graph, make_graph
from tests.support.samples import make_node, make_nodes


@dataclass(frozen=True)
class Times:
    """Seconds of one source, and what it needs."""

    needs: str
    """Words."""
    prepare: float
    compile: float
    test: float
    lint: float


@dataclass(frozen=True)
class Packages:
    """The value that compile gives."""

    artifact: Artifact


class Clock(SimpleQueue[Progress | Done]):
    """The queue of events: whoever waits for the next one moves the time to it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds = 0.0
        """Duration of the stage that was called last."""
        self._ends: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def take(self, seconds: float) -> None:
        """Called by a stage."""
        self.seconds = seconds

    def schedule(self, act: Callable[[], None]) -> None:
        """Make something happen when the stage ends."""
        self._number += 1
        heapq.heappush(self._ends, (self.now + self.seconds, self._number, act))

    def get(self, block: bool = True, timeout: float | None = None) -> Progress | Done:
        """The next event."""
        while self.empty():
            self.now, _, act = heapq.heappop(self._ends)
            act()
        return super().get(block, timeout)


class Workers(Executor):
    """As many workers as are wanted."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def submit(self, stage: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """Do a stage now; its end, or its failure, comes when its seconds have passed."""
        future: Future[Any] = Future()
        self.clock.take(0.0)
        try:
            result = stage(*arguments, **options)
        except HapkgError as error:
            self.clock.schedule(partial(future.set_exception, error))
        else:
            self.clock.schedule(partial(future.set_result, result))
        return future


def make_graph_of(sources: Mapping[str, Times]) -> Graph:
    """The graph of such sources, as recipes that need each other give it."""
    nodes = (make_node(name, times.needs.split()) for name, times in sources.items())
    return make_graph(make_nodes(*nodes), package_prefix="ha-")


def simulate(
    sources: Mapping[str, Times], *, jobs: int, beside: bool = True, graph: Graph | None = None, first: bool = False
) -> float:
    """Seconds until all is stored. With beside, others use packages whose tests run; else after them.

    graph is that of make_graph_of(), for who simulates the same sources more than once. In a first run no times are
    known beforehand.
    """
    clock = Clock()
    names = {SourceName(name): times for name, times in sources.items()}
    ahead = {name: times.prepare + times.compile + (0.0 if beside else times.test) for name, times in names.items()}
    behind = {name: times.lint + (times.test if beside else 0.0) for name, times in names.items()}
    measured = {name: Measured(seconds=ahead[name], afterwards=behind[name]) for name in names}
    graph = graph or make_graph_of(sources)
    rest = measure_paths(graph, names, {} if first else measured)

    def decide(name: SourceName, _: object) -> Step:
        return Step(source=name, action=Action.BUILD, reason="new", version="1", key="k", inputs={})

    def compile(name: SourceName, _: object, __: int) -> Packages:
        clock.take(ahead[name] - names[name].prepare)
        return Packages(make_artifact(name))

    def describe(name: SourceName, step: Step | None, cause: HapkgError | OSError) -> Failure:
        raise cause

    stages = Stages[None, None, Packages](
        prefetch=lambda *_: None,
        decide=decide,
        prepare=lambda name, *_: clock.take(names[name].prepare),
        compile=compile,
        test=lambda name, *_: clock.take(names[name].test),
        lint=lambda name, *_: clock.take(names[name].lint),
        store=lambda name, _: make_artifact(name),
        cancel=lambda name: None,
        describe=describe,
    )
    work = Work(
        needs=graph.needs,
        order=sorted(rest, key=lambda name: (-rest[name], name)),
        longest=frozenset(find_longest(graph, rest)),
        tested=frozenset(name for name in names if beside and names[name].test),
    )
    for _ in Scheduler(work, stages, clock, Workers(clock), jobs=jobs, read_available=lambda: 1 << 50).run():
        pass
    return clock.now


def make_artifact(name: SourceName, folder: str = "/nowhere") -> Artifact:
    """A build that nobody made."""
    return Artifact(
        key="key",
        source=name,
        version="1",
        suite=Suite("bookworm"),
        architecture="amd64",
        inputs={},
        origin="a simulation",
        files={},
        seconds={},
        folder=Path(folder),
    )
