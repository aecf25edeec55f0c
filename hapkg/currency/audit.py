"""Known holes against recipes: which are fixed here, by what, which do not count, and which are open.

A verdict needs a reason that can be looked up: a person's decision in the recipe, a patch that names the hole, or a
version that is newer than the one in which Debian saw it fixed. Everything else is open.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hapkg.control import SourceName, Suite, compare_versions
from hapkg.currency.tracker import Hole, SuiteState, TrackerData
from hapkg.recipe.model import Recipe
from hapkg.recipe.upstream import AdvisoryStatus
from hapkg.recipe.upstream_version import compare_upstream, upstream_of

_UNSTABLE = Suite("sid")
_NEVER = "0"
"""The tracker's fixed version for what no version of a suite ever had."""


class Verdict(StrEnum):
    """The state of a hole in our packages."""

    PATCHED = "patched"
    FIXED = "fixed"
    NOT_AFFECTED = "not affected"
    OPEN = "open"


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """One hole and one recipe."""

    id: str
    source: SourceName
    debian_source: SourceName
    debian: str
    """Debian's state in the suite: a version, "not affected", "open", "undetermined", "-" where nothing is known."""
    fixed: str
    """Version in which Debian's unstable has it fixed, "-" where none is known."""
    urgency: str
    description: str
    verdict: Verdict
    why: str
    justification: str = ""
    """The kind of reason for what is not affected, in OpenVEX's words; "" where none was given."""

    @property
    def is_open(self) -> bool:
        """True where nothing shows that our packages are without it."""
        return self.verdict is Verdict.OPEN


def audit(
    recipes: Iterable[Recipe], data: TrackerData, suite: Suite, osv: Mapping[SourceName, Collection[str]] | None = None
) -> tuple[Assessment, ...]:
    """Judge every hole that the data, OSV, patches or advisories name for these recipes; sorted by source, then id.

    osv are the ids that OSV knows of the recipes' commits, where it was asked.
    """
    findings = [
        finding
        for recipe in recipes
        if not recipe.native
        for finding in _audit_one(recipe, data, suite, (osv or {}).get(recipe.name, ()))
    ]
    return tuple(sorted(findings, key=lambda finding: (finding.source, finding.id)))


def _audit_one(recipe: Recipe, data: TrackerData, suite: Suite, affecting: Collection[str]) -> list[Assessment]:
    known = {hole.id: hole for hole in data.holes.get(recipe.debian_source, ())}
    named = {id_: patch.name for patch in (*recipe.remote_patches, *recipe.patches) for id_ in patch.fixes}
    decided = {advisory.id: advisory for advisory in recipe.advisories}
    findings = []
    for id_ in {**known, **named, **decided, **dict.fromkeys(affecting)}:
        hole = known.get(id_) or Hole(id=id_, description="", suites={})
        state, unstable = hole.suites.get(suite), hole.suites.get(_UNSTABLE)
        justification = ""
        if advisory := decided.get(id_):
            verdict = _VERDICTS[advisory.status]
            why, justification = advisory.why, advisory.justification or ""
        elif id_ in named:
            verdict, why = Verdict.PATCHED, named[id_]
        elif id_ in affecting:
            verdict, why = Verdict.OPEN, f"OSV: in commit {((recipe.upstream and recipe.upstream.commit) or '')[:12]}"
        else:
            verdict, why = _judge(recipe.version, hole)
        findings.append(
            Assessment(
                id=id_,
                source=recipe.name,
                debian_source=recipe.debian_source,
                debian=_tell(state),
                fixed=_tell(unstable) if unstable and unstable.fixed else "-",
                urgency=(state or unstable).urgency if state or unstable else "",  # type: ignore[union-attr]
                description=hole.description,
                verdict=verdict,
                why=why,
                justification=justification,
            )
        )
    return findings


_VERDICTS = {
    AdvisoryStatus.NOT_AFFECTED: Verdict.NOT_AFFECTED,
    AdvisoryStatus.FIXED: Verdict.FIXED,
    AdvisoryStatus.AFFECTED: Verdict.OPEN,
}


def _judge(version: str, hole: Hole) -> tuple[Verdict, str]:
    """Compare our version with those in which Debian saw a hole fixed.

    A suite's own fix may be a patch on an old version, so that the highest of all counts; unstable must have one. Of
    our version itself only the first revision counts: what a later one fixed, it fixed by a patch that is Debian's.
    """
    states = hole.suites
    if states and all(state.fixed == _NEVER for state in states.values()):
        return Verdict.NOT_AFFECTED, "Debian: in no version"
    unstable = states.get(_UNSTABLE)
    if unstable is None or unstable.fixed in ("", _NEVER):
        return Verdict.OPEN, "not fixed in Debian's unstable" if unstable else "not in Debian's unstable"
    highest = _find_highest(states.values())
    order = compare_upstream(version, upstream_of(highest))
    if order > 0 or (order == 0 and _is_first_revision(highest)):
        return Verdict.FIXED, f"{version}, Debian has it fixed since {highest}"
    return Verdict.OPEN, f"{version}, Debian has it fixed only since {highest}"


def _find_highest(states: Iterable[SuiteState]) -> str:
    highest = ""
    for state in states:
        if state.fixed not in ("", _NEVER) and (not highest or compare_versions(state.fixed, highest) > 0):
            highest = state.fixed
    return highest


def _is_first_revision(version: str) -> bool:
    return bool(re.search(r"-(0\.)?1$", version))


def _tell(state: SuiteState | None) -> str:
    if state is None:
        return "-"
    if state.status != "resolved":
        return state.status
    return "not affected" if state.fixed == _NEVER else state.fixed


def count_open(findings: Sequence[Assessment]) -> int:
    """The number of open holes."""
    return sum(finding.is_open for finding in findings)
