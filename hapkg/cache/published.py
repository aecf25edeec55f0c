"""A published repository, read as a build cache: its Sources name the key of each build, InRelease vouches for them.

What a repository carries is brought as it was published: packages, source package, .buildinfo, SBOM and statement. It
carries neither the log of a build nor its .changes and lintian's report; those are not made up.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hapkg import disk
from hapkg.build.content_digest import read_content
from hapkg.build.context import CacheAnswer
from hapkg.build.plan import make_key
from hapkg.build.results import LARGEST
from hapkg.build.store import LOG_NAME, Artifact
from hapkg.cache.entry import Seen, is_known_name
from hapkg.cache.place import Place
from hapkg.cache.signed import read_public_keys
from hapkg.chroot.layer import LayerOffer
from hapkg.chroot.schroot import Chroot
from hapkg.control import TARBALLS, SourceName, Suite, parse_date, split_stanzas
from hapkg.disk import sha256_file
from hapkg.errors import BuildError, FetchError, IntegrityError, RepositoryError
from hapkg.evidence.provenance import read_statement
from hapkg.host import read_architecture
from hapkg.locations import State
from hapkg.records import format_record, read_record
from hapkg.repository.documents.names import KINDS, PROVENANCE, name_document
from hapkg.repository.indexes import DOCUMENTS, IndexedPackage, Pool, name_by_hash, read_digests, read_state
from hapkg.repository.keys.signing import find_signature_fault, list_fingerprints
from hapkg.repository.trust import read_signed

_MOST_BYTES = 64 << 20
"""Of InRelease, an index or a statement, far more than hapkg writes into one."""
_MOST_FILES = 1000
_DAY = 24 * 3600
_KEPT_SECONDS = 7 * _DAY
"""Files that a plan looked at, and no build took, stay so long."""
_FOLDER = "documents"


@dataclass(frozen=True, kw_only=True)
class _PublishedFile:
    """A published file, as the index has it."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class _VouchedSuite:
    """A suite under a good signature."""

    pool: Pool
    signer: str
    made: int
    """Its date, in seconds since 1970."""
    sha256: str
    """Of InRelease."""


class PublishedBuilds:
    """A repository of shared builds, as one run sees it. Its methods may be called by several threads."""

    def __init__(self, place: Place, keyring: str, trusted: Sequence[str], state: State) -> None:
        """keyring is the name of the repository's file with its public keys."""
        self.place = place
        self._keyring = keyring
        self._trusted = trusted
        self._state = state
        self._lock = threading.Lock()
        self._suites: dict[Suite, _VouchedSuite | str] = {}
        self._found: dict[str, CacheAnswer] = {}

    notes: Sequence[str] = ()
    """See SharedBuilds."""

    def bring_base(self, suite: Suite, *, further: str, pinned: str) -> Chroot | None:
        """No base chroot: repositories publish packages alone."""
        return None

    def offer_layer(self, base: Chroot, key: str) -> LayerOffer | None:
        """No layer: repositories publish packages alone."""
        return None

    def find(self, key: str, source: SourceName, suite: Suite) -> CacheAnswer:
        """The build of a key, or words about why what is there is not used. It does not fail: a source can be built.

        The packages are fetched to find out what their users see of them; bring() takes them from there.
        """
        with self._lock:
            if key not in self._found:
                try:
                    self._found[key] = self._look_up(key, source, suite)
                except (FetchError, IntegrityError, RepositoryError, BuildError) as error:
                    self._found[key] = CacheAnswer(note=f"the repository {self.place} is not used: {error.brief}")
                except OSError as error:
                    self._found[key] = CacheAnswer(note=f"the repository {self.place} is not used: {error}")
            return self._found[key]

    def bring(self, artifact: Artifact, target: Path) -> Artifact:
        """Put the files of a build that was found into an empty folder. Raises FetchError and IntegrityError."""
        folder = self._find_folder(artifact.key)
        for name, digest in artifact.files.items():
            if not (folder / name).is_file() or sha256_file(folder / name) != digest:
                raise IntegrityError(f"{folder / name} is not what the repository {self.place} published")
        shutil.copytree(folder, target, dirs_exist_ok=True)
        (target / LOG_NAME).write_text(
            f"{artifact.source} {artifact.version} was not built here. It was taken from the repository {self.place},\n"
            f"signed by {artifact.signer}, which publishes no logs.\n",
            "utf-8",
        )
        state = self._suites[artifact.suite]
        if isinstance(state, _VouchedSuite):
            memory = self._find_memory(artifact.suite)
            disk.make_folder(memory.parent)
            disk.replace(memory, format_record({"made": state.made, "sha256": state.sha256}))
        disk.remove_tree(folder)
        return artifact

    def _look_up(self, key: str, source: SourceName, suite: Suite) -> CacheAnswer:
        if suite not in self._suites:
            self._remove_old()
            try:
                self._suites[suite] = self._open(suite)
            except (FetchError, RepositoryError) as error:
                self._suites[suite] = error.brief
        state = self._suites[suite]
        if isinstance(state, str):
            return CacheAnswer(note=f"the repository {self.place} is not used: {state}")
        for package in state.pool.packages:
            named = package.fields.get("Hapkg-Key") == key and package.name == source
            if named and package.architecture == "source":
                return CacheAnswer(artifact=self._take(state, package, key, suite), place=str(self.place))
        return CacheAnswer()

    def _open(self, suite: Suite) -> _VouchedSuite:
        """Read what InRelease says, and all indexes that it vouches for. Raises FetchError and RepositoryError."""
        with tempfile.TemporaryDirectory(prefix="hapkg-reuse-") as scratch:
            root = Path(scratch)
            signed = root / "dists" / suite / "InRelease"
            disk.make_folder(signed.parent)
            if not self.place.read(f"dists/{suite}/InRelease", signed, _MOST_BYTES):
                raise FetchError(f"it has no signed suite {suite}")
            signer, text = self._check_signature(root, signed)
            release = next(split_stanzas(text), {})
            made = self._check_age(release, suite)
            digests = read_digests(release)
            for path in digests:
                if path == DOCUMENTS or path.endswith(("/Packages", "/Sources")):
                    self._fetch_index(root, suite, path, digests)
            pool = read_state(root, suite, digests)
            return _VouchedSuite(pool=pool, signer=signer, made=made, sha256=sha256_file(signed))

    def _check_signature(self, root: Path, signed: Path) -> tuple[str, str]:
        """The key among the trusted ones that has signed, and the text that it signed.

        Only what gpg imports of such a key counts: whatever else lies in the keyring of the repository has no say.
        """
        keyring, home = root / "keyring.gpg", root / "home"
        if not self.place.read(self._keyring, keyring, _MOST_BYTES):
            raise FetchError(f"it has no {self._keyring}")
        there = [one for one in list_fingerprints(keyring) if one in self._trusted]
        if not there:
            raise RepositoryError("its keyring has no key that build-cache-trust names")
        faults = []
        for fingerprint, key in read_public_keys(keyring, there, home).items():
            own = root / f"{fingerprint}.gpg"
            own.write_bytes(key)
            fault = find_signature_fault(own, signed)
            text = None if fault else read_signed(own, signed)
            if text is not None:
                return fingerprint, text.decode("utf-8", "replace")
            faults.append(fault)
        raise RepositoryError(f"InRelease has no good signature of a key that build-cache-trust names: {faults[0]}")

    def _check_age(self, release: Mapping[str, str], suite: Suite) -> int:
        """The date of a state, in seconds since 1970. Raises RepositoryError for one that must not be used."""
        now, end = datetime.now(UTC), release.get("Valid-Until", "")
        try:
            date = parse_date(release.get("Date", ""))
            late = bool(end) and parse_date(end) < now
        except ValueError as error:
            raise RepositoryError("InRelease has a date that is none") from error
        seen = read_record(self._find_memory(suite), Seen)
        if release.get("Suite") != suite:
            raise RepositoryError(f"InRelease is of the suite {release.get('Suite', 'of no name')[:40]!a}")
        if late:
            raise RepositoryError(f"InRelease counts until {end}: somebody keeps newer states back")
        if date.timestamp() > now.timestamp() + _DAY:
            raise RepositoryError("InRelease is of the future")
        if seen is not None and date.timestamp() < seen.made:
            raise RepositoryError("InRelease is older than the one that was used before: somebody put it back")
        return int(date.timestamp())

    def _fetch_index(self, root: Path, suite: Suite, path: str, digests: Mapping[str, str]) -> None:
        """Fetch an index under the first of its names that is there; read_state() judges it."""
        names = [name_by_hash(path, digests[path]), path]
        if f"{path}.xz" in digests:
            names.insert(0, name_by_hash(path, digests[f"{path}.xz"]))
        for name in names:
            file = root / "dists" / suite / name
            disk.make_folder(file.parent)
            if self.place.read(f"dists/{suite}/{name}", file, _MOST_BYTES):
                return

    def _take(self, state: _VouchedSuite, source: IndexedPackage, key: str, suite: Suite) -> Artifact:
        """Fetch a build, and describe it. Raises FetchError, IntegrityError, RepositoryError and BuildError."""
        files = self._list_files(state.pool, source)
        folder = self._find_folder(key)
        if not all(
            (folder / name).is_file() and sha256_file(folder / name) == one.sha256 for name, one in files.items()
        ):
            self._fetch(files, folder)
        inputs, origin = _check_statement(folder, files, key, suite)
        debs = [name for name in files if name.endswith(".deb") and "-dbgsym_" not in name]
        contents = {name.split("_")[0]: read_content(folder / name) for name in debs}
        return Artifact(
            key=key,
            source=SourceName(source.name),
            version=source.version,
            suite=suite,
            architecture=self._state.architecture or read_architecture(),
            inputs=inputs,
            origin=origin,
            files={name: one.sha256 for name, one in files.items() if "/" not in name},
            seconds={},
            folder=self._state.builds / key,
            packages={name: {"digest": one.digest, "depends": one.depends} for name, one in contents.items()},
            signer=state.signer,
        )

    def _list_files(self, pool: Pool, source: IndexedPackage) -> dict[str, _PublishedFile]:
        """All files of a build, by name in its folder. Raises RepositoryError."""
        own, architecture = (source.name, source.version), self._state.architecture or read_architecture()
        documents = {name_document(*own, architecture, kind) for kind in KINDS}
        found: dict[str, _PublishedFile] = {}
        for package in (*pool.packages, *pool.documents):
            if package.source != own:
                continue
            for path, (size, sha256) in package.files.items():
                name = path.rpartition("/")[2]
                if name in documents and not name.endswith(".buildinfo"):
                    name = f"{_FOLDER}/{name}"
                elif name not in documents and not name.endswith(
                    (f"_{architecture}.deb", "_all.deb", ".dsc", *TARBALLS)
                ):
                    continue
                found[name] = _PublishedFile(path=path, size=size, sha256=sha256)
        missing = sorted(documents - {name.rpartition("/")[2] for name in found})
        if missing:
            raise RepositoryError(f"it has no {missing[0]}, which tells what {source.name} was built from")
        if len(found) > _MOST_FILES or sum(one.size for one in found.values()) > LARGEST:
            raise RepositoryError(f"{source.name} {source.version[:80]} is larger than any build")
        if not all(is_known_name(name) for name in found if "/" not in name):
            raise RepositoryError(f"{source.name} {source.version[:80]} has a file that no build gives")
        return found

    def _fetch(self, files: Mapping[str, _PublishedFile], folder: Path) -> None:
        disk.remove_tree(folder)
        disk.make_folder(folder.parent)
        new = disk.make_scratch(folder.parent, ".new-")
        try:
            (new / _FOLDER).mkdir()
            for name, file in files.items():
                if not self.place.read(file.path, new / name, file.size):
                    raise FetchError(f"it lacks {file.path}")
                if sha256_file(new / name) != file.sha256:
                    raise IntegrityError(f"{file.path} is not the file that its signed index names")
            new.chmod(0o755)
            new.rename(folder)
        except OSError as error:
            raise FetchError(f"{folder} cannot be written: {error.strerror}") from error
        finally:
            disk.remove_tree(new)

    def _remove_old(self) -> None:
        for folder in self._state.reused.glob("[!.]*"):
            if folder.stat().st_mtime < time.time() - _KEPT_SECONDS:
                disk.remove_tree(folder)

    def _find_folder(self, key: str) -> Path:
        return self._state.reused / key

    def _find_memory(self, suite: Suite) -> Path:
        name = hashlib.sha256(f"{self.place} {suite}".encode()).hexdigest()
        return self._state.cache_entries / f"repository-{name[:32]}.json"


def _check_statement(
    folder: Path, files: Mapping[str, _PublishedFile], key: str, suite: Suite
) -> tuple[dict[str, Any], str]:
    """The inputs of a build and the origin of its source, as its statement has them, where that is of these files.

    Raises IntegrityError.
    """
    (name,) = [name for name in files if name.endswith(PROVENANCE)]
    try:
        statement = read_statement((folder / name).read_bytes())
    except ValueError as error:
        raise IntegrityError(f"{name}: {error}") from error
    if make_key(statement.inputs) != key or statement.suite != suite:
        raise IntegrityError(f"{name} is of another build")
    told = {name: one.sha256 for name, one in files.items() if re.search(r"\.(deb|dsc|tar\.[a-z0-9]+)\Z", name)}
    if told != statement.subjects:
        odd = sorted(name for name, _ in told.items() ^ statement.subjects.items())
        raise IntegrityError(f"{name} does not tell of the same files as the indexes: {odd[0][:100]}")
    return dict(statement.inputs), statement.origin or "written by hapkg"
