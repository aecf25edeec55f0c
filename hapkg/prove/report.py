"""Report of a proof: prove.json for programs and prove.html for people, from the same facts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hapkg import disk
from hapkg.prove.runner import StepEnding, StepResult

_UNITS = {
    "failover": ("writes stood still for", " s"),
    "fenced after": ("lost node fenced after", " s"),
    "first sync": ("first sync of DRBD", " s"),
    "resources up": ("resources up after", " s"),
    "return": ("returned node whole after", " s"),
}


def describe_proof(
    records: Sequence[StepResult], facts: Mapping[str, Any], *, suite: str, began: str, accelerator: str, short: bool
) -> dict[str, Any]:
    """A proof as plain data."""
    failed = next((record for record in records if record.ending is StepEnding.FAILED), None)
    reached = [record for record in records if record.ending is not StepEnding.NOT_REACHED]
    return {
        "format": 1,
        "suite": suite,
        "began": began,
        "seconds": round(max((record.started + record.seconds for record in reached), default=0.0), 1),
        "accelerator": accelerator,
        "short": short,
        "passed": bool(records) and all(record.ending is StepEnding.PASSED for record in records),
        "failed": f"{failed.title}: {failed.error[0] if failed.error else ''}" if failed else None,
        "facts": {name: value for name, value in facts.items() if name != "versions"},
        "versions": facts.get("versions", {}),
        "steps": [
            {
                **asdict(r),
                "ending": str(r.ending),
                "started": round(r.started, 1),
                "seconds": round(r.seconds, 1),
                "error": list(r.error),
            }
            for r in records
        ],
    }


def render_proof(proof: Mapping[str, Any], logs: Sequence[str]) -> str:
    """The page of a proof: one file, nothing from elsewhere."""
    from hapkg.jinja import render_page  # noqa: PLC0415 - jinja2 takes time, and few commands write a page

    facts = {}
    for name, value in proof["facts"].items():
        kind, bracket, loss = name.partition(" (")
        label, unit = _UNITS.get(kind, (kind, ""))
        facts[f"{label}{bracket}{loss}"] = f"{value}{unit}"
    shown = {**proof, "facts": facts, "logs": logs, "seconds": max(proof["seconds"], 0.1)}
    return render_page({"proof": shown}, "prove.html.j2")


def write_report(folder: Path, proof: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write both files, each at once; where they are."""
    html, data = folder / "prove.html", folder / "prove.json"
    logs = sorted(file.name for file in folder.glob("*.log") if file.stat().st_size)
    disk.replace(data, (json.dumps(proof, indent=1) + "\n").encode())
    disk.replace(html, render_proof(proof, logs).encode())
    return html, data
