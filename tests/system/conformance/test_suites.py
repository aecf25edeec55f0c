"""Each of upstream's suites, run as its authors run it, on the installed stack. docs/conformance.md tells of each."""

from __future__ import annotations

import re
import time

import pytest

from tests.system.acceptance.conftest import Node
from tests.system.conformance.conftest import Count

PREFIX = "/opt/ha"
ENVIRONMENT = (
    f"export PATH={PREFIX}/sbin:{PREFIX}/bin:$PATH HOME=/root LD_LIBRARY_PATH={PREFIX}/lib "
    f"PYTHONPATH=$(echo {PREFIX}/lib/python3.*/site-packages):{PREFIX}/lib/python3/dist-packages; "
)


def run(node: Node, script: str) -> tuple[str, float]:
    """The output of a suite, and the time it takes."""
    started = time.monotonic()
    # A network of its own: a cluster that a suite starts must meet no other one.
    done = node.run(f"{ENVIRONMENT}{script} 2>&1", check=False, address="192.168.77.1")
    return done.stdout, time.monotonic() - started


def judge(counts: list[Count], count: Count, told: str, least: int) -> None:
    """Keep the count, and fail when a test failed or when the suite lost tests."""
    counts.append(count)
    assert count.failed == 0, told[-6000:]
    assert count.passed >= least, told[-6000:]


def find_number(pattern: str, told: str) -> int:
    """The number that a suite tells; 0 when it tells none."""
    found = re.search(pattern, told, re.MULTILINE)
    return int(found[1]) if found else 0


def test_command_line_tools(laboratory: Node, counts: list[Count]) -> None:
    tests = f"{PREFIX}/share/pacemaker/tests"
    # Recorded decisions about bundles hold the path of Pacemaker Remote, /usr/sbin: they are others for other places.
    usage, _ = run(laboratory, f"python3 {tests}/cts-cli --help")
    (usual,) = re.findall(r"^Default tests: (.+)$", usage, re.MULTILINE)
    chosen = " ".join(f"--run-only {name}" for name in (*usual.split(), "agents") if name != "crm_simulate")
    told, seconds = run(laboratory, f"python3 {tests}/cts-cli {chosen}")
    passed, failed = find_number(r"^(\d+) tests? passed", told), find_number(r"^(\d+) tests? failed", told)
    for file, suite in re.findall(r"^\s+(/tmp/cts-cli\.(\w+)\.\w+)$", told, re.MULTILINE):
        # The laboratory has no system bus, whose absence the tools name.
        same = f"diff -u -I 'Could not connect to DBus' {tests}/cli/regression.{suite}.exp {file} && echo the same"
        difference, _ = run(laboratory, same)
        told, failed = f"{told}\n{difference}", failed + (difference != "the same\n")
    judge(counts, Count(suite="pacemaker cts-cli", passed=passed, failed=failed, seconds=seconds), told, 650)


@pytest.mark.parametrize(("suite", "least"), [("cts-attrd", 18), ("cts-fencing", 49)])
def test_daemons(laboratory: Node, counts: list[Count], suite: str, least: int) -> None:
    told, seconds = run(laboratory, f"python3 {PREFIX}/share/pacemaker/tests/{suite}")
    totals = re.search(r"--- TOTALS\s+Pass:(\d+)\s+Fail:(\d+)", told)
    assert totals, told[-6000:]
    count = Count(suite=f"pacemaker {suite}", passed=int(totals[1]), failed=int(totals[2]), seconds=seconds)
    judge(counts, count, told, least)


def test_shell(laboratory: Node, counts: list[Count]) -> None:
    # The tests expect the distribution's places in what the shell says: they are moved as the source was for its build.
    move = "find test/unittests -type f -name '*.py' -print0 | xargs -0 sed -E -i -f debian/relocate.sed"
    # The installed shell, not the one of the source.
    tests = "rm -r crmsh && cd test/unittests && python3 -m pytest -q -p no:cacheprovider"
    told, seconds = run(laboratory, f"cd /srv/crmsh && {move} && {tests}")
    passed, failed = (find_number(rf"(\d+) {word}", told) for word in ("passed", "failed"))
    judge(counts, Count(suite="crmsh unit tests", passed=passed, failed=failed, seconds=seconds), told, 1100)


@pytest.mark.parametrize("agent", ["heartbeat/Dummy"])  # Pacemaker's own speak OCF 1.1, ocf-tester's DTD is of 1.0
def test_agents(laboratory: Node, counts: list[Count], agent: str) -> None:
    root = f"{PREFIX}/usr/lib/ocf"
    told, seconds = run(laboratory, f"OCF_ROOT={root} ocf-tester -n test {root}/resource.d/{agent}; echo status $?")
    good = "passed all tests" in told and told.rstrip().endswith("status 0")
    judge(counts, Count(suite=f"ocf-tester {agent}", passed=int(good), failed=int(not good), seconds=seconds), told, 1)
