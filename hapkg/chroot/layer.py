"""Build dependencies, installed once: layers of files that sessions see between the base chroot and their own writes.

A layer is the overlay of a session in which a set of packages, each in one version, was installed over the base. Its
key is the hash of both. It is made under another name and renamed when it is whole and on the disk; every session that
uses it compares it with the listing that was made then. Root's part of this is data/hapkg-layers.sh.

What every source package wants, debhelper and all that this needs, is a layer as well; so is this with Python, which
many want, and that with GLib. A layer lies on the largest of these that it holds, in the same versions: installing it
anew would take a good part of the time of each.

layers/<key>/         root's: the files, their listing, their size, the key of the layer below
layers/<key>.json     ours: what is in it; its time is that of the last use
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hapkg import disk
from hapkg.chroot import schroot
from hapkg.chroot.archives import Archive, fetch_archives
from hapkg.chroot.resolver import find_archives, resolve
from hapkg.chroot.schroot import Chroot
from hapkg.chroot.sessions import DAMAGED, LAYER_MARK, Session, enter
from hapkg.errors import BuildError, MachineError, ProcessError
from hapkg.locations import State
from hapkg.programs import process
from hapkg.records import digest_json, format_record, read_record

DAYS = 30
"""Days that a layer stays unused."""
MOST_BYTES = 12 << 30
"""Limit of all layers together."""
_COMMON = ("debhelper-compat (= 13)", "python3", "libglib2.0-dev")
"""Relations of the layers below the others: the first of these, the first two, and so on."""
_KEY = re.compile("[0-9a-f]{64}")

_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A finished layer."""

    key: str
    packages: Mapping[str, str]
    bytes: int
    used: float
    """When it was used last, in seconds since 1970."""
    below: str
    """The key of the layer that it lies on; "" for the base."""
    base: str
    """The digest of its base chroot."""
    taken: bool
    """Another machine made it."""


@dataclass(frozen=True, kw_only=True)
class LayerOffer:
    """A layer that another machine has made."""

    below: str
    """The key of the layer that it lies on, which is to be here before; "" for the base."""
    bring: Callable[[], bool]
    """Puts it among the layers of this machine; False where that fails. It does not raise."""


LayerGiver = Callable[[Chroot, str], LayerOffer | None]
"""Looks for the layer with a key over a base chroot on other machines."""


@dataclass(frozen=True, kw_only=True)
class _LayerNote:
    """The record of a layer."""

    packages: Mapping[str, str]
    bytes: int
    below: str = ""
    base: str = ""
    suite: str = ""
    taken: bool = False


def make_layer_key(base: Chroot, archives: Mapping[str, Archive]) -> str:
    """The key of these packages over this base: their versions and their bytes."""
    packages = {name: [archive.version, archive.sha256] for name, archive in archives.items()}
    return digest_json([base.suite, base.digest, base.contents, packages])


def find_layer(state: State, key: str) -> Layer | None:
    """The finished layer with this key, or None."""
    return _find_layer(state, key, len(_COMMON))


def _find_layer(state: State, key: str, levels: int) -> Layer | None:
    """A layer with no more than so many below it."""
    file = state.layers / f"{key}.json"
    note = read_record(file, _LayerNote)
    if note is None or not (state.layers / key / "listing").is_file():
        return None
    if note.below and not (levels and _KEY.fullmatch(note.below) and _find_layer(state, note.below, levels - 1)):
        return None
    with contextlib.suppress(FileNotFoundError):  # removed while we looked
        used = file.stat().st_mtime
        return Layer(
            key=key,
            packages=note.packages,
            bytes=note.bytes,
            used=used,
            below=note.below,
            base=note.base,
            taken=note.taken,
        )
    return None


def find_folders(state: State, base: Chroot, packages: Mapping[str, str], path: str) -> tuple[Path, ...]:
    """Folders at a path of the base, and of the layers of these packages, as they are outside of any session."""
    layer = find_layer(state, make_layer_key(base, find_archives(base, packages, state))) if packages else None
    roots = [base.root]
    while layer is not None:
        roots.append(state.layers / layer.key / "root")
        layer = find_layer(state, layer.below) if layer.below else None
    return tuple(root / path for root in roots if (root / path).is_dir())


def list_layers(state: State) -> tuple[Layer, ...]:
    """All finished layers, the one used last at the end."""
    found = (find_layer(state, note.stem) for note in state.layers.glob("[!.]*.json"))
    return tuple(sorted((layer for layer in found if layer is not None), key=lambda layer: layer.used))


def provide_layer(
    state: State,
    base: Chroot,
    packages: Mapping[str, str],
    log: IO[bytes],
    *,
    nice: int = 0,
    giver: LayerGiver | None = None,
) -> str:
    """The key of the layer with these packages; "" for no packages at all.

    Where there is none, the giver is asked for it; what that has not is made.
    """
    if not packages:
        return ""
    archives = find_archives(base, packages, state)
    key = make_layer_key(base, archives)
    with _locks[key]:
        try:
            layer = (
                find_layer(state, key)
                or _bring(state, base, key, log, giver)
                or _make(state, base, archives, key, log, nice, giver)
            )
        except ProcessError as error:  # the one below may be damaged
            _forget_damaged(state, error, log)
            layer = _make(state, base, archives, key, log, nice, giver)
        _touch(state, layer)
    return key


def _bring(
    state: State, base: Chroot, key: str, log: IO[bytes], giver: LayerGiver | None, above: tuple[str, ...] = ()
) -> Layer | None:
    """A layer that the giver has, with those that it lies on. The caller holds its lock, and those of all above."""
    if giver is None or (offer := giver(base, key)) is None:
        return None
    chain = (*above, key)
    if offer.below:
        if offer.below in chain or len(chain) > len(_COMMON):
            return None
        with _locks[offer.below]:
            if find_layer(state, offer.below) is None and _bring(state, base, offer.below, log, giver, chain) is None:
                return None
    if not offer.bring():
        return None
    log.write(f"the layer {key[:12]} of build dependencies comes from the build cache\n".encode())
    return find_layer(state, key)


def take_layer(state: State, base: Chroot, key: str, new: Path, packages: Mapping[str, str], below: str) -> Layer:
    """Put a whole layer of another machine, a folder of root's beside the others, in its place."""
    process.run(["sync", "-f", str(new)])
    put_aside(state, key)
    new.rename(state.layers / key)
    return _note(state, base, key, packages, below, taken=True)


def _touch(state: State, layer: Layer | None) -> None:
    """Mark a layer and those below it as used now, each after the one that lies on it: it is never older than that."""
    while layer is not None:
        os.utime(state.layers / f"{layer.key}.json")
        layer = find_layer(state, layer.below) if layer.below else None


def enter_layer(
    state: State, base: Chroot, packages: Mapping[str, str], label: str, log: IO[bytes], *, nice: int = 0
) -> AbstractContextManager[Session]:
    """A session that sees the base and these packages. A layer that is not as it was made is made anew."""
    return _enter_sound(
        state, base, label, log, lambda: provide_layer(state, base, packages, log, nice=nice), nice=nice
    )


def enter_prepared(
    state: State,
    base: Chroot,
    packages: Mapping[str, str],
    content: Mapping[str, str],
    prepare: Callable[[Session], None],
    label: str,
    log: IO[bytes],
) -> AbstractContextManager[Session]:
    """A session that also sees what prepare does in one, once: a layer of its own over that of the packages.

    content says what that is: names and digests. A layer that is not as it was made is made anew.
    """

    def provide() -> str:
        below = provide_layer(state, base, packages, log)
        key = digest_json(["prepared", base.digest, base.contents, below, dict(content)])
        with _locks[key]:
            _touch(state, find_layer(state, key) or _prepare(state, base, below, content, key, prepare))
        return key

    return _enter_sound(state, base, label, log, provide)


@contextlib.contextmanager
def _enter_sound(
    state: State, base: Chroot, label: str, log: IO[bytes], provide: Callable[[], str | None], *, nice: int = 0
) -> Iterator[Session]:
    """A session over the layer that provide() names; one that is not as it was made is provided anew, once."""
    with contextlib.ExitStack() as stack:
        for attempt in (1, 2):
            try:
                key = provide()
                session = stack.enter_context(enter(base, label, {"layer": key} if key else None, nice=nice))
                break
            except ProcessError as error:
                if attempt == 2:
                    raise
                _forget_damaged(state, error, log)
        yield session


def _prepare(
    state: State,
    base: Chroot,
    below: str,
    content: Mapping[str, str],
    key: str,
    prepare: Callable[[Session], None],
) -> Layer:
    schroot.make_folders(state, base.suite)
    put_aside(state, key)
    with enter(base, f"layer-{key[:16]}", {"save": key, "layer": below}) as session:
        prepare(session)
        _mark_complete(session)
    return _note(state, base, key, content, below)


def _forget_damaged(state: State, error: ProcessError, log: IO[bytes]) -> None:
    """Put the layer aside that is the cause of a failure; raise the failure when none is."""
    damaged = next((match[1] for line in error.details if (match := DAMAGED.search(line))), None)
    if damaged is None:
        raise error
    log.write(f"the layer {damaged} is not as it was made: making it anew\n".encode())
    put_aside(state, damaged)


def put_aside(state: State, key: str) -> None:
    """Forget a layer: renamed first, so that half of one is never seen. sweep() removes it."""
    folder = state.layers
    (folder / f"{key}.json").unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        (folder / key).rename(folder / f".old-{key}-{time.time_ns()}")


def prune_layers(state: State) -> None:
    """Put aside layers that were not used for DAYS, then the oldest beyond MOST_BYTES."""
    layers = list_layers(state)
    total = sum(layer.bytes for layer in layers)
    for layer in layers:
        if layer.used < time.time() - DAYS * 86400 or total > MOST_BYTES:
            put_aside(state, layer.key)
            total -= layer.bytes


def sweep(state: State) -> None:
    """Remove what was put aside and what a crash left half made. The caller holds the lock of the state folder."""
    folder = state.layers
    for left in folder.glob(".new-*"):
        left.rename(folder / f".old-{time.time_ns()}")
    known = {layer.key for layer in list_layers(state)}
    for found in folder.glob("[!.]*"):
        if found.stem not in known:  # one of its two halves is missing
            put_aside(state, found.stem)
    if not any(folder.glob(".old-*")):
        return
    base = next(iter(schroot.list_chroots(state)), None)
    if base is not None:
        with enter(base, "sweep", {"sweep": "yes"}):
            pass
    else:
        for left in folder.glob(".old-*"):
            disk.remove_tree(left, of_root=True)


def _make(
    state: State,
    base: Chroot,
    archives: Mapping[str, Archive],
    key: str,
    log: IO[bytes],
    nice: int,
    giver: LayerGiver | None,
) -> Layer:
    packages = {name: archive.version for name, archive in archives.items()}
    schroot.make_folders(state, base.suite)
    put_aside(state, key)
    commons = (_find_common(state, base, number) for number in range(len(_COMMON), 0, -1))
    common = next((common for common in commons if common and common.items() < packages.items()), {})
    below = provide_layer(state, base, common, log, nice=nice, giver=giver)
    fetch_archives(archives.values(), state.archives / base.suite, log)
    with enter(base, f"layer-{key[:16]}", {"save": key, "layer": below}, nice=nice) as session:
        session.install([archive.file for archive in archives.values()], log=log)
        _mark_complete(session)
    return _note(state, base, key, packages, below)


def _mark_complete(session: Session) -> None:
    """Say that all of a layer is there, without what the next session makes itself: times, lists, logs."""
    tidy = "rm -f /var/cache/apt/*.bin /var/log/dpkg.log /var/log/apt/*.log /var/log/alternatives.log"
    session.run(["sh", "-c", f"{tidy} && mkdir -p {Path(LAYER_MARK).parent} && touch {LAYER_MARK}"], user="root")


def _note(
    state: State, base: Chroot, key: str, packages: Mapping[str, str], below: str, *, taken: bool = False
) -> Layer:
    """Write down that a layer is finished."""
    folder = state.layers
    try:
        size = int((folder / key / "size").read_text("utf-8")) * 1024
    except (FileNotFoundError, ValueError):
        raise MachineError(
            f"the layer {key[:12]} of build dependencies vanished while it was made", hint="run: hapkg doctor"
        ) from None
    note = _LayerNote(base=base.digest, suite=base.suite, packages=packages, bytes=size, below=below, taken=taken)
    disk.replace(folder / f"{key}.json", format_record(vars(note)))
    return Layer(key=key, packages=packages, bytes=size, used=time.time(), below=below, base=base.digest, taken=taken)


def _find_common(state: State, base: Chroot, number: int) -> Mapping[str, str]:
    """Packages of the first so many common relations; none where the archive lacks one."""
    try:
        with _locks["common"]:  # the first layers are made at the same time, and would all ask
            return resolve(base, _COMMON[:number], state, source="every source")
    except BuildError:
        return {}
