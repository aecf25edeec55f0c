"""Finished builds, the lock of the state folder, and its scratch."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hapkg import disk
from hapkg.control import SourceName, Suite
from hapkg.disk import sha256_file
from hapkg.errors import BusyError, IntegrityError, MachineError
from hapkg.host import read_architecture
from hapkg.locations import State
from hapkg.records import format_record, read_record

LOG_NAME = "build.log"
_DESCRIPTION = "artifact.json"
_TIDY_SECONDS = 60
"""Longest wait for somebody who tidies."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One finished build."""

    key: str
    source: SourceName
    version: str
    suite: Suite
    architecture: str
    inputs: Mapping[str, Any]
    """The values that the key was computed from."""
    origin: str
    """The origin that delivered the source, in words."""
    files: Mapping[str, str]
    """Name to sha256 of everything the build made."""
    seconds: Mapping[str, float]
    """Duration of each phase."""
    folder: Path
    memory: int = 0
    """Bytes that the build held at its peak; 0 where nobody measured."""
    packages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """For each binary package, "digest" of its content and what it "depends" on, as its users see it."""
    signer: str = ""
    """Fingerprint of the key that signed the entry of a build cache that it came from; "": it was built here."""
    machine: str = ""
    """Name of the worker that made it; "": this machine."""
    stamps: Mapping[str, Sequence[int]] = field(default_factory=dict, compare=False)
    """Size and time of each file in the store, by which a file is found to be untouched."""

    def paths(self, *suffixes: str) -> tuple[Path, ...]:
        """Paths of its files with one of these endings, by name."""
        return tuple(self.folder / name for name in sorted(self.files) if name.endswith(suffixes))

    @property
    def log(self) -> Path:
        """The build's log."""
        return self.folder / LOG_NAME

    @property
    def description(self) -> Path:
        """The file of all this; its time is that of the last use."""
        return self.folder / _DESCRIPTION


_HINT = "wait until it has ended, or let hapkg wait: hapkg --wait SECONDS COMMAND"


@dataclass(frozen=True, kw_only=True)
class Store:
    """The state folder of one user, or of one test."""

    root: Path
    suite: str = ""
    """The one suite that is worked for; "": all of it is."""
    architecture: str = ""
    """The one that is built for, where it is not this machine's own."""
    timeout: float = 0
    """Seconds to wait for another process that works with the folder."""
    _newest: dict[Path, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Time of the last use of any build, by the folder of builds, as it was found first and as it is since."""

    @property
    def state(self) -> State:
        """The folder's layout."""
        return State(self.root, self.suite, self.architecture)

    def narrow(self, suite: Suite) -> Store:
        """The store for work on one suite, beside others who work on other suites."""
        return replace(self, suite=suite)

    def turn_to(self, architecture: str) -> Store:
        """The store of what is built for an architecture: this machine's own, or another one, which lies apart."""
        return replace(self, architecture="" if architecture == read_architecture() else architecture)

    def failure_log(self, suite: Suite, source: SourceName) -> Path:
        """The log of a build until it is stored, and of the last one that failed."""
        return self.state.failed / suite / source / LOG_NAME

    def check(self) -> None:
        """Raise MachineError where the state folder is none, or cannot be read. It need not be there yet."""
        try:
            with os.scandir(self.root):
                pass
        except FileNotFoundError:
            pass
        except OSError as cause:
            raise self._complain(cause) from cause

    def _complain(self, cause: OSError) -> MachineError:
        return MachineError(
            f"the state folder {self.root} cannot be used: {cause.strerror}",
            hint="choose another with --cache or HAPKG_CACHE",
        )

    @contextlib.contextmanager
    def lock(self, tidy: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Be the one process that changes state, or, of a suite's store, that works for the suite.

        tidy is called before and after, where no other process works with this folder: for what all suites share.
        Raises BusyError when another process is in the way for longer than timeout; a dead holder's lock is free.
        """
        what, state = f"the state folder {self.root}", self.state
        self.check()
        with contextlib.ExitStack() as stack:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                if self.suite:
                    own = disk.lock(
                        state.suite_lock_file, what=f"{what}, for {self.suite},", hint=_HINT, timeout=self.timeout
                    )
                    stack.enter_context(own)
                    self._tidy(tidy)
                # Whoever tidies holds it for moments alone.
                wait = max(self.timeout, _TIDY_SECONDS if self.suite else 0)
                held = disk.lock(state.lock_file, what=what, hint=_HINT, timeout=wait, shared=bool(self.suite))
                inner = stack.enter_context(contextlib.ExitStack())
                inner.enter_context(held)
            except OSError as cause:
                raise self._complain(cause) from cause
            if not self.suite:
                tidy()
            yield
            if not self.suite:
                tidy()
            else:
                inner.close()
                self._tidy(tidy)

    def _tidy(self, tidy: Callable[[], object]) -> None:
        """Tidy, unless somebody else is there, who might need it."""
        with (
            contextlib.suppress(BusyError),
            disk.lock(self.state.lock_file, what="the state folder", hint=""),
        ):
            tidy()

    def reclaim(self) -> None:
        """Empty the scratch folder. The caller holds the lock."""
        disk.remove_tree(self.state.work)
        for left in self.state.builds.glob(f".new-{self.suite}*"):
            disk.remove_tree(left)
        self.state.work.mkdir(parents=True, exist_ok=True)

    def list_builds(self) -> tuple[Artifact, ...]:
        """Every finished build, the one used last at the end."""
        dated: list[tuple[int, Artifact]] = []
        for folder in sorted(self.state.builds.glob("[!.]*")):
            if (artifact := _read_artifact(folder)) is not None:
                with contextlib.suppress(FileNotFoundError):  # removed while we looked
                    dated.append(((folder / _DESCRIPTION).stat().st_mtime_ns, artifact))
        return tuple(artifact for _, artifact in sorted(dated, key=lambda entry: entry[0]))

    def add_build(self, artifact: Artifact, made: Path) -> Artifact:
        """Take the files of a finished build out of a scratch folder into the store, all or nothing.

        Raises MachineError.
        """
        target = self.state.builds / artifact.key
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.parent / f".new-{artifact.suite}-{artifact.key}"
        disk.remove_tree(new)
        shutil.copytree(made, new, symlinks=True)
        stamps = {name: _read_stamp(new / name) for name in artifact.files}
        table = asdict(replace(artifact, stamps=stamps))
        del table["folder"]
        (new / _DESCRIPTION).write_bytes(format_record(table))
        for file in new.iterdir():
            disk.sync(file)
        disk.sync(new)
        disk.remove_tree(target)
        disk.move({new: target})
        stored = _read_artifact(target)
        if stored is None:
            raise MachineError(f"the build {target} vanished while it was stored")
        self.touch(stored)
        return stored

    def touch(self, artifact: Artifact) -> None:
        """Mark a build as used just now: it becomes the newest of its suite, also where the clock went back.

        Nobody else marks builds of the suite meanwhile, so the others are looked at once.
        """
        builds = self.state.builds
        if builds not in self._newest:
            self._newest[builds] = max((_read_stamp(one / _DESCRIPTION)[1] for one in builds.glob("[!.]*")), default=0)
        newest = self._newest[builds] = max(time.time_ns(), self._newest[builds] + 1)
        os.utime(artifact.description, ns=(newest, newest))

    def remove_build(self, artifact: Artifact) -> None:
        """Remove a finished build: renamed first, so that half of one is never seen."""
        doomed = artifact.folder.with_name(f".new-{artifact.suite}-{artifact.key}")
        artifact.folder.rename(doomed)
        disk.remove_tree(doomed)

    def verify(self, artifact: Artifact, *, quick: bool = False) -> None:
        """Check every file of a build against its digest. Raises IntegrityError.

        quick reads only files whose size or time is not what it was when they were stored.
        """
        for name, digest in artifact.files.items():
            file = artifact.folder / name
            if quick and name in artifact.stamps and _read_stamp(file) == tuple(artifact.stamps[name]):
                continue
            if not file.is_file() or sha256_file(file) != digest:
                raise IntegrityError(
                    f"{file} is not what the build of {artifact.source} made",
                    hint=f"run: hapkg clean {artifact.source}",
                )


def check_same(known: Artifact, made: Path) -> None:
    """Raise IntegrityError where the packages in a folder are not, byte by byte, those of a build of others."""
    theirs = {name: digest for name, digest in known.files.items() if name.endswith(".deb")}
    ours = {file.name: sha256_file(file) for file in made.glob("*.deb")}
    if odd := sorted({name for name, _ in theirs.items() ^ ours.items()}):
        raise IntegrityError(
            f"{known.source} {known.version} comes out other here than the build that {known.signer} signed",
            details=odd,
            hint="neither is stored: find out who is right, and take the key out of build-cache-trust until then",
        )


def _read_stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except FileNotFoundError:
        return (-1, 0)
    return (found.st_size, found.st_mtime_ns)


def _read_artifact(folder: Path) -> Artifact | None:
    """The build in a folder. A damaged description, or one of another hapkg's format, is as good as absent."""
    artifact = read_record(folder / _DESCRIPTION, Artifact, folder=folder)
    return artifact if artifact is not None and artifact.key == folder.name else None
