"""Drafts of recipes, compared whole, and what cannot be drafted."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hapkg.draft.draft import choose_style, draft
from hapkg.errors import MachineError, SourceError, UsageError
from hapkg.locations import State
from hapkg.recipe.model import read_recipe
from hapkg.recipe.settings import Project
from hapkg.source.fetch import fetch
from tests.support.drafts import (
    MESON,
    SOURCE,
    Suffix,
    configure,
    digest,
    draft_from,
    draft_text,
    find_files,
    make_project,
    make_tarball,
    read_golden,
    refuse,
    serve,
)
from tests.support.samples import AUTOTOOLS, EPOCH, STYLES, change, write_recipe


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
    assert draft_text(project, tarball) == read_golden("autotools").format(upstream=upstream, origin=origin)


def test_a_tarball_at_an_address_and_then_without_it(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "web/one/one/releases/download/1.2"
    folder.mkdir(parents=True)
    tarball = make_tarball(folder, {**SOURCE, "README": SOURCE["README"] + "\nhttps://github.com/example/One.git\n"})
    with serve(tmp_path / "web") as address:
        url = f"{address}/one/one/releases/download/1.2/{tarball.name}"
        upstream = '[upstream]\ngit = "https://github.com/example/One.git"\ntag = "1.2"'
        origin = f'type = "tarball"\nurl = "{url}"\nsha256 = "{digest(tarball)}"'
        assert draft_text(project, url) == read_golden("autotools").format(upstream=upstream, origin=origin)
    recipe = read_recipe(project.recipes / "one", package_prefix="ha-", styles=STYLES)
    assert fetch(recipe, State(tmp_path / "cache"), None).origin == f"{url} (cached)"


def test_a_release_that_says_nothing_gets_remarks(project: Project, tmp_path: Path) -> None:
    body = "PKG_CHECK_MODULES(A, gnomic > 2 $MORE)\nAC_CHECK_LIB(gnome, f)\nAC_SEARCH_LIBS([f], [nowhere])"
    files = {"configure.in": configure(body, init="Bare")}
    tarball = make_tarball(tmp_path, files, top="bare-0.9-rc2", name="Odd name.tar.gz")
    text = draft_text(project, tarball, "ha-bare")
    assert text == read_golden("bare").format(url=tarball.as_uri(), sha256=digest(tarball))
    assert "Odd%20name" in text


def test_a_source_that_meson_builds(project: Project, tmp_path: Path) -> None:
    tarball = make_tarball(tmp_path, MESON)
    assert draft_text(project, tarball) == read_golden("meson").format(url=tarball.as_uri(), sha256=digest(tarball))


def test_autotools_beside_meson_build_the_source(project: Project) -> None:
    """meson.build tells what configure.ac does not; what it asks for and installs does not count."""
    recipe = draft_from(project, {**MESON, "configure.ac": "AC_INIT\n", "Makefile.am": "sbin_SCRIPTS = a\n"}, top="one")
    assert (recipe.style.name, recipe.version, recipe.homepage) == ("autotools", "1.2", "https://one.example.org/")
    assert (recipe.build_depends, recipe.configure) == ((), ())
    assert find_files(recipe) == {"ha-one": ("sbin/a",)}


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


def test_a_python_project_that_compiles_is_of_one_architecture_and_one_python(project: Project) -> None:
    (package,) = draft_from(
        project, {"setup.py": "setup(name='one', ext_modules=[Extension('o', ['o.c'])])\n"}
    ).packages
    assert (package.architecture, package.depends) == ("any", ("${python3:Depends}",))


@pytest.mark.parametrize(
    ("files", "style", "tools", "architecture", "depends"),
    [
        ({"CMakeLists.txt": "project(one)\n", "Makefile": ""}, "cmake", ("cmake",), "any", ()),
        (
            {"pyproject.toml": "[build-system]\n"},
            "pyproject",
            ("dh-python", "pybuild-plugin-pyproject", "python3", "python3-all", "python3-setuptools"),
            "all",
            ("python3",),
        ),
    ],
)
def test_styles_that_are_folders_alone(
    project: Project,
    files: dict[str, str],
    style: str,
    tools: tuple[str, ...],
    architecture: str,
    depends: tuple[str, ...],
) -> None:
    recipe = draft_from(project, files)
    (package,) = recipe.packages
    assert (recipe.style.name, recipe.build_depends) == (style, tools)
    assert (package.architecture, package.depends, package.files) == (architecture, depends, ("*",))


def test_a_style_of_the_project_s_own_is_drafted(project: Project, tmp_path: Path) -> None:
    folder = project.templates[0] / "scons"
    folder.mkdir(parents=True)
    (folder / "rules.j2").write_text('{% extends "common/rules.j2" %}\n')
    (folder / "style.toml").write_text('build-depends = ["scons"]\n')
    text = draft_text(project, make_tarball(tmp_path, {"SConstruct": ""}))
    assert 'style = "scons"\n' in text
    assert 'build-depends = ["scons"]\n' in text


def test_a_source_with_plain_makefiles(project: Project) -> None:
    recipe = draft_from(project, {"Makefile": "all:\n"})
    assert (recipe.style.name, find_files(recipe)) == ("make", {"ha-one": ("*",)})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prefix ?= /usr\n", ("prefix=$PREFIX",)),
        ("export prefix:=/usr\n", ("prefix=$PREFIX",)),
        ("prefix = /usr\nPREFIX = $(prefix)\n", ()),
        ("PREFIX = /usr\n", ()),
        ("prefixed = yes\n\tprefix\n", ()),
    ],
)
def test_a_makefile_that_calls_the_prefix_as_gnu_does(project: Project, text: str, words: tuple[str, ...]) -> None:
    assert draft_from(project, {"Makefile": f"all:\n{text}"}).make == words
    assert draft_from(make_project(project.root / "two"), {**MESON, "Makefile": text}).make == ()


@pytest.mark.parametrize(
    ("found", "relations", "chosen"),
    [
        (("meson", "cmake"), ("debhelper-compat (= 13)", "cmake (>= 3)"), "cmake"),
        (("meson", "cmake"), ("meson", "cmake"), "meson"),
        (("meson", "cmake"), ("debhelper-compat (= 13)",), "meson"),
        (("cmake", "make"), ("debhelper-compat (= 13)",), "cmake"),
        (("autotools", "meson"), ("meson",), "autotools"),
    ],
)
def test_of_several_styles_debian_s_is_taken(found: tuple[str, ...], relations: tuple[str, ...], chosen: str) -> None:
    assert choose_style([STYLES[name] for name in found], relations) == chosen


@pytest.mark.parametrize(
    "name", ["", "One", "-one", ".one", "..", "ha-", "ha-..", "one/two", "../one", "one two", "\u00e9t\u00e9", "x\n"]
)
def test_names_that_cannot_be(project: Project, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a recipe") as caught:
        draft(project, name, str(make_tarball(tmp_path, SOURCE)), State(tmp_path / "cache"))
    assert caught.value.hint
    assert not project.recipes.exists()


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


def test_another_recipe_that_is_wrong_is_no_hindrance(project: Project, tmp_path: Path) -> None:
    write_recipe(project.recipes, change(AUTOTOOLS, "version", "-"))
    assert draft(project, "two", str(make_tarball(tmp_path, SOURCE)), State(tmp_path / "cache")).is_file()


@pytest.mark.parametrize(
    ("files", "brief", "detail"),
    [
        ({"SConstruct": ""}, "builds with scons (SConstruct), for which there is no style", "SConstruct"),
        (
            {"Makefile.PL": "", "Makefile": "", "a/configure.ac": ""},
            "builds with perl (Makefile.PL), make (Makefile), for which there is no style",
            "Makefile, Makefile.PL",
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
    styles = "autotools, cargo, cmake, go, make, meson, pyproject, python"
    assert error.hint == f"styles: {styles}; a folder of debian-templates/ with a rules.j2 adds one"


def test_a_release_without_a_version(project: Project, tmp_path: Path) -> None:
    tarball = make_tarball(tmp_path, {"configure.ac": configure(init="[one], [none]")}, top="one")
    refuse(project, str(tarball), SourceError, "does not tell its version$")


def test_a_disk_that_refuses(project: Project, tmp_path: Path) -> None:
    tarball = make_tarball(tmp_path, SOURCE)
    project.recipes.write_text("no folder\n")
    with pytest.raises(MachineError, match=r"recipes: (File exists|Not a directory)"):
        draft(project, "one", str(tarball), State(tmp_path / "cache"))


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
