"""A folder of all that a suite is built from, for machines without a network: sources and packages that its locks name.

DIR/sha256/DIGEST   files by their content: tarballs, patches, packages; shared by all suites
DIR/SUITE.json      their digests and sizes; written when all of them are there, so that half a folder is never taken

Every file is compared with its digest on the way in and on the way out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hapkg import disk
from hapkg.build.context import BuildContext
from hapkg.chroot.archives import fetch_archives, is_whole
from hapkg.chroot.base_lock import BaseLock
from hapkg.control import SourceName
from hapkg.disk import sha256_file
from hapkg.errors import FetchError, IntegrityError, UsageError
from hapkg.locations import State
from hapkg.records import format_record, read_record
from hapkg.source.fetch import Tarball, fetch, fetch_patches
from hapkg.source.lockfile import Lock, check_recipe

_MANIFEST = ".json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of a folder for one suite."""

    suite: str
    architecture: str
    files: Mapping[str, int]
    """Sizes of the files by their sha256."""
    commits: Mapping[str, str]
    """Sources that are commits, with the sha256 of the tarball that was packed of each."""


@dataclass(frozen=True, kw_only=True)
class _Needed:
    """A file that the locks of a suite name."""

    tells: str
    sha256: str
    path: Path
    """Its place in the state folder."""


def collect(context: BuildContext, folder: Path) -> Manifest:
    """Bring all that the locks of the suite name into a folder; what is there already is checked and stays.

    The caller holds the store's lock. Raises UsageError where a lock is missing, FetchError or IntegrityError for what
    cannot be had.
    """
    lock, pin = _find_locks(context)
    state, mirror, most = context.store.state, context.debian_mirror, context.most_download
    commits: dict[str, str] = {}
    needed: list[_Needed] = []
    for name, entry in lock.sources.items():
        recipe = context.recipes.get(name)
        if recipe is None:
            raise UsageError(
                f"{lock.file} names {name}, which has no recipe", hint=f"run: hapkg lock --suite {pin.suite}"
            )
        check_recipe(lock, recipe)
        tarball = fetch(recipe, state, mirror, most_bytes=most)
        if tarball.vcs:
            commits[name] = tarball.sha256
        needed.append(_Needed(tells=f"the source of {name}", sha256=tarball.sha256, path=tarball.path))
        fetch_patches(recipe, state, mirror, most_bytes=most)
        needed += _list_patches(name, entry.patches, state)
    log = state.logs / f"vendor-{pin.suite}.log"
    disk.make_folder(log.parent)
    kept = state.archives / pin.suite
    disk.make_folder(kept)
    with log.open("wb", buffering=0) as file:
        fetch_archives(list(pin.locate(context.mirror).values()), kept, file)
    needed += _list_packages(pin, state)
    manifest = Manifest(
        suite=pin.suite,
        architecture=pin.architecture,
        files={one.sha256: one.path.stat().st_size for one in needed},
        commits=commits,
    )
    _copy({_place(folder, one.sha256): one for one in needed})
    disk.replace(folder / f"{pin.suite}{_MANIFEST}", format_record(asdict(manifest)))
    return manifest


def take(context: BuildContext, folder: Path) -> BuildContext:
    """Bring all that the locks of the suite name from a folder into the state folder; a context that builds from it.

    What is whole there already is not looked for. The caller holds the store's lock. Raises UsageError for a folder of
    another suite, IntegrityError for a file that is missing, or is not what the lock names.
    """
    lock, pin = _find_locks(context)
    manifest = _read_manifest(folder, pin)
    state = context.store.state
    needed = [*_list_sources(lock, manifest.commits, state), *_list_packages(pin, state)]
    missing = [one for one in needed if one.sha256 not in manifest.files]
    if missing:
        raise IntegrityError(
            f"{folder} lacks {missing[0].tells}, which the lock of {pin.suite} names"
            + (f", and {len(missing) - 1} more" if len(missing) > 1 else ""),
            details=[f"{one.tells}: {one.sha256}" for one in missing[:10]],
            hint=f"the lock changed since it was collected: run hapkg vendor {folder} where there is a network",
        )
    _copy({one.path: replace(one, path=_place(folder, one.sha256)) for one in needed})
    return _use_commits(context, lock, manifest.commits)


def check_offline(context: BuildContext, names: Collection[SourceName]) -> None:
    """Refuse a build without a network that would want one: all that the locks name must be in the state folder.

    Raises UsageError for a source that is not locked, FetchError that names what is missing.
    """
    lock, pin = _find_locks(context)
    loose = [name for name in names if not context.recipes[name].native and name not in lock.sources]
    if loose:
        raise UsageError(
            f"{loose[0]} is not locked for {context.suite}: a build without a network takes what is locked alone",
            hint=f"run: hapkg lock {loose[0]}",
        )
    state = context.store.state
    wanted = {name: entry for name, entry in lock.sources.items() if not entry.vcs}
    needed = _list_sources(replace(lock, sources=wanted), {}, state)
    lacking = [one.tells for one in needed if not one.path.is_file()]
    unpacked = {name for name, entry in lock.sources.items() if entry.vcs} - context.vendored.keys()
    lacking += [f"the source of {name}" for name in names if name in unpacked]
    kept = state.archives / pin.suite
    lacking += [f"the package {a.file}" for a in pin.locate(None).values() if not is_whole(a, kept)]
    if lacking:
        raise FetchError(
            f"{lacking[0]} is not in the state folder" + (f", nor are {len(lacking) - 1} more" if lacking[1:] else ""),
            details=lacking[:10],
            hint="name the folder that hapkg vendor made: --from DIR",
        )


def _use_commits(context: BuildContext, lock: Lock, commits: Mapping[str, str]) -> BuildContext:
    """A context that takes the packed commits: whether their trees are the locked ones is seen when they are built."""
    vendored = {
        name: Tarball(
            path=context.store.state.downloads / commits[name],
            sha256=commits[name],
            suffix=".tar.gz",
            origin=f"{entry.origin} (collected)",
            signer=entry.signer,
            vcs=entry.vcs,
        )
        for name, entry in lock.sources.items()
        if name in commits and entry.vcs
    }
    return replace(context, vendored=vendored)


def _find_locks(context: BuildContext) -> tuple[Lock, BaseLock]:
    """Both locks; of sources those that build-all builds. An optional one may be had nowhere here."""
    if context.lock is None or context.pin is None:
        option = "" if context.lock is None else " --base"
        raise UsageError(
            f"{context.suite} is not locked" + (": its packages may be any" if option else ""),
            hint=f"run: hapkg lock{option} --suite {context.suite}",
        )
    sources = context.lock.sources.items()
    wanted = {name: entry for name, entry in sources if name in context.selected or name not in context.recipes}
    return replace(context.lock, sources=wanted), context.pin


def _read_manifest(folder: Path, pin: BaseLock) -> Manifest:
    file = folder / f"{pin.suite}{_MANIFEST}"
    manifest = read_record(file, Manifest)
    if manifest is not None and manifest.suite == pin.suite and manifest.architecture == pin.architecture:
        return manifest
    if file.exists():
        raise IntegrityError(
            f"{file} is damaged, or of another hapkg or architecture",
            hint=f"run hapkg vendor {folder} once more where there is a network",
        )
    others = sorted(other.stem for other in folder.glob(f"[a-z]*{_MANIFEST}"))
    raise UsageError(
        f"{folder} was collected for {', '.join(others)}, and not for {pin.suite}"
        if others
        else f"{folder} is no folder that hapkg vendor has finished",
        hint=f"run hapkg vendor {folder} --suite {pin.suite} where there is a network",
    )


def _list_sources(lock: Lock, commits: Mapping[str, str], state: State) -> list[_Needed]:
    found = []
    for name, entry in lock.sources.items():
        sha256 = commits.get(name, entry.sha256) if entry.vcs else entry.sha256
        found.append(_Needed(tells=f"the source of {name}", sha256=sha256, path=state.downloads / sha256))
        found += _list_patches(name, entry.patches, state)
    return found


def _list_patches(name: str, patches: Mapping[str, str], state: State) -> list[_Needed]:
    return [
        _Needed(tells=f"patch {patch} of {name}", sha256=sha256, path=state.downloads / sha256)
        for patch, sha256 in patches.items()
    ]


def _list_packages(pin: BaseLock, state: State) -> list[_Needed]:
    return [
        _Needed(tells=f"the package {a.file}", sha256=a.sha256, path=state.archives / pin.suite / a.file)
        for a in pin.locate(None).values()
    ]


def _place(folder: Path, sha256: str) -> Path:
    return folder / "sha256" / sha256


def _copy(copies: Mapping[Path, _Needed]) -> None:
    """Copy files that are not whole at their targets, each under another name until its digest was compared.

    Raises IntegrityError for an original that is missing or another one; then no target has changed.
    """
    wanted = {target: one for target, one in copies.items() if not _has_digest(target, one.sha256)}
    for one in wanted.values():
        if not _has_digest(one.path, one.sha256):
            there = one.path.is_file() and not one.path.is_symlink()
            raise IntegrityError(
                f"{one.path} is not {one.tells} any more" if there else f"{one.path}, {one.tells}, is missing",
                details=[f"sha256 {one.sha256} is locked"],
                hint="restore the folder from a copy, or run hapkg vendor once more where there is a network",
            )
    new = {target.with_name(f".{target.name}.new"): target for target in wanted}
    with disk.Batch() as batch:
        batch.copy({temporary: wanted[target].path for temporary, target in new.items()})
    for temporary, target in new.items():  # read once more: what was copied is what counts
        if not _has_digest(temporary, wanted[target].sha256):
            raise IntegrityError(f"{target} does not arrive as it left", hint="the disk or the medium is damaged")
    disk.move(new)


def _has_digest(file: Path, sha256: str) -> bool:
    try:
        return not file.is_symlink() and sha256_file(file) == sha256
    except OSError:
        return False
