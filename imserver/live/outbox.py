"""A session's bounded queue of outgoing frames.

Laws:

- `put` never waits and never fails. A session that is too slow is closed; its client reconnects and
  syncs.
- Frames leave in the order in which they were put, and never in halves.
- `flush` sends all queued frames in one piece. Only if the network does not take all of it at once,
  a task in the connection's own nursery sends the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import trio

from imserver.domain.errors import CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_CHUNK: Final = 64 * 1024  # bytes handed to the network at once


class Link(Protocol):
    """What carries a session's frames. It knows the network; a session does not."""

    def send_now(self, data: bytes) -> int:
        """Send without waiting; returns how many bytes were taken, possibly 0."""

    async def send(self, data: bytes) -> None:
        """Send, waiting for the network.

        Raises:
            OSError, trio.BrokenResourceError, trio.ClosedResourceError: it is gone.
        """

    def ping(self) -> None:
        """Send a ping."""

    def expire(self) -> None:
        """End the connection within seconds, whatever happens."""

    def close(self, code: CloseCode) -> None:
        """Send the close frame without waiting; called once, after everything was sent."""

    def spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task that ends with the connection at the latest."""


class Outbox:
    """Owner of the frames that wait for one session's network."""

    __slots__ = ("_closing", "_drained", "_link", "_parts", "_rest", "closed", "goodbye", "most",
                 "size")  # fmt: skip

    def __init__(self, link: Link, most: int) -> None:
        self._link = link
        self.most = most  # bytes that may wait
        self._parts: list[bytes] = []  # whole frames; an empty deque takes ten times the memory
        self._rest = b""  # the piece being sent; while it is not empty, the drain task runs
        self.size = 0  # bytes that wait, including the piece being sent
        self._closing: CloseCode | None = None  # the close code to send after everything else
        self.closed = False  # nothing more is accepted
        self.goodbye: CloseCode | None = None  # why we ended it, if we did
        self._drained: trio.Event | None = None

    def put(self, data: bytes) -> None:
        """Queue one frame; a session that cannot take it is closed with 4008."""
        if self.closed:
            return
        if self.size + len(data) > self.most:
            self.flush()
            if self.size and self.size + len(data) > self.most:
                self._overflow()
                return
        self._parts.append(data)
        self.size += len(data)

    def flush(self) -> None:
        """Send what waits, as far as the network takes it now."""
        while self._parts and not self._rest:
            chunk = self._next_chunk()
            try:
                taken = self._link.send_now(chunk)
            except OSError:
                self.abandon()
                return
            self.size -= taken
            if taken < len(chunk):
                self._rest = chunk[taken:]
                self._link.spawn(self._drain)

    def finish(self, code: CloseCode) -> None:
        """Accept nothing more, send what waits, then close."""
        if self.closed:
            return
        self.flush()
        self.closed = True
        self.goodbye = code
        self._link.expire()
        if self._rest:
            self._closing = code
        else:
            self._link.close(code)

    def abandon(self) -> None:
        """The network is gone: drop everything."""
        self.closed = True
        self._parts.clear()
        self.size = len(self._rest)
        self._wake()

    async def wait_below(self, size: int) -> None:
        """Wait until at most `size` bytes wait, or nothing more can be sent."""
        while self.size > size and not self.closed:
            if self._drained is None:
                self._drained = trio.Event()
            await self._drained.wait()

    def _next_chunk(self) -> bytes:
        parts = self._parts
        if self.size <= _CHUNK:  # of all: nothing else is under way
            chunk = parts[0] if len(parts) == 1 else b"".join(parts)
            parts.clear()
            return chunk
        count, size = 1, len(parts[0])
        while count < len(parts) and size + len(parts[count]) <= _CHUNK:
            size += len(parts[count])
            count += 1
        chunk = b"".join(parts[:count])
        del parts[:count]
        return chunk

    def _overflow(self) -> None:
        # The drain task finishes the piece being sent. Everything after it is dropped, and the
        # session is closed: a sync delivers it again.
        self.closed = True
        self._closing = self.goodbye = CloseCode.TOO_SLOW
        self._parts.clear()
        self.size = len(self._rest)
        self._link.expire()
        self._wake()

    async def _drain(self) -> None:
        try:
            while self._rest:
                await self._link.send(self._rest)
                self.size -= len(self._rest)
                self._rest = self._next_chunk() if self._parts else b""
                self._wake()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self.abandon()
            return
        if self._closing is not None:
            self._link.close(self._closing)

    def _wake(self) -> None:
        if self._drained is not None:
            self._drained.set()
            self._drained = None
