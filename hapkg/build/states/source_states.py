"""The states of the sources of a run, and what follows from them for those that need each other.

Nothing here looks at all sources when one changes: it counts what the ones that need it still lack. So the work of a
whole run grows with the number of sources and of their needs, and with nothing else.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum

from hapkg.build.states.ranking import Ranking
from hapkg.control import SourceName


class SourceState(StrEnum):
    """The state of one source of a run."""

    WAITING = "waiting"
    """Some source that it needs is not compiled."""
    PREFETCHING = "prefetching"
    """It waits as well."""
    DUE = "due"
    """All that it needs is compiled. It waits for a place."""
    DECIDING = "deciding"
    PREPARING = "preparing"
    READY = "ready"
    """It could compile if there were place and memory."""
    COMPILING = "compiling"
    COMPILED = "compiled"
    """Others may use its packages from now on; its tests wait for a place."""
    TESTING = "testing"
    LINTING = "linting"
    HELD = "held"
    """It passed, and waits for the tests of what it was built on."""
    STORING = "storing"
    BUILT = "built"
    REUSED = "reused"
    FAILED = "failed"
    SKIPPED = "skipped"


WAITING = (SourceState.WAITING, SourceState.PREFETCHING, SourceState.DUE)
STARTING = (SourceState.DECIDING, SourceState.PREPARING)
PENDING = (*WAITING, SourceState.READY, SourceState.COMPILED, SourceState.HELD)
"""Nothing is done for it just now."""
_MADE = (SourceState.COMPILED, SourceState.TESTING, SourceState.LINTING, SourceState.HELD, SourceState.STORING)
_COMPILED = (*_MADE, SourceState.BUILT, SourceState.REUSED)
_BEGUN = (*STARTING, SourceState.READY, SourceState.COMPILING, *_MADE)
LOST = (SourceState.FAILED, SourceState.SKIPPED)


class SourceStates(Ranking[SourceState]):
    """The states of all sources, which move() changes."""

    def __init__(
        self,
        needs: Mapping[SourceName, Sequence[SourceName]],
        order: Iterable[SourceName],
        longest: Collection[SourceName],
        known: Collection[SourceName],
        guessed: Collection[SourceName],
    ) -> None:
        """longest is the longest chain, known are sources that were built before, guessed those to be prefetched."""
        super().__init__(order, SourceState.WAITING)
        self.chain = Ranking((name for name in self.order if name in longest), SourceState.WAITING)
        """The longest chain, apart as well."""
        self.culprits: dict[SourceName, SourceName] = {}
        """For sources that were skipped, the failed one."""
        self._needs, self._known = needs, known
        self._dependents: dict[SourceName, list[SourceName]] = {name: [] for name in self.order}
        for name in self.order:
            for need in needs[name]:
                self._dependents[need].append(name)
        self._lacking = {name: len(needs[name]) for name in self.order}
        """The number of its needs that are not compiled; of these,"""
        self._unknown = {name: sum(need not in known for need in needs[name]) for name in self.order}
        """those that were not built before either,"""
        self._aside = {name: sum(need not in longest for need in needs[name]) for name in self.chain}
        """and those outside of the longest chain."""
        self._untested = {name: len(needs[name]) + 1 for name in self.order}
        """The number of those among a source and its needs whose tests, or those of what they stand on, may fail."""
        self._doomed: set[SourceName] = set()
        """Sources that need one that was lost."""
        self._unguessed = set(guessed)
        self._guessable: list[int] = []
        """A heap of ranks, of those that can be prefetched if they wait."""
        self._arrived: set[SourceName] = set()
        for name in self.order:
            self._sort(name)

    def move(self, name: SourceName, state: SourceState) -> None:
        """Change the state of a source, and that of those that become due by it."""
        before, self[name] = self[name], state
        if name in self.chain:
            self.chain[name] = state
        if state in (SourceState.COMPILED, SourceState.HELD):
            self._arrived.add(name)
        elif state in LOST:
            self._doomed.update(self._dependents[name])
        elif state is SourceState.WAITING:
            self._sort(name)
        elif state is SourceState.REUSED:
            self._untested[name] = 1  # it stands on nothing of this run
            self.let_pass(name)
        if change := (state in _COMPILED) - (before in _COMPILED):
            self._count(name, change)

    def _count(self, name: SourceName, change: int) -> None:
        """Count a source as compiled, or not any more, for those that need it."""
        new, aside = name not in self._known, name not in self.chain
        for other in self._dependents[name]:
            self._lacking[other] -= change
            if aside and other in self.chain:
                self._aside[other] -= change
            if new:
                self._unknown[other] -= change
            if new or not self._lacking[other]:
                self._sort(other)

    def _sort(self, name: SourceName) -> None:
        """Make a source that waits due, or one that can be prefetched."""
        if self[name] is SourceState.WAITING:
            if not self._lacking[name]:
                self.move(name, SourceState.DUE)
            elif self._unknown[name] <= 1 and name in self._unguessed:
                heapq.heappush(self._guessable, self.rank[name])

    def let_pass(self, name: SourceName) -> None:
        """Count the tests of a source as passed."""
        passed = [name]
        while passed:
            one = passed.pop()
            self._untested[one] -= 1
            if not self._untested[one]:
                self._arrived.add(one)
                passed += self._dependents[one]

    def is_clear(self, name: SourceName) -> bool:
        """The tests of a source and of all that it was built on have passed."""
        return self._untested[name] <= 0

    def take_arrived(self) -> list[SourceName]:
        """Sources for which something may begin, or that are to wait, since this was asked last."""
        arrived, self._arrived = self._arrived, set()
        return self.sort(arrived)

    def take_doomed(self) -> list[SourceName]:
        """Sources that have not begun, and cannot be built any more, since this was asked last."""
        doomed, self._doomed = self._doomed, set()
        return self.sort(name for name in doomed if self[name] in WAITING)

    def take_guessable(self) -> SourceName | None:
        """The next source to prefetch, if none is: one that waits for at most one source that was never built.

        The more are known, the better a layer is guessed. None is given twice.
        """
        while self._guessable and not self.count(SourceState.PREFETCHING):
            name = self.order[heapq.heappop(self._guessable)]
            if name in self._unguessed and self[name] is SourceState.WAITING:
                self._unguessed.remove(name)
                return name
        return None

    def find_culprit(self, name: SourceName) -> SourceName | None:
        """The failed source for which this one cannot be built; None for one that others were only stopped for."""
        for need in self._needs[name]:
            if self[need] is SourceState.FAILED:
                return need
            if need in self.culprits:
                return self.culprits[need]
        return None

    def find_begun_on(self, failed: SourceName) -> list[SourceName]:
        """All that was begun on a source, and on that, and is not stored."""
        found: set[SourceName] = set()
        waiting = [*self._dependents[failed]]
        while waiting:
            one = waiting.pop()
            if one not in found and (self[one] in _BEGUN or self[one] in LOST):
                found.add(one)
                waiting += self._dependents[one]
        return self.sort(name for name in found if self[name] in _BEGUN)

    def is_kept_for_chain(self) -> bool:
        """The longest chain is not compiling, and waits for nothing else in order to."""
        following = next(self.chain.find(*WAITING, *STARTING, SourceState.READY), None)
        return following is not None and not self._aside[following] and not self.chain.count(SourceState.COMPILING)

    def holds_up(self, brief: Collection[SourceName]) -> bool:
        """A source that is not brief waits for one that is not compiled yet."""
        waiting = self.find(SourceState.WAITING, SourceState.PREFETCHING)
        return any(self._lacking[name] and name not in brief for name in waiting)
