"""The line to Dask's scheduler: opened, and said to be cut where it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from distributed import Client
from distributed.security import Security

from hapkg.errors import MachineError

_REACH_SECONDS = 30


@contextlib.contextmanager
def open_client(scheduler: str, security: Security | None = None) -> Iterator[Any]:
    """A client of the scheduler at an address, which is spoken to as Dask is configured where no security is given.

    Raises MachineError where it cannot be reached.
    """
    try:
        client = Client(scheduler, timeout=_REACH_SECONDS, set_as_default=False, security=security or Security())
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise MachineError(
            f"the scheduler {scheduler} cannot be reached: {error}"[:500],
            hint="start it: dask scheduler; tls:// wants a certificate in Dask's configuration: docs/workers.md",
        ) from error
    with client:
        yield client


@contextlib.contextmanager
def reached(client: Any) -> Iterator[None]:
    """Say that the scheduler is gone where it is. Raises MachineError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise MachineError(
            f"the scheduler {client.scheduler.address if client.scheduler else ''} is gone: {error}"[:500],
            hint="start it again, and run the same again: what is finished is reused",
        ) from error
