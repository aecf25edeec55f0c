"""Keys and values of a recipe, and the refusal of those that it must not have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from hapkg.control import BinaryName, SourceName
from hapkg.errors import RecipeError, UsageError
from hapkg.recipe.collection import find_recipe, read_recipes
from hapkg.recipe.model import read_recipe
from hapkg.recipe.settings import Project
from hapkg.recipe.upstream import DebianOrigin, TarballOrigin
from tests.support.samples import (
    AUTOTOOLS,
    DATE,
    DIGEST,
    EPOCH,
    META,
    PACKAGE,
    PATCH,
    SETTINGS,
    STYLES,
    change,
    make_node,
    make_nodes,
    make_recipe,
    make_recipe_from,
    write_recipe,
)

REFERENCE = "docs/recipes.md explains every key"
LINE = "must be one line of printable text, without blanks at its ends"
NAME = "is not a Debian package name: lower-case letters, digits, '+', '-', '.'"
PATH = "must be a path or pattern below the prefix: no leading slash, '..', blank, $ or {}"
RELATION = "is not a relation such as 'zlib1g-dev (>= 1.2)'"
KNOWN = "autotools, cargo, cmake, external-module, go, kernel-module, make, meson, meta, pyproject, python"
SECTION = "string should match pattern '^[a-z0-9][a-z0-9+./-]*$'"
URL = "string should match pattern '^(https?|file)://[!-~]+$'"
URL_PATCH = {"type": "url", "name": "x.patch", "url": "https://example.org/x", "sha256": DIGEST}
PACKAGE_KEYS = (
    "architecture, breaks, conflicts, depends, description, files, lintian-overrides, outside-prefix, package, "
    "pre-depends, provides, recommends, replaces, section, stack, suggests, synopsis"
)


def refuse(parent: Path, table: dict[str, Any], patches: dict[str, str | bytes] | None = None) -> RecipeError:
    """The error that reading the recipe ends with."""
    with pytest.raises(RecipeError) as caught:
        make_recipe(parent, table, patches)
    assert caught.value.exit_code == 4
    return caught.value


def test_a_recipe_is_read_whole(tmp_path: Path) -> None:
    table = {
        **AUTOTOOLS,
        "origins": [
            {"type": "debian", "package": "one", "version": "1:1.2-3+deb12u1", "sha256": DIGEST},
            *AUTOTOOLS["origins"],
        ],
        "build-depends": ["pkgconf", "zlib1g-dev (>= 1.2) [amd64 !i386] <!nocheck>", "a1 | b1:any"],
        "packages": [{**PACKAGE, "depends": ["${misc:Depends}", "ha-two (= ${binary:Version})"]}],
    }
    recipe = make_recipe(tmp_path, table, {"series": "# first\n\nhello.patch # why\n", "hello.patch": PATCH})
    assert (recipe.name, recipe.version, recipe.revision, recipe.style.name) == ("ha-one", "1.2", 1, "autotools")
    assert (recipe.date, recipe.source_date_epoch, recipe.series) == (DATE, EPOCH, ("hello.patch",))
    assert recipe.needs == ("pkgconf", "zlib1g-dev", "a1", "b1")
    assert [package.name for package in recipe.packages] == ["ha-one"]
    url = "https://example.org/one-1.2.tar.gz"
    assert recipe.origins == (
        DebianOrigin(type="debian", package="one", version="1:1.2-3+deb12u1", sha256=DIGEST),
        TarballOrigin(type="tarball", url=url, sha256=DIGEST),
    )


def test_a_date_is_kept_in_universal_time(tmp_path: Path) -> None:
    local = datetime(2024, 5, 6, 9, 8, 9, tzinfo=timezone(timedelta(hours=2)))
    assert make_recipe(tmp_path, change(AUTOTOOLS, "date", local)).date == DATE


def test_a_meta_recipe_needs_the_stack_it_pins(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, change(META, "packages.0.stack", ["ha-two", "ha-three"]))
    assert recipe.needs == ("ha-two", "ha-three")


@pytest.mark.parametrize(
    ("path", "value", "brief", "hint"),
    [
        ("verison", "1.2", "unknown key verison", "did you mean version?"),
        ("build_depends", [], "unknown key build_depends", "did you mean build-depends?"),
        ("folder", "x", "unknown key folder", "patches are listed in patches/series"),
        ("patches", ["x.patch"], "unknown key patches", "patches are listed in patches/series"),
        ("packages.0.sinopsis", "x", "unknown key packages[1].sinopsis", "did you mean synopsis?"),
        ("packages.0.qqqqqqq", "x", "unknown key packages[1].qqqqqqq", f"known keys: {PACKAGE_KEYS}"),
        ("origins.0.ulr", "x", "unknown key origins[1].ulr", "did you mean url?"),
        ("origins.0.package", "x", "unknown key origins[1].package", "known keys: sha256, type, url"),
        ("version", None, "missing key version", REFERENCE),
        ("packages.0.synopsis", None, "missing key packages[1].synopsis", REFERENCE),
        ("origins.0.sha256", None, "missing key origins[1].sha256", REFERENCE),
        ("origins.0.type", None, "missing key origins[1].type", REFERENCE),
        ("origins.0.type", "svn", "origins[1].type: 'svn' is not known", "known: 'debian', 'tarball', 'git', 'hg'"),
        ("version", 12, "version: must be a string", "it says 12"),
        ("tests", "no", "tests: must be true or false", "it says 'no'"),
        ("revision", True, "revision: must be a whole number", "it says True"),
        ("revision", 0, "revision: input should be greater than or equal to 1", "it says 0"),
        ("upstream", "https://x", "upstream: must be a table", "it says 'https://x'"),
        ("build-depends", "zlib1g-dev", "build-depends: must be a list", "it says 'zlib1g-dev'"),
        ("build-depends", [1], "build-depends[1]: must be a string", "it says 1"),
        ("packages", [], "packages: must not be empty", ""),
        ("copyright.0.copyright", [], "copyright[1].copyright: must not be empty", ""),
        (
            "style",
            "scons",
            f"style: there is no style 'scons'; there are: {KNOWN}; "
            "a folder of debian-templates/ with a rules.j2 adds one",
            "",
        ),
        (
            "packages.0.architecture",
            "amd64",
            "packages[1].architecture: input should be 'any' or 'all'",
            "it says 'amd64'",
        ),
        (
            "packages.0.synopsis",
            "x" * 80,
            "packages[1].synopsis: string should have at most 79 characters",
            f"it says '{'x' * 80}'",
        ),
        (
            "version",
            "1:2",
            "version: '1:2' is not an upstream version: start with a digit; no epoch, hyphen or '+ha'",
            "",
        ),
        ("origins.0.sha256", "abc", "origins[1].sha256: string should match pattern '^[0-9a-f]{64}$'", "it says 'abc'"),
        (
            "origins.0.url",
            "ftp://example.org/x.tar.gz",
            f"origins[1].url: {URL}",
            "it says 'ftp://example.org/x.tar.gz'",
        ),
        ("origins.0.url", "http://[x/y.tar.gz", "origins[1].url: 'http://[x/y.tar.gz' is not a complete address", ""),
        ("origins.0.url", "http:///y.tar.gz", "origins[1].url: 'http:///y.tar.gz' is not a complete address", ""),
        (
            "origins.0.url",
            "http://x.org:a/y.tar.gz",
            "origins[1].url: 'http://x.org:a/y.tar.gz' is not a complete address",
            "",
        ),
        ("origins.0.url", "http://x.org/y.zip", "origins[1]: url must end in .tar.gz, .tar.xz or .tar.bz2", ""),
        (
            "date",
            "2024-05-06",
            "date: must be a date with time and zone, such as 2024-01-31T12:00:00Z",
            "it says '2024-05-06'",
        ),
        ("date", datetime(2024, 5, 6), "date: needs a time zone, such as 2024-01-31T12:00:00Z", ""),
        ("date", datetime(1, 1, 1, tzinfo=UTC), "date: 1 is not a year between 1970 and 2105", ""),
        ("date", datetime(9999, 12, 31, tzinfo=UTC), "date: 9999 is not a year between 1970 and 2105", ""),
        ("tests", False, "tests = false and tests-off-reason go together", ""),
        ("tests-off-reason", "too slow", "tests = false and tests-off-reason go together", ""),
        ("upstream", None, "style autotools needs [upstream] and at least one [[origins]]", ""),
        ("origins", None, "style autotools needs [upstream] and at least one [[origins]]", ""),
        ("packages.0.stack", ["ha-two"], "stack is for style meta; others name their run-time needs in depends", ""),
        ("packages.0.depends", ["a1", "a1"], "packages[1].depends: 'a1' stands there twice", ""),
        ("packages", [PACKAGE, PACKAGE], "package ha-one is described twice", ""),
        ("upstream.git", None, "upstream: needs git or hg, the address of upstream's repository", ""),
        ("remote-patches", [URL_PATCH, URL_PATCH], "'x.patch' stands there twice", ""),
        (
            "remote-patches",
            [URL_PATCH | {"name": "series"}],
            "a patch cannot be named series, which is the list of them",
            "",
        ),
        (
            "remote-patches",
            [URL_PATCH | {"name": "../x"}],
            "remote-patches[1].name: string should match pattern '^[A-Za-z0-9][A-Za-z0-9+._~-]*$'",
            "it says '../x'",
        ),
        (
            "remote-patches",
            [{"type": "debian", "package": "one", "version": "1.2-3", "file": "debian/patches/../x", "sha256": DIGEST}],
            "remote-patches[1].file: string should match pattern '^debian/patches/[A-Za-z0-9][A-Za-z0-9+._~-]*$'",
            "it says 'debian/patches/../x'",
        ),
        ("packages.0.package", "one", "package one must be named ha-…, or it would shadow the distribution's", ""),
        ("packages.0.package", "ha-", "package ha- must be named ha-…, or it would shadow the distribution's", ""),
        ("source", "one", "package one must be named ha-…, or it would shadow the distribution's", ""),
    ],
)
def test_a_broken_rule_is_named_with_file_key_and_remedy(
    tmp_path: Path, path: str, value: object, brief: str, hint: str
) -> None:
    error = refuse(tmp_path, change(AUTOTOOLS, path, value))
    assert (error.brief, error.details, error.hint) == (f"{tmp_path}/one/recipe.toml: {brief}", (), hint)


def test_what_of_the_tests_is_left_out_is_said_where_tests_run(tmp_path: Path) -> None:
    left_out = {"tests-left-out": ["slow: it takes an hour"]}
    assert make_recipe(tmp_path, {**AUTOTOOLS, **left_out}).tests_left_out == ("slow: it takes an hour",)
    off = {**AUTOTOOLS, **left_out, "tests": False, "tests-off-reason": "too slow"}
    assert "tests-left-out is for tests that run" in refuse(tmp_path, off).brief


@pytest.mark.parametrize("path", ["origins", "upstream"])
def test_a_meta_recipe_has_no_upstream(tmp_path: Path, path: str) -> None:
    error = refuse(tmp_path, change(META, path, AUTOTOOLS[path]))
    text = "a meta recipe has no upstream: remove upstream, signature, origins and patches"
    assert error.brief == f"{tmp_path}/one/recipe.toml: {text}"


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    table = change(change(change(AUTOTOOLS, "verison", "1"), "revision", 0), "packages.0.synopsis", None)
    error = refuse(tmp_path, table)
    assert error.brief == f"{tmp_path}/one/recipe.toml: revision: input should be greater than or equal to 1"
    assert error.details == (
        f"also: missing key packages[1].synopsis ({REFERENCE})",
        "also: unknown key verison (did you mean version?)",
    )


@pytest.mark.parametrize(
    "name",
    ["../../etc", "/etc/x", "ha-a/b", "..", ".", "", " ", "ha-a b", "ha-\0", "ha-ü", "HA-one", "ha-one\n", "-ha"],
)
def test_a_name_that_is_no_package_name_is_refused(tmp_path: Path, name: str) -> None:
    error = refuse(tmp_path, change(AUTOTOOLS, "packages.0.package", name))
    assert error.brief == f"{tmp_path}/one/recipe.toml: packages[1].package: {name!r} {NAME}"


@pytest.mark.parametrize("path", ["../etc", "/etc", "bin/../../etc", "$HOME", "{a,b}", "", " ", "a b", "a\nb", "a\0"])
def test_a_path_that_leaves_the_prefix_is_refused(tmp_path: Path, path: str) -> None:
    error = refuse(tmp_path, change(AUTOTOOLS, "packages.0.files", [path]))
    assert error.brief == f"{tmp_path}/one/recipe.toml: packages[1].files[1]: {path!r} {PATH}"


@pytest.mark.parametrize(
    "relation",
    [
        "",
        "${",
        "a1 |",
        "a1, b1",
        "a1 b1",
        "A1",
        "ünï",
        "a1 (~> 1)",
        "a1 (>= )",
        "a1\n",
        "a1\t(= 1)",
        "a1\n(>= 1)",
        "a1 (= 1\n)",
        "a1 [\nInjected: yes]",
        "a1 <\nInjected: yes>",
        "${misc:Depends}\nInjected: yes",
        "a1\0",
    ],
)
def test_a_malformed_relation_is_refused(tmp_path: Path, relation: str) -> None:
    for path, place in (("build-depends", "build-depends"), ("packages.0.breaks", "packages[1].breaks")):
        error = refuse(tmp_path, change(AUTOTOOLS, path, [relation]))
        assert error.brief == f"{tmp_path}/one/recipe.toml: {place}[1]: {relation!r} {RELATION}"


@pytest.mark.parametrize(
    "text", ["x\nInjected: yes", "x\r", "x\u2028y", "x\x85y", "x\x7f", "x\0", "x\ty", " x", "x ", ""]
)
def test_text_that_is_not_one_plain_line_is_refused(tmp_path: Path, text: str) -> None:
    override = {"tag": "t", "context": "c", "reason": "r"}
    table = {
        **AUTOTOOLS,
        "configure": [text],
        "make": [text],
        "shadows": [text],
        "section": text,
        "homepage": f"https://example.org/{text}\n",
        "tests": False,
        "tests-off-reason": text,
        "upstream": {"git": f"https://example.org/{text}\n", "tag": text},
        "lintian-overrides": [{**override, "context": text}, {**override, "reason": text}],
        "copyright": [{"files": text, "copyright": [text], "license": text}],
        "packages": [{**PACKAGE, "synopsis": text, "section": text}],
    }
    error = refuse(tmp_path, table)
    told = (error.brief.removeprefix(f"{tmp_path}/one/recipe.toml: "), *error.details)
    assert [line.removeprefix("also: ").partition(":")[0] for line in told] == [
        "section",
        "homepage",
        "upstream.git",
        "upstream.tag",
        "shadows[1]",
        "configure[1]",
        "make[1]",
        "tests-off-reason",
        "copyright[1].files",
        "copyright[1].copyright[1]",
        "copyright[1].license",
        "lintian-overrides[1].context",
        "lintian-overrides[2].reason",
        "packages[1].section",
        "packages[1].synopsis",
    ]
    assert told[4] == f"also: shadows[1]: {text!r} {LINE}"
    assert told[0] == f"section: {SECTION}"


@pytest.mark.parametrize("text", ["", " \n ", "x\0", "x\x1b[31m", "x\ty", "x\ry"])
def test_a_description_is_lines_of_printable_text(tmp_path: Path, text: str) -> None:
    error = refuse(tmp_path, change(AUTOTOOLS, "packages.0.description", text))
    assert error.brief == f"{tmp_path}/one/recipe.toml: packages[1].description: must be lines of printable text"


@pytest.mark.parametrize("reason", ["$(shell touch x)", "goes on \\"])
def test_a_reason_cannot_speak_to_make(tmp_path: Path, reason: str) -> None:
    error = refuse(tmp_path, {**AUTOTOOLS, "tests": False, "tests-off-reason": reason})
    text = f"tests-off-reason: {reason!r} becomes a comment in debian/rules: write it without $ and \\"
    assert error.brief == f"{tmp_path}/one/recipe.toml: {text}"


@pytest.mark.parametrize(
    ("content", "brief", "hint"),
    [
        (b"version = ", "is not valid TOML: Invalid value (at end of document)", ""),
        (b"a = 1\na = 2\n", "is not valid TOML: Cannot overwrite a value (at line 2, column 6)", ""),
        (b"version = '\xff'", "is not UTF-8 text", "byte 11 is the first that is not"),
    ],
)
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes, brief: str, hint: str) -> None:
    file = write_recipe(tmp_path, AUTOTOOLS) / "recipe.toml"
    file.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        read_recipe(file.parent, package_prefix="ha-", styles=STYLES)
    assert (caught.value.brief, caught.value.hint) == (f"{file} {brief}", hint)


@pytest.mark.parametrize("content", ["revision = 1" + "0" * 5000, "a = " + "[" * 5000])
def test_a_file_that_exhausts_the_parser_is_refused(tmp_path: Path, content: str) -> None:
    file = write_recipe(tmp_path, AUTOTOOLS) / "recipe.toml"
    file.write_text(content)
    with pytest.raises(RecipeError, match="is not valid TOML: "):
        read_recipe(file.parent, package_prefix="ha-", styles=STYLES)


def test_a_missing_recipe_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(tmp_path / "one", package_prefix="ha-", styles=STYLES)
    assert caught.value.brief == f"{tmp_path}/one/recipe.toml does not exist"


def test_a_recipe_that_is_a_folder_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "one" / "recipe.toml").mkdir(parents=True)
    with pytest.raises(RecipeError) as caught:
        read_recipe(tmp_path / "one", package_prefix="ha-", styles=STYLES)
    assert caught.value.brief == f"{tmp_path}/one/recipe.toml cannot be read: Is a directory"


def test_the_source_is_named_after_its_folder(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path, AUTOTOOLS).rename(tmp_path / "two")
    with pytest.raises(RecipeError) as caught:
        read_recipe(folder, package_prefix="ha-", styles=STYLES)
    assert caught.value.brief == f"{folder}/recipe.toml: source ha-one does not match its folder"
    assert caught.value.hint == "name the source ha-two, or rename the folder"


@pytest.mark.parametrize(
    ("series", "patch", "brief", "hint"),
    [
        ("x.patch\n", None, "series: patch x.patch does not exist", "add the file, or remove the line"),
        ("x.patch\nx.patch\n", PATCH, "series: patch x.patch stands there twice", "remove one of the lines"),
        (
            "x.patch\n",
            "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-Description: x\n-Author: y\n+z\n",
            "x.patch: no DEP-3 header",
            "start the patch with Description: and Author: (or Origin:) lines",
        ),
    ],
)
def test_every_patch_exists_once_and_says_what_it_is_for(
    tmp_path: Path, series: str, patch: str | None, brief: str, hint: str
) -> None:
    error = refuse(tmp_path, AUTOTOOLS, {"series": series, **({"x.patch": patch} if patch else {})})
    assert (error.brief, error.hint) == (f"{tmp_path}/one/patches/{brief}", hint)


@pytest.mark.parametrize("name", ["../x.patch", "/x.patch", "sub/x.patch", ".hidden", "x.patch -p0", "ü.patch"])
def test_a_patch_is_a_plain_file_name(tmp_path: Path, name: str) -> None:
    error = refuse(tmp_path, AUTOTOOLS, {"series": f"{name}\n"})
    assert error.brief == f"{tmp_path}/one/patches/series: {name!r} must be a file name in the same folder"
    assert error.hint == "letters, digits and . _ + ~ - alone; every patch is applied with -p1"


def test_a_series_that_is_no_text_cannot_be_read(tmp_path: Path) -> None:
    error = refuse(tmp_path, AUTOTOOLS, {"series": b"\xff\n"})
    assert error.brief.startswith(f"{tmp_path}/one/patches/series cannot be read: ")
    (tmp_path / "one/patches/series").unlink()
    (tmp_path / "one/patches/series").mkdir()
    assert refuse(tmp_path, AUTOTOOLS).brief.startswith(f"{tmp_path}/one/patches/series cannot be read: ")


def test_recipes_are_read_in_alphabetical_order(tmp_path: Path) -> None:
    project = Project(root=tmp_path, settings=SETTINGS)
    for name in ("ha-two", "ha-one"):
        write_recipe(tmp_path / "recipes", {**AUTOTOOLS, "source": name, "packages": [{**PACKAGE, "package": name}]})
    assert list(read_recipes(project)) == ["ha-one", "ha-two"]


def test_a_project_without_recipes_is_told_where_they_live(tmp_path: Path) -> None:
    project = Project(root=tmp_path, settings=SETTINGS)
    with pytest.raises(RecipeError) as caught:
        read_recipes(project)
    assert (caught.value.brief, caught.value.hint) == (
        f"{tmp_path}/recipes does not exist",
        "recipes live in recipes/NAME/recipe.toml",
    )
    (tmp_path / "recipes").mkdir()
    with pytest.raises(RecipeError) as caught:
        read_recipes(project)
    assert caught.value.brief == f"{tmp_path}/recipes holds no recipe"


def test_a_recipe_is_found_by_source_folder_and_package() -> None:
    one = make_node("ha-one")
    two = make_recipe_from({**AUTOTOOLS, "source": "ha-two", "packages": [{**PACKAGE, "package": "ha-two-dev"}]})
    recipes = make_nodes(one, two)
    found = [find_recipe(recipes, word, "ha-").name for word in ("ha-two", "two", "ha-two-dev", "one")]
    assert found == ["ha-two", "ha-two", "ha-two", "ha-one"]
    assert (two.name, two.packages[0].name) == (SourceName("ha-two"), BinaryName("ha-two-dev"))


def test_an_unknown_recipe_gets_a_guess() -> None:
    recipes = make_nodes(make_node("ha-one"))
    with pytest.raises(UsageError) as caught:
        find_recipe(recipes, "ha-won", "ha-")
    assert (caught.value.brief, caught.value.hint) == ("there is no recipe ha-won", "did you mean ha-one?")
    with pytest.raises(UsageError) as caught:
        find_recipe(recipes, "qqq", "ha-")
    assert caught.value.hint == "hapkg list shows them"


def test_a_series_says_which_versions_a_patch_is_for(tmp_path: Path) -> None:
    lines = {
        "a": "until 1.35",
        "b": "until it rains",
        "c": "until 2.0~rc1 ",
        "d": "since 1.35",
        "e": " since 1.0 until 1.35",
        "f": "since long ago",
        "g": "  since   1.35   until  2.0~rc1",
    }
    files = {"series": "".join(f"{name}.patch #{line}\n" for name, line in lines.items())}
    recipe = make_recipe(tmp_path, AUTOTOOLS, {**files, **{f"{name}.patch": PATCH for name in lines}})
    spans = {patch.name[0]: (patch.since, patch.until) for patch in recipe.every_patch}
    assert spans == {
        "a": (None, "1.35"),
        "b": (None, None),
        "c": (None, "2.0~rc1"),
        "d": ("1.35", None),
        "e": ("1.0", "1.35"),
        "f": (None, None),
        "g": ("1.35", "2.0~rc1"),
    }
    for version, names in {"1.34": "abcef", "1.35": "bcdfg", "2.0~rc1": "bdf"}.items():
        of = recipe.model_copy(update={"version": version})
        assert "".join(name[0] for name in of.series) == names


def test_a_patch_that_upstream_has_is_refused(tmp_path: Path) -> None:
    old = refuse(tmp_path, AUTOTOOLS, {"series": "x.patch # until 1.2\n", "x.patch": PATCH})
    assert old.brief.endswith("patch x.patch is in upstream since 1.2: remove it")
    (tmp_path / "one/patches/series").unlink()
    remote = refuse(tmp_path, change(AUTOTOOLS, "remote-patches", [URL_PATCH | {"until": "1.1"}]))
    assert f"patch {URL_PATCH['name']} is in upstream since 1.1: remove it" in remote.brief


def test_switches_follow_the_version_of_the_tree(tmp_path: Path) -> None:
    spans = [{"until": "1.35", "switches": ["--disable-old"]}, {"since": "1.35", "switches": ["--disable-new"]}]
    table = {**AUTOTOOLS, "configure": ["--a", "--disable-old", "--b"], "configure-by-version": spans}
    recipe = make_recipe(tmp_path, table)
    assert recipe.switches == ("--a", "--disable-old", "--b"), "where they stand in configure, they stay"
    later = recipe.model_copy(update={"version": "1.35+git20260101000000.abcdef0"})
    assert later.switches == ("--a", "--b", "--disable-new")
    wrong = refuse(tmp_path, change(table, "configure-by-version", [{"switches": ["--a"]}]))
    assert "since or until says which versions they are for" in wrong.brief
