"""The body of a raw route's request over HTTP/1.1: iterating on is the back-pressure."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

import trio

from imserver.transport.rest import body_too_large, body_too_slow

if TYPE_CHECKING:
    from imserver.transport.http1_reader import IncomingRequest


class Source(Protocol):
    """The connection that a body comes from."""

    async def begin_body(self, incoming: IncomingRequest) -> None:
        """Tell a client that waits for it to go on."""

    def read_on(self) -> bool:
        """Take in what was read ahead, or see to it that more is read: then false.

        Raises:
            ApiError: the client breaks HTTP.
            BrokenResourceError: nothing more will come.
        """


class RawBody:
    """An iterator over the pieces. See `routes` for what it raises."""

    def __init__(self, source: Source, incoming: IncomingRequest, most: int | None) -> None:
        self.incoming = incoming
        self._source = source
        self._most = inf if most is None else most
        self._came = trio.Event()
        self._expired = False

    def __aiter__(self) -> RawBody:
        return self

    async def __anext__(self) -> bytes:
        incoming = self.incoming
        await trio.lowlevel.checkpoint()
        if max(incoming.taken, incoming.length or 0) > self._most:
            raise body_too_large()
        if incoming.expects:
            await self._source.begin_body(incoming)
        while not incoming.body:
            if incoming.complete:
                raise StopAsyncIteration
            if not self._source.read_on():
                self._came = trio.Event()
                await self._came.wait()
            if self._expired:
                raise body_too_slow()
        if incoming.taken > self._most:
            raise body_too_large()
        piece = bytes(incoming.body)
        incoming.body.clear()
        return piece

    def wake(self) -> None:
        """More has come, or the end."""
        self._came.set()

    def expire(self) -> None:
        """The client takes too long."""
        self._expired = True
        self._came.set()
