"""A network in memory: takes what it is told to take, and remembers what it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from imserver.domain.errors import CloseCode


class FakeLink:
    """A `Link` whose peer takes `window` bytes at once (None: all), and more when it `opens`."""

    def __init__(
        self,
        nursery: trio.Nursery | None = None,
        *,
        window: int | None = None,
    ) -> None:
        self.sent = b""  # what the peer has got
        self.sends: list[bytes] = []  # the pieces in which it was handed over
        self.closed: list[CloseCode] = []
        self.pings = 0
        self.expirations = 0
        self.spawned = 0
        self.broken = False
        self._nursery = nursery
        self._window = window
        self._opened = trio.Event()

    def open(self, window: int | None = None) -> None:
        """The peer takes `window` bytes more, or everything from now on."""
        self._window = None if window is None else (self._window or 0) + window
        self._wake()

    def sever(self) -> None:
        """The network is gone: whoever sends, or is sending, is told."""
        self.broken = True
        self._wake()

    def _wake(self) -> None:
        self._opened.set()
        self._opened = trio.Event()

    def _take(self, data: bytes) -> int:
        if self.broken:
            raise BrokenPipeError
        taken = len(data) if self._window is None else min(self._window, len(data))
        if self._window is not None:
            self._window -= taken
        self.sent += data[:taken]
        return taken

    def send_now(self, data: bytes) -> int:
        taken = self._take(data)
        if taken:
            self.sends.append(data[:taken])
        return taken

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        while data := data[self._take(data) :]:
            await self._opened.wait()

    def ping(self) -> None:
        self.pings += 1

    def expire(self) -> None:
        self.expirations += 1

    def close(self, code: CloseCode) -> None:
        self.closed.append(code)

    def spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None, "nothing here was expected to wait"
        self.spawned += 1
        self._nursery.start_soon(task)
