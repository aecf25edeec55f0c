"""apt's view of a suite: Packages, Sources and Release are read here, and Release is made."""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, cmp_to_key, lru_cache
from pathlib import Path

from hapkg.control import BinaryName, SourceName, Suite, compare_versions, format_date, parse_pins, split_stanzas
from hapkg.disk import sha256_file
from hapkg.errors import RepositoryError
from hapkg.host import read_architecture
from hapkg.repository.paths import check_digest, check_path, read_file

COMPONENTS = ("main", "debug")
DOCUMENTS = "evidence/Index"
"""Index of the documents of builds, below dists/SUITE."""

_MOST_BYTES = 1 << 30
"""Most bytes of an index, unpacked."""
_NEWEST = ("InRelease", "Release")
_VERSION = re.compile(r"[A-Za-z0-9.+:~-]+")
_BINARY_FOLDER = re.compile(r"/binary-([^/]+)/")


@dataclass(frozen=True, kw_only=True)
class PublishedSource:
    """One version of a source package in the repository, and its field Hapkg-Key ("" without)."""

    version: str
    key: str


_RECOMMENDED = 3
"""Packages that are named where none stands for all."""


@dataclass(frozen=True, kw_only=True)
class PoolFile:
    """One published file: its path below the repository and its SHA256 in hexadecimal digits."""

    path: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class IndexedPackage:
    """One binary or source package as its index describes it."""

    fields: Mapping[str, str]

    @property
    def name(self) -> str:
        """The field Package."""
        return self.fields["Package"]

    @property
    def version(self) -> str:
        """The field Version."""
        return self.fields["Version"]

    @property
    def architecture(self) -> str:
        """The field Architecture; "source" for a source package."""
        return self.fields["Architecture"] if "Filename" in self.fields else "source"

    @property
    def source(self) -> tuple[SourceName, str]:
        """Name and version of the source package that it is, or comes from."""
        name, _, version = self.fields.get("Source", self.name).partition(" ")
        return SourceName(name), version.strip("()") or self.version

    @property
    def pins(self) -> tuple[tuple[BinaryName, str], ...]:
        """The packages that it depends on in one version alone."""
        return tuple(
            pin
            for name in ("Pre-Depends", "Depends", "Recommends")
            for pin in parse_pins(self.fields.get(name, ""))
            if "Filename" in self.fields
        )

    @property
    def files(self) -> Mapping[str, tuple[int, str]]:
        """Size and SHA256 of its files, by pool path."""
        return {path: (int(size), digest) for path, (size, digest) in read_entries(self.fields).items()}


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Files and packages that a suite offers."""

    files: Mapping[str, PoolFile] = field(default_factory=dict)
    """By file name: one name is one file in a suite, whichever source it belongs to."""
    packages: tuple[IndexedPackage, ...] = ()
    """Binary and source packages, each once, in the order of the indexes."""
    architectures: tuple[str, ...] = ()
    documents: tuple[IndexedPackage, ...] = ()
    """Documents of builds: SBOM, provenance and .buildinfo file of a source package, under its name and version."""

    @cached_property  # comparing versions takes long, and a history is read without
    def sources(self) -> Mapping[SourceName, tuple[PublishedSource, ...]]:
        """Versions of source packages in ascending order, by name."""
        found: dict[SourceName, dict[str, PublishedSource]] = {}
        for package in self.packages:
            if "Filename" not in package.fields:
                source = PublishedSource(version=package.version, key=package.fields.get("Hapkg-Key", ""))
                found.setdefault(SourceName(package.name), {})[package.version] = source
        return {name: tuple(known[version] for version in _sort_versions(known)) for name, known in found.items()}

    @cached_property
    def binaries(self) -> Mapping[BinaryName, tuple[str, ...]]:
        """Versions of binary packages in ascending order, by name."""
        found: dict[BinaryName, set[str]] = {}
        for package in self.packages:
            if "Filename" in package.fields:
                found.setdefault(BinaryName(package.name), set()).add(package.version)
        return {name: _sort_versions(versions) for name, versions in found.items()}

    @property
    def paths(self) -> frozenset[str]:
        """The pool paths of all files."""
        return frozenset(file.path for file in self.files.values())


def _sort_versions(versions: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(versions, key=cmp_to_key(compare_versions)))


def recommend(pool: Pool, name: str) -> str:
    """Packages of a suite to name to who wants to install something: the one called so, else some that are no symbols.

    Nothing where the suite has no binary package but keyrings.
    """
    if name in pool.binaries:
        return name
    plain = [other for other in sorted(pool.binaries) if not other.endswith(("-dbgsym", "-dev", "-archive-keyring"))]
    return " ".join(plain[:_RECOMMENDED])


def find_suites(root: Path) -> tuple[Suite, ...]:
    """The suites that are published below root."""
    return tuple(sorted({Suite(file.parent.name) for name in _NEWEST for file in root.glob(f"dists/*/{name}")}))


def find_newest(root: Path, suite: Suite) -> Path:
    """The file that says what a suite is: InRelease, or Release where nothing is signed."""
    found = (root / "dists" / suite / name for name in _NEWEST)
    return next((file for file in found if file.is_file()), root / "dists" / suite / _NEWEST[0])


def read_pool(root: Path, suite: Suite) -> Pool:
    """The pool of a suite as it is now; an empty one when it was never published. Needs no lock.

    Only what find_newest() leads to counts: other files may be those of a publish that is running, or was killed.
    Raises RepositoryError when an index is missing or is not what InRelease says.
    """
    return read_state(root, suite, read_digests(read_release(find_newest(root, suite))))


def read_state(root: Path, suite: Suite, digests: Mapping[str, str]) -> Pool:
    """The pool of a suite whose index files have these digests, by path below dists/SUITE.

    Raises RepositoryError when an index is gone.
    """
    folder = root / "dists" / suite
    files: dict[str, PoolFile] = {}
    packages: dict[str, IndexedPackage] = {}
    documents: list[IndexedPackage] = []
    for path in digests:
        if path != DOCUMENTS and not path.endswith(("/Packages", "/Sources")):
            continue
        for package in parse_index(_read_text(folder, path, digests)):
            entries = read_entries(package.fields)
            for pool_path, (_, pool_digest) in entries.items():
                files[pool_path.rpartition("/")[2]] = PoolFile(path=pool_path, digest=pool_digest)
            if path == DOCUMENTS:
                documents.append(package)
            else:
                packages.setdefault(" ".join(entries), package)
    return Pool(
        files=files,
        packages=tuple(packages.values()),
        documents=tuple(documents),
        architectures=tuple(sorted({match[1] for path in digests if (match := _BINARY_FOLDER.search(path))})),
    )


@lru_cache(maxsize=8)  # one publish reads the same index several times
def parse_index(text: str) -> tuple[IndexedPackage, ...]:
    """The packages of an index."""
    return tuple(package for block in text.split("\n\n") for package in _parse_stanza(block))


@lru_cache(maxsize=1 << 15)  # and the next index says the same of most packages
def _parse_stanza(block: str) -> tuple[IndexedPackage, ...]:
    return tuple(IndexedPackage(fields=_check_stanza(stanza)) for stanza in split_stanzas(block))


def _check_stanza(stanza: Mapping[str, str]) -> Mapping[str, str]:
    needed = ("Package", "Version", *(("Architecture",) if "Filename" in stanza else ()))
    missing = [name for name in needed if not stanza.get(name)]
    if missing or not _VERSION.fullmatch(stanza["Version"]):
        fault = f"no {missing[0]}" if missing else "a damaged Version"
        raise RepositoryError(
            f"an index of the repository has a stanza with {fault}", hint="restore the repository from a copy"
        )
    return stanza


def read_release(file: Path) -> Mapping[str, str]:
    """The fields of a Release or InRelease file; none when there is no such file. The signature is not checked."""
    if not file.is_file():
        return {}
    text = read_file(file).decode("utf-8", "replace")
    if text.startswith("-----BEGIN PGP SIGNED MESSAGE-----"):
        text = text.partition("\n\n")[2].partition("\n-----BEGIN PGP SIGNATURE-----")[0]
    return next(split_stanzas(text), {})


def read_digests(release: Mapping[str, str]) -> dict[str, str]:
    """SHA256 of each index file, by its path below dists/SUITE, as a Release file has it."""
    lines = (line.split() for line in release.get("SHA256", "").splitlines())
    found = {words[2]: words[0] for words in lines if len(words) == 3}
    for path, digest in found.items():
        check_path(path, where=f"the Release file of {release.get('Suite', 'a suite')}")
        check_digest(digest, where=f"the Release file of {release.get('Suite', 'a suite')}")
    return found


def find_indexes(root: Path, suite: Suite) -> list[Path]:
    """The index files of a suite, compressed ones too, without their by-hash names."""
    folder = root / "dists" / suite
    return sorted(file for kind in ("*/Packages*", "*/Sources*", "Contents-*") for file in folder.glob(f"*/{kind}"))


def make_release(staging: Path, suite: Suite, fields: Mapping[str, str]) -> bytes:
    """The Release file for what lies in staging/dists/SUITE, with further fields. Also in staging/Release-SUITE.

    ValidTime, in seconds, becomes Valid-Until. The order is apt-ftparchive's, which made these files once.
    """
    folder, now = staging / "dists" / suite, datetime.now(UTC)
    values = {**fields, "Suite": suite, "Codename": suite, "Acquire-By-Hash": "yes", "Date": format_date(now)}
    if seconds := values.pop("ValidTime", ""):
        values["Valid-Until"] = format_date(now + timedelta(seconds=int(seconds)))
    lines = ["Snapshots: no", *(f"{name}: {values[name]}" for name in sorted(values)), "SHA256:"]
    for file in [*find_indexes(staging, suite), *sorted(folder.glob("evidence/*.*")), *folder.glob(DOCUMENTS)]:
        lines.append(f" {sha256_file(file)} {file.stat().st_size:16} {file.relative_to(folder)}")
    release = "".join(f"{line}\n" for line in lines).encode()
    (staging / f"Release-{suite}").write_bytes(release)
    return release


def read_indexes(root: Path, suite: Suite) -> dict[str, str]:
    """Digests of a suite's index files and documents as it is now, by path below its folder."""
    return read_digests(read_release(find_newest(root, suite)))


def find_architectures(paths: Iterable[str], known: Collection[str] = ()) -> set[str]:
    """The architectures of .deb files by their names, without "all"; and this machine's, unless some are known."""
    found = {path.removesuffix(".deb").rpartition("_")[2] for path in paths if path.endswith(".deb")}
    return (found | (set() if known else {read_architecture()})) - {"all"}


def read_entries(stanza: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Size and SHA256 of each file that a stanza of Packages or Sources describes, by pool path.

    Raises RepositoryError for a path that leads out of the pool, and for what is no size or digest.
    """
    where = f"the stanza of {stanza.get('Package', 'a package')}"
    try:
        if "Filename" in stanza:
            found = {stanza["Filename"]: (stanza["Size"], stanza["SHA256"])}
        else:
            lines = (line.split() for line in stanza["Checksums-Sha256"].splitlines() if line.strip())
            found = {f"{stanza['Directory']}/{name}": (size, digest) for digest, size, name in lines}
    except (KeyError, ValueError) as error:
        raise RepositoryError(f"{where} in an index of the repository is damaged: {error}") from error
    for path, (size, digest) in found.items():
        check_path(path, where=where, below="pool/")
        check_digest(digest, where=where)
        if not (size.isascii() and size.isdigit()):
            raise RepositoryError(f"{where} in an index of the repository has no size: {size!a}")
    return found


def name_by_hash(path: str, digest: str) -> str:
    """Path of an index file by its digest, below dists/SUITE."""
    return f"{path.rpartition('/')[0]}/by-hash/SHA256/{digest}"


def _read_text(folder: Path, path: str, digests: Mapping[str, str]) -> str:
    try:
        return read_index(folder, path, digests).decode()
    except UnicodeDecodeError as error:
        raise RepositoryError(
            f"the index {folder / path} is not UTF-8 text", hint="restore the repository from a copy"
        ) from error


def read_index(folder: Path, path: str, digests: Mapping[str, str]) -> bytes:
    """An index of a state: under its plain name, or by hash while a publish is between the two; old ones as .xz.

    Raises RepositoryError.
    """
    digest, compressed = digests[path], digests.get(f"{path}.xz", "")
    for candidate in (folder / path, folder / name_by_hash(path, digest), folder / name_by_hash(path, compressed)):
        if candidate.is_file():
            content = read_file(candidate, most=_MOST_BYTES)
            if compressed and candidate.name == compressed:
                with contextlib.suppress(lzma.LZMAError, EOFError):
                    content = lzma.LZMADecompressor().decompress(content, max_length=_MOST_BYTES)
            if hashlib.sha256(content).hexdigest() == digest:
                return content
    raise RepositoryError(
        f"the index {folder / path} is missing, or is not the one that InRelease names",
        hint="restore the repository from a copy, or remove its dists folder and publish every build again",
    )
