"""Releases of upstream that tests make, and the drafts of recipes that become of them."""

from __future__ import annotations

import functools
import hashlib
import io
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Mapping, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest

from hapkg.draft.draft import draft
from hapkg.errors import HapkgError
from hapkg.locations import State
from hapkg.recipe.collection import read_recipes
from hapkg.recipe.graph import make_graph
from hapkg.recipe.model import Recipe, read_recipe
from hapkg.recipe.settings import Project
from tests.support.samples import CHECKOUT, EPOCH, SETTINGS, STYLES

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
Suffix = Literal["gz", "xz", "bz2"]


def make_project(root: Path, *names: str) -> Project:
    """A project with these recipes of the checkout."""
    for name in names:
        shutil.copytree(CHECKOUT / "recipes" / name, root / "recipes" / name)
    root.mkdir(parents=True, exist_ok=True)
    return Project(root=root, settings=SETTINGS)


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


def read_golden(name: str) -> str:
    """A whole draft, with {url} or the like where a test has its own."""
    return (CHECKOUT / f"tests/unit/draft/golden/{name}.toml").read_text("utf-8")


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
