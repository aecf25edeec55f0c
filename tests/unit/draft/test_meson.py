"""What is read out of meson.build files: the language as far as it is followed, and what its calls ask for."""

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


def find_places(text: str, **files: str) -> dict[str, set[str]]:
    return read(text, **files).installed.places


@pytest.mark.parametrize(
    ("text", "name", "version", "license"),
    [
        ("project('one', 'c', version : '1.2', license : 'MIT')\n", "one", "1.2", "MIT"),
        ("# SPDX\nproject(\n  'one', # why\n  ['c', 'cpp'],\n  version: '1.2',\n)\n", "one", "1.2", ""),
        ("project('it\\'s', license: ['MIT', 'GPL-3.0-only'])", "it's", "", "MIT AND GPL-3.0-only"),
        ("project('''one''', version: files('VERSION'))", "one", "6.0", ""),
        ("project('one', version: run_command('git', 'describe', check: true).stdout().strip())", "one", "", ""),
        ("", "", "", ""),
    ],
)
def test_what_a_project_says_of_itself(text: str, name: str, version: str, license: str) -> None:
    found = read_meson({"meson.build": text, "VERSION": "6.0\n"})
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
        ("foreach name : ['a', 'b']\n  deps += dependency(name)\nendforeach", {"a.pc": True, "b.pc": True}),
        ("# dependency('no')\nx = 'dependency(\\'no\\')'", {}),
        ("cc = meson.get_compiler('c')\ncc.find_library('aio', required: false)", {"-laio": True}),
        ("meson.get_compiler('c').has_header('ltdl.h')", {"ltdl.h": False}),
        ("find_program('python3', 'python')", {"python3": False, "python": False}),
        ("import('python').find_installation('python3').path()", {"python3": False}),
        ("if host_machine.system() == 'windows'\n  dependency('no')\nendif", {}),
    ],
)
def test_what_is_asked_for(text: str, words: dict[str, bool]) -> None:
    assert read(text).words == words


def test_languages_need_compilers() -> None:
    assert read_meson({"meson.build": "project('one', ['c', 'vala'])"}).words == {"valac": True}


def test_subprojects_are_named() -> None:
    text = "subproject('a')\ndependency('b', fallback: ['c', 'c_dep'])\n"
    files = {"meson.build": PROJECT + text, "subprojects/d.wrap": "", "subprojects/e/meson.build": "project('e')\n"}
    found = read_meson(files)
    assert found.subprojects == {"a", "c", "d", "e"}
    assert found.installed.places == {}


# What it installs


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("executable('a', 'a.c', install: true)", {"bin": {"a"}}),
        ("executable('a', 'a.c')\nexecutable('b', 'b.c', install: false)", {}),
        ("executable('a', install: true, install_dir: get_option('sbindir'))", {"sbin": {"a"}}),
        ("d = get_option('prefix') / 'lib'\nexecutable('a', install: true, install_dir: d / 'x')", {"lib/x": {"a"}}),
        ("static_library('a', install: true)", {"lib": {"liba.a"}}),
        ("install_headers('a.h', files('b.h'))", {"include": {"a.h", "b.h"}}),
        ("h = ['x/a.h']\nh += 'y/b.h'\ninstall_headers(h, subdir: 'one')", {"include/one": {"a.h", "b.h"}}),
        ("install_headers('x/a.h', preserve_path: true)", {"include/x": {"a.h"}}),
        ("install_man('a.8', 'doc/b.5')", {"share/man/man8": {"a.8"}, "share/man/man5": {"b.5"}}),
        ("install_man('a.de.8', locale: 'de')", {"share/man/de/man8": {"a.8"}}),
        ("install_data('x/a', 'b')", {"share/one": {"a", "b"}}),
        ("install_data('a', rename: 'c', install_dir: get_option('sysconfdir'))", {"etc": {"c"}}),
        ("install_data('a', install_dir: join_paths(get_option('datadir'), 'y'))", {"share/y": {"a"}}),
        ("install_subdir('x/y', install_dir: 'share/z')", {"share/z/y": {""}}),
        ("install_subdir('x', install_dir: 'share/z', strip_directory: true)", {"share/z": {""}}),
        ("install_emptydir(get_option('localstatedir') / 'lib/one')", {"var/lib/one": {""}}),
        ("install_symlink('a', pointing_to: 'b', install_dir: 'bin')", {"bin": {"a"}}),
        ("configure_file(input: 'a.in', output: '@BASENAME@', install_dir: 'etc/one')", {"etc/one": {"a"}}),
        ("configure_file(output: 'config.h', configuration: c)", {}),
        ("custom_target('m', output: ['a.1', 'b'], install: true, install_dir: ['x', false])", {"x": {"a.1"}}),
        ("install_headers(configure_file(output: 'v.h', configuration: c))", {"include": {"v.h"}}),
        ("import('i18n').gettext('one')", {"share/locale": {""}}),
        ("import('pkgconfig').generate(name: 'one')", {"lib/pkgconfig": {"one.pc"}}),
        ("l = library('x', install: true)\nimport('pkgconfig').generate(l)", {"lib": {""}, "lib/pkgconfig": {"x.pc"}}),
        ("x = '@0@/@1@'.format('share', 'q')\ninstall_data('a', install_dir: x)", {"share/q": {"a"}}),
        ("n = 'q'\ninstall_data(f'@n@.conf', install_dir: 'etc')", {"etc": {"q.conf"}}),
        ("install_data('a', install_dir: true ? 'etc' : 'var')", {"etc": {"a"}}),
        ("install_data('a', install_dir: 'etc' / meson.project_name())", {"etc/one": {"a"}}),
        ("subdir('src')\nsubdir('src')", {"bin": {"deep"}}),
        ("subdir('no')", {}),
    ],
)
def test_what_is_installed(text: str, places: dict[str, set[str]]) -> None:
    found = read(text, src="executable('deep', install: true)\n")
    assert found.installed.places == places
    assert found.installed.remarks == []


@pytest.mark.parametrize(
    ("text", "libraries", "both"),
    [
        ("library('a', version: '1.2', install: true)", {"liba": True}, False),
        ("shared_library('a', soversion: major, install: true)", {"liba": True}, False),
        ("shared_library('a', name_prefix: '', install: true)", {"a": False}, False),
        ("shared_module('a', install: true, install_dir: get_option('libdir') / 'x')", {}, False),
        ("both_libraries('a', version: '1', install: true)", {"liba": True}, True),
        ("library('a')", {}, False),
    ],
)
def test_libraries(text: str, libraries: dict[str, bool], both: bool) -> None:
    found = read(text)
    assert (found.installed.libraries, found.both) == (libraries, both)


@pytest.mark.parametrize("default", ["default_library=both", "['warning_level=2', 'default_library=both']"])
def test_libraries_that_become_static_too(default: str) -> None:
    value = default if default.startswith("[") else f"'{default}'"
    assert read_meson({"meson.build": f"project('one', default_options: {value})"}).both


def test_what_a_pkg_config_file_requires() -> None:
    text = """\
z = dependency('zlib')
inner = declare_dependency(dependencies: [z, dependency('libxml-2.0')])
lib = library('one', 'one.c', dependencies: inner, install: true)
pkg = import('pkgconfig')
pkg.generate(lib, requires: ['glib-2.0 >= 2', 'two'], description: 'a greeting', url: 'https://one.example.org')
pkg.generate(name: 'two')
"""
    found = read(text)
    assert sorted(found.required) == ["glib-2.0.pc", "libxml-2.0.pc", "zlib.pc"]
    assert (found.summaries, found.pages) == (["a greeting"], ["https://one.example.org"])


OPTIONS = """\
option('on', type: 'boolean', value: true)
option('off', type : 'boolean', value : false)
option('dir', type: 'string', value: 'etc/one')
option('empty', type: 'string', value: '')
option('auto', type: 'feature', value: 'auto')
"""


@pytest.mark.parametrize("name", ["meson_options.txt", "meson.options"])
@pytest.mark.parametrize(
    ("text", "places", "unsure"),
    [
        ("if get_option('on')\n  {}\nelse\n  executable('b', install: true)\nendif", {"x": {"a"}}, ""),
        ("if get_option('off')\n  {}\nendif", {}, ""),
        ("if not get_option('off') and get_option('on')\n  {}\nendif", {"x": {"a"}}, ""),
        ("if get_option('off') or get_option('empty') != ''\n  {}\nendif", {"x": {"a"}}, "x"),
        ("if get_option('auto').allowed()\n  {}\nendif", {"x": {"a"}}, "x"),
        ("if unknown\n  {}\nelif get_option('on')\n  {}\nelse\n  subdir('src')\nendif", {"x": {"a"}}, "x"),
        ("if get_option('off')\n  if true\n    {}\n  else\n    {}\n  endif\nelse\n{}\nendif", {"x": {"a"}}, ""),
        ("foreach n : unknown\n  {}\nendforeach", {"x": {"a"}}, "x"),
        ("foreach k, v : {{'a': 'b'}}\n  {}\nendforeach", {"x": {"a"}}, "x"),
        ("executable('a', install: get_option('off'), install_dir: 'x')", {}, ""),
        ("executable('a', install: get_option('auto').enabled(), install_dir: 'x')", {"x": {"a"}}, "x"),
        ("install_data('a', install_dir: get_option('dir'))", {"etc/one": {"a"}}, ""),
        ("x = 'x'\nif unknown\n  x = unknown\nendif\ninstall_data('a', install_dir: x)", {"x": {"a"}}, ""),
    ],
)
def test_options_decide(name: str, text: str, places: dict[str, set[str]], unsure: str) -> None:
    body = text.format(*["install_data('a', install_dir: 'x')"] * 3)
    found = read_meson({"meson.build": f"{PROJECT}{body}\n", name: OPTIONS}).installed
    assert found.places == places
    assert found.remarks == ([f"only under a condition of meson.build: {unsure}"] if unsure else [])


def test_what_is_not_known_is_told() -> None:
    text = """\
systemd = dependency('systemd')
install_data('one.service', install_dir: systemd.get_variable(pkgconfig: 'systemdsystemunitdir'))
custom_target('doc', output: 'x', install: true, install_dir: '/etc/doc')
import('python').find_installation().install_sources('one.py', subdir: 'one')
meson.add_install_script('build-aux/install.sh')
"""
    assert read(text).installed.remarks == [
        "not known where these go: one.service, x, one.py",
        "these scripts may install more: install.sh",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 10_000,
        "x = " + "not " * 10_000,
        "x = " + "a ? " * 10_000,
        "if x\n" * 10_000,
        "subdir('a')\n" * 3,
        "l = ['a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a']\n"
        + "".join(f"foreach x{n} : l\n" for n in range(9))
        + "y = 'z'\n"
        + "endforeach\n" * 9,
        "x = 'a'\n" + "x += x\n" * 100 + "executable(x, install: true)",
        "x = ['a']\n" + "x += x\n" * 100 + "install_data(x)",
    ],
)
def test_what_nobody_wrote_by_hand_ends(text: str) -> None:
    found = read(text + "\n", a="subdir('b')\nsubdir('..')\nsubdir('.')\n")
    assert found.name == "one"


CODE = st.text(st.sampled_from("ab01._ \n\n'''\\[](){}@#=+/:,?<>!\u00e9") | st.characters(codec="utf-8"), max_size=80)
PIECES = st.sampled_from(
    [
        "if ",
        "\nendif\n",
        "\nelse\n",
        "foreach a : ",
        "\nendforeach\n",
        "install_data(",
        "'x'",
        ")",
        "get_option('a')",
        ",",
    ]
)


@settings(max_examples=150)
@given(st.lists(CODE | PIECES, max_size=25).map("".join))
def test_whatever_stands_there_is_read_to_its_end(text: str) -> None:
    places = read(text).installed.places
    assert all(place and not place.startswith((".", "/")) for place in places)
