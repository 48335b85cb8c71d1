"""The writer's thread. It runs one function at a time and tells by a descriptor that it is done.

Handing a function to trio's thread pool costs several task switches for each batch of writes. Here
a batch costs one release of a lock on the way there, and one write to an eventfd on the way back.

Laws:

- Only one function is under way at a time: `run` is called by one task.
- The thread lives as long as the context of `Worker`. Leaving it waits for the function under way.
"""

from __future__ import annotations

import os
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

import outcome
import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class Worker:
    """Owner of the thread, and of what is under way in it."""

    def __init__(self, name: str) -> None:
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._go = Lock()  # free: there is a function to run, or there will be none any more
        self._function: Callable[[], Any] | None = None
        self._outcome: outcome.Outcome[Any] | None = None
        self._descriptor = -1  # readable if what was begun has ended

    def __enter__(self) -> Worker:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._go.acquire()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._function = None
        self._go.release()
        self._thread.join()
        os.close(self._descriptor)

    async def run(self, function: Callable[[], Any]) -> Any:
        """Run a function in the thread, and wait for it even if cancelled.

        Raises:
            Exception: what the function raised.
        """
        self._function = function
        self._go.release()
        with trio.CancelScope(shield=True):
            await trio.lowlevel.wait_readable(self._descriptor)
        os.eventfd_read(self._descriptor)
        ended, self._outcome = self._outcome, None
        assert ended is not None
        return ended.unwrap()

    def _run(self) -> None:
        while True:
            self._go.acquire()
            function, self._function = self._function, None
            if function is None:
                return
            self._outcome = outcome.capture(function)
            os.eventfd_write(self._descriptor, 1)
