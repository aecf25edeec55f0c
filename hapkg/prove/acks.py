"""Which writes a file system acknowledged, and whether each is still there: the rule that a cluster must not break."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Ack:
    """One record that was written, synced, and told to the host."""

    node: str
    number: int
    milliseconds: int
    """By the clock of its node, which only counts forward."""
    path: str


def parse_acks(text: str) -> tuple[Ack, ...]:
    """What a writer told. A last line that was cut off counts for nothing: it was not told."""
    found = []
    for line in text.splitlines(keepends=True):
        words = line.split()
        if line.endswith("\n") and len(words) == 4 and words[1].isdigit() and words[2].isdigit():
            found.append(Ack(node=words[0], number=int(words[1]), milliseconds=int(words[2]), path=words[3]))
    return tuple(found)


def find_lost(acks: Iterable[Ack], content: str) -> tuple[Ack, ...]:
    """The acknowledged records that a file does not have."""
    there = set(content.splitlines())
    return tuple(ack for ack in acks if f"{ack.node} {ack.number}" not in there)


def find_damage(content: str) -> tuple[str, ...]:
    """Lines of a file that no writer wrote so, or that stand there twice."""
    seen: set[str] = set()
    damaged = []
    for line in content.splitlines():
        words = line.split(" ")
        if len(words) != 2 or not words[1].isdigit() or line in seen:
            damaged.append(line)
        seen.add(line)
    return tuple(damaged)


def find_longest_gap(acks: Iterable[Ack]) -> float:
    """The longest time in seconds that one node's writer waited for an acknowledgement."""
    times = [ack.milliseconds for ack in acks]
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0) / 1000
