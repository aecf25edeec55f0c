"""Values of a publish: the repository to change, the change, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hapkg.control import Suite
from hapkg.repository.documents.suite import Claims
from hapkg.repository.keys.signing import KeyChoice, SigningKey
from hapkg.repository.last_published import Memory
from hapkg.repository.snapshots import Snapshot
from hapkg.repository.sources_file import Identity
from hapkg.repository.upload import NOTHING, Incoming


@dataclass(frozen=True, kw_only=True)
class PublishTarget:
    """A repository in a folder, and how to publish into it."""

    root: Path
    """The folder is made when it is missing. A relative path is one of the working directory."""
    identity: Identity
    choice: KeyChoice
    url: str = ""
    """URL of the repository for its users; "": as before, or else root itself (file:)."""
    timeout: float = 0
    """Seconds to wait for another process that publishes."""
    shared: bool = False
    """Others may write in the folder; otherwise that is refused."""
    memory: Memory | None = None
    """States that were published from here; another, older one is refused."""
    adopt: bool = False
    """Take a state that is older than the memory knows: somebody restored it knowingly."""

    def __post_init__(self) -> None:
        """Make the path absolute: programs run in other folders, and links are made in them."""
        object.__setattr__(self, "root", self.root.absolute())


@dataclass(frozen=True, kw_only=True)
class RepositoryChange:
    """The next state of some suites, by pool paths. Other suites stay as they are."""

    operation: str
    """For the history: publish, rollback to 3, prune."""
    states: Mapping[Suite, frozenset[str]]
    incoming: Incoming = NOTHING
    base_indexes: Mapping[Suite, Mapping[str, str]] = field(default_factory=dict)
    """Indexes nearer to the next state than those published: digests by path, by suite."""
    removals: tuple[str, ...] = ()
    """Pool files that are removed afterwards."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA256 of those of them whose names stay taken."""
    forgotten: tuple[Snapshot, ...] = ()
    ended: Suite | None = None
    """A suite that is published no more."""
    claims: Mapping[Suite, Claims] = field(default_factory=dict)
    """Knowledge about the packages of suites that goes into their documents."""
    renew: bool = False
    """Sign every suite anew, even one that does not change."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The difference that a publish would make, by paths below the repository."""

    added: tuple[str, ...]
    """New files of the pool."""
    suites: Mapping[Suite, tuple[str, ...]]
    """Files of the pool that each suite would offer in addition."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """The result of one publish. Pool files are named by their path below the repository, index files not at all."""

    added: tuple[str, ...]
    present: tuple[str, ...]
    """Uploaded again with the same bytes."""
    written: tuple[Suite, ...]
    """Suites with a new InRelease."""
    unchanged: tuple[Suite, ...]
    key: SigningKey
    keyring: Path
    sources: tuple[Path, ...]
    """The .sources files, the one to recommend first."""
    url: str = ""
    """URL of the repository for its users; "" in its folder alone."""
    commands: Mapping[Suite, tuple[str, ...]] = field(default_factory=dict)
    """Commands for a node that is to use a suite: of each that was published, the one to recommend first."""
