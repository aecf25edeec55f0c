"""Single guesses: build dependencies, and the files that Makefile.am files install."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.recipe.model import read_recipe
from hapkg.recipe.settings import Project
from tests.support.drafts import configure, draft_from, draft_text, find_files, make_project, make_tarball
from tests.support.samples import STYLES


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
    """Modules of pkg-config and libraries that they ask for. Of pacemaker's folder the name before the hyphen tells."""
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
