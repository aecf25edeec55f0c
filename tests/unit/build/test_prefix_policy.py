"""The rules of the prefix, on packages that dpkg-deb builds and programs that gcc links."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from hapkg.build.prefix_policy import check_packages
from hapkg.errors import BuildError
from hapkg.recipe.model import Recipe
from tests.support.samples import AUTOTOOLS, change, make_recipe_from

PREFIX = "/opt/ha"
RECIPE = make_recipe_from(AUTOTOOLS)
SYSTEM = {
    "libc.so.6": frozenset({"libc6"}),
    "libdistant.so": frozenset({"libdistant-dev"}),
    "libdistant.so.3": frozenset({"libdistant3", "libdistant3t64"}),
}
GOOD = {"opt/ha/share/one/file": "x", "usr/share/doc/ha-one/copyright": "x", "usr/share/lintian/overrides/ha-one": "x"}


def build(
    folder: Path,
    files: Mapping[str, str | bytes | int | None],
    name: str = "ha-one",
    links: Callable[[Path], None] = lambda tree: None,
    fields: str = "Depends: libc6\n",
) -> Path:
    """A .deb of these files: content, a mode for content that does not matter, or None for an empty folder."""
    tree = folder / "tree"
    for path, content in files.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            file.mkdir()
        elif isinstance(content, int):
            file.touch()
            file.chmod(content)
        else:
            file.write_bytes(content.encode() if isinstance(content, str) else content)
    links(tree)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: T <t@example.org>\n{fields}Description: x\n"
    )
    made = folder / "made"
    made.mkdir()
    deb = made / f"{name}_1_all.deb"
    argv = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(deb)]
    subprocess.run(argv, check=True, capture_output=True)
    return deb


def check(folder: Path, recipe: Recipe = RECIPE, stack_debs: Sequence[Path] = ()) -> tuple[str, ...]:
    """Violations in the packages that were built."""
    try:
        check_packages(recipe, folder / "made", PREFIX, stack_debs, system=SYSTEM)
    except BuildError as error:
        assert (error.exit_code, error.brief) == (
            10,
            f"ha-one: {len(error.details)} file(s) break the rules of the prefix",
        )
        assert error.hint.startswith("declare a file that must lie outside in recipe.toml, outside-prefix")
        return error.details
    return ()


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One program, linked in several ways."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "main.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-c", "main.c", "-o", "main.o"], check=True, cwd=folder)
    switches = {
        "plain": (),
        "good": ("-Wl,-rpath,/opt/ha/lib", "-Wl,--enable-new-dtags"),
        "more": ("-Wl,-rpath,/opt/ha/lib/more:/opt/ha/lib", "-Wl,--enable-new-dtags"),
        "wrong": ("-Wl,-rpath,/opt/other/lib", "-Wl,--enable-new-dtags"),
        "old": ("-Wl,-rpath,/opt/ha/lib", "-Wl,--disable-new-dtags"),
        "static": ("-static",),
    }
    for name, words in switches.items():
        subprocess.run(["gcc", "main.o", "-o", name, *words], check=True, cwd=folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_package_below_the_prefix_is_healthy(tmp_path: Path) -> None:
    build(tmp_path, {**GOOD, "opt/ha/var/empty": None})
    assert check(tmp_path) == ()


@pytest.mark.parametrize(
    ("path", "content", "fault"),
    [
        ("etc/one.conf", "x", "lies outside /opt/ha and is not declared"),
        ("opt/hax/file", "x", "lies outside /opt/ha and is not declared"),
        ("usr/share/doc/ha-two/copyright", "x", "lies outside /opt/ha and is not declared"),
        ("var/lib/one", None, "lies outside /opt/ha and is not declared"),
        ("opt/ha/lib/libone.la", "x", "is a libtool archive"),
        ("opt/ha/lib/__pycache__/one.cpython-311.pyc", "x", "is byte code"),
        ("opt/ha/lib/one.pyc", "x", "is byte code"),
        ("opt/ha/bin/one", 0o4755, "is setuid or setgid"),
        ("opt/ha/bin/one", 0o2755, "is setuid or setgid"),
        ("opt/ha/share/one/table", 0o666, "is writable by everybody"),
        ("opt/ha/lib/libone.so", b"\x7fELF and then nonsense", "cannot be read by readelf"),
    ],
)
def test_a_broken_rule_names_package_path_and_rule(
    tmp_path: Path, path: str, content: str | bytes | int | None, fault: str
) -> None:
    build(tmp_path, {**GOOD, path: content})
    assert check(tmp_path) == (f"ha-one: /{path}: {fault}",)


def test_every_fault_of_every_package_is_named(tmp_path: Path) -> None:
    packages = [{**AUTOTOOLS["packages"][0], "package": name} for name in ("ha-one", "ha-one-dev")]
    build(tmp_path / "a", {"etc/x.la": 0o4777}, "ha-one-dev")
    build(tmp_path / "b", {"etc/y": "y"})
    (tmp_path / "a/made/ha-one-dev_1_all.deb").rename(tmp_path / "b/made/ha-one-dev_1_all.deb")
    assert check(tmp_path / "b", make_recipe_from({**AUTOTOOLS, "packages": packages})) == (
        "ha-one-dev: /etc/x.la: lies outside /opt/ha and is not declared",
        "ha-one-dev: /etc/x.la: is a libtool archive",
        "ha-one-dev: /etc/x.la: is setuid or setgid",
        "ha-one-dev: /etc/x.la: is writable by everybody",
        "ha-one: /etc/y: lies outside /opt/ha and is not declared",
    )


def test_what_the_recipe_declares_may_lie_outside(tmp_path: Path) -> None:
    recipe = make_recipe_from(
        change(AUTOTOOLS, "packages.0.outside-prefix", ["etc/init.d/one", "etc/one/*", "srv/one"])
    )
    build(tmp_path, {"etc/init.d/one": "x", "etc/one/deep/file": "x", "etc/one.conf": "x", "srv/one": None})
    assert check(tmp_path, recipe) == ("ha-one: /etc/one.conf: lies outside /opt/ha and is not declared",)


def test_links_are_judged_by_where_they_are(tmp_path: Path) -> None:
    def link(tree: Path) -> None:
        (tree / "usr/bin").mkdir(parents=True)
        (tree / "usr/bin/one").symlink_to("/opt/ha/bin/one")
        (tree / "usr/bin/two").hardlink_to(tree / "opt/ha/bin/one")
        (tree / "opt/ha/bin/three").symlink_to("/usr/bin/env")

    build(tmp_path, {"opt/ha/bin/one": "x"}, links=link)
    assert sorted(check(tmp_path)) == [
        f"ha-one: /usr/bin/{name}: lies outside /opt/ha and is not declared" for name in ("one", "two")
    ]


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("good", None),
        ("more", None),
        ("static", None),
        ("main.o", None),
        ("plain", "has no RUNPATH /opt/ha/lib"),
        ("wrong", "has RUNPATH /opt/other/lib instead of RUNPATH /opt/ha/lib"),
        ("old", "has RPATH /opt/ha/lib instead of RUNPATH /opt/ha/lib"),
    ],
)
def test_a_program_that_loads_libraries_finds_ours_by_runpath(
    tmp_path: Path, programs: dict[str, bytes], program: str, fault: str | None
) -> None:
    build(tmp_path, {"opt/ha/bin/one": programs[program]})
    assert check(tmp_path) == ((f"ha-one: /opt/ha/bin/one: {fault}",) if fault else ())


def test_a_package_that_the_recipe_does_not_describe_is_a_fault(tmp_path: Path) -> None:
    build(tmp_path, {"etc/x": "x"}, "ha-other")
    text = "ha-other: ha-other_1_all.deb: is a package that recipe.toml does not describe"
    assert check(tmp_path) == (text,)


def test_debug_symbols_are_left_to_lintian(tmp_path: Path) -> None:
    build(tmp_path, {"usr/lib/debug/.build-id/x.debug": "x"}, "ha-one-dbgsym")
    assert check(tmp_path) == ()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of the stack with a library, and beside it programs that are linked to it or load it by name."""
    folder = tmp_path_factory.mktemp("other")
    runpath = ["-Wl,-rpath,/opt/ha/lib", "-Wl,--enable-new-dtags"]
    (folder / "other.c").write_text("int other(void) { return 0; }\n")
    for number in (1, 2):
        name = f"libother.so.{number}"
        argv = ["gcc", "-shared", "-fPIC", "other.c", "-o", name, f"-Wl,-soname,{name}", *runpath]
        subprocess.run(argv, check=True, cwd=folder)
        (folder / "linked.c").write_text("int other(void);\nint main(void) { return other(); }\n")
        subprocess.run(["gcc", "linked.c", name, "-o", f"linked-{number}", *runpath], check=True, cwd=folder)
        (folder / "loads.c").write_text(
            f'#include <dlfcn.h>\nint main(void) {{ return !dlopen("{name}", RTLD_NOW); }}\n'
        )
        subprocess.run(["gcc", "loads.c", "-o", f"loads-{number}", *runpath], check=True, cwd=folder)
    (folder / "says.c").write_text('#include <stdio.h>\nint main(void) { return puts("libother.so.1"); }\n')
    subprocess.run(["gcc", "says.c", "-o", "says", *runpath], check=True, cwd=folder)
    build(folder, {"opt/ha/lib/libother.so.2": (folder / "libother.so.2").read_bytes()}, name="ha-other")
    return folder


OLD = "but the stack has libother.so.2"
UNDECLARED = "libother.so.2 of ha-other, which its package neither depends on nor recommends"


@pytest.mark.parametrize(
    ("program", "fields", "fault"),
    [
        ("linked-2", "Depends: libc6, ha-other (>= 1)\n", None),
        ("linked-2", "Pre-Depends: libc6, ha-other\n", None),
        ("linked-2", "Depends: libc6\nRecommends: ha-other\n", f"is linked to {UNDECLARED}"),
        ("linked-2", "Depends: libc6\n", f"is linked to {UNDECLARED}"),
        ("linked-1", "Depends: libc6, ha-other\n", f"is linked to libother.so.1, {OLD}"),
        ("loads-2", "Depends: libc6, ha-other\n", None),
        ("loads-2", "Depends: libc6\nRecommends: ha-other\n", None),
        ("loads-2", "Depends: libc6\nSuggests: ha-other\n", f"loads {UNDECLARED}"),
        ("loads-1", "Depends: libc6, ha-other\n", f"loads libother.so.1, {OLD}"),
        ("says", "Depends: libc6\n", None),
    ],
)
def test_libraries_of_the_stack_come_with_what_uses_them(
    tmp_path: Path, other: Path, program: str, fields: str, fault: str | None
) -> None:
    build(tmp_path, {"opt/ha/bin/one": (other / program).read_bytes()}, fields=fields)
    expected = (f"ha-one: /opt/ha/bin/one: {fault}",) if fault else ()
    assert check(tmp_path, stack_debs=[other / "made/ha-other_1_all.deb"]) == expected


@pytest.fixture(scope="module")
def distant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs that are linked to a library of the distribution, or load it by name."""
    folder = tmp_path_factory.mktemp("distant")
    runpath = ["-Wl,-rpath,/opt/ha/lib", "-Wl,--enable-new-dtags"]
    name = "libdistant.so.3"
    (folder / "distant.c").write_text("int distant(void) { return 0; }\n")
    argv = ["gcc", "-shared", "-fPIC", "distant.c", "-o", name, f"-Wl,-soname,{name}"]
    subprocess.run(argv, check=True, cwd=folder)
    (folder / "linked.c").write_text("int distant(void);\nint main(void) { return distant(); }\n")
    subprocess.run(["gcc", "linked.c", name, "-o", "linked", *runpath], check=True, cwd=folder)
    (folder / "loads.c").write_text(f'#include <dlfcn.h>\nint main(void) {{ return !dlopen("{name}", RTLD_NOW); }}\n')
    subprocess.run(["gcc", "loads.c", "-o", "loads", *runpath], check=True, cwd=folder)
    (folder / "tries.c").write_text(
        "#include <dlfcn.h>\n"
        f'int main(void) {{ return !dlopen("libdistant.so", RTLD_NOW) && !dlopen("{name}", RTLD_NOW); }}\n'
    )
    subprocess.run(["gcc", "tries.c", "-o", "tries", *runpath], check=True, cwd=folder)
    return folder


@pytest.mark.parametrize(
    ("program", "fields", "fault"),
    [
        ("linked", "Depends: libc6, libdistant3\n", None),
        ("linked", "Depends: libc6, libnear | libdistant3t64\n", None),
        ("linked", "Depends: libc6\nRecommends: libdistant3\n", "is linked to"),
        ("linked", "Depends: libc6, libdistant3-dev\n", "is linked to"),
        ("loads", "Depends: libc6\nRecommends: libdistant3t64\n", None),
        ("loads", "Depends: libc6\nSuggests: libdistant3\n", "loads"),
        ("tries", "Depends: libc6\nRecommends: libdistant3\n", None),
        ("tries", "Depends: libc6\nSuggests: libdistant3, libdistant-dev\n", "loads"),
    ],
)
def test_libraries_of_the_distribution_come_with_what_uses_them(
    tmp_path: Path, distant: Path, program: str, fields: str, fault: str | None
) -> None:
    build(tmp_path, {"opt/ha/bin/one": (distant / program).read_bytes()}, fields=fields)
    text = "libdistant.so.3 of libdistant3 or libdistant3t64, which its package neither depends on nor recommends"
    assert check(tmp_path) == ((f"ha-one: /opt/ha/bin/one: {fault} {text}",) if fault else ())


def test_a_library_that_nobody_has_is_a_fault(tmp_path: Path, programs: dict[str, bytes], other: Path) -> None:
    build(tmp_path / "a", {"opt/ha/bin/one": programs["good"]}, fields="")
    text = "libc.so.6 of libc6, which its package neither depends on nor recommends"
    assert check(tmp_path / "a") == (f"ha-one: /opt/ha/bin/one: is linked to {text}",)
    build(tmp_path / "b", {"opt/ha/bin/one": (other / "linked-1").read_bytes()})
    text = "is linked to libother.so.1, which no package has that the build could see"
    assert check(tmp_path / "b") == (f"ha-one: /opt/ha/bin/one: {text}",)


CALLS = ["dlopen", "dlmopen", "lt_dlopen", "lt_dlopenext", "lt_dlopenadvise", "g_module_open", "g_module_open_full"]


def load(folder: Path, call: str, name: str) -> bytes:
    """A library that calls something with a name; who has the call is of no interest."""
    (folder / "plug.c").write_text(f'void *{call}(const char *);\nvoid *plug(void) {{ return {call}("{name}"); }}\n')
    argv = ["gcc", "-shared", "-fPIC", "-fno-builtin", "plug.c", "-o", "plug.so", "-Wl,-rpath,/opt/ha/lib"]
    subprocess.run([*argv, "-Wl,--enable-new-dtags"], check=True, cwd=folder)
    return (folder / "plug.so").read_bytes()


@pytest.mark.parametrize("call", CALLS)
def test_whoever_opens_a_library_by_name_needs_its_package(tmp_path: Path, other: Path, call: str) -> None:
    build(tmp_path, {"opt/ha/lib/plug.so": load(tmp_path, call, "libother.so.2")})
    assert check(tmp_path, stack_debs=[other / "made/ha-other_1_all.deb"]) == (
        f"ha-one: /opt/ha/lib/plug.so: loads {UNDECLARED}",
    )


@pytest.mark.parametrize(
    ("name", "fields", "fault"),
    [
        ("/opt/ha/lib/libother.so.2", "Depends: libc6, ha-other\n", None),
        ("/opt/ha/lib/libother.so.2", "Depends: libc6\n", f"loads {UNDECLARED}"),
        ("/opt/ha/lib/libother.so.1", "Depends: libc6, ha-other\n", f"loads libother.so.1, {OLD}"),
        (
            "/opt/ha/lib/libno.so.1",
            "Depends: libc6\n",
            "loads /opt/ha/lib/libno.so.1, which no package of the stack has",
        ),
        (
            "/usr/lib/libother.so.2",
            "Depends: libc6, ha-other\n",
            "loads /usr/lib/libother.so.2 instead of /opt/ha/lib/libother.so.2",
        ),
        ("/usr/lib/libfar.so.2", "Depends: libc6\n", None),
    ],
)
def test_a_library_may_be_named_by_its_path(
    tmp_path: Path, other: Path, name: str, fields: str, fault: str | None
) -> None:
    build(tmp_path, {"opt/ha/lib/plug.so": load(tmp_path, "dlopen", name)}, fields=fields)
    expected = (f"ha-one: /opt/ha/lib/plug.so: {fault}",) if fault else ()
    assert check(tmp_path, stack_debs=[other / "made/ha-other_1_all.deb"]) == expected


def test_a_folder_that_everybody_may_write_to_is_a_fault_empty_or_not(tmp_path: Path) -> None:
    def open_up(tree: Path) -> None:
        for name in ("share", "var"):
            (tree / "opt/ha" / name).chmod(0o1777)

    build(tmp_path, {"opt/ha/share/file": "x", "opt/ha/var": None}, links=open_up)
    text = "is a folder writable by everybody"
    assert sorted(check(tmp_path)) == [f"ha-one: /opt/ha/{name}: {text}" for name in ("share", "var")]


def test_no_link_leads_to_the_folder_of_the_build(tmp_path: Path) -> None:
    build(tmp_path, GOOD, links=lambda tree: (tree / "opt/ha/share/link").symlink_to("/build/ha-one/src/file"))
    assert check(tmp_path) == ("ha-one: /opt/ha/share/link: is a link to /build/ha-one/src/file, where it was built",)


def test_a_package_may_use_its_own_libraries(tmp_path: Path, other: Path) -> None:
    names = {"bin/one": "linked-2", "bin/two": "loads-2", "lib/libother.so.2": "libother.so.2"}
    build(tmp_path, {f"opt/ha/{path}": (other / name).read_bytes() for path, name in names.items()})
    assert check(tmp_path) == ()


def test_the_folder_of_the_build_is_named_nowhere(tmp_path: Path) -> None:
    build(tmp_path, {"opt/ha/bin/one": "x\n/build/ha-one/src\n", "opt/ha/bin/two": "/build/elsewhere"})
    assert check(tmp_path) == ("ha-one: /opt/ha/bin/one: names /build/ha-one, where it was built",)
