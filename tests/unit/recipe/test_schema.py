"""The schemas that editors read: as the tables are, and right about real files.

pytest tests/unit/recipe/test_schema.py --golden writes them anew.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hapkg.recipe.model import Recipe
from hapkg.recipe.style import read_styles
from hapkg.site.model import Site
from tests.support.samples import CHECKOUT, TEMPLATES
from tests.support.schema import make_schema, write_schema

DOCS = CHECKOUT / "docs"
FILES = [
    CHECKOUT / "docs/site.example.toml",
    CHECKOUT / "hapkg/data/prove.site.toml",
    *sorted((CHECKOUT / "tests/unit/site/kinds").glob("*.toml")),
]


def make(name: str) -> dict[str, Any]:
    if name == "site":
        return make_schema(Site, "The site file of hapkg")
    generated = ("folder", "every-patch", "values", "files")
    schema = make_schema(Recipe, "A recipe of hapkg", leave_out=generated)
    styles = [style.name for style in read_styles((TEMPLATES,)).values() if not style.generated]
    schema["properties"]["style"] = {"enum": styles, "description": "How it builds: docs/styles.md."}
    return schema


@pytest.mark.parametrize("name", ["site", "recipe"])
def test_a_schema_is_what_the_tables_are(name: str, pytestconfig: pytest.Config) -> None:
    file = DOCS / f"{name}.schema.json"
    wanted = write_schema(make(name))
    if pytestconfig.getoption("--golden"):
        file.write_bytes(wanted)
    assert file.read_bytes() == wanted, "if this is meant: pytest tests/unit/recipe/test_schema.py --golden"


def resolve(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    return part


def list_unknown(schema: dict[str, Any], part: dict[str, Any], value: object, where: str) -> list[str]:
    """Keys of a file that the schema does not have."""
    part = resolve(schema, part)
    choices = part.get("anyOf", part.get("oneOf"))
    if choices:
        return min((list_unknown(schema, choice, value, where) for choice in choices), key=len)
    if isinstance(value, list):
        items = part.get("items")
        return [found for item in value for found in list_unknown(schema, items, item, where)] if items else []
    if not isinstance(value, dict):
        return []
    found = []
    for key, inner in value.items():
        patterns = part.get("patternProperties", {})
        known = part.get("properties", {}).get(key)
        known = known or next((inside for pattern, inside in patterns.items() if re.search(pattern, key)), None)
        if known is None and (patterns or part.get("additionalProperties", False) is False):
            found.append(f"{where}.{key}")
        elif known is not None:
            found += list_unknown(schema, known, inner, f"{where}.{key}")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_site_file_has_no_key_that_the_schema_lacks(file: Path) -> None:
    schema = json.loads((DOCS / "site.schema.json").read_bytes())
    assert list_unknown(schema, schema, tomllib.loads(file.read_text()), file.stem) == []


@pytest.mark.parametrize(
    "file", sorted((CHECKOUT / "recipes").glob("*/recipe.toml")), ids=lambda file: file.parent.name
)
def test_a_recipe_has_no_key_that_the_schema_lacks(file: Path) -> None:
    schema = json.loads((DOCS / "recipe.schema.json").read_bytes())
    assert list_unknown(schema, schema, tomllib.loads(file.read_text()), file.parent.name) == []


def test_a_wrong_key_is_seen_and_a_right_one_is_explained() -> None:
    schema = json.loads((DOCS / "site.schema.json").read_bytes())
    assert list_unknown(schema, schema, {"cluster": {"nmae": "x"}, "nodes": [{"idd": 1}]}, "site") == [
        "site.cluster.nmae",
        "site.nodes.idd",
    ]
    device = schema["$defs"]["FencingDevice"]["properties"]
    assert "what the device calls it" in device["plugs"]["description"]
