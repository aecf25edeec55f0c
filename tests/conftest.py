"""Options of the tests."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """pytest --golden writes golden files anew; git diff shows what changed."""
    parser.addoption("--golden", action="store_true", help="write the golden files of tests/unit/golden anew")
