"""Open holes as SARIF 2.1.0, which forges read: a rule for each hole, a result for each recipe that has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hapkg import __version__
from hapkg.control import SourceName
from hapkg.currency.audit import Assessment

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_TRACKER = "https://security-tracker.debian.org/tracker"
_NOTES = ("unimportant", "low", "end-of-life")
"""Debian's urgencies that are no more than notes."""


def make_sarif(findings: Sequence[Assessment], locate: Callable[[SourceName], str]) -> dict[str, Any]:
    """The log of one run. locate gives the path of a source's recipe, below the checkout."""
    open_ones = [finding for finding in findings if finding.is_open]
    described = {finding.id: finding.description for finding in open_ones}
    rules = [
        {
            "id": id_,
            "shortDescription": {"text": id_},
            "fullDescription": {"text": text or id_},
            "helpUri": f"{_TRACKER}/{id_}",
        }
        for id_, text in sorted(described.items())
    ]
    driver = {"name": "hapkg", "semanticVersion": __version__, "rules": rules}
    results = [_make_result(finding, locate(finding.source)) for finding in open_ones]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _make_result(finding: Assessment, file: str) -> dict[str, Any]:
    return {
        "ruleId": finding.id,
        "level": "note" if finding.urgency in _NOTES else "error" if finding.urgency == "high" else "warning",
        "message": {"text": f"{finding.id} is open in {finding.source}: {finding.why}"},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": file}}}],
        "partialFingerprints": {"hole/v1": f"{finding.source}/{finding.id}"},
    }
