"""Build styles: the folders of debian-templates/ that have a rules.j2, and what their style.toml says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from hapkg.errors import RecipeError
from hapkg.locations import read_toml
from hapkg.recipe.settings import Templates, find_template
from hapkg.tables import Line, Table, parse_table

STYLE_FILE = "style.toml"
COMMON = "common"
"""The folder that every style falls back to; its rules.j2 holds what styles share and is no style."""

META = "meta"
"""A package of nothing but debian/, which may name a stack."""
KERNEL_MODULE = "kernel-module"
"""The source of a kernel's module, with the table [module]."""
EXTERNAL_MODULE = "external-module"
"""The source of a module that upstream keeps outside the kernel, with the table [module]."""
KERNEL_PACKAGE = "kernel-package"
"""Generated: a module's package for one kernel, see build/kernel_packages.py."""
SITE = "site"
"""Generated: the package of a site file, see site/package.py."""


class Style(Table):
    """How a source builds."""

    reference: ClassVar[str] = "docs/styles.md"
    name: str
    """The folder's."""
    native: bool = False
    """No tarball of upstream: debian/ is the whole source."""
    generated: Line | None = None
    """Reason why no recipe may name the style: hapkg makes the recipes of it."""
    build_depends: Annotated[tuple[Line, ...], Field(strict=False)] = ()
    """Relations that a recipe drafted by `hapkg new` starts with."""

    def __str__(self) -> str:
        return self.name


def read_styles(templates: Templates) -> dict[str, Style]:
    """All styles by name, in alphabetical order. Raises RecipeError for a wrong style.toml."""
    names = {file.parent.name for folder in templates for file in folder.glob("*/rules.j2")}
    return {name: _read_style(templates, name) for name in sorted(names - {COMMON})}


def _read_style(templates: Templates, name: str) -> Style:
    file = find_template(templates, f"{name}/{STYLE_FILE}")
    table = read_toml(file, RecipeError) if file.exists() else {}
    if "name" in table:
        raise RecipeError(f"{file}: unknown key name", hint="a style is called as its folder")
    return parse_table(Style, {**table, "name": name}, where=str(file), error=RecipeError)


def pick_style(styles: Mapping[str, Style], name: str) -> Style:
    """The style that a recipe names. Raises ValueError for one that there is not or that hapkg keeps to itself."""
    style = styles.get(name)
    if style is None:
        known = [style.name for style in styles.values() if not style.generated]
        raise ValueError(
            f"there is no style {name!r}; there are: {', '.join(known) or 'none'}; "
            "a folder of debian-templates/ with a rules.j2 adds one"
        )
    if style.generated:
        raise ValueError(style.generated)
    return style
