"""The debian/ folder: which template wins, what it says, and that no value of a recipe can change its shape."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from debian.deb822 import Deb822
from hypothesis import given, settings
from hypothesis import strategies as st

from hapkg import jinja
from hapkg.control import BinaryName, SourceName, Suite, is_line
from hapkg.distribution import read_distributions
from hapkg.errors import RecipeError
from hapkg.recipe import rendering
from hapkg.recipe.collection import read_recipes
from hapkg.recipe.debian_folder import DebianFolder, render_debian
from hapkg.recipe.model import Recipe
from hapkg.recipe.rendering import make_value, make_word
from hapkg.recipe.settings import Settings, find_project
from hapkg.source.package import make_source_package
from tests.support.samples import (
    AUTOTOOLS,
    CHECKOUT,
    DIGEST,
    META,
    PACKAGE,
    PATCH,
    SETTINGS,
    TEMPLATES,
    change,
    make_recipe,
    make_recipe_from,
)

BOOKWORM = Suite("bookworm")
DOCUMENTED = {
    "PREFIX": "/opt/ha",
    "PKG_CONFIG_PATH": "/opt/ha/lib/pkgconfig:/opt/ha/share/pkgconfig",
    "LCRSODIR": "/opt/ha/libexec/lcrso",
    "LDFLAGS": "-L/opt/ha/lib -Wl,-rpath,/opt/ha/lib -Wl,--enable-new-dtags",
    "CPPFLAGS": "-I/opt/ha/include",
    "CFLAGS": "-I/opt/ha/include",
    "CLUSTER_USER": "hacluster",
    "CLUSTER_GROUP": "haclient",
}
"""Variables of exports.sh by docs/prefix.md, with their values where Debian's flags are not to be had."""
WHOLE: dict[str, Any] = {
    **AUTOTOOLS,
    "section": "libs",
    "build-depends": ["pkgconf", "zlib1g-dev (>= 1.2) [amd64] <!nocheck>"],
    "configure": ["--with-x=$PREFIX/x"],
    "make": ["V=1"],
    "tests": False,
    "tests-off-reason": "they need a network",
    "not-installed": ["share/doc"],
    "lintian-overrides": [{"tag": "source-tag", "context": "one two", "reason": "it is right"}],
    "copyright": [
        {"copyright": ["2020 Somebody", "2021 Else"], "license": "GPL-2+"},
        {"files": "lib/*", "copyright": ["2022 Third"], "license": "LGPL-2.1+ or BSD-3-clause"},
    ],
    "packages": [
        {
            **PACKAGE,
            "section": "net",
            "files": ["bin/*"],
            "pre-depends": ["e1 (>= 1)"],
            "depends": ["ha-two (= ${binary:Version})", "a1 | b1"],
            "recommends": ["r1"],
            "suggests": ["s1"],
            "conflicts": ["c1"],
            "provides": ["p1"],
            "breaks": ["k1 (<< 2)"],
            "replaces": ["l1 (<< 2)"],
            "lintian-overrides": [{"tag": "binary-tag", "reason": "it is right, too"}],
        },
        {**PACKAGE, "package": "ha-one-doc", "architecture": "all", "synopsis": "second"},
    ],
}


def render(
    recipe: Recipe,
    templates: Path = TEMPLATES,
    *,
    site: Settings = SETTINGS,
    version: str = "1.2-1+ha12.1",
    versions: Mapping[str, str] | None = None,
    compiled: Path | None = None,
) -> DebianFolder:
    known = {BinaryName(name): text for name, text in (versions or {}).items()}
    return render_debian(
        recipe, site, (templates,), suite=BOOKWORM, version=version, key="0" * 64, versions=known, compiled=compiled
    )


def text_of(folder: DebianFolder, path: str) -> str:
    return folder.files[path].decode()


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    """Templates that may be changed."""
    folder = tmp_path / "templates"
    shutil.copytree(TEMPLATES, folder)
    return folder


def refuse(recipe: Recipe, templates: Path) -> tuple[str, str]:
    with pytest.raises(RecipeError) as caught:
        render(recipe, templates)
    assert caught.value.exit_code == 4
    return caught.value.brief, caught.value.hint


def test_control_has_every_field_of_the_recipe() -> None:
    stanzas = [dict(stanza) for stanza in Deb822.iter_paragraphs(text_of(render(make_recipe_from(WHOLE)), "control"))]
    description = "first of the samples\n One.\n .\n And only."
    assert stanzas == [
        {
            "Source": "ha-one",
            "Section": "libs",
            "Priority": "optional",
            "Maintainer": "Test Person <test@example.org>",
            "Build-Depends": "\n debhelper-compat (= 13),\n pkgconf,\n zlib1g-dev (>= 1.2) [amd64] <!nocheck>,",
            "Standards-Version": "4.6.2",
            "Rules-Requires-Root": "no",
            "Homepage": "https://example.org/one",
            "XS-Hapkg-Upstream": "https://git.example.org/one.git v1.2",
            "XS-Hapkg-Key": "0" * 64,
        },
        {
            "Package": "ha-one",
            "Architecture": "any",
            "Section": "net",
            "Pre-Depends": "\n e1 (>= 1),",
            "Depends": "\n ha-two (= ${binary:Version}),\n a1 | b1,\n ${shlibs:Depends},\n ${misc:Depends},",
            "Recommends": "\n r1,",
            "Suggests": "\n s1,",
            "Conflicts": "\n c1,",
            "Provides": "\n p1,",
            "Breaks": "\n k1 (<< 2),",
            "Replaces": "\n l1 (<< 2),",
            "Description": description,
        },
        {
            "Package": "ha-one-doc",
            "Architecture": "all",
            "Depends": "\n ${misc:Depends},",
            "Description": description.replace("first of the samples", "second"),
        },
    ]


def test_dpkg_parsechangelog_accepts_the_changelog(tmp_path: Path) -> None:
    (tmp_path / "changelog").write_bytes(render(make_recipe_from(AUTOTOOLS)).files["changelog"])
    argv = ["dpkg-parsechangelog", "-l", str(tmp_path / "changelog")]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    fields = dict(line.split(": ", 1) for line in done.stdout.splitlines() if re.match(r"[A-Z][\w-]*: ", line))
    assert (done.stderr, fields) == (
        "",
        {
            "Source": "ha-one",
            "Version": "1.2-1+ha12.1",
            "Distribution": "bookworm",
            "Urgency": "medium",
            "Maintainer": "Test Person <test@example.org>",
            "Timestamp": "1714979289",
            "Date": "Mon, 06 May 2024 07:08:09 +0000",
        },
    )


def test_dpkg_source_accepts_a_rendered_folder(tmp_path: Path) -> None:
    table = change(change(META, "packages.0.stack", ["ha-two"]), "packages.0.conflicts", ["two", "three"])
    recipe = make_recipe(tmp_path, table)
    debian = render(recipe, version="1.2+ha12.1", versions={"ha-two": "2-1+ha12.3"})
    package = make_source_package(recipe, debian, None, version="1.2+ha12.1", target=tmp_path / "made")
    assert [file.name for file in package.files] == ["ha-one_1.2+ha12.1.dsc", "ha-one_1.2+ha12.1.tar.xz"]


def test_a_meta_package_pins_its_stack() -> None:
    recipe = make_recipe_from(change(META, "packages.0.stack", ["ha-two"]))
    folder = render(recipe, versions={"ha-two": "2-1+ha12.3"})
    assert Deb822(text_of(folder, "control").partition("\n\n")[2])["Depends"] == (
        "\n ha-two (= 2-1+ha12.3),\n ${misc:Depends},"
    )
    assert text_of(folder, "source/format") == "3.0 (native)\n"


def test_patches_are_listed_in_the_order_in_which_they_apply(tmp_path: Path) -> None:
    pinned = {"type": "url", "name": "z.patch", "url": "https://example.org/z", "sha256": DIGEST}
    names = ("b.patch", "a.patch")
    files = {"series": "".join(f"{name}\n" for name in names), **dict.fromkeys(names, PATCH)}
    folder = render(make_recipe(tmp_path, {**AUTOTOOLS, "remote-patches": [pinned]}, files))
    assert text_of(folder, "patches/series") == "z.patch\nb.patch\na.patch\n"
    assert {path for path in folder.files if path.startswith("patches/")} == {
        "patches/series",
        "patches/a.patch",
        "patches/b.patch",
    }
    assert re.findall(r"[abz]\.patch", text_of(folder, "changelog")) == ["z.patch", "b.patch", "a.patch"]


def test_the_nearest_template_wins(tmp_path: Path, templates: Path) -> None:
    recipe = make_recipe(tmp_path, AUTOTOOLS)
    for number, folder in enumerate((templates / "common", templates / "autotools", recipe.folder / "debian")):
        folder.mkdir(exist_ok=True)
        for name in ("a", "b", "c")[number:]:
            (folder / f"{name}.j2").write_text(f"{number} {{{{ recipe.source }}}}\n")
    files = render(recipe, templates).files
    assert [files[name] for name in "abc"] == [b"0 ha-one\n", b"1 ha-one\n", b"2 ha-one\n"]


def test_a_file_without_suffix_is_taken_as_it_is(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, AUTOTOOLS)
    folder = recipe.folder / "debian" / "sub"
    folder.mkdir(parents=True)
    (folder / "binary").write_bytes(b"\xff{{ nothing }}")
    (recipe.folder / "debian" / "control").write_bytes(b"own\n")
    files = render(recipe).files
    assert (files["sub/binary"], files["control"]) == (b"\xff{{ nothing }}", b"own\n")


def test_a_template_per_package_gives_way_to_one_for_a_package(tmp_path: Path, templates: Path) -> None:
    recipe = make_recipe(tmp_path, WHOLE)
    (templates / "common" / "package.note.j2").write_text("{{ package.package }}\n")
    (recipe.folder / "debian").mkdir()
    (recipe.folder / "debian" / "ha-one.note.j2").write_text("own\n")
    files = render(recipe, templates).files
    assert (files["ha-one.note"], files["ha-one-doc.note"]) == (b"own\n", b"ha-one-doc\n")


def test_what_renders_to_nothing_is_left_out() -> None:
    files = render(make_recipe_from(AUTOTOOLS)).files
    assert sorted(files) == [
        "changelog",
        "control",
        "copyright",
        "exports.sh",
        "ha-one.lintian-overrides",
        "rules",
        "source/format",
        "source/lintian-overrides",
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a\n{% if %}\n", ", line 2: Expected an expression, got 'end of statement block'"),
        (b"{{ recipe.sauce }}\n", ": 'hapkg.recipe.model.Recipe object' has no attribute 'sauce'"),
        (b"{{ sauce }}\n", ": 'sauce' is undefined"),
        (b"{{ 1 + 'a' }}\n", ": TypeError: unsupported operand type(s) for +: 'int' and 'str'"),
        (b"{{ 1 // 0 }}\n", ": ZeroDivisionError: integer division or modulo by zero"),
        (b"\xff\n", " is not UTF-8 text"),
    ],
)
def test_a_wrong_template_is_named(templates: Path, content: bytes, text: str) -> None:
    file = templates / "common" / "wrong.j2"
    file.write_bytes(content)
    assert refuse(make_recipe_from(AUTOTOOLS), templates)[0] == f"{file}{text}"


@pytest.mark.parametrize("name", ["Nonsense-1", "..", "."])
def test_a_licence_without_text_is_named(templates: Path, name: str) -> None:
    assert refuse(make_recipe_from(change(AUTOTOOLS, "copyright.0.license", name)), templates) == (
        f"ha-one: copyright.j2 needs debian-templates/common/licenses/{name}, which does not exist",
        "a licence's text is a file in debian/licenses/ of its recipe or in debian-templates/common/licenses/",
    )


def test_a_licence_that_debian_has_is_named_by_its_place() -> None:
    text = text_of(render(make_recipe_from(change(AUTOTOOLS, "copyright.0.license", "Apache-2.0"))), "copyright")
    assert (
        "License: Apache-2.0\n On Debian systems its full text is in /usr/share/common-licenses/Apache-2.0.\n" in text
    )
    text = text_of(render(make_recipe_from(change(AUTOTOOLS, "copyright.0.license", "LGPL-3+"))), "copyright")
    assert "License: LGPL-3+\n This version or any later one.\n .\n On Debian systems its full text is in " in text


def test_a_recipe_has_texts_of_licences_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "debian/licenses/Odd"
    file.parent.mkdir(parents=True)
    file.write_text(" Do {{ what }} you like.\n .\n Or not.\n")
    recipe = make_recipe_from(change(AUTOTOOLS, "copyright.0.license", "Odd or GPL-2+"))
    rendered = render(recipe.model_copy(update={"folder": tmp_path}))
    text = text_of(rendered, "copyright")
    assert "License: Odd\n Do {{ what }} you like.\n .\n Or not.\n" in text
    assert [path for path in rendered.files if "licenses" in path] == []
    assert len([*Deb822.iter_paragraphs(text)]) == 6


def test_a_pinned_package_without_version_is_named() -> None:
    brief, _ = refuse(make_recipe_from(change(META, "packages.0.stack", ["ha-two"])), TEMPLATES)
    assert brief.endswith("control.j2: 'dict object' has no attribute 'ha-two'")


def test_a_folder_is_written_with_its_modes(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        DebianFolder(files={"rules": b"#!/bin/sh\n", "a/b": b"x"}).write(tmp_path)
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("rules", "a/b")}
    assert modes == {"rules": 0o755, "a/b": 0o644}
    assert (tmp_path / "a/b").read_bytes() == b"x"


def source_exports(folder: Path, path: str, site: Settings = SETTINGS) -> dict[str, str]:
    """The variables that a shell as strict as can be has after sourcing exports.sh, and only those that are new."""
    render(make_recipe_from(AUTOTOOLS), site=site).write(folder / "debian")
    start = {"PATH": path, "LC_ALL": "C.UTF-8", "DEB_BUILD_MAINT_OPTIONS": "hardening=+all"}
    argv = ["/bin/sh", "-eu", "-c", ". debian/exports.sh; exec /usr/bin/env -0"]
    done = subprocess.run(argv, cwd=folder, env=start, check=True, capture_output=True, text=True)
    found = dict(entry.split("=", 1) for entry in done.stdout.rstrip("\0").split("\0"))
    assert done.stderr == ""
    return {name: value for name, value in found.items() if start.get(name) != value and name != "PWD"}


def test_exports_sets_the_documented_variables_and_no_other(tmp_path: Path) -> None:
    assert source_exports(tmp_path, "/nowhere") == {**DOCUMENTED, "PATH": "/opt/ha/sbin:/opt/ha/bin:/nowhere"}
    text = (TEMPLATES.parent / "docs" / "prefix.md").read_text("utf-8").partition("It sets ")[2].partition(", then")[0]
    assert re.findall(r"`(\w+)`", text) == list(DOCUMENTED)


def test_another_vendors_flags_are_those_of_its_dpkg(tmp_path: Path) -> None:
    site = SETTINGS.model_copy(update={"build_vendor": "Ubuntu"})
    found = source_exports(tmp_path, "/usr/bin:/bin", site)
    assert found["DEB_VENDOR"] == "Ubuntu"
    assert "-flto=auto" in found["CFLAGS"].split()
    assert "-flto=auto" not in source_exports(tmp_path, "/usr/bin:/bin")["CFLAGS"].split()


def test_exports_keeps_the_flags_of_debian(tmp_path: Path) -> None:
    found = source_exports(tmp_path, "/usr/bin:/bin")
    assert found.keys() == {*DOCUMENTED, "PATH", "CXXFLAGS"}
    for name in ("CFLAGS", "CXXFLAGS", "CPPFLAGS"):
        assert "-I/opt/ha/include" in found[name].split()
    assert DOCUMENTED["LDFLAGS"] in found["LDFLAGS"]
    wanted = {
        "CFLAGS": ["-O2", "-fstack-protector-strong", f"-ffile-prefix-map={tmp_path}=."],
        "CPPFLAGS": ["-D_FORTIFY_SOURCE=2"],
        "LDFLAGS": ["-Wl,-z,relro", "-Wl,-z,now"],
    }
    assert {name: [flag for flag in flags if flag in found[name].split()] for name, flags in wanted.items()} == wanted
    unchanged = DOCUMENTED.keys() - {"CFLAGS", "CPPFLAGS", "LDFLAGS"}
    assert {name: found[name] for name in unchanged} == {name: DOCUMENTED[name] for name in unchanged}


chunks = st.sampled_from(["$PREFIX", "${PREFIX}", "$(PREFIX)", "$$", "$1", "\\", '"', "'", "`id`", "#", "%", "!", "~"])
words = st.lists(chunks | st.text("aB1 -=:;*?[]{}()<>|&$@^é€😀", max_size=4), max_size=6).map("".join)


@settings(max_examples=12)
@given(st.lists(words, min_size=25, max_size=25))
def test_a_word_passes_through_make_unchanged_but_for_variables(texts: list[str]) -> None:
    makefile = f"WORDS = {' '.join(map(make_value, texts))}\n"
    makefile += f"all:\n\t@printf '%s\\0' {' '.join(map(make_word, texts))} $(WORDS)\n"
    environment = {"PATH": "/usr/bin:/bin", "PREFIX": "/opt/ha", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["make", "--no-print-directory", "-f", "-"],
        input=makefile.encode(),
        env=environment,
        capture_output=True,
        check=True,
    )
    expanded = [
        re.sub(
            r"\$(\{[A-Za-z]\w*\}|[A-Za-z]\w*)", lambda m: environment.get(m[1].strip("{}"), ""), text, flags=re.ASCII
        )
        for text in texts
    ]
    assert done.stdout.decode().split("\0")[:-1] == expanded * 2
    assert done.stderr == b""


def test_configure_gets_its_switches_as_the_recipe_says(tmp_path: Path) -> None:
    switches = ["--with-x=$PREFIX/x", "--note=a 'b' \"c\" #d $(e) 100%", "--last=\\"]
    folder = render(make_recipe_from({**AUTOTOOLS, "configure": switches, "make": ["NOTE=a b", "HASH=#"]}))
    folder.write(tmp_path / "debian")
    (tmp_path / "configure").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "configure").chmod(0o755)
    known = subprocess.run(["dpkg-architecture"], check=True, capture_output=True, text=True).stdout
    environment = dict(line.split("=", 1) for line in known.splitlines())  # or make asks for each of them
    argv = ["make", "-s", "-f", "debian/rules", "override_dh_auto_configure"]
    done = subprocess.run(
        argv, cwd=tmp_path, env={**environment, "PREFIX": "/opt/ha"}, check=True, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    expected = ["--with-x=/opt/ha/x", "--note=a 'b' \"c\" #d $(e) 100%", "--last=\\"]
    assert lines[lines.index(expected[0]) :][: len(expected)] == expected
    assert "--prefix=/opt/ha" in lines
    assert text_of(folder, "rules").count(' -- "NOTE=a b" "HASH=#"\n') == 2


def find_shape(folder: DebianFolder) -> dict[str, list[str]]:
    """The structure, which no value changes: lines of each file, fields by name, recipe lines of make by their tab."""
    shape: dict[str, list[str]] = {}
    for path, content in folder.files.items():
        lines = content.decode().splitlines()
        if path in ("control", "copyright"):
            shape[path] = [line.partition(":")[0] for line in lines if line and line[0] not in " "]
        else:
            shape[path] = [line[:1] if line[:1] in "\t# " else "" for line in lines]
    return shape


SHAPE = find_shape(render(make_recipe_from(WHOLE)))
PLACES = [
    "section",
    "homepage",
    "version",
    "upstream.git",
    "upstream.tag",
    "build-depends.0",
    "configure.0",
    "make.0",
    "tests-off-reason",
    "not-installed.0",
    "lintian-overrides.0.tag",
    "lintian-overrides.0.context",
    "lintian-overrides.0.reason",
    "copyright.0.copyright.0",
    "copyright.1.files",
    "packages.0.section",
    "packages.0.synopsis",
    "packages.0.description",
    "packages.0.files.0",
    *(f"packages.0.{field}.0" for field in ("pre-depends", "depends", "recommends", "conflicts", "provides", "breaks")),
]
plain = st.lists(
    st.sampled_from(["a1", "b", " ", "(>= 1)", "[", "]", "%", "'", '"', "é", "1", "-", "${a:b}"]), max_size=3
).map("".join)
evil = st.sampled_from(["", "#", "$(shell x)", "\\", ":", *"\n\r\t\x0b\x1c\x85\u2028\0", "\nX: y", "\n\tx", "\n\nX: y"])
hostile = st.builds("{}{}{}{}".format, st.sampled_from(["", "a1", "https://a.org/", "1.2"]), plain, evil, plain)


@settings(max_examples=150)
@given(st.sampled_from(PLACES), hostile)
def test_no_value_of_a_recipe_changes_the_shape_of_its_packaging(place: str, value: str) -> None:
    try:
        recipe = make_recipe_from(change(WHOLE, place, value))
    except RecipeError:
        return
    assert find_shape(render(recipe)) == SHAPE


@given(st.text())
def test_a_line_is_one_line_for_everybody(text: str) -> None:
    assert is_line(text) == (text.splitlines() == [text] and text.strip() == text and text.isprintable())


def forget_compiled() -> None:
    """Forget the templates that this process has compiled, as another process would not know them."""
    jinja.make_environment.cache_clear()
    rendering.make_debian_environment.cache_clear()
    rendering._compile.cache_clear()


def test_kept_templates_give_the_same_files(templates: Path, tmp_path: Path) -> None:
    recipe, compiled = make_recipe_from(WHOLE), tmp_path / "compiled"
    plain = render(recipe, templates)
    assert render(recipe, templates, compiled=compiled) == plain
    kept = {file.name: file.stat().st_ino for file in compiled.iterdir()}
    assert kept
    forget_compiled()
    assert render(recipe, templates, compiled=compiled) == plain
    assert {file.name: file.stat().st_ino for file in compiled.iterdir()} == kept, "nothing was compiled again"


def test_a_changed_template_is_compiled_again_in_its_place(templates: Path, tmp_path: Path) -> None:
    recipe, compiled = make_recipe_from(WHOLE), tmp_path / "compiled"
    render(recipe, templates, compiled=compiled)
    kept = {file.name for file in compiled.iterdir()}
    with (templates / "common/exports.sh.j2").open("a") as file:
        file.write("# {{ recipe.source }} once more\n")
    forget_compiled()
    assert "# ha-one once more" in text_of(render(recipe, templates, compiled=compiled), "exports.sh")
    assert {file.name for file in compiled.iterdir()} == kept


@pytest.mark.parametrize("content", [b"", b"j2", b"\0" * 4000])
def test_damaged_compiled_templates_are_made_anew(templates: Path, tmp_path: Path, content: bytes) -> None:
    recipe, compiled = make_recipe_from(WHOLE), tmp_path / "compiled"
    plain = render(recipe, templates, compiled=compiled)
    for file in compiled.iterdir():
        file.write_bytes(content)
    forget_compiled()
    assert render(recipe, templates, compiled=compiled) == plain
    assert all(file.read_bytes() != content for file in compiled.iterdir())


def test_a_place_that_is_not_there_stays_so(tmp_path: Path) -> None:
    recipe = make_recipe_from(WHOLE)
    assert render(recipe, compiled=tmp_path / "no/where") == render(recipe)
    assert list(tmp_path.iterdir()) == []


def render_stack(suite: str) -> DebianFolder:
    """The debian/ folder of this project's meta-package for a suite."""
    project, chosen = find_project(CHECKOUT), Suite(suite)
    recipes = read_recipes(project)
    return render_debian(
        recipes[SourceName("ha-stack")],
        project.settings,
        project.templates,
        suite=chosen,
        version="1+ha1.1",
        key="0" * 64,
        versions={package.name: "1" for recipe in recipes.values() for package in recipe.packages},
        distribution=read_distributions()[chosen],
    )


def test_nodes_keep_off_the_packages_that_their_distribution_split() -> None:
    debians, ubuntus = render_stack("bookworm").files, render_stack("noble").files
    more = " resource-agents-base resource-agents-extra"
    for path in ("links/etc/apt/preferences.d/ha-stack-links", "ha-stack-links.preinst"):
        debian, ubuntu = debians[path].decode(), ubuntus[path].decode()
        assert " resource-agents" in debian
        assert (more in debian, ubuntu.count(more)) == (False, 1)
        assert ubuntu.replace(more, "") == debian
    named = {path for path, content in ubuntus.items() if debians.get(path) != content}
    assert named == {"links/etc/apt/preferences.d/ha-stack-links", "ha-stack-links.preinst", "changelog"}
