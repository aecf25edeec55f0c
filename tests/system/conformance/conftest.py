"""Upstream's own suites against an installed node; at the end, what each of them passed and failed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.acceptance.conftest import Node, Stack, bare_node, make_node, stack

__all__ = ["bare_node", "stack"]

_COUNTS = pytest.StashKey[list["Count"]]()


@dataclass(frozen=True, kw_only=True)
class Count:
    """One suite's own account of its results."""

    suite: str
    passed: int
    failed: int
    seconds: float


def pytest_configure(config: pytest.Config) -> None:
    """Room for the counts."""
    config.stash[_COUNTS] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table that `make conformance` is for."""
    terminalreporter.section("conformance")
    for count in config.stash[_COUNTS]:
        terminalreporter.write_line(
            f"{count.suite:<28} passed {count.passed:>5}   failed {count.failed:>3}   {count.seconds:6.0f} s"
        )


@pytest.fixture(scope="session")
def counts(pytestconfig: pytest.Config) -> list[Count]:
    """Where tests leave their counts."""
    return pytestconfig.stash[_COUNTS]


@pytest.fixture(scope="session")
def laboratory(bare_node: Path, stack: Stack) -> Iterator[Node]:
    """A node with ha-stack, upstream's tests of pacemaker, and the sources of crmsh as they were built."""
    with make_node(bare_node, stack, stack.url) as node:
        # Upstream's tests look for libcrmcommon as a linker does.
        tools = "binutils ha-pacemaker-dev libxml2-utils python3-pytest"
        node.run(f"apt-get update && apt-get install -y ha-stack ha-pacemaker-cts {tools}")
        (outcome,) = (outcome for outcome in stack.outcomes if outcome["source"] == "ha-crmsh")
        (dsc,) = Path(outcome["log"]).parent.glob("*.dsc")
        argv = ["dpkg-source", "--no-check", "--extract", str(dsc), str(node.root / "srv/crmsh")]
        subprocess.run(argv, check=True, capture_output=True)
        yield node
