"""The part of a worker that needs no Dask."""

from __future__ import annotations

import threading
from pathlib import Path

from hapkg.build.store import Store
from hapkg.farm.worker import Bench


def test_orders_are_waited_for_but_not_for_ever(tmp_path: Path) -> None:
    bench = Bench(store=Store(root=tmp_path), base=tmp_path)
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        with bench.take():
            begun.set()
            may_end.wait(60)
            ended.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert begun.wait(60)
    bench.wait_for_orders(0.01)
    assert not ended.is_set()
    may_end.set()
    bench.wait_for_orders(60)
    assert ended.is_set()
    thread.join()
    bench.wait_for_orders(0)
    assert bench.orders == set()
