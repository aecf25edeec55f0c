"""Verdicts on holes.

known.json is made by us, in the security tracker's shape, from the changelogs of Debian's packages of bookworm, trixie,
forky and sid as they were on 2026-11-28: the tracker itself could not be asked.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.control import SourceName, Suite
from hapkg.currency.audit import Assessment, Verdict, audit, count_open
from hapkg.currency.tracker import Hole, SuiteState, TrackerData, parse_tracker
from hapkg.errors import RecipeError
from hapkg.recipe.collection import read_recipes
from hapkg.recipe.model import Recipe
from hapkg.recipe.settings import find_project
from tests.support.samples import AUTOTOOLS, CHECKOUT, PATCH, make_recipe, make_recipe_from

KNOWN = Path(__file__).with_name("known.json")
ID = "CVE-2026-0001"
ORIGIN = {"type": "debian", "package": "one", "version": "1.2-1", "sha256": "0" * 64}
RECIPE = {**AUTOTOOLS, "origins": [ORIGIN]}


def make_data(**suites: str) -> TrackerData:
    """One hole; of each suite the fixed version, or "open"."""
    states = {
        Suite(suite): SuiteState(status="open", fixed="", urgency="")
        if fixed == "open"
        else SuiteState(status="resolved", fixed=fixed, urgency="low")
        for suite, fixed in suites.items()
    }
    hole = Hole(id=ID, description="", suites=states)
    return TrackerData(where="data", packages=1, holes={SourceName("one"): (hole,)})


def judge(recipe: Recipe, data: TrackerData) -> Assessment:
    (finding,) = audit([recipe], data, Suite("bookworm"))
    return finding


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_nothing_known_is_open_in_our_recipes(suite: str) -> None:
    recipes = read_recipes(find_project(CHECKOUT))
    data = parse_tracker(KNOWN.read_bytes(), "known.json", [recipe.debian_source for recipe in recipes.values()])
    findings = audit(recipes.values(), data, Suite(suite))
    assert [(finding.id, finding.why) for finding in findings if finding.is_open] == []
    assert {finding.id for finding in findings} >= {
        id_ for holes in data.holes.values() for id_ in (h.id for h in holes)
    }
    assert sum(finding.verdict is Verdict.PATCHED for finding in findings) == 13


def test_without_their_patches_our_recipes_have_thirteen_open_holes() -> None:
    recipes = read_recipes(find_project(CHECKOUT))
    bare = [recipe.model_copy(update={"every_patch": (), "remote_patches": ()}) for recipe in recipes.values()]
    data = parse_tracker(KNOWN.read_bytes(), "known.json", [recipe.debian_source for recipe in bare])
    assert count_open(audit(bare, data, Suite("trixie"))) == 13


@pytest.mark.parametrize(
    ("suites", "verdict"),
    [
        ({"sid": "1.1-3"}, Verdict.FIXED),
        ({"sid": "1.2-1"}, Verdict.FIXED),
        ({"sid": "1.2-0.1"}, Verdict.FIXED),
        ({"sid": "1:1.2+dfsg-1"}, Verdict.FIXED),
        ({"sid": "1.2-2"}, Verdict.OPEN),  # by a patch of Debian's that we do not have
        ({"sid": "1.3-1"}, Verdict.OPEN),
        ({"sid": "1.2.1-1"}, Verdict.OPEN),
        (
            {"bookworm": "1.0-1+deb12u1", "sid": "1.3-1"},
            Verdict.OPEN,
        ),  # a patch on an older version says nothing of ours
        ({"bookworm": "1.0-1+deb12u1", "sid": "open"}, Verdict.OPEN),
        ({"bookworm": "1.0-1+deb12u1"}, Verdict.OPEN),
        ({"bookworm": "1.2-1+deb12u1", "sid": "1.1-1"}, Verdict.OPEN),
        ({"bookworm": "0", "sid": "0"}, Verdict.NOT_AFFECTED),
        ({"bookworm": "open", "sid": "0"}, Verdict.OPEN),
        ({"bookworm": "0", "sid": "1.3-1"}, Verdict.OPEN),
        ({"sid": "open"}, Verdict.OPEN),
        ({}, Verdict.OPEN),
    ],
)
def test_a_version_proves_what_it_proves(suites: dict[str, str], verdict: Verdict) -> None:
    assert judge(make_recipe_from(RECIPE), make_data(**suites)).verdict is verdict


def test_a_patch_that_names_the_hole_closes_it(tmp_path: Path) -> None:
    text = PATCH.replace("say hello", f"say hello ({ID})")
    finding = judge(
        make_recipe(tmp_path, RECIPE, {"series": "hello.patch\n", "hello.patch": text}), make_data(sid="open")
    )
    assert (finding.verdict, finding.why, finding.debian) == (Verdict.PATCHED, "hello.patch", "-")


@pytest.mark.parametrize(
    ("status", "verdict"),
    [("not-affected", Verdict.NOT_AFFECTED), ("fixed", Verdict.FIXED), ("affected", Verdict.OPEN)],
)
def test_a_person_decides_with_a_reason(status: str, verdict: Verdict) -> None:
    table = {**RECIPE, "advisories": [{"id": ID, "status": status, "why": "we do not build the daemon"}]}
    finding = judge(make_recipe_from(table), make_data(bookworm="open", sid="open"))
    assert (finding.verdict, finding.why) == (verdict, "we do not build the daemon")
    unheard = audit([make_recipe_from(table)], TrackerData(where="data", packages=0, holes={}), Suite("bookworm"))
    assert [finding.verdict for finding in unheard] == [verdict], "told also where the data knows nothing of it"


@pytest.mark.parametrize(
    ("advisory", "told"),
    [
        ({"id": ID, "status": "wontfix", "why": "x"}, "status"),
        ({"id": ID, "status": "fixed"}, "missing key advisories[1].why"),
        ({"id": "a hole", "status": "fixed", "why": "x"}, "id"),
        ({"id": ID, "status": "fixed", "why": ""}, "why"),
    ],
)
def test_a_decision_without_reason_is_none(advisory: dict[str, str], told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        make_recipe_from({**RECIPE, "advisories": [advisory]})
    assert told in caught.value.brief


def test_one_hole_is_decided_once() -> None:
    advisory = {"id": ID, "status": "fixed", "why": "x"}
    with pytest.raises(RecipeError, match="stands there twice"):
        make_recipe_from({**RECIPE, "advisories": [advisory, advisory]})


def test_debians_name_is_that_of_an_origin_else_the_folders() -> None:
    assert make_recipe_from({**RECIPE, "origins": [{**ORIGIN, "package": "uno"}]}).debian_source == "uno"
    assert make_recipe_from(AUTOTOOLS).debian_source == "one"
