"""jinja2, as hapkg uses it: one maker of environments, one way to keep compiled templates.

Its import takes longer than most commands: who imports this module does so where something is rendered.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.bccache import Bucket

from hapkg.locations import DATA

_OPTIONS: Mapping[str, Any] = {
    "trim_blocks": True,
    "lstrip_blocks": True,
    "keep_trailing_newline": True,
    "optimized": False,  # what is compiled must not hold what a filter once answered
}


class _CompiledTemplates(jinja2.FileSystemBytecodeCache):
    """Compiled templates in a folder. Where one cannot be read, or nothing be written, that costs time alone."""

    def load_bytecode(self, bucket: Bucket) -> None:
        try:
            super().load_bytecode(bucket)
        except Exception:  # a damaged one fails in any way; it is compiled and written anew
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        with contextlib.suppress(OSError):
            Path(self.directory).mkdir(exist_ok=True)
            super().dump_bytecode(bucket)


@cache
def make_environment(
    templates: tuple[Path, ...], compiled: Path | None = None, *, markup: bool = False
) -> jinja2.Environment:
    """The environment that renders templates of these folders, the first first; compiled is a folder for compiled ones.

    With markup every value is escaped. An undefined name is an error.
    """
    compiler = hashlib.sha256(json.dumps([_OPTIONS, markup, jinja2.__version__]).encode()).hexdigest()[:8]
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        autoescape=markup,
        bytecode_cache=_CompiledTemplates(str(compiled), f"{compiler}-%s") if compiled else None,
        **_OPTIONS,
    )


def render_page(values: Mapping[str, Any], name: str) -> str:
    """A page for people from hapkg's own template of that name."""
    # Compiled where Python keeps its own.
    environment = make_environment((DATA,), DATA / "__pycache__", markup=True)
    return environment.get_template(name).render(values).removesuffix("\n")
