"""How old the stack is, and what was known of its holes when it was made: no network is needed to tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from hastack.finding import OK, WARN, Finding
from hastack.system import Problem

COMPONENTS = Path(__file__).resolve().parents[1] / "components.json"
_OLD = 180
"""Days after which a stack is called old: some release of upstream's lies between, and mostly some hole."""


@dataclass(frozen=True)
class Component:
    """An upstream's release in this stack."""

    source: str
    version: str
    date: date
    """When upstream released it."""
    closed: tuple[str, ...]
    """Holes that patches close."""
    decided: tuple[tuple[str, str, str], ...]
    """Holes that a person judged: id, status and why."""


@dataclass(frozen=True)
class Made:
    """The stack as it was made."""

    version: str
    date: date
    components: tuple[Component, ...]

    @property
    def open(self) -> tuple[str, ...]:
        """Holes that were known and left open, each with its reason."""
        decided = ((one.source, hole) for one in self.components for hole in one.decided)
        return tuple(f"{id_} in {source}: {why}" for source, (id_, status, why) in decided if status == "affected")

    @property
    def closed(self) -> tuple[str, ...]:
        """Holes that patches close."""
        return tuple(id_ for one in self.components for id_ in one.closed)


def read_made(text: str) -> Made:
    """The stack in components.json. Raises ValueError, KeyError or TypeError for anything else."""
    told = json.loads(text)
    components = tuple(
        Component(
            source=one["source"],
            version=one["version"],
            date=date.fromisoformat(one["date"]),
            closed=tuple(one["closed"]),
            decided=tuple((hole["id"], hole["status"], hole["why"]) for hole in one["decided"]),
        )
        for one in told["components"]
    )
    return Made(told["version"], date.fromisoformat(told["date"]), components)


def load_made() -> Made:
    """The stack on this node. Raises Problem where its list is not there, or none."""
    try:
        return read_made(COMPONENTS.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise Problem(f"{COMPONENTS} cannot be read: {cause!r}", "apt install --reinstall ha-stack") from cause


def list_holes() -> dict[str, tuple[str, ...]]:
    """Holes that were known when the stack was made: closed by patches, and left open."""
    made = load_made()
    return {"closed": made.closed, "open": made.open}


def describe() -> str:
    """Date of the stack, and how many holes were known then."""
    made = load_made()
    return f"of {made.date}; known holes: {len(made.closed)} closed by patches, {len(made.open)} open"


def check_age(today: date) -> Iterator[Finding]:
    """Age of the stack, and the holes that were left open."""
    try:
        made = load_made()
    except Problem as problem:
        yield Finding("age", WARN, problem.brief, problem.hint)
        return
    yield judge_age(made, today)
    yield from (Finding("hole", WARN, text) for text in made.open)


def judge_age(made: Made, today: date) -> Finding:
    """Age in days of the date of ha-stack, which changes with every component."""
    days = (today - made.date).days
    newest = max(made.components, key=lambda one: (one.date, one.source), default=None)
    known = f"{len(made.closed)} holes that were known then are closed by patches, {len(made.open)} are open"
    text = f"ha-stack {made.version} is of {made.date}, {days} days old; {known}"
    if days > _OLD:
        advice = "where apt knows nothing newer: hapkg build-all and hapkg publish, on the build machine"
        return Finding("age", WARN, f"{text}; what was found since is not", "ha-stack upgrade-node", advice)
    if newest:
        text += f"; its newest release is {newest.source} {newest.version} of {newest.date}"
    return Finding("age", OK, text)
