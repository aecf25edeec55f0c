"""The documents of a suite's next state, made beside its indexes: from those of its builds and of the state before."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hapkg.control import Suite
from hapkg.disk import sha256_file
from hapkg.errors import RepositoryError
from hapkg.evidence.dsse import IN_TOTO, Envelope, encode, read_envelope
from hapkg.evidence.suite_sbom import SourceEntry, make_entry, read_suite_sbom, write_suite_sbom
from hapkg.evidence.vex import VexStatement, merge_statements, read_vex, write_vex
from hapkg.repository.documents.names import (
    FOLDER,
    INDEX,
    KINDS,
    PROVENANCE,
    REBUILDS,
    SBOM,
    STATEMENTS,
    SUITE_SBOM,
    VEX,
    is_document,
)
from hapkg.repository.indexes import (
    find_suites,
    parse_index,
    read_index,
    read_indexes,
    read_pool,
)
from hapkg.repository.keys.signing import SigningKey, sign_detached
from hapkg.repository.paths import read_file
from hapkg.repository.remote.location import STAGING
from hapkg.repository.sources_file import Identity


@dataclass(frozen=True, kw_only=True)
class Claims:
    """Knowledge of the publisher about packages of a suite that no package has in it."""

    vex: tuple[VexStatement, ...] = ()
    rebuilds: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """By the sha256 of a .deb: whether it came out identical, when, where and under which variations."""


def read_documents(root: Path, suite: Suite, digests: Mapping[str, str]) -> dict[str, bytes]:
    """Documents of a suite that are there and are what the digests say, by path below dists/SUITE."""
    found: dict[str, bytes] = {}
    for name in (INDEX, SUITE_SBOM, VEX, STATEMENTS, REBUILDS):
        if name in digests:
            with contextlib.suppress(RepositoryError):  # verify tells of it; what can be made again is
                found[name] = read_index(root / "dists" / suite, name, digests)
    return found


def stage_documents(
    root: Path,
    suite: Suite,
    paths: Iterable[str],
    *,
    new: Mapping[str, Path],
    claims: Claims,
    before: Mapping[str, str],
    identity: Identity,
    key: SigningKey,
) -> None:
    """Write the documents of a suite's next state into the staging folder, where its indexes and the files of new are.

    before has the digests of an earlier state. A suite whose builds have no documents has none.
    """
    wanted = sorted(filter(is_document, paths))
    if not wanted:
        return
    listed = _list_files(root, suite, wanted, new, before)
    folder, old = root / STAGING / "dists" / suite, read_documents(root, suite, read_indexes(root, suite))
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    sbom = write_suite_sbom(identity.origin, suite, _make_entries(root, listed, new, old.get(SUITE_SBOM, b"")))
    staged = [file.read_text("utf-8") for file in folder.glob("*/binary-*/Packages")]
    digests = {digest for text in staged for one in parse_index(text) for _, digest in one.files.values()}
    contents = {
        INDEX: write_index(listed),
        SUITE_SBOM: sbom,
        STATEMENTS: _sign_all(root, folder, listed, new, old.get(STATEMENTS, b""), key),
        **make_claims(root, suite, sbom, digests, claims, before, identity.maintainer),
    }
    for scratch in (folder / FOLDER).glob("*.statement*"):
        scratch.unlink()
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def make_claims(
    root: Path,
    suite: Suite,
    sbom: bytes,
    digests: Collection[str],
    claims: Claims,
    before: Mapping[str, str],
    author: str,
) -> dict[str, bytes]:
    """VEX and rebuilds of a suite's next state: what is claimed now, and what was said before of the same packages.

    sbom is its SBOM, digests are those of its .deb files.
    """
    products = {str(one["bom-ref"]) for entry in _read_entries(sbom) for one in entry.packages}
    published = _read_claims(root, suite, read_indexes(root, suite))
    others = [_read_claims(root, other, read_indexes(root, other)) for other in find_suites(root) if other != suite]
    earlier = [_read_claims(root, suite, before), published, *others]
    date = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    statements = merge_statements(claims.vex, [one for told in earlier for one in told.vex], products, date)
    rebuilds = {digest: found for told in reversed(earlier) for digest, found in told.rebuilds.items()}
    rebuilds = {digest: found for digest, found in {**rebuilds, **claims.rebuilds}.items() if digest in digests}
    contents: dict[str, bytes] = {}
    if statements:
        same = [(one, one.date) for one in published.vex] == [(one, one.date) for one in statements]
        contents[VEX] = write_vex(author, suite, statements, max(1, published.version + (not same)))
    if rebuilds:
        contents[REBUILDS] = json.dumps(rebuilds, indent=1, sort_keys=True).encode() + b"\n"
    return contents


def has_other_claims(root: Path, suite: Suite, claims: Claims, identity: Identity) -> bool:
    """Tell whether the suite's VEX and rebuilds, with its packages as they are, would be other ones."""
    if not claims.vex and not claims.rebuilds:
        return False
    published = read_indexes(root, suite)
    sbom = read_documents(root, suite, published).get(SUITE_SBOM, b"")
    digests = {file.digest for file in read_pool(root, suite).files.values()}
    made = make_claims(root, suite, sbom, digests, claims, published, identity.maintainer)
    return any(published.get(name) != hashlib.sha256(content).hexdigest() for name, content in made.items())


def write_index(listed: Mapping[str, tuple[int, str]]) -> bytes:
    """The index of documents: a stanza for each build, with the field names of Sources."""
    stanzas: dict[str, list[str]] = {}
    for path, (size, digest) in sorted(listed.items()):
        folder, _, name = path.rpartition("/")
        source, version, _ = name.split("_", 2)
        head = f"Package: {source}\nVersion: {version}\nDirectory: {folder}\nChecksums-Sha256:\n"
        stanzas.setdefault(head, []).append(f" {digest} {size} {name}\n")
    return "\n".join(head + "".join(lines) for head, lines in stanzas.items()).encode()


def _list_files(
    root: Path, suite: Suite, paths: Iterable[str], new: Mapping[str, Path], before: Mapping[str, str]
) -> dict[str, tuple[int, str]]:
    """Size and digest of each document: of those in the pool as an index has them."""
    known = dict(read_index_text(read_documents(root, suite, before).get(INDEX, b"")))
    for other in find_suites(root):
        known |= read_index_text(read_documents(root, other, read_indexes(root, other)).get(INDEX, b""))
    listed: dict[str, tuple[int, str]] = {}
    for path in paths:
        file = root / STAGING / path if path in new else root / path
        kept = known.get(path) if path not in new else None
        listed[path] = kept or (file.stat().st_size, sha256_file(file))
    return listed


def read_index_text(content: bytes) -> dict[str, tuple[int, str]]:
    """Size and digest of each document that an index names, by pool path. Raises RepositoryError."""
    found: dict[str, tuple[int, str]] = {}
    for stanza in parse_index(content.decode("utf-8", "replace")):
        found.update(stanza.files)
    return found


def _make_entries(
    root: Path, listed: Mapping[str, tuple[int, str]], new: Mapping[str, Path], published: bytes
) -> Iterator[SourceEntry]:
    """Entries of the suite's SBOM: those of the state before that stay, and those of builds that come."""
    kept = {entry.document: entry for entry in _read_entries(published)}
    for path in listed:
        if not path.endswith(SBOM):
            continue
        stem = path.removesuffix(SBOM)
        documents = {f"{stem}{kind}": listed[f"{stem}{kind}"][1] for kind in KINDS if f"{stem}{kind}" in listed}
        if path in kept and _find_told(kept[path]) == documents:
            yield kept[path]
            continue
        try:
            yield make_entry(read_file(root / STAGING / path if path in new else root / path), documents)
        except ValueError as error:
            raise RepositoryError(f"{path}: {error}", hint="build the source package again") from error


def _find_told(entry: SourceEntry) -> dict[str, str]:
    references = entry.source.get("externalReferences", ())
    return {str(one["url"]): str(one["hashes"][0]["content"]) for one in references}


def _read_entries(content: bytes) -> list[SourceEntry]:
    try:
        return read_suite_sbom(content) if content else []
    except ValueError:
        return []


@dataclass(frozen=True, kw_only=True)
class _Told:
    """Claims of a state that was published."""

    vex: list[VexStatement]
    version: int
    rebuilds: Mapping[str, Mapping[str, object]]


def _read_claims(root: Path, suite: Suite, digests: Mapping[str, str]) -> _Told:
    """The claims of one state; a damaged document is as good as absent."""
    found = read_documents(root, suite, digests)
    statements: list[VexStatement] = []
    version = 0
    rebuilds: Mapping[str, Mapping[str, object]] = {}
    with contextlib.suppress(ValueError):
        if VEX in found:
            statements, version = read_vex(found[VEX])
        if REBUILDS in found:
            rebuilds = read_rebuilds(found[REBUILDS])
    return _Told(vex=statements, version=version, rebuilds=rebuilds)


def read_rebuilds(content: bytes) -> dict[str, Mapping[str, object]]:
    """Rebuilds by the sha256 of the .deb. Raises ValueError for anything else."""
    try:
        table = json.loads(content)
    except RecursionError as cause:
        raise ValueError("it is nested without end") from cause
    if not isinstance(table, dict) or not all(isinstance(value, dict) for value in table.values()):
        raise ValueError("it is no list of rebuilds")
    return table


def _sign_all(
    root: Path,
    folder: Path,
    listed: Mapping[str, tuple[int, str]],
    new: Mapping[str, Path],
    published: bytes,
    key: SigningKey,
) -> bytes:
    """An envelope for each statement, a line each: as it was published where this key has signed it already."""
    signed: dict[str, bytes] = {}
    for line in published.splitlines(keepends=True):
        with contextlib.suppress(ValueError):  # it is written anew
            envelope = read_envelope(line)
            if set(envelope.signatures) == set(key.fingerprints):
                signed[hashlib.sha256(envelope.payload).hexdigest()] = line
    lines: list[bytes] = []
    missing: list[tuple[int, bytes]] = []
    for path in (path for path in listed if path.endswith(PROVENANCE)):
        lines.append(signed.get(listed[path][1], b""))
        if not lines[-1]:
            missing.append((len(lines) - 1, read_file(root / STAGING / path if path in new else root / path)))
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    files = []
    for number, payload in missing:
        files.append(folder / FOLDER / f"{number}.statement")
        files[-1].write_bytes(encode(IN_TOTO, payload))
    signatures = sign_detached(key, files) if files else []
    for (number, payload), found in zip(missing, signatures, strict=True):
        lines[number] = Envelope(payload=payload, payload_type=IN_TOTO, signatures=found).format()
    return b"".join(lines)
