"""Source packages of the Debian archive: orig tarballs, and single files out of their packaging.

apt fetches and checks everything against the archive's signed indexes; each suite's index lives in the state folder.
A version that the archive dropped is no loss while another one has the same bytes.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from hapkg import disk
from hapkg.apt.mirror import Mirror
from hapkg.apt.settings import describe_index, read_apt_options, write_settings
from hapkg.control import compare_versions, read_stanzas
from hapkg.disk import sha256_file
from hapkg.distribution import read_debian
from hapkg.errors import FetchError, ProcessError
from hapkg.locations import State
from hapkg.programs import process
from hapkg.recipe.upstream import DebianOrigin, DebianPatch
from hapkg.source.origins.request import FINAL, Request

_index_lock = threading.Lock()


def fetch(origin: DebianOrigin, request: Request) -> Path:
    """The orig tarball of the named version, or of any version that has the pinned one. Raises FetchError."""

    def download(options: Sequence[str], version: str) -> Path | None:
        argv = ["apt-get", *options, "source", "--download-only", "--tar-only", f"{origin.package}={version}"]
        process.run(argv, cwd=request.scratch)
        return next(request.scratch.glob("*.orig.tar.*"), None)

    def is_wanted(stanza: Mapping[str, str]) -> bool:
        checksums = stanza.get("Checksums-Sha256", "").split("\n")
        return any(line.split()[:1] == [origin.sha256] and ".orig.tar." in line for line in checksums)

    return _search(origin, is_wanted, download, request)


def fetch_patch(patch: DebianPatch, request: Request) -> Path:
    """One file out of the packaging of the named version, or of any version that has it. Raises FetchError."""
    scratch = request.scratch

    def download(options: Sequence[str], version: str) -> Path | None:
        argv = ["apt-get", *options, "source", "--download-only", "--diff-only", f"{patch.package}={version}"]
        process.run(argv, cwd=scratch)
        packaging = next(scratch.glob("*.debian.tar.*"), None)
        if packaging is None:
            return None  # a native package, or one of the old format with a .diff.gz
        found = process.run(["tar", "-xf", packaging.name, "--", patch.file], cwd=scratch, check=False)
        packaging.unlink()
        file = scratch / patch.file
        return file if found.status == 0 and file.is_file() and sha256_file(file) == patch.sha256 else None

    return _search(patch, lambda stanza: True, download, request)


def fetch_packaging(package: str, version: str, request: Request) -> Path | None:
    """The packaging of exactly this version; None for a native package and one of the old format. Raises FetchError."""

    def download(options: Sequence[str], version: str) -> Path | None:
        argv = ["apt-get", *options, "source", "--download-only", "--diff-only", f"{package}={version}"]
        process.run(argv, cwd=request.scratch)
        return next((file for file in request.scratch.iterdir() if ".debian.tar." in file.name), request.scratch)

    origin = DebianOrigin(type="debian", package=package, version=version, sha256="0" * 64)
    found = _search(origin, lambda stanza: stanza.get("Version") == version, download, request)
    return found if found != request.scratch else None


def find_releases(package: str, suites: Sequence[str], state: State, mirror: Mirror) -> list[Mapping[str, str]]:
    """The index's stanzas of a source package in these suites, one for each version, the newest first.

    Raises FetchError where none has it, or where no index can be had.
    """
    errors: list[str] = []
    found: dict[str, Mapping[str, str]] = {}
    for suite in suites:
        try:
            options = update_index(state, suite, mirror.line(suite, "deb-src"), refresh=False)
        except ProcessError as error:
            errors.append(f"{suite}: {error.details[-2] if len(error.details) > 1 else error.brief}")
            continue
        shown = process.run(["apt-cache", *options, "showsrc", "--only-source", package], check=False).output
        found |= {stanza["Version"]: stanza for stanza in read_stanzas(shown) if stanza.get("Package") == package}
    if not found:
        raise FetchError(
            f"the archive has no source package {package} in {', '.join(suites)}",
            details=errors,
            hint="names of source packages: apt-cache showsrc NAME; another suite: debian:NAME/SUITE",
        )
    return [found[version] for version in sorted(found, key=functools.cmp_to_key(compare_versions), reverse=True)]


def _search(
    origin: DebianOrigin | DebianPatch,
    is_wanted: Callable[[Mapping[str, str]], bool],
    download: Callable[[Sequence[str], str], Path | None],
    request: Request,
) -> Path:
    """The first file that a version of any suite delivers; indexes are refreshed when none of them does."""
    if request.mirror is None or request.mirror.uri is None:
        raise FetchError("no Debian archive is configured on this host", hint=FINAL)
    errors: list[str] = []
    for refresh in (False, True):
        for suite in read_debian().bases:
            try:
                line = request.mirror.lines(suite, "deb-src")[0]
                options = update_index(request.state, suite, line, refresh=refresh)
                for version in _find_versions(origin, is_wanted, options):
                    if (file := download(options, version)) is not None:
                        return file
            except ProcessError as error:
                errors.append(f"{suite}: {error.details[-2] if len(error.details) > 1 else error.brief}")
    raise FetchError("no suite of the archive delivers this file", details=errors, hint=FINAL)


def _find_versions(
    origin: DebianOrigin | DebianPatch, is_wanted: Callable[[Mapping[str, str]], bool], options: Sequence[str]
) -> Iterator[str]:
    """Versions in the index that may have the file: the named one first, then the newest."""
    shown = process.run(["apt-cache", *options, "showsrc", "--only-source", origin.package], check=False)
    versions = {stanza["Version"] for stanza in read_stanzas(shown.output) if is_wanted(stanza)}
    if origin.version in versions:
        yield origin.version
        versions.remove(origin.version)
    yield from sorted(versions, key=functools.cmp_to_key(compare_versions), reverse=True)


def update_index(
    state: State, name: str, line: str, *, refresh: bool, more: Mapping[str, str] | None = None
) -> list[str]:
    """apt options that see exactly the indexes of one apt entry; they are fetched when missing or asked.

    name is that of the folder, such as the suite that the entry names; more has further settings of apt. Raises
    ProcessError when an index cannot be fetched.
    """
    folder = state.source_indexes / f"{name}-{hashlib.sha256(line.encode()).hexdigest()[:8]}"
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    settings = {
        **describe_index(folder / "lists", folder / "sources.list"),
        "Dir::Cache": str(folder / "cache"),
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        "Acquire::Languages": "none",
        **read_apt_options(),
        **(more or {}),
    }
    options = [f"--config-file={write_settings(folder / 'apt.conf', settings)}"]
    done = folder / "done"
    with _index_lock, disk.lock(folder / "lock", what=str(folder), hint="wait until it has ended", timeout=600):
        if refresh or not done.exists():
            (folder / "sources.list").write_text(line + "\n", "utf-8")
            done.unlink(missing_ok=True)
            process.run(["apt-get", *options, "--error-on=any", "update"])
            done.touch()
    return options
