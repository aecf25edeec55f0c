"""The dependencies of packages as an SVG: drawn without scripts, in the colours of the page around it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

_WIDTH_OF_LETTER = 7.3
_HEIGHT, _GAP, _ROW = 28, 18, 84


def draw(needs: Mapping[str, frozenset[str]]) -> str:
    """An SVG of packages in rows, each above all that it needs. needs has every package, and names no other.

    What is needed through another package too is left out. A cycle is cut where it is met.
    """
    rows: dict[int, list[str]] = {}
    ranks = _rank(needs)
    for name in sorted(needs, key=lambda name: (-ranks[name], name)):
        rows.setdefault(ranks[name], []).append(name)
    widths = {name: len(name) * _WIDTH_OF_LETTER + 20 for name in needs}
    lengths = {rank: sum(widths[name] + _GAP for name in names) for rank, names in rows.items()}
    width = max(lengths.values(), default=0) + _GAP
    highest = max(rows, default=0)
    places: dict[str, tuple[float, float]] = {}
    for rank, names in rows.items():
        x = (width - lengths[rank]) / 2 + _GAP / 2
        for name in names:
            places[name] = (x, (highest - rank) * _ROW + 10)
            x += widths[name] + _GAP
    lines, boxes = [], []
    for name in sorted(needs):
        x, y = places[name]
        for need in sorted(_reduce(name, needs)):
            to_x, to_y = places[need]
            start, end = x + widths[name] / 2, to_x + widths[need] / 2
            bend = (y + _HEIGHT + to_y) / 2
            lines.append(
                f'<path d="M{start:.0f} {y + _HEIGHT}C{start:.0f} {bend:.0f} {end:.0f} {bend:.0f} {end:.0f} {to_y}"/>'
            )
        middle = x + widths[name] / 2
        boxes.append(
            f"<g><title>{escape(name)} needs {escape(', '.join(sorted(needs[name])) or 'nothing here')}</title>"
            f'<rect x="{x:.0f}" y="{y}" width="{widths[name]:.0f}" height="{_HEIGHT}" rx="5"/>'
            f'<text x="{middle:.0f}" y="{y + 19}">{escape(name)}</text></g>'
        )
    size = f'viewBox="0 0 {width:.0f} {highest * _ROW + _HEIGHT + 20}" style="max-width:{width:.0f}px"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Which package needs which" {size}>'
    return f"{head}{''.join(lines + boxes)}</svg>"


def _rank(needs: Mapping[str, frozenset[str]]) -> dict[str, int]:
    """For each package the length of the longest way down from it."""
    ranks: dict[str, int] = {}

    def find(name: str, above: frozenset[str]) -> int:
        if name not in ranks:
            below = [find(need, above | {name}) for need in sorted(needs[name]) if need not in above | {name}]
            ranks[name] = max(below, default=-1) + 1
        return ranks[name]

    for name in sorted(needs):
        find(name, frozenset())
    return ranks


def _reduce(name: str, needs: Mapping[str, frozenset[str]]) -> set[str]:
    """What a package needs and no other of its needs brings."""
    direct = set(needs[name]) - {name}
    indirect: set[str] = set()
    waiting = [further for need in direct for further in needs[need]]
    while waiting:
        further = waiting.pop()
        if further not in indirect:
            indirect.add(further)
            waiting += needs[further]
    return (direct - indirect) or direct
