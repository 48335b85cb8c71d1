"""HTTP/2 for the REST lane: hypercorn's, within bounds that it does not set itself.

For clients that have agreed on it by ALPN. What is done here, and why:

- Requests that hypercorn cannot handle are refused: malformed paths, and CONNECT, which sends
  WebSockets to HTTP/1.1.
- A client that opens requests only to reset them (CVE-2023-44487) is disconnected.
- Data for a request that was answered already is dropped, and counted as read: otherwise the
  connection's window would close bit by bit.
- Priorities are ignored (RFC 9113 section 5.3.2), so they cannot be malformed.
- A protocol error ends the client's own connection, and no other.

How many requests may be under way at once, and how large a head may be, is told to the client in
settings; how long an answer waits for its window is bounded where it is sent (see `http`).
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio
from h2.errors import ErrorCodes
from h2.events import DataReceived, PriorityUpdated, RequestReceived, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hypercorn.events import Closed
from hypercorn.events import Event as IOEvent
from hypercorn.protocol.events import Body, StreamClosed
from hypercorn.protocol.h2 import H2Protocol

if TYPE_CHECKING:
    from h2.events import Event
    from hypercorn.protocol import ProtocolWrapper
    from hypercorn.protocol.events import Event as StreamEvent

logger = logging.getLogger(__name__)
# It would log every header, tokens among them.
logging.getLogger("hpack").setLevel(logging.WARNING)

CONCURRENT: Final = 32  # requests of one connection under way at once
_MOST_GIVEN_UP: Final = 100  # requests, beyond those that were waited for


class Http2(H2Protocol):
    """One connection."""

    def __init__(self, plan: ProtocolWrapper) -> None:
        """`plan` is what hypercorn has made for this connection."""
        super().__init__(
            plan.app,
            plan.config,
            plan.context,
            plan.task_group,
            plan.state,
            plan.ssl,
            plan.client,
            plan.server,
            plan.send,
        )
        head = plan.config.h2_max_header_list_size
        self.connection.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: plan.config.h2_max_concurrent_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: head,
            },
        )
        self.connection.decoder.max_header_list_size = head
        self._given_up = 0  # by the client, less those that it waited for
        self._sent = trio.Event()  # set when something was, and at the end

    async def _handle_events(self, events: list[Event]) -> None:
        for event in events:
            if self.closed:
                return
            try:
                await self._handle_event(event)
            except ProtocolError:
                logger.debug("a client broke HTTP/2", exc_info=True)
                await self._end(ErrorCodes.PROTOCOL_ERROR)
        with suppress(ProtocolError):
            await self._flush()

    async def _handle_event(self, event: Event) -> None:
        match event:
            case RequestReceived():
                refusal = _refusal(event)
                if refusal is not None:
                    assert event.stream_id is not None
                    self.connection.reset_stream(event.stream_id, refusal)
                    return
                self.keep_alive_requests = 0  # at its limit, those under way would get no answer
                await super()._handle_events([event])
            case DataReceived():
                await self._take(event)
            case StreamReset():
                self._given_up += event.stream_id in self.streams
                await super()._handle_events([event])
                if self._given_up > _MOST_GIVEN_UP:
                    await self._end(ErrorCodes.ENHANCE_YOUR_CALM)
            case PriorityUpdated():
                pass
            case _:
                await super()._handle_events([event])

    async def _take(self, event: DataReceived) -> None:
        assert event.stream_id is not None
        assert event.flow_controlled_length is not None
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            with suppress(trio.BrokenResourceError):  # it is answered already
                await stream.handle(Body(stream_id=event.stream_id, data=event.data or b""))
        self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    async def stream_send(self, event: StreamEvent) -> None:
        """Something for the client, from the application."""
        if isinstance(event, StreamClosed):
            await self._wait_sent(event.stream_id)
            if event.stream_id in self.streams:  # it was waited for
                self._given_up = max(0, self._given_up - 1)
        await super().stream_send(event)

    async def _wait_sent(self, stream_id: int) -> None:
        # hypercorn says goodbye as soon as the last byte is taken out of its buffer: too soon for
        # the frame that ends the answer.
        while not self.closed:
            buffer = self.stream_buffers.get(stream_id)
            if buffer is None or not buffer.complete:
                return
            await self._sent.wait()

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        self._wake()

    async def handle(self, event: IOEvent) -> None:
        """Something from the client."""
        await super().handle(event)
        if self.closed:
            self._wake()

    def _wake(self) -> None:
        self._sent.set()
        self._sent = trio.Event()

    async def _close_stream(self, stream_id: int) -> None:
        with suppress(trio.BrokenResourceError):
            await super()._close_stream(stream_id)
        await self.has_data.set()

    async def go_away(self, why: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Tell the client that the connection ends."""
        with suppress(ProtocolError):
            self.connection.close_connection(why)
        await self._flush()

    async def _end(self, why: ErrorCodes) -> None:
        await self.go_away(why)
        await self.send(Closed())


def _refusal(request: RequestReceived) -> ErrorCodes | None:
    head = dict(request.headers or ())
    method, path = bytes(head.get(b":method", b"")), bytes(head.get(b":path", b""))
    if method == b"CONNECT":
        return ErrorCodes.HTTP_1_1_REQUIRED
    if not method.isascii() or not path.isascii() or not path.startswith((b"/", b"*")):
        return ErrorCodes.PROTOCOL_ERROR
    return None
