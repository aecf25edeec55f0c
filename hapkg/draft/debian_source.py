"""Source packages of Debian's archive, as far as a draft follows them: tarball, relations, words and licences.

The signed index tells most of it. The packaging adds descriptions, licences and the names of patches; an archive that
lost that file costs the draft these, and no more.
"""

from __future__ import annotations

import functools
import lzma
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from hapkg import disk
from hapkg.apt.mirror import Mirror
from hapkg.control import SourceName, is_line, read_stanzas
from hapkg.distribution import read_debian
from hapkg.errors import FetchError, SourceError, UsageError
from hapkg.locations import State
from hapkg.programs import process
from hapkg.recipe.licenses import quote
from hapkg.recipe.model import Recipe
from hapkg.recipe.upstream_version import upstream_of
from hapkg.source.origins.debian import fetch_packaging, find_releases
from hapkg.source.origins.request import Request
from hapkg.source.unpack import MOST_BYTES, MOST_MEMBERS

PREFIX = "debian:"
_NAME = re.compile(r"debian:([a-z0-9][a-z0-9+.-]+)(?:/([a-z][a-z0-9-]*))?")
_READ = (
    "debian/control",
    "debian/copyright",
    "debian/patches/series",
    "debian/rules",
    "debian/upstream/metadata",
)
_MOST_TEXT = 1 << 20
"""Of a file that is read, in bytes."""
_HELPERS = re.compile(r"debhelper(-compat)?|dh-(autoreconf|exec|buildinfo)|autotools-dev|dpkg-dev|quilt|cdbs")
"""Packages of the packaging itself: hapkg's templates bring what they need."""
_SWITCH = re.compile(
    r"--(?:enable|disable|with|without)-[a-z][\w-]*(?:=[\w.,+-]+)?|-D[A-Za-z]\w*(?:[-:]\w+)*=[\w.,+-]+", re.ASCII
)
_NO_SWITCH = re.compile(
    r"--(enable|disable)-(static|shared|silent-rules|rpath|option-checking|maintainer-mode|dependency-tracking)\b.*"
    r"|-D(CMAKE_.*|prefix|buildtype|.*dir|default_library|b_\w+)[:=].*"
)
"""Switches that styles or the prefix decide."""
_LICENSE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


@dataclass(frozen=True, kw_only=True)
class DebianSource:
    """One version of a source package."""

    package: str
    version: str
    sha256: str
    """Of its orig tarball."""
    homepage: str
    build_depends: tuple[str, ...]
    """Relations as the index has them, profiles and architectures included."""
    synopsis: str = ""
    description: str = ""
    """Of its main binary package."""
    switches: tuple[str, ...] = ()
    """Of configure, meson or cmake, that its rules give on every machine and that name no path."""
    licenses: tuple[str, ...] = ()
    """Names, where debian/copyright can be read by a machine."""
    license_texts: Mapping[str, str]
    """By name: what debian/copyright quotes, as it quotes it."""
    repository: str = ""
    """Address of upstream's repository, as debian/upstream/metadata has it."""
    patches: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    """Newer versions whose tarballs the archive did not deliver."""
    unread: str = ""
    """Why the packaging could not be read."""

    @property
    def upstream_version(self) -> str:
        """Upstream's part of the version."""
        return upstream_of(self.version)

    @property
    def is_repacked(self) -> bool:
        """True where the tarball is not upstream's own."""
        bare = (self.version.partition(":")[2] or self.version).rpartition("-")[0]
        return self.upstream_version != bare


def list_debian_sources(origin: str, state: State, mirror: Mirror | None) -> list[DebianSource]:
    """Versions of the source package that debian:NAME or debian:NAME/SUITE names, the newest first, by the index alone.

    Without a suite all of the archive's are looked at. Raises UsageError for other words and for a package without
    upstream, FetchError where the archive has none.
    """
    named = _NAME.fullmatch(origin)
    suites = read_debian().bases
    if not named or (named[2] and named[2] not in suites):
        raise UsageError(
            f"{origin} names no source package of Debian",
            hint=f"debian:NAME or debian:NAME/SUITE, with a suite of {', '.join(suites)}",
        )
    if mirror is None or mirror.uri is None:
        raise FetchError("no Debian archive is configured on this host", hint="name one with --mirror")
    stanzas = find_releases(named[1], (named[2],) if named[2] else suites, state, mirror)
    found = [source for stanza in stanzas if (source := _read_stanza(named[1], stanza))]
    if not found:
        version = stanzas[0]["Version"]
        raise UsageError(
            f"{named[1]} {version} of Debian has not one upstream tarball", hint="name upstream's own release"
        )
    return found


def read_packaging(source: DebianSource, state: State, mirror: Mirror) -> DebianSource:
    """Add what the packaging of a version tells, or the reason why it could not be read."""
    disk.make_folder(state.sources)
    with tempfile.TemporaryDirectory(dir=state.sources, prefix=".draft-") as scratch:
        try:
            request = Request(state=state, mirror=mirror, scratch=Path(scratch))
            file = fetch_packaging(source.package, source.version, request)
            return _add_packaging(source, _read_tarball(file) if file else {})
        except (FetchError, SourceError) as error:
            told = error.details[0] if error.details else error.brief
            return replace(source, unread=f"Debian's packaging of {source.version} could not be read: {told}")


def _read_stanza(package: str, stanza: Mapping[str, str]) -> DebianSource | None:
    """One version; None where it has no upstream tarball, or more than one."""
    lines = (line.split() for line in stanza.get("Checksums-Sha256", "").split("\n"))
    named = {words[2]: words[0] for words in lines if len(words) == 3}
    origs = [digest for name, digest in named.items() if re.fullmatch(r".*\.orig(-[^.]+)?\.tar\.(gz|xz|bz2)", name)]
    fields = ("Build-Depends", "Build-Depends-Arch", "Build-Depends-Indep")
    relations = (part.strip() for field in fields for part in stanza.get(field, "").replace("\n", " ").split(","))
    return (
        DebianSource(
            package=package,
            version=stanza["Version"],
            sha256=origs[0],
            homepage=stanza.get("Homepage", ""),
            build_depends=tuple(filter(None, relations)),
            license_texts={},
        )
        if len(origs) == 1
        else None
    )


def choose_relations(
    relations: Iterable[str], recipes: Mapping[SourceName, Recipe], architecture: str
) -> tuple[list[str], list[str]]:
    """Build dependencies of a recipe for those of a source package, and the ones that are left out.

    Helpers of the packaging go, and what only bootstrap or another architecture wants; what a recipe of the project
    stands in for becomes its package. The rest of a relation stays as it is, versions included.
    """
    chosen: list[str] = []
    left: list[str] = []
    for relation in relations:
        if not _applies(relation, architecture):
            left.append(relation)
            continue
        bare = re.sub(r"\s*(\[[^]]*\]|<[^>]*>)", "", relation).strip()
        name = re.split(r"[\s(:|]", bare, maxsplit=1)[0]
        if name == "dh-sequence-python3":
            chosen.append("dh-python")
        elif not _HELPERS.fullmatch(name) and not name.startswith("dh-sequence-"):
            own = _find_own(name, recipes)
            chosen.append(own or re.sub(r"\s*\|\s*", " | ", bare))
    return sorted(set(chosen)), left


def _applies(relation: str, architecture: str) -> bool:
    """False for a relation of another architecture, or of a build profile that nobody asks for."""
    for profiles in re.findall(r"<([^>]*)>", relation):
        if not all(word.startswith("!") for word in profiles.split()):
            return False
    for words in filter(None, (match.split() for match in re.findall(r"\[([^]]*)\]", relation))):
        named = any(_is_of(architecture, word.removeprefix("!")) for word in words)
        if named == words[0].startswith("!"):
            return False
    return True


@functools.cache
def _is_of(architecture: str, wildcard: str) -> bool:
    """True where a word such as linux-any means the architecture."""
    return process.run(["dpkg-architecture", "-a", architecture, "-i", wildcard], check=False).status == 0


def _find_own(name: str, recipes: Mapping[SourceName, Recipe]) -> str:
    """The package of a recipe that stands in for one of the distribution, or ""."""
    for recipe in recipes.values():
        if any(fnmatchcase(name, pattern) for pattern in recipe.shadows):
            wanted = [package.package for package in recipe.packages if package.package.endswith("-dev")]
            return wanted[0] if name.endswith("-dev") and wanted else recipe.packages[0].package
    return ""


def _read_tarball(tarball: Path) -> dict[str, str]:
    """The texts of the files that a draft looks at. Raises SourceError for what is no sound tarball."""
    texts: dict[str, str] = {}
    try:
        with tarfile.open(tarball) as archive:
            size = 0
            for number, member in enumerate(archive, start=1):
                size += member.size
                if number > MOST_MEMBERS or size > MOST_BYTES:
                    raise ValueError(f"it holds more than {MOST_MEMBERS:,} members or {MOST_BYTES:,} bytes")
                path = member.name.removeprefix("./")
                opened = archive.extractfile(member) if path in _READ and member.isreg() else None
                if opened:
                    texts[path] = opened.read(_MOST_TEXT).decode("utf-8", "replace")
    except (OSError, EOFError, ValueError, tarfile.TarError, lzma.LZMAError, zlib.error) as cause:
        raise SourceError(f"{tarball.name}: {cause}") from cause
    return texts


def _add_packaging(source: DebianSource, texts: Mapping[str, str]) -> DebianSource:
    synopsis, description = _describe(source.package, texts.get("debian/control", ""))
    licenses, license_texts = _read_copyright(texts.get("debian/copyright", ""))
    lines = (line.split("#")[0].split() for line in texts.get("debian/patches/series", "").splitlines())
    told = re.search(r"(?m)^Repository:\s*(https://\S+)", texts.get("debian/upstream/metadata", ""))
    return replace(
        source,
        synopsis=synopsis,
        description=description,
        licenses=licenses,
        license_texts=license_texts,
        patches=tuple(words[0] for words in lines if words),
        repository=told[1] if told else "",
        switches=_read_switches(texts.get("debian/rules", "")),
    )


def _read_switches(rules: str) -> tuple[str, ...]:
    """The plain switches of configure, meson or cmake that debian/rules gives whatever the machine, each once."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*", "", rules))
    text = re.sub(r"(?ms)^[ \t]*if(?:n?eq|n?def)\b.*?^[ \t]*endif\b", "", text)
    words = dict.fromkeys(word for word in text.split() if _SWITCH.fullmatch(word))
    return tuple(word for word in words if not _NO_SWITCH.fullmatch(word))


def _describe(source: str, control: str) -> tuple[str, str]:
    """Synopsis and description of the binary package named as the source, else of the first that is no library's."""
    text = re.sub(r"(?m)^#.*\n", "", control)
    binaries = [stanza for stanza in read_stanzas(text) if stanza.get("Package") and "Description" in stanza]

    def rank(stanza: Mapping[str, str]) -> tuple[bool, bool]:
        name = stanza["Package"]
        return name != source, name.startswith("lib") or name.endswith(("-dev", "-doc", "-dbg", "-data"))

    if not binaries:
        return "", ""
    first, *rest = min(binaries, key=rank)["Description"].split("\n")
    lines = (line.strip() for line in rest)
    prose = "\n".join("" if line == "." else line for line in lines).split("\n\n")[0]
    synopsis = first.strip()
    plain = " ".join(prose.split())
    return synopsis if is_line(synopsis) else "", plain if plain.isprintable() and "${" not in plain else ""


def _read_copyright(text: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Names of upstream's licences and the texts quoted, where the file is in the format for machines."""
    if not re.match(r"\s*Format:\s*https?://www\.debian\.org/doc/packaging-manuals/copyright-format/", text):
        return (), {}
    names: dict[str, None] = {}
    texts: dict[str, str] = {}
    for stanza in read_stanzas(re.sub(r"(?m)^#.*\n", "", text)):
        first, _, quoted = stanza.get("License", "").partition("\n")
        if quoted.strip():
            lines = (line.removeprefix(" ") for line in quoted.splitlines())
            texts[first.strip()] = quote("\n".join("" if line == "." else line for line in lines))
        if "Files" in stanza and not all(path.startswith("debian/") for path in stanza["Files"].split()):
            names |= dict.fromkeys(filter(None, re.split(r",?\s+(?:and|or)\s+|,\s*", first.strip())))
    plain = tuple(name for name in names if _LICENSE_NAME.fullmatch(name))
    return (plain, texts) if len(plain) == len(names) else ((), texts)
