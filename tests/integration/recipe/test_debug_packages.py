"""Packages of debug symbols, made by a debhelper that calls them .deb, and by one that does as Ubuntu's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from debian.deb822 import Changes

from hapkg.build.builder import LINTIAN_NAME, BuildTask, check_with_lintian
from hapkg.build.results import Results, check_fields, choose_names
from hapkg.chroot.schroot import Chroot
from hapkg.control import Suite
from hapkg.distribution import read_distributions
from hapkg.errors import BuildError
from hapkg.host import read_architecture
from hapkg.locations import State
from hapkg.recipe.debian_folder import render_debian
from hapkg.source.package import SourcePackage
from tests.support.samples import AUTOTOOLS, PACKAGE, SETTINGS, TEMPLATES, make_recipe_from
from tests.support.ubuntu import TOOLS, change_tool

RECIPE: dict[str, Any] = {
    **AUTOTOOLS,
    "style": "make",
    "tests": False,
    "tests-off-reason": "there are none",
    "packages": [{**PACKAGE, "files": ["bin/one"]}],
}
MAKEFILE = """\
one: one.c
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<
install:
	install -D one $(DESTDIR)$(PREFIX)/bin/one
"""


def build(place: Path, suite: str, *, ubuntus: bool) -> Path:
    """Build the packages of a suite with this machine's debhelper, changed to do as Ubuntu's or not: their folder."""
    distribution = read_distributions()[Suite(suite)]
    version = f"1.2-1+ha{distribution.suites[Suite(suite)]}.1"
    tree = place / "results/one"
    tree.mkdir(parents=True)
    (tree / "Makefile").write_text(MAKEFILE)
    (tree / "one.c").write_text("int main(void) { return 0; }\n")
    tar = ["tar", "-czf", str(tree.parent / "ha-one_1.2.orig.tar.gz"), "-C", str(tree.parent), "one"]
    subprocess.run(tar, check=True)
    recipe = make_recipe_from(RECIPE)
    debian = render_debian(
        recipe,
        SETTINGS,
        (TEMPLATES,),
        suite=Suite(suite),
        version=version,
        key="0" * 64,
        versions={},
        distribution=distribution,
    )
    debian.write(tree / "debian")
    environment = dict(os.environ)
    if ubuntus:
        for package, (name, *_) in TOOLS.items():
            (place / name).parent.mkdir(parents=True)
            shutil.copy(f"/{name}", place / name)
            change_tool(package, place)
        environment |= {"PERL5LIB": str(place / "usr/share/perl5"), "PATH": f"{place}/usr/bin:{environment['PATH']}"}
    argv = ["dpkg-buildpackage", "--unsigned-source", "--unsigned-changes", "--no-check-builddeps"]
    done = subprocess.run(argv, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return tree.parent


def describe(suite: str) -> Results:
    """The results that are expected of a build for a suite."""
    release = read_distributions()[Suite(suite)].suites[Suite(suite)]
    return Results(
        source="ha-one",
        version=f"1.2-1+ha{release}.1",
        architecture=read_architecture(),
        packages={"ha-one": "any"},
    )


def list_missing(folder: Path) -> list[str]:
    """Files that the .changes file names, and that are not there as results of a build."""
    (file,) = folder.glob("*.changes")
    named = [entry["name"] for entry in Changes(file.read_text())["Files"]]
    assert any("-dbgsym_" in name for name in named)
    return [name for name in named if not (folder / name).exists() or name.endswith(".ddeb")]


@pytest.mark.parametrize(("suite", "ubuntus"), [("bookworm", False), ("noble", True), ("noble", False)])
def test_debug_symbols_are_among_the_results(tmp_path: Path, suite: str, ubuntus: bool) -> None:
    folder, results = build(tmp_path, suite, ubuntus=ubuntus), describe(suite)
    assert list_missing(folder) == []
    (debug,) = results.debug_debs
    kinds = ("*.deb", "*.changes", "*.buildinfo")
    listing = b"\0".join(file.name.encode() for kind in kinds for file in folder.glob(kind))
    assert debug in choose_names(listing, results)
    check_fields(folder, results)
    shown = subprocess.run(
        ["dpkg-deb", "--field", str(folder / debug), "Package-Type"], check=True, capture_output=True, text=True
    )
    assert (shown.stdout.strip(), list(folder.glob("*.ddeb"))) == ("", [])
    (paper,) = folder.glob("*.buildinfo")
    assert debug in paper.read_text()


def test_rules_for_a_suite_of_debian_leave_the_names_alone(tmp_path: Path) -> None:
    """The changed debhelper does what Ubuntu's does: without the hooks its packages are lost."""
    folder = build(tmp_path, "bookworm", ubuntus=True)
    assert [name.partition("_")[0] for name in list_missing(folder)] == ["ha-one-dbgsym"]


def make_task(folder: Path, place: Path, suite: str) -> BuildTask:
    (dsc,) = folder.glob("*.dsc")
    files = tuple(sorted(folder.glob("ha-one_*.tar.*")))
    return BuildTask(
        source="ha-one",
        package=SourcePackage(dsc=dsc, files=(dsc, *files), debian={}),
        chroot=Chroot(suite=Suite(suite), name="none", folder=place, digest="", packages=0),
        state=State(place / "state"),
        packages={},
        stack_debs=(),
        results=describe(suite),
        forbidden=(),
        parallel=1,
        again="",
    )


def test_lintian_reads_the_results_for_a_suite_that_it_does_not_know(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder = build(tmp_path, "noble", ubuntus=True)
    check_with_lintian(make_task(folder, tmp_path, "noble"), folder)
    assert "E:" not in (folder / LINTIAN_NAME).read_text()


def test_lintian_refuses_results_of_which_one_is_lost(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder = build(tmp_path, "noble", ubuntus=True)
    for file in folder.glob("*-dbgsym_*"):
        file.unlink()
    with pytest.raises(BuildError, match="lintian finds errors"):
        check_with_lintian(make_task(folder, tmp_path, "noble"), folder)
