"""The scheduler's rules as they are said: each is read off the states of all sources, again at every event.

Slow, and so plain that it can be believed: the real scheduler, which counts instead, must do nothing else.
"""

from __future__ import annotations

import time
from collections import UserDict
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

from hapkg.build.events import Outcome, Progress
from hapkg.build.scheduler import Scheduler, Work
from hapkg.build.states.source_states import SourceState
from hapkg.build.timings import WAIT
from hapkg.control import SourceName

WAITING = {SourceState.WAITING, SourceState.PREFETCHING}
STARTING = {SourceState.DECIDING, SourceState.PREPARING}
STORED = {SourceState.BUILT, SourceState.REUSED}
LOST = {SourceState.FAILED, SourceState.SKIPPED}
NOT_COMPILED = {*WAITING, *STARTING, SourceState.READY, SourceState.COMPILING}
COMPILED = {*SourceState} - NOT_COMPILED - LOST - {SourceState.DUE}
BEGUN = {*SourceState} - WAITING - LOST - STORED


class PlainStates(UserDict[SourceName, SourceState]):
    """The state of each source, and nothing that follows from it."""

    def __init__(self, work: Work) -> None:
        super().__init__(dict.fromkeys(work.order, SourceState.WAITING))
        self.work = work
        self.passed: set[SourceName] = set()
        """Sources whose own tests have passed."""
        self.culprits: dict[SourceName, SourceName] = {}

    def move(self, name: SourceName, state: SourceState) -> None:
        self[name] = state

    def let_pass(self, name: SourceName) -> None:
        self.passed.add(name)

    def find(self, states: Collection[SourceState]) -> list[SourceName]:
        """The sources in one of these states, the longest way first."""
        return [name for name in self.work.order if self[name] in states]

    def count(self, *states: SourceState) -> int:
        return len(self.find(states))

    def holds_up(self, brief: Collection[SourceName]) -> bool:
        left = set(self.find(NOT_COMPILED))
        return any(not left.isdisjoint(self.work.needs[name]) for name in left.difference(brief))


class PlainScheduler(Scheduler[Any, Any, Any]):
    """A scheduler of plain states, with stages as they are."""

    def __init__(self, work: Work, *arguments: Any, **options: Any) -> None:
        super().__init__(work, *arguments, **options)
        self.plain = PlainStates(work)
        self.states = self.plain  # type: ignore[assignment]
        self.told: dict[SourceName, SourceState] = {}
        """The state in which a source was told to wait last."""

    def _skip(self) -> Iterator[Outcome]:
        while gone := [name for name in self.plain.find(WAITING) if self.stopping or self._is_doomed(name)]:
            for name in gone:
                yield self._end_skipped(name, self._find_culprit(name))
        for name in self.plain.find({SourceState.READY}) if self.stopping else ():
            yield self._end_skipped(name, None)

    def _is_doomed(self, name: SourceName) -> bool:
        return any(self.plain[need] in LOST for need in self.work.needs[name])

    def _find_culprit(self, name: SourceName) -> SourceName | None:
        blamed = [self.plain.culprits.get(need, need) for need in self.work.needs[name] if self.plain[need] in LOST]
        return next((one for one in blamed if self.plain[one] is SourceState.FAILED), None)

    def _take_back(self, failed: SourceName) -> Iterator[Outcome]:
        for name in self.plain.find(BEGUN):
            if failed in self._find_ground(name):
                yield self._end_skipped(name, failed)
                self.stages.cancel(name)

    def _find_ground(self, name: SourceName) -> set[SourceName]:
        """The source, and all that it was built on and that is not stored yet."""
        if self.plain[name] in STORED:
            return set()
        return {name}.union(*(self._find_ground(need) for need in self.work.needs[name]))

    def _start(self) -> Iterator[Progress]:
        for name in self.plain.find({SourceState.WAITING}):
            if all(self.plain[need] in COMPILED for need in self.work.needs[name]):
                if self.plain.count(*STARTING) < self.jobs:
                    self.started[name] = time.monotonic()
                    stage = partial(self.stages.decide, name, self._find_builds(name))
                    self._submit(name, SourceState.DECIDING, stage)
            elif self._may_prefetch(name):
                own = partial(self.stages.prefetch, name, self._find_builds(name), self._find_nice(name))
                self._submit(name, SourceState.PREFETCHING, own)
        for name in self.plain.find({SourceState.COMPILED}):
            if self.plain.count(SourceState.TESTING) < self.jobs:
                self._submit(name, SourceState.TESTING, partial(self.stages.test, name, self.made[name]))
        ready = self.plain.find({SourceState.READY})
        ready.sort(key=lambda name: name not in self.work.longest)
        while ready and self._has_place(ready[0]) and self._has_memory(ready[0]):
            name = ready.pop(0)
            compiling = partial(self.stages.compile, name, self.prepared.pop(name), self._find_nice(name))
            self._submit(name, SourceState.COMPILING, compiling)
        for name in self.plain.find({SourceState.HELD}):
            if self._find_ground(name) <= self.plain.passed:
                self._submit(name, SourceState.STORING, partial(self.stages.store, name, self.made.pop(name)))
        for name in self.plain.find({SourceState.COMPILED, SourceState.HELD}):
            if self.told.get(name) is not self.plain[name]:
                self.told[name] = self.plain[name]
                yield Progress(source=name, phase=WAIT)

    def _may_prefetch(self, name: SourceName) -> bool:
        """All but one of its needs were built before or just now."""
        if name not in self.work.prefetch or name in self.fetched or self.plain.count(SourceState.PREFETCHING):
            return False
        needs = [need for need in self.work.needs[name] if need not in self.work.known]
        return sum(self.plain[need] not in COMPILED for need in needs) <= 1

    def _has_place(self, name: SourceName) -> bool:
        compiling = self.plain.find({SourceState.COMPILING})
        waiting = self.plain.find({*WAITING, *STARTING, SourceState.READY})
        chain = [other for other in waiting if other in self.work.longest]
        places = self.jobs
        if chain and name not in self.work.longest and self.work.longest.isdisjoint(compiling):
            needs = self.work.needs[chain[0]]
            if all(self.plain[need] in COMPILED or need in self.work.longest for need in needs):
                places = max(1, self.jobs - 1)
        return len(compiling) < places

    def _has_memory(self, name: SourceName) -> bool:
        at_work = self.plain.find({SourceState.COMPILING, SourceState.TESTING})
        promised = sum(max(0, self._expect(other) - self.read_held(other)) for other in at_work)
        return not at_work or self._expect(name) <= self.read_available() - promised
