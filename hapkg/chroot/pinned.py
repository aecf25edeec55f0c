"""Base chroots of exactly these packages: each in one version, known by its digest, and no other package to be had.

The packages lie in a folder with an index of their own, which takes the archive's place: mmdebstrap makes the base from
it, and apt resolves build dependencies from it. So it is this set or nothing, whatever the archive has today.

pinned/<suite>-<digest>/   links to files in archives/<suite>, Packages and Release
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hapkg import disk
from hapkg.apt.mirror import Mirror
from hapkg.apt.query import query_root
from hapkg.chroot.archives import Archive, fetch_archives, is_whole, parse_uris
from hapkg.chroot.resolver import read_remembered
from hapkg.chroot.schroot import Chroot
from hapkg.control import Suite, split_stanzas
from hapkg.distribution import Distribution
from hapkg.locations import State
from hapkg.programs import process
from hapkg.records import digest_json


@dataclass(frozen=True, kw_only=True)
class Found:
    """Packages in the versions that were asked for, and those that are nowhere."""

    archives: Mapping[str, Archive]
    gone: Mapping[str, str]
    """Names of those, and the versions that there are instead, in words."""


def find_versions(base: Chroot, packages: Mapping[str, str], state: State) -> Found:
    """Files of these packages, in just these versions: of the archive that a base was made from, else kept ones.

    A kept one counts where an answer of apt's is remembered that names its digest.
    """
    cache = base.folder / "apt"
    shown = query_root(base.root, cache, ["apt-cache", "show", "--all-versions", *packages], check=False)
    stanzas = [stanza for text in shown.split("\n\n") for stanza in split_stanzas(text) if "Filename" in stanza]
    offered: dict[str, list[str]] = {}
    for stanza in stanzas:
        offered.setdefault(stanza["Package"], []).append(stanza["Version"])
    there = [f"{name}={version}" for name, version in packages.items() if version in offered.get(name, ())]
    argv = ["apt-get", "--option=Acquire::ForceHash=SHA256", "--print-uris", "download", *there]
    found = parse_uris(query_root(base.root, cache, argv)) if there else {}
    missing = {name: version for name, version in packages.items() if name not in found}
    if missing:
        found |= _find_kept(missing, state.archives / base.suite, state)
    gone = {
        name: f"the archive has {', '.join(offered[name])}" if name in offered else "the archive has no such package"
        for name in missing
        if name not in found
    }
    return Found(archives=found, gone=gone)


def _find_kept(packages: Mapping[str, str], folder: Path, state: State) -> dict[str, Archive]:
    found = {}
    for name, archive in read_remembered(state):
        wanted = packages.get(name) == archive.version and name not in found
        if wanted and is_whole(archive, folder):
            found[name] = archive
    return found


def digest_archives(archives: Mapping[str, Archive]) -> str:
    """One digest of a set of packages: their names, versions and bytes."""
    whole = {name: [archive.version, archive.sha256] for name, archive in archives.items()}
    return digest_json(whole)


def make_mirror(
    state: State, suite: Suite, distribution: Distribution, archives: Mapping[str, Archive], log: IO[bytes]
) -> Mirror:
    """A folder of exactly these packages as an archive; those that are not in the state folder are fetched.

    Raises ProcessError or FetchError when a package cannot be had.
    """
    kept = state.archives / suite
    disk.make_folder(kept)
    fetch_archives(list(archives.values()), kept, log)
    folder = state.pinned / f"{suite}-{digest_archives(archives)[:16]}"
    if not folder.is_dir():
        disk.make_folder(state.pinned)
        new = disk.make_scratch(state.pinned, ".new-")
        new.chmod(0o755)
        for archive in archives.values():
            _link(kept / archive.file, new / archive.file)
        names = [f"-oAPT::FTPArchive::Release::{field}={suite}" for field in ("Suite", "Codename")]
        for name, argv in (("Packages", ["packages", "."]), ("Release", [*names, "release", "."])):
            with (new / f".{name}").open("wb") as index:
                process.run(["apt-ftparchive", *argv], cwd=new, stdout=index)
            (new / f".{name}").rename(new / name)
            disk.sync(new / name)
        disk.remove_tree(folder)
        disk.move({new: folder})
    return Mirror(distribution=distribution, uri=None, security=None, folder=str(folder))


def prune_mirrors(state: State, suite: Suite, *, keep: Mirror | None) -> None:
    """Remove folders of packages that no base chroot of a suite is made from any more: all but that of a mirror."""
    for folder in state.pinned.glob(f"{suite}-*"):
        if keep is None or str(folder) != keep.folder:
            disk.remove_tree(folder)


def _link(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except OSError:  # a file system without links, or one whose folders are others
        shutil.copyfile(file, name)
