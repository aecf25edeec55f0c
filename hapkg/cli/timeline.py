"""The timeline of a run as a picture."""

from __future__ import annotations

import html

from hapkg.build.timings import CREATE, WAIT, RunRecord

_COLOURS = {
    CREATE: "#7f5539",
    "fetch": "#8ecae6",
    "source": "#bde0fe",
    "layer": "#cdb4db",
    WAIT: "#eeeeee",
    "dependencies": "#b5838d",
    "unpack": "#ffe5d9",
    "configure": "#ffd166",
    "compile": "#ef8354",
    "test": "#06d6a0",
    "package": "#118ab2",
    "collect": "#adb5bd",
    "check": "#90be6d",
    "lint": "#577590",
}
_ROW, _LEFT, _WIDTH = 22, 170, 900


def draw(record: RunRecord) -> str:
    """The timeline of a run as SVG."""
    rows = sorted((times for times in record.sources if times.spans), key=lambda times: times.spans[0].start)
    critical = {times.source for times in record.find_critical_path()}
    scale = _WIDTH / max(record.seconds, 1.0)
    height = (len(rows) + 3) * _ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 20}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f"<title>{html.escape(f'{record.suite}, {record.started}, {record.seconds:.0f} s')}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    step = next((step for step in (1, 5, 10, 30, 60, 300, 600, 1800) if record.seconds / step <= 15), 3600)
    for second in range(0, int(record.seconds) + 1, step):
        x = _LEFT + second * scale
        parts.append(f'<line x1="{x:.1f}" y1="{_ROW}" x2="{x:.1f}" y2="{height - _ROW}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{_ROW - 6}" fill="#666666">{second} s</text>')
    for number, times in enumerate(rows, 1):
        y = number * _ROW + 4
        weight = ' font-weight="bold"' if times.source in critical else ""
        parts.append(f'<text x="4" y="{y + 13}"{weight}>{html.escape(times.source)}</text>')
        for span in times.spans:
            label = html.escape(f"{times.source}: {span.phase}, {span.end - span.start:.1f} s")
            parts.append(
                f'<rect x="{_LEFT + span.start * scale:.1f}" y="{y}" width="{(span.end - span.start) * scale:.1f}" '
                f'height="{_ROW - 6}" fill="{_COLOURS.get(span.phase, "#999999")}"><title>{label}</title></rect>'
            )
    x = 4
    for phase, colour in _COLOURS.items():
        parts.append(f'<rect x="{x}" y="{height - 18}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16}" y="{height - 8}">{phase}</text>')
        x += 30 + 7 * len(phase)
    return "\n".join((*parts, "</svg>", ""))
