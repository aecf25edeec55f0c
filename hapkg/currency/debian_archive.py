"""Debian's versions: the signed indexes of source packages of a suite, of what comes with it, and of later suites.

hapkg's own apt state is used, in which origins are found as well: what is told here is what a build would get.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hapkg.apt.mirror import Mirror
from hapkg.control import Suite, compare_versions, split_stanzas
from hapkg.disk import work_on_all
from hapkg.distribution import read_debian
from hapkg.errors import ProcessError
from hapkg.host import read_architecture
from hapkg.locations import State
from hapkg.programs import process
from hapkg.recipe.upstream_version import compare_upstream, upstream_of
from hapkg.source.origins.debian import update_index

_LINUX, _SIGNED = "linux", "linux-signed-"
_MISSING = re.compile("does not have a Release file|404 +Not Found|File not found")


@dataclass(frozen=True, kw_only=True)
class DebianRelease:
    """One version of a source package in one index."""

    version: str
    origs: frozenset[str]
    """sha256 of its orig tarballs."""
    binaries: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DebianIndexes:
    """Source packages of some suites."""

    suite: Suite
    releases: Mapping[str, Mapping[str, tuple[DebianRelease, ...]]]
    """By index (trixie, trixie-security, sid), then by source package."""
    unasked: Mapping[str, str]
    """Indexes that could not be fetched, and why."""
    later: tuple[str, ...] = ()
    """Suites in which a newer version shows itself first: later ones of the distribution, and Debian's unstable."""

    @property
    def _backports(self) -> str:
        return f"{self.suite}-backports"

    def newest(self, package: str, indexes: Iterable[str]) -> DebianRelease | None:
        """The highest version of a package in any of these indexes."""
        best: DebianRelease | None = None
        for index in indexes:
            for release in self.releases.get(index, {}).get(package, ()):
                if best is None or compare_versions(release.version, best.version) > 0:
                    best = release
        return best

    def of_suite(self, package: str) -> DebianRelease | None:
        """The version that a node of the suite would get, backports left out."""
        beside = [index for index in self.releases if index.startswith(f"{self.suite}-") and index != self._backports]
        return self.newest(package, (self.suite, *beside))

    def has_orig(self, sha256: str, package: str) -> bool:
        """True where an index that origins are fetched by has a version with this tarball."""
        found = (release for index in _BASES for release in self.releases.get(index, {}).get(package, ()))
        return any(sha256 in release.origs for release in found)

    def has_version(self, package: str, version: str) -> bool:
        """True where an index that origins are fetched by has this version."""
        found = (release for index in _BASES for release in self.releases.get(index, {}).get(package, ()))
        return any(version == release.version for release in found)

    def find_upstream(self, package: str, version: str) -> DebianRelease | None:
        """The highest version, in an index that origins are fetched by, that was made of upstream's version."""
        for index in reversed(_BASES):
            release = self.newest(package, [index])
            if release and release.origs and compare_upstream(upstream_of(release.version), version) == 0:
                return release
        return None

    @property
    def is_whole(self) -> bool:
        """False where an index that origins are fetched by could not be asked."""
        return not any(index in self.unasked for index in _BASES)

    def find_kernel(self, architecture: str) -> str:
        """The kernel that a node of the suite gets today, as uname -r names it; "" where that is not known.

        Where Debian signs kernels, the signed ones count: they arrive days after the source that they are made of.
        """
        release = self.of_suite(f"{_SIGNED}{architecture}") or self.of_suite(_LINUX)
        pattern = rf"linux-(?:image|headers)-([0-9]+\.[0-9.]+(?:\+[a-z0-9]+|-[0-9]+)?-{re.escape(architecture)})"
        matches = (re.fullmatch(pattern, name) for name in (release.binaries if release else ()))
        return next((match[1] for match in matches if match), "")


_BASES = read_debian().bases
"""The suites whose indexes are asked for origins."""


def read_indexes(state: State, debian: Mirror, own: Mirror, suite: Suite, packages: Sequence[str]) -> DebianIndexes:
    """Ask the archives now for their versions of these source packages and of Linux.

    own is the archive of the suite's distribution, asked for its later suites, too, and for updates and security where
    it has addresses of them.
    """
    later, backports = own.distribution.list_later(suite), f"{suite}-backports"
    mirrors: dict[str, Mirror] = dict.fromkeys(_BASES, debian) | dict.fromkeys((suite, backports, *later), own)
    # A suite that is not stable yet has no backports; a mirror has some suites.
    optional = {backports, *later} - {*_BASES}
    mirrors |= dict.fromkeys(own.list_pockets(suite), own)
    releases: dict[str, Mapping[str, tuple[DebianRelease, ...]]] = {}
    unasked: dict[str, str] = {}

    def read(name: str) -> None:
        try:
            options = update_index(state, name, mirrors[name].line(name, "deb-src"), refresh=True)
            releases[name] = _show(options, (*packages, _LINUX, f"{_SIGNED}{read_architecture()}"))
        except ProcessError as error:
            told = error.details[-2] if len(error.details) > 1 else error.brief
            if name in optional and any(_MISSING.search(line) for line in error.details):
                releases[name] = {}
            else:
                unasked[name] = told

    work_on_all(read, list(mirrors))
    first: tuple[str, ...] = tuple(dict.fromkeys((*later, *read_debian().rolling_suites)))
    return DebianIndexes(suite=suite, releases=releases, unasked=unasked, later=first)


def _show(options: Sequence[str], packages: Sequence[str]) -> Mapping[str, tuple[DebianRelease, ...]]:
    """Every version of these source packages in an index."""
    shown = process.run(["apt-cache", *options, "showsrc", "--only-source", *packages], check=False).output
    found: dict[str, list[DebianRelease]] = {}
    for stanza in split_stanzas(shown):
        if "Package" not in stanza or "Version" not in stanza:
            continue  # a warning of apt about a package that the index does not have
        lines = stanza.get("Checksums-Sha256", "").split("\n")
        release = DebianRelease(
            version=stanza["Version"],
            origs=frozenset(line.split()[0] for line in lines if re.search(r"\.orig\.tar\.(gz|xz|bz2)$", line)),
            binaries=tuple(re.split(r"[,\s]+", stanza.get("Binary", ""))),
        )
        found.setdefault(stanza["Package"], []).append(release)
    return {package: tuple(releases) for package, releases in found.items()}
