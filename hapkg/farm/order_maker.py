"""Orders made: what a worker needs of the coordinator for one source, put into the build cache once."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from hapkg.build import job
from hapkg.build.job import Job, Prepared
from hapkg.build.store import Artifact
from hapkg.cache.base import provide_base
from hapkg.cache.entry import CachedFile
from hapkg.cache.files import put_files
from hapkg.cache.place import FolderPlace, WritablePlace
from hapkg.chroot.schroot import Chroot
from hapkg.chroot.transport import describe_base
from hapkg.control import SourceName
from hapkg.errors import IntegrityError
from hapkg.farm.order import Order, PackedBase, describe_program
from hapkg.recipe.graph import Graph


class OrderMaker:
    """The orders of one run. Its methods are called by several threads at once."""

    def __init__(self, depot: WritablePlace, place: str, *, topic: str, scheduler: str) -> None:
        """depot is the build cache, place its name in the settings; topic and scheduler are Dask's."""
        self._depot = depot
        self._place = place
        self._topic = topic
        self._scheduler = scheduler
        self._known: dict[str, CachedFile] = {}
        """By digest, files that are in the build cache."""
        self._base: PackedBase | None = None
        self._lock = threading.Lock()

    def note(self, files: Iterable[CachedFile]) -> None:
        """Note files that workers put into the build cache."""
        with self._lock:
            self._known.update({file.sha256: file for file in files})

    def make(self, one: Job, prepared: Prepared, needed: Mapping[SourceName, Artifact]) -> Order:
        """The order for a source that needs these builds. All that it names is in the build cache."""
        context, name, step = one.context, one.recipe.name, prepared.step
        lead = context.lead and {name: context.lead[name]}
        narrow = replace(
            context,
            store=replace(context.store, root=Path()),
            recipes={name: one.recipe},
            graph=Graph(order=(), needs={}, providers={}),
            shared=None,
            published={},
            vendored={},
            snapshots={},
            lead=lead,
        )
        with one.log.open("a", encoding="utf-8") as log:
            log.write(f"built by a worker of {self._scheduler}\n")
        return Order(
            program=describe_program(),
            topic=self._topic,
            place=str(self._depot) if isinstance(self._depot, FolderPlace) else self._place,
            context=narrow,
            source=name,
            step=step,
            origin=prepared.origin,
            base=self._provide_base(one.base),
            files=put_files(self._depot, prepared.task.package.files),
            debian=prepared.task.package.debian,
            finished=needed,
            packages={
                **self._provide(needed.values(), step.identity[2]["stack"]),
                **self._provide((lead or {}).values(), None),
            },
            forbidden=prepared.task.forbidden,
            tests=job.has_tests(context, one.recipe),
            lint=context.lintian,
        )

    def _provide_base(self, base: Chroot) -> PackedBase:
        """The base chroot in the build cache, packed where that does not have it."""
        with self._lock:
            if self._base is None:
                self._base = PackedBase(facts=describe_base(base), file=provide_base(self._depot, base))
            return self._base

    def _provide(self, artifacts: Iterable[Artifact], names: Collection[str] | None) -> dict[str, CachedFile]:
        """Packages of builds by file name, put into the build cache unless they are there; None: those for all."""
        found: dict[str, CachedFile] = {}
        for artifact in artifacts:
            for file, digest in artifact.files.items():
                if not file.endswith("_all.deb" if names is None else ".deb"):
                    continue
                if names is not None and file.split("_")[0] not in names:
                    continue
                with self._lock:
                    known = self._known.get(digest)
                if known is None:
                    known = put_files(self._depot, [artifact.folder / file])[file]
                    if known.sha256 != digest:
                        raise IntegrityError(
                            f"{artifact.folder / file} is not what the build of {artifact.source} made"
                        )
                    with self._lock:
                        self._known[digest] = known
                found[file] = known
        return found
