"""A drafted recipe builds as it stands."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

from hapkg.control import parse_relation_names
from hapkg.deb import read_deb_control
from tests.integration.chroot.test_build import read_content
from tests.support.machine import Hapkg
from tests.support.miniature import Miniature

NOTICE = """\
/* Copyright (C) 2019-2024 The greeters
 *
 * This program is free software; you can redistribute it and/or modify it under the terms of the GNU General Public
 * License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. */
"""
# A library with a header, a program that links to it, a man page of each, a pkg-config file, data and a test.
GREET = {
    "configure.ac": """\
m4_define([greet_version], [3.1])
AC_INIT([Greet], [greet_version], [greet@example.org], [greet], [https://greet.example.org])
AC_CONFIG_AUX_DIR([build-aux])
AC_CONFIG_MACRO_DIRS([m4])
AM_INIT_AUTOMAKE([foreign])
AC_PROG_CC
LT_INIT
PKG_CHECK_MODULES([ZLIB], [zlib >= 1.2])
AC_CONFIG_FILES([Makefile src/Makefile greet.pc])
AC_OUTPUT
""",
    "Makefile.am": """\
ACLOCAL_AMFLAGS = -I m4
SUBDIRS = src
dist_man_MANS = greet.1 greet_word.3
dist_doc_DATA = README
dist_pkgdata_DATA = words
pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = greet.pc
""",
    "src/Makefile.am": """\
AM_CFLAGS = $(ZLIB_CFLAGS)
lib_LTLIBRARIES = libgreet.la
libgreet_la_SOURCES = word.c
libgreet_la_LIBADD = $(ZLIB_LIBS)
libgreet_la_LDFLAGS = -version-info 2:0:1
include_HEADERS = greet.h
bin_PROGRAMS = greet
greet_SOURCES = main.c
greet_LDADD = libgreet.la
check_PROGRAMS = try
try_SOURCES = try.c
try_LDADD = libgreet.la
TESTS = try
""",
    "src/greet.h": f"{NOTICE}const char *greet_word(void);\n",
    "src/word.c": f"""\
{NOTICE}
#include "greet.h"
#include <stdlib.h>
#include <zlib.h>
const char *greet_word(void) {{ return getenv("GREET_WORD") ? zlibVersion() : "hello"; }}
""",
    "src/main.c": '#include "greet.h"\n#include <stdio.h>\nint main(void) { return puts(greet_word()) < 0; }\n',
    "src/try.c": '#include "greet.h"\nint main(void) { return greet_word()[0] == 0; }\n',
    "greet.pc.in": """\
prefix=@prefix@
Name: greet
Description: greetings for programs and for people
Version: @VERSION@
Requires.private: zlib
Libs: -L@libdir@ -lgreet
Cflags: -I@includedir@
""",
    "greet.1": ".TH GREET 1\n.SH NAME\ngreet \\- say hello\n",
    "greet_word.3": ".TH GREET_WORD 3\n.SH NAME\ngreet_word \\- the word to greet with\n",
    "words": "hello\n",
    "README": "Greet\n",
    "m4/README": "Macros that libtoolize copies.\n",
}
# The same things as meson knows them, and a program that does not belong to the library.
PARLEY = {
    "meson.build": """\
project('Parley', 'c',
  version: '3.2-rc1',
  license: 'GPL-2.0-or-later',
  meson_version: '>= 0.60',
  default_options: ['default_library=both', 'warning_level=2'])
zlib = dependency('zlib', version: '>= 1.2')
threads = dependency('threads')
pkgconfig = import('pkgconfig')
add_project_arguments('-DCONFIGURED="' + get_option('prefix') / get_option('sysconfdir') + '"', language: 'c')
subdir('src')
install_man('parley.1', 'parley_word.3')
install_data('words')
if get_option('extras')
  install_data('extras')
endif
""",
    "meson_options.txt": "option('extras', type: 'boolean', value: false, description: 'more of it')\n",
    "src/meson.build": """\
lib = library('parley', 'word.c', version: '2.1.0', dependencies: [zlib, threads], install: true)
executable('parley', 'main.c', link_with: lib, install: true)
foreach name : ['parley-talk', 'parley-listen']
  executable(name, 'main.c', link_with: lib, install: true, install_dir: get_option('sbindir'))
endforeach
install_headers('parley.h', subdir: 'parley')
pkgconfig.generate(lib, name: 'parley', description: 'words for programs and for people')
test('try', executable('try', 'try.c', link_with: lib))
""",
    "src/parley.h": f"{NOTICE}const char *parley_word(void);\n",
    "src/word.c": f"""\
{NOTICE}
#include "parley.h"
#include <stdlib.h>
#include <zlib.h>
const char *parley_word(void) {{ return getenv("PARLEY_WORD") ? zlibVersion() : "hello from " CONFIGURED; }}
""",
    "src/main.c": '#include "parley.h"\n#include <stdio.h>\nint main(void) { return puts(parley_word()) < 0; }\n',
    "src/try.c": """\
#include "parley.h"
#include <string.h>
int main(void) { return strcmp(parley_word(), "hello from /opt/ha/etc"); }
""",
    "parley.1": ".TH PARLEY 1\n.SH NAME\nparley \\- say hello\n",
    "parley_word.3": ".TH PARLEY_WORD 3\n.SH NAME\nparley_word \\- the word to greet with\n",
    "words": "hello\n",
    "extras": "good bye\n",
}


def make_release(file: Path, files: Mapping[str, str]) -> None:
    """A tarball as upstream's make dist would give it, but for configure."""
    with tarfile.open(file, "w:xz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{file.name.removesuffix('.tar.xz')}/{path}")
            member.size, member.mtime = len(text.encode()), 1715000000
            archive.addfile(member, io.BytesIO(text.encode()))


def read_below(folder: Path, *names: str) -> dict[str, list[str]]:
    """Paths of packages below the prefix."""
    content = {name: read_content(next(folder.glob(f"{name}_*.deb"))) for name in names}
    return {
        name: sorted(path.removeprefix("/opt/ha/") for path in files if path.startswith("/opt/ha/"))
        for name, files in content.items()
    }


def test_a_plain_autotools_source_builds_without_edits(hapkg: Hapkg, project: Miniature) -> None:
    release = project.root / "greet-3.1.tar.xz"
    make_release(release, GREET)
    program = hapkg.on(project.root)
    done = program.succeed("new", "greet", "--from", release.name)
    assert done.stderr == f"wrote {project.root}/recipes/greet/recipe.toml\n"
    assert program.run("new", "greet", "--from", release.name).complaint.brief.endswith("recipes/greet exists already")
    release.unlink()
    run = program.succeed("build", "greet", "--json")
    assert run.endings == {"ha-greet": "built"}
    folder = hapkg.folder(run.outcomes["ha-greet"])
    below = read_below(folder, "ha-greet", "ha-greet-dev")
    assert below["ha-greet"] == [
        "bin/greet",
        "lib/libgreet.so.1.1.0",
        "share/greet/words",
        "share/man/man1/greet.1",
    ]
    assert below["ha-greet-dev"] == ["include/greet.h", "lib/pkgconfig/greet.pc", "share/man/man3/greet_word.3"]
    control = read_deb_control(next(folder.glob("ha-greet-dev_*.deb")))
    assert {("zlib1g-dev",), ("ha-greet",)} <= set(parse_relation_names(control["Depends"]))
    assert control["Section"] == "libdevel"
    log = (folder / "build.log").read_text()
    assert "PASS: try" in log
    assert "https://greet.example.org" in (next(folder.glob("*.dsc"))).read_text()


def test_a_plain_meson_source_builds_without_edits(hapkg: Hapkg, project: Miniature) -> None:
    release = project.root / "parley-3.2-rc1.tar.xz"
    make_release(release, PARLEY)
    program = hapkg.on(project.root)
    program.succeed("new", "parley", "--from", release.name)
    run = program.succeed("build", "parley", "--json")
    assert run.endings == {"ha-parley": "built"}
    folder = hapkg.folder(run.outcomes["ha-parley"])
    assert read_below(folder, "ha-parley") == {
        "ha-parley": [
            "bin/parley",
            "include/parley/parley.h",
            "lib/libparley.so.2.1.0",
            "lib/pkgconfig/parley.pc",
            "sbin/parley-listen",
            "sbin/parley-talk",
            "share/Parley/words",
            "share/man/man1/parley.1",
            "share/man/man3/parley_word.3",
        ]
    }
    control = read_deb_control(next(folder.glob("ha-parley_*.deb")))
    assert control["Version"].startswith("3.2~rc1")
    assert re.search(r"try +OK", (folder / "build.log").read_text())


def test_an_option_that_meson_does_not_know_ends_the_build(hapkg: Hapkg, project: Miniature) -> None:
    """As a switch that configure does not know: else one that upstream dropped would change the result in silence."""
    release = project.root / "parley-3.2-rc1.tar.xz"
    make_release(release, PARLEY)
    program = hapkg.on(project.root)
    program.succeed("new", "parley", "--from", release.name)
    recipe = project.root / "recipes/parley/recipe.toml"
    recipe.write_text(recipe.read_text().replace("configure = [", 'configure = ["-Ddropped=true", '))
    run = program.run("build", "parley", "--json")
    assert run.endings == {"ha-parley": "failed"}
    assert 'Unknown options: "dropped"' in Path(run.outcomes["ha-parley"]["log"]).read_text()


def test_a_trial_amends_what_the_log_names(hapkg: Hapkg, project: Miniature) -> None:
    """A header that no Makefile tells of; the second build has its package."""
    header = "$(DESTDIR)$(PREFIX)/include/knock.h"
    makefile = f"PREFIX = /usr/local\nall:\n\tcc -c knock.c\ninstall:\n\tinstall -D knock.h {header}\n"
    files = {"Makefile": makefile, "knock.c": f"{NOTICE}#include <zlib.h>\n", "knock.h": NOTICE}
    release = project.root / "knock-1.0.tar.xz"
    make_release(release, files)
    program = hapkg.on(project.root)
    done = program.succeed("new", "knock", "--from", release.name, "--no-contents", "--trial")
    recipe = project.root / "recipes/knock/recipe.toml"
    assert "  build-depends: + zlib1g-dev\n" in done.stderr + done.stdout
    assert f"ha-knock is built, after 1 changes of {recipe}" in done.stderr
    assert 'build-depends = ["zlib1g-dev"]' in recipe.read_text()
    make_release(release, {**files, "knock.c": f"{NOTICE}#include <nowhere/to/be/found.h>\n"})
    failed = program.run("new", "other", "--from", release.name, "--no-contents", "--trial")
    assert failed.status == 10
    assert "header nowhere/to/be/found.h is missing" in failed.stderr
    assert (project.root / "recipes/other/recipe.toml").exists()
