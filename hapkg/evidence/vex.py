"""VEX: what is known of holes in the packages of a suite, as an OpenVEX document (0.2.0).

Statements of one publish go into the next: one that is said again stays as it was, with its date, and what is said anew
of a package takes the place of what was said of it. A statement about packages that the suite has no more is left out.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

CONTEXT = "https://openvex.dev/ns/v0.2.0"


class VexStatus(StrEnum):
    """OpenVEX's words."""

    FIXED = "fixed"
    NOT_AFFECTED = "not_affected"
    AFFECTED = "affected"
    UNDER_INVESTIGATION = "under_investigation"


@dataclass(frozen=True, kw_only=True)
class VexStatement:
    """One hole, and what it is to some packages."""

    hole: str
    products: frozenset[str]
    """Package URLs."""
    status: VexStatus
    why: str
    justification: str = ""
    """One of OpenVEX's words, for what is not affected; "" where why alone says it."""
    date: str = field(default="", compare=False)
    """When it was said first, 2026-11-29T17:40:12Z."""


def merge_statements(
    new: Iterable[VexStatement], before: Iterable[VexStatement], products: Collection[str], date: str
) -> list[VexStatement]:
    """Statements about these products: new ones, of this date, and what was said before of others."""
    known = set(products)
    old = [one for one in before if one.products & known]
    dates = {replace(one, products=one.products & known): one.date for one in reversed(old)}
    found: dict[tuple[str, str], VexStatement] = {}
    for one in (*new, *old):
        for product in sorted(one.products & known):
            found.setdefault((one.hole, product), one)
    groups: dict[VexStatement, set[str]] = {}
    for (_, product), one in found.items():
        groups.setdefault(replace(one, products=frozenset()), set()).add(product)
    merged = [replace(one, products=frozenset(group)) for one, group in groups.items()]
    return sorted(
        (replace(one, date=dates.get(one) or date) for one in merged),
        key=lambda one: (one.hole, sorted(one.products)),
    )


def write_vex(author: str, suite: str, statements: Sequence[VexStatement], version: int = 1) -> bytes:
    """The document of these statements; its date is that of the newest."""
    told = [_describe(one) for one in statements]
    digest = hashlib.sha256(json.dumps([suite, told], sort_keys=True).encode()).hexdigest()
    document = {
        "@context": CONTEXT,
        "@id": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'openvex:{digest}')}",
        "author": author,
        "timestamp": max((one.date for one in statements), default="1970-01-01T00:00:00Z"),
        "version": version,
        "tooling": "hapkg",
        "statements": told,
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def read_vex(content: bytes) -> tuple[list[VexStatement], int]:
    """Statements and version of a document. Raises ValueError for anything else."""
    try:
        table: Any = json.loads(content)
        statements = [
            VexStatement(
                hole=str(one["vulnerability"]["name"]),
                products=frozenset(str(product["@id"]) for product in one["products"]),
                status=VexStatus(one["status"]),
                why=str(one.get("impact_statement") or one.get("action_statement") or one.get("status_notes", "")),
                justification=str(one.get("justification", "")),
                date=str(one["timestamp"]),
            )
            for one in table["statements"]
        ]
        return statements, int(table["version"])
    except (KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise ValueError(f"it is no OpenVEX document: {cause!r}") from cause


def _describe(one: VexStatement) -> Mapping[str, Any]:
    words = {VexStatus.NOT_AFFECTED: "impact_statement", VexStatus.AFFECTED: "action_statement"}
    return {
        "vulnerability": {"name": one.hole},
        "timestamp": one.date,
        "products": [{"@id": product, "identifiers": {"purl": product}} for product in sorted(one.products)],
        "status": str(one.status),
        **({"justification": one.justification} if one.justification else {}),
        words.get(one.status, "status_notes"): one.why,
    }
