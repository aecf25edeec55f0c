"""A project in miniature: sources of a few lines, with recipes as real ones have."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
SLEEP = "sleep 7391"
"""The command of a build that does not end: no other process of the machine is called so."""
DATE = "2024-05-06T07:08:09Z"

# A shared library and its pkg-config file; the greeting is a switch of configure.
LIBRARY = {
    "configure.ac": """\
AC_INIT([one], [1.2])
AC_CONFIG_AUX_DIR([build-aux])
AC_CONFIG_MACRO_DIRS([m4])
AM_INIT_AUTOMAKE([foreign])
AC_PROG_CC
LT_INIT
AC_ARG_WITH([greeting], [AS_HELP_STRING([--with-greeting=WORD], [what one says])], [], [with_greeting=hello])
AC_DEFINE_UNQUOTED([GREETING], ["$with_greeting"], [What one says])
AC_CONFIG_FILES([Makefile one.pc])
AC_OUTPUT
""",
    "Makefile.am": """\
ACLOCAL_AMFLAGS = -I m4
lib_LTLIBRARIES = libone.la
libone_la_SOURCES = one.c
libone_la_LDFLAGS = -version-info 1:0:0
include_HEADERS = one.h
pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = one.pc
check_PROGRAMS = one-test
one_test_SOURCES = one-test.c
one_test_LDADD = libone.la
TESTS = one-test
""",
    "m4/README": "Macros that libtoolize copies.\n",
    "one.pc.in": """\
prefix=@prefix@
Name: one
Description: one word
Version: @VERSION@
Libs: -L@libdir@ -lone
Cflags: -I@includedir@
""",
    "one.h": "const char *one_greeting(void);\n",
    "one.c": '#include "one.h"\nconst char *one_greeting(void) { return GREETING; }\n',
    "one-test.c": '#include "one.h"\nint main(void) { return one_greeting()[0] == 0; }\n',
}

# A program that finds the library through pkg-config.
PROGRAM = {
    "configure.ac": """\
AC_INIT([two], [2.3])
AM_INIT_AUTOMAKE([foreign])
AC_PROG_CC
PKG_CHECK_MODULES([ONE], [one >= 1.0])
AC_CONFIG_FILES([Makefile])
AC_OUTPUT
""",
    "Makefile.am": """\
bin_PROGRAMS = two
two_SOURCES = two.c
two_CFLAGS = $(ONE_CFLAGS)
two_LDADD = $(ONE_LIBS)
TESTS = two
""",
    "two.c": """\
#include <one.h>
#include <stdio.h>
int main(void) { return printf("two says %s\\n", one_greeting()) < 0; }
""",
}


def make_plain_source(
    build: Sequence[str] = (), check: Sequence[str] = (), install: Sequence[str] = (), **files: str
) -> dict[str, str]:
    """A source with a configure and a Makefile written by hand, which takes a second: its commands are the test's."""

    def rule(target: str, commands: Sequence[str]) -> str:
        return "".join(f"{line}\n" for line in (f"{target}:", *(f"\t{command}" for command in commands)))

    share = "$(DESTDIR)$(prefix)/share/plain"
    placed = install or (f"mkdir -p {share}", f"cp README {share}/")
    makefile = "prefix = @prefix@\n" + rule("all", build) + rule("check", check) + rule("install", placed)
    return {
        "configure": """\
#!/bin/sh
for argument; do
    case $argument in --prefix=*) prefix=${argument#*=} ;; esac
done
sed "s|@prefix@|$prefix|" Makefile.in > Makefile
""",
        "Makefile.in": makefile,
        "README": "A plain source.\n",
        **files,
    }


def make_plain_library(code: str = LIBRARY["one.c"]) -> dict[str, str]:
    """LIBRARY with a Makefile written by hand: autotools take most of its build, and few tests are about them."""
    compile = "cc $(CPPFLAGS) $(CFLAGS) -fPIC -DGREETING='\"hello\"' -c"
    lib, include = "$(DESTDIR)$(prefix)/lib", "$(DESTDIR)$(prefix)/include"
    files = {
        "one.h": LIBRARY["one.h"],
        "one.c": code,
        "more.c": "int one_more(void) { return 1; }\n",
        "one.pc.in": LIBRARY["one.pc.in"]
        .replace("@VERSION@", "1.2")
        .replace("@libdir@", "${prefix}/lib")
        .replace("@includedir@", "${prefix}/include"),
    }
    return make_plain_source(
        build=[
            f"{compile} one.c",
            f"{compile} more.c",
            "cc -shared -Wl,-soname,libone.so.1 $(LDFLAGS) -o libone.so.1.0.0 one.o more.o",
        ],
        install=[
            f"mkdir -p {lib}/pkgconfig {include}",
            f"cp one.h {include}/",
            f"cp libone.so.1.0.0 {lib}/",
            f"ln -s libone.so.1.0.0 {lib}/libone.so.1",
            f"ln -s libone.so.1.0.0 {lib}/libone.so",
            f"sed 's|@prefix@|$(prefix)|' one.pc.in > {lib}/pkgconfig/one.pc",
        ],
        **files,
    )


def make_plain_program() -> dict[str, str]:
    """PROGRAM with a Makefile written by hand."""
    bin = "$(DESTDIR)$(prefix)/bin"
    flags = "$(CPPFLAGS) $(CFLAGS) `pkg-config --cflags one`"
    return make_plain_source(
        build=[f"cc {flags} -o two two.c $(LDFLAGS) `pkg-config --libs one`"],
        check=["./two"],
        install=[f"mkdir -p {bin}", f"cp two {bin}/"],
        **{"two.c": PROGRAM["two.c"]},
    )


def make_sleeper() -> dict[str, str]:
    """A source whose build does not end."""
    return make_plain_source(build=[SLEEP])


@dataclass(frozen=True, kw_only=True)
class Miniature:
    """A project on disk."""

    root: Path

    @classmethod
    def create(cls, root: Path, *, suite: str) -> Miniature:
        """A project without recipes, with the checkout's templates."""
        root.mkdir(parents=True)
        (root / "recipes").mkdir()
        shutil.copytree(CHECKOUT / "debian-templates", root / "debian-templates")
        settings = f'suite = "{suite}"\nsuites = ["{suite}"]\nmaintainer = "Miniature <miniature@hapkg.invalid>"\n'
        (root / "pyproject.toml").write_text(f"[tool.hapkg]\n{settings}")
        return cls(root=root)

    def add(
        self,
        name: str,
        files: Mapping[str, str],
        *,
        packages: Sequence[Mapping[str, Any]] | None = None,
        **keys: Any,
    ) -> None:
        """Write the tarball and the recipe of a source; without packages it has one, with all that it installs."""
        version = keys.pop("version", "1.0")
        upstream = keys.pop("upstream", {"git": f"https://upstream.invalid/{name}.git", "tag": f"v{version}"})
        tarball = self.root / "upstream" / f"{name}-{version}.tar.gz"
        tarball.parent.mkdir(exist_ok=True)
        tarball.write_bytes(_make_tarball(f"{name}-{version}", files))
        origin = {
            "type": "tarball",
            "url": tarball.as_uri(),
            "sha256": hashlib.sha256(tarball.read_bytes()).hexdigest(),
            **keys.pop("origin", {}),
        }
        made = packages or [make_package(name, ["share/plain"])]
        tables = {
            "upstream": upstream,
            "origins": [origin],
            "copyright": [{"copyright": ["2024 The miniature's authors"], "license": "GPL-2+"}],
            "packages": made,
        }
        self._write_recipe(name, {"version": version, "style": "autotools", **keys}, tables)

    def add_meta(self, name: str, stack: Sequence[str]) -> None:
        """Write the recipe of a meta-package over binary packages."""
        package = {**make_package(name, []), "architecture": "all", "stack": list(stack)}
        copyright = {"copyright": ["2024 The miniature's authors"], "license": "GPL-3+"}
        self._write_recipe(name, {"version": "1.0", "style": "meta"}, {"copyright": [copyright], "packages": [package]})

    def add_patch(self, name: str, text: str) -> None:
        """Give a recipe a patch, with a header as a recipe's patches need."""
        folder = self.root / "recipes" / name / "patches"
        folder.mkdir()
        (folder / "series").write_text("change.patch\n")
        (folder / "change.patch").write_text(f"Description: a change\nAuthor: Miniature\n\n{text}")

    def add_debian_file(self, name: str, path: str, text: str) -> None:
        """Add a file of debian/ to a recipe."""
        file = self.root / "recipes" / name / "debian" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def _write_recipe(self, name: str, keys: Mapping[str, Any], tables: Mapping[str, Any]) -> None:
        lines = [f"source = {json.dumps(f'ha-{name}')}", f"date = {DATE}"]
        lines.append(f"homepage = {json.dumps(f'https://upstream.invalid/{name}')}")
        lines += _write_keys(keys)
        for title, value in tables.items():
            for table in value if isinstance(value, list) else [value]:
                lines += ["", f"[[{title}]]" if isinstance(value, list) else f"[{title}]", *_write_keys(table)]
        folder = self.root / "recipes" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "recipe.toml").write_text("\n".join(lines) + "\n")


def make_package(name: str, files: Sequence[str], **keys: Any) -> dict[str, Any]:
    """The table of one binary package."""
    text = "A package of the miniature, which exists\nto be built and looked at."
    return {
        "package": f"ha-{name}",
        "synopsis": f"part {name} of the miniature",
        "description": text,
        "files": list(files),
        **keys,
    }


def make_patch(path: str, old: str, new: str) -> str:
    """A patch of a file of one line."""
    return f"--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-{old}\n+{new}\n"


def add_stack(project: Miniature) -> None:
    """The recipes that belong together: a library, a program that uses it, a third source, and a meta-package."""
    project.add(
        "one",
        LIBRARY,
        version="1.2",
        section="libs",
        configure=["--disable-static", "--with-greeting=moin"],
        packages=[
            make_package("one", ["lib/libone.so.*"]),
            make_package(
                "one-dev",
                ["include/one.h", "lib/libone.so", "lib/pkgconfig/one.pc"],
                section="libdevel",
                depends=["ha-one (= ${binary:Version})"],
            ),
        ],
    )
    project.add(
        "two",
        PROGRAM,
        version="2.3",
        build_depends=["pkgconf", "ha-one-dev"],
        packages=[make_package("two", ["bin/two"])],
    )
    project.add("three", make_plain_source(), packages=[make_package("three", ["share/plain"], architecture="all")])
    project.add_patch("three", make_patch("README", "A plain source.", "A patched source."))
    project.add_meta("stack", ["ha-one", "ha-two", "ha-three"])


def _write_keys(table: Mapping[str, Any]) -> list[str]:
    return [f"{key.replace('_', '-')} = {_write_value(value)}" for key, value in table.items()]


def _write_value(value: Any) -> str:
    """A value in TOML: JSON's strings, lists and booleans are its own."""
    return f"{{ {', '.join(_write_keys(value))} }}" if isinstance(value, dict) else json.dumps(value)


def _make_tarball(top: str, files: Mapping[str, str]) -> bytes:
    """A tarball whose bytes depend on the files alone."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, text in sorted(files.items()):
            member = tarfile.TarInfo(f"{top}/{path}")
            content = text.encode()
            member.size, member.mtime = len(content), 1715000000
            member.mode = 0o755 if text.startswith("#!") else 0o644
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)
