"""Build styles: folders of debian-templates/."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.errors import RecipeError
from hapkg.recipe.model import read_recipe
from hapkg.recipe.style import read_styles
from tests.support.samples import AUTOTOOLS, CHECKOUT, META, STYLES, write_recipe


def make_styles(templates: Path, **files: str) -> Path:
    """A folder of styles; each has what its style.toml says, or none where that is nothing."""
    for name, text in files.items():
        folder = templates / name
        folder.mkdir(parents=True)
        (folder / "rules.j2").write_text("#!/usr/bin/make -f\n")
        if text:
            (folder / "style.toml").write_text(text)
    return templates


def test_a_folder_with_rules_is_a_style(tmp_path: Path) -> None:
    templates = make_styles(tmp_path, scons='build-depends = ["scons"]', waf="", common="")
    (templates / "parts").mkdir()
    styles = read_styles((templates,))
    assert list(styles) == ["scons", "waf"]
    assert (styles["scons"].build_depends, styles["waf"].build_depends) == (("scons",), ())
    assert not styles["waf"].native


def test_a_recipe_may_name_a_style_of_its_project(tmp_path: Path) -> None:
    styles = read_styles((make_styles(tmp_path / "templates", scons=""),))
    folder = write_recipe(tmp_path, {**AUTOTOOLS, "style": "scons"})
    assert str(read_recipe(folder, package_prefix="ha-", styles=styles).style) == "scons"


def test_an_unknown_style_is_told_those_there_are(tmp_path: Path) -> None:
    styles = read_styles((make_styles(tmp_path / "templates", scons="", waf="", own='generated = "hapkg makes it"'),))
    folder = write_recipe(tmp_path, AUTOTOOLS)
    with pytest.raises(RecipeError) as caught:
        read_recipe(folder, package_prefix="ha-", styles=styles)
    told = (
        "there is no style 'autotools'; there are: scons, waf; a folder of debian-templates/ with a rules.j2 adds one"
    )
    assert caught.value.brief == f"{folder}/recipe.toml: style: {told}"


def test_without_templates_there_is_no_style(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path, AUTOTOOLS)
    with pytest.raises(RecipeError, match="there are: none; a folder of debian-templates/"):
        read_recipe(folder, package_prefix="ha-", styles=read_styles((tmp_path / "missing",)))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("kernel-package", "hapkg makes kernel-packages by itself: name the kernel in pyproject.toml, kernels"),
        ("site", "hapkg makes the package of a site by itself: name the site file with --site"),
    ],
)
def test_a_generated_style_is_no_recipe_s(tmp_path: Path, name: str, told: str) -> None:
    folder = write_recipe(tmp_path, {**META, "style": name})
    with pytest.raises(RecipeError) as caught:
        read_recipe(folder, package_prefix="ha-", styles=STYLES)
    assert caught.value.brief == f"{folder}/recipe.toml: style: {told}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nativ = true", "style.toml: unknown key nativ"),
        ('name = "other"', "style.toml: unknown key name"),
        ("native = 1", "style.toml: native: must be true or false"),
        ("native =", "style.toml is not valid TOML"),
    ],
)
def test_a_wrong_style_file_is_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told) as caught:
        read_styles((make_styles(tmp_path, scons=text),))
    assert str(tmp_path / "scons") in caught.value.brief


def test_native_styles_are_marked_in_their_folders() -> None:
    native = sorted(name for name, style in STYLES.items() if style.native)
    assert native == ["kernel-module", "kernel-package", "meta", "site"]
    assert sorted(name for name, style in STYLES.items() if style.generated) == ["kernel-package", "site"]


def test_every_style_has_a_page_and_a_golden_case() -> None:
    page = (CHECKOUT / "docs/styles.md").read_text()
    assert [name for name in STYLES if f"`{name}`" not in page] == []
