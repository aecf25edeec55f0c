"""Kinds of values in a site file: names, addresses, paths, and texts that programs read as they were written."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _make_name(pattern: str, words: str, *, most: int) -> Any:
    """The type of a name, with its rule in words for people and as a pattern for editors."""

    def check(value: str) -> str:
        if len(value) > most:
            raise ValueError(f"{value!r} has {len(value)} characters, {most} are the most")
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r} must be {words}")
        return value

    schema = {"type": "string", "pattern": f"^({pattern})$", "maxLength": most}
    return Annotated[str, AfterValidator(check), WithJsonSchema(schema)]


def _address(value: str) -> str:
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        if "/" in value and re.fullmatch(r"[0-9a-fA-F.:]+/[0-9]+", value):
            raise ValueError(
                f"{value!r} is a network: leave out /{value.partition('/')[2]}, links have bare addresses"
            ) from None
        if _is_name(value):
            return value
        raise ValueError(f"{value!r} is not an IP address, and no host name") from None
    for wrong, reason in (
        (found.is_loopback, "is the machine's own: no other node reaches it"),
        (found.is_unspecified, "is no machine's address"),
        (found.is_multicast, "is a group's address, not a machine's"),
        (found.is_link_local, "is of one link alone: corosync needs an address that has no scope"),
        (str(found) == "255.255.255.255", "is a broadcast, not a machine's"),
    ):
        if wrong:
            raise ValueError(f"{value} {reason}")
    return str(found)


def parse_interface(value: object) -> str:
    """An address with the length of its network's prefix."""
    if not isinstance(value, str) or "/" not in value:
        raise ValueError(f"{value!r} must be an address with the length of its network: 192.0.2.100/24")
    address, _, length = value.partition("/")
    checked = _address(address)
    if _is_name(checked) or not length.isdigit() or not 1 <= int(length) <= (128 if ":" in checked else 32):
        raise ValueError(f"{value!r} must be an address with the length of its network: 192.0.2.100/24")
    return f"{checked}/{int(length)}"


def _is_name(text: str) -> bool:
    """Tell whether an address is a name: letters, digits, - and dots, not all digits."""
    labels = text.split(".")
    plain = all(re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", label) for label in labels)
    return plain and len(text) <= 253 and not labels[-1].isdigit()


def is_address(text: str) -> bool:
    """Tell whether an address of a node is one, not a name of it."""
    return not _is_name(text)


def _absolute(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._+:@=,%~-]+)+", value) or ".." in value.split("/"):
        raise ValueError(f"{value!r} must be an absolute path of letters, digits and . _ + : @ = , % ~ -")
    return value


def _meta_disk(value: str) -> str:
    return value if value == "internal" else _absolute(value)


def _by_node(check: Callable[[str], str]) -> Callable[[object], str | dict[str, str]]:
    """A check of a value that is the same on each node, or a table by node."""

    def check_all(value: object) -> str | dict[str, str]:
        if isinstance(value, str):
            return check(value)
        if isinstance(value, dict) and value and all(isinstance(path, str) for path in value.values()):
            return {str(node): check(path) for node, path in value.items()}
        raise ValueError(f"{value!r} must be a path, or a table of paths: {{ NODE = PATH, ... }}")

    return check_all


def _make_paths_schema(pattern: str) -> WithJsonSchema:
    path = {"type": "string", "pattern": pattern}
    return WithJsonSchema({"anyOf": [path, {"type": "object", "additionalProperties": path, "minProperties": 1}]})


def _word(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value) or re.search(r"""["'\\;{}#]""", value):
        raise ValueError(f"{value!r} must be one word without quotes, backslash, ; {{ }} #")
    return value


def _check_kind(value: object) -> str | int | bool:
    if not isinstance(value, str | int | bool):
        raise ValueError(f"{value!r} must be a string, a whole number, true or false")
    if value == "":
        raise ValueError("is empty: leave the key out")
    return value


def _check_line(value: object) -> str | int | bool:
    checked = _check_kind(value)
    if isinstance(checked, str) and (found := _CONTROL.search(checked)):
        raise ValueError(f"{checked!r} must be one line: it has a control character ({found[0]!r})")
    return checked


def _check_plug(value: object) -> str | int | tuple[str | int, ...]:
    parts = value if isinstance(value, list | tuple) else [value]
    if not parts or any(isinstance(part, bool) or not isinstance(part, str | int) for part in parts):
        raise ValueError(f"{value!r} must be an outlet or a name, or a list of them")
    checked = tuple(_check_crm(part) for part in parts)
    return checked if isinstance(value, list | tuple) else checked[0]


def _check_dlm(value: object) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        return _word(value)
    raise ValueError(f"{value!r} must be a number from 0, or a word")


def _check_crm(value: object) -> str | int | bool:
    checked = _check_line(value)
    if isinstance(checked, str) and re.search(r"\\(\"|\Z)", checked):
        raise ValueError(f"{checked!r}: crm reads no backslash before a quote or at the end")
    if isinstance(checked, str) and not checked.isascii():
        odd = next(letter for letter in checked if not letter.isascii())
        raise ValueError(f"{checked!r}: crm would load {odd} as &#{ord(odd)}; and the agent would get that")
    return checked


def _check_duration(value: object) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]+(ms|s|m|min|h)?", value):
        raise ValueError(f"{value!r} must be a time: 10 (seconds), 10s, 2m")
    return value


Name = _make_name(r"[A-Za-z0-9][A-Za-z0-9_.-]*", "letters, digits, _ . -, beginning with a letter or digit", most=64)
_NODE = r"(?!localhost(\.|$))[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"
NodeName = _make_name(_NODE, "a host name, as uname -n tells it, and not localhost: letters, digits, - and .", most=64)
HostName = _make_name(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?", "a host name or an address", most=253)
ClusterName = _make_name(
    r"[A-Za-z0-9][A-Za-z0-9_-]*", "letters, digits, _ -, beginning with a letter or digit", most=32
)
Identifier = _make_name(r"[A-Za-z][A-Za-z0-9_-]*", "letters, digits, _ -, beginning with a letter", most=32)
"""Also a part of resource names."""
OptionName = _make_name(r"[A-Za-z][A-Za-z0-9_.:-]*", "letters, digits, _ . : -, beginning with a letter", most=64)
"""Of a parameter, property or attribute in pacemaker."""
FileSystemName = _make_name(
    r"[A-Za-z0-9][A-Za-z0-9_-]*", "letters, digits, _ -, beginning with a letter or digit", most=30
)
Agent = _make_name(
    r"fence_[a-z0-9_]+|external/[a-z0-9_-]+|[a-z][a-z0-9_]+",
    "fence_NAME, external/NAME, or a plug-in of cluster-glue such as meatware",
    most=64,
)
Address = Annotated[str, AfterValidator(_address), WithJsonSchema({"type": "string"})]
AbsolutePath = Annotated[str, AfterValidator(_absolute), WithJsonSchema({"type": "string", "pattern": "^/"})]
Word = Annotated[str, AfterValidator(_word), WithJsonSchema({"type": "string"})]
CrmValue = Annotated[str | int | bool, BeforeValidator(_check_crm)]
"""A value in pacemaker's configuration, quoted for crm where it needs it."""
Plug = Annotated[str | int | tuple[str | int, ...], BeforeValidator(_check_plug)]
"""Name of a node in a fencing device; several outlets as a list."""
DlmValue = Annotated[str | int, BeforeValidator(_check_dlm)]
DrbdValue = Annotated[str | int | bool, BeforeValidator(_check_line)]
"""A value in DRBD's configuration, quoted where it needs it."""
Port = Annotated[int, Field(ge=1, le=65535)]
Paths = Annotated[str | dict[str, str], BeforeValidator(_by_node(_absolute)), _make_paths_schema("^/")]
"""A path, the same on each node, or a table of paths by node."""
MetaDisks = Annotated[str | dict[str, str], BeforeValidator(_by_node(_meta_disk)), _make_paths_schema("^(/|internal$)")]
Duration = Annotated[
    str | int,
    BeforeValidator(_check_duration),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)?$"}]}
    ),
]
"""Seconds as a number, or with a unit."""


def format_duration(value: str | int) -> str:
    """A time as pacemaker reads it, with its unit."""
    text = str(value)
    return f"{text}s" if text.isdigit() else text


def quote_crm(value: object) -> str:
    """A value as crm reads it, in double quotes."""
    return f'"{escape_crm(value)}"'


def escape_crm(value: object) -> str:
    """Text between double quotes by which crm reads this value."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.replace("\\", r"\\").replace('"', r"\"")


def write_crm(value: object) -> str:
    """A value for crm, in quotes where it needs them."""
    text = escape_crm(value)
    return text if re.fullmatch(r"[A-Za-z0-9_.:/@%+,=-]+", text) else f'"{text}"'


def write_drbd(value: object) -> str:
    """A value for drbd.conf(5), in quotes where it needs them."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if re.fullmatch(r"[a-zA-Z0-9/._-]{1,128}", text):
        return text
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'
