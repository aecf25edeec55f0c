"""The indexes of a suite's next state: those of the last one, and what apt-ftparchive says of packages that come in.

A published file never changes, and so neither does what an index says of it. apt-ftparchive reads a package once, when
it comes; then its lines go from one state to the next.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import lzma
import os
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from hapkg.control import Suite
from hapkg.disk import sha256_file, work_on_all
from hapkg.errors import RepositoryError
from hapkg.repository.ftparchive import Reading, begin_reading, name_indexes
from hapkg.repository.indexes import COMPONENTS, IndexedPackage, name_by_hash, parse_index, read_entries, read_index

_KEY = re.compile(rb"^Filename: (.*)$", re.MULTILINE)
_SOURCE_KEY = re.compile(rb"^Directory: (.*)$|^ [0-9a-f]{64} \d+ (\S+\.dsc)$", re.MULTILINE)
_NAME = re.compile(rb"^Package: (.*)$", re.MULTILINE)
FORMS = ("", ".gz", ".xz")
"""Suffixes of the files of an index."""


@dataclass(frozen=True, kw_only=True)
class _Base:
    """The indexes of an earlier state, by path below the suite's folder; empty when it cannot be used."""

    stanzas: Mapping[str, Mapping[str, bytes]]
    """Of Packages and Sources, by the pool path of the .deb or .dsc."""
    contents: Mapping[str, bytes]


def make_indexes(
    root: Path,
    suite: Suite,
    paths: Iterable[str],
    *,
    architectures: Sequence[str],
    new: Mapping[str, Path],
    before: Mapping[str, str],
    reading: Reading | None = None,
) -> None:
    """Write .hapkg/staging/dists/SUITE: the indexes of all paths, plain, gz and xz. Files of new lie in staging.

    `before` is an earlier state of the suite: digests of its index files by path, or nothing. Index files that are the
    same as in there are linked. `reading` is taken when it is of just the packages that the earlier state lacks.

    Raises RepositoryError for a package that cannot be read, or contradicts its name or its .dsc.
    """
    paths = sorted(paths)
    wanted = {path for path in paths if path.endswith((".deb", ".dsc"))}
    names = name_indexes(COMPONENTS, architectures)
    base = _read_base(root, suite, names, before)
    gone, kept = _sort_base(base, wanted)
    missing = sorted(wanted - kept)
    if missing and not (reading and (reading.paths, reading.architectures) == (tuple(missing), tuple(architectures))):
        reading = _read_missing(root, missing, paths, architectures)
    texts = _merge(base, names, reading.indexes if missing and reading else {}, kept, gone)
    _write_all(root, suite, texts, before)
    _check(root, texts, paths, set(missing), new, reading.messages if reading else ())


def _read_base(root: Path, suite: Suite, names: Sequence[str], before: Mapping[str, str]) -> _Base:
    """The index files of a state; none when it had others, or one of them is gone: then every package is read again."""
    texts: dict[str, bytes] = {}
    if {name for name in before if not name.endswith(FORMS[1:])} == set(names):
        try:
            texts = {name: read_index(root / "dists" / suite, name, before) for name in names}
        except RepositoryError:
            texts = {}
    return _Base(
        stanzas={name: split_index(name, text) for name, text in texts.items() if not _is_contents(name)},
        contents={name: text for name, text in texts.items() if _is_contents(name)},
    )


def _sort_base(base: _Base, wanted: Set[str]) -> tuple[set[bytes], set[str]]:
    """Names of binary packages of which a version is gone, and pool paths whose stanzas stay.

    Contents tell no versions: whatever else has a name that is gone is read again.
    """
    stanzas = {path: stanza for found in base.stanzas.values() for path, stanza in found.items()}
    gone = {_find_name(stanza) for path, stanza in stanzas.items() if path not in wanted}
    kept = {
        path
        for path, stanza in stanzas.items()
        if path in wanted and not (path.endswith(".deb") and _find_name(stanza) in gone)
    }
    return gone, kept


def _read_missing(root: Path, missing: Sequence[str], paths: Iterable[str], architectures: Sequence[str]) -> Reading:
    """Ask apt-ftparchive for packages, of which the staging folder gets links to those that are published already.

    Other files in their folders get links, too: a .dsc that is read may name them.
    """
    staging = root / ".hapkg" / "staging"
    folders = {path.rpartition("/")[0] for path in missing}
    for path in paths:
        if path.rpartition("/")[0] in folders and not os.path.lexists(f"{staging}/{path}"):
            (staging / path).parent.mkdir(parents=True, exist_ok=True)
            (staging / path).symlink_to(root / path)
    with begin_reading(staging, missing, architectures) as finish:
        return finish()


def _merge(
    base: _Base, names: Sequence[str], fresh: Mapping[str, bytes], kept: Set[str], gone: Set[bytes]
) -> dict[str, bytes]:
    """The texts of all plain index files, by path below the suite's folder."""
    return {
        name: merge_contents(base.contents.get(name, b""), fresh.get(name, b""), gone)
        if _is_contents(name)
        else merge_index(base.stanzas.get(name, {}), split_index(name, fresh.get(name, b"")), kept)
        for name in names
    }


def _write_all(root: Path, suite: Suite, texts: Mapping[str, bytes], before: Mapping[str, str]) -> None:
    """Write the files of all indexes, or link them where an index is the same as before."""
    published, folder = root / "dists" / suite, root / ".hapkg" / "staging" / "dists" / suite
    same = {name for name, text in texts.items() if before.get(name) == hashlib.sha256(text).hexdigest()}

    def write(file: tuple[str, str]) -> None:
        name, form = file
        path = name + form
        if not (name in same and _link(published, folder, path, before.get(path, ""))):
            (folder / path).write_bytes(_compress(texts[name], form))

    for name in texts:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    work_on_all(write, list(itertools.product(texts, FORMS)))


def _check(
    root: Path,
    texts: Mapping[str, bytes],
    paths: Sequence[str],
    fresh: Set[str],
    new: Mapping[str, Path],
    messages: Sequence[str],
) -> None:
    """Compare the indexes with the files: names and sizes of all, digests of new ones.

    apt-ftparchive leaves out what it cannot read, and ends with 0.
    """
    packages = [p for name, text in texts.items() if not _is_contents(name) for p in parse_index(text.decode())]
    if faults := _find_faults(root, packages, paths, fresh, new):
        raise RepositoryError(
            f"{len(faults)} of the files to publish cannot be indexed" if len(faults) > 1 else faults[0],
            details=(*(faults if len(faults) > 1 else ()), *messages),
            hint="build the source package again",
        )


def split_index(name: str, text: bytes) -> dict[str, bytes]:
    """The stanzas of a Packages or Sources file by the pool path of the .deb or .dsc that each is about."""
    blocks = [block for block in text.split(b"\n\n") if block.strip()]
    if not name.endswith("/Sources"):
        return {_KEY.search(block)[1].decode(): block.strip(b"\n") for block in blocks}  # type: ignore[index]
    found = {}
    for block in blocks:
        words = [match[1] or match[2] for match in _SOURCE_KEY.finditer(block)]
        folder = next(match[1] for match in _SOURCE_KEY.finditer(block) if match[1])
        found[b"/".join((folder, next(word for word in words if word.endswith(b".dsc")))).decode()] = block.strip(b"\n")
    return found


def merge_index(known: Mapping[str, bytes], fresh: Mapping[str, bytes], kept: Set[str]) -> bytes:
    """The stanzas of the last state that stay, and those that come, in apt-ftparchive's order: by path."""
    blocks = {**{path: block for path, block in known.items() if path in kept}, **fresh}
    return b"".join(b"%s\n\n" % blocks[path] for path in sorted(blocks))


def merge_contents(known: bytes, fresh: bytes, gone: Set[bytes]) -> bytes:
    """The lines of two Contents files, without packages of the first that are called as one that is gone.

    A line is the path of a file, white space, and the packages that have it, as SECTION/NAME with commas between. Lines
    and names are sorted, so that the same packages give the same bytes however a suite came to them.
    """
    owners: dict[bytes, set[bytes]] = {}
    for line in known.splitlines():
        path, names = _split_line(line)
        if left := {name for name in names if name.rpartition(b"/")[2] not in gone}:
            owners.setdefault(path, set()).update(left)
    for line in fresh.splitlines():
        path, names = _split_line(line)
        owners.setdefault(path, set()).update(names)
    lines = sorted(owners.items(), key=lambda line: line[0].rstrip())
    return b"".join(path + b",".join(sorted(names)) + b"\n" for path, names in lines)


def _split_line(line: bytes) -> tuple[bytes, list[bytes]]:
    """A path with the white space after it, and the packages that have it."""
    names = line.rsplit(None, 1)[-1]
    return line[: len(line.rstrip()) - len(names)], names.split(b",")


def _is_contents(name: str) -> bool:
    return "/Contents-" in name


def _find_name(block: bytes) -> bytes:
    found = _NAME.search(block)
    return found[1] if found else b""


def _link(source: Path, target: Path, path: str, digest: str) -> bool:
    """Link a published file with this digest, plain or by hash, under its plain name; False if there is none."""
    for candidate in (path, name_by_hash(path, digest)):
        try:
            if sha256_file(source / candidate) == digest:
                os.link(source / candidate, target / path)
                return True
        except OSError:  # a file system without links
            continue
    return False


def _compress(content: bytes, form: str) -> bytes:
    if form == ".gz":
        return gzip.compress(content, 6, mtime=0)
    # digests fill an index, and nothing makes them smaller: preset 2 takes eight times as long for a twentieth
    return lzma.compress(content, preset=0) if form == ".xz" else content


def _find_faults(
    root: Path, packages: Iterable[IndexedPackage], paths: Sequence[str], fresh: Set[str], new: Mapping[str, Path]
) -> list[str]:
    """Differences of the indexes from the files, a sentence each."""
    faults: dict[str, str] = {}
    entries: dict[str, tuple[str, str]] = {}
    for stanza in (package.fields for package in packages):
        found = read_entries(stanza)
        entries.update(found)
        if fresh.isdisjoint(found):
            continue
        version = stanza["Version"].partition(":")[2] or stanza["Version"]
        stem = f"{stanza['Package']}_{version}"
        right = f"{stem}_{stanza['Architecture']}.deb" if "Filename" in stanza else f"{stem}.dsc"
        if not any(path.endswith(f"/{right}") for path in found):
            path = next(iter(found))
            faults[path] = f"{Path(path).name} should be called {right} by what is in it"
    for path in paths:
        name, file = path.rpartition("/")[2], f"{root}/.hapkg/staging/{path}" if path in new else f"{root}/{path}"
        try:
            actual = os.stat(file).st_size  # noqa: PTH116 - of every package, at every publish
        except FileNotFoundError:
            faults[path] = f"{path} is missing from the pool"
            continue
        if path not in entries:
            faults[path] = f"{name} is not a package that apt-ftparchive can read"
        else:
            size, digest = entries[path]
            if int(size) != actual or (path in new and digest != sha256_file(file)):
                faults[path] = f"{name} is not the file that its index or .dsc describes"
    faults |= {path: f"{path} is named by a .dsc and missing" for path in entries.keys() - set(paths)}
    return [faults[path] for path in sorted(faults)]
