"""Calls of meson.build files, read one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hapkg.draft.meson import Meson, read_meson

PROJECT = "project('one', 'c', version: '1.2', license: 'GPL-2.0-or-later')\n"


def read(text: str, **files: str) -> Meson:
    """A source with this meson.build after its project(); "src" is the meson.build of that folder."""
    folders = {f"{name}/meson.build": body for name, body in files.items()}
    return read_meson({"meson.build": PROJECT + text, **folders})


@pytest.mark.parametrize(
    ("text", "name", "version", "license"),
    [
        ("project('one', 'c', version : '1.2', license : 'MIT')\n", "one", "1.2", "MIT"),
        ("# SPDX\nproject(\n  'one', # why\n  ['c', 'cpp'],\n  version: '1.2',\n)\n", "one", "1.2", ""),
        ("project('it\\'s', license: ['MIT', 'GPL-3.0-only'])", "it's", "", "MIT AND GPL-3.0-only"),
        ("project('''one''', version: files('VERSION'))", "one", "", ""),
        ("project('one', version: run_command('git', 'describe', check: true).stdout().strip())", "one", "", ""),
        ("", "", "", ""),
    ],
)
def test_what_a_project_says_of_itself(text: str, name: str, version: str, license: str) -> None:
    found = read_meson({"meson.build": text})
    assert (found.name, found.version, found.license) == (name, version, license)


@pytest.mark.parametrize(
    ("wanted", "least"), [(">= 0.60", "0.60"), (">=1.1.0", "1.1.0"), ("> 1", "1"), ("< 2", ""), (">= 1, < 2", "")]
)
def test_the_version_of_meson(wanted: str, least: str) -> None:
    assert read_meson({"meson.build": f"project('one', meson_version: '{wanted}')"}).at_least == least


def test_a_source_without_meson_says_nothing() -> None:
    assert read_meson({"subprojects/x.wrap": "", "src/meson.build": PROJECT}) == Meson()


# What it asks for


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dependency('zlib', version: '>= 1.2')", {"zlib.pc": True}),
        ("dependency('a', 'b')", {"a.pc": True}),
        ("dependency('', required: false)", {}),
        ("deps += dependency(name)", {}),
        ("x = '#'  # dependency('no')\n", {}),
        ("# dependency('no')\ndependency('one', # why\n  required: get_option('no'))", {"one.pc": True}),
        ("my_dependency('no')\ndependency(variable('no'), fallback: 'no')", {}),
        ("cc = meson.get_compiler('c')\ncc.find_library('aio', required: false)", {"-laio": True}),
        ("meson.get_compiler('c').has_header('ltdl.h')", {"ltdl.h": False}),
        ("find_program('python3', 'python')", {"python3": False, "python": False}),
        ("import('python').find_installation('python3').path()", {"python3": False}),
    ],
)
def test_what_is_asked_for(text: str, words: dict[str, bool]) -> None:
    assert read(text).words == words


def test_languages_need_compilers() -> None:
    assert read_meson({"meson.build": "project('one', ['c', 'vala'])"}).words == {"valac": True}


def test_subprojects_are_named() -> None:
    text = "subproject('a')\ndependency('b', fallback: ['c', 'c_dep'])\n"
    files = {"meson.build": PROJECT + text, "subprojects/d.wrap": "", "subprojects/e/meson.build": "dependency('no')\n"}
    found = read_meson(files)
    assert found.subprojects == {"a", "c", "d", "e"}
    assert "no.pc" not in found.words


def test_files_below_are_read_too() -> None:
    assert read("subdir('src')", src="dependency('deep')").words == {"deep.pc": True}


def test_pkg_config_files_tell_what_the_source_is() -> None:
    found = read("pkg.generate(lib, requires: ['two'], description: 'a greeting', url: 'https://one.example.org')")
    assert (found.summaries, found.pages) == (["a greeting"], ["https://one.example.org"])


@pytest.mark.parametrize("text", ["both_libraries('a', install: true)", "x = both_libraries ('a')"])
def test_both_kinds_of_libraries(text: str) -> None:
    assert read(text).both
    assert not read(text.replace("both_libraries", "library")).both


@pytest.mark.parametrize("default", ["default_library=both", "['warning_level=2', 'default_library=both']"])
def test_libraries_that_become_static_too(default: str) -> None:
    value = default if default.startswith("[") else f"'{default}'"
    assert read_meson({"meson.build": f"project('one', default_options: {value})"}).both


@pytest.mark.parametrize("piece", ["(", "dependency(", "dependency('a', ", "'", "# '", "x : ", "generate(x : '"])
def test_what_nobody_wrote_by_hand_ends(piece: str) -> None:
    assert read(piece * 10_000).name == "one"


CODE = st.text(st.sampled_from("ab01._ \n\n'''\\[](){}@#=+/:,?<>!\u00e9") | st.characters(codec="utf-8"), max_size=80)
PIECES = st.sampled_from(["dependency(", "find_program(", "subproject(", "generate(", "'x'", ")", "required: ", ","])


@settings(max_examples=150)
@given(st.lists(CODE | PIECES, max_size=25).map("".join))
def test_whatever_stands_there_is_read_to_its_end(text: str) -> None:
    found = read(text)
    assert all(word.isprintable() and " " not in word for word in found.words if word.endswith(".pc"))
