"""docs/node-tested.md is what the tests of a node run: `--golden` writes it anew."""

from __future__ import annotations

import pytest

from tests.support.samples import CHECKOUT
from tests.system.acceptance.commands import CRM, EXPORTER, PCS, TOOLS, Command
from tests.system.acceptance.cures import CURES, OTHERS

PAGE = CHECKOUT / "docs/node-tested.md"
HEAD = """# What is run on a node

Written from the tables that the tests of `make acceptance` run (`tests/unit/test_node_tested.py --golden`): what stands
here was done on a formed cluster of two nodes, and came out so.
"""


def make_row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") or "-" for cell in cells) + " |"


def describe(title: str, program: str, rows: tuple[Command, ...]) -> list[str]:
    lines = [f"## {title}", "", "| command | outcome |", "|-|-|"]
    return [*lines, *(make_row(f"`{program}{row.line}`", row.outcome) for row in rows), ""]


def make_page() -> str:
    lines = [HEAD]
    lines += describe("crm", "crm ", CRM)
    lines += describe("Beside crm", "", TOOLS)
    lines += describe("Debian's pcs, with ha-stack-links", "pcs ", PCS)
    lines += describe("prometheus-hacluster-exporter, with ha-stack-links", "", EXPORTER)
    lines += ["## Remedies of `ha-stack check`", ""]
    lines += ["Each is printed for what is found, run as it stands, and the finding is gone.", ""]
    lines += ["| check | found | remedy | after | run by |", "|-|-|-|-|-|"]
    for cure in (*CURES, *OTHERS):
        harm = f"`{cure.harm}`" if cure in CURES else cure.harm
        lines.append(make_row(cure.check, cure.words, f"`{cure.remedy}`", harm, cure.test))
    return "\n".join((*lines, ""))


def test_the_page_is_what_is_run(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--golden"):
        PAGE.write_text(make_page())
    assert PAGE.read_text() == make_page()
