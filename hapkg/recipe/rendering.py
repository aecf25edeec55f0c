"""Templates become text: jinja2, the filters that templates have, and where compiled templates are kept."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import threading
from collections.abc import Mapping
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2.bccache import Bucket

from hapkg.control import fold_description
from hapkg.errors import RecipeError

_OPTIONS: Mapping[str, Any] = {
    "trim_blocks": True,
    "lstrip_blocks": True,
    "keep_trailing_newline": True,
    "autoescape": False,  # the output is no markup
    "optimized": False,  # what is compiled must not hold what a filter once answered
}
_PLAIN_DOLLAR = re.compile(r"\$(?![A-Za-z_]|\{[A-Za-z_][A-Za-z0-9_]*\})")


class _Compiled(jinja2.BytecodeCache):
    """Compiled templates in a folder: a file for each template, used while its text and its compiler are the same."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_source_checksum(self, source: str) -> str:
        whole = json.dumps([source, _OPTIONS, jinja2.__version__])
        return hashlib.sha256(whole.encode()).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        with contextlib.suppress(OSError), (self._folder / bucket.key).open("rb") as stream:
            bucket.load_bytecode(stream)

    def dump_bytecode(self, bucket: Bucket) -> None:
        new = self._folder / f".new-{bucket.key}-{os.getpid()}-{threading.get_ident()}"
        with contextlib.suppress(OSError):  # where nothing can be written, that costs time alone
            self._folder.mkdir(exist_ok=True)
            new.write_bytes(bucket.bytecode_to_string())
            new.replace(self._folder / bucket.key)


@functools.cache
def make_environment(templates: Path, compiled: Path | None = None) -> jinja2.Environment:
    """What renders the templates of a folder; compiled is a folder for compiled ones."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        bytecode_cache=_Compiled(compiled) if compiled else None,
        **_OPTIONS,
    )
    environment.filters["fold_description"] = fold_description
    environment.filters["rfc5322"] = format_datetime
    environment.filters["make_word"] = make_word
    return environment


def make_word(text: str) -> str:
    """One shell word inside a makefile's recipe line, taken as it stands.

    Only $NAME and ${NAME} stay variables of the environment of exports.sh; any other $ is a dollar sign.
    """
    quoted = _PLAIN_DOLLAR.sub(r"\\$", re.sub(r'[\\"`]', r"\\\g<0>", text))
    return f'"{quoted.replace("$", "$$")}"'


@functools.cache
def _compile(environment: jinja2.Environment, source: Path, text: str) -> jinja2.Template:
    """Compiled once: most templates are common to all recipes, and compiling costs more than rendering."""
    if (memory := environment.bytecode_cache) is None:
        return environment.from_string(text)
    bucket = memory.get_bucket(environment, str(source), None, text)
    if bucket.code is None:
        bucket.code = environment.compile(text)
        memory.set_bucket(bucket)
    return environment.template_class.from_code(environment, bucket.code, environment.make_globals(None))


def render(environment: jinja2.Environment, source: Path, values: Mapping[str, Any]) -> bytes:
    """The text of a template with these values. Raises RecipeError when it is wrong."""
    try:
        return _compile(environment, source, source.read_text("utf-8")).render(values).encode()
    except jinja2.TemplateNotFound as cause:
        raise RecipeError(
            f"{values['recipe'].source}: {source.name} needs debian-templates/{cause.name}, which does not exist",
            hint="a licence's text is a file in debian-templates/common/licenses/",
        ) from cause
    except jinja2.TemplateSyntaxError as cause:
        raise RecipeError(f"{source}, line {cause.lineno}: {cause.message}") from cause
    except jinja2.UndefinedError as cause:
        raise RecipeError(f"{source}: {cause.message}") from cause
    except UnicodeDecodeError as cause:
        raise RecipeError(f"{source} is not UTF-8 text", hint="a file without .j2 is copied as it is") from cause
    except Exception as cause:  # a template is a program: whatever it does wrong is its own fault
        raise RecipeError(f"{source}: {type(cause).__name__}: {cause}") from cause
