"""docs/node-tested.md is what the tests of a node run: `--golden` writes it anew."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.samples import CHECKOUT
from tests.system.acceptance.commands import CRM, EXPORTER, PCS, TOOLS, Command
from tests.system.acceptance.cures import CURES, OTHERS

PAGE = CHECKOUT / "docs/node-tested.md"
COMMAND = CHECKOUT / "recipes/stack/debian/share/hastack"
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


def list_commands(value: ast.expr, names: dict[str, ast.expr]) -> Iterator[str]:
    """Patterns of the commands that an expression can give; of what another function makes, nothing."""
    match value:
        case ast.Constant(value=str(text)) if text:
            yield re.escape(text)
        case ast.JoinedStr():
            parts = (part.value if isinstance(part, ast.Constant) else None for part in value.values)
            yield "".join(".+" if part is None else re.escape(str(part)) for part in parts)
        case ast.IfExp():
            yield from (*list_commands(value.body, names), *list_commands(value.orelse, names))
        case ast.Name() if value.id in names:
            yield from list_commands(names[value.id], names)


def find_remedies(file: Path) -> Iterator[str]:
    """Patterns of the commands that the findings of a module name as their remedy."""
    for function in ast.walk(ast.parse(file.read_text())):
        if not isinstance(function, ast.FunctionDef):
            continue
        names = {
            target.id: node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Finding":
                given = [*call.args[3:4], *(word.value for word in call.keywords if word.arg == "remedy")]
                for value in given:
                    yield from list_commands(value, names)


def test_no_remedy_is_printed_that_no_test_runs() -> None:
    remedies = {pattern for file in COMMAND.glob("*.py") for pattern in find_remedies(file)}
    assert len(remedies) > 15
    proved = [cure.remedy for cure in (*CURES, *OTHERS)]
    assert [pattern for pattern in remedies if not any(re.search(pattern, remedy) for remedy in proved)] == []
