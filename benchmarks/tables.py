"""Common parts of the benchmarks: whole processes timed, the machine named, tables printed and kept with their date."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def call(*argv: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> float:
    """Run a program to its end, with these variables as well; seconds. What it says is shown when it fails."""
    begun = time.monotonic()
    done = subprocess.run(
        list(map(str, argv)),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    seconds = time.monotonic() - begun
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, argv))}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return seconds


def measure(act: Callable[[], object], runs: int) -> float:
    """The median of the seconds that something takes."""
    figures = []
    for _ in range(runs):
        begun = time.monotonic()
        act()
        figures.append(time.monotonic() - begun)
    return statistics.median(figures)


def describe_machine() -> str:
    """The machine in one line: processor, cores, memory, system."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {system}, Linux {platform.release()}"


def make_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in (heads, *rows)]
    return "\n".join((lines[0], "|" + "-|" * len(heads), *lines[1:], ""))


def keep(name: str, text: str, notes: Mapping[str, str] | None = None) -> None:
    """Print a table, and write it to results/ with the date and the machine."""
    now = datetime.now(UTC)
    lines = [f"{now:%Y-%m-%d %H:%M} UTC. {describe_machine()}."]
    lines += [f"* {key}: {value}" for key, value in (notes or {}).items()]
    whole = "\n".join((*lines, "", text))
    print(whole)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}-{now:%Y-%m-%d}.md").write_text(f"# {name}\n\n{whole}", "utf-8")
