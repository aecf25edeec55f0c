"""Templates of debian/ and of a site become text: the filters they have, and their faults as errors of a recipe."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import jinja2

from hapkg.control import fold_description
from hapkg.errors import RecipeError
from hapkg.jinja import make_environment
from hapkg.recipe.settings import Templates

_PLAIN_DOLLAR = re.compile(r"\$(?![A-Za-z_]|\{[A-Za-z_][A-Za-z0-9_]*\})")


@functools.cache
def make_debian_environment(templates: Templates, compiled: Path | None = None) -> jinja2.Environment:
    """The environment of templates of debian/, with their filters; compiled is a folder for compiled ones."""
    environment = make_environment(templates, compiled)
    environment.filters["fold_description"] = fold_description
    environment.filters["rfc5322"] = format_datetime
    environment.filters["make_word"] = make_word
    environment.filters["make_value"] = make_value
    return environment


def make_word(text: str) -> str:
    """One shell word inside a makefile's recipe line, taken as it stands.

    Only $NAME and ${NAME} stay variables of the environment of exports.sh; any other $ is a dollar sign.
    """
    quoted = _PLAIN_DOLLAR.sub(r"\\$", re.sub(r'[\\"`]', r"\\\g<0>", text))
    return f'"{quoted.replace("$", "$$")}"'


def make_value(text: str) -> str:
    """One shell word inside the value of a makefile's variable: make_word(), and # does not begin a comment."""
    return re.sub(r"(\\*)#", r"\1\1\\#", make_word(text))


@functools.cache
def _compile(environment: jinja2.Environment, source: Path, text: str) -> jinja2.Template:
    """Compiled once: most templates are common to all recipes, and compiling costs more than rendering."""
    if (kept := environment.bytecode_cache) is None:
        return environment.from_string(text)
    bucket = kept.get_bucket(environment, str(source), None, text)
    if bucket.code is None:
        bucket.code = environment.compile(text)
        kept.set_bucket(bucket)
    return environment.template_class.from_code(environment, bucket.code, environment.make_globals(None))


def render(environment: jinja2.Environment, source: Path, values: Mapping[str, Any]) -> bytes:
    """The text of a template with these values. Raises RecipeError when it is wrong."""
    try:
        return _compile(environment, source, source.read_text("utf-8")).render(values).encode()
    except jinja2.TemplateNotFound as cause:
        raise RecipeError(
            f"{values['recipe'].source}: {source.name} needs debian-templates/{cause.name}, which does not exist",
            hint="a licence's text is a file in debian/licenses/ of its recipe or in debian-templates/common/licenses/",
        ) from cause
    except jinja2.TemplateSyntaxError as cause:
        raise RecipeError(f"{source}, line {cause.lineno}: {cause.message}") from cause
    except jinja2.UndefinedError as cause:
        raise RecipeError(f"{source}: {cause.message}") from cause
    except UnicodeDecodeError as cause:
        raise RecipeError(f"{source} is not UTF-8 text", hint="a file without .j2 is copied as it is") from cause
    except Exception as cause:  # a template is a program: whatever it does wrong is its own fault
        raise RecipeError(f"{source}: {type(cause).__name__}: {cause}") from cause
