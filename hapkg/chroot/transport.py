"""A base chroot or a layer as one file for another machine: packed here, and taken there as if it was made there."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from hapkg import disk
from hapkg.chroot.base import digest_contents, digest_index, write_listing
from hapkg.chroot.layer import Layer, take_layer
from hapkg.chroot.schroot import Chroot, digest_packages, find_chroot, take_base
from hapkg.control import Suite
from hapkg.errors import IntegrityError, MachineError, ProcessError
from hapkg.locations import State
from hapkg.programs import process
from hapkg.records import format_record

LARGEST = 8 << 30
"""Bytes of a packed base, or of a packed layer."""
# Listings tell times to the nanosecond, and the files are of many owners.
_TAR = ("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--zstd")


@dataclass(frozen=True, kw_only=True)
class BaseFacts:
    """A base chroot in words: those of Chroot that do not name a place."""

    digest: str
    packages: int
    index: str
    contents: str
    further: str
    pinned: str


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """A layer in words."""

    key: str
    below: str
    """The key of the layer that it lies on; "" for the base."""
    packages: Mapping[str, str]
    listing: str
    """The text by which sessions know that it is as it was made: a digest of names, kinds, modes, owners and times."""


def describe_base(base: Chroot) -> BaseFacts:
    """The facts of a base chroot."""
    return BaseFacts(**{field.name: getattr(base, field.name) for field in fields(BaseFacts)})


def is_of_facts(base: Chroot | None, facts: BaseFacts) -> bool:
    """Test for a base chroot that builds see as they would see another one."""
    return base is not None and describe_base(base) == facts


def pack_base(base: Chroot, target: Path) -> None:
    """Write the files of a base chroot into a tar archive, with the rights of root. Raises ProcessError."""
    _pack(base.root, target)


def describe_layer(state: State, layer: Layer) -> LayerFacts:
    """The facts of a layer."""
    listing = (state.layers / layer.key / "listing").read_text("utf-8")
    return LayerFacts(key=layer.key, below=layer.below, packages=layer.packages, listing=listing)


def pack_layer(state: State, layer: Layer, target: Path) -> None:
    """Write the files of a layer into a tar archive, with the rights of root. Raises ProcessError."""
    _pack(state.layers / layer.key / "root", target)


def unpack_layer(state: State, base: Chroot, packed: Path, facts: LayerFacts) -> Layer:
    """Take a layer over this base that another machine packed.

    The caller knows that he wants this file: it is unpacked with the rights of root. Raises MachineError, and
    IntegrityError where it does not hold what the facts say.
    """
    what = f"the layer {facts.key[:12]} of build dependencies"
    new = state.layers / f".new-{facts.key}"
    disk.remove_tree(new, of_root=True)
    disk.make_folder(state.layers)
    try:
        process.run(process.privileged(["mkdir", "-m", "755", str(new), str(new / "root")]))
        _unpack(packed, new / "root", what)
        write_listing(new)
        if (new / "listing").read_text("utf-8") != facts.listing:
            raise IntegrityError(f"{what} does not hold the files that it is said to hold")
        script = 'cd "$0" && echo "$1" > below && du -sk root | cut -f 1 > size'
        process.run(process.privileged(["sh", "-c", script, str(new), facts.below]))
        return take_layer(state, base, facts.key, new, facts.packages, facts.below)
    finally:
        disk.remove_tree(new, of_root=True)


def _pack(root: Path, target: Path) -> None:
    argv = [*_TAR, "--create", "--format=posix", "--pax-option=delete=atime,delete=ctime", "--sort=name"]
    argv += ["--xattrs-exclude=trusted.overlay.origin"]  # names files of the lower folder on this disk
    with target.open("wb") as file:
        process.run(process.privileged([*argv, "-C", str(root), "."]), stdout=file)


def _unpack(packed: Path, root: Path, what: str) -> None:
    argv = [*_TAR, "--extract", "--preserve-permissions", "-C", str(root), "-f", str(packed)]
    try:
        process.run(process.privileged(argv))
    except ProcessError as error:
        if os.strerror(errno.ENOSPC) in "\n".join(error.details):
            raise MachineError(
                f"{what} cannot be unpacked: the disk is full", hint="free some space: hapkg clean"
            ) from error
        raise IntegrityError(f"{what} cannot be unpacked", details=error.details) from error


def unpack_base(state: State, suite: Suite, packed: Path, facts: BaseFacts) -> Chroot:
    """Take a base chroot that another machine packed; one that is there already is replaced by it.

    The caller holds the store's lock, and knows that he wants this file: it is unpacked with the rights of root.
    Raises IntegrityError where it does not hold what the facts say, MachineError for another hapkg's.
    """
    if facts.contents != digest_contents():
        raise MachineError(
            f"the base chroot of {suite} is one of another version of hapkg",
            hint="bring hapkg to one version on all machines",
        )
    with _begin(state, suite) as new:
        root = new / "root"
        process.run(process.privileged(["mkdir", "-m", "755", str(root)]))
        _unpack(packed, root, f"the base chroot of {suite}")
        found = (digest_packages(root)[0], digest_index(root / "var/lib/apt/lists"))
        if found != (facts.digest, facts.index):
            raise IntegrityError(f"the base chroot of {suite} does not hold the packages that it is said to hold")
        disk.write(new / "chroot.json", format_record(asdict(facts)))
        take_base(state, suite, new)
    made = find_chroot(state, suite)
    if made is None:
        raise MachineError(f"the chroot of {suite} vanished while it was unpacked")
    return made


@contextlib.contextmanager
def _begin(state: State, suite: Suite) -> Iterator[Path]:
    """A folder for a base chroot that is not finished, removed where it stays so."""
    new = state.chroots / f".new-{suite}"
    disk.remove_tree(new, of_root=True)
    new.mkdir(parents=True)
    try:
        yield new
    finally:
        disk.remove_tree(new, of_root=True)
