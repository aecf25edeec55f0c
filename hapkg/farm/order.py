"""Orders to build a source and their answers, as they travel; files travel through a build cache by their content.

Both are pickled by Dask: whoever reaches its scheduler can run code on all machines of it. docs/workers.md says how
that is kept to the right ones.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import hapkg
from hapkg.build.context import BuildContext
from hapkg.build.plan import Step
from hapkg.build.store import Artifact
from hapkg.cache.entry import CachedFile
from hapkg.chroot.transport import BaseFacts
from hapkg.control import SourceName
from hapkg.errors import HapkgError

PHASE, LOG, COMPILED, TESTED = "phase", "log", "compiled", "tested"
"""Kinds of news of an order that is at work."""


@dataclass(frozen=True, kw_only=True)
class PackedBase:
    """A base chroot that lies in the build cache."""

    facts: BaseFacts
    file: CachedFile


@dataclass(frozen=True, kw_only=True)
class Order:
    """One source that is to be built elsewhere."""

    program: str
    """The coordinator's hapkg, as describe_program() gives it."""
    topic: str
    """Dask's topic for news."""
    place: str
    """The build cache, as the coordinator names it."""
    context: BuildContext
    """The coordinator's, with no recipe but that of the source."""
    source: SourceName
    step: Step
    origin: str
    base: PackedBase
    files: Mapping[str, CachedFile]
    """The source package."""
    debian: Mapping[str, bytes]
    """Files of its debian/, by path there."""
    finished: Mapping[SourceName, Artifact]
    """Builds of the sources that it needs."""
    packages: Mapping[str, CachedFile]
    """Packages of these that its key names, and of the build that it follows those for all architectures."""
    forbidden: tuple[str, ...]
    """Patterns of package names of the distribution that must not be in the chroot."""
    tests: bool
    lint: bool


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The end of an order."""

    machine: str
    address: str = ""
    """The worker's, as Dask knows it."""
    error: HapkgError | None = None
    """Its details may name the log's path on that machine, which is log_path."""
    artifact: Artifact | None = None
    files: Mapping[str, CachedFile] = field(default_factory=dict)
    """All files of the build but the source package's."""
    log: CachedFile | None = None
    log_path: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    memory: int = 0


@functools.cache
def describe_program() -> str:
    """The version of this hapkg, and a digest of its code: two checkouts of one version may differ."""
    folder = Path(hapkg.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder)}\n".encode())
        digest.update(file.read_bytes())
    return f"{hapkg.__version__}, code {digest.hexdigest()[:12]}"
