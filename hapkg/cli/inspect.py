"""hapkg list, show, logs, times: what there is, and where the time went."""

from __future__ import annotations

import html
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from hapkg import disk
from hapkg.build.store import Store
from hapkg.build.timings import CREATE, WAIT, RunRecord, pick_record
from hapkg.cli import output
from hapkg.cli.options import ArchitectureOption, JsonOption, SuiteOption
from hapkg.cli.select import find, newest_builds, open_built
from hapkg.errors import UsageError
from hapkg.host import check_architecture_name

app = typer.Typer()
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


@app.command("list")
def list_recipes(
    context: typer.Context,
    suite: SuiteOption = None,
    architecture: ArchitectureOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the recipes in build order, with the newest finished build of each."""
    build_context = open_built(context, suite, architecture)
    newest = newest_builds(build_context)
    rows: list[dict[str, Any]] = []
    for name in build_context.graph.order:
        build = newest.get(name)
        packages = [package.package for package in build_context.recipes[name].packages]
        rows.append(
            {
                "source": name,
                "upstream": build_context.recipes[name].version,
                "built": build.version if build else None,
                "packages": packages,
                "needs": list(build_context.graph.needs[name]),
            }
        )
    if as_json:
        output.print_json(rows)
    else:
        output.print_table(
            ("source", "upstream", "built", "packages"),
            [(r["source"], r["upstream"], r["built"] or "-", " ".join(r["packages"])) for r in rows],
        )


@app.command("show")
def show_recipe(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Recipe or package.")],
    suite: SuiteOption = None,
    architecture: ArchitectureOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one recipe: origins, patches, what it needs, what it builds, its last build."""
    build_context = open_built(context, suite, architecture)
    chosen = find(build_context, name)
    facts = output.describe_recipe(
        chosen, build_context.graph.needs[chosen.name], newest_builds(build_context).get(chosen.name)
    )
    if as_json:
        output.print_json(facts)
    else:
        output.print_facts(facts)


@app.command()
def logs(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Recipe or package.")],
    suite: SuiteOption = None,
    architecture: ArchitectureOption = None,
    path: Annotated[bool, typer.Option("--path", help="Print only where the log is.")] = False,
) -> None:
    """Print the log of the last build of a recipe, failed or finished."""
    build_context = open_built(context, suite, architecture)
    chosen = find(build_context, name)
    failed = build_context.store.failure_log(build_context.suite, chosen.name)
    finished = newest_builds(build_context).get(chosen.name)
    log = failed if failed.exists() else finished.log if finished else None
    if log is None:
        place = f"{build_context.suite} on {architecture}" if architecture else build_context.suite
        raise UsageError(
            f"{chosen.source} was never built for {place}",
            hint=f"run: {build_context.describe_command(chosen.name)}",
        )
    output.print_log(f"{log}\n" if path else log.read_text("utf-8", "replace"))


@app.command()
def times(
    context: typer.Context,
    run: Annotated[int, typer.Option("--run", min=1, help="Which run: 1 is the last one.")] = 1,
    svg: Annotated[Path | None, typer.Option("--svg", help="Draw the timeline into a file.", metavar="FILE")] = None,
    architecture: ArchitectureOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where the time of a run went, by source and phase, and its critical path."""
    store: Store = context.obj.store
    if architecture is not None:
        check_architecture_name(architecture)
        store = store.turn_to(architecture)
    record = pick_record(store.state, run)
    if svg:
        disk.replace(svg, draw(record).encode())
        output.say(f"wrote {svg}")
    if as_json:
        output.print_json(asdict(record))
    else:
        output.print_times(record)


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
