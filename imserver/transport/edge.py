"""One port, two lanes: accepts connections and gives each to the lane its first line asks for.

`GET /ws` goes to the WebSocket lane; everything else to hypercorn's `TCPServer` running the REST
application. What was read to decide is given back in front of the stream. (Peeking would spin on
a half-sent line.) A request for `/ws` that comes later, on a kept-alive connection, as reverse
proxies send it, is taken back from hypercorn and goes to the same lane: hypercorn's own WebSockets
bound neither a message that never ends nor what compression unfolds to.
"""

from __future__ import annotations

import logging
import math
import socket
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from imserver.domain.errors import ApiError, Code
from imserver.domain.frames import error_body
from imserver.transport import ws

if TYPE_CHECKING:
    from hypercorn.protocol import ProtocolWrapper
    from hypercorn.typing import (
        ASGIReceiveCallable,
        ASGISendCallable,
        ASGISendEvent,
        Scope,
        WebsocketScope,
    )
    from quart_trio import QuartTrio

    from imserver.transport.gate import Gate

logger = logging.getLogger(__name__)

_NO_ROOM: Final = ApiError(Code.UNAVAILABLE, "The server has no room for more connections")
_RETRY_AFTER_MS: Final = 5_000  # said to those for whom there is no room

_REQUEST_LINE_BYTES: Final = 8 * 1024
_BACKLOG: Final = 1024  # connections that the kernel holds for us
_ACCEPTED_AT_ONCE: Final = 64
_SEND_BUFFER_BYTES: Final = 128 * 1024  # what the kernel holds for one slow client; it doubles it
_REST_LINGER: Final = 1.0  # seconds that a connection may outlive its client
_REST_ANSWER: Final = 5.0  # seconds to answer a client that has said all
_REST_STALL: Final = 20.0  # seconds for a client to take a chunk of its answer
_REST_CHUNK: Final = 64 * 1024  # bytes
_OUT_OF_FILES_PAUSE: Final = 0.1  # seconds


def listen(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for every address that `host` names; port 0 picks one for all.

    Raises:
        OSError: an address cannot be had.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
    except UnicodeError:  # too long, or an empty part
        raise OSError(f"{host} is no host's name") from None
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            if sockets and port == 0:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            sock.bind(address)
            sock.setblocking(False)
            sock.listen(_BACKLOG)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


class _GivenBack:
    """A stream that first yields what was read from it before."""

    def __init__(
        self, stream: trio.SocketStream, head: bytes, connection: trio.CancelScope
    ) -> None:
        self._stream = stream
        self._head = head
        self._connection = connection
        self.socket = stream.socket
        self.answered: trio.Event | None = None  # set when the request at work is, if there is one
        self.unread = False  # it was closed while a client may still have been sending
        self.upgrade = b""  # the head of the request for a WebSocket with which it was taken back
        self.said = False  # something was sent since the last request was answered

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
        for start in range(0, len(data), _REST_CHUNK):
            with trio.move_on_after(_REST_STALL) as patience:
                try:
                    await self._stream.send_all(memoryview(data)[start : start + _REST_CHUNK])
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
        if self.answered is not None:
            with trio.move_on_after(_REST_ANSWER):
                await self.answered.wait()

    # hypercorn closes from the application's task, which is cancelled as soon as it has answered:
    # a close that stops half way would leave the client waiting. Neither of these waits.

    async def send_eof(self) -> None:
        if self.upgrade:
            return
        with trio.CancelScope(shield=True):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        self._let_go()
        if self.answered is not None:
            self.unread = True
            self._connection.cancel()
        if self.unread or self.upgrade:
            return
        with trio.CancelScope(shield=True):
            await self._stream.aclose()

    def _let_go(self) -> None:
        # hypercorn ends by itself, unless something in it waits for what will never come.
        self._connection.deadline = trio.current_time() + _REST_LINGER


class _Application:
    """What hypercorn calls: the application, kept from what would trip it up."""

    def __init__(self, app: QuartTrio) -> None:
        self._app = app

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] != "lifespan" and not scope["path"].startswith("/"):
            scope["path"] = "/" + scope["path"].partition("://")[2].partition("/")[2]

        async def send_whole(message: ASGISendEvent) -> None:
            # quart-trio cancels a request as soon as it is answered, hypercorn's work after the
            # last byte of the answer included: then the connection is neither read nor timed out.
            with trio.move_on_after(_REST_STALL, shield=True):
                await send(message)

        stream: _GivenBack = scope["state"]["stream"]
        if scope["type"] == "websocket" and scope["path"] == "/ws":
            if not stream.said:  # else hypercorn has refused it for what came with it
                stream.take_back(_head_of(scope))
                await trio.sleep_forever()  # hypercorn's tasks end here
            return
        answered = stream.answered = trio.Event()
        try:
            await self._app(scope, receive, send_whole)
        except* h11.ProtocolError:
            # The client broke HTTP: hypercorn has refused the request meanwhile.
            logger.debug("an answer could not be sent", exc_info=True)
        finally:
            stream.answered = None
            stream.said = False
            answered.set()


class _Http1Server(TCPServer):
    """hypercorn's server without HTTP/2, which is promised to nobody.

    On request it would go over to it in mid-connection, where its errors are raised instead of
    answered and nothing bounds how long an answer waits for the client's window.
    """

    @property
    def protocol(self) -> ProtocolWrapper:
        """What speaks with the client."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: ProtocolWrapper) -> None:
        protocol.protocol._check_protocol = _stay  # type: ignore[union-attr, method-assign]
        self._protocol = protocol


async def _stay(request: h11.Request) -> None:
    # An upgrade that is not known is ignored (RFC 9110, 7.8).
    pass


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
            stream.socket.close()


async def _take_the_rest(sock: socket.socket) -> None:
    # Closing a socket with bytes unread resets it, which may overtake the answer.
    with trio.move_on_after(_REST_LINGER), suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        while await ws.receive(sock):
            pass


class Edge:
    """Owner of the connections: each is a task in the nursery that `serve` is given."""

    def __init__(
        self,
        lane: ws.WebSocketLane,
        app: QuartTrio,
        *,
        head_timeout: float,
        idle_timeout: float,
        header_bytes: int,
        most_connections: int,
        gate: Gate | None = None,
    ) -> None:
        self._lane = lane
        self._head_timeout = head_timeout
        self._most_connections = most_connections
        self._connections = 0
        self._gate = gate  # what one address may have and do; None: as much as it likes
        self._greetings: set[trio.CancelScope] = set()  # of those whose first line is awaited
        self._retired = False
        self._app = ASGIWrapper(_Application(app))
        self._context = WorkerContext(None)
        self._http = HypercornConfig()
        self._http.accesslog = None
        self._http.errorlog = logging.getLogger("imserver.http")
        self._http.include_server_header = False
        self._http.keep_alive_timeout = idle_timeout
        self._http.read_timeout = math.ceil(idle_timeout)
        self._http.h11_max_incomplete_size = header_bytes

    async def accept(self, listener: socket.socket, connections: trio.Nursery) -> None:
        """Accept until cancelled. The caller closes the listener."""
        while True:
            await trio.lowlevel.wait_readable(listener)
            for _ in range(_ACCEPTED_AT_ONCE):
                try:
                    sock, address = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    # Gone before it was accepted, or no file is left for it: others live on.
                    logger.warning("a connection could not be accepted: %s", error)
                    await trio.sleep(_OUT_OF_FILES_PAUSE)
                    break
                sock.setblocking(False)
                if self._connections >= self._most_connections:
                    _turn_away(sock, _NO_ROOM)
                    continue
                peer = address[0] if isinstance(address, tuple) else ""
                if self._gate is not None and (refusal := self._gate.enter(peer)) is not None:
                    _turn_away(sock, refusal)
                    continue
                self._connections += 1
                connections.start_soon(self._serve, sock, peer)

    async def retire(self) -> None:
        """Let those go who have asked nothing, and the others when they have their answers."""
        self._retired = True
        for greeting in self._greetings:
            greeting.cancel()
        self._lane.retire()
        await self._context.terminated.set()

    async def _serve(self, sock: socket.socket, peer: str) -> None:
        try:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 90_000)
            head = await self._greet(sock)
            if not head:
                return
            if not _asks_for_websocket(head):
                head = await self._serve_rest(sock, head)
            if head:
                await self._lane.serve(sock, head)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            logger.debug("a connection broke", exc_info=True)
        except* h11.ProtocolError:
            logger.debug("a client broke HTTP", exc_info=True)
        except* Exception:
            logger.exception("a connection failed")
        finally:
            self._connections -= 1
            if self._gate is not None:
                self._gate.leave(peer)
            sock.close()

    async def _greet(self, sock: socket.socket) -> bytes:
        """The first bytes of a client, its request line among them; none if it keeps silent."""
        with trio.move_on_after(self._head_timeout) as greeting:
            self._greetings.add(greeting)
            try:
                if not self._retired:
                    return await self._read_request_line(sock)
            finally:
                self._greetings.discard(greeting)
        return b""

    async def _read_request_line(self, sock: socket.socket) -> bytes:
        head = b""
        while b"\n" not in head and len(head) < _REQUEST_LINE_BYTES:
            data = await ws.receive(sock)
            if not data:
                return b""
            head += data
        return head

    async def _serve_rest(self, sock: socket.socket, head: bytes) -> bytes:
        """Serve calls until the connection ends, or asks for a WebSocket: returns that head."""
        transport = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        async with trio.open_nursery() as nursery:
            stream = _GivenBack(transport, head, nursery.cancel_scope)
            nursery.start_soon(_close_when_cancelled, stream)
            await _Http1Server(
                self._app,
                self._http,
                self._context,
                ConnectionState({"stream": stream}),
                stream,  # type: ignore[arg-type]
            ).run()
            nursery.cancel_scope.cancel()
        if stream.unread:
            await _take_the_rest(sock)
        return stream.upgrade


def _asks_for_websocket(head: bytes) -> bool:
    return head.startswith((b"GET /ws ", b"GET /ws?"))


def _turn_away(sock: socket.socket, error: ApiError) -> None:
    body = error_body(error)
    phrase = HTTPStatus(error.status).phrase
    head = (
        f"HTTP/1.1 {error.status} {phrase}\r\nContent-Type: application/json\r\n"
        f"Retry-After: {-(-(error.retry_after_ms or _RETRY_AFTER_MS) // 1000)}\r\n"
        f"Connection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with suppress(OSError):
        sock.send(head.encode() + body)
    sock.close()
