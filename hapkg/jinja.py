"""Pages for people, from hapkg's own templates. `jinja2` is loaded late: most commands write none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


def render_page(values: Mapping[str, Any], name: str) -> str:
    """A page from the template of that name: markup, so that every value is escaped."""
    return str(load_template(name).render(values))


@cache
def load_template(name: str) -> Any:
    """The template of that name."""
    import jinja2  # noqa: PLC0415

    compiled = DATA / "__pycache__"  # where Python keeps its own; without it, that costs time alone
    with contextlib.suppress(OSError):
        compiled.mkdir(exist_ok=True)
    memory = jinja2.FileSystemBytecodeCache(str(compiled), f"jinja2-{jinja2.__version__}-%s")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(DATA),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=memory if os.access(compiled, os.W_OK) else None,
    )
    try:
        return environment.get_template(name)
    except OSError:  # no room to keep it
        environment.bytecode_cache = None
        return environment.get_template(name)
