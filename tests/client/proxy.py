"""A TCP proxy that loses connections and holds bytes back when it is told to."""

from __future__ import annotations

import socket
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Gate:
    """Bytes pass while it is open."""

    def __init__(self) -> None:
        self._open = trio.Event()
        self._open.set()
        self._free = 0  # pieces that may still pass when it is shut
        self.held = trio.Event()  # something is waiting, or waited, behind it

    def shut(self, after: int = 0) -> None:
        """Hold everything back, after so many pieces more."""
        self._open = trio.Event()
        self._free = after

    def open(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        if self._free:
            self._free -= 1
        elif not self._open.is_set():
            self.held.set()
            await self._open.wait()


class Wire:
    """One proxied connection."""

    def __init__(self, client: trio.SocketStream, server: trio.SocketStream) -> None:
        self._client = client
        self._server = server
        self._scope = trio.CancelScope()
        self.up = Gate()  # from the client to the server
        self.down = Gate()

    async def run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, self._client, self._server, self.up)
                nursery.start_soon(self._pump, self._server, self._client, self.down)

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream, gate: Gate) -> None:
        try:
            while data := await source.receive_some():
                await gate.passed()
                await sink.send_all(data)
            await gate.passed()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self._scope.cancel()

    def cut(self) -> None:
        """Reset both sides; what is held back is lost."""
        for stream in (self._client, self._server):
            with suppress(OSError):  # closed already
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._scope.cancel()


class Proxy:
    """Where clients connect to; owner of the wires."""

    def __init__(self, port: int, upstream: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.upstream = upstream  # the server's port
        self.wires: list[Wire] = []  # all there have been
        self.accepts = True  # whether it lets anybody through
        self.prepare: Callable[[Wire], None] = lambda wire: None  # called with each new one
        self._more = trio.Event()

    @property
    def wire(self) -> Wire:
        """The latest connection."""
        return self.wires[-1]

    async def connected(self, count: int) -> None:
        """Wait until there have been so many connections."""
        while len(self.wires) < count:
            self._more = trio.Event()
            await self._more.wait()

    async def serve(self, client: trio.SocketStream) -> None:
        if not self.accepts:
            await client.aclose()
            return
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self.upstream)
        except OSError:
            await client.aclose()
            return
        wire = Wire(client, server)
        self.prepare(wire)
        self.wires.append(wire)
        self._more.set()
        async with client, server:
            await wire.run()


@asynccontextmanager
async def proxy_to(upstream: int) -> AsyncIterator[Proxy]:
    """A proxy on a free port."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy = Proxy(listener.socket.getsockname()[1], upstream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
