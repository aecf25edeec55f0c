"""What a run looked at that left nothing to do, so that the next one need not work it out again.

A plan follows from what lies on the disk: the checkout, hapkg itself and the libraries it uses, the base chroot, apt's
answers, the repository, the finished builds. A run that leaves everything built writes a note: a digest of all that,
and which builds they are. As long as the digest is the same, a run takes the builds from the note. What it does with
them is what it always does: reuse(). With any other digest the note is as good as absent, and the plan is made.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg import disk
from hapkg.build.events import Ending, Outcome
from hapkg.build.plan import Action, Step
from hapkg.build.store import Artifact, Store
from hapkg.chroot.schroot import find_chroot
from hapkg.control import Suite
from hapkg.host import read_architecture
from hapkg.locations import SITE_FILE

_PARTS = ("recipes", "debian-templates", "locks")
"""What of a checkout decides what is built, besides pyproject.toml."""
_CODE = Path(__file__).parents[1]
"""hapkg itself."""


@dataclass(frozen=True, kw_only=True)
class View:
    """Where a run of all recipes looks, without a site."""

    store: Store
    root: Path
    """The checkout."""
    suite: Suite
    repository: Path

    def look(self) -> str:
        """A digest of all that the plan follows from; "" where that cannot be told."""
        base = find_chroot(self.store.root, self.suite)
        if base is None or (self.root / SITE_FILE).exists():
            return ""
        known = hashlib.sha256(repr((sys.version, list(_list_libraries()), read_architecture(), base)).encode())
        try:
            for part in ("pyproject.toml", *_PARTS):
                _read(self.root / part, known)
            _read(_CODE, known)
            for folder in ("dists", ".hapkg/snapshots", ".hapkg/removed"):
                _stat(self.repository / folder, known)
            _stat(self.store.root / "resolved", known)
        except OSError:
            return ""
        return known.hexdigest()


def recall(store: Store, root: Path, asked: str | None) -> tuple[Step, ...]:
    """The plan for all recipes, when it is known and reuses everything; () where it must be made.

    asked is the suite that the command line names. Whoever is to use the builds holds the store's lock.
    """
    try:
        note = json.loads(_name_note(store, root, asked).read_bytes())
        view = View(store=store, root=root, suite=Suite(note["suite"]), repository=Path(note["repository"]))
        if not note["seen"] or note["seen"] != view.look():
            return ()
        return tuple(_recall_step(store, **entry) for entry in note["builds"])
    except (OSError, ValueError, TypeError, KeyError):
        return ()


def has_note(store: Store, root: Path, asked: str | None) -> bool:
    """Whether there is something to recall, right or not."""
    return os.access(_name_note(store, root, asked), os.R_OK)


def remember(view: View, seen: str, asked: str | None, plan: Sequence[Step]) -> None:
    """Note a plan that reuses everything, made by who saw this before. The caller holds the lock.

    Where something changed meanwhile, nothing is noted: nobody knows which of both the plan was made from.
    """
    if seen and seen == view.look():
        note = {
            "suite": view.suite,
            "repository": str(view.repository),
            "seen": seen,
            "builds": [
                {"key": step.key, "reason": step.reason, "digest": _digest_build(step.artifact)}
                for step in plan
                if step.artifact
            ],
        }
        disk.replace(_name_note(view.store, view.root, asked), json.dumps(note, indent=1).encode() + b"\n")


def reuse(store: Store, step: Step) -> Outcome:
    """Take a finished build as it is, if its files are what they were. Raises IntegrityError."""
    artifact = step.artifact
    if artifact is None:
        raise AssertionError("what is reused has its build")
    started = time.monotonic()
    store.verify(artifact, quick=True)
    store.touch(artifact)
    return Outcome(
        source=step.source,
        ending=Ending.REUSED,
        version=step.version,
        reason=step.reason,
        seconds=time.monotonic() - started,
        log=artifact.log,
        artifact=artifact,
        at=time.monotonic(),
    )


def _name_note(store: Store, root: Path, asked: str | None) -> Path:
    question = json.dumps([str(root), asked])
    return store.settled / f"{hashlib.sha256(question.encode()).hexdigest()}.json"


def _recall_step(store: Store, key: str, reason: str, digest: str) -> Step:
    artifact = store.find_build(key)
    if artifact is None or _digest_build(artifact) != digest:
        raise ValueError(f"{key} is another build, or none")
    return Step(
        source=artifact.source,
        action=Action.REUSE,
        reason=reason,
        version=artifact.version,
        key=key,
        artifact=artifact,
        inputs=artifact.inputs,
    )


def _digest_build(artifact: Artifact) -> str:
    """A digest of all that the store knows of a build."""
    return hashlib.sha256(artifact.description.read_bytes()).hexdigest()


def _list_libraries() -> Iterator[str]:
    """Names and versions of the libraries that Python finds."""
    for folder in sys.path:
        with contextlib.suppress(OSError):
            yield from sorted(file.name for file in Path(folder).iterdir() if file.name.endswith("-info"))


def _read(path: Path, known: hashlib._Hash) -> None:
    """Add every file below a path, by name and content. Raises OSError for what is neither file nor folder of files."""
    for name, file in _list_files(path):
        content = Path(file).read_bytes()
        known.update(f"{name}\0{len(content)}\0".encode() + content)


def _stat(path: Path, known: hashlib._Hash) -> None:
    """Add every file below a path, by name, size and time."""
    for name, file in _list_files(path):
        found = Path(file).stat()
        known.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())


def _list_files(path: Path) -> list[tuple[str, str]]:
    """Every file below a path, or the path itself: its name with that of the path, and where it is."""
    if path.is_file():
        return [(path.name, str(path))]
    return sorted(_walk(str(path), path.name)) if path.exists() else []


def _walk(folder: str, name: str) -> Iterator[tuple[str, str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            inner = f"{name}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    yield from _walk(entry.path, inner)
            elif entry.is_file():
                yield inner, entry.path
            else:
                raise OSError(f"{entry.path} is neither a file nor a folder")
