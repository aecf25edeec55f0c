"""The next state of a repository, made beside the published one: new pool files, indexes, signed Release files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hapkg import disk
from hapkg.control import Suite, parse_date, split_stanzas
from hapkg.disk import sha256_file
from hapkg.errors import MachineError
from hapkg.repository.change import RepositoryChange
from hapkg.repository.contents import make_changelog_address
from hapkg.repository.documents.names import FOLDER, is_document
from hapkg.repository.documents.suite import Claims, has_other_claims, stage_documents
from hapkg.repository.ftparchive import Reading, begin_reading
from hapkg.repository.index_merge import make_indexes
from hapkg.repository.indexes import (
    COMPONENTS,
    find_architectures,
    find_newest,
    make_release,
    name_by_hash,
    read_digests,
    read_pool,
    read_release,
)
from hapkg.repository.keys.signing import SigningKey, has_signed, sign
from hapkg.repository.paths import read_file
from hapkg.repository.remote.location import STAGING
from hapkg.repository.sources_file import Identity
from hapkg.repository.upload import INCOMING, Incoming, Upload, name_suite


@contextlib.contextmanager
def read_ahead(
    root: Path, uploads: Sequence[Upload], pocket: str, batch: disk.Batch
) -> Iterator[Callable[[], Reading] | None]:
    """Have apt-ftparchive read incoming files before the repository is locked, while the disk is waited for.

    Yields how to wait for the result, which the caller does before stage_incoming(); None where the files are for
    several suites.
    """
    incoming = root / INCOMING
    new = {file: upload for upload in uploads for file in upload.files if file.is_relative_to(incoming)}
    paths = {file: Path(*file.relative_to(incoming).parts[1:]) for file in new}
    if len({upload.suite for upload in new.values()}) != 1 or {path.parts[0] for path in paths.values()} != {"pool"}:
        batch.sync()
        yield None
        return
    for file, upload in new.items():
        if file.suffix == ".dsc":  # what it names is read with it, and may be in the pool already
            for other in upload.files:
                if other not in new and other.suffix != ".deb":
                    with contextlib.suppress(FileExistsError):  # another version names it, too
                        file.with_name(other.name).symlink_to(other)
    first, upload = next(iter(new.items()))
    architectures = _find_architectures(root, name_suite(upload.suite, pocket), map(str, paths.values()))
    packages = [str(path) for path in paths.values() if path.suffix in (".deb", ".dsc")]
    with begin_reading(incoming / first.relative_to(incoming).parts[0], packages, architectures) as finish:
        batch.sync()
        yield finish


def _find_architectures(root: Path, suite: Suite, paths: Iterable[str]) -> list[str]:
    """The architectures of a suite that gets some files."""
    known = read_release(find_newest(root, suite)).get("Architectures", "").split()
    return sorted({*known, *find_architectures(paths, known)})


def stage_incoming(root: Path, incoming: Incoming) -> None:
    """Give staging a pool of all new files: the copied one, as a whole."""
    copies, staging = root / INCOMING, root / STAGING
    disk.make_folder(staging)
    start = f"{copies}/"
    copied = {path: file for path, file in incoming.new.items() if str(file).startswith(start)}
    if copied:
        folder = copies / str(next(iter(copied.values()))).removeprefix(start).partition("/")[0]
        for file in incoming.redundant:
            if str(file).startswith(f"{folder}/"):
                file.unlink(missing_ok=True)
        disk.move({file: folder / path for path, file in copied.items() if str(file) != f"{folder}/{path}"})
        (folder / "pool").replace(staging / "pool")
    with disk.Batch() as batch:
        batch.copy({staging / path: file for path, file in incoming.new.items() if path not in copied})


def stage(
    root: Path,
    states: Mapping[Suite, frozenset[str]],
    change: RepositoryChange,
    identity: Identity,
    key: SigningKey,
    reading: Reading | None,
    *,
    url: str,
) -> dict[Suite, bytes]:
    """Make the indexes of the next states in the staging folder, where the new pool files of the change are.

    `reading` is the result of read_ahead(). Returns the Release files of the suites that differ from what is published,
    for sign_all(). Raises RepositoryError as make_indexes() does.
    """
    staging, new = root / STAGING, change.incoming.new
    releases: dict[Suite, bytes] = {}
    for suite, paths in sorted(states.items()):
        architectures = _find_architectures(root, suite, paths)
        fields = {
            "Origin": identity.origin,
            "Label": identity.label,
            "Description": f"{identity.label} for {suite}",
            "Architectures": " ".join(architectures),
            "Changelogs": make_changelog_address(url),
            "Components": " ".join(COMPONENTS),
        }
        claims = change.claims.get(suite, Claims())
        unchanged = not change.renew and paths.isdisjoint(new)
        if unchanged and _is_same(root, suite, paths, fields, key, identity, claims):
            continue
        published = read_digests(read_release(find_newest(root, suite)))
        before = change.base_indexes.get(suite, published)
        make_indexes(
            root,
            suite,
            [path for path in paths if not is_document(path)],
            architectures=architectures,
            new=new,
            before={path: digest for path, digest in before.items() if not path.startswith(f"{FOLDER}/")},
            reading=reading,
        )
        stage_documents(root, suite, paths, new=new, claims=claims, before=before, identity=identity, key=key)
        if identity.valid_days:
            fields["ValidTime"] = str(identity.valid_days * 86400)
        release = make_release(staging, suite, fields)
        if not change.renew and _is_current(root, suite, release, key, identity.valid_days):
            continue
        _check_clock(root, suite, release)
        releases[suite] = release
    return releases


def sign_all(root: Path, releases: Mapping[Suite, bytes], key: SigningKey) -> None:
    """Sign the Release files that stage() made; then everything of the next state lies in the staging folder."""
    for suite, release in releases.items():
        with disk.Batch() as batch:
            _write_release(root, suite, release, key, batch)


def _write_release(root: Path, suite: Suite, release: bytes, key: SigningKey, batch: disk.Batch) -> None:
    """Sign the next Release file of a suite, and make ready to be moved: that file and all that it names."""
    folder, published = root / STAGING / "dists" / suite, root / "dists" / suite
    digests = read_digests(next(split_stanzas(release.decode())))
    changes = {path: digest for path, digest in digests.items() if not _has(published, path, digest)}
    batch.copy({folder / name_by_hash(path, digest): folder / path for path, digest in changes.items()})
    for path in changes:
        batch.settle(folder / path)
    contents = {folder / "Release": release}
    if key.fingerprints:
        contents[folder / "InRelease"], contents[folder / "Release.gpg"] = sign(
            key, folder.parent.parent / f"Release-{suite}"
        )
    for file, content in contents.items():
        batch.write(file, content)
    disk.make_newer(find_newest(folder.parent.parent, suite), find_newest(root, suite))


def _has(folder: Path, path: str, digest: str) -> bool:
    """Tell whether an index file is published already, under both its names."""
    try:
        return all(sha256_file(folder / name) == digest for name in (path, name_by_hash(path, digest)))
    except FileNotFoundError:
        return False


def _is_same(
    root: Path,
    suite: Suite,
    paths: frozenset[str],
    fields: Mapping[str, str],
    key: SigningKey,
    identity: Identity,
    claims: Claims,
) -> bool:
    """Tell, without making its indexes, whether the suite is published just so already."""
    published = read_release(root / "dists" / suite / "Release")
    return (
        published.keys() - {"Date", "Valid-Until", "SHA256"}
        == {*fields, "Suite", "Codename", "Acquire-By-Hash", "Snapshots"}
        and all(published[name] == value for name, value in fields.items())
        and ("Valid-Until" in published) == (identity.valid_days > 0)
        and read_pool(root, suite).paths == paths
        and all((root / path).is_file() for path in paths)
        and _is_complete(root, suite, key, identity.valid_days)
        and not has_other_claims(root, suite, claims, identity)
    )


def _is_current(root: Path, suite: Suite, release: bytes, key: SigningKey, valid_days: int) -> bool:
    """Tell whether the suite is published just so already: the same but for the date, complete, signed by this key."""
    file = root / "dists" / suite / "Release"
    same = file.is_file() and _drop_dates(read_file(file)) == _drop_dates(release)
    return same and _is_complete(root, suite, key, valid_days)


def _is_complete(root: Path, suite: Suite, key: SigningKey, valid_days: int) -> bool:
    """Tell whether all that the suite's Release file names is there, and signed by this key for long enough."""
    folder = root / "dists" / suite
    release = read_release(folder / "Release")
    if read_release(find_newest(root, suite)) != release or _ends_soon(folder / "Release", valid_days):
        return False
    if not all(_has(folder, path, digest) for path, digest in read_digests(release).items()):
        return False
    if not key.fingerprints:
        return True
    return has_signed(key, folder / "InRelease") and has_signed(key, folder / "Release.gpg", folder / "Release")


def _drop_dates(release: bytes) -> bytes:
    return re.sub(rb"^(Date|Valid-Until): .*\n", rb"\1:\n", release, flags=re.MULTILINE)


def _ends_soon(release: Path, valid_days: int) -> bool:
    """Tell whether less than half of the time is left for which apt trusts a Release file."""
    end = read_release(release).get("Valid-Until")
    return bool(end) and parse_date(str(end)) - datetime.now(UTC) < timedelta(days=valid_days / 2)


def _check_clock(root: Path, suite: Suite, release: bytes) -> None:
    """apt ignores, without a word, an InRelease that is older than the one it has."""
    before = read_release(find_newest(root, suite)).get("Date")
    now = next(line[6:] for line in release.decode().splitlines() if line.startswith("Date: "))
    if before and parse_date(now) < parse_date(before):
        raise MachineError(
            f"the clock of this machine is wrong: it says {now}, and suite {suite} was published at {before}",
            hint="set the clock; apt ignores a repository that grows older",
        )
