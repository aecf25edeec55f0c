"""Tables of our TOML files as pydantic models: unknown keys are errors, and every fault names file, key and remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from hapkg.control import is_line
from hapkg.errors import HapkgError, did_you_mean


def check_line(value: str) -> str:
    """The value, if it is text for one line; otherwise a ValueError."""
    if not is_line(value):
        raise ValueError(f"{value!r} must be one line of printable text, without blanks at its ends")
    return value


def find_login(address: str) -> tuple[str, str] | None:
    """The fault of an address in which a user, a password or a token stands, and its remedy; None where none does.

    It would stand in base chroots, logs and lists of processes.
    """
    found = re.search(r"//[^/\s]*@(?P<host>[^/@\s]*)", address)
    if found is None:
        return None
    remedy = f"put it into /etc/apt/auth.conf.d/: machine {found['host']} login NAME password PASSWORD"
    return f"the address of the archive on {found['host']} holds a user, a password or a token", remedy


def check_address(value: str) -> str:
    """The value, if nobody's user, password or token stands in it; otherwise a ValueError that does not show it."""
    if found := find_login(value):
        raise ValueError("; ".join(found))
    return value


Line = Annotated[str, AfterValidator(check_line)]
"""Text that stands on one line of a file that hapkg writes, and cannot start another."""


def to_key(name: str) -> str:
    """A Python field name as a key of our TOML files: Debian writes hyphens."""
    return name.replace("_", "-")


class Table(BaseModel):
    """A table of one of our TOML files: unknown keys are errors, values never change, lists become tuples."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_key, strict=True, populate_by_name=False, defer_build=True
    )
    reference: ClassVar[str] = "docs/recipes.md"
    """Where the keys are explained."""


T = TypeVar("T", bound=Table)

_WORDS = {
    "bool_type": "must be true or false",
    "datetime_type": "must be a date with time and zone, such as 2024-01-31T12:00:00Z",
    "int_type": "must be a whole number",
    "model_type": "must be a table",
    "string_type": "must be a string",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
}
"""TOML's words for those of Python's that pydantic uses."""


def parse_table(
    model: type[T],
    table: dict[str, Any],
    *,
    where: str,
    error: type[HapkgError],
    context: dict[str, Any] | None = None,
) -> T:
    """A table checked against its model. Every fault is named with file, key and remedy in one error."""
    try:
        return model.model_validate(table, context=context)
    except ValidationError as cause:
        faults = [_describe(model, fault) for fault in _pick_faults(cause.errors())]
        (first, hint), rest = faults[0], faults[1:]
        details = [f"also: {text}" + (f" ({more})" if more else "") for text, more in rest]
        raise error(f"{where}: {first}", details=details, hint=hint) from None


def _describe(model: type[Table], fault: Any) -> tuple[str, str]:
    """One fault that pydantic found, as a sentence and a hint."""
    key, table = _locate(model, fault["loc"])
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        known = [field.alias or to_key(name) for name, field in table.model_fields.items() if not field.exclude]
        return f"unknown key {key}", did_you_mean(
            str(fault["loc"][-1]), known
        ) or f"known keys: {', '.join(sorted(known))}"
    tag = context.get("discriminator", "").strip("'")
    if kind in ("missing", "union_tag_not_found"):
        return f"missing key {key}.{tag}".rstrip("."), f"{table.reference} explains every key"
    if kind == "union_tag_invalid":
        return f"{key}.{tag}: {context['tag']!r} is not known", f"known: {context['expected_tags']}"
    start = f"{key}: " if key else ""
    if kind == "value_error":
        return f"{start}{context['error']}", ""
    text = _WORDS.get(kind, fault["msg"][0].lower() + fault["msg"][1:])
    return start + text, "" if kind == "too_short" else f"it says {fault['input']!r}"


def _pick_faults(faults: Sequence[Any]) -> list[Any]:
    """Without the lists that pydantic calls empty only because what stands in them is wrong."""
    places = [fault["loc"] for fault in faults]
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short"
        or not any(len(place) > len(fault["loc"]) and place[: len(fault["loc"])] == fault["loc"] for place in places)
    ]


def _locate(model: type[Table], location: Sequence[int | str]) -> tuple[str, type[Table]]:
    """Where a fault lies, as a person writes it, and the innermost table that holds the place."""
    key, holder, tables = "", model, [model]
    for step in location:
        if isinstance(step, int):
            key += f"[{step + 1}]"
            continue
        chosen = [table for table in tables if _is_tagged(table, step)]
        if len(tables) > 1 and chosen:
            tables = chosen  # pydantic names the member of a union where the file has no key
            continue
        key += f".{step}" if key else step
        holder = tables[0] if tables else holder
        field = next((field for name, field in holder.model_fields.items() if to_key(name) == step), None)
        tables = list(_find_tables(field.annotation)) if field else []
    return key, holder


def _is_tagged(table: type[Table], tag: str) -> bool:
    """True if one of a table's keys can only be this word."""
    return any(get_args(field.annotation) == (tag,) for field in table.model_fields.values())


def _find_tables(annotation: Any) -> Iterator[type[Table]]:
    """The tables that a key's value can be or hold."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        yield annotation
    else:
        for argument in get_args(annotation):
            yield from _find_tables(argument)
