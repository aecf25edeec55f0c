"""JSON Schemas of our TOML files, for editors: what completes keys, shows what they mean, and marks mistakes."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import textwrap
from collections.abc import Collection, Iterator
from typing import Any, get_args

from hapkg.tables import Table, to_key

_DIALECT = "http://json-schema.org/draft-07/schema#"
"""The one that taplo and the editors know."""


def make_schema(model: type[Table], title: str, *, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """The schema of a file with this table, without keys that no file has.

    Docstrings below fields, which pydantic leaves out, become descriptions.
    """
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    for table in _find_tables(model, set()):
        part = schema if table is model else definitions.get(table.__name__, {})
        for name, text in _read_docstrings(table):
            if (place := part.get("properties", {}).get(to_key(name))) is not None:
                place.setdefault("description", text)
    for name in leave_out:
        schema["properties"].pop(name, None)
    schema["required"] = [name for name in schema.get("required", ()) if name not in leave_out]
    return {"$schema": _DIALECT, **schema, "title": title}


def write_schema(schema: dict[str, Any]) -> bytes:
    """The text of a schema."""
    return json.dumps(schema, indent=1, ensure_ascii=False).encode() + b"\n"


def _find_tables(model: type[Table], seen: set[type[Table]]) -> Iterator[type[Table]]:
    """A table and all that its keys can hold."""
    if model not in seen:
        seen.add(model)
        yield model
        for field in model.model_fields.values():
            for inner in _list_tables(field.annotation):
                yield from _find_tables(inner, seen)


def _list_tables(annotation: Any) -> Iterator[type[Table]]:
    if isinstance(annotation, type) and issubclass(annotation, Table):
        yield annotation
    for argument in get_args(annotation):
        yield from _list_tables(argument)


def _read_docstrings(table: type[Table]) -> Iterator[tuple[str, str]]:
    """Names of a table's fields, and the text below each."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(table))).body
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    for statement, after in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            told = after.value if isinstance(after, ast.Expr) else None
            if isinstance(told, ast.Constant) and isinstance(told.value, str):
                yield statement.target.id, inspect.cleandoc(told.value)
