"""Kernel modules: which kernels there are, a recipe for each that is asked for, and a clear word about the others."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hapkg.build import kernel_packages
from hapkg.build.kernel_packages import (
    Kernels,
    add_packages,
    check_kernel,
    check_kernels,
    make_package,
    needs_chroot,
    parse_kernels,
)
from hapkg.build.plan import choose_version
from hapkg.chroot.schroot import Chroot
from hapkg.control import BinaryName, SourceName, Suite
from hapkg.distribution import Distribution, read_distributions
from hapkg.errors import ConfigError, HapkgError, RecipeError
from hapkg.locations import State
from hapkg.recipe.debian_folder import render_debian
from hapkg.recipe.graph import make_graph
from hapkg.recipe.settings import Project, Settings
from hapkg.recipe.style import KERNEL_MODULE, KERNEL_PACKAGE
from hapkg.tables import parse_table
from tests.support.samples import (
    AUTOTOOLS,
    MAINTAINER,
    META,
    PACKAGE,
    SETTINGS,
    TEMPLATES,
    change,
    make_nodes,
    make_recipe,
    make_recipe_from,
)

BOOKWORM = Suite("bookworm")
DEPENDS = """\
linux-headers-amd64
  Depends: linux-headers-6.1.0-38-amd64
linux-source
  Depends: linux-source-6.1
"""
NAMES = """\
linux-headers-amd64
linux-headers-6.12-amd64
linux-headers-6.12.43+deb12-amd64
linux-headers-6.12.43+deb12-common
linux-headers-6.1.0-9-amd64
linux-headers-6.1.0-38-rt-amd64
linux-headers-6.1.0-38-common-rt
linux-headers-6.1.0-38-common
linux-headers-6.1.0-38-amd64
"""
KERNELS = Kernels(
    default="6.1.0-38-amd64",
    series="6.1",
    source="linux-source",
    available=("6.12.43+deb12-amd64", "6.1.0-38-amd64", "6.1.0-38-rt-amd64", "6.1.0-9-amd64"),
)
MODULE: dict[str, Any] = {
    **META,
    "source": "ha-one-module",
    "style": "kernel-module",
    "make": ["CONFIG_ONE=m"],
    "module": {"name": "one", "tree": "drivers/block/one", "synopsis": "module one", "description": "It is one."},
    "packages": [{**PACKAGE, "package": "ha-one-module-source", "architecture": "all"}],
}

EXTERNAL: dict[str, Any] = {
    **AUTOTOOLS,
    "source": "ha-two-module",
    "style": "external-module",
    "tests": False,
    "tests-off-reason": "there are none",
    "module": {**MODULE["module"], "name": "two", "parts": ["two_transport"], "tree": "drivers/two"},
    "packages": [
        {**PACKAGE, "package": "ha-two-module-source", "architecture": "all", "outside-prefix": ["usr/src/x"]}
    ],
}


def make_project(*kernels: str) -> Project:
    return Project(root=Path("/nowhere"), settings=make_settings(*kernels) if kernels else SETTINGS)


def make_settings(*kernels: str) -> Settings:
    table = {"maintainer": MAINTAINER, "kernels": {"bookworm": list(kernels)}}
    return parse_table(Settings, table, where="pyproject.toml", error=ConfigError)


def render(style: str) -> dict[str, str]:
    recipe = make_recipe_from(MODULE)
    chosen = recipe if style == KERNEL_MODULE else make_package(recipe, "6.1.0-38-amd64")
    rendered = render_debian(chosen, SETTINGS, (TEMPLATES,), suite=BOOKWORM, version="1.2+ha12.1", key="k", versions={})
    return {path: content.decode() for path, content in rendered.files.items()}


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """A base chroot with the kernels above; the list grows with every look into it."""
    looks: list[Path] = []
    chroot = Chroot(suite=BOOKWORM, name="c", folder=tmp_path, digest="d", packages=1)

    def read(base: Chroot, headers: str, source: str) -> Kernels:
        looks.append(base.folder)
        return KERNELS

    monkeypatch.setattr(kernel_packages, "find_chroot", lambda cache, suite: chroot)
    monkeypatch.setattr(kernel_packages, "read_kernels", read)
    return looks


def test_kernels_are_those_with_headers_of_their_own_the_newest_first() -> None:
    assert parse_kernels(DEPENDS, NAMES, "linux-source") == KERNELS
    assert parse_kernels("", "", "kernel") == Kernels(default="", series="", source="kernel", available=())
    assert parse_kernels("kernel\n  Depends: kernel-6.8.0\n", "", "kernel").series == "6.8.0"


def test_each_kernel_gets_a_recipe_of_its_own(tmp_path: Path) -> None:
    recipes = make_nodes(make_recipe_from(MODULE), make_recipe_from(AUTOTOOLS))
    project = make_project("6.1.0-9-amd64", "6.1.0-38-amd64")
    made = add_packages(recipes, project, BOOKWORM, State(tmp_path), "amd64")
    new = [made[name] for name in made if name not in recipes]
    assert [recipe.source for recipe in new] == ["ha-one-modules-6.1.0-9-amd64", "ha-one-modules-6.1.0-38-amd64"]
    assert new[1].build_depends == ("module-assistant", "linux-headers-6.1.0-38-amd64", "ha-one-module-source")
    assert new[1].packages[0].outside_prefix == ("lib/modules/6.1.0-38-amd64/updates/one.ko",)
    graph = make_graph(made, package_prefix="ha-")
    assert graph.needs[new[1].name] == (SourceName("ha-one-module"),)
    assert graph.providers[BinaryName("ha-one-modules-6.1.0-9-amd64")] == new[0].name
    assert choose_version(new[1], "12", "key", []) == "1.2+ha12.1"


def test_nothing_is_read_and_made_without_a_module_or_without_kernels(base: list[Path], tmp_path: Path) -> None:
    plain = make_nodes(make_recipe_from(AUTOTOOLS))
    module = make_nodes(make_recipe_from(MODULE))
    assert add_packages(plain, make_project("default"), BOOKWORM, State(tmp_path), "amd64") == plain
    assert add_packages(module, make_project(), BOOKWORM, State(tmp_path), "amd64") == module
    assert add_packages(module, make_project("default"), Suite("trixie"), State(tmp_path), "amd64") == module
    check_kernels(module.values(), make_project(), BOOKWORM, State(tmp_path), "amd64")
    assert base == []


def test_default_is_the_kernel_that_the_suite_installs(base: list[Path], tmp_path: Path) -> None:
    recipes = make_nodes(make_recipe_from(MODULE))
    project = make_project("6.1.0-38-amd64", "default")
    made = add_packages(recipes, project, BOOKWORM, State(tmp_path), "amd64")
    assert made.keys() - recipes.keys() == {"ha-one-modules-6.1.0-38-amd64"}
    check_kernels(made.values(), make_project(), BOOKWORM, State(tmp_path), "amd64")
    assert not needs_chroot(project.settings, BOOKWORM, State(tmp_path))


def test_default_waits_for_the_base_chroot(tmp_path: Path) -> None:
    recipes = make_nodes(make_recipe_from(MODULE))
    assert add_packages(recipes, make_project("default"), BOOKWORM, State(tmp_path), "amd64") == recipes
    assert needs_chroot(make_settings("default"), BOOKWORM, State(tmp_path))
    assert not needs_chroot(SETTINGS, BOOKWORM, State(tmp_path))


def test_a_kernel_without_headers_is_named_with_what_there_is_instead(base: list[Path], tmp_path: Path) -> None:
    recipes = make_nodes(make_recipe_from(MODULE))
    made = add_packages(recipes, make_project("6.1.0-99-amd64"), BOOKWORM, State(tmp_path), "amd64")
    with pytest.raises(ConfigError) as caught:
        check_kernels(made.values(), make_project(), BOOKWORM, State(tmp_path), "amd64")
    assert caught.value.brief == (
        "pyproject.toml, [tool.hapkg.kernels] bookworm: "
        "kernel 6.1.0-99-amd64 has no linux-headers-6.1.0-99-amd64 in bookworm"
    )
    assert caught.value.details == (
        "kernels with headers in bookworm: 6.1.0-38-amd64, 6.1.0-38-rt-amd64, 6.1.0-9-amd64",
        "default: 6.1.0-38-amd64",
    )
    assert "did you mean 6.1.0-9-amd64?" in caught.value.hint


def test_a_kernel_of_another_series_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"6\.12\.43\+deb12-amd64 is not of the series 6\.1,"):
        check_kernel("6.12.43+deb12-amd64", KERNELS, BOOKWORM)
    check_kernel("6.1.0-38-rt-amd64", KERNELS, BOOKWORM)


def test_a_module_of_upstream_takes_the_headers_of_any_series(base: list[Path], tmp_path: Path) -> None:
    recipes = make_nodes(make_recipe_from(EXTERNAL))
    made = add_packages(recipes, make_project("6.12.43+deb12-amd64"), BOOKWORM, State(tmp_path), "amd64")
    check_kernels(made.values(), make_project(), BOOKWORM, State(tmp_path), "amd64")
    (new,) = (made[name] for name in made if name not in recipes)
    folder = "lib/modules/6.12.43+deb12-amd64/updates"
    assert new.packages[0].outside_prefix == (f"{folder}/two.ko", f"{folder}/two_transport.ko")
    # Its source is the package of the module's source; upstream has nothing more to say.
    assert (new.native, new.upstream, new.origins, new.series, new.pins) == (True, None, (), (), ())
    lost = make_package(made[SourceName("ha-two-module")], "6.1.0-99-amd64")
    with pytest.raises(ConfigError, match=r"has no linux-headers-6\.1\.0-99-amd64"):
        check_kernels([lost], make_project(), BOOKWORM, State(tmp_path), "amd64")


def test_a_module_is_built_for_the_kernels_that_are_named_for_it(tmp_path: Path) -> None:
    recipes = make_nodes(make_recipe_from(MODULE), make_recipe_from({**EXTERNAL, "optional": "takes another's place"}))

    def make(*words: str) -> list[str]:
        made = add_packages(recipes, make_project(*words), BOOKWORM, State(tmp_path), "amd64")
        return [name for name in made if name not in recipes]

    assert make("6.1.0-9-amd64") == ["ha-one-modules-6.1.0-9-amd64"]
    assert make("two-module=6.1.0-9-amd64") == ["ha-two-modules-6.1.0-9-amd64"]
    both = make("6.1.0-9-amd64", "ha-two-module=6.1.0-9-amd64", "two-module=6.1.0-9-amd64")
    assert both == ["ha-one-modules-6.1.0-9-amd64", "ha-two-modules-6.1.0-9-amd64"]


@pytest.mark.parametrize(
    "word", ["latest", "6.1", "6.1.0 38", "6.1.0-38-AMD64", "6.1.0-1/../x", "", "=default", "two=", "Two=default"]
)
def test_a_word_that_is_no_kernel_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=r"kernels\.bookworm\[1\]: .* must be a kernel as uname -r names it"):
        make_settings(word)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (change(MODULE, "module"), r"style kernel-module or external-module and the table \[module\] go together"),
        ({**META, "module": MODULE["module"]}, r"external-module and the table \[module\] go together"),
        (change(MODULE, "source", "ha-two"), "gives one package, ha-two-source for module-assistant"),
        (
            {**MODULE, "source": "ha-two", "packages": [{**PACKAGE, "package": "ha-two-source"}]},
            "source ha-two of style kernel-module must be named …-module",
        ),
        (change(MODULE, "module.parts", ["../one"]), r"module\.parts"),
        (change(MODULE, "style", "kernel-package"), "hapkg makes kernel-packages by itself"),
        (change(MODULE, "packages", [PACKAGE, {**PACKAGE, "package": "ha-two"}]), "gives one package"),
        (change(MODULE, "module.tree", "/drivers"), r"module\.tree"),
        (change(MODULE, "origins", AUTOTOOLS["origins"]), "a kernel-module recipe has no upstream"),
        ({**MODULE, "kernel": "6.1.0-38-amd64"}, "unknown key kernel"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    with pytest.raises(HapkgError, match=message) as caught:
        make_recipe(tmp_path, table)
    assert isinstance(caught.value, RecipeError)


def test_the_source_package_carries_what_module_assistant_wants() -> None:
    files = render(KERNEL_MODULE)
    assert "exports.sh" not in files  # the prefix's flags are not the kernel's
    assert "Package: ha-one-modules-_KVERS_\n" in files["modules/control.modules.in"]
    rules = files["modules/rules"]
    assert rules.startswith("#!/usr/bin/make -f\n")
    assert "PACKAGE := ha-one-modules\n" in rules
    assert (
        'kbuild = $(MAKE) $(MAKE_OPT) -C $(KSRC) M=$(CURDIR)/one KCFLAGS=-ffile-prefix-map=$(CURDIR)/= "CONFIG_ONE=m"\n'
        in rules
    )
    assert "'*/drivers/block/one'" in files["rules"]
    assert "3.0 (native)" in files["source/format"]


def write_project(tree: Path, suite: str, own: Distribution) -> None:
    """A tree with the debian/ of a kernel module for a suite, which looks for the kernel in sources/."""
    rendered = render_debian(
        make_recipe_from(MODULE),
        SETTINGS,
        (TEMPLATES,),
        suite=Suite(suite),
        version="1.2+ha1.1",
        key="k",
        versions={},
        distribution=own,
    )
    rendered.write(tree / "debian")
    rules = tree / "debian/rules"
    rules.write_text(rules.read_text().replace("/usr/src/", f"{tree}/sources/"))


@pytest.mark.parametrize(
    ("suite", "source", "kernel", "packed"),
    [
        ("bookworm", "linux-source", "6.1", "linux-source-6.1.tar.xz"),
        ("noble", "linux-source", "6.8.0", "linux-source-6.8.0/linux-source-6.8.0.tar.bz2"),  # beside a link to it
        ("noble", "kernel", "7.0", "kernel-7.0.tar.xz"),
    ],
)
def test_the_kernels_source_is_found_as_the_distribution_packs_it(
    tmp_path: Path, suite: str, source: str, kernel: str, packed: str
) -> None:
    own = read_distributions()[Suite(suite)].model_copy(update={"kernel_source": source})
    write_project(tmp_path, suite, own)
    build_depends = (tmp_path / "debian/control").read_text().partition("Build-Depends:\n")[2].partition("Standards")[0]
    assert build_depends == f" debhelper-compat (= 13),\n {source},\n"
    folder, archive = tmp_path / f"{source}-{kernel}", tmp_path / "sources" / packed
    for name, text in (("drivers/block/one/one.c", 'V "1.2"\n'), ("include/linux/one.h", ""), ("kernel/fork.c", "")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    archive.parent.mkdir(parents=True)
    subprocess.run(["tar", "-C", tmp_path, "--auto-compress", "-cf", archive, folder.name], check=True)
    if archive.parent.name == folder.name:
        (tmp_path / "sources" / archive.name).symlink_to(packed)
    argv = ["make", "--file=debian/rules", "--eval=show:;@echo $(kernel) $(series)", "show", "override_dh_auto_build"]
    told = subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.splitlines()
    assert told[0] == f"{source}-{kernel} {kernel}"
    made = tmp_path / "debian/scratch/modules/ha-one-module"
    assert (made / "one/one.c").read_text() == 'V "1.2"\n'
    assert (made / "debian/series").read_text() == f"{kernel}\n"
    assert not list(made.rglob("fork.c"))


@pytest.mark.parametrize(
    ("series", "kernel", "fits"),
    [
        ("6.1", "6.1.0-38-amd64", True),
        ("6.1", "6.12.43+deb12-amd64", False),
        ("6.8.0", "6.8.0-31-generic", True),
        ("6.8.0", "6.11.0-9-generic", False),
    ],
)
def test_module_assistant_refuses_kernels_of_another_series(
    tmp_path: Path, series: str, kernel: str, fits: bool
) -> None:
    write_project(tmp_path, "noble", read_distributions()[Suite("noble")])
    (tmp_path / "debian/series").write_text(f"{series}\n")
    for name in ("generic.make", "common-rules.make"):
        (tmp_path / "include").mkdir(exist_ok=True)
        (tmp_path / "include" / name).touch()
    argv = ["make", "--file=debian/modules/rules", f"MA_DIR={tmp_path}", f"KVERS={kernel}", "binary-modules"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0, "there is no kernel to build for"
    assert ("it cannot be built for" in done.stderr) != fits


def test_a_kernels_package_is_made_by_module_assistant() -> None:
    files = render(KERNEL_PACKAGE)
    assert " linux-headers-6.1.0-38-amd64,\n" in files["control"]
    assert "Package: ha-one-modules-6.1.0-38-amd64\n" in files["control"]
    assert "--kvers-list 6.1.0-38-amd64 \\\n\t    build ha-one-module-source\n" in files["rules"]


def test_upstreams_module_is_compiled_in_its_own_tree() -> None:
    recipe = make_recipe_from(EXTERNAL)
    rendered = render_debian(recipe, SETTINGS, (TEMPLATES,), suite=BOOKWORM, version="1.2-1", key="k", versions={})
    files = {path: content.decode() for path, content in rendered.files.items()}
    assert "ha-two-module-source.install" not in files  # debian/rules puts the tarball where it belongs
    assert "3.0 (quilt)" in files["source/format"]
    assert "linux-source" not in files["rules"]
    rules = files["modules/rules"]
    assert "kbuild = $(MAKE) $(MAKE_OPT) -C $(KSRC) M=$(CURDIR)/drivers/two " in rules
    assert "series" not in rules
    assert "install -m 644 $(built)/two_transport.ko $(target)/lib/modules/$(KVERS)/updates\n" in rules


def test_the_kernel_is_part_of_no_recipe_file() -> None:
    made = make_package(make_recipe_from(MODULE), "6.1.0-38-amd64")
    assert "kernel" not in json.loads(made.model_dump_json(by_alias=True))
