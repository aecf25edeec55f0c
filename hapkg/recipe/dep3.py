"""The header of a patch, as DEP-3 has it or `git format-patch` writes it: what it does, whose it is, what it fixes."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BODY = re.compile(r"^(?:---(?: .*)?|diff .*|Index: .*|=== .*)$", re.MULTILINE)
_FIELD = re.compile(r"(?P<name>[A-Za-z][A-Za-z-]*):(?P<value>.*)")
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}")
_MARK = re.compile(r"^(?:\[[^]]*\]\s*)+")
"""The mark that git format-patch puts before a subject: [PATCH 1/2]."""


@dataclass(frozen=True, kw_only=True)
class PatchHeader:
    """Header of a patch; a field that it does not have is ""."""

    description: str
    """Its first line."""
    author: str
    origin: str
    forwarded: str
    fixes: tuple[str, ...]
    """CVE ids that it names anywhere, in their order."""


def cut_header(patch: str) -> str:
    """The text above what a patch changes."""
    return _BODY.split(patch, maxsplit=1)[0]


def read_header(patch: str) -> PatchHeader | None:
    """The header of a patch, or None for one that says neither what it does nor where it is from."""
    header = cut_header(patch)
    fields = _read_fields(header)
    description = _MARK.sub("", fields.get("description") or fields.get("subject", ""))
    author = fields.get("author") or fields.get("from", "")
    origin = fields.get("origin", "")
    if not description or not (author or origin):
        return None
    return PatchHeader(
        description=description,
        author=author,
        origin=origin,
        forwarded=fields.get("forwarded", ""),
        fixes=tuple(dict.fromkeys(_CVE.findall(header))),
    )


def _read_fields(header: str) -> dict[str, str]:
    """Names in lower case, and the first line of each value; the first of a name counts.

    A line that begins with a blank continues its field, and is its first line where the field's own is empty. Mail
    folds a long Subject, which stays one line.
    """
    fields: dict[str, str] = {}
    name = ""
    for line in header.splitlines():
        match = _FIELD.fullmatch(line)
        if match:
            name = match["name"].lower()
            if name in fields:
                name = ""
            else:
                fields[name] = match["value"].strip()
        elif name and line[:1] in (" ", "\t"):
            if name == "subject" or not fields[name]:
                fields[name] = f"{fields[name]} {line.strip()}".strip()
        else:
            name = ""
    return fields
