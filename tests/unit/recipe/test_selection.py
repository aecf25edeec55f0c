"""Optional recipes, and who selects them."""

from __future__ import annotations

from typing import Any

import pytest

from hapkg.control import SourceName, Suite
from hapkg.errors import ConfigError
from hapkg.recipe.selection import check_selection, find_kernels, select
from hapkg.recipe.settings import Settings
from hapkg.tables import parse_table
from tests.support.samples import AUTOTOOLS, MAINTAINER, META, PACKAGE, make_nodes, make_recipe_from

BOOKWORM, TRIXIE = Suite("bookworm"), Suite("trixie")
RECIPES = make_nodes(
    make_recipe_from(AUTOTOOLS),
    make_recipe_from({**META, "source": "ha-rare", "optional": "few want it"}),
    make_recipe_from(
        {
            **META,
            "source": "ha-two-module",
            "style": "kernel-module",
            "optional": "it takes another's place",
            "module": {"name": "two", "tree": "drivers/two", "synopsis": "two", "description": "Two."},
            "packages": [{**PACKAGE, "package": "ha-two-module-source", "architecture": "all"}],
        }
    ),
)
PLAIN, RARE, MODULE = RECIPES


def make_settings(**keys: Any) -> Settings:
    return parse_table(Settings, {"maintainer": MAINTAINER, **keys}, where="pyproject.toml", error=ConfigError)


@pytest.mark.parametrize(
    ("keys", "selected"),
    [
        ({}, [PLAIN]),
        ({"optional": ["rare"]}, [PLAIN, RARE]),
        ({"optional": ["ha-rare", "two-module"]}, [PLAIN, RARE, MODULE]),
        ({"kernels": {"bookworm": ["default"]}}, [PLAIN]),
        ({"kernels": {"bookworm": ["two-module=default"]}}, [PLAIN, MODULE]),
        ({"kernels": {"trixie": ["two-module=default"]}}, [PLAIN]),
    ],
)
def test_optional_recipes_are_built_where_the_project_names_them(
    keys: dict[str, Any], selected: list[SourceName]
) -> None:
    settings = make_settings(**keys)
    check_selection(RECIPES.values(), settings)
    assert list(select(RECIPES, settings, BOOKWORM)) == selected


def test_a_kernel_alone_is_for_the_modules_that_are_built_anyway() -> None:
    kernels = {"bookworm": ["default", "two-module=6.1.0-9-amd64"], "trixie": ["default"]}
    settings, named = make_settings(kernels=kernels), make_settings(kernels=kernels, optional=["two-module"])
    module = RECIPES[MODULE]
    assert find_kernels(module, settings, BOOKWORM) == ("6.1.0-9-amd64",)
    assert find_kernels(module, settings, TRIXIE) == ()
    assert find_kernels(module, named, BOOKWORM) == ("default", "6.1.0-9-amd64")
    assert find_kernels(module, named, TRIXIE) == ("default",)
    assert find_kernels(RECIPES[PLAIN], named, BOOKWORM) == ()


@pytest.mark.parametrize(
    ("keys", "message", "hint"),
    [
        ({"optional": ["rara"]}, r"optional: there is no optional recipe rara", "did you mean rare"),
        ({"optional": ["one"]}, r"optional: there is no optional recipe one", "rare"),
        (
            {"kernels": {"trixie": ["rare=default"]}},
            r"kernels.trixie: there is no recipe of a kernel module rare",
            "two",
        ),
    ],
)
def test_a_name_that_is_none_is_refused(keys: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=rf"pyproject\.toml, \[tool\.hapkg\] {message}") as caught:
        check_selection(RECIPES.values(), make_settings(**keys))
    assert hint in caught.value.hint
