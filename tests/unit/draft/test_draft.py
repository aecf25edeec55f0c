"""Drafts of recipes, compared whole: tarballs and repositories of the test's own, nothing from the network."""

from __future__ import annotations

import functools
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hapkg.draft.draft import draft
from hapkg.errors import FetchError, HapkgError, MachineError, RecipeError, SourceError, UsageError
from hapkg.locations import State
from hapkg.recipe.graph import make_graph
from hapkg.recipe.model import Recipe, read_recipe, read_recipes
from hapkg.recipe.settings import Project
from hapkg.source.fetch import fetch
from tests.support.samples import AUTOTOOLS, CHECKOUT, EPOCH, SETTINGS, STYLES, TEMPLATES, change, write_recipe

GPL_NOTICE = """\
/*
 * This program is free software; you can redistribute it and/or modify it
 * under the terms of the GNU General Public License as published by the
 * Free Software Foundation; either version 2 of the License, or (at your
 * option) any later version.
 */
"""
CONFIGURE = """\
m4_define([one_version], [1.2])dnl the release
AC_INIT([one], [one_version], [one@example.org], [one], [https://one.example.org])
AM_INIT_AUTOMAKE([foreign])
AC_CONFIG_MACRO_DIRS([m4])
AC_PROG_CC
LT_INIT
PKG_CHECK_MODULES([DEPS], [zlib >= 1.2 libxml-2.0])
# PKG_CHECK_MODULES([NO], [commented-out])
AC_CHECK_LIB([aio], [io_submit])
AC_CHECK_LIB([m], [sin])
AC_CHECK_PROGS([HELP2MAN], [help2man])
AC_CONFIG_FILES([Makefile one.pc src/Makefile])
AC_OUTPUT
"""
SOURCE = {
    "configure.ac": CONFIGURE,
    "Makefile.am": """\
SUBDIRS = src
pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = one.pc
dist_man_MANS = one.8 one_greet.3
dist_doc_DATA = README
EXTRA_DIST = one.spec
""",
    "src/Makefile.am": """\
lib_LTLIBRARIES = libone.la
libone_la_SOURCES = one.c
pkginclude_HEADERS = one.h \\
\tmore.h
bin_PROGRAMS = one
noinst_PROGRAMS = try
check_PROGRAMS = one-test
TESTS = one-test
""",
    "contrib/Makefile.am": "sbin_SCRIPTS = not-configured\n",
    "one.pc.in": "Name: one\nDescription: A greeting in one word.\nRequires: zlib\nLibs: -lone\n",
    "README": "one\n===\n\none is a library that greets, and a program that does so for those\nwho cannot link.\n",
    "src/one.c": GPL_NOTICE + "/* Copyright (C) 2010-2012 One Author <one@example.org>, all rights reserved. */\n",
    "src/one.h": GPL_NOTICE + "/* Copyright (c) 2008, 2015 one author */\n/* Copyright 2011 Other, Inc. */\n",
    "build-aux/compile.sh": "# Copyright (C) 1999 Free Software Foundation, Inc.\n",
}
GOLDEN = """\
source = "ha-one"
version = "1.2"
style = "autotools"
date = 2024-05-06T07:08:09Z
section = "libs"
homepage = "https://one.example.org"
build-depends = ["help2man", "libaio-dev", "libxml2-dev", "pkgconf", "zlib1g-dev"]
configure = ["--disable-static"]
not-installed = ["share/doc/one"]

{upstream}

[[origins]]
{origin}

[[copyright]]
copyright = ["2008-2015 One Author", "2011 Other, Inc."]
license = "GPL-2+"

[[packages]]
package = "ha-one"
synopsis = "greeting in one word"
description = \"\"\"
one is a library that greets, and a program that does so for those who cannot
link.\"\"\"
files = ["bin/one", "lib/libone.so.*", "share/man/man8/one.8"]

[[packages]]
package = "ha-one-dev"
section = "libdevel"
depends = ["ha-one (= ${{binary:Version}})", "zlib1g-dev"]
synopsis = "greeting in one word: development files"
description = \"\"\"
Headers and what else it takes to build programs that use one.\"\"\"
files = ["include/one", "lib/libone.so", "lib/pkgconfig/one.pc", "share/man/man3/one_greet.3"]
"""
BARE = """\
source = "ha-bare"
version = "0.9~rc2"
style = "autotools"
date = 2024-05-06T07:08:09Z
# not known: put upstream's page here
homepage = "https://upstream.invalid/bare"
# not known which package has: gnomic.pc, -lgnome
build-depends = ["pkgconf"]

[upstream]
# not known: put the address of upstream's repository here
git = "https://upstream.invalid/bare.git"
# guessed from the version
tag = "v0.9-rc2"

[[origins]]
type = "tarball"
# a local file: put the address of upstream's release here
url = "{url}"
sha256 = "{sha256}"

[[copyright]]
# not known: no source names a holder with a year
copyright = ["2024 the authors of bare"]
# not known: read the sources, then write debian-templates/common/licenses/bare-license or put another name
license = "bare-license"

[[packages]]
package = "ha-bare"
# not known: say in a few words what it is
synopsis = "bare as upstream released it"
description = \"\"\"
bare 0.9~rc2 as upstream released it, built for the prefix of the stack.\"\"\"
# not known what it installs: all of it is taken
files = ["*"]
"""
MESON = {
    "meson.build": """\
project('one', 'c', version: '1.2', license: 'LGPL-2.1-or-later', meson_version: '>= 0.60')
deps = [dependency('zlib', version: '>= 1.2'), dependency('gnomic')]
subdir('src')
install_man('one.8', 'one_greet.3')
if get_option('docs')
  install_data('README', install_dir: get_option('datadir') / 'doc/one')
endif
install_data('one.service', install_dir: dependency('systemd').get_variable('systemdsystemunitdir'))
""",
    "meson_options.txt": "option('docs', type: 'feature')\n",
    "src/meson.build": """\
lib = both_libraries('one', 'one.c', version: '0.1', dependencies: deps, install: true)
executable('one', 'main.c', link_with: lib, install: true)
install_headers('one.h', 'more.h', subdir: 'one')
import('pkgconfig').generate(lib, description: 'A greeting in one word.', url: 'https://one.example.org/')
""",
    "src/one.c": "// Copyright (C) 2010 One Author\n",
    "subprojects/gnomic.wrap": "[wrap-file]\n",
}
MESON_GOLDEN = """\
source = "ha-one"
version = "1.2"
# subprojects, which no build downloads: gnomic
style = "meson"
date = 2024-05-06T07:08:09Z
section = "libs"
homepage = "https://one.example.org/"
# not known which package has: gnomic.pc
build-depends = ["meson (>= 0.60)", "pkgconf", "systemd", "zlib1g-dev"]
configure = ["-Ddefault_library=shared"]
not-installed = ["share/doc/one"]

[upstream]
# not known: put the address of upstream's repository here
git = "https://upstream.invalid/one.git"
# guessed from the version
tag = "v1.2"

[[origins]]
type = "tarball"
# a local file: put the address of upstream's release here
url = "{url}"
sha256 = "{sha256}"

[[copyright]]
copyright = ["2010 One Author"]
license = "LGPL-2.1+"

[[packages]]
package = "ha-one"
synopsis = "greeting in one word"
description = \"\"\"
one 1.2 as upstream released it, built for the prefix of the stack.\"\"\"
# not known where these go: one.service; only under a condition of meson.build: share/doc/one
files = ["bin/one", "lib/libone.so.*", "share/man/man8/one.8"]

[[packages]]
package = "ha-one-dev"
section = "libdevel"
depends = ["ha-one (= ${{binary:Version}})", "zlib1g-dev"]
synopsis = "greeting in one word: development files"
description = \"\"\"
Headers and what else it takes to build programs that use one.\"\"\"
files = ["include/one", "lib/libone.so", "lib/pkgconfig/one.pc", "share/man/man3/one_greet.3"]
"""
Suffix = Literal["gz", "xz", "bz2"]


def make_project(root: Path, *names: str) -> Project:
    """A project with these recipes of the checkout."""
    for name in names:
        shutil.copytree(CHECKOUT / "recipes" / name, root / "recipes" / name)
    root.mkdir(parents=True, exist_ok=True)
    (root / "debian-templates").symlink_to(TEMPLATES)
    return Project(root=root, settings=SETTINGS)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project without recipes, not even a folder for them."""
    return make_project(tmp_path / "project")


def make_tarball(
    folder: Path,
    files: Mapping[str, str | bytes],
    *,
    top: str = "one-1.2",
    name: str = "",
    suffix: Suffix = "gz",
    mtimes: Sequence[float] = (EPOCH,),
) -> Path:
    """A release of upstream; its files' times are taken in turn."""
    target = folder / (name or f"{top or 'flat'}.tar.{suffix}")
    folder.mkdir(exist_ok=True)
    with tarfile.open(target, f"w:{suffix}") as archive:  # type: ignore[call-overload]
        for number, (path, text) in enumerate(files.items()):
            content = text if isinstance(text, bytes) else text.encode()
            member = tarfile.TarInfo(f"{top}/{path}" if top else path)
            member.size, member.mtime = len(content), mtimes[number % len(mtimes)]
            archive.addfile(member, io.BytesIO(content))
    return target


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def draft_text(project: Project, tarball: Path | str, name: str = "one") -> str:
    """The text of a draft, which must be read by others too."""
    cache = project.root.parent / "cache"
    file = draft(project, name, str(tarball), State(cache))
    assert file == project.recipes / name.removeprefix("ha-") / "recipe.toml"
    assert [entry.name for entry in project.recipes.glob(".*")] == []
    assert list((cache / "sources").glob(".draft-*")) == []
    make_graph(read_recipes(project), package_prefix="ha-")
    return file.read_text("utf-8")


def draft_from(project: Project, files: Mapping[str, str | bytes], **options: Any) -> Recipe:
    """The recipe of a release with these files."""
    draft_text(project, make_tarball(project.root.parent / "upstream", files, **options))
    return read_recipe(project.recipes / "one", package_prefix="ha-", styles=STYLES)


def configure(body: str = "", *, init: str = "[one], [1.2]") -> str:
    return f"AC_INIT({init})\n{body}\nAC_OUTPUT\n"


def find_files(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Patterns by package."""
    return {package.package: package.files for package in recipe.packages}


# Whole drafts


@pytest.mark.parametrize("suffix", ["gz", "xz", "bz2"])
def test_a_tarball_on_the_disk(project: Project, tmp_path: Path, suffix: Suffix) -> None:
    tarball = make_tarball(tmp_path, SOURCE, suffix=suffix, mtimes=[EPOCH - 5.0, EPOCH, 0])
    upstream = """\
[upstream]
# not known: put the address of upstream's repository here
git = "https://upstream.invalid/one.git"
# guessed from the version
tag = "v1.2\""""
    origin = f"""\
type = "tarball"
# a local file: put the address of upstream's release here
url = "{tarball.as_uri()}"
sha256 = "{digest(tarball)}\""""
    assert draft_text(project, tarball) == GOLDEN.format(upstream=upstream, origin=origin)


def test_a_tarball_at_an_address_and_then_without_it(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "web/one/one/releases/download/1.2"
    folder.mkdir(parents=True)
    tarball = make_tarball(folder, {**SOURCE, "README": SOURCE["README"] + "\nhttps://github.com/example/One.git\n"})
    with serve(tmp_path / "web") as address:
        url = f"{address}/one/one/releases/download/1.2/{tarball.name}"
        upstream = '[upstream]\ngit = "https://github.com/example/One.git"\ntag = "1.2"'
        origin = f'type = "tarball"\nurl = "{url}"\nsha256 = "{digest(tarball)}"'
        assert draft_text(project, url) == GOLDEN.format(upstream=upstream, origin=origin)
    recipe = read_recipe(project.recipes / "one", package_prefix="ha-", styles=STYLES)
    assert fetch(recipe, State(tmp_path / "cache"), None).origin == f"{url} (cached)"


def test_a_release_that_says_nothing_gets_remarks(project: Project, tmp_path: Path) -> None:
    body = "PKG_CHECK_MODULES(A, gnomic > 2 $MORE)\nAC_CHECK_LIB(gnome, f)\nAC_SEARCH_LIBS([f], [nowhere])"
    files = {"configure.in": configure(body, init="Bare")}
    tarball = make_tarball(tmp_path, files, top="bare-0.9-rc2", name="Odd name.tar.gz")
    text = draft_text(project, tarball, "ha-bare")
    assert text == BARE.format(url=tarball.as_uri(), sha256=digest(tarball))
    assert "Odd%20name" in text


def test_a_source_that_meson_builds(project: Project, tmp_path: Path) -> None:
    tarball = make_tarball(tmp_path, MESON)
    assert draft_text(project, tarball) == MESON_GOLDEN.format(url=tarball.as_uri(), sha256=digest(tarball))


def test_autotools_beside_meson_build_the_source(project: Project) -> None:
    """meson.build tells what configure.ac does not; what it asks for and installs does not count."""
    recipe = draft_from(project, {**MESON, "configure.ac": "AC_INIT\n", "Makefile.am": "sbin_SCRIPTS = a\n"}, top="one")
    assert (recipe.style.name, recipe.version, recipe.homepage) == ("autotools", "1.2", "https://one.example.org/")
    assert (recipe.build_depends, recipe.configure) == ((), ())
    assert find_files(recipe) == {"ha-one": ("sbin/a",)}


def run(*argv: str | Path) -> str:
    """A program's output, with one person and one time for all commits."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        **dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2024-05-06T07:08:09Z"),
        **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "one"),
        **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL", "HGUSER"), "one@example.org"),
    }
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def write_tree(folder: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def make_git(folder: Path, tags: Sequence[str], files: Mapping[str, str]) -> Path:
    """A repository; the tags are alternately light and annotated."""
    run("git", "-c", "init.defaultBranch=main", "init", "-q", folder)
    write_tree(folder, files)
    run("git", "-C", folder, "add", ".")
    run("git", "-C", folder, "commit", "-qm", "one")
    for number, tag in enumerate(tags):
        run("git", "-C", folder, "tag", tag, *(["-m", tag] if number % 2 else []))
    return folder


GIT_VERSION = {**SOURCE, "configure.ac": CONFIGURE.replace("[one_version], [one@", "m4_esyscmd([./v.sh]), [one@")}


@pytest.mark.parametrize("form", ["path", "file", "git+file"])
def test_a_git_repository(project: Project, tmp_path: Path, form: str) -> None:
    folder = make_git(tmp_path / "a repository", ["v1.1", "v1.2", "v1.10-rc1", "20240101", "debian/1.3-1"], GIT_VERSION)
    text = draft_text(
        project, {"path": str(folder), "file": folder.as_uri(), "git+file": f"git+{folder.as_uri()}"}[form]
    )
    commit = run("git", "-C", folder, "rev-parse", "v1.2^{commit}")
    upstream = f'[upstream]\ngit = "{folder.as_uri()}"\ntag = "v1.2"\ncommit = "{commit}"'
    assert text == GOLDEN.format(upstream=upstream, origin='type = "git"')
    recipe = read_recipe(project.recipes / "one", package_prefix="ha-", styles=STYLES)
    assert fetch(recipe, State(tmp_path / "cache"), None).origin == f"git {folder.as_uri()} {commit}"


def test_a_mercurial_repository(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "hg"
    run("hg", "init", folder)
    write_tree(folder, GIT_VERSION)
    run("hg", "-R", folder, "commit", "-qAm", "one", "-d", f"{EPOCH} 0")
    run("hg", "-R", folder, "tag", "one-1.2", "a tag", "-d", f"{EPOCH} 0")
    text = draft_text(project, f"hg+{folder.as_uri()}")
    commit = run("hg", "-R", folder, "log", "-r", "one-1.2", "-T", "{node}")
    upstream = f'[upstream]\nhg = "{folder.as_uri()}"\ntag = "one-1.2"\ncommit = "{commit}"'
    assert text == GOLDEN.format(upstream=upstream, origin='type = "hg"')


@pytest.mark.parametrize(
    ("tags", "tag", "version"),
    [
        (["1.9", "1.10"], "1.10", "1.10"),
        (["v1.9", "V2"], "v1.9", "1.9"),
        (["one_1_2_3", "one_1_2"], "one_1_2_3", "1.2.3"),
        (["Pacemaker-2.1.7", "Pacemaker-2.1.8-rc1"], "Pacemaker-2.1.7", "2.1.7"),
        (["release/2.0-stable", "release/2.0.1-beta"], "release/2.0-stable", "2.0"),
        (["libone2-0.3"], "libone2-0.3", "0.3"),
        (["v1_3", "debian/1.4-2.1", "fix-v1.5", "rc1", "1.6.rc1"], "fix-v1.5", "1.5"),
    ],
)
def test_the_newest_tag_that_looks_like_a_version(
    project: Project, tmp_path: Path, tags: list[str], tag: str, version: str
) -> None:
    draft_text(project, make_git(tmp_path / "git", tags, {"configure.ac": configure()}))
    recipe = read_recipe(project.recipes / "one", package_prefix="ha-", styles=STYLES)
    assert recipe.upstream is not None
    assert (recipe.upstream.tag, recipe.version) == (tag, version)


# Single guesses


@pytest.mark.parametrize(
    ("init", "version"),
    [
        ("[one], [3.4]", "3.4"),
        ("[one], 3.4", "3.4"),
        ("one, v3.4", "3.4"),
        ("[one],\n  [3.4-rc1],\n  [a, (b)]", "3.4~rc1"),
        ("[one], [3.4_5]", "3.4.5"),
        ("[one], [major.minor]", "3.4"),
        ("[one], [from_file]", "6.0"),
        ("[one], m4_esyscmd([build-aux/git-version-gen .tarball-version])", "5.6"),
        ("[one], [loop]", "5.6"),
        ("[one], [$VERSION]", "5.6"),
    ],
)
def test_versions_of_configure_ac(project: Project, init: str, version: str) -> None:
    macros = "m4_define([major], [3])\nm4_define([minor], [4])\nm4_define([loop], [loop loop])\n"
    files = {
        "configure.ac": macros + configure(init=init),
        "version.m4": "m4_define([from_file], [6.0])\n",
        ".tarball-version": "5.6\n",
    }
    assert draft_from(project, files).version == version


@pytest.mark.parametrize(
    ("files", "top", "version"),
    [
        ({"configure.ac": "AC_INIT(one.c)\nAM_INIT_AUTOMAKE(one, 2.5)\n"}, "one", "2.5"),
        ({"configure.ac": configure(init="[one], [2.5.0]")}, "one-2.5.0-rc1", "2.5.0~rc1"),
        ({"configure.ac": configure(init="[one], [2.5]")}, "one-2.50~rc1", "2.5"),
        ({"configure.ac": "AC_INIT(one.c)\n", "VERSION": "2.6\n"}, "one", "2.6"),
        ({"configure.ac": "AC_INIT(one.c)\n", "VERSION": "2.6\n"}, "one-2-7.1", "2.7.1"),
        ({"configure.ac": "AC_INIT(one.c)\n"}, "one-v2.1.12-stable", "2.1.12"),
        ({"configure.ac": "AC_INIT(one.c)\n"}, "one-2 of them-2.8", "2.8"),
        ({"configure": "#!/bin/sh\n"}, "one_4.0beta2", "4.0~beta2"),
        ({"configure.ac": "", "meson.build": "project('one', 'c',\n  version : '7.8')\n"}, "one", "7.8"),
    ],
)
def test_versions_of_other_places(project: Project, files: dict[str, str], top: str, version: str) -> None:
    assert draft_from(project, files, top=top).version == version


@pytest.mark.parametrize(
    ("url", "git", "tag"),
    [
        ("https://github.com/example/one/archive/refs/tags/1.2.tar.gz", "https://github.com/example/one.git", "1.2"),
        ("https://gitlab.com/example/one/-/archive/one-1.2/x.tar.gz", "https://gitlab.com/example/one.git", "one-1.2"),
        ("https://releases.example.org/one-1.2.tar.gz", "https://github.com/other/one.git", "v1.2"),
    ],
)
def test_addresses_of_forges(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, git: str, tag: str
) -> None:
    """As if the network had delivered it."""
    readme = "Needs https://github.com/other/two and https://other.github.io/one/.\n"
    tarball = make_tarball(tmp_path, {"configure.ac": configure(), "README.md": readme})
    monkeypatch.setattr("hapkg.draft.upstream_release.download", lambda _, target: shutil.copyfile(tarball, target))
    draft_text(project, url)
    recipe = read_recipe(project.recipes / "one", package_prefix="ha-", styles=STYLES)
    assert recipe.upstream is not None
    assert (recipe.upstream.git, recipe.upstream.tag) == (git, tag)
    assert recipe.homepage == git.removesuffix(".git")


@pytest.mark.parametrize(
    ("init", "files", "page"),
    [
        ("[one], [1], [], [], [http://one.example.org/~one/]", {}, "http://one.example.org/~one/"),
        (
            "[one], [1]",
            {"one.spec.in": "URL: https://%{host}/\nURL: https://a.example.org/\n"},
            "https://a.example.org/",
        ),
        ("[one], [1]", {"README": "https://codeberg.org/me/one"}, "https://codeberg.org/me/one"),
        ("[one], [1], [], [], [not an address]", {}, "https://upstream.invalid/one"),
    ],
)
def test_pages_of_upstream(project: Project, init: str, files: dict[str, str], page: str) -> None:
    assert draft_from(project, {"configure.ac": configure(init=init), **files}).homepage == page


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.c": "// SPDX-License-Identifier: GPL-2.0-or-later\n"}, "GPL-2+"),
        ({"a.c": "/* SPDX-License-Identifier: LGPL-2.1+ */\n"}, "LGPL-2.1+"),
        ({"a.c": "// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)\n"}, "GPL-2 or BSD-3-clause"),
        ({"a.c": "// SPDX-License-Identifier: LicenseRef-odd_one\n"}, "LicenseRef-odd-one"),
        ({"a.c": "// SPDX-License-Identifier: MIT OR ...\n"}, "one-license"),
        ({"a.c": GPL_NOTICE}, "GPL-2+"),
        ({"a.c": GPL_NOTICE.replace("General", "Lesser General").replace("version 2 ", "version 2.1 ")}, "LGPL-2.1+"),
        ({"a.c": "Licensed under the GNU General Public License version 2\n"}, "GPL-2"),
        ({"a.c": "GNU General Public License version 2 or later (GPLv2+)\n"}, "GPL-2+"),
        ({"a.c": "* of the GNU General Public License v2 or (at your option) any later version.\n"}, "GPL-2+"),
        ({"a.c": "* of the GNU General Public License v.2.\n"}, "GPL-2"),
        ({"a.c": "* This software licensed under LGPL-2.0+\n"}, "LGPL-2+"),
        ({"a.c": GPL_NOTICE, "b.c": GPL_NOTICE, "c.c": "LGPL-2.1+\n"}, "GPL-2+ and LGPL-2.1+"),
        ({"COPYING": "GNU GENERAL PUBLIC LICENSE\n Version 2, June 1991\n\n Copyright (C) 1989\n"}, "GPL-2"),
        ({"COPYING": "GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1, February 1999\n"}, "LGPL-2.1"),
        ({"License": "Permission is hereby granted, free of charge, to\n"}, "Expat"),
        ({"LICENSE.md": "Permission to use, copy, modify, and/or\n"}, "ISC"),
        ({"LICENSE": "Apache License\n   Version 2.0, January 2004\n"}, "Apache-2.0"),
        ({"LICENSE": "Mozilla Public License Version 2.0\n"}, "MPL-2.0"),
        (
            {"a.h": "* Redistribution and use in source and\n * binary forms, with\n * Neither the name of\n"},
            "BSD-3-clause",
        ),
        ({"a.h": "# Redistribution and use in source and\n# binary forms, with\n"}, "BSD-2-clause"),
        ({"README.md": "one is free: LGPL v2.1 or later, see COPYING\n"}, "LGPL-2.1+"),
        ({"m4/a.sh": GPL_NOTICE, "a.txt": GPL_NOTICE, "README": "No licence."}, "one-license"),
    ],
)
def test_licences(project: Project, files: dict[str, str], expected: str) -> None:
    assert draft_from(project, {"configure.ac": configure(), **files}).copyright[0].license == expected


def test_a_licence_without_a_text_gets_a_remark(project: Project, tmp_path: Path) -> None:
    files = {"configure.ac": configure(), "a.c": "SPDX-License-Identifier: GPL-2.0+ AND MIT\n"}
    text = draft_text(project, make_tarball(tmp_path, files))
    remark = "# to be written: debian-templates/common/licenses/Expat"
    assert f'{remark}\nlicense = "GPL-2+ and Expat"\n' in text


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([" * Copyright (C) 2004-2006 One Author <one@example.org>"], ["2004-2006 One Author"]),
        (["Copyright 2010, 2012 by A", "Copyright © 2015 a."], ["2010-2015 A"]),
        (["Copyright (c) 2009-present, Example Corp. All rights reserved. */"], ["2009 Example Corp."]),
        (["// SPDX-FileCopyrightText: 2021 Jos\u00e9"], ["2021 Jos\u00e9"]),
        (["Copyright (C) Some Body 1999"], ["1999 Some Body"]),
        (["Copyright (C) 2005-07 Red Hat Inc., Durham", "Copyright 2001 Red Hat, Inc."], ["2001-2005 Red Hat Inc."]),
        (['Copyright 2003 "Quoted \\ Name"'], ["2003 Quoted \\ Name"]),
        (["the above copyright notice and 2003 conditions"], ["2003 notice and conditions"]),
        (["copyright holders", "Copyright (C) YEAR Nobody", "Copyright 2003"], ["2024 the authors of one"]),
        ([f"Copyright 20{n:02} H{n}" for n in range(20, 10, -1)], [f"20{n} H{n}" for n in range(11, 16)]),
    ],
)
def test_holders(project: Project, lines: list[str], expected: list[str]) -> None:
    files = {"configure.ac": configure(), "a.c": "\n".join(lines) + "\n"}
    assert list(draft_from(project, files).copyright[0].copyright) == expected


def test_holders_in_other_encodings_and_in_the_licence(project: Project, tmp_path: Path) -> None:
    latin = "/* Copyright 2001 Jos\u00e9 */\n".encode("latin-1")
    assert draft_from(project, {"configure.ac": configure(), "a.c": latin}).copyright[0].copyright == (
        "2001 Jos\u00e9",
    )
    other = make_project(tmp_path / "other" / "project")
    licence = "MIT\nCopyright (c) 2002 Me\nCopyright 1989 Free Software Foundation, Inc.\n"
    found = draft_from(other, {"configure.ac": configure(), "LICENSE": licence, "a.c": "int a;\n"})
    assert found.copyright[0].copyright == ("2002 Me",)


def test_more_than_a_handful_of_holders_are_counted(project: Project, tmp_path: Path) -> None:
    lines = "".join(f"// Copyright 2001 Holder {letter}\n" for letter in "ABCDEFG")
    text = draft_text(project, make_tarball(tmp_path, {"configure.ac": configure(), "a.c": lines}))
    assert "# 2 more are named in the sources\ncopyright = [" in text


def test_dependencies_on_recipes_of_the_project(tmp_path: Path) -> None:
    """libqb names its files; of corosync's whole folder the names in shadows tell."""
    project = make_project(tmp_path / "project", "libqb", "kronosnet", "corosync")
    body = """
PKG_CHECK_MODULES([qb], [libqb >= 2])
PKG_CHECK_MODULES([cs], [libcpg, libcorosync_common corosync])
AC_CHECK_LIB([knet], [knet_handle_new])
AC_CHECK_LIB([cmap], [cmap_get])
AC_PATH_PROGS([DOXYGEN2MAN], [doxygen2man])
PKG_CHECK_MODULES([no], [libnozzle])
"""
    tarball = make_tarball(tmp_path, {"configure.ac": configure(body)})
    text = draft_text(project, tarball)
    assert "# not known which package has: libnozzle.pc\n" in text
    recipe = read_recipe(project.recipes / "one", package_prefix="ha-", styles=STYLES)
    assert recipe.build_depends == ("ha-corosync-dev", "ha-kronosnet-dev", "ha-libqb-dev", "pkgconf")


def test_dependencies_on_debian(project: Project) -> None:
    body = """
AM_GNU_GETTEXT([external])
AM_PATH_PYTHON([3])
AX_PTHREAD
AX_OWN
AC_PROG_LEX(noyywrap)
AC_CHECK_HEADERS([stdio.h bzlib.h curses.h])
AC_SEARCH_LIBS([dlopen], [dl dld])
AC_SEARCH_LIBS([uuid_parse], [uuid])
AC_CHECK_LIB([$lib], [f])
if test "$x" = yes; then
  PKG_CHECK_MODULES([GLIB], [glib-2.0 >= $MINIMUM gio-2.0], [], [AC_MSG_ERROR([none, (sorry)])])
fi
"""
    files = {
        "configure.ac": configure(body),
        "m4/own.m4": "AC_DEFUN([AX_OWN], [])\n",
        "doc/Makefile.am": "info_TEXINFOS = one.texi\n",
        "aclocal.m4": "AC_DEFUN([AX_PTHREAD], [])\n",
    }
    assert list(draft_from(project, files).build_depends) == [
        "autoconf-archive",
        "flex",
        "gettext",
        "libbz2-dev",
        "libglib2.0-dev",
        "libncurses-dev",
        "pkgconf",
        "python3",
        "texinfo",
        "uuid-dev",
    ]


@pytest.mark.parametrize(
    ("makefile", "runtime", "development"),
    [
        ("bin_PROGRAMS = a b\nsbin_SCRIPTS = c\n", ["bin", "sbin/c"], []),
        ("bin_PROGRAMS = a\nif X\nbin_PROGRAMS += b\nendif\n", ["bin"], []),
        ("bin_PROGRAMS = $(some)\nsome = a b\n", ["bin"], []),
        ("bin_PROGRAMS = $(MORE)\n", ["bin"], []),
        ("lib_LTLIBRARIES = libx.la\n", ["lib/libx.so*"], []),
        ("lib_LTLIBRARIES = libx.la\ninclude_HEADERS = x.h\n", ["lib/libx.so.*"], ["include/x.h", "lib/libx.so"]),
        (
            "lib_LTLIBRARIES = libx.la liby.la\ninclude_HEADERS = x.h y.h\n",
            ["lib/lib*.so.*"],
            ["include", "lib/lib*.so"],
        ),
        (
            "lib_LTLIBRARIES = libx.la m.la\nm_la_LDFLAGS = -module -avoid-version\nnobase_include_HEADERS = x/x.h\n",
            ["lib/libx.so.*", "lib/m.so"],
            ["include/x/x.h", "lib/libx.so"],
        ),
        ("lib_LIBRARIES = libx.a\ninclude_HEADERS = x.h\nbin_SCRIPTS = x\n", ["bin/x"], ["include/x.h", "lib/libx.a"]),
        ("include_HEADERS = x.h\n", ["include/x.h"], []),
        ("pkglib_LTLIBRARIES = plug.la\npkglibexec_SCRIPTS = a b\n", ["lib/one", "libexec/one"], []),
        ("sysconf_DATA = a.conf\nconfddir = ${sysconfdir}/one.d\nconfd_DATA = b c\n", ["etc/a.conf", "etc/one.d"], []),
        (
            "man_MANS = a.1 b.8 c.8\nman5_MANS = x.5\n",
            ["share/man/man1/a.1", "share/man/man5/x.5", "share/man/man8"],
            [],
        ),
        (
            "dist_pkgdata_DATA = x\npkgdata_SCRIPTS = y\nmydir = $(pkgdatadir)/my\nmy_DATA = z\n",
            ["share/one/my/z", "share/one/x", "share/one/y"],
            [],
        ),
        ("unitdir = $(MY_UNIT_DIR)\nunit_DATA = one.service other.service\n", ["lib/units"], []),
        (
            "noinst_HEADERS = x.h\ncheck_PROGRAMS = t\nEXTRA_PROGRAMS = e\ndoc_DATA = README\nbin_SCRIPTS = s\n",
            ["bin/s"],
            [],
        ),
    ],
)
def test_what_is_installed(project: Project, makefile: str, runtime: list[str], development: list[str]) -> None:
    body = 'MY_UNIT_DIR="${libdir}/units"\nAC_CONFIG_FILES([Makefile])'
    recipe = draft_from(project, {"configure.ac": configure(body), "Makefile.am": makefile})
    expected = {"ha-one": tuple(runtime), "ha-one-dev": tuple(development)}
    assert find_files(recipe) == {name: files for name, files in expected.items() if files}


def test_dependencies_of_plain_makefiles(tmp_path: Path) -> None:
    """What they ask pkg-config for and link to. Of pacemaker's whole folder the name before the hyphen tells."""
    project = make_project(
        tmp_path / "project", "libqb", "kronosnet", "corosync", "cluster-glue", "resource-agents", "pacemaker"
    )
    makefile = """\
PKG_CONFIG ?= pkg-config
FLAGS := --errors-to-stdout
CS := $(shell $(PKG_CONFIG) $(FLAGS) --cflags --libs libcpg "libquorum >= 3.1.0")
PCMK := $(shell ${PKG_CONFIG} --cflags pacemaker-fencing 2>/dev/null)
OTHER = `pkg-config --libs gnomic` -lone
# -lpam is not for us
LDFLAGS += -L. -luuid \\
\t-lpthread
help:
\t$(error "Failed to call pkg-config for zlib: $(CS)")
"""
    text = draft_text(project, make_tarball(tmp_path, {"Makefile": "all:\n", "src/Makefile": makefile}))
    assert "# not known which package has: gnomic.pc\n" in text
    recipe = read_recipe(project.recipes / "one", package_prefix="ha-", styles=STYLES)
    assert recipe.build_depends == ("ha-corosync-dev", "ha-pacemaker-dev", "pkgconf", "uuid-dev")


def test_libraries_of_a_recipe_that_names_its_folder(tmp_path: Path) -> None:
    """The packages of the distribution that it stands in for have a number behind the library's name."""
    project = make_project(tmp_path / "project", "cluster-glue")
    tarball = make_tarball(tmp_path, {"configure.ac": configure("AC_CHECK_LIB([plumb], [f])")})
    draft_text(project, tarball)
    assert read_recipe(project.recipes / "one", package_prefix="ha-", styles=STYLES).build_depends == (
        "ha-cluster-glue-dev",
    )


def test_the_folder_of_a_forges_archive_names_the_tag(project: Project) -> None:
    recipe = draft_from(project, {"configure.ac": configure()}, top="one-One-1.2", name="x.tar.gz")
    assert recipe.upstream is not None
    assert recipe.upstream.tag == "One-1.2"


def test_what_is_only_data_is_of_all_architectures(project: Project, tmp_path: Path) -> None:
    assert (
        draft_from(project, {"configure.ac": configure(), "Makefile.am": "bin_SCRIPTS = a\n"}).packages[0].architecture
        == "all"
    )
    other = make_project(tmp_path / "other" / "project")
    assert (
        draft_from(other, {"configure.ac": configure(), "Makefile.am": "bin_PROGRAMS = a\n"}).packages[0].architecture
        == "any"
    )


def test_translations_are_installed(project: Project) -> None:
    files = {"configure.ac": configure("AM_GNU_GETTEXT"), "po/LINGUAS": "de\n", "Makefile.am": "bin_PROGRAMS = a\n"}
    assert find_files(draft_from(project, files)) == {"ha-one": ("bin/a", "share/locale")}


def test_what_is_installed_where_nobody_knows_gets_a_remark(project: Project, tmp_path: Path) -> None:
    makefile = """\
bin_PROGRAMS = a
unit_DATA = a.service
hookdir = /etc/hooks
hook_DATA = a.hook
if DOCS
man_MANS = a.1
endif
install-data-hook:
\ttrue
"""
    text = draft_text(project, make_tarball(tmp_path, {"configure.ac": configure(), "Makefile.am": makefile}))
    assert text.endswith("""\
# not known where these go: unit_DATA, hook_DATA; these rules may install more: install-data-hook in Makefile.am; only
# under a condition of Makefile.am: share/man/man1
files = ["bin/a", "share/man/man1/a.1"]
""")


def test_a_long_list_takes_a_line_for_each(project: Project, tmp_path: Path) -> None:
    programs = "".join(
        f"sub{n}dir = $(libexecdir)/a-folder-with-a-long-name-{n}\nsub{n}_DATA = x y\n" for n in range(3)
    )
    text = draft_text(project, make_tarball(tmp_path, {"configure.ac": configure(), "Makefile.am": programs}))
    lines = "".join(f'  "libexec/a-folder-with-a-long-name-{n}",\n' for n in range(3))
    assert text.endswith(f"files = [\n{lines}]\n")


def test_a_python_source(project: Project) -> None:
    recipe = draft_from(project, {"setup.py": "setup(name='one')\n"})
    (package,) = recipe.packages
    assert (recipe.style.name, recipe.build_depends) == ("python", ("dh-python", "python3", "python3-setuptools"))
    assert (package.architecture, package.depends, package.files) == ("all", ("python3",), ("*",))


def test_a_source_with_plain_makefiles(project: Project) -> None:
    recipe = draft_from(project, {"Makefile": "all:\n"})
    assert (recipe.style.name, find_files(recipe)) == ("make", {"ha-one": ("*",)})


# What cannot be drafted


@pytest.mark.parametrize(
    "name", ["", "One", "-one", ".one", "..", "ha-", "ha-..", "one/two", "../one", "one two", "\u00e9t\u00e9", "x\n"]
)
def test_names_that_cannot_be(project: Project, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a recipe") as caught:
        draft(project, name, str(make_tarball(tmp_path, SOURCE)), State(tmp_path / "cache"))
    assert caught.value.hint
    assert not project.recipes.exists()


def refuse(project: Project, origin: str, error: type[HapkgError], text: str, name: str = "one") -> HapkgError:
    """The error of a draft, which leaves nothing behind."""
    before = sorted(project.root.rglob("*"))
    with pytest.raises(error, match=text) as caught:
        draft(project, name, origin, State(project.root.parent / "cache"))
    assert type(caught.value) is error
    assert caught.value.hint
    assert sorted(project.root.rglob("*")) == before
    assert list((project.root.parent / "cache" / "sources").glob(".*")) == []
    return caught.value


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        ("/nowhere/one-1.2.tar.gz", "^/nowhere/one-1.2.tar.gz does not exist"),
        ("one", "^one does not exist"),
        ("file:///nowhere", "^file:///nowhere does not exist"),
        ("/dev/null/one-1.2.tar.gz", "^/dev/null/one-1.2.tar.gz does not exist$"),
        (f"{'x' * 300}.tar.gz", "x.tar.gz cannot be read: File name too long$"),
        ("/dev/null", "^/dev/null is neither a file nor a folder$"),
        ("", "^nothing is neither a file nor a folder$"),
        ("https://example.org/one-1.2.zip", "is neither a tarball nor a repository"),
        ("https://github.com/example/one", "is neither a tarball nor a repository"),
        ("ftp://example.org/one-1.2.tar.gz", r"origins\[1\].url: string should match pattern"),
        ("http://[one/one.tar.gz", "is not a complete address"),
        ("https:///one.tar.gz", "is not a complete address"),
        ("https://example.org/o ne.tar.gz", r"origins\[1\].url: string should match"),
        ("http://example.org/one.git", "^http://example.org/one.git: a repository's address is https or file$"),
        ("hg+http://example.org/one", "^http://example.org/one: a repository's address is https or file$"),
    ],
)
def test_origins_that_cannot_be(project: Project, origin: str, text: str) -> None:
    refuse(project, origin, UsageError, text)


def test_a_recipe_that_exists_is_left_alone(project: Project, tmp_path: Path) -> None:
    tarball = str(make_tarball(tmp_path, SOURCE))
    before = draft_text(project, tarball)
    for name in ("one", "ha-one"):
        error = refuse(project, tarball, UsageError, "recipes/one exists already$", name)
        assert error.hint == "edit its recipe.toml, or remove the folder first"
    assert (project.recipes / "one" / "recipe.toml").read_text() == before
    (project.recipes / "link").symlink_to("nowhere")
    refuse(project, tarball, UsageError, "recipes/link exists already$", "link")


def test_a_package_that_another_recipe_builds_is_refused(project: Project, tmp_path: Path) -> None:
    package = change(AUTOTOOLS, "packages.0.package", "ha-two-dev")
    write_recipe(project.recipes, package)
    refuse(project, str(make_tarball(tmp_path, SOURCE)), UsageError, "^ha-one builds ha-two-dev already$", "two")


def test_another_recipe_that_is_broken_is_told(project: Project, tmp_path: Path) -> None:
    write_recipe(project.recipes, change(AUTOTOOLS, "version", "-"))
    with pytest.raises(RecipeError, match=r"recipes/one/recipe.toml: version: '-' is not an upstream version"):
        draft(project, "two", str(make_tarball(tmp_path, SOURCE)), State(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("files", "brief", "detail"),
    [
        ({"Cargo.toml": ""}, "builds with cargo (Cargo.toml), for which there is no style", "Cargo.toml"),
        (
            {"go.mod": "", "Makefile": "", "a/configure.ac": ""},
            "builds with go (go.mod), make (Makefile), for which there is no style",
            "Makefile, go.mod",
        ),
        ({"src/one.c": ""}, "has nothing at its top that says how it builds", "no file"),
    ],
)
def test_a_build_system_without_a_style(
    project: Project, tmp_path: Path, files: dict[str, str], brief: str, detail: str
) -> None:
    tarball = make_tarball(tmp_path, files)
    error = refuse(project, str(tarball), SourceError, "one-1.2.tar.gz ")
    assert (error.brief, error.details) == (f"{tarball.as_uri()} {brief}", (f"at the top: {detail}",))
    styles = "autotools, cmake, make, meson, pyproject, python"
    assert error.hint == f"styles: {styles}; a folder of debian-templates/ with a rules.j2 adds one"


def test_a_release_without_a_version(project: Project, tmp_path: Path) -> None:
    tarball = make_tarball(tmp_path, {"configure.ac": configure(init="[one], [none]")}, top="one")
    refuse(project, str(tarball), SourceError, "does not tell its version$")


def test_tarballs_that_cannot_be_read(project: Project, tmp_path: Path) -> None:
    whole = make_tarball(tmp_path, SOURCE)
    cut = tmp_path / "cut-1.tar.gz"
    cut.write_bytes(whole.read_bytes()[:-40])
    refuse(project, str(cut), SourceError, "cut-1.tar.gz cannot be read: ")
    plain = tmp_path / "plain-1.tar.xz"
    with tarfile.open(plain, "w"):
        pass
    refuse(project, str(plain), SourceError, "plain-1.tar.xz cannot be read: ")
    for name, files, top in [
        ("flat", {"configure.ac": "", "Makefile.am": ""}, ""),
        ("empty", {}, "empty"),
        ("absolute", {"/configure.ac": "", "/x/one": ""}, ""),
    ]:
        tarball = make_tarball(tmp_path, files, top=top, name=f"{name}.tar.gz")
        refuse(project, str(tarball), SourceError, "does not hold one folder with everything in it$")


def test_repositories_without_a_release(project: Project, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    run("git", "init", "-q", empty)
    refuse(project, str(empty), UsageError, "has no commit$")
    untagged = make_git(tmp_path / "git", ["v2.0-rc1", "new"], {"configure.ac": configure()})
    error = refuse(project, str(untagged), UsageError, "has no tag that looks like a version$")
    assert error.details == ("tags: new, v2.0-rc1",)
    mercurial = tmp_path / "hg"
    run("hg", "init", mercurial)
    refuse(project, str(mercurial), UsageError, "has no tag that looks like a version$")
    folder = tmp_path / "folder"
    folder.mkdir()
    refuse(project, str(folder), FetchError, "cannot be reached$")


def test_an_address_that_does_not_answer(project: Project, tmp_path: Path) -> None:
    with serve(tmp_path) as address:
        refuse(
            project, f"{address}/one-1.2.tar.gz", FetchError, "one-1.2.tar.gz: the server answers 404 File not found$"
        )
    refuse(project, f"{address}/one-1.2.tar.gz", FetchError, "one-1.2.tar.gz: cannot be reached: .*refused")


def test_a_disk_that_refuses(project: Project, tmp_path: Path) -> None:
    tarball = make_tarball(tmp_path, SOURCE)
    project.recipes.write_text("no folder\n")
    with pytest.raises(MachineError, match=r"recipes: (File exists|Not a directory)"):
        draft(project, "one", str(tarball), State(tmp_path / "cache"))


# Whatever upstream wrote

WORDS = st.text(st.characters(codec="utf-8"), max_size=30)
CODE = st.text(st.sampled_from("ab1.-_ \t\n\"'\\[](){}$@#=+/%:,<>*\x00\x7f\u00a0\u2028\u00e9"), max_size=60)


@settings(max_examples=50)
@given(
    name=st.from_regex(r"(?!ha-)[a-z0-9][a-z0-9+.-]{0,20}", fullmatch=True),
    words=st.lists(WORDS | CODE, min_size=5, max_size=5),
    holder=WORDS | CODE,
    top=st.from_regex(r"[A-Za-z0-9_. -]{1,9}-[0-9][A-Za-z0-9.~_-]{0,9}", fullmatch=True),
    texts=st.fixed_dictionaries(
        {
            "README": WORDS | CODE.map("one is something, {}, that is told about in many words indeed.\n".format),
            "one.spec": WORDS.map("Summary: {}\n".format) | CODE.map("URL: https://{}\n".format),
            "one.pc.in": CODE.map("Description: {0}\nRequires: {0}\n".format),
            "Makefile.am": CODE.map(
                "bin_PROGRAMS = {0}\n{0}_DATA = x\nxdir = {0}\nx_DATA = {0} y\nman_MANS={0}\n".format
            ),
            "src/Makefile.am": CODE.map("lib_LTLIBRARIES = {0}\nnobase_include_HEADERS = x/{0}\n".format),
            "LICENSE": WORDS | CODE.map("SPDX-License-Identifier: {}\n".format),
            "version.m4": CODE.map("m4_define([{0}], [{0} {0}])\n".format),
        }
    ),
    mtime=st.integers(-1 << 33, 1 << 35),
)
def test_whatever_upstream_writes_the_draft_is_a_recipe(
    name: str, words: list[str], holder: str, top: str, texts: dict[str, str], mtime: int
) -> None:
    init = ", ".join(f"[{word}]" for word in words)
    body = "\n".join(f"PKG_CHECK_MODULES([X], [{word}])\nAC_CHECK_LIB([{word}], [f])\nX={word}" for word in words)
    files: dict[str, str] = {
        **texts,
        "configure.ac": configure(body, init=init),
        "one.c": f"/* Copyright (C) 2001 {holder}\n",
    }
    with tempfile.TemporaryDirectory() as scratch:
        project = make_project(Path(scratch) / "project")
        tarball = make_tarball(Path(scratch), files, top=top, name="x.tar.gz", mtimes=[mtime])
        file = draft(project, name, str(tarball), State(Path(scratch) / "cache"))
        recipe = read_recipe(file.parent, package_prefix="ha-", styles=STYLES)
    assert recipe.source == f"ha-{name}"


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, without a word."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class serve:  # noqa: N801 - read as a verb
    """A folder on the web while the block runs."""

    def __init__(self, folder: Path) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("no_proxy", "*")
    yield
