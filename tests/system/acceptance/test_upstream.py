"""The stack's parts: newer code than the suite's own, and upstream's own tests at every build."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from hapkg.control import Suite
from hapkg.distribution import read_distributions
from hapkg.recipe.collection import read_recipes
from hapkg.recipe.settings import find_project
from tests.system.acceptance.conftest import CHECKOUT, SUITE, Node, Stack

DISTRIBUTION = read_distributions()[Suite(SUITE)]
OLDEST, *_, NEWEST = DISTRIBUTION.suites
"""Newer code is promised but for the newest suite: as long as it is not released, it takes new versions every day."""

NEWER: Mapping[str, str] = {
    "ha-corosync": "corosync",
    "ha-crmsh": "crmsh",
    "ha-dlm": "dlm-controld",
    "ha-gfs2-utils": "gfs2-utils",
    "ha-kronosnet": "libknet-dev",
    "ha-libqb": "libqb-dev",
    "ha-pacemaker": "pacemaker",
    "ha-resource-agents": "resource-agents",
}
"""Sources that are newer than the oldest suite's own, and a package of the distribution's."""

TESTS: Mapping[str, int] = {
    "ha-booth": 1,
    "ha-corosync": 0,  # upstream has none that needs no cluster: see its recipe
    "ha-corosync-qdevice": 9,
    "ha-crmsh": 1100,
    "ha-drbd-utils": 50,
    "ha-fence-agents": 30,
    "ha-gfs2-utils": 53,
    "ha-kronosnet": 70,
    "ha-libqb": 11,
    "ha-pacemaker": 150,
    "ha-resource-agents": 130,
}
"""How many tests each source's build runs at least."""

PASSED = (
    re.compile(r"^# PASS: +(\d+)$", re.MULTILINE),  # automake, for each folder
    re.compile(r"^All (\d+) tests were successful\.$", re.MULTILINE),  # autotest
    re.compile(r"^(?:.*, )?(\d+) passed\b.* in [\d.]+s", re.MULTILINE),  # pytest
    re.compile(r"^OK: (\d+) of \1 tests passed$", re.MULTILINE),  # clitest
)
ONE_PASSED = (
    re.compile(r"^ +Test [\w-]+: ", re.MULTILINE),  # a decision of Pacemaker's scheduler
    re.compile(r"^- validates$", re.MULTILINE),  # a resource agent's metadata
    re.compile(r"^\tdiff \$TEMPFILE \S+/tests/data/metadata/", re.MULTILINE),  # a fence agent's
)
FAILED = (
    re.compile(r"^# (?:FAIL|ERROR|XPASS): +(\d+)$", re.MULTILINE),
    re.compile(r"^(?:.*, )?(\d+) (?:failed|errors?)\b.* in [\d.]+s", re.MULTILINE),
)


@dataclass(frozen=True)
class Count:
    """The tests of one build."""

    passed: int
    failed: int


def count_tests(log: str) -> Count:
    """Lines of a build's log about upstream's tests, whatever ran them."""
    passed = sum(int(number) for pattern in PASSED for number in pattern.findall(log))
    passed += sum(len(pattern.findall(log)) for pattern in ONE_PASSED)
    return Count(passed, sum(int(number) for pattern in FAILED for number in pattern.findall(log)))


@pytest.mark.skipif(SUITE == NEWEST, reason=f"{SUITE} may lead: `hapkg outdated` tells where")
@pytest.mark.parametrize("source", NEWER)
def test_a_source_is_newer_than_the_suites_own(bare_node: Path, stack: Stack, source: str) -> None:
    ours = next(outcome["version"] for outcome in stack.outcomes if outcome["source"] == source)
    names = " ".join(DISTRIBUTION.name_packages(NEWER[source]))
    policy = Node(root=bare_node).run(f"apt-cache policy {names}").stdout
    theirs = re.search(r"Candidate: (?:\d+:)?(\d\S*)", policy)
    assert theirs, policy
    upstream = [version.rpartition("-")[0] for version in (ours, theirs[1])]
    relation = "gt" if SUITE == OLDEST else "ge"  # the others have caught up
    done = subprocess.run(["dpkg", "--compare-versions", upstream[0], relation, upstream[1]], check=False)
    assert done.returncode == 0, f"{source} has {upstream[0]}, {SUITE} {upstream[1]}"


@pytest.mark.parametrize("source", TESTS)
def test_upstreams_own_tests_ran(stack: Stack, source: str) -> None:
    log = next(outcome["log"] for outcome in stack.outcomes if outcome["source"] == source)
    count = count_tests(Path(log).read_text("utf-8", "replace"))
    assert count.failed == 0
    assert count.passed >= TESTS[source]


def test_whoever_runs_tests_is_counted() -> None:
    recipes = [recipe for recipe in read_recipes(find_project(CHECKOUT)).values() if not recipe.optional]
    assert sorted(TESTS) == sorted(recipe.source for recipe in recipes if recipe.tests and not recipe.native)
    silent = [recipe.source for recipe in recipes if not TESTS.get(recipe.source) and not recipe.native]
    told = {recipe.source for recipe in recipes if recipe.tests_off_reason or recipe.tests_left_out}
    assert [source for source in silent if source not in told] == []


def test_counting_reads_the_logs_of_every_kind() -> None:
    log = """\
# PASS:  11
# FAIL:  0
# PASS:  3
# ERROR: 2
All 46 tests were successful.
1122 passed in 5.36s
1 failed, 20 passed, 2 warnings in 1.00s
OK: 50 of 50 tests passed
  Test coloc-attr:                               Colocation based on node attributes
    grep 'Test .*:  ' test.out; \\
- validates
\tdiff $TEMPFILE /build/ha-x/tests/data/metadata/$x.xml || exit 1 && \\
"""
    assert count_tests(log) == Count(passed=11 + 3 + 46 + 1122 + 20 + 50 + 3, failed=2 + 1)
