"""Lines for crm configure that a site file brings: what can be told of them without asking crm."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from hapkg.site.secrets import refuse_secret_words

_OLD = (
    (r"^\s*ms\s", "ms is gone from crm", "clone NAME RESOURCE meta promotable=true"),
    (r"\brole=[\"']?(?i:master)\b", "the role Master is gone from pacemaker", "role=Promoted"),
    (r"\brole=[\"']?(?i:slave)\b", "the role Slave is gone from pacemaker", "role=Unpromoted"),
    (r"\$role=", "$role is gone from crm", "role=Promoted after the score"),
    (r":(?i:master)\b", "the role Master is gone from pacemaker", ":Promoted"),
    (r":(?i:slave)\b", "the role Slave is gone from pacemaker", ":Unpromoted"),
    (r"\bmaster-max=", "master-max is gone from pacemaker", "promoted-max="),
    (r"\bmaster-node-max=", "master-node-max is gone from pacemaker", "promoted-node-max="),
    (r"\b_rsc_set_\b", "_rsc_set_ is gone from crm", "( A B ) for a set of equals, [ A B ] for one of either"),
)
"""Forms of old posts, what became of them, and what to write now."""
_NAMED = (
    *("primitive", "group", "clone", "bundle", "rsc_template", "tag", "alert", "role", "acl_target"),
    *("location", "colocation", "order", "rsc_ticket"),
)
"""Commands of crm configure whose second word is the name of an object."""


@dataclass(frozen=True)
class Command:
    """One command of crm configure."""

    line: int
    """Its first line within the text, counted from 1."""
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the object that it makes or changes; "" where that has none."""
        named = self.words[0].lower() in _NAMED and len(self.words) > 1
        return self.words[1].removesuffix(":") if named else ""

    @property
    def agent(self) -> str:
        """The agent of a primitive, CLASS:TYPE or CLASS:PROVIDER:TYPE as crm reads it; "" for anything else."""
        if self.words[0].lower() not in ("primitive", "rsc_template") or len(self.words) < 3:
            return ""
        return (
            self.words[2] if ":" in self.words[2] or self.words[2].startswith("@") else f"ocf:heartbeat:{self.words[2]}"
        )

    @property
    def fences(self) -> bool:
        """True for a fencing device."""
        return self.agent.startswith("stonith:")


def read_commands(text: str, first: int = 1) -> Iterator[Command]:
    """The commands of a text. The first line has this number.

    Raises ValueError, naming the line, for quotes without an end.
    """
    for begun, whole in join_lines(text, first):
        if not whole.startswith("#"):
            try:
                yield Command(begun, tuple(shlex.split(whole)))
            except ValueError as cause:
                raise ValueError(f"line {begun} ({_shorten(whole)}): quotes without an end") from cause


def join_lines(text: str, first: int = 1) -> Iterator[tuple[int, str]]:
    """Lines put together as crm does: one that ends with a backslash goes on, empty ones are left out.

    Each has the number of its first line, counted from the number that is given.
    """
    begun, parts = 0, list[str]()
    for number, line in enumerate(map(str.strip, text.split("\n")), first):
        parts.append(line.rstrip("\\"))
        begun = begun or number
        if not line.endswith("\\"):
            if whole := "".join(parts).strip():
                yield begun, whole
            begun, parts = 0, []


def find_first_line(file: str) -> int:
    """Where the text of [crm] extra begins in a site file, counted from 1; 1 where that cannot be told."""
    for number, line in enumerate(file.split("\n"), 1):
        if found := re.match(r"""\s*(?:crm\s*\.\s*)?extra\s*=\s*(?:\"{3}|'{3})?(.*)""", line):
            return number if found[1].strip() else number + 1
    return 1


def check_extra(text: str, first: int = 1) -> str:
    """The text, if nothing in it is known to be wrong. Raises ValueError that names the line, the first being this."""
    refuse_secret_words(text)
    for number, line in enumerate(text.split("\n"), first):
        if line.lstrip().startswith("#"):
            continue
        where = f"line {number} ({_shorten(line)})"
        for pattern, fault, now in _OLD:
            if re.search(pattern, line):
                raise ValueError(f"{where}: {fault}; write {now}")
        if not line.isascii():
            odd = next(letter for letter in line if not letter.isascii())
            raise ValueError(f"{where}: crm would load {odd} as &#{ord(odd)};")
    for command in read_commands(text, first):
        where = f"line {command.line} ({_shorten(' '.join(command.words))})"
        if command.words[0].lower() == "property":
            raise ValueError(
                f"{where}: crm takes one line of properties: put them under [crm] properties = {{ NAME = VALUE }}"
            )
        if any(re.fullmatch("['\"]?(stonith|fencing)-enabled=.*", word) for word in command.words):
            raise ValueError(f"{where}: stonith-enabled follows from [fencing]: name devices there, or opt-out")
    return text


def _shorten(line: str) -> str:
    text = line.strip()
    return text if len(text) <= 60 else f"{text[:57]}..."
