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
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

from hapkg.control import Suite
from hapkg.disk import run_beside, sha256_file, work_on_all
from hapkg.errors import RepositoryError
from hapkg.repository.ftparchive import Reading, begin_reading, name_indexes
from hapkg.repository.indexes import COMPONENTS, Package, name_by_hash, parse_index, read_entries, read_index

_KEY = re.compile(rb"^Filename: (.*)$", re.MULTILINE)
_SOURCE_KEY = re.compile(rb"^Directory: (.*)$|^ [0-9a-f]{64} \d+ (\S+\.dsc)$", re.MULTILINE)
_NAME = re.compile(rb"^Package: (.*)$", re.MULTILINE)
FORMS = ("", ".gz", ".xz")
"""What the names of an index's files end in; each takes longer than the one before."""
_LONG = 1 << 20
"""From which estimate on an index is written beside other work: with less, threads take more by taking turns."""


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

    before is a state of the suite to begin with: the digests of its index files by path, or nothing. What is the same
    as in there is linked, not made. reading is what apt-ftparchive said already; it is taken when it is of just the
    packages that come in. apt-ftparchive leaves out what it cannot read and ends with 0; hence every index is compared
    with the files: names and sizes of all, digests of those in new.

    Raises RepositoryError for a package that cannot be read, or contradicts its name or its .dsc.
    """
    staging, paths = root / ".hapkg" / "staging", sorted(paths)
    names = name_indexes(COMPONENTS, architectures)
    base = _read_base(root, suite, names, before)
    wanted = {path for path in paths if path.endswith((".deb", ".dsc"))}
    known = {name: split_index(name, text) for name, text in base.items() if not _is_contents(name)}
    gone = {
        _find_name(block) for blocks in known.values() for path, block in blocks.items() if path not in wanted
    }  # whatever else has their names is read again: Contents tell no versions
    kept = {
        path
        for blocks in known.values()
        for path, block in blocks.items()
        if path in wanted and not (path.endswith(".deb") and _find_name(block) in gone)
    }
    fresh = sorted(wanted - kept)
    if fresh and not (reading and (reading.paths, reading.architectures) == (tuple(fresh), tuple(architectures))):
        _show(root, staging, fresh, paths)
        with begin_reading(staging, fresh, architectures) as take:
            reading = take()
    came = reading.indexes if fresh and reading else {}
    texts: dict[str, bytes] = {}
    for name in names:
        if _is_contents(name):
            place = f"{name.partition('/')[0]}/binary-{name.rpartition('-')[2]}/Packages"
            texts[name] = merge_contents(base.get(name, b""), came.get(name, b""), gone, texts[place])
        else:
            texts[name] = merge_index(known.get(name, {}), split_index(name, came.get(name, b"")), kept)
    for name in names:
        (staging / "dists" / suite / name).parent.mkdir(parents=True, exist_ok=True)
    same = {name for name, text in texts.items() if before.get(name) == hashlib.sha256(text).hexdigest()}

    def write(file: tuple[str, str]) -> None:
        _write(root, suite, file, texts[file[0]], before if file[0] in same else {})

    files = sorted(itertools.product(names, FORMS), key=lambda file: _estimate(texts[file[0]], file[1]), reverse=True)
    long = [file for file in files if _estimate(texts[file[0]], file[1]) >= _LONG]
    with run_beside(lambda: work_on_all(write, long)):
        packages = [p for name in names if not _is_contents(name) for p in parse_index(texts[name].decode())]
        faults = _find_faults(root, packages, paths, set(fresh), new)
    work_on_all(write, files[len(long) :])
    if faults:
        raise RepositoryError(
            f"{len(faults)} of the files to publish cannot be indexed" if len(faults) > 1 else faults[0],
            details=(*(faults if len(faults) > 1 else ()), *(reading.messages if reading else ())),
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


def merge_contents(known: bytes, fresh: bytes, gone: Set[bytes], packages: bytes) -> bytes:
    """The same for Contents, without the packages that are called as one that is gone; packages is their index.

    A line is the path of a file, space, and the packages that have it: the first one of the index, then from the last
    one on.
    """
    if not known:
        return fresh
    lines = known.splitlines(keepends=True)
    if gone:
        lines = [kept for line in lines if (kept := _drop_packages(line, gone))]
    places: dict[bytes, int] = {}
    for line in fresh.splitlines(keepends=True):
        path, names = _split_line(line)
        place = bisect_left(lines, path.rstrip(), key=lambda other: _split_line(other)[0].rstrip())
        if place == len(lines) or _split_line(lines[place])[0].rstrip() != path.rstrip():
            lines.insert(place, line)
            continue
        places = places or _number_packages(packages)
        first, *others = sorted({*names, *_split_line(lines[place])[1]}, key=lambda name: (places.get(name, 0), name))
        lines[place] = path + b",".join((first, *reversed(others))) + b"\n"
    return b"".join(lines)


def _split_line(line: bytes) -> tuple[bytes, list[bytes]]:
    """A path with the space after it, and the packages that have it."""
    names = line.rsplit(None, 1)[-1]
    return line[: len(line.rstrip()) - len(names)], names.split(b",")


def _drop_packages(line: bytes, gone: Set[bytes]) -> bytes:
    path, names = _split_line(line)
    left = [name for name in names if name.rpartition(b"/")[2] not in gone]
    return line if len(left) == len(names) else path + b",".join(left) + b"\n" if left else b""


def _number_packages(packages: bytes) -> dict[bytes, int]:
    """The order of an index, by what Contents calls the packages: SECTION/NAME."""
    found: dict[bytes, int] = {}
    for number, block in enumerate(packages.split(b"\n\n")):
        if name := _NAME.search(block):
            section = re.search(rb"^Section: (.*)$", block, re.MULTILINE)
            found.setdefault(b"/".join((section[1], name[1])) if section else name[1], number)
    return found


def _is_contents(name: str) -> bool:
    return "/Contents-" in name


def _find_name(block: bytes) -> bytes:
    found = _NAME.search(block)
    return found[1] if found else b""


def _read_base(root: Path, suite: Suite, names: Sequence[str], before: Mapping[str, str]) -> dict[str, bytes]:
    """The index files of a state; none when it had others, or one of them is gone: then every package is read again."""
    if {name for name in before if not name.endswith(FORMS[1:])} != set(names):
        return {}
    try:
        return {name: read_index(root / "dists" / suite, name, before) for name in names}
    except RepositoryError:
        return {}


def _show(root: Path, staging: Path, fresh: Iterable[str], paths: Iterable[str]) -> None:
    """Let staging lead to what is published already and read again, or may be named by a .dsc that is read."""
    folders = {path.rpartition("/")[0] for path in fresh}
    for path in paths:
        if path.rpartition("/")[0] in folders and not os.path.lexists(f"{staging}/{path}"):
            (staging / path).parent.mkdir(parents=True, exist_ok=True)
            (staging / path).symlink_to(root / path)


def _estimate(text: bytes, form: str) -> int:
    """How long a form of an index takes, against others."""
    return len(text) * FORMS.index(form)


def _write(root: Path, suite: Suite, file: tuple[str, str], text: bytes, before: Mapping[str, str]) -> None:
    """Write one form of an index, or let it be the one of the last state, if that has it."""
    path = "".join(file)
    published, folder = root / "dists" / suite, root / ".hapkg" / "staging" / "dists" / suite
    if not (before and _link(published, folder, path, before.get(path, ""))):
        (folder / path).write_bytes(_compress(text, file[1]))


def _link(source: Path, target: Path, path: str, digest: str) -> bool:
    """Whether a published file with this digest, plain or by hash, now has its plain name in target as well."""
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
    root: Path, packages: Iterable[Package], paths: Sequence[str], fresh: Set[str], new: Mapping[str, Path]
) -> list[str]:
    """What the indexes say that is not so, one sentence a file."""
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
        name, place = path.rpartition("/")[2], f"{root}/.hapkg/staging/{path}" if path in new else f"{root}/{path}"
        try:
            actual = os.stat(place).st_size  # noqa: PTH116 - of every package, at every publish
        except FileNotFoundError:
            faults[path] = f"{path} is missing from the pool"
            continue
        if path not in entries:
            faults[path] = f"{name} is not a package that apt-ftparchive can read"
        else:
            size, digest = entries[path]
            if int(size) != actual or (path in new and digest != sha256_file(place)):
                faults[path] = f"{name} is not the file that its index or .dsc describes"
    faults |= {path: f"{path} is named by a .dsc and missing" for path in entries.keys() - set(paths)}
    return [faults[path] for path in sorted(faults)]
