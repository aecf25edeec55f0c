"""The dependencies of packages as an SVG: drawn without scripts, in the colours of the page around it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from math import ceil

_WIDTH_OF_LETTER = 7.3
_HEIGHT, _GAP, _ROW, _LINE = 28, 18, 76, 40
_WIDEST = 1040
"""Width that a page shows without scrolling. A longer row goes on in a line below."""


def draw(needs: Mapping[str, frozenset[str]]) -> str:
    """An SVG of packages in rows, each above all that it needs. needs has every package, and names no other.

    What is needed through another package too is left out. A cycle is cut where it is met.
    """
    widths = {name: len(name) * _WIDTH_OF_LETTER + 20 for name in needs}
    places, width, height = _place(needs, widths)
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
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Which package needs which" {size}>'
    return f"{head}{''.join(lines + boxes)}</svg>"


def _place(
    needs: Mapping[str, frozenset[str]], widths: Mapping[str, float]
) -> tuple[dict[str, tuple[float, float]], float, float]:
    """Left upper corner of each box, and width and height of the whole. Below the first row, a box lies about below
    those that need it."""
    ranks = _rank(needs)
    above: dict[str, list[str]] = {name: [] for name in needs}
    for name in needs:
        for need in _reduce(name, needs):
            above[need].append(name)
    lines: list[tuple[float, list[str]]] = []
    middles: dict[str, float] = {}
    y = 10.0
    for rank in sorted(set(ranks.values()), reverse=True):
        row = [name for name in needs if ranks[name] == rank]
        row.sort(key=lambda name: (_average([middles[one] for one in above[name] if one in middles]), name))
        for line in _break(row, widths):
            x = -_measure(line, widths) / 2
            for name in line:
                middles[name] = x + widths[name] / 2
                x += widths[name] + _GAP
            lines.append((y, line))
            y += _LINE
        y += _ROW - _LINE
    width = max((_measure(line, widths) for _, line in lines), default=0) + _GAP
    places = {name: (middles[name] - widths[name] / 2 + width / 2, y) for y, line in lines for name in line}
    return places, width, max(y - _ROW + _HEIGHT + 10, 0)


def _break(row: list[str], widths: Mapping[str, float]) -> list[list[str]]:
    """A row in as many lines as it needs, about equally long."""
    lines: list[list[str]] = [[]]
    limit = _measure(row, widths) / ceil(_measure(row, widths) / _WIDEST)
    for name in row:
        if _measure(lines[-1], widths) >= limit or _measure([*lines[-1], name], widths) > _WIDEST:
            lines.append([])
        lines[-1].append(name)
    return [line for line in lines if line]


def _measure(line: list[str], widths: Mapping[str, float]) -> float:
    return sum(widths[name] + _GAP for name in line) - _GAP


def _average(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0


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
    """Needs of a package that no other of its needs brings."""
    direct = set(needs[name]) - {name}
    indirect: set[str] = set()
    waiting = [further for need in direct for further in needs[need]]
    while waiting:
        further = waiting.pop()
        if further not in indirect:
            indirect.add(further)
            waiting += needs[further]
    return (direct - indirect) or direct
