"""A project to draft in, and no proxy of this host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hapkg.recipe.settings import Project
from tests.support.drafts import make_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project without recipes, not even a folder for them."""
    return make_project(tmp_path / "project")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("no_proxy", "*")
    yield
