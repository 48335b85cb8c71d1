"""The REST lane: hypercorn's trio `TCPServer`, running the quart-trio application.

That `TCPServer` takes an accepted stream is not hypercorn's advertised surface: its minor version
is pinned, and tests say what is used. What it and quart-trio leave unbounded or undone together is
bounded and done here, each with its reason beside it:

- an answer that the client does not take,
- the work behind the last byte of an answer,
- a client that has said all it has to say, or says more than it may,
- targets that are no path,
- HTTP/2 (see `http2`),
- WebSockets, which go to the other lane: hypercorn's own bound neither a message that never ends
  nor what compression unfolds to.
"""

from __future__ import annotations

import logging
import math
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from imserver.transport import unreadable
from imserver.transport.http2 import CONCURRENT, Http2
from imserver.transport.proxies import FORWARDED_FOR
from imserver.transport.sockets import receive
from imserver.transport.tls import HTTP1, TlsSocket, TlsStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypercorn.protocol import ProtocolWrapper
    from hypercorn.typing import (
        ASGIReceiveCallable,
        ASGISendCallable,
        ASGISendEvent,
        HTTPScope,
        Scope,
        WebsocketScope,
    )
    from quart_trio import QuartTrio

    from imserver.domain.model import Peer
    from imserver.transport.gate import Gate
    from imserver.transport.proxies import Proxies
    from imserver.transport.requests import Request, Requests

logger = logging.getLogger(__name__)

_LINGER: Final = 1.0  # seconds that a connection may outlive its client
_ANSWER: Final = 5.0  # seconds to answer a client that has said all
_STALL: Final = 20.0  # seconds for a client to take a chunk of its answer
_CHUNK: Final = 64 * 1024  # bytes
ESCAPED_SLASH: Final = "\0"  # stands for one in a path: no id has a NUL
_NO_TEXT: Final = "\ufffd"  # what the standard library makes of bytes that are no text
_FORWARDED_FOR: Final = FORWARDED_FOR.lower().encode()


class RestLane:
    """Serves connections that speak HTTP/1.1 or, over TLS, HTTP/2."""

    def __init__(
        self,
        app: QuartTrio,
        requests: Requests,
        proxies: Proxies,
        gate: Gate | None = None,
        *,
        idle_timeout: float,
        header_bytes: int,
    ) -> None:
        self._app = ASGIWrapper(_Application(app, requests, proxies, gate))
        self._requests = requests
        self._context = WorkerContext(None)
        self._config = HypercornConfig()
        self._config.accesslog = None
        self._config.errorlog = logging.getLogger("imserver.http")
        self._config.include_server_header = False
        self._config.keep_alive_timeout = idle_timeout
        self._config.read_timeout = math.ceil(idle_timeout)
        self._config.h11_max_incomplete_size = header_bytes
        self._config.h2_max_header_list_size = header_bytes
        self._config.h2_max_concurrent_streams = CONCURRENT

    async def serve(self, sock: socket.socket, head: bytes, peer: Peer) -> bytes:
        """Serve calls on a connection of `peer`, of which `head` was read already, until it ends.

        Or until it asks for a WebSocket at `/ws`: then the head of that request is returned, and
        the connection is as if nobody had looked at it. The caller closes the socket.
        """
        async with trio.open_nursery() as nursery:
            stream: _GivenBack
            if isinstance(sock, TlsSocket):
                stream = _SecureGivenBack(TlsStream(sock), head, nursery.cancel_scope)
            else:
                plain = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
                stream = _GivenBack(plain, head, nursery.cancel_scope)
            nursery.start_soon(_close_when_cancelled, stream)
            await _Server(
                self._app,
                self._config,
                self._context,
                ConnectionState({"stream": stream, "peer": peer, "requests": self._requests}),
                stream,  # type: ignore[arg-type]
            ).run()
            nursery.cancel_scope.cancel()
        if stream.unread:
            await take_the_rest(sock)
        return stream.upgrade

    async def retire(self) -> None:
        """Let idle connections go, and those at work when they are done."""
        await self._context.terminated.set()


class _GivenBack:
    """A stream that first yields what was read from it before."""

    def __init__(
        self,
        stream: trio.SocketStream | TlsStream,
        head: bytes,
        connection: trio.CancelScope,
    ) -> None:
        self._stream = stream
        self._head = head
        self._connection = connection
        self.socket = stream.socket
        self.at_work = 0  # requests that are not answered yet
        self._answered = trio.Event()  # set when no request is at work any more
        self.unread = False  # it was closed while a client may still have been sending
        self.upgrade = b""  # the head of the request for a WebSocket with which it was taken back
        self.said = False  # something was sent since the last request was answered

    def begin(self) -> None:
        """A request is at work."""
        self.at_work += 1

    def end(self) -> None:
        """It is answered, or never will be."""
        self.at_work -= 1
        self.said = False
        if not self.at_work:
            self._answered.set()
            self._answered = trio.Event()

    def cut_off(self) -> None:
        """End the connection at once."""
        self._connection.cancel()

    def take_back(self, upgrade: bytes) -> None:
        """End hypercorn's part in the connection, which stays open."""
        self.upgrade = upgrade
        self._connection.cancel()

    async def send_all(self, data: bytes) -> None:
        """Send, as long as the client takes some of it.

        hypercorn shields its sends, so nothing else would ever end one.

        Raises:
            BrokenResourceError: it does not.
        """
        if self.upgrade:
            return
        self.said = True
        for start in range(0, len(data), _CHUNK):
            with trio.move_on_after(_STALL) as patience:
                try:
                    await self._stream.send_all(memoryview(data)[start : start + _CHUNK])
                except trio.BusyResourceError:  # it is being closed
                    raise trio.BrokenResourceError("closed") from None
            if patience.cancelled_caught:
                raise trio.BrokenResourceError("the client does not take its answer")

    async def receive_some(self, max_bytes: int) -> bytes:
        if self._head:
            head, self._head = self._head[:max_bytes], self._head[max_bytes:]
            return head
        data = bytes(await self._stream.receive_some(max_bytes))
        if not data:
            await self._answer()
            self._let_go()
        return data

    async def _answer(self) -> None:
        # A client that has said all is still owed its answer, but hypercorn drops it.
        for _ in range(2):  # a request just read is at work after the second, whatever the order
            await trio.lowlevel.checkpoint()
        if self.at_work:
            with trio.move_on_after(_ANSWER):
                await self._answered.wait()

    # hypercorn closes from the application's task, which is cancelled as soon as it has answered:
    # a close that stops half way would leave the client waiting. Neither of these waits.

    async def send_eof(self) -> None:
        if self.upgrade:
            return
        with trio.CancelScope(shield=True):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        self._let_go()
        if self.at_work:
            self.unread = True
            self._connection.cancel()
        if self.unread or self.upgrade:
            return
        with trio.CancelScope(shield=True):
            await self._stream.aclose()

    def close(self) -> None:
        """Close at once."""
        self.socket.close()

    def _let_go(self) -> None:
        # hypercorn ends by itself, unless something in it waits for what will never come.
        self._connection.deadline = trio.current_time() + _LINGER


class _SecureGivenBack(_GivenBack):
    """The same over TLS: what else hypercorn asks of a `trio.SSLStream`."""

    def __init__(self, stream: TlsStream, head: bytes, connection: trio.CancelScope) -> None:
        super().__init__(stream, head, connection)
        self._protocol = stream.socket.selected_alpn_protocol() or HTTP1
        self.transport_stream = self
        self.close = stream.close  # type: ignore[method-assign]

    async def do_handshake(self) -> None:
        """Nothing: that was before the first line."""

    def selected_alpn_protocol(self) -> str:
        """What client and server have agreed to speak."""
        return self._protocol


class _Application:
    """What hypercorn calls: the application, kept from what would trip it up."""

    def __init__(
        self, app: QuartTrio, requests: Requests, proxies: Proxies, gate: Gate | None
    ) -> None:
        self._app = app
        self._gate = gate
        self._requests = requests
        self._proxies = proxies

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] != "lifespan":
            path = _decoded(scope["raw_path"])
            if not path.startswith("/"):
                path = "/" + path.partition("://")[2].partition("/")[2]
            scope["path"] = path

        request: Request | None = None
        if scope["type"] == "http":
            state = scope["state"]  # a copy of the connection's, for this request
            state["connected"] = state["peer"]  # whoever is at the other end of the connection
            state["peer"] = self._proxies.client(state["peer"], _forwarded(scope))
            request = self._requests.begin(scope, state["peer"])

        async def send_whole(message: ASGISendEvent) -> None:
            if request is not None and message["type"] == "http.response.start":
                request.answered(message)
            # quart-trio cancels a request as soon as it is answered, hypercorn's work after the
            # last byte of the answer included: then the connection is neither read nor timed out.
            chunks = 1 + len(message.get("body", b"")) // _CHUNK  # type: ignore[arg-type]
            with trio.move_on_after(_STALL * chunks, shield=True) as patience:
                await send(message)
            if patience.cancelled_caught:  # over HTTP/2 it would be kept for the client for ever
                stream.cut_off()

        stream: _GivenBack = scope["state"]["stream"]
        if scope["type"] == "websocket" and scope["path"] == "/ws":
            if not stream.said:  # else hypercorn has refused it for what came with it
                stream.take_back(_head_of(scope))
                await trio.sleep_forever()  # hypercorn's tasks end here
            return
        stream.begin()
        try:
            if self._gate is None or request is None or not request.address:
                await self._app(scope, receive, send_whole)
            else:
                async with self._gate.under_way(request.address):
                    await self._app(scope, receive, send_whole)
        except* h11.ProtocolError:
            # The client broke HTTP: hypercorn has refused the request meanwhile.
            logger.debug("an answer could not be sent", exc_info=True)
        finally:
            if request is not None:
                self._requests.end(request)
            if scope.get("http_version") == "2":
                # What still comes for it is for nobody: nobody may wait for its being read.
                receive.__self__.close()  # type: ignore[attr-defined]
            stream.end()


class _Server(TCPServer):
    """hypercorn's server with our refusals, and with HTTP/2 as it is in `http2`, by ALPN alone.

    On request hypercorn would go over to its own in mid-connection, plain or not.
    """

    @property
    def protocol(self) -> ProtocolWrapper:
        """What speaks with the client."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: ProtocolWrapper) -> None:
        self._protocol = protocol
        http1 = protocol.protocol
        if not isinstance(http1, H11Protocol):
            protocol.protocol = Http2(protocol)
            return
        http1._check_protocol = _stay  # type: ignore[method-assign, assignment]
        state = self.state
        http1._send_error_response = partial(  # type: ignore[method-assign]
            unreadable.refuse, http1, state["requests"], state["peer"].address
        )

    async def _initiate_server_close(self) -> None:
        # Nobody asked in time. Who has begun to is told; hypercorn would only close.
        protocol = self._protocol.protocol
        if isinstance(protocol, Http2):
            await protocol.go_away()
        elif isinstance(protocol, H11Protocol):
            http1 = protocol.connection
            begun = http1.their_state is h11.IDLE and http1.trailing_data[0]
            if begun and not self.context.terminated.is_set():
                await protocol._send_error_response(unreadable.TOO_SLOW)
        await super()._initiate_server_close()


async def _stay(request: h11.Request) -> None:
    # An upgrade that is not known is ignored (RFC 9110, 7.8).
    pass


def _decoded(raw_path: bytes) -> str:
    """A path as the application takes it apart: a slash that was escaped is part of an id."""
    segments = raw_path.decode("ascii", "replace").replace("%00", _NO_TEXT).split("/")
    return "/".join(unquote(segment).replace("/", ESCAPED_SLASH) for segment in segments)


def _forwarded(scope: HTTPScope) -> Iterator[str]:
    return (value.decode("latin-1") for name, value in scope["headers"] if name == _FORWARDED_FOR)


def _head_of(scope: WebsocketScope) -> bytes:
    query = scope["query_string"]
    lines = [
        b"GET /ws%b%b HTTP/%b" % (b"?" if query else b"", query, scope["http_version"].encode())
    ]
    lines += [b"%b: %b" % header for header in scope["headers"]]
    return b"\r\n".join([*lines, b"", b""])


async def _close_when_cancelled(stream: _GivenBack) -> None:
    # hypercorn shields its sends: only a socket that is closed under them ends them at once.
    try:
        await trio.sleep_forever()
    finally:
        if not (stream.unread or stream.upgrade):
            stream.close()


async def take_the_rest(sock: socket.socket) -> None:
    """Say that we have said all, and drop what the client still sends, if that does not go on."""
    # Closing a socket with bytes unread resets it, which may overtake the answer.
    with trio.move_on_after(_LINGER), suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        while await receive(sock):
            pass
