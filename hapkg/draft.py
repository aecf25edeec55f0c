"""`hapkg new`: a recipe drafted from what upstream ships.

The tarball is read and nothing in it runs. What cannot be guessed is left out or said in a comment of the draft, and a
draft that read_recipe() refuses is not written. docs/new-recipe.md tells what is guessed from what.
"""

from __future__ import annotations

import json
import lzma
import os
import re
import tarfile
import tempfile
import textwrap
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.request import url2pathname

from hapkg import command, disk
from hapkg import origin as origins
from hapkg.config import Project, parse_table
from hapkg.control import SourceName, is_line
from hapkg.errors import FetchError, MachineError, SourceError, UsageError
from hapkg.recipe import RECIPE_FILE, Recipe, Style, TarballOrigin, read_recipe, read_recipes
from hapkg.store import TARBALLS, file_digest
from hapkg.vcs import archive_commit, find_commit
from hapkg.version import is_upstream_version

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_FORMS = "a tarball ends in .tar.gz, .tar.xz or .tar.bz2; a repository in .git, or it starts with git+ or hg+"
_MODES: dict[str, Literal["r:gz", "r:xz", "r:bz2"]] = {".gz": "r:gz", ".xz": "r:xz", ".bz2": "r:bz2"}
_NOWHERE = "https://upstream.invalid"
_BUILD_SYSTEMS = {
    "configure.ac": "autotools",
    "configure.in": "autotools",
    "configure": "autotools",
    "meson.build": "meson",
    "CMakeLists.txt": "cmake",
    "setup.py": "python",
    "pyproject.toml": "pyproject",
    "Cargo.toml": "cargo",
    "go.mod": "go",
    "GNUmakefile": "make",
    "Makefile": "make",
}
"""What builds a source that has one of these files at its top; the first one decides."""
_STYLE_NEEDS = {"python": ["dh-python", "python3", "python3-setuptools"]}
_BUILD_FILES = re.compile(
    r"configure\.(ac|in)|meson\.build|.*\.(am|pc\.in|spec|spec\.in)|(?!aclocal).*\.m4|\.tarball-version"
    r"|(COPYING|LICEN[CS]E|README|VERSION).*",
    re.IGNORECASE,
)
_LEGAL = re.compile(r"(COPYING|LICEN[CS]E)[^/]*", re.IGNORECASE)
_README = re.compile(r"README(\.(md|markdown|rst|txt))?", re.IGNORECASE)
_SOURCES = re.compile(r".*\.(c|cc|cpp|cxx|h|hh|hpp|hxx|l|y|py|pl|pm|sh|rs|go|java)")
_FOREIGN = re.compile(r"(.*/)?(m4|build-aux|gnulib|\.github)/.*")
_PACKAGES = """
autoconf-archive: AX_; pkgconf: PKG_
-: -lc -ldl -lm -lnsl -lpthread -lresolv -lrt -lsocket -lutil -lcrypt -lasan -ltsan -lubsan
asciidoc: asciidoc a2x; asciidoctor: asciidoctor; bison: bison yacc AC_PROG_YACC; check: check.pc
flex: flex lex AC_PROG_LEX AM_PROG_LEX; gettext: msgfmt AM_GNU_GETTEXT; groff: groff; help2man: help2man
intltool: IT_PROG_INTLTOOL; python3: python3 AM_PATH_PYTHON; swig: swig; texinfo: makeinfo; xsltproc: xsltproc
libaio-dev: -laio libaio.h; libblkid-dev: blkid.pc -lblkid; libbz2-dev: bzip2.pc -lbz2 bzlib.h
libcap-dev: libcap.pc -lcap sys/capability.h; libcap-ng-dev: libcap-ng.pc -lcap-ng
libcurl4-openssl-dev: libcurl.pc -lcurl; libdbus-1-dev: dbus-1.pc -ldbus-1; libdevmapper-dev: devmapper.pc -ldevmapper
libedit-dev: libedit.pc -ledit; libevent-dev: libevent.pc -levent; libexpat1-dev: expat.pc -lexpat expat.h
libglib2.0-dev: glib-2.0.pc gio-2.0.pc gio-unix-2.0.pc gobject-2.0.pc gthread-2.0.pc gmodule-2.0.pc
libgnutls28-dev: gnutls.pc -lgnutls; libjansson-dev: jansson.pc -ljansson; libjson-c-dev: json-c.pc -ljson-c
libltdl-dev: -lltdl ltdl.h; liblz4-dev: liblz4.pc -llz4; liblzma-dev: liblzma.pc -llzma lzma.h
liblzo2-dev: lzo2.pc -llzo2; libmnl-dev: libmnl.pc -lmnl
libncurses-dev: ncurses.pc ncursesw.pc tinfo.pc -lncurses -lcurses -ltinfo curses.h ncurses.h
libnet1-dev: -lnet libnet.h; libnl-3-dev: libnl-3.0.pc; libnl-genl-3-dev: libnl-genl-3.0.pc
libnl-route-3-dev: libnl-route-3.0.pc; libnss3-dev: nss.pc; libnspr4-dev: nspr.pc; libnuma-dev: numa.pc -lnuma
libpam0g-dev: pam.pc -lpam security/pam_appl.h; libpcre2-dev: libpcre2-8.pc; libpopt-dev: popt.pc -lpopt
libreadline-dev: readline.pc -lreadline readline/readline.h; libsctp-dev: -lsctp netinet/sctp.h
libselinux1-dev: libselinux.pc -lselinux; libsnmp-dev: netsnmp.pc -lnetsnmp; libsqlite3-dev: sqlite3.pc -lsqlite3
libssl-dev: openssl.pc libssl.pc libcrypto.pc -lssl -lcrypto openssl/ssl.h; libstatgrab-dev: libstatgrab.pc -lstatgrab
libsystemd-dev: libsystemd.pc libsystemd-daemon.pc; libudev-dev: libudev.pc -ludev; libxml2-dev: libxml-2.0.pc -lxml2
libxslt1-dev: libxslt.pc -lxslt; libyaml-dev: yaml-0.1.pc -lyaml; libzstd-dev: libzstd.pc -lzstd
systemd: systemd.pc; uuid-dev: uuid.pc -luuid uuid/uuid.h; zlib1g-dev: zlib.pc -lz zlib.h
"""
"""Debian's packages and what they have: pkg-config files, libraries, headers, programs, macros; - is always there."""
_LICENSES = (
    (r"Redistribution and use in source and binary forms.*Neither the name", "BSD-3-clause"),
    (r"Redistribution and use in source and binary forms", "BSD-2-clause"),
    (r"Permission is hereby granted,? free of charge", "Expat"),
    (r"Permission to use,? copy,? modify,? and", "ISC"),
    (r"Apache License,? Version 2", "Apache-2.0"),
    (r"Mozilla Public License,? v(ersion|\.)? ?2", "MPL-2.0"),
)
_GNU = re.compile(
    r"(?:GNU )?(?P<kind>Lesser |Library |Affero )?General Public License.{0,160}?version (?P<number>\d(?:\.\d)?)"
    r"(?P<later>.{0,60}?(?:any|or) later)?"
    r"|\b(?P<short>A?L?GPL)[ -]?v?(?P<digits>\d(?:\.\d)?)(?P<plus>\+|[- ]or[- ](any )?later)?",
    re.IGNORECASE,
)
_SPDX = {"BSD-2-Clause": "BSD-2-clause", "BSD-3-Clause": "BSD-3-clause", "MIT": "Expat"}
_HOLDER = re.compile(r"(?:copyright|SPDX-FileCopyrightText|©)(?:[ \t:]|\(c\)|©)+(.*(?:19|20)\d\d.*)", re.IGNORECASE)
_NO_HOLDER = re.compile(r"<[^>]*>|\S*@\S*|all rights.*|\*/.*|-->.*|\bpresent\b|copyright|\(c\)|©", re.IGNORECASE)
_HANDFUL = 5
_FORGE = re.compile(
    r"https://(?:github\.com|gitlab\.com|codeberg\.org|pagure\.io|[a-z.]*\bgitlab\.[a-z.]+)(?:/[\w.-]+)?/([\w.-]*\w)",
    re.ASCII,
)
_FOLDERS = {
    "prefix": "@",
    "exec_prefix": "@",
    **{f"{name}dir": f"@/{name}" for name in ("bin", "sbin", "lib", "libexec", "include")},
    **{f"{name}dir": f"@/share/{name}" for name in ("aclocal", "info", "locale", "man")},
    **dict.fromkeys(("datadir", "datarootdir"), "@/share"),
    **dict.fromkeys(("docdir", "htmldir", "pdfdir"), "@/share/doc/@PACKAGE@"),
    **{f"pkg{name}dir": f"@/{name}/@PACKAGE@" for name in ("lib", "libexec", "include")},
    "pkgdatadir": "@/share/@PACKAGE@",
    "pkgconfigdir": "@/lib/pkgconfig",
    "sysconfdir": "@/etc",
    "localstatedir": "@/var",
}
"""Automake's folders; @ is the prefix."""
_PRIMARY = re.compile(
    r"(?:(?:dist|nodist|nobase|notrans)_)*(\w+?)"
    r"_(PROGRAMS|LTLIBRARIES|LIBRARIES|HEADERS|SCRIPTS|DATA|MANS|TEXINFOS|PYTHON)"
)
_VARIABLE = re.compile(r"\$\((\w+)\)|\$\{(\w+)\}|\$(\w{2,})|@(\w+)@")
_DEVELOPMENT = ("include", "lib/pkgconfig", "share/pkgconfig", "share/aclocal", "share/man/man2", "share/man/man3")


@dataclass(frozen=True, kw_only=True)
class _Release:
    """What upstream shipped and where it is."""

    files: Mapping[str, str]
    """Path below the top folder to the beginning of its text; "" for what is no source."""
    label: str
    """What may end in the version: a tag, or the name of the top folder."""
    date: datetime
    kind: str
    """"tarball", "git" or "hg"."""
    url: str
    pin: str
    """sha256 of the tarball, id of the commit."""


@dataclass(frozen=True, kw_only=True)
class _Identity:
    """What upstream says it is."""

    name: str
    tarname: str
    """Its name as automake's folders have it."""
    version: str
    homepage: str
    git: str
    tag: str
    configure: str
    """configure.ac without comments, its plain macros expanded."""


@dataclass(frozen=True, kw_only=True)
class _Installed:
    """What the Makefile.am files install below the prefix."""

    places: dict[str, set[str]] = field(default_factory=dict)
    """Folder to names in it; "" is a name that is not known."""
    libraries: dict[str, bool] = field(default_factory=dict)
    """libtool's libraries in lib, and whether each has a version in its name."""
    remarks: list[str] = field(default_factory=list)
    compiled: list[str] = field(default_factory=list)
    """Variables that name what comes out of a compiler."""


def draft(project: Project, name: str, origin: str, cache: Path) -> Path:
    """Write recipes/NAME/recipe.toml for what origin holds; its path. The caller holds the store's lock.

    origin is a tarball (path or address) or a git or Mercurial repository (folder or address), of which the newest
    tag that looks like a version is taken.

    Raises UsageError for a name or an origin that cannot be, FetchError when the origin cannot be reached, SourceError
    when it holds nothing that hapkg can build.
    """
    plain = name.removeprefix(project.settings.package_prefix)
    if not _NAME.fullmatch(plain):
        raise UsageError(
            f"{name!r} cannot be the name of a recipe",
            hint="lower-case letters, digits, '+', '-' and '.', with a letter or digit first",
        )
    source, target = project.settings.package_prefix + plain, project.recipes / plain
    if os.path.lexists(target):
        raise UsageError(f"{target} exists already", hint="edit its recipe.toml, or remove the folder first")
    recipes = read_recipes(project) if any(project.recipes.glob(f"*/{RECIPE_FILE}")) else {}
    for recipe in recipes.values():
        if taken := {source, f"{source}-dev"} & {package.package for package in recipe.packages}:
            raise UsageError(f"{recipe.source} builds {min(taken)} already", hint="choose another name")
    try:
        release = _take(source, origin, cache)
        text = _compose(project, plain, release, recipes)
        disk.make_folder(project.recipes)
        with tempfile.TemporaryDirectory(dir=project.recipes, prefix=".new-") as scratch:
            disk.write(Path(scratch) / plain / RECIPE_FILE, text.encode())
            read_recipe(Path(scratch) / plain, package_prefix=project.settings.package_prefix)
            disk.move({Path(scratch) / plain: target})
    except OSError as cause:
        raise MachineError(
            f"{cause.filename or target}: {cause.strerror}", hint="free some space, or mend the folder"
        ) from cause
    return target / RECIPE_FILE


def _take(source: str, origin: str, cache: Path) -> _Release:
    kind, plus, url = origin.partition("+")
    if not (plus and kind in ("git", "hg") and "://" in url):
        kind, url = "git" if origin.endswith(".git") else "tarball", origin
    if "://" not in url or url.startswith("file://"):
        path = Path(url2pathname(url.removeprefix("file://")) if "://" in url else url).absolute()
        if not url or not path.exists():
            raise UsageError(f"{origin} does not exist", hint=_FORMS)
        url = path.as_uri()
        if path.is_dir():
            kind = "hg" if (path / ".hg").is_dir() else "git"
    if kind == "tarball" and not url.endswith(TARBALLS):
        raise UsageError(f"{origin} is neither a tarball nor a repository", hint=_FORMS)
    return _take_tarball(source, url, cache) if kind == "tarball" else _take_commit(source, kind, url, cache)


def _take_tarball(source: str, url: str, cache: Path) -> _Release:
    stub = _make_stub(source, url, {"git": f"{_NOWHERE}/{source}.git"}, url)
    disk.make_folder(cache / "sources")
    with tempfile.TemporaryDirectory(dir=cache / "sources", prefix=".draft-") as scratch:
        file = Path(scratch) / f"new{next(suffix for suffix in TARBALLS if url.endswith(suffix))}"
        try:
            origins._fetch_url(url, file)
        except FetchError as error:
            raise FetchError(f"{url}: {error.brief}", hint="check the address and the network") from error
        files, label, newest = _read_tree(file, url)
        pinned = TarballOrigin(type="tarball", url=file.as_uri(), sha256=file_digest(file))
        origins.fetch(stub.model_copy(update={"origins": (pinned,)}), cache, None)  # the first build needs no network
    date = datetime.fromtimestamp(newest, UTC)
    return _Release(files=files, label=label, date=date, kind="tarball", url=url, pin=pinned.sha256)


def _take_commit(source: str, kind: str, url: str, cache: Path) -> _Release:
    stub = _make_stub(source, url, {kind: url}, f"{_NOWHERE}/x.tar.gz")
    try:
        mirror = str(find_commit(stub, kind, {"git": "HEAD", "hg": "tip"}[kind], cache).mirror)
    except UsageError as error:
        raise UsageError(f"{url} has no commit", hint="name a release tarball instead") from error
    git = ["git", "-C", mirror, "for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/tags"]
    hg = ["hg", "-R", mirror, "tags", "--template", "{tag} {node}\n"]
    listing = command.run(git if kind == "git" else hg, environment={"HGPLAIN": "1"})
    tags = [line.rpartition(" ") for line in listing.output.splitlines()]
    dated = [(_rank(version), tag, node) for tag, _, node in tags if (version := _read_tag(tag))]
    if not dated:
        raise UsageError(
            f"{url} has no tag that looks like a version",
            details=[f"tags: {', '.join(tag for tag, _, _ in tags[:9]) or 'none'}"],
            hint="name a release tarball instead",
        )
    _, tag, node = max(dated)
    commit = find_commit(stub, kind, node, cache)
    archive = archive_commit(stub.model_copy(update={"version": _read_tag(tag)}), commit, cache)
    files, _, _ = _read_tree(archive, url)
    return _Release(files=files, label=tag, date=commit.date, kind=kind, url=url, pin=commit.id)


def _make_stub(source: str, url: str, upstream: Mapping[str, str], tarball: str) -> Recipe:
    """A recipe that serves to fetch, and whose rules an address must keep."""
    table = {
        "source": source,
        "version": "0",
        "style": Style.AUTOTOOLS,
        "date": datetime.fromtimestamp(0, UTC),
        "homepage": _NOWHERE,
        "upstream": {**upstream, "tag": "draft"},
        "origins": [{"type": "tarball", "url": tarball, "sha256": "0" * 64}],
        "copyright": [{"copyright": ["nobody"], "license": "none"}],
        "packages": [{"package": source, "synopsis": "none", "description": "none"}],
        "folder": Path(),
    }
    try:
        return parse_table(Recipe, table, where=url, error=UsageError)
    except UsageError as error:
        error.hint = error.hint or _FORMS
        raise


def _read_tag(tag: str) -> str:
    """The version that a tag names, or "": v1.2, name-1.2, release_1_2, but no candidate of one."""
    match = re.fullmatch(r"(?:[A-Za-z][A-Za-z0-9+]*[-_/])*?[vV]?([0-9]+(?:[._][0-9]+)*)(?:-stable|-final)?", tag)
    return match[1].replace("_", ".") if match else ""


def _rank(version: str) -> tuple[bool, list[int]]:
    """Orders versions; a number alone, such as a date, comes before those with a dot."""
    return "." in version, [int(part) for part in version.split(".")]


def _read_tree(tarball: Path, shown: str) -> tuple[dict[str, str], str, int]:
    """Files below the top folder, the top folder's name, and the time of the newest file. Raises SourceError."""
    files: dict[str, str] = {}
    tops: set[str] = set()
    newest = 0
    try:
        with tarfile.open(tarball, _MODES[tarball.suffix]) as archive:
            for member in archive:
                top, _, path = re.sub(r"^(\.?/)+|/+$", "", member.name).partition("/")
                tops |= {top} - {"", "."}
                if member.isfile() and path:
                    newest = max(newest, int(member.mtime) if member.mtime < 1 << 32 else 0)
                    base = path.rpartition("/")[2]
                    limit = 1 << 18 if _BUILD_FILES.fullmatch(base) else 1 << 12 if _SOURCES.fullmatch(base) else 0
                    opened = archive.extractfile(member) if limit else None
                    content = opened.read(limit) if opened else b""
                    text = content[: content.rfind(b"\n") + 1 or None].decode("utf-8", "replace")
                    files[path] = content.decode("latin-1") if "\ufffd" in text else text
    except (OSError, EOFError, ValueError, OverflowError, tarfile.TarError, lzma.LZMAError, zlib.error) as cause:
        raise SourceError(f"{shown} cannot be read: {cause}", hint="name a whole, compressed tarball") from cause
    if len(tops) != 1 or not files:
        raise SourceError(f"{shown} does not hold one folder with everything in it", hint="name a release tarball")
    return files, tops.pop(), newest


def _compose(project: Project, plain: str, release: _Release, recipes: Mapping[SourceName, Recipe]) -> str:
    """The text of recipe.toml."""
    files, source, pinned = release.files, project.settings.package_prefix + plain, release.kind == "tarball"
    style = _find_style(project, release)
    identity = _identify(plain, release)
    installed = _read_makefiles(files, identity)
    runtime, development, left = _split(installed)
    needs, unknown = _find_packages(_find_words(files, identity.configure), recipes)
    licenses, license_remark = _find_licenses(files, plain, project.templates / "common" / "licenses")
    holders, holders_remark = _find_holders(files, f"{release.date.year} the authors of {identity.name}")
    synopsis, description = _describe(files, identity)
    libtool = re.search(r"\b(LT_INIT|A[CM]_PROG_LIBTOOL)\b", identity.configure)
    tables: list[tuple[str, dict[str, str | datetime | Sequence[str]]]] = [
        (
            "",
            {
                "source": source,
                "version": identity.version,
                "style": style,
                "date": release.date,
                "section": "libs" if development else "",
                "#homepage": "not known: put upstream's page here" if _NOWHERE in identity.homepage else "",
                "homepage": identity.homepage,
                "#build-depends": f"not known which package has: {', '.join(unknown)}" if unknown else "",
                "build-depends": sorted({*needs, *_STYLE_NEEDS.get(style, ())}),
                "configure": ["--disable-static"] if libtool else [],
                "not-installed": left,
            },
        ),
        (
            "[upstream]",
            {
                "#git": "not known: put the address of upstream's repository here" if _NOWHERE in identity.git else "",
                "git" if pinned else release.kind: identity.git,
                "#tag": "guessed from the version" if pinned and f"/{identity.tag}" not in release.url else "",
                "tag": identity.tag,
                "commit": "" if pinned else release.pin,
            },
        ),
        (
            "[[origins]]",
            {
                "type": release.kind,
                "#url": "a local file: put the address of upstream's release here"
                if pinned and release.url.startswith("file:")
                else "",
                "url": release.url if pinned else "",
                "sha256": release.pin if pinned else "",
            },
        ),
        (
            "[[copyright]]",
            {"#copyright": holders_remark, "copyright": holders, "#license": license_remark, "license": licenses},
        ),
        (
            "[[packages]]",
            {
                "package": source,
                "architecture": "all" if style == "python" or (runtime and not installed.compiled) else "",
                "depends": ["python3"] if style == "python" else [],
                "#synopsis": "" if synopsis else "not known: say in a few words what it is",
                "synopsis": synopsis or f"{identity.name} as upstream released it",
                "description": description,
                "#files": "; ".join(installed.remarks) if runtime else "not known what it installs: all of it is taken",
                "files": runtime or ["*"],
            },
        ),
    ]
    if development:
        required, _ = _find_packages(_find_required(files), recipes)
        short = textwrap.shorten(synopsis or identity.name, 60, placeholder="")
        table = {
            "package": f"{source}-dev",
            "section": "libdevel",
            "depends": [f"{source} (= ${{binary:Version}})", *required],
            "synopsis": f"{short}: development files",
            "description": f"Headers and what else it takes to build programs that use {identity.name}.",
            "files": development,
        }
        tables.append(("[[packages]]", {**table}))
    return "\n".join(_format(title, table) for title, table in tables)


def _format(title: str, table: Mapping[str, str | datetime | Sequence[str]]) -> str:
    """A table of TOML as a person writes it. What is empty is left out; #KEY holds a remark, which stands above KEY."""
    lines = [title] if title else []
    for key, value in table.items():
        if isinstance(value, datetime):
            lines.append(f"{key} = {value:%Y-%m-%dT%H:%M:%SZ}")
        elif value and key.startswith("#") and isinstance(value, str):
            remark = "".join(letter if letter.isprintable() else "?" for letter in value)
            lines += textwrap.wrap(remark, 120, initial_indent="# ", subsequent_indent="# ")
        elif value and isinstance(value, str):
            wrapped = textwrap.wrap(value, 78, break_on_hyphens=False) if key == "description" else []
            text = "\n".join(_quote(line)[1:-1] for line in wrapped)
            lines.append(f'{key} = """\n{text}"""' if wrapped else f"{key} = {_quote(value)}")
        elif value:
            line = f"{key} = [{', '.join(map(_quote, value))}]"
            lines += [line] if len(line) <= 120 else [f"{key} = [", *(f"  {_quote(item)}," for item in value), "]"]
    return "".join(f"{line}\n" for line in lines)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


# What a release says about itself


def _find_style(project: Project, release: _Release) -> str:
    """The style for the files at the top. Raises SourceError when hapkg has none."""
    found = {file: style for file, style in _BUILD_SYSTEMS.items() if file in release.files}
    known = [style for style in Style if style in _BUILD_SYSTEMS.values() and (project.templates / style).is_dir()]
    first = next(iter(found.values()), "")
    if first in known:
        return first
    systems = ", ".join(f"{style} ({file})" for file, style in found.items())
    top = sorted(path for path in release.files if "/" not in path)
    raise SourceError(
        f"{release.url} builds with {systems}, for which hapkg has no style"
        if found
        else f"{release.url} has nothing at its top that says how it builds",
        details=[f"at the top: {', '.join(top[:12]) or 'no file'}"],
        hint=f"styles that can be drafted: {', '.join(known)}; another one is a folder of debian-templates/",
    )


def _identify(plain: str, release: _Release) -> _Identity:
    """Name, version and addresses. Raises SourceError when nothing tells the version."""
    files = release.files
    configure = re.sub(r"(?m)(\bdnl\b.*|^[ \t]*#.*)$", "", files.get("configure.ac") or files.get("configure.in", ""))
    included = [text for path, text in files.items() if re.fullmatch(r"[^/]*\.m4", path)]
    calls = (call for text in (configure, *included) for call in _read_calls(text, "m4_define|define"))
    macros = {call[0]: call[1] for call in calls if len(call) > 1 and len(call[1]) < 200}
    configure = _substitute(re.compile(r"\b([A-Za-z_]\w*)"), configure, macros)
    told = next((call for call in _read_calls(configure, "AC_INIT|AM_INIT_AUTOMAKE") if len(call) > 1), [])
    pattern = r"\bproject\s*\(\s*'([^']+)'(?:[^)]*?\bversion\s*:\s*'([^']+)')?"
    meson = re.search(pattern, files.get("meson.build", ""))
    words = told or (list(meson.groups("")) if meson else [])
    name, version, _, tarname, site = [*(re.sub(r"[][]", "", word).strip() for word in words), *[""] * 5][:5]
    name = name if is_line(name) and len(name) < 40 else plain
    tarname = tarname or re.sub(r"[^a-z0-9_]+", "-", name.lower().removeprefix("gnu "))
    stated = [files.get(path, "").partition("\n")[0] for path in (".tarball-version", "VERSION")]
    label = re.sub(r"^.*?[-_](?=v?\d)", "", release.label)
    candidates = [version, stated[0], label, stated[1]] if release.kind == "tarball" else [_read_tag(release.label)]
    versions = [clean for word in candidates if (clean := _clean_version(word))]
    if not versions:
        raise SourceError(f"{release.url} does not tell its version", hint="its one folder should be NAME-VERSION")
    git = _find_repository(release, {plain, name.lower(), tarname}) if release.kind == "tarball" else release.url
    host = re.match(r"https?://[^/]+", release.url)
    pages = [site, *_find_fields(files, "URL"), git.removesuffix(".git"), host[0] if host else ""]
    homepage = next((page for page in pages if re.fullmatch(r"https?://[A-Za-z0-9][A-Za-z0-9.-]*(/[!-~]*)?", page)), "")
    tag = re.search(
        r"/(?:releases/download|archive(?:/refs/tags)?)/([A-Za-z0-9][\w.+-]*?)(?:\.tar\.\w+$|/)", release.url
    )
    guess = tag[1] if tag else "v" + versions[0].replace("~", "-")
    return _Identity(
        name=name,
        tarname=tarname,
        version=versions[0],
        homepage=homepage or f"{_NOWHERE}/{plain}",
        git=git or f"{_NOWHERE}/{plain}.git",
        tag=guess if release.kind == "tarball" else release.label,
        configure=configure,
    )


def _clean_version(text: str) -> str:
    """A version as Debian orders it, 1.2~rc1 for 1.2-rc1; "" for what is none."""
    plain = text.strip().removeprefix("v").removesuffix("-stable")
    version = re.sub(r"[-_]", ".", re.sub(r"[-_.]?(rc|alpha|beta|pre|dev)", r"~\1", plain, flags=re.IGNORECASE))
    return version if is_upstream_version(version) else ""


def _find_repository(release: _Release, names: set[str]) -> str:
    """The git address that a forge's tarball is of, or that configure.ac, README or .spec name; or ""."""
    if match := re.match(rf"({_FORGE.pattern})/(?:-/)?(?:archive|releases)/", release.url):
        return f"{match[1]}.git"
    told = [text for path, text in release.files.items() if re.fullmatch(r"configure\..*|README.*|.*\.spec.*", path)]
    told = [re.sub(r"https?://([\w-]+)\.github\.io/", r"https://github.com/\1/", text) for text in told]
    found = [match for text in told for match in _FORGE.finditer(text)]
    addresses = [match[0].removesuffix(".git") for match in found if match[1].removesuffix(".git").lower() in names]
    return next((f"{address}.git" for address in addresses), "")


def _find_fields(files: Mapping[str, str], names: str) -> list[str]:
    """Values of these fields in .spec and .pc.in files that hold no variables."""
    chosen = sorted((path for path in files if re.search(r"\.(spec|spec\.in|pc\.in)$", path)), key=len)
    found = [re.findall(rf"(?m)^(?:{names}):[ \t]*(\S.*)", files[path]) for path in chosen]
    return [value.strip() for values in found for value in values if not re.search(r"[%@$]", value)]


def _describe(files: Mapping[str, str], identity: _Identity) -> tuple[str, str]:
    """Synopsis, "" when none is known, and description."""
    told = [value.strip(". ") for value in _find_fields(files, "Summary|Description")]
    synopses = [re.sub(r"^(\w+ is )?(an?|the) ", "", value, flags=re.IGNORECASE) for value in told]
    good = [value for value in synopses if is_line(value) and " " in value and len(value) < 80 and value[0].isalnum()]
    readmes = sorted(path for path in files if _README.fullmatch(path))
    blocks = (" ".join(block.split()) for path in readmes for block in re.split(r"\n\s*\n", files[path]))
    start = re.compile(rf"(the )?({re.escape(identity.name)}|{re.escape(identity.tarname)})\b.*\.", re.IGNORECASE)
    prose = (block for block in blocks if len(block) > 60 and block.isprintable() and start.fullmatch(block))
    paragraph = next((block for block in prose if not re.search(r'://|[<>{}|=*#`"\\\[\]]|(^|\s)\.|--', block)), "")
    plain = f"{identity.name} {identity.version} as upstream released it, built for the prefix of the stack."
    return next(iter(good), ""), textwrap.shorten(paragraph, 600, placeholder=" …") or plain


# Who wrote it, and who may copy it


def _find_licenses(files: Mapping[str, str], plain: str, known: Path) -> tuple[str, str]:
    """Debian's names of the licences, joined, and a remark when one of them has no text in debian-templates/."""
    told = Counter(name for path, text in files.items() if _is_own(path) and (name := _name_license(text)))
    names = sorted(told, key=lambda name: (-told[name], name))
    for pattern in (_LEGAL, _README):
        texts = [files[path] for path in sorted(files) if pattern.fullmatch(path)]
        names = names or list(dict.fromkeys(name for text in texts if (name := _name_license(text))))
    if not names:
        folder = "debian-templates/common/licenses"
        return (
            f"{plain}-license",
            f"not known: read the sources, then write {folder}/{plain}-license or put another name",
        )
    licenses = " and ".join(names)
    missing = [name for name in re.split(r" and | or ", licenses) if not (known / name).is_file()]
    return licenses, f"to be written: debian-templates/common/licenses/{', '.join(missing)}" if missing else ""


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


def _find_holders(files: Mapping[str, str], nobody: str) -> tuple[list[str], str]:
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
            if when and key and is_line(name) and len(name) < 80 and key != "freesoftwarefoundationinc":
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
    """Whether a file is source code that upstream wrote, not a part of the build system that it copied."""
    return bool(_SOURCES.fullmatch(path)) and not _FOREIGN.fullmatch(path) and not path.endswith("ltmain.sh")


# What it needs


def _find_words(files: Mapping[str, str], configure: str) -> dict[str, bool]:
    """What the build asks for: foo.pc, -lfoo, foo.h, programs, macros; and whether to tell of one that is not known."""
    words: dict[str, bool] = {}
    for call in _read_calls(configure, "PKG_CHECK_MODULES|PKG_CHECK_MODULES_STATIC"):
        words.update(dict.fromkeys(_read_modules("".join(call[1:2])), True))
    for call in _read_calls(configure, "AC_CHECK_LIB"):
        words.update({f"-l{call[0]}": True} if re.fullmatch(r"[\w.+-]+", call[0]) else {})
    for call in _read_calls(configure, "AC_SEARCH_LIBS"):
        words.update({f"-l{name}": False for name in "".join(call[1:2]).split() if f"-l{name}" not in words})
    for call in _read_calls(configure, "AC_CHECK_HEADERS?"):
        words.update(dict.fromkeys(call[0].split(), False))
    for call in _read_calls(configure, "AC_CHECK_PROGS?|AC_PATH_PROGS?|AC_CHECK_TOOL"):
        words.update(dict.fromkeys("".join(call[1:2]).split(), False))
    defined = {
        call[0] for path, text in files.items() if path.endswith(".m4") for call in _read_calls(text, "AC_DEFUN")
    }
    archived = set(re.findall(r"\bAX_\w+", configure)) - defined
    macros = sorted(set(re.findall(r"\b(?:(?:A[CM]|IT)_\w+|PKG_)", configure)))
    words.update(dict.fromkeys([*macros, *(["AX_"] if archived else [])], False))
    if any(path.endswith(".am") and "_TEXINFOS" in text for path, text in files.items()):
        words["makeinfo"] = False
    if not configure:
        found = re.findall(r"\bdependency\s*\(\s*'([\w.+-]+)'", files.get("meson.build", ""))
        words.update({f"{name}.pc": True for name in found})
    return words


def _read_modules(text: str) -> list[str]:
    """The pkg-config files of 'foo >= 1.2, bar'."""
    words = re.sub(r"[<>=!]+\s*\S+|,", " ", text).split()
    return [f"{word}.pc" for word in words if re.fullmatch(r"[A-Za-z0-9][\w.+-]*", word, re.ASCII)]


def _find_required(files: Mapping[str, str]) -> dict[str, bool]:
    """The pkg-config files that those of upstream itself require."""
    own = {path.rpartition("/")[2].removesuffix(".in") for path in files if path.endswith(".pc.in")}
    templates = {path: text for path, text in files.items() if path.endswith(".pc.in")}
    lines = _find_fields(templates, r"Requires(?:\.private)?")
    return {module: False for line in lines for module in _read_modules(line) if module not in own}


def _find_packages(words: Mapping[str, bool], recipes: Mapping[SourceName, Recipe]) -> tuple[list[str], list[str]]:
    """The packages that have these words, the project's own first asked, and the words that are to be told of."""
    own = {word: package for recipe in recipes.values() for word, package in _list_words(recipe)}
    known = {
        word: package
        for line in _PACKAGES.strip().replace("; ", "\n").splitlines()
        for package, _, listed in [line.partition(": ")]
        for word in listed.split()
    }
    found = {word: own.get(word.replace("_", "-")) or known.get(word, "") for word in words}
    packages = sorted({package for package in found.values() if package} - {"-"})
    return packages, [word for word, telling in words.items() if telling and not found[word]]


def _list_words(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What a recipe's packages have, and which has it; names in shadows stand in where one takes a whole folder."""
    stems = [re.sub(r"(\[0-9\])?\*$", "", pattern) for pattern in recipe.shadows]
    for package in recipe.packages:
        for file in package.files:
            folder, _, base = file.rpartition("/")
            if folder == "lib/pkgconfig" and base.endswith(".pc") and "*" not in base:
                yield base.replace("_", "-"), package.package
            elif folder == "lib" and re.fullmatch(r"lib[^*]+\.so", base):
                yield f"-l{base[3:-3]}".replace("_", "-"), package.package
            elif folder in ("bin", "sbin") and "*" not in base:
                yield base, package.package
            elif file in ("lib/pkgconfig", "lib/pkgconfig/*.pc", "lib/lib*.so"):
                yield from (
                    (f"-l{s.removeprefix('lib')}" if "so" in file else f"{s}.pc", package.package) for s in stems
                )


def _read_calls(text: str, macros: str) -> Iterator[list[str]]:
    """The arguments of every call of these macros of m4, each without its quotes."""
    for match in re.finditer(rf"(?<!\w)(?:{macros})\(", text):
        arguments, quotes, depth = [""], 0, 1
        for letter in text[match.end() : match.end() + 5000]:
            quotes += (letter == "[") - (letter == "]")
            depth += 0 if quotes else (letter == "(") - (letter == ")")
            if not depth:
                break
            if letter == "," and depth == 1 and not quotes:
                arguments.append("")
            else:
                arguments[-1] += letter
        yield [re.sub(r"^\[(.*)\]$", r"\1", word.strip(), flags=re.DOTALL).strip() for word in arguments]


def _substitute(pattern: re.Pattern[str], text: str, values: Mapping[str, str]) -> str:
    """The text with names that the pattern finds replaced by their values, and names in those; not without end."""
    for _ in range(8):
        new = pattern.sub(lambda match: values.get(match[match.lastindex or 0], match[0]), text)
        if new == text or len(new) > 1 << 20:
            break
        text = new
    return text


# What it installs


def _read_makefiles(files: Mapping[str, str], identity: _Identity) -> _Installed:
    """What the Makefile.am files install: those that configure.ac names, or all when it names none plainly."""
    installed = _Installed()
    certain, lost, rules = set[str](), list[str](), list[str]()
    outputs = set(re.findall(r"(?<![\w./+-])[\w./+-]*Makefile\b", identity.configure))
    shell = dict(re.findall(r"""(?<!\w)(\w+)=["']?(\$\{?\w*(?:dir|prefix)\b[\w./{}-]*)""", identity.configure))
    names = dict.fromkeys(("PACKAGE", "PACKAGE_NAME", "PACKAGE_TARNAME"), identity.tarname)
    for path, text in sorted(files.items()):
        unused = "Makefile" in outputs and path.endswith("Makefile.am") and path.removesuffix(".am") not in outputs
        if not path.endswith(".am") or unused:
            continue
        values, sure = _read_variables(text)
        known = {**shell, **_FOLDERS, **names, **values}
        for variable, value in values.items():
            match = _PRIMARY.fullmatch(variable)
            if match is None or match[1] in ("noinst", "check", "EXTRA"):
                continue
            items = _substitute(_VARIABLE, value, known).split()
            places = {_enter(installed, match, item, known) for item in items}
            lost += [variable] if "" in places else []
            certain |= places if variable in sure else set()
        rules += [f"{rule} in {path}" for rule in re.findall(r"(?m)^(install-\w+-(?:local|hook))\s*:", text)]
    if "AM_GNU_GETTEXT" in identity.configure and any(path.startswith("po/") for path in files):
        installed.places["share/locale"] = {""}
        certain.add("share/locale")
    told = {
        "not known where these go": lost,
        "these rules may install more": rules,
        "only under a condition of Makefile.am": sorted(installed.places.keys() - certain),
    }
    installed.remarks.extend(f"{remark}: {', '.join(what)}" for remark, what in told.items() if what)
    return installed


def _enter(installed: _Installed, match: re.Match[str], item: str, known: Mapping[str, str]) -> str:
    """Enter one item of a variable such as dist_man_MANS; the folder it goes to, or "" when that is not known."""
    owner, primary = match[1], match[2]
    below, _, name = item.rpartition("/")
    if not re.fullmatch(r"(?!\.)[\w.+~-]+", name, re.ASCII):
        below, name = "", ""
    place = _substitute(_VARIABLE, f"$({owner}dir)", known)
    if primary == "MANS" and (section := re.search(r"^man(\d)$|\.(\d)\w*$", name if owner == "man" else owner)):
        place = f"@/share/man/man{section[1] or section[2]}"
    elif primary == "TEXINFOS":
        place, name = "@/share/info", ""
    elif "nobase_" in match[0] and below:
        place = f"{place}/{below}"
    place = place.rstrip("/")
    if not re.fullmatch(r"@(/(?!\.)[\w.+~-]+)+", place, re.ASCII):
        return ""
    place = place.removeprefix("@/")
    if primary == "LTLIBRARIES" and place == "lib" and name:
        flags = known.get(re.sub(r"\W", "_", name) + "_LDFLAGS", "") + known.get("AM_LDFLAGS", "")
        installed.libraries[name.removesuffix(".la")] = "-avoid-version" not in _substitute(_VARIABLE, flags, known)
    installed.places.setdefault(place, set()).add("" if primary == "LTLIBRARIES" else name)
    installed.compiled.extend([item] if primary in ("PROGRAMS", "LTLIBRARIES", "LIBRARIES") else [])
    return place


def _read_variables(text: str) -> tuple[dict[str, str], set[str]]:
    """The variables of a Makefile.am, with all that conditions add to them, and those set whatever the conditions."""
    values: dict[str, str] = {}
    sure: set[str] = set()
    depth = 0
    for line in re.sub(r"\\\n", " ", text).splitlines():
        depth += bool(re.match(r"if\w*\s", line)) - line.startswith("endif")
        if match := re.match(r"(\w+)\s*[+:?]?=([^#]*)", line):
            name, value = match.groups()
            values[name] = value.strip() if name.endswith("dir") else f"{values.get(name, '')} {value}"
            sure |= {name} if value.strip() and depth == 0 else set()
    return values, sure


def _split(installed: _Installed) -> tuple[list[str], list[str], list[str]]:
    """Patterns for the package, for its -dev package (none when there is none), and for not-installed."""
    places = installed.places
    versioned = sorted(name for name, has_version in installed.libraries.items() if has_version)
    archives = any(name.endswith(".a") for name in places.get("lib", ()))
    two = any(place.partition("/")[0] == "include" for place in places) and bool(versioned or archives)
    common = "lib*" if len(versioned) > 1 and len(versioned) == len(installed.libraries) else ""
    runtime = [f"lib/{name}.so" for name in installed.libraries if name not in versioned]
    development: list[str] = []
    for name in [common] if common else versioned:
        runtime.append(f"lib/{name}.so" + (".*" if two else "*"))
        development += [f"lib/{name}.so"] if two else []
    left: list[str] = []
    for place, names in places.items():
        crowded = place == "lib" or any(other.startswith(f"{place}/") for other in places)
        named = [f"{place}/{name}" for name in names if name]
        of_dev = two and (place.startswith(_DEVELOPMENT) or (archives and place == "lib"))
        if place.startswith(("share/doc/", "share/info")):
            left.append("/".join(place.split("/")[:3]))
        elif place == "lib" or (named and (crowded or len(names) == 1)):
            (development if of_dev else runtime).extend(named)
        else:
            (development if of_dev else runtime).append(place)
    return _sort(runtime), _sort(development), _sort(left)


def _sort(paths: Sequence[str]) -> list[str]:
    """Paths in order, without those below another."""
    return sorted(path for path in {*paths} if not any(path.startswith(f"{other}/") for other in paths))
