"""Unit tests need no root and no network beyond loopback; hypothesis keeps no examples on the disk."""

from __future__ import annotations

import hypothesis
import pytest

from hapkg.source import fetch

hypothesis.settings.register_profile("unit", deadline=None, database=None, print_blob=True)
hypothesis.settings.load_profile("unit")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the wait between attempts to zero: failures on purpose are tried again at once."""
    monkeypatch.setattr(fetch, "_PAUSES", (0.0,) * fetch.ATTEMPTS)
