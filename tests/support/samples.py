"""Recipes, settings and files that tests start from."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hapkg.control import SourceName
from hapkg.errors import RecipeError
from hapkg.recipe.model import RECIPE_FILE, Recipe, read_recipe
from hapkg.recipe.settings import Settings
from hapkg.recipe.style import read_styles
from hapkg.tables import parse_table

CHECKOUT = Path(__file__).parents[2]
TEMPLATES = CHECKOUT / "debian-templates"
STYLES = read_styles((TEMPLATES,))
MAINTAINER = "Test Person <test@example.org>"
SETTINGS = Settings(maintainer=MAINTAINER)
DATE = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
EPOCH = 1714979289
DIGEST = "5f" * 32

PACKAGE = {"package": "ha-one", "synopsis": "first of the samples", "description": "One.\n\nAnd only."}
AUTOTOOLS: dict[str, Any] = {
    "source": "ha-one",
    "version": "1.2",
    "style": "autotools",
    "date": DATE,
    "homepage": "https://example.org/one",
    "upstream": {"git": "https://git.example.org/one.git", "tag": "v1.2"},
    "origins": [{"type": "tarball", "url": "https://example.org/one-1.2.tar.gz", "sha256": DIGEST}],
    "copyright": [{"copyright": ["2020 Somebody"], "license": "GPL-2+"}],
    "packages": [PACKAGE],
}
META: dict[str, Any] = {
    "source": "ha-one",
    "version": "1.2",
    "style": "meta",
    "date": DATE,
    "homepage": "https://example.org/one",
    "copyright": [{"copyright": ["2020 Somebody"], "license": "GPL-3+"}],
    "packages": [{**PACKAGE, "architecture": "all"}],
}
PATCH = """\
Description: say hello
Author: Test Person <test@example.org>

--- a/greeting
+++ b/greeting
@@ -1 +1 @@
-good bye
+hello
"""


def format_toml(value: object) -> str:
    """A value as TOML writes it in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {format_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(format_toml, value)) + "]"
    if isinstance(value, datetime):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_recipe(parent: Path, table: Mapping[str, Any], patches: Mapping[str, str | bytes] | None = None) -> Path:
    """The folder of a recipe, named as its source wants it; patches are the files of patches/."""
    folder = parent / str(table.get("source", "ha-one")).removeprefix("ha-")
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{key} = {format_toml(value)}\n" for key, value in table.items())
    (folder / RECIPE_FILE).write_text(text, "utf-8")
    for name, content in (patches or {}).items():
        file = folder / "patches" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def make_recipe(parent: Path, table: Mapping[str, Any], patches: Mapping[str, str | bytes] | None = None) -> Recipe:
    """A recipe read from the disk."""
    return read_recipe(write_recipe(parent, table, patches), package_prefix="ha-", styles=STYLES)


def change(table: Mapping[str, Any], path: str, value: object = None) -> dict[str, Any]:
    """A copy of a table with another value at a path such as packages.0.depends; None removes what is there."""
    changed: dict[str, Any] = copy.deepcopy(dict(table))
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = changed
    for step in steps:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return changed


def make_recipe_from(table: Mapping[str, Any]) -> Recipe:
    """A recipe that is nowhere on the disk."""
    name = str(table["source"])
    whole = {**table, "folder": Path(name.removeprefix("ha-"))}
    return parse_table(
        Recipe, whole, where=name, error=RecipeError, context={"package_prefix": "ha-", "styles": STYLES}
    )


def make_node(name: str, build: Sequence[str] = (), run: Sequence[str] = ()) -> Recipe:
    """A recipe of one binary package that is nothing but its dependencies."""
    package = {**PACKAGE, "package": name, "depends": list(run)}
    return make_recipe_from({**AUTOTOOLS, "source": name, "build-depends": list(build), "packages": [package]})


def make_nodes(*recipes: Recipe) -> dict[SourceName, Recipe]:
    """Recipes by source name."""
    return {recipe.name: recipe for recipe in recipes}
