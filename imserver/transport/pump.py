"""One task that waits for all connections at once, and lets each readable one take its bytes.

A task switch, a registration and its withdrawal for every frame are what a readiness wait in each
connection's own task costs; here they are shared by all that became readable together. What may
wait (a read of the store, a client held back) is done by the connection's own task, which stays
parked otherwise.

Laws: what is called here never waits and never raises. However much has come, other tasks get
their turn every 2 ms or so; what one socket costs at once is for its owner to bound, and for what
is left of it the owners take turns, one at a time. Owner of the selector: `Pump`.
"""

from __future__ import annotations

import selectors
from time import perf_counter
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_SLICE: Final = 0.002  # seconds of work before other tasks get their turn


class Pump:
    """Watches sockets and calls back when one is readable, has ended, or failed."""

    def __init__(self, after_slice: Callable[[], None]) -> None:
        # Its descriptor is readable when any of its sockets is, so trio can wait for all of them.
        self._selector = selectors.DefaultSelector()
        self._after_slice = after_slice
        self._turns = trio.CapacityLimiter(1)

    async def run(self) -> None:
        """Pump until cancelled; closes the selector."""
        with self._selector as selector:
            descriptor: int = selector.fileno()
            watched = selector.get_map()
            while True:
                await trio.lowlevel.wait_readable(descriptor)
                ready = selector.select(0)
                begun = perf_counter()
                for key, _ in ready:
                    if watched.get(key.fd) is not key:  # taken off meanwhile
                        continue
                    key.data()
                    if perf_counter() - begun > _SLICE:
                        self._after_slice()
                        await trio.lowlevel.checkpoint()
                        begun = perf_counter()
                self._after_slice()

    async def turn(self) -> None:
        """Wait for a turn at what came earlier and is not done yet; others get theirs between."""
        async with self._turns:
            await trio.lowlevel.checkpoint()

    def watch(self, sock: socket.socket, readable: Callable[[], None]) -> None:
        """Call `readable` whenever `sock` is."""
        self._selector.register(sock, selectors.EVENT_READ, readable)

    def leave(self, sock: socket.socket) -> None:
        """Stop watching; harmless for a socket that is not watched, and when the pump has ended."""
        watched = self._selector.get_map()
        if watched and sock in watched:
            self._selector.unregister(sock)
