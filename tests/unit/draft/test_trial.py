"""Amendments of a draft for what the log of its build told."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hapkg.build.failures import Cause, Lack
from hapkg.draft.trial import amend

RECIPE = """\
# Kept.
source = "ha-one"
build-depends = ["zlib1g-dev"]

[[packages]]
package = "ha-one"
files = ["bin/one", "share/one"] # these

[[packages]]
package = "ha-one-dev"
files = ["lib/libone.so"]
"""
BELOW = "debian/tmp/opt/ha"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE)
    return file


def find_owners(words: Sequence[str]) -> Mapping[str, str]:
    return {word: "libtwo-dev" for word in words if word == "two.h"}


def change(file: Path, lack: Lack, *words: str) -> tuple[list[str], dict[str, Any]]:
    """The lines that were said, and the recipe afterwards."""
    told = amend(file, Cause(lack=lack, words=words, remedy=""), "/opt/ha", {}, find_owners)
    text = file.read_text()
    assert text.startswith("# Kept.\n")
    return told, tomllib.loads(text)


def read_files(table: dict[str, Any]) -> list[list[str]]:
    return [package["files"] for package in table["packages"]]


def test_a_dependency_is_added_once(recipe: Path) -> None:
    told, table = change(recipe, Lack.DEPENDENCY, "two.h")
    assert told == ["build-depends: + libtwo-dev"]
    assert table["build-depends"] == ["zlib1g-dev", "libtwo-dev"]
    assert change(recipe, Lack.DEPENDENCY, "nothing.h")[0] == []


def test_a_package_that_the_recipe_has_already_is_no_change(recipe: Path) -> None:
    """A trial would build the same recipe again and again."""
    assert change(recipe, Lack.DEPENDENCY, "zlib.h") == ([], tomllib.loads(RECIPE))


def test_files_that_upstream_does_not_install_go(recipe: Path) -> None:
    told, table = change(recipe, Lack.UNMADE, "opt/ha/share/one")
    assert told == ["files: - share/one"]
    assert read_files(table) == [["bin/one"], ["lib/libone.so"]]
    assert change(recipe, Lack.UNMADE, f"{BELOW}/bin/one")[0] == []  # nothing would be left
    assert change(recipe, Lack.UNMADE, "opt/ha/unknown")[0] == []


def test_a_library_with_its_release_in_its_name_is_found(recipe: Path) -> None:
    recipe.write_text(RECIPE.replace('"bin/one", "share/one"', '"lib/libone.so.*"'))
    told, table = change(recipe, Lack.UNMADE, "opt/ha/lib/libone.so.*")
    assert told == ["files: - lib/libone.so.*, + lib/libone-*.so.*"]
    assert read_files(table)[0] == ["lib/libone-*.so.*"]
    assert change(recipe, Lack.UNMADE, "opt/ha/lib/libone-*.so.*")[0] == []


def test_files_that_nobody_takes_get_their_package(recipe: Path) -> None:
    names = (
        "bin/two",
        "include/one.h",
        "lib/libone.la",
        "lib/pkgconfig/one.pc",
        "share/doc/one/README",
        "lib/libtwo.so",
    )
    told, table = change(recipe, Lack.UNTAKEN, *(f"opt/ha/{name}" for name in names))
    assert sorted(told) == [
        "files of ha-one-dev: + include/one.h",
        "files of ha-one-dev: + lib/libtwo.so",
        "files of ha-one-dev: + lib/pkgconfig/one.pc",
        "files of ha-one: + bin/two",
        "not-installed: + lib/libone.la",
        "not-installed: + share/doc/one/README",
    ]
    assert read_files(table)[0] == ["bin/one", "share/one", "bin/two"]
    assert set(table["not-installed"]) == {"lib/libone.la", "share/doc/one/README"}


def test_many_files_of_a_folder_become_the_folder(recipe: Path) -> None:
    pages = [f"opt/ha/share/man/man8/{letter}.8" for letter in "abcde"]
    told, table = change(recipe, Lack.UNTAKEN, *pages, *(f"opt/ha/bin/{letter}" for letter in "abcde"))
    assert "files of ha-one: + share/man/man8" in told
    assert read_files(table)[0] == ["bin/one", "share/one", *(f"bin/{letter}" for letter in "abcde"), "share/man/man8"]


def test_files_outside_the_prefix_are_left_to_a_person(recipe: Path) -> None:
    told, table = change(recipe, Lack.UNTAKEN, "opt/ha/bin/two", "usr/lib/udev/rules.d/one.rules")
    assert (told, table) == ([], tomllib.loads(RECIPE))


def test_a_package_recommends_what_its_programs_load(recipe: Path) -> None:
    told, table = change(recipe, Lack.UNRELATED, "ha-one libx5", "ha-one liby0", "ha-other libz1")
    assert told == ["recommends of ha-one: + libx5", "recommends of ha-one: + liby0"]
    assert table["packages"][0]["recommends"] == ["libx5", "liby0"]
    assert change(recipe, Lack.UNRELATED, "ha-one libx5")[0] == []


def test_scripts_bring_their_interpreter(recipe: Path) -> None:
    told, table = change(recipe, Lack.INTERPRETER, "ha-one python3")
    assert told == ["depends of ha-one: + python3"]
    assert table["packages"][0]["depends"] == ["python3"]


def test_switches_that_configure_does_not_know_go(recipe: Path) -> None:
    recipe.write_text(RECIPE.replace("build-depends", 'configure = ["--with-a=no", "--enable-b"]\nbuild-depends'))
    told, table = change(recipe, Lack.SWITCH, "--with-a", "--enable-c")
    assert told == ["configure: - --with-a=no"]
    assert table["configure"] == ["--enable-b"]
    assert change(recipe, Lack.SWITCH, "--with-a")[0] == []


def test_a_configure_that_cannot_be_made_anew_stays_upstreams(recipe: Path) -> None:
    assert change(recipe, Lack.AUTORECONF, "autoreconf")[0] == [
        "debian/rules.j2: upstream's own configure, without autoreconf"
    ]
    rules = recipe.parent / "debian/rules.j2"
    block = "{% block autoreconf %}{% endblock %}\n"
    assert rules.read_text() == '{% extends "autotools/rules.j2" %}\n' + block
    assert change(recipe, Lack.AUTORECONF, "autoreconf")[0] == []
    rules.write_text('{% extends "autotools/rules.j2" %}\n{% block automake %}{% endblock %}\n')
    change(recipe, Lack.AUTORECONF, "autoreconf")
    assert rules.read_text().endswith("{% block automake %}{% endblock %}\n" + block)


def test_a_library_is_no_copy_of_itself(recipe: Path) -> None:
    assert change(recipe, Lack.EMBEDDED, "ha-one other")[0] == []
    told, table = change(recipe, Lack.EMBEDDED, "ha-one one", "ha-one other")
    assert told == ["lintian-overrides of ha-one: + embedded-library"]
    (override,) = table["packages"][0]["lintian-overrides"]
    assert (override["tag"], override["context"]) == ("embedded-library", "*")
    assert change(recipe, Lack.EMBEDDED, "ha-one one")[0] == []
