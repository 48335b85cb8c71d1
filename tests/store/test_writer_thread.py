"""The writer's thread: one function at a time, waited for even if cancelled, gone afterwards."""

from __future__ import annotations

import threading

import pytest
import trio

from imserver.store.writer_thread import Worker


async def test_what_a_function_returns_or_raises_comes_back() -> None:
    with Worker("worker") as worker:
        assert await worker.run(lambda: threading.current_thread().name) == "worker"
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 // 0)
        assert await worker.run(lambda: 3) == 3
    assert "worker" not in [thread.name for thread in threading.enumerate()]


async def test_a_cancelled_caller_waits_for_what_is_under_way() -> None:
    entered, go_on = threading.Event(), threading.Event()
    finished = []

    def hold() -> None:
        entered.set()
        assert go_on.wait(20)
        finished.append(True)

    with Worker("worker") as worker:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run, hold)
            await trio.to_thread.run_sync(entered.wait)
            nursery.cancel_scope.cancel()
            assert not finished
            go_on.set()
    assert finished
