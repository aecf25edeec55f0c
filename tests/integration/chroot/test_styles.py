"""Sources of a few lines in the styles that no recipe of the stack has, really built."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.integration.chroot.test_build import read_content, read_runpaths
from tests.support.machine import SUITE, Done, Hapkg
from tests.support.miniature import Miniature, make_package

# A shared library with its pkg-config file, a program that links to it, and a test that runs it in the build tree.
CMAKE = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(hail VERSION 2.1 LANGUAGES C)
include(GNUInstallDirs)
include(CTest)
option(WITH_NOTHING "what no build needs" ON)
if(WITH_NOTHING)
  message(FATAL_ERROR "the recipe turns it off")
endif()
find_package(ZLIB REQUIRED)
add_library(hail SHARED hail.c)
target_link_libraries(hail PRIVATE ZLIB::ZLIB)
set_target_properties(hail PROPERTIES VERSION 2.1 SOVERSION 2 PUBLIC_HEADER hail.h)
add_executable(hail-world main.c)
target_link_libraries(hail-world hail)
install(TARGETS hail hail-world)
configure_file(hail.pc.in hail.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/hail.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES hail.conf DESTINATION ${CMAKE_INSTALL_SYSCONFDIR})
add_test(NAME hails COMMAND hail-world)
""",
    "hail.h": "const char *hail(void);\n",
    "hail.c": """\
#include "hail.h"
#include <stdlib.h>
#include <zlib.h>
const char *hail(void) { return getenv("HAIL_ZLIB") ? zlibVersion() : "hail"; }
""",
    "main.c": '#include "hail.h"\n#include <stdio.h>\nint main(void) { return puts(hail()) < 0; }\n',
    "hail.pc.in": """\
prefix=@CMAKE_INSTALL_PREFIX@
Name: hail
Description: one word
Version: @PROJECT_VERSION@
Libs: -L${prefix}/lib -lhail
Cflags: -I${prefix}/include
""",
    "hail.conf": "word = hail\n",
}
# A module whose program setuptools makes of an entry point, and its test.
PYPROJECT = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"

[project]
name = "salute"
version = "1.4"

[project.scripts]
salute = "salute.main:main"

[tool.setuptools]
packages = ["salute"]
""",
    "salute/__init__.py": "",
    "salute/main.py": 'def main() -> None:\n    print("saluted")\n',
    "tests/__init__.py": "",
    "tests/test_main.py": """\
import unittest
from salute.main import main


class Test(unittest.TestCase):
    def test_main(self) -> None:
        main()
""",
}

# A module of the kernel that upstream keeps in a tree of its own: nothing is compiled until module-assistant has it.
MODULE = {"src/shim.c": "int shim;\n", "src/Kbuild": "obj-m := shim.o\n", "Makefile": "all:\n\tfalse\n"}


@pytest.fixture(scope="module")
def built(place: Path, hapkg: Hapkg) -> Done:
    """The sources after their builds, and an optional one whose tarball is nowhere."""
    project = Miniature.create(place / "styles", suite=SUITE)
    with (project.root / "pyproject.toml").open("a") as file:
        file.write('optional = ["shim-module"]\n')
    project.add("rare", {"README": "rare\n"}, optional="few want it")
    (project.root / "upstream/rare-1.0.tar.gz").unlink()
    project.add(
        "hail",
        CMAKE,
        version="2.1",
        style="cmake",
        build_depends=["cmake", "zlib1g-dev"],
        configure=["-DWITH_NOTHING=OFF"],
        packages=[
            make_package("hail", ["bin/hail-world", "etc/hail.conf", "lib/libhail.so.*"]),
            make_package(
                "hail-dev",
                ["include/hail.h", "lib/libhail.so", "lib/pkgconfig/hail.pc"],
                section="libdevel",
                depends=["ha-hail (= ${binary:Version})"],
            ),
        ],
    )
    project.add(
        "salute",
        PYPROJECT,
        version="1.4",
        style="pyproject",
        build_depends=["dh-python", "pybuild-plugin-pyproject", "python3", "python3-all", "python3-setuptools"],
        packages=[
            make_package(
                "salute",
                ["bin/salute", "lib/python3/dist-packages"],
                architecture="all",
                depends=["python3", "${python3:Depends}"],
            )
        ],
    )
    project.add(
        "shim-module",
        MODULE,
        style="external-module",
        optional="it takes another's place",
        tests=False,
        tests_off_reason="there are none",
        module={"name": "shim", "tree": "src", "synopsis": "shim", "description": "A shim."},
        packages=[
            make_package(
                "shim-module-source", [], architecture="all", **{"outside-prefix": ["usr/src/ha-shim-module.tar.gz"]}
            )
        ],
    )
    return hapkg.on(project.root).succeed("build-all", "--json")


def find_deb(hapkg: Hapkg, built: Done, source: str, package: str) -> Path:
    (found,) = hapkg.folder(built.outcomes[source]).glob(f"{package}_*.deb")
    return found


def run_installed(deb: Path, root: Path, program: str) -> str:
    """The output of a package's program where the package's files lie below the prefix."""
    subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
    argv = ["unshare", "--mount", "sh", "-ec", f'mount --bind "$0/opt" /opt; exec /opt/ha/bin/{program}', str(root)]
    return subprocess.run(argv, check=True, capture_output=True, text=True, cwd="/").stdout


def test_all_are_built_and_tested(built: Done) -> None:
    assert built.endings == {"ha-hail": "built", "ha-salute": "built", "ha-shim-module": "built"}
    assert "100% tests passed" in Path(built.outcomes["ha-hail"]["log"]).read_text()
    assert "Ran 1 test" in Path(built.outcomes["ha-salute"]["log"]).read_text()


def test_a_cmake_source_lies_below_the_prefix(hapkg: Hapkg, built: Done, tmp_path: Path) -> None:
    deb = find_deb(hapkg, built, "ha-hail", "ha-hail")
    assert read_runpaths(deb, tmp_path) == {
        "/opt/ha/bin/hail-world": ["/opt/ha/lib"],
        "/opt/ha/lib/libhail.so.2.1": ["/opt/ha/lib"],
    }
    assert "/opt/ha/etc/hail.conf" in read_content(deb)
    development = read_content(find_deb(hapkg, built, "ha-hail", "ha-hail-dev"))
    assert development["/opt/ha/lib/pkgconfig/hail.pc"].startswith(b"prefix=/opt/ha\n")
    assert run_installed(deb, tmp_path / "root", "hail-world") == "hail\n"


def test_a_pyproject_source_runs_from_the_prefix(hapkg: Hapkg, built: Done, tmp_path: Path) -> None:
    deb = find_deb(hapkg, built, "ha-salute", "ha-salute")
    files = read_content(deb)
    assert files["/opt/ha/bin/salute"].startswith(b"#!/usr/bin/python3\n")
    assert "/opt/ha/lib/python3/dist-packages/salute-1.4.dist-info/METADATA" in files
    assert not [path for path in files if path.endswith(".pyc")]
    assert run_installed(deb, tmp_path / "root", "salute") == "saluted\n"


def test_an_external_module_is_a_tree_for_module_assistant(hapkg: Hapkg, built: Done) -> None:
    deb = find_deb(hapkg, built, "ha-shim-module", "ha-shim-module-source")
    tarball = read_content(deb)["/usr/src/ha-shim-module.tar.gz"]
    with tarfile.open(fileobj=io.BytesIO(tarball)) as archive:
        names = {member.name.removeprefix("modules/ha-shim-module/") for member in archive if member.isfile()}
    packaging = {f"debian/{name}" for name in ("changelog", "control", "control.modules.in", "copyright", "rules")}
    assert names == {*MODULE, *packaging, "debian/source/format"}


def test_an_optional_source_that_nobody_names_is_not_missed(hapkg: Hapkg, built: Done, place: Path) -> None:
    own = hapkg.on(place / "styles")
    assert "ha-rare" not in own.succeed("plan").stdout
    own.succeed("publish", "--unsigned")
    assert not list((place / "styles/apt/pool").rglob("ha-rare*"))
    assert list((place / "styles/apt/pool").rglob("ha-shim-module-source_*.deb"))
    assert own.run("build", "rare").status == 6
