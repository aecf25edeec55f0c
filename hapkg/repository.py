"""The apt repository: pool/, dists/, signatures, and what users need to trust it.

    pool/SUITE/main/h/ha-corosync/…      packages and sources; a file once published never changes
    pool/SUITE/debug/h/ha-corosync/…     debug symbols, a component of their own
    dists/SUITE/                         Release, Release.gpg, InRelease; indexes with by-hash
    ORIGIN-archive-keyring.gpg, .asc     the public key
    NAME-SUITE.sources, NAME.sources     ready for /etc/apt/sources.list.d
    .hapkg/                              lock, staging, apt-ftparchive's cache, earlier Release files; not for users

A publish prepares everything in .hapkg/staging, then moves it into place: pool, by-hash files, plain indexes, Release,
and at last InRelease. apt follows InRelease to by-hash files alone, so that a publish that is killed anywhere leaves
what was published before.
"""

from __future__ import annotations

import filecmp
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parseaddr, parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

from hapkg import disk
from hapkg.control import SourceName, Suite, read_file_names
from hapkg.errors import MachineError, RepositoryError
from hapkg.indexes import (
    COMPONENTS,
    Pool,
    compute_digest,
    find_architectures,
    find_suites,
    make_indexes,
    make_release,
    read_digests,
    read_pool,
    read_release,
)
from hapkg.signing import KeyChoice, SigningKey, export_key, find_key, has_signed, sign

__all__ = ["Identity", "KeyChoice", "Pool", "Publication", "Upload", "make_sources", "publish", "read_pool"]

KEPT_GENERATIONS = 3
"""How many states of a suite apt can read: the current one and those a slow client may have begun with."""

_PRIVATE = ".hapkg"


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What one finished build brings: its .deb files, and the .dsc with the files that names. Others are ignored."""

    suite: Suite
    source: SourceName
    files: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who publishes. origin, label and maintainer ("NAME <ADDRESS>") are one line each."""

    origin: str
    label: str
    maintainer: str
    name: str = "ha-stack"
    """What the .sources files are called."""

    @property
    def keyring(self) -> str:
        """Name of the keyring file without suffix."""
        return (re.sub(r"[^a-z0-9.+-]+", "-", self.origin.lower()).strip("-.") or "hapkg") + "-archive-keyring"

    @property
    def key_owner(self) -> str:
        """User id of the key made on first use."""
        return f"{re.sub('[<>()]', ' ', self.origin)} archive key <{parseaddr(self.maintainer)[1]}>"


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What one publish did. Pool files are named by their path below the repository, index files not at all."""

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


def publish(root: Path, uploads: Sequence[Upload], *, identity: Identity, key: KeyChoice, url: str = "") -> Publication:
    """Add the uploads to the repository at root, which is made when missing; write only what changes.

    Every suite that is published already is brought up to date too, with the identity and the key given. url is where
    users will find the repository; without it the .sources files point at root itself (file:).

    Raises RepositoryError when an upload contradicts the pool or itself, when there is nothing to publish, or when the
    secret key lies inside the repository; BusyError while another publish runs; MachineError when root cannot be
    written or the clock is wrong. Whatever happens, apt sees each suite as it was or as it is to be; all but a failing
    disk is found before the first suite changes.
    """
    root = root.absolute()
    if key.folder.is_relative_to(root.resolve()):
        raise RepositoryError(
            f"the secret key would lie inside the repository: {key.folder}", hint="keep keys outside what is published"
        )
    try:
        disk.make_folder(root / _PRIVATE)
        with disk.lock(root / _PRIVATE / "lock", work=f"publish into {root}"):
            _clear(root)
            try:
                return _publish(root, uploads, identity=identity, choice=key, url=url)
            finally:
                _clear(root)
    except OSError as error:
        raise MachineError(
            f"the repository {root} cannot be written: {error.strerror or error}",
            details=[str(name) for name in (error.filename, error.filename2) if name],
            hint="what was published before is still in place; give room or rights and publish again",
        ) from error


def make_sources(uri: str, suite: Suite, armored_key: str) -> str:
    """A .sources file (deb822) for one suite; the key is part of it, so that this one file is all a machine needs."""
    lines = ["Signed-By:", *(f" {line}" if line else " ." for line in armored_key.strip().splitlines())]
    return (
        "# For source packages add deb-src to Types; for debug symbols add debug to Components.\n"
        f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n" + "\n".join(lines) + "\n"
    )


def _publish(root: Path, uploads: Sequence[Upload], *, identity: Identity, choice: KeyChoice, url: str) -> Publication:
    pools = {suite: read_pool(root, suite) for suite in find_suites(root)}
    suites = tuple(sorted({*pools, *(upload.suite for upload in uploads)}))
    if not suites:
        raise RepositoryError("there is nothing to publish", hint="build something first: hapkg build")
    new, present = _sort_files(root, uploads, pools)
    key = find_key(choice, owner=identity.key_owner)
    changed = _stage(root, {suite: pools.get(suite, Pool()) for suite in suites}, new, identity=identity, key=key)
    if changed or new:
        _put_in_place(root, changed, new)
    keyring = root / f"{identity.keyring}.gpg"
    armored = export_key(key, armored=True)
    disk.replace(keyring, export_key(key, armored=False))
    disk.replace(keyring.with_suffix(".asc"), armored)
    return Publication(
        added=tuple(new),
        present=present,
        written=changed,
        unchanged=tuple(suite for suite in suites if suite not in changed),
        key=key,
        keyring=keyring,
        sources=_write_sources(root, suites, identity.name, url or f"file:{quote(str(root))}", armored.decode()),
    )


def _sort_files(
    root: Path, uploads: Sequence[Upload], pools: Mapping[Suite, Pool]
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The new files by pool path, and the pool paths of those already there. Every clash is found before any write."""
    new: dict[str, Path] = {}
    present: dict[str, None] = {}
    clashes: list[tuple[str, SourceName, tuple[str, str]]] = []
    for upload in uploads:
        published = pools[upload.suite].files if upload.suite in pools else {}
        for file in _find_package_files(upload):
            known = published.get(file.name)
            path = known.path if known else _make_pool_path(upload, file.name)
            existing = new.get(path, root / path)
            expected = compute_digest(existing) if existing.exists() else known.digest if known else None
            if expected is not None and expected != compute_digest(file):
                clashes.append((file.name, upload.source, (f"published: {existing}", f"built: {file}")))
            elif not existing.exists():
                new[path] = file
            elif path not in new:
                present[path] = None
    if clashes:
        name, source, evidence = clashes[0]
        remedy = "restore the upstream source, or raise its version," if ".orig." in name else "raise the revision"
        raise RepositoryError(
            f"{name} of source package {source} is already published with other bytes",
            details=(*evidence, *(f"also: {other} of {owner}" for other, owner, _ in clashes[1:])),
            hint=f"{remedy} in the recipe of {source} and build again",
        )
    return new, tuple(present)


def _find_package_files(upload: Upload) -> list[Path]:
    """The files of an upload that belong into the pool."""
    files = {file.name: file for file in upload.files}
    wanted = {name for name in files if name.endswith((".deb", ".dsc"))}
    for name in sorted(wanted):
        if not files[name].is_file():
            raise RepositoryError(f"{files[name]} does not exist", hint=f"build {upload.source} again")
        if name.endswith(".dsc"):
            try:
                wanted |= set(read_file_names(files[name]))
            except (KeyError, ValueError) as error:
                raise RepositoryError(f"{files[name]} is not a source package: {error}") from error
    missing = sorted(name for name in wanted if name not in files or not files[name].is_file())
    if missing:
        raise RepositoryError(
            f"the source package {upload.source} is incomplete: {missing[0]} is missing",
            details=[f"also: {name}" for name in missing[1:]],
            hint=f"build {upload.source} again",
        )
    return [files[name] for name in sorted(wanted)]


def _make_pool_path(upload: Upload, name: str) -> str:
    component = "debug" if re.match(r"[^_]+-dbgsym_.*\.deb\Z", name) else "main"
    source = upload.source
    letter = source[:4] if source.startswith("lib") else source[:1]
    return f"pool/{upload.suite}/{component}/{letter}/{source}/{name}"


def _stage(
    root: Path, pools: Mapping[Suite, Pool], new: Mapping[str, Path], *, identity: Identity, key: SigningKey
) -> tuple[Suite, ...]:
    """Make everything of the next state in the staging folder: new pool files, indexes, signed Release files.

    Returns the suites that differ from what is published.
    """
    staging = root / _PRIVATE / "staging"
    cache = root / _PRIVATE / "cache"
    disk.make_folder(staging)
    for file in cache.glob("*.db"):  # work on copies: a database cut short by a kill is never seen again
        disk.copy(file, staging / "cache" / file.name)
    for path, file in new.items():
        disk.copy(file, staging / path)
    changed = []
    for suite, pool in pools.items():
        published = {file.path for file in pool.files.values()}
        for path in published - new.keys():
            disk.make_folder((staging / path).parent)
            (staging / path).symlink_to(root / path)
        paths = {*published, *(path for path in new if path.startswith(f"pool/{suite}/"))}
        architectures = sorted({*pool.architectures, *find_architectures(paths)})
        make_indexes(staging, suite, paths, architectures=architectures, new=new)
        fields = {
            "Origin": identity.origin,
            "Label": identity.label,
            "Description": f"{identity.label} for {suite}",
            "Architectures": " ".join(architectures),
            "Components": " ".join(COMPONENTS),
        }
        release = make_release(staging, suite, fields)
        if _is_current(root, suite, release, key):
            continue
        _check_clock(root, suite, release)
        folder = staging / "dists" / suite
        for path, digest in read_digests(read_release(staging / f"Release-{suite}")).items():
            disk.copy(folder / path, folder / _name_by_hash(path, digest))
            disk.settle(folder / path)
        signed, signature = sign(key, staging / f"Release-{suite}")
        for name, content in (("Release", release), ("Release.gpg", signature), ("InRelease", signed)):
            disk.write(folder / name, content)
        disk.make_newer(folder / "InRelease", root / "dists" / suite / "InRelease")
        changed.append(suite)
    return tuple(changed)


def _is_current(root: Path, suite: Suite, release: bytes, key: SigningKey) -> bool:
    """Whether the suite is published just so already: the same but for the date, complete, signed by this key."""
    folder = root / "dists" / suite
    try:
        published = (folder / "Release").read_bytes()
        if _drop_date(published) != _drop_date(release):
            return False
        for path, digest in read_digests(read_release(folder / "Release")).items():
            if (
                compute_digest(folder / path) != digest
                or compute_digest(folder / _name_by_hash(path, digest)) != digest
            ):
                return False
    except FileNotFoundError:
        return False
    same = read_release(folder / "InRelease") == read_release(folder / "Release")
    return (
        same and has_signed(key, folder / "InRelease") and has_signed(key, folder / "Release.gpg", folder / "Release")
    )


def _drop_date(release: bytes) -> bytes:
    return re.sub(rb"^Date: .*\n", b"", release, flags=re.MULTILINE)


def _check_clock(root: Path, suite: Suite, release: bytes) -> None:
    """apt ignores, without a word, an InRelease that is older than the one it has."""
    before = read_release(root / "dists" / suite / "InRelease").get("Date")
    now = next(line[6:] for line in release.decode().splitlines() if line.startswith("Date: "))
    if before and parsedate_to_datetime(now) < parsedate_to_datetime(before):
        raise MachineError(
            f"the clock of this machine is wrong: it says {now}, and suite {suite} was published at {before}",
            hint="set the clock; apt ignores a repository that grows older",
        )


def _put_in_place(root: Path, suites: Iterable[Suite], new: Iterable[str]) -> None:
    """Move the staged state into place; each suite changes for apt at the very last of its renames.

    The journal, written first, names the pool files that come in, so that _clear() can take them out again if this
    never ends.
    """
    staging = root / _PRIVATE / "staging"
    disk.write(staging / "journal.new", "".join(f"{path}\n" for path in new).encode())
    disk.move({staging / "journal.new": staging / "journal"})
    disk.move({staging / path: root / path for path in new})
    for suite in suites:
        source, target = staging / "dists" / suite, root / "dists" / suite
        digests = read_digests(read_release(source / "Release"))
        hashed = [_name_by_hash(path, digest) for path, digest in digests.items()]
        _keep_generation(root, suite)
        disk.move({source / path: target / path for path in hashed})
        disk.move({source / path: target / path for path in digests})
        for name in ("Release", "Release.gpg", "InRelease"):
            disk.move({source / name: target / name})
        _drop_generations(root, suite)
    shutil.rmtree(root / _PRIVATE / "cache", ignore_errors=True)
    disk.move({staging / "cache": root / _PRIVATE / "cache"})


def _keep_generation(root: Path, suite: Suite) -> None:
    """Remember the InRelease that is about to be replaced, under the next number."""
    published = root / "dists" / suite / "InRelease"
    earlier = sorted((root / _PRIVATE / "earlier" / suite).glob("[0-9]*"))
    if published.is_file() and not (earlier and filecmp.cmp(earlier[-1], published, shallow=False)):
        number = int(earlier[-1].name) + 1 if earlier else 1
        disk.replace(root / _PRIVATE / "earlier" / suite / f"{number:08}", published.read_bytes())


def _drop_generations(root: Path, suite: Suite) -> None:
    """Remove by-hash files that only states older than the kept generations name."""
    folder = root / "dists" / suite
    earlier = sorted((root / _PRIVATE / "earlier" / suite).glob("[0-9]*"), reverse=True)
    for file in earlier[KEPT_GENERATIONS - 1 :]:
        file.unlink()
    wanted = {
        _name_by_hash(path, digest)
        for file in (folder / "InRelease", *earlier[: KEPT_GENERATIONS - 1])
        for path, digest in read_digests(read_release(file)).items()
    }
    for file in folder.glob("*/*/by-hash/SHA256/*"):
        if str(file.relative_to(folder)) not in wanted:
            file.unlink()


def _name_by_hash(path: str, digest: str) -> str:
    return f"{path.rpartition('/')[0]}/by-hash/SHA256/{digest}"


def _write_sources(root: Path, suites: Sequence[Suite], name: str, uri: str, armored_key: str) -> tuple[Path, ...]:
    """One NAME-SUITE.sources per suite. NAME.sources as well while there is one suite alone: with several, a file that
    does not say its suite would be wrong on most machines, so it goes."""
    files = {root / f"{name}-{suite}.sources": make_sources(uri, suite, armored_key) for suite in suites}
    short = root / f"{name}.sources"
    if len(suites) == 1:
        files = {short: make_sources(uri, suites[0], armored_key), **files}
    else:
        short.unlink(missing_ok=True)
    for file, text in files.items():
        disk.replace(file, text.encode())
    return tuple(files)


def _clear(root: Path) -> None:
    """Remove the staging folder, and the pool files of a publish that did not come to its end."""
    staging = root / _PRIVATE / "staging"
    journal = staging / "journal"
    if journal.is_file():
        listed = {file.path for suite in find_suites(root) for file in read_pool(root, suite).files.values()}
        for path in journal.read_text("utf-8").splitlines():
            if path not in listed:
                (root / path).unlink(missing_ok=True)
    if staging.exists():
        shutil.rmtree(staging)
