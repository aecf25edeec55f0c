"""Statements of a release about itself: name, version and addresses, who wrote it and who may copy it."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from hapkg.control import is_line
from hapkg.draft.address import FORGES
from hapkg.draft.autotools import find_fields, read_calls, substitute
from hapkg.draft.manifest import PackageManifest
from hapkg.draft.meson import Meson
from hapkg.draft.upstream_release import NOWHERE, SOURCES, UpstreamRelease, read_tag
from hapkg.errors import SourceError
from hapkg.recipe.licenses import has_text, is_common, quote
from hapkg.recipe.settings import Templates
from hapkg.recipe.version import is_upstream_version

_LEGAL = re.compile(r"(COPYING|LICEN[CS]E)[^/]*", re.IGNORECASE)
_README = re.compile(r"README(\.(md|markdown|rst|txt))?", re.IGNORECASE)
_COMMENT = re.compile(r"/\*.*?\*/|(?m:^(?://|#(?!!)|;)[^\n]*\n){5,}", re.DOTALL)
_MARKS = re.compile(r"^\s*(/\*+|\*+/|\*|//+|#+|;+)?[^\S\n]?|\s*\*+/\s*$")
"""Marks of a comment at the ends of its lines."""
_WARRANTY = re.compile(r"AS\s+IS|WITHOUT\s+(ANY\s+)?WARRANTY", re.IGNORECASE)
"""Words at the end of a permissive licence: a notice that has them is whole."""
_FOREIGN = re.compile(r"(.*/)?(m4|build-aux|gnulib|\.github)/.*")
_LICENSES = (
    (r"Redistribution and use in source and binary forms.*Neither the name", "BSD-3-clause"),
    (r"Redistribution and use in source and binary forms", "BSD-2-clause"),
    (r"Permission is hereby granted,? free of charge", "Expat"),
    (r"Permission to use,? copy,? modify,? and", "ISC"),
    (r"Apache License,? Version 2", "Apache-2.0"),
    (r"Mozilla Public License,? v(ersion|\.)? ?2", "MPL-2.0"),
)
_GNU = re.compile(
    r"(?:GNU )?(?P<kind>Lesser |Library |Affero )?General Public License"
    r".{0,160}?\bv(?:ersion|\.)? ?(?P<number>\d(?:\.\d)?)"
    r"(?P<later>.{0,60}?(?:any|or) later)?"
    r"|\b(?P<short>A?L?GPL)[ -]?v?(?P<digits>\d(?:\.\d)?)(?P<plus>\+|[- ]or[- ](any )?later)?",
    re.IGNORECASE,
)
_SPDX = {"BSD-2-Clause": "BSD-2-clause", "BSD-3-Clause": "BSD-3-clause", "MIT": "Expat"}
_HOLDER = re.compile(r"(?:copyright|SPDX-FileCopyrightText|©)(?:[ \t:]|\(c\)|©)+(.*(?:19|20)\d\d.*)", re.IGNORECASE)
_NO_HOLDER = re.compile(r"<[^>]*>|\S*@\S*|all rights.*|\*/.*|-->.*|\bpresent\b|copyright|\(c\)|©", re.IGNORECASE)
_HANDFUL = 5
_FORGE = re.compile(rf"https://(?:{FORGES}|pagure\.io)(?:/[\w.-]+)?/([\w.-]*\w)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class UpstreamIdentity:
    """Names, version and addresses of a source, as upstream gives them."""

    name: str
    tarname: str
    """Its name as automake's folders have it."""
    version: str
    homepage: str
    git: str
    tag: str
    configure: str
    """configure.ac without comments, its plain macros expanded."""


def identify(plain: str, release: UpstreamRelease, meson: Meson, manifest: PackageManifest) -> UpstreamIdentity:
    """Name, version and addresses. Raises SourceError when nothing tells the version."""
    files = release.files
    configure = _expand_configure(files)
    told = next((call for call in read_calls(configure, "AC_INIT|AM_INIT_AUTOMAKE") if len(call) > 1), [])
    arguments = {place: re.sub(r"[][]", "", word).strip() for place, word in enumerate(told)}
    name, version = (arguments[0], arguments[1]) if told else (meson.name.strip(), meson.version.strip())
    version = version or manifest.version
    tarname, site = arguments.get(3, ""), arguments.get(4, "")
    name = name if is_line(name) and len(name) < 40 else plain
    tarname = tarname or re.sub(r"[^a-z0-9_]+", "-", name.lower().removeprefix("gnu "))
    version = _find_version(release, version)
    debian, forge = release.debian, _FORGE.match(manifest.repository or manifest.homepage)
    git = _find_repository(release, {plain, name.lower(), tarname}) if release.is_tarball else release.url
    if forge and not git:
        git = f"{forge[0].removesuffix('.git')}.git"
    if debian and not git:
        forge = _FORGE.fullmatch(debian.homepage.removesuffix("/"))
        git = debian.repository or (f"{forge[0].removesuffix('.git')}.git" if forge else "")
    host = re.match(r"https?://[^/]+", release.url)
    pages = [
        debian.homepage if debian else "",
        site,
        *find_fields(files, "URL"),
        *meson.pages,
        manifest.homepage,
        git.removesuffix(".git"),
        host[0] if host else "",
    ]
    homepage = next((page for page in pages if re.fullmatch(r"https?://[A-Za-z0-9][A-Za-z0-9.-]*(/[!-~]*)?", page)), "")
    return UpstreamIdentity(
        name=name,
        tarname=tarname,
        version=version,
        homepage=homepage or f"{NOWHERE}/{plain}",
        git=git or f"{NOWHERE}/{plain}.git",
        tag=_guess_tag(plain, release, version) if release.is_tarball else release.label,
        configure=configure,
    )


def _expand_configure(files: Mapping[str, str]) -> str:
    """configure.ac without comments, the macros expanded that it or an .m4 file beside it defines as plain text."""
    configure = re.sub(r"(?m)(\bdnl\b.*|^[ \t]*#.*)$", "", files.get("configure.ac") or files.get("configure.in", ""))
    included = [text for path, text in files.items() if re.fullmatch(r"[^/]*\.m4", path)]
    calls = (call for text in (configure, *included) for call in read_calls(text, "m4_define|define"))
    macros = {call[0]: call[1] for call in calls if len(call) > 1 and len(call[1]) < 200}
    return substitute(re.compile(r"\b([A-Za-z_]\w*)"), configure, macros)


def _find_version(release: UpstreamRelease, stated: str) -> str:
    """The version, by a tag or by what the build system, files and the tarball's folder state. Raises SourceError."""
    told, plain = (release.files.get(path, "").partition("\n")[0] for path in (".tarball-version", "VERSION"))
    labels = [re.sub(rf"^{start}[-_](?=v?\d)", "", release.label) for start in (".*?", ".*")]
    candidates = [stated, told, *labels, plain] if release.is_tarball else [read_tag(release.label)]
    if release.debian:
        candidates.insert(0, release.debian.upstream_version)
    versions = [clean for word in candidates if (clean := _clean_version(word))]
    if not versions:
        raise SourceError(f"{release.url} does not tell its version", hint="its one folder should be NAME-VERSION")
    # A candidate's configure.ac often names the release that it will become.
    return next((word for word in versions if word.startswith(f"{versions[0]}~")), versions[0])


def _guess_tag(plain: str, release: UpstreamRelease, version: str) -> str:
    """The tag that a tarball was made of: as its address or its folder names it, else v and the version."""
    named = re.search(
        r"/(?:releases/download|archive(?:/refs/tags)?)/([A-Za-z0-9][\w.+-]*?)(?:\.tar\.\w+$|/)", release.url
    )
    if named:
        return named[1]
    archived = release.label.removeprefix(f"{plain}-")  # a forge names the folder of an archive NAME-TAG
    if archived != release.label and archived[:1].isalpha() and read_tag(archived):
        return archived
    return "v" + version.replace("~", "-")


def _clean_version(text: str) -> str:
    """A version as Debian orders it, 1.2~rc1 for 1.2-rc1; "" for what is none."""
    plain = text.strip().removeprefix("v").removesuffix("-stable")
    version = re.sub(r"[-_]", ".", re.sub(r"[-_.]?(rc|alpha|beta|pre|dev)", r"~\1", plain, flags=re.IGNORECASE))
    return version if is_upstream_version(version) else ""


def _find_repository(release: UpstreamRelease, names: set[str]) -> str:
    """The git address that a forge's tarball is of, or that configure.ac, README or .spec name; or ""."""
    if match := re.match(rf"({_FORGE.pattern})/(?:-/)?(?:archive|releases)/", release.url):
        return f"{match[1]}.git"
    told = [text for path, text in release.files.items() if re.fullmatch(r"configure\..*|README.*|.*\.spec.*", path)]
    told = [re.sub(r"https?://([\w-]+)\.github\.io/", r"https://github.com/\1/", text) for text in told]
    found = [match for text in told for match in _FORGE.finditer(text)]
    addresses = [match[0].removesuffix(".git") for match in found if match[1].removesuffix(".git").lower() in names]
    return next((f"{address}.git" for address in addresses), "")


def describe(
    release: UpstreamRelease, identity: UpstreamIdentity, meson: Meson, manifest: PackageManifest
) -> tuple[str, str]:
    """Synopsis, "" when none is known, and description."""
    files = release.files
    if release.debian and release.debian.synopsis and release.debian.description:
        return release.debian.synopsis, release.debian.description
    stated = [*find_fields(files, "Summary|Description"), *meson.summaries, manifest.summary]
    told = [value.strip(". ") for value in stated]
    synopses = [re.sub(r"^(\w+ is )?(an?|the) ", "", value, flags=re.IGNORECASE) for value in told]
    good = [value for value in synopses if is_line(value) and " " in value and len(value) < 80 and value[0].isalnum()]
    readmes = sorted(path for path in files if _README.fullmatch(path))
    blocks = (" ".join(block.split()) for path in readmes for block in re.split(r"\n\s*\n", files[path]))
    start = re.compile(rf"(the )?({re.escape(identity.name)}|{re.escape(identity.tarname)})\b.*\.", re.IGNORECASE)
    prose = (block for block in blocks if len(block) > 60 and block.isprintable() and start.fullmatch(block))
    paragraph = next((block for block in prose if not re.search(r'://|[<>{}|=*#`"\\\[\]]|(^|\s)\.|--', block)), "")
    plain = f"{identity.name} {identity.version} as upstream released it, built for the prefix of the stack."
    return next(iter(good), ""), textwrap.shorten(paragraph, 600, placeholder=" …") or plain


@dataclass(frozen=True, kw_only=True)
class FoundLicenses:
    """Licences of a release."""

    names: str
    """Debian's names of them, joined as debian/copyright joins them."""
    texts: Mapping[str, str]
    """Upstream's own texts of those that not every Debian system has, as debian/copyright quotes them."""
    remark: str
    """Words on those that have no text."""


def find_licenses(release: UpstreamRelease, plain: str, templates: Templates, stated: str) -> FoundLicenses:
    """The licences that Debian, or else sources, or else legal files, state.

    stated is what the project calls its licence, where the sources are silent. A licence that nothing names is called
    after the source, and has all legal files as its text.
    """
    files, debian = release.files, release.debian
    told = Counter(name for path, text in files.items() if _is_own(path) and (name := _name_license(text)))
    names = list(debian.licenses) if debian else []
    names = names or sorted(told, key=lambda name: (-told[name], name))
    if not names and stated:
        names = list(filter(None, [_name_license(f"SPDX-License-Identifier: {stated}") or _name_license(stated)]))
    for pattern in (_LEGAL, _README):
        stating = [files[path] for path in sorted(files) if pattern.fullmatch(path)]
        names = names or list(dict.fromkeys(name for text in stating if (name := _name_license(text))))
    legal = {path: text for path, text in sorted(files.items()) if _LEGAL.fullmatch(path) and text.strip()}
    if not names:
        name, whole = f"{plain}-license", "\n\n".join(legal.values())
        if whole:
            remark = "not known: read its text, and give it Debian's name where it has one"
            return FoundLicenses(names=name, texts={name: quote(whole)}, remark=remark)
        remark = f"not known: read the sources, then write debian/licenses/{name} or put another name"
        return FoundLicenses(names=name, texts={}, remark=remark)
    joined = " and ".join(names)
    lacking = [name for name in re.split(r" and | or ", joined) if not is_common(name)]
    quoted = debian.license_texts if debian else {}
    own = {name: [quote(text) for text in legal.values() if _name_license(text) == name] for name in lacking}
    texts = {
        name: text
        for name in lacking
        if (text := next(iter(own[name]), quoted.get(name, "")))
        or (not has_text(name, templates) and (text := _find_notice(files, name)))
    }
    missing = [name for name in lacking if name not in texts and not has_text(name, templates)]
    return FoundLicenses(
        names=joined,
        texts=texts,
        remark=f"to be written: debian/licenses/{', '.join(missing)}" if missing else "",
    )


def _find_notice(files: Mapping[str, str], name: str) -> str:
    """The licence as the first source has it that holds all of its text, quoted; "" where none does."""
    for path, text in sorted(files.items()):
        if _is_own(path) and (comment := _COMMENT.search(text)):
            notice = "\n".join(_MARKS.sub("", line) for line in comment[0].splitlines()).strip()
            if _WARRANTY.search(notice) and _name_license(notice) == name:
                return quote(notice)
    return ""


def _name_license(text: str) -> str:
    """Debian's name of the licence that a text states, or ""."""
    words = re.sub(r"[^\w.:()+,-]+", " ", text)
    if spdx := re.search(r"SPDX-License-Identifier: \(?([\w.+-]+(?: (?:AND|OR) [\w.+-]+)*)", words, re.ASCII):
        names = [_name_license(word) or word.strip("._-").replace("_", "-") for word in spdx[1].split()]
        return re.sub(r" (AND|OR) ", lambda operator: operator[0].lower(), " ".join(names)) if all(names) else ""
    if words.strip() in _SPDX:
        return _SPDX[words.strip()]
    if match := _GNU.search(words):
        kind = {"lesser": "LGPL", "library": "LGPL", "affero": "AGPL"}.get((match["kind"] or "").strip().lower(), "GPL")
        number = (match["number"] or match["digits"]).removesuffix(".0")
        later = "+" if match["later"] or match["plus"] else ""
        return f"{(match['short'] or kind).upper()}-{number}{later}"
    return next((name for pattern, name in _LICENSES if re.search(pattern, words, re.IGNORECASE)), "")


def find_holders(files: Mapping[str, str], nobody: str) -> tuple[list[str], str]:
    """The holders named most often, each with the years it is named with, and a remark about the others."""
    years: dict[str, set[int]] = {}
    names: dict[str, str] = {}
    told: Counter[str] = Counter()
    own = [text for path, text in files.items() if _is_own(path)]
    legal = [text for path, text in files.items() if _LEGAL.fullmatch(path) or _README.fullmatch(path)]
    for text in own if any(map(_HOLDER.search, own)) else legal:
        for mark in _HOLDER.finditer(text):
            when = [int(year) for year in re.findall(r"(?:19|20)\d\d", mark[1])]
            name = _NO_HOLDER.sub("", mark[1])
            name = re.sub(r"(?:19|20)\d\d(?:\s*[-\u2013]\s*\d\d\b)?", "", name)
            name = " ".join(name.split()).strip(" .,;:*#/()\u2013-\"'").removeprefix("by ")
            name = re.sub(r"\b(Inc|Ltd|Corp|LLC|GmbH)\b.*", r"\1.", name)
            name = re.sub(r"\s*,(\s*,)+", ",", name)
            key = re.sub(r"\W", "", name.casefold())
            if when and key and is_line(name) and len(name) < 80 and not key.startswith("freesoftware"):
                told[key] += 1
                names.setdefault(key, name)
                years.setdefault(key, set()).update(when)
    chosen = sorted(sorted(told, key=lambda key: (-told[key], key))[:_HANDFUL], key=lambda key: (min(years[key]), key))
    spans = {key: "-".join(map(str, sorted({min(years[key]), max(years[key])}))) for key in chosen}
    if not chosen:
        return [nobody], "not known: no source names a holder with a year"
    more = len(told) - len(chosen)
    return [f"{spans[key]} {names[key]}" for key in chosen], f"{more} more are named in the sources" if more else ""


def _is_own(path: str) -> bool:
    """True for source code that upstream wrote, not a part of the build system that it copied."""
    return bool(SOURCES.fullmatch(path)) and not _FOREIGN.fullmatch(path) and not path.endswith("ltmain.sh")
