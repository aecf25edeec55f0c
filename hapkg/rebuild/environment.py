"""Environments of rebuilds: a base chroot and packages over it, in just the versions that a .buildinfo names.

Where the suite's base chroot has them, it serves, and so do its layers. Else there is a base of its own below the state
folder, for as long as the rebuilds last: from the archive as far as that still has these versions, and from packages
that were kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from hapkg import disk
from hapkg.build.store import Store
from hapkg.chroot import schroot, sessions
from hapkg.chroot.archives import fetch_archives
from hapkg.chroot.base import Pin
from hapkg.chroot.pinned import digest_archives, find_versions, make_mirror
from hapkg.chroot.resolver import find_archives, read_installed, resolve
from hapkg.chroot.schroot import Chroot
from hapkg.distribution import Distribution
from hapkg.errors import BuildError, FetchError, UsageError
from hapkg.locations import State
from hapkg.rebuild.subject import Subject


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A base chroot, and the packages of the archive that are installed over it."""

    state: State
    """The state folder that the base lies in."""
    base: Chroot
    packages: Mapping[str, str]


class Environments:
    """Finds or makes the environment of each subject; one base serves all those that do not contradict each other."""

    def __init__(self, store: Store, base: Chroot, distribution: Distribution, log: IO[bytes]) -> None:
        self._state, self._base, self._distribution, self._log = store.state, base, distribution, log
        self._installed = read_installed(base)
        self._own: list[tuple[dict[str, str], Chroot, State]] = []

    def provide(self, subject: Subject, others: Sequence[Subject]) -> Environment:
        """The environment of a subject. A base that is made for it serves those of the others that it can.

        Raises FetchError that names each package that is nowhere any more, and what there is instead.
        """
        environment = self._find(subject, self._base, self._state, self._installed)
        for wanted, base, state in self._own:
            if environment is None and subject.packages.items() <= wanted.items():
                environment = self._find(subject, base, state, read_installed(base))
        if environment is not None:
            return environment
        wanted = {**self._installed, **subject.packages}
        for other in others:
            if all(wanted.get(name, version) == version for name, version in other.packages.items()):
                wanted |= other.packages
        base, state = self._make(subject, wanted)
        self._own.append((wanted, base, state))
        environment = self._find(subject, base, state, read_installed(base))
        if environment is None:
            raise BuildError(
                f"{subject.source}: a base chroot of the packages that its .buildinfo names cannot be made",
                details=[f"{name} {version}" for name, version in subject.packages.items()][:10],
                hint="run: hapkg chroot update",
            )
        return environment

    def find_tools(self, environment: Environment, names: Sequence[str]) -> list[str]:
        """Files of packages that variations need, in the folder of archives that sessions see, with all these need.

        They are of the suite's archive of today: no build sees them otherwise. Raises UsageError.
        """
        if not names:
            return []
        base = self._base
        try:
            versions = resolve(base, tuple(names), self._state, source="a variation")
        except BuildError as error:
            raise UsageError(
                f"the archive of the base chroot has not all that the variations need: {', '.join(names)}",
                details=error.details[-3:],
                hint="leave these variations out: --variation names those that are wanted",
            ) from error
        missing = {n: v for n, v in versions.items() if n not in environment.packages}
        archives = list(find_versions(base, missing, self._state).archives.values())
        folder = environment.state.archives / base.suite
        fetch_archives(archives, folder, self._log)
        return [archive.file for archive in archives]

    def _find(self, subject: Subject, base: Chroot, state: State, installed: Mapping[str, str]) -> Environment | None:
        """An environment over this base; None where the base has another version, or the archive none of these."""
        if any(installed.get(name, version) != version for name, version in subject.packages.items()):
            return None
        packages = {name: version for name, version in subject.packages.items() if name not in installed}
        try:
            if packages:
                find_archives(base, packages, state)
        except BuildError:
            return None
        return Environment(state=state, base=base, packages=packages)

    def _make(self, subject: Subject, wanted: Mapping[str, str]) -> tuple[Chroot, State]:
        found = find_versions(self._base, wanted, self._state)
        if found.gone:
            names = sorted(found.gone)
            raise FetchError(
                f"{subject.source} was built with {names[0]} {wanted[names[0]]}, which is nowhere any more"
                + (f", and {len(names) - 1} more" if len(names) > 1 else ""),
                details=[f"{name} {wanted[name]}: {found.gone[name]}" for name in names],
                hint="name an archive that keeps old versions with --mirror and run hapkg chroot update; "
                "what hapkg vendor collected is not lost",
            )
        state = State(self._state.rebuild_states / digest_archives(found.archives)[:16], self._state.suite)
        kept = state.archives / self._base.suite
        disk.make_folder(kept)
        copies = {}
        for archive in found.archives.values():  # those that are kept need no network
            file = self._state.archives / self._base.suite / archive.file
            if file.is_file() and not (kept / archive.file).exists():
                copies[kept / archive.file] = file
        with disk.Batch() as batch:
            batch.copy(copies)
        mirror = make_mirror(state, self._base.suite, self._distribution, found.archives, self._log)
        pin = Pin(digest=digest_archives(found.archives), packages={name: wanted[name] for name in self._installed})
        return schroot.create_chroot(state, self._base.suite, mirror, log=self._log, pin=pin), state


@contextmanager
def open_environments(store: Store, base: Chroot, distribution: Distribution, log: IO[bytes]) -> Iterator[Environments]:
    """Environments, and an end to the bases that were made for them. The caller holds the store's lock."""
    remove_environments(store.state, base)
    try:
        yield Environments(store, base, distribution, log)
    finally:
        remove_environments(store.state, base)


def remove_environments(state: State, base: Chroot) -> None:
    """Remove base chroots that rebuilds made, of this run or of one that was killed."""
    for folder in sorted(state.rebuild_states.glob("*")):
        own = State(folder, state.suite)
        sessions.reclaim(own)
        schroot.remove_chroot(own, base.suite)
        disk.remove_tree(folder, of_root=True)
