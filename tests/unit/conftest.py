"""Unit tests need no root and no network beyond loopback; hypothesis keeps no examples on the disk."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

from hapkg.source import fetch
from tests.support.upstream import Place, World

# How long a busy machine takes is no property of the code: no deadlines, and no complaint about slow examples.
hypothesis.settings.register_profile(
    "unit",
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unit")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the wait between attempts to zero: failures on purpose are tried again at once."""
    monkeypatch.setattr(fetch, "_PAUSES", (0.0,) * fetch.ATTEMPTS)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """An upstream and a Debian archive, asked once for all tests."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def place(tmp_path: Path, world: World) -> Place:
    """A project whose recipe is one release behind."""
    return Place(tmp_path, world)
