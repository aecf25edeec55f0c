"""SARIF, as forges read it."""

from __future__ import annotations

import json
from dataclasses import replace

from hapkg.control import SourceName
from hapkg.currency.audit import Assessment, Verdict
from hapkg.currency.sarif import make_sarif

ASSESSMENT = Assessment(
    id="CVE-2026-0001",
    source=SourceName("ha-one"),
    debian_source=SourceName("one"),
    debian="open",
    fixed="-",
    urgency="high",
    description="a hole\x1b[2J",
    verdict=Verdict.OPEN,
    why="not fixed",
)


def test_only_open_holes_are_results_each_at_its_recipe() -> None:
    closed = replace(ASSESSMENT, id="CVE-2026-0002", verdict=Verdict.FIXED)
    other = replace(ASSESSMENT, source=SourceName("ha-two"), urgency="unimportant")
    log = make_sarif([ASSESSMENT, closed, other], lambda name: f"recipes/{name}/recipe.toml")
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["CVE-2026-0001"]
    places = [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in run["results"]]
    assert places == ["recipes/ha-one/recipe.toml", "recipes/ha-two/recipe.toml"]
    assert [result["level"] for result in run["results"]] == ["error", "note"]
    assert "\x1b" not in json.dumps(log)


def test_nothing_open_is_a_run_without_results() -> None:
    (run,) = make_sarif([], str)["runs"]
    assert run["results"] == []
