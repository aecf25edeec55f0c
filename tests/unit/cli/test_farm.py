"""Addresses of schedulers."""

from __future__ import annotations

import pytest

from hapkg.cli.farm import _check_scheduler
from hapkg.errors import UsageError


@pytest.mark.parametrize(
    "address",
    ["", "nowhere", "http://10.0.0.1:8786", "tcp://10.0.0.1", "tls://10.0.0.1:0", "tls://a b:1", "tls://h:99999"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="no address of a scheduler"):
        _check_scheduler(address)


@pytest.mark.parametrize(
    ("address", "noted"),
    [
        ("tls://10.0.0.1:8786", False),
        ("tcp://127.0.0.1:8786", False),
        ("tcp://[::1]:8786", False),
        ("tcp://localhost:8786", False),
        ("tcp://10.0.0.1:8786", True),
        ("tcp://builder.example.org:8786", True),
    ],
)
def test_tcp_is_noted_where_others_may_reach_it(address: str, noted: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert _check_scheduler(address) == address
    assert ("runs code on its workers" in capsys.readouterr().err) == noted
