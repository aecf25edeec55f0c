"""The real recipes rendered: debian/ of each for bookworm, compared with the files in golden/.

`pytest tests/unit/recipe/test_golden.py --golden` writes them anew; git diff shows what a change of a template did.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from debian.changelog import Changelog
from debian.deb822 import Deb822, PkgRelation

from hapkg.build.plan import PLACEHOLDER, choose_version, make_inputs, make_key
from hapkg.control import BinaryName, SourceName, Suite
from hapkg.recipe.collection import read_recipes
from hapkg.recipe.debian_folder import DebianFolder, render_debian
from hapkg.recipe.graph import make_graph
from hapkg.recipe.model import Recipe
from hapkg.recipe.settings import find_project
from hapkg.site.model import read_site
from hapkg.site.package import make_site_recipe
from tests.support.samples import AUTOTOOLS, CHECKOUT, PACKAGE, make_recipe_from

GOLDEN = Path(__file__).with_name("golden")
BOOKWORM = Suite("bookworm")
KEYS = {
    "ha-libqb": "4138aab8d601e66435140d99766f6dda8918f1f21a5761fd3678bc79236d9ff3",
    "ha-pacemaker": "090af34def992af1c0dfa53939306d3e7b3631711a424a438f1ecbc3adf0f970",
    "ha-stack": "20a3451c927e099809a1dd33e51d456e5fa330167f5cdf37e53e80d740939edc",
}
"""Keys of three real recipes. Another one here means that everybody builds this source again."""
NAMES = sorted(f"ha-{file.parent.name}" for file in (CHECKOUT / "recipes").glob("*/recipe.toml"))
PROJECT = find_project(CHECKOUT)
SITE = "ha-stack-site-fiestaha"
SMALL: dict[str, dict[str, Any]] = {
    "ha-one": {
        "style": "meson",
        "section": "libs",
        "build-depends": ["meson", "pkgconf", "zlib1g-dev"],
        "configure": ["-Ddefault_library=shared", "-Dgroup=$CLUSTER_GROUP"],
        "tests-parallel": False,
        "packages": [
            {**PACKAGE, "files": ["bin/one", "lib/libone.so.*"]},
            {**PACKAGE, "package": "ha-one-dev", "section": "libdevel", "files": ["include/one.h", "lib/libone.so"]},
        ],
    },
    "ha-three": {
        "style": "cmake",
        "build-depends": ["cmake", "zlib1g-dev"],
        "configure": ["-DWITH_EXAMPLES=OFF", "-DGROUP=$CLUSTER_GROUP"],
        "tests-parallel": False,
        "packages": [{**PACKAGE, "package": "ha-three", "files": ["bin/three"]}],
    },
    "ha-four": {
        "style": "pyproject",
        "build-depends": ["dh-python", "pybuild-plugin-pyproject", "python3", "python3-setuptools"],
        "tests": False,
        "tests-off-reason": "they ask a server",
        "packages": [{**PACKAGE, "package": "ha-four", "architecture": "all", "files": ["bin/four"]}],
    },
    "ha-five": {
        "style": "cargo",
        "build-depends": ["cargo", "rustc"],
        "configure": ["--features=loud"],
        "packages": [{**PACKAGE, "package": "ha-five", "files": ["bin/five"]}],
    },
    "ha-six": {
        "style": "go",
        "build-depends": ["golang-go"],
        "configure": ["-tags=loud"],
        "packages": [{**PACKAGE, "package": "ha-six", "files": ["bin/six"]}],
    },
}
"""Recipes of styles that no recipe of the stack has yet."""
ALL = [*NAMES, SITE, *SMALL]
WITH_SBOM = ("ha-corosync", "ha-drbd9-module", "ha-pacemaker", "ha-stack", SITE)
"""Sources whose SBOMs are among the golden files; the others' are of the same code."""


@functools.cache
def read_all() -> dict[SourceName, Recipe]:
    return read_recipes(PROJECT)


def version_of(recipe: Recipe) -> str:
    return choose_version(recipe, "12", "a key", [])


def make_example() -> Recipe:
    """The generated recipe of the example's site."""
    return make_site_recipe(PROJECT, read_site(CHECKOUT / "docs/site.example.toml"))


@functools.cache
def render_example() -> DebianFolder:
    """The debian/ folder of the example's site."""
    recipe = make_example()
    return render_debian(
        recipe, PROJECT.settings, PROJECT.templates, suite=BOOKWORM, version="2+ha12.1", key="0" * 64, versions={}
    )


def make_small(name: str) -> Recipe:
    """A small recipe of a style that the stack does not use yet."""
    return make_recipe_from({**AUTOTOOLS, "source": name, **SMALL[name]})


@functools.cache
def render_small(name: str) -> DebianFolder:
    """The debian/ folder of a small recipe."""
    recipe = make_small(name)
    return render_debian(
        recipe, PROJECT.settings, PROJECT.templates, suite=BOOKWORM, version="1.2-1+ha12.1", key="0" * 64, versions={}
    )


def find_components(recipe: Recipe) -> list[Recipe]:
    """Recipes of the packages that a meta-package pins."""
    pinned = {BinaryName(name) for package in recipe.packages for name in package.stack}
    return [other for _, other in sorted(read_all().items()) if pinned & {package.name for package in other.packages}]


@functools.cache
def render(name: str) -> DebianFolder:
    """The debian/ folder of a first build."""
    recipes = read_all()
    recipe = recipes[SourceName(name)]
    versions = {BinaryName(p.package): version_of(other) for other in recipes.values() for p in other.packages}
    return render_debian(
        recipe,
        PROJECT.settings,
        PROJECT.templates,
        suite=BOOKWORM,
        version=version_of(recipe),
        key="0" * 64,
        versions=versions,
        components=find_components(recipe),
    )


@functools.cache
def find_recipe(name: str) -> Recipe:
    """The recipe of a golden folder."""
    if name in SMALL:
        return make_small(name)
    if name == SITE:
        return make_example()
    return read_all()[SourceName(name)]


@functools.cache
def render_any(name: str) -> DebianFolder:
    """The debian/ folder that a golden folder is compared with."""
    if name == SITE:
        return render_example()
    return render_small(name) if name in SMALL else render(name)


def find_plain(recipe: Recipe) -> dict[str, Path]:
    """The source of each file that is taken as it is: no template, and no template of a nearer folder in its place."""
    plain: dict[str, Path] = {}
    (templates,) = PROJECT.templates
    for folder in (templates / "common", templates / str(recipe.style), recipe.folder / "debian"):
        for file in folder.rglob("*"):
            path = str(file.relative_to(folder))
            if path.endswith(".j2"):
                plain.pop(path.removesuffix(".j2"), None)
            elif file.is_file() and not {"licenses", "__pycache__", "style.toml"} & set(file.parts):
                plain[path] = file
    return plain | {f"patches/{patch.name}": recipe.folder / "patches" / patch.name for patch in recipe.patches}


def find_rendered(name: str) -> dict[str, bytes]:
    """Files that are rendered, and no copy of a file that is in recipes/ or debian-templates/."""
    plain, folder = find_plain(find_recipe(name)), render_any(name)
    rendered = {path: content for path, content in folder.files.items() if path not in plain}
    return {**rendered, **(folder.make_sboms() if name in WITH_SBOM else {})}


def write_golden(name: str) -> None:
    DebianFolder(files=find_rendered(name)).write(GOLDEN / name)


def read_golden(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module", autouse=True)
def _rewrite(pytestconfig: pytest.Config) -> None:
    """With --golden, write what is rendered before it is compared."""
    if pytestconfig.getoption("--golden"):
        shutil.rmtree(GOLDEN, ignore_errors=True)
        for name in ALL:
            write_golden(name)


@pytest.mark.parametrize("name", ALL)
def test_packaging_is_what_it_was(name: str) -> None:
    made = find_rendered(name)
    golden = read_golden(GOLDEN / name)
    changed = sorted(path for path in made.keys() | golden.keys() if made.get(path) != golden.get(path))
    assert not changed, f"if this is meant: pytest tests/unit/recipe/test_golden.py --golden, then git diff ({changed})"


@pytest.mark.parametrize("name", ALL)
def test_what_is_no_template_is_taken_as_it_is(name: str) -> None:
    files, plain = render_any(name).files, find_plain(find_recipe(name))
    changed = [path for path, source in plain.items() if files.get(path) != source.read_bytes()]
    assert not changed, f"these files of debian/ differ from their sources: {changed}"


def test_stack_brings_its_command_as_it_is() -> None:
    """The oracle above finds the files at all."""
    assert {"share/hastack/main.py", "share/ha-stack"} <= find_plain(read_all()[SourceName("ha-stack")]).keys()


@pytest.mark.parametrize("name", KEYS)
def test_a_key_is_what_it_was(name: str) -> None:
    recipe = read_all()[SourceName(name)]
    versions = {BinaryName(p.package): "1-1+ha12.1" for other in read_all().values() for p in other.packages}
    debian = render_debian(
        recipe,
        PROJECT.settings,
        PROJECT.templates,
        suite=BOOKWORM,
        version=PLACEHOLDER,
        key=PLACEHOLDER,
        versions=versions,
    )
    inputs = make_inputs(
        recipe,
        debian,
        suite=BOOKWORM,
        architecture="amd64",
        chroot_digest="c" * 64,
        depends={"debhelper": "13.11.4"},
        stack={BinaryName(need): "2" * 64 for need in recipe.needs if need in versions},
    )
    assert make_key(inputs) == KEYS[name]


def test_every_golden_folder_has_its_recipe() -> None:
    assert sorted(folder.name for folder in GOLDEN.iterdir()) == sorted(ALL)


@pytest.mark.parametrize("name", NAMES)
def test_control_describes_the_packages_of_the_recipe(name: str) -> None:
    recipe = read_all()[SourceName(name)]
    source, *packages = Deb822.iter_paragraphs(render(name).files["control"].decode())
    assert (source["Source"], [package["Package"] for package in packages]) == (
        name,
        [package.package for package in recipe.packages],
    )
    fields = [source["Build-Depends"], *(package["Depends"] for package in packages)]
    plain = [field.replace("${", "").replace("}", "").replace(":Depends", "").rstrip(",") for field in fields]
    assert all(
        relation["name"] for field in plain for group in PkgRelation.parse_relations(field) for relation in group
    )
    assert [package["Description"].partition("\n")[0] for package in packages] == [p.synopsis for p in recipe.packages]


def test_changelogs_are_read_by_others(tmp_path: Path) -> None:
    """python-debian reads them all, dpkg-parsechangelog the one that it is asked to."""
    for name in NAMES:
        log = Changelog(render(name).files["changelog"].decode(), strict=True)
        recipe = read_all()[SourceName(name)]
        found = (log.package, str(log.version), log.distributions, log.author)
        assert found == (name, version_of(recipe), "bookworm", PROJECT.settings.maintainer)
    render(NAMES[0]).write(tmp_path)
    argv = ["dpkg-parsechangelog", "-l", "changelog", "-S", "Source"]
    assert subprocess.run(argv, check=True, capture_output=True, cwd=tmp_path).stdout == f"{NAMES[0]}\n".encode()


def test_every_upstream_names_the_commit_of_its_version() -> None:
    without = {recipe.name for recipe in read_all().values() if recipe.upstream and not recipe.upstream.commit}
    assert without == set()


def test_the_recipes_make_one_graph() -> None:
    graph = make_graph(read_all(), package_prefix=PROJECT.settings.package_prefix)
    assert sorted(graph.order) == NAMES
    place = {name: index for index, name in enumerate(graph.order)}
    order = [SourceName(f"ha-{name}") for name in ("libqb", "kronosnet", "corosync", "stack")]
    assert sorted(order, key=place.__getitem__) == order


def test_maintainer_scripts_are_posix_shell(tmp_path: Path) -> None:
    """By Debian's own checker, before any build."""
    for name in ALL:
        render_any(name).write(tmp_path / name)
    scripts = [file for name in ("pre", "post") for file in tmp_path.glob(f"*/*.{name}*") if file.suffix != ".in"]
    assert len(scripts) > 20
    done = subprocess.run(["checkbashisms", "--force", *map(str, scripts)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_checkbashisms_would_find_one(tmp_path: Path) -> None:
    script = tmp_path / "ha-one.preinst"
    script.write_text("#!/bin/sh\n[[ a == a ]]\n")
    assert subprocess.run(["checkbashisms", "--force", str(script)], capture_output=True, check=False).returncode == 1
