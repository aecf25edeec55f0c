"""The run that plans, on the machine of its user: sources are packed here, and built where Dask sends them."""

from __future__ import annotations

import contextlib
import pickle
import queue
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distributed.scheduler import KilledWorker
from distributed.security import Security

from hapkg.build import job
from hapkg.build.failures import classify
from hapkg.build.job import Compiled, Fetched, Job, Prepared
from hapkg.build.plan import Step
from hapkg.build.priority import UNKNOWN_BYTES
from hapkg.build.scheduler import Stages, Work
from hapkg.build.store import Artifact
from hapkg.cache.entry import CachedFile
from hapkg.cache.files import bring_files
from hapkg.cache.place import find_writable
from hapkg.control import SourceName
from hapkg.errors import HapkgError, IntegrityError, MachineError
from hapkg.farm.client import open_client, reached
from hapkg.farm.order import COMPILED, LOG, PHASE, TESTED, Order, Reply
from hapkg.farm.order_maker import OrderMaker
from hapkg.farm.worker import MEMORY, build, name_places
from hapkg.host import read_architecture
from hapkg.programs.process import check_stop

ATTEMPTS = 3
"""Machines that a source is given to, one after another, where the machine is at fault each time."""
_LOOK_SECONDS = 0.5
_LOOK_AGAIN_SECONDS = 10.0
_ALONE_SECONDS = 300
"""How long there may be no worker at all before a source fails."""
_FEWEST_OUT = 16
"""Orders that are out at least, if there are so many: workers that come later find some."""
_DONE = "done"
"""The last news of an order: Dask's future."""
_RESOURCE = name_places(read_architecture())


@dataclass(kw_only=True)
class _Sent:
    """An order that is out, and its news."""

    order: Order
    key: str
    future: Any = None
    news: queue.SimpleQueue[tuple[str, Any]] = field(default_factory=queue.SimpleQueue)
    allowed: frozenset[str] = frozenset()
    """Addresses of the workers that may take it; none: all."""
    looked: float = 0.0
    """When somebody was last seen who may take it, on the monotonic clock."""
    compiled: tuple[Artifact, Mapping[str, CachedFile]] | None = None
    attempts: int = 1
    reply: Reply | None = None


class DaskFarm:
    """The workers of one scheduler, as a run sees them."""

    def __init__(self, client: Any, place: str, base: Path) -> None:
        """place is the build cache that files travel through; a relative folder is below base.

        Raises MachineError where no worker builds for this machine's architecture.
        """
        self._client = client
        self._depot = find_writable(place, base)
        self._topic = f"hapkg-{uuid.uuid4().hex[:12]}"
        self._maker = OrderMaker(self._depot, place, topic=self._topic, scheduler=client.scheduler.address)
        self._sent: dict[SourceName, _Sent] = {}
        self._boxes: dict[str, queue.SimpleQueue[tuple[str, Any]]] = {}
        """Where news of an order go, by Dask's key."""
        self._finished: dict[SourceName, Mapping[SourceName, Artifact]] = {}
        self._shunned: set[str] = set()
        """Addresses of workers at which a fault of the machine was found."""
        self._seen = 0.0
        """When a worker was seen last, on the monotonic clock."""
        self._jobs: Mapping[SourceName, Job] = {}
        self._ranks: Mapping[SourceName, int] = {}
        self._memory: Mapping[SourceName, int] = {}
        if not self._find_workers():
            raise MachineError(
                f"no worker of {client.scheduler.address} builds on {read_architecture()}",
                hint=f"start one: hapkg worker --scheduler {client.scheduler.address}",
            )
        client.subscribe_topic(self._topic, self._hear)

    @property
    def places(self) -> int:
        """See run.Farm: more than can compile, so that no worker waits for its next order to be packed."""
        slots = sum(int(worker["resources"][_RESOURCE]) for worker in self._find_workers().values())
        return max(_FEWEST_OUT, slots)

    def send_out(
        self, jobs: Mapping[SourceName, Job], work: Work, stages: Stages[Fetched, Prepared, Compiled]
    ) -> Stages[Fetched, Prepared, Compiled]:
        """See run.Farm."""
        self._jobs, self._memory = jobs, work.memory
        self._ranks = {name: rank for rank, name in enumerate(work.order)}
        return replace(
            stages,
            prefetch=lambda name, compiled, nice: None,
            prepare=self._prepare,
            compile=lambda name, prepared, nice: self._compile(name, prepared),
            test=lambda name, compiled: self._follow(self._sent[name], TESTED),
            lint=lambda name, compiled, nice: self._follow(self._sent[name], ""),
            store=self._store,
            cancel=self._cancel_source,
        )

    def close(self) -> None:
        """Give all back that is out: workers end what they are at."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            self._client.unsubscribe_topic(self._topic)
        self._cancel(*self._sent.values())

    def _find_workers(self) -> dict[str, Any]:
        """Workers that build on this machine's architecture, by address, without those that are at fault."""
        with reached(self._client):
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
        return {
            address: worker
            for address, worker in workers.items()
            if worker["resources"].get(_RESOURCE) and address not in self._shunned
        }

    def _prepare(
        self,
        name: SourceName,
        step: Step,
        finished: Mapping[SourceName, Artifact],
        fetched: Fetched | None,
        nice: int,
    ) -> Prepared:
        self._finished[name] = finished
        return job.pack(self._jobs[name], step, finished, fetched, nice)

    def _compile(self, name: SourceName, prepared: Prepared) -> Compiled:
        one = self._jobs[name]
        order = self._maker.make(one, prepared, self._finished.pop(name))
        sent = self._sent[name] = _Sent(order=order, key=f"{self._topic}-{name}")
        self._send(sent)
        if one.cancelled.is_set():  # meanwhile
            self._cancel(sent)
        self._follow(sent, COMPILED)
        if sent.compiled is None:
            raise ValueError(f"{name} has no packages")
        artifact, files = sent.compiled
        self._maker.note(files.values())
        return Compiled(task=prepared.task, artifact=artifact, session=None)

    def _send(self, sent: _Sent) -> None:
        """Hand an order out, the longest way first, to a worker that has the memory."""
        workers, order = self._find_workers(), sent.order
        most = max((int(worker["resources"].get(MEMORY, 0)) for worker in workers.values()), default=0)
        memory = min(self._memory.get(order.source, UNKNOWN_BYTES), most)
        key = f"{sent.key}-{sent.attempts}"
        news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        sent.news = self._boxes[key] = news
        sent.allowed, sent.looked = frozenset(workers if self._shunned else ()), time.monotonic()
        with reached(self._client):
            sent.future = self._client.submit(
                build,
                order,
                key=key,
                pure=False,
                resources={_RESOURCE: 1, MEMORY: memory},
                priority=-self._ranks.get(order.source, 0),
                workers=sorted(sent.allowed) or None,
            )
            sent.future.add_done_callback(lambda future: news.put((_DONE, future)))

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """Pass a piece of news on to who waits for it. Called by Dask's thread."""
        _, told = event
        if told["key"] in self._boxes:
            self._boxes[told["key"]].put((told["kind"], told["content"]))

    def _look(self, sent: _Sent) -> None:
        """See whether anybody may take an order: a worker that was started again has another address.

        Raises MachineError where there was nobody for long.
        """
        now = time.monotonic()
        if now - sent.looked < _LOOK_AGAIN_SECONDS or now - self._seen < _LOOK_AGAIN_SECONDS:
            return
        workers = self._find_workers()
        if workers:
            self._seen = now
            if sent.allowed and sent.allowed.isdisjoint(workers):
                self._cancel(sent)
                sent.attempts += 1
                self._send(sent)
        elif now - max(sent.looked, self._seen) > _ALONE_SECONDS:
            raise MachineError(
                f"{sent.order.source}: no worker was there for {_ALONE_SECONDS // 60} minutes",
                hint=f"start one: hapkg worker --scheduler {self._client.scheduler.address}",
            )

    def _follow(self, sent: _Sent, until: str) -> None:
        """Take news in until the order is so far, or at its end. Raises what ended it."""
        one = self._jobs[sent.order.source]
        while sent.reply is None:
            check_stop()
            try:
                kind, content = sent.news.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                self._look(sent)
                continue
            if kind == PHASE:
                one.notify(str(content))
            elif kind == LOG:
                with one.log.open("ab") as log:
                    log.write(content)
            elif kind == COMPILED:
                self._take_packages(sent, *pickle.loads(content))
            elif kind == _DONE:
                self._take_reply(sent, content)
            if kind == until:
                return

    def _take_packages(self, sent: _Sent, artifact: Artifact, files: Mapping[str, CachedFile]) -> None:
        """Note what was compiled. A worker that took over from a dead one must have made the very same."""
        name = sent.order.source
        if sent.compiled is not None and sent.compiled[0].files != artifact.files:
            raise IntegrityError(
                f"{name} was built twice, for a worker ended, and came out differently; others use what was made first",
                hint="run the same again",
            )
        sent.compiled = (artifact, files)

    def _take_reply(self, sent: _Sent, future: Any) -> None:
        """Note the end of an order. One that failed by a fault of its machine is given to another one."""
        name = sent.order.source
        try:
            reply: Reply = future.result()
        except KilledWorker as error:
            raise MachineError(
                f"{name}: workers ended while they built it, one after another",
                details=[str(error)],
                hint="see why on their machines; one that has too little memory ends like this",
            ) from error
        except CancelledError as error:
            raise MachineError(f"{name}: the scheduler gave the order up", hint="run the same again") from error
        except Exception as error:
            problem = MachineError(
                f"{name}: a worker could not take the order: {type(error).__name__}: {error}"[:500],
                hint="see whether all machines have the same hapkg: pip install 'hapkg[dask]'",
            )
            reply = Reply(machine="a worker", error=problem)
        if reply.error is None:
            if reply.artifact is not None:
                self._take_packages(sent, reply.artifact, reply.files)
            sent.reply = reply
            return
        if classify(reply.error) != "recipe":  # its disk, its network
            self._shunned.add(reply.address)
            if sent.attempts < ATTEMPTS and self._find_workers():
                sent.attempts += 1
                self._jobs[name].notify(f"again, not on {reply.machine}: {reply.error.brief}"[:80])
                self._send(sent)
                return
        self._fail(sent, reply)

    def _fail(self, sent: _Sent, reply: Reply) -> None:
        """Raise the error of an reply, in words of this machine. Its log takes the place of what was told of it."""
        one, error = self._jobs[sent.order.source], reply.error
        if reply.log is not None:
            with contextlib.suppress(HapkgError, OSError):
                self._bring_log(one, reply.log)
        if error is None:
            return
        error.details = tuple(
            line.replace(reply.log_path, str(one.log)) if reply.log_path else line for line in error.details
        )
        error.brief = f"{error.brief}, on {reply.machine}"
        raise error

    def _bring_log(self, one: Job, log: CachedFile) -> None:
        with tempfile.TemporaryDirectory(dir=one.work) as folder:
            bring_files(self._depot, {one.log.name: log}, Path(folder), what=self._tell_build(one.recipe.name))
            Path(folder, one.log.name).replace(one.log)

    def _tell_build(self, name: SourceName) -> str:
        return f"the build of {name} in the build cache {self._depot}"

    def _store(self, name: SourceName, compiled: Compiled) -> Artifact:
        """Bring what a worker made, and store it as if it had been made here."""
        one, reply = self._jobs[name], self._sent[name].reply
        if reply is None or reply.log is None:
            raise ValueError(f"{name} has no reply")
        made = one.work / "made"
        bring_files(self._depot, reply.files, made, what=self._tell_build(name))
        self._bring_log(one, reply.log)
        one.seconds.update({phase: one.seconds.get(phase, 0) + spent for phase, spent in reply.seconds.items()})
        one.gauge.peak = reply.memory
        artifact = replace(compiled.artifact, folder=made, machine=reply.machine)
        return job.store(one, replace(compiled, artifact=artifact))

    def _cancel_source(self, name: SourceName) -> None:
        self._jobs[name].cancelled.set()
        if name in self._sent:
            self._cancel(self._sent[name])

    def _cancel(self, *orders: _Sent) -> None:
        futures = [sent.future for sent in orders if sent.future is not None and sent.reply is None]
        if futures:
            with contextlib.suppress(OSError, RuntimeError):  # nobody is there to be told
                self._client.cancel(futures, force=True)


@contextlib.contextmanager
def open_farm(scheduler: str, place: str, base: Path, security: Security | None = None) -> Iterator[DaskFarm]:
    """The farm of a scheduler at an address, and its workers; see DaskFarm for the place.

    security is how it is spoken to, None: as Dask is configured. Raises MachineError where it cannot be reached.
    """
    with open_client(scheduler, security) as client:
        farm = DaskFarm(client, place, base)
        try:
            yield farm
        finally:
            farm.close()
