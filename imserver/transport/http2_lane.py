"""REST over HTTP/2, for clients that have agreed on it by ALPN: quart-trio on hypercorn.

The rules are those of `rest`, which the application asks; hypercorn and quart do the protocol. They
are imported when the first client speaks HTTP/2, so only by a server with a certificate.

That hypercorn's `TCPServer` takes an accepted stream is not its advertised surface: its minor
version is pinned, and tests say what is used. What it leaves unbounded or undone is bounded here:

- an answer that the client does not take,
- the work behind the last byte of an answer,
- a client that has said all it has to say,
- a body that comes faster than it is read,
- the frames of HTTP/2 (see `http2`).
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from quart import Response
from quart import request as quart_request
from quart_trio import QuartTrio
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from imserver.domain.errors import ApiError
from imserver.transport import answers
from imserver.transport.heads import Head
from imserver.transport.http2 import CONCURRENT, Http2
from imserver.transport.requests import REQUEST_ID_HEADER
from imserver.transport.rest import body_too_large, body_too_slow
from imserver.transport.sockets import STALL, take_the_rest
from imserver.transport.tls import TlsSocket, TlsStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hypercorn.protocol import ProtocolWrapper
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope

    from imserver.domain.model import Peer
    from imserver.transport.deadline import Times
    from imserver.transport.rest import RestCall, RestRules
    from imserver.transport.routes import Answer

logger = logging.getLogger(__name__)

_LINGER: Final = 1.0  # seconds that a connection may outlive its client
_ANSWER: Final = 5.0  # seconds to answer a client that has said all
_CHUNK: Final = 64 * 1024  # bytes
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


class Http2Lane:
    """Serves connections that speak HTTP/2."""

    def __init__(self, rest: RestRules, times: Times, *, header_bytes: int) -> None:
        self._app = ASGIWrapper(_Application(rest, times))
        self._context = WorkerContext(None)
        self._config = HypercornConfig()
        self._config.accesslog = None
        self._config.errorlog = logging.getLogger("imserver.http")
        self._config.include_server_header = False
        self._config.keep_alive_timeout = times.idle
        self._config.read_timeout = math.ceil(times.idle)
        self._config.h2_max_header_list_size = header_bytes
        self._config.h2_max_concurrent_streams = CONCURRENT

    async def serve(self, sock: TlsSocket, peer: Peer) -> None:
        """Serve requests on a connection of `peer` until it ends. The caller closes the socket."""
        async with trio.open_nursery() as nursery:
            stream = _Stream(sock, nursery.cancel_scope)
            nursery.start_soon(_close_when_cancelled, stream)
            state = ConnectionState({"stream": stream, "peer": peer})
            await _Server(
                self._app,
                self._config,
                self._context,
                state,
                stream,  # type: ignore[arg-type]
            ).run()
            nursery.cancel_scope.cancel()
        if stream.unread:
            await take_the_rest(sock)

    async def retire(self) -> None:
        """Let idle connections go, and those at work when they are done."""
        await self._context.terminated.set()


class _Stream:
    """A stream as hypercorn wants it, on which no send waits for ever."""

    def __init__(self, sock: TlsSocket, connection: trio.CancelScope) -> None:
        self.socket = sock
        self.transport_stream = self
        self._stream = TlsStream(sock)
        self._connection = connection
        self._at_work = 0  # requests that are not answered yet
        self._answered = trio.Event()  # set when no request is at work any more
        self._ended = False  # the client has said all
        self.unread = False  # it was closed while a client may still have been sending

    def begin(self) -> None:
        """A request is at work."""
        self._at_work += 1

    def end(self) -> None:
        """It is answered, or never will be."""
        self._at_work -= 1
        if not self._at_work:
            self._answered.set()
            self._answered = trio.Event()

    def cut_off(self) -> None:
        """End the connection at once."""
        self._connection.cancel()

    async def do_handshake(self) -> None:
        """Nothing: that is done."""

    def selected_alpn_protocol(self) -> str:
        """What client and server have agreed to speak."""
        return self.socket.selected_alpn_protocol() or ""

    async def send_all(self, data: bytes) -> None:
        """Send, as long as the client takes some of it.

        hypercorn shields its sends, so nothing else would ever end one.

        Raises:
            BrokenResourceError: it does not.
        """
        for start in range(0, len(data), _CHUNK):
            with trio.move_on_after(STALL) as patience:
                try:
                    await self._stream.send_all(memoryview(data)[start : start + _CHUNK])
                except trio.BusyResourceError:  # it is being closed
                    raise trio.BrokenResourceError("closed") from None
            if patience.cancelled_caught:
                raise trio.BrokenResourceError("the client does not take its answer")

    async def receive_some(self, max_bytes: int) -> bytes:
        """The next bytes; at the end only when those who asked have their answers."""
        data = bytes(await self._stream.receive_some(max_bytes))
        if not data:
            self._ended = True
            await self._answer()
            self._let_go()
        return data

    async def _answer(self) -> None:
        # A client that has said all is still owed its answer, but hypercorn drops it.
        for _ in range(2):  # a request just read is at work after the second, whatever the order
            await trio.lowlevel.checkpoint()
        if self._at_work:
            with trio.move_on_after(_ANSWER):
                await self._answered.wait()

    # hypercorn closes from the application's task, which is cancelled as soon as it has answered:
    # a close that stops half way would leave the client waiting. Neither of these waits.

    async def send_eof(self) -> None:
        """Say goodbye."""
        with trio.CancelScope(shield=True):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close."""
        self._let_go()
        if not self._ended:
            self.unread = True
            self._connection.cancel()
            return
        with trio.CancelScope(shield=True):
            await self._stream.aclose()

    def close(self) -> None:
        """Close at once."""
        self._stream.close()

    def _let_go(self) -> None:
        # hypercorn ends by itself, unless something in it waits for what will never come.
        self._connection.deadline = trio.current_time() + _LINGER


async def _close_when_cancelled(stream: _Stream) -> None:
    # hypercorn shields its sends: only a socket that is closed under them ends them at once.
    try:
        await trio.sleep_forever()
    finally:
        if not stream.unread:
            stream.close()


class _Server(TCPServer):
    """hypercorn's server, with HTTP/2 as it is in `http2`."""

    @property
    def protocol(self) -> ProtocolWrapper:
        """What speaks with the client."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: ProtocolWrapper) -> None:
        self._protocol = protocol
        protocol.protocol = Http2(protocol)

    async def _initiate_server_close(self) -> None:
        protocol = self._protocol.protocol
        assert isinstance(protocol, Http2)
        await protocol.go_away()
        await super()._initiate_server_close()


class _Application:
    """What hypercorn calls: the quart application, kept within bounds."""

    def __init__(self, rest: RestRules, times: Times) -> None:
        self._rest = rest
        self._app = _quart(rest, times)

    async def __call__(
        self, scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        assert scope["type"] == "http"
        stream: _Stream = scope["state"]["stream"]
        call = self._rest.begin(_head(scope), scope["state"]["peer"])
        body = _Credit(receive)
        scope = scope | {"path": "/", "query_string": b"", "imserver": (call, body)}

        async def send_whole(message: Any) -> None:
            # quart-trio cancels a request as soon as it is answered, hypercorn's work after the
            # last byte of the answer included: then the connection is neither read nor timed out.
            chunks = 1 + len(message.get("body", b"")) // _CHUNK
            with trio.move_on_after(STALL * chunks, shield=True) as patience:
                await send(message)
            if patience.cancelled_caught:  # it would be kept for the client for ever
                stream.cut_off()

        stream.begin()
        try:
            await self._app(scope, body.receive, send_whole)
        finally:
            self._rest.requests.end(call.request)
            # What still comes for it is for nobody: nobody may wait for its being read.
            receive.__self__.close()  # type: ignore[attr-defined]
            stream.end()


class _Credit:
    """Lets a body in as fast as it is read: quart would take all that comes."""

    def __init__(self, receive: ASGIReceiveCallable) -> None:
        self._receive = receive
        self._waiting = 0  # bytes that quart has and nobody has read
        self._read = trio.Event()

    async def receive(self) -> Any:
        """The next message of ASGI."""
        while self._waiting > _CHUNK:
            self._read = trio.Event()
            await self._read.wait()
        message: Any = await self._receive()
        self._waiting += len(message.get("body", b""))
        return message

    def took(self, count: int) -> None:
        """So many bytes were read."""
        self._waiting -= count
        self._read.set()


def _head(scope: HTTPScope) -> Head:
    head = Head(scope["method"], scope["raw_path"] + _query(scope["query_string"]))
    for name, value in scope["headers"]:
        head.add(name, value)
    return head


def _query(query: bytes) -> bytes:
    return b"?" + query if query else b""


def _quart(rest: RestRules, times: Times) -> QuartTrio:
    """The application: one view, which asks `rest`."""
    app = QuartTrio("imserver", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = None  # looked at where it is read
    app.config["BODY_TIMEOUT"] = None
    app.config["RESPONSE_TIMEOUT"] = None
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False

    async def view() -> Response:
        call, credit = quart_request.scope["imserver"]  # type: ignore[typeddict-item]
        body = _body(call, credit, rest.body_bytes, times)
        answer = await _ask(rest, call, body, times)
        if answer.wait:
            await trio.sleep(answer.wait)
        return _response(call, rest.finish(call, answer))

    async def otherwise(error: HTTPException) -> Response:
        # No route of quart's decides anything: it is a method that quart does not know.
        return await view()

    app.add_url_rule("/", "rest", view, methods=list(_METHODS))
    app.register_error_handler(HTTPException, otherwise)
    return app


async def _ask(rest: RestRules, call: RestCall, body: AsyncIterator[bytes], times: Times) -> Answer:
    if call.answer is not None:
        return call.answer
    if call.raw is not None:
        answer = await rest.serve(call, body)
        assert answer is not None  # else the request would have been cancelled
        return answer
    text = bytearray()
    try:
        with trio.move_on_after(times.body) as patience:
            async for piece in body:
                text += piece
        if patience.cancelled_caught:
            raise body_too_slow()
    except ApiError as error:
        return rest.refusal(error)
    found: list[Answer] = []
    answered = trio.Event()

    def done(answer: Answer) -> None:
        found.append(answer)
        answered.set()

    waiting = rest.start(call, bytes(text), done)
    if waiting is not None:
        return await waiting()
    await answered.wait()
    return found[0]


async def _body(
    call: RestCall, credit: _Credit, body_bytes: int, times: Times
) -> AsyncIterator[bytes]:
    """The pieces of a request's body, held to its limits."""
    most = body_bytes if call.raw is None else call.raw.most_bytes
    declared = call.head.text("Content-Length") or ""
    taken = int(declared) if declared.isdecimal() else 0
    if most is not None and taken > most:
        raise body_too_large()
    taken = 0
    pieces = aiter(quart_request.body)
    while True:
        with trio.move_on_after(times.body) as patience:
            piece = await anext(pieces, b"")
        if patience.cancelled_caught:
            raise body_too_slow()
        if not piece:
            return
        taken += len(piece)
        if most is not None and taken > most:
            raise body_too_large()
        credit.took(len(piece))
        yield piece


def _response(call: RestCall, answer: Answer) -> Response:
    body = answer.body
    headers = [*answers.fields(answer), (REQUEST_ID_HEADER, call.request.id)]
    if not isinstance(body, bytes):
        if answer.length is not None:
            headers.append(("Content-Length", str(answer.length)))
        if call.head.method == "HEAD":
            body = b""
    return Response(body, answer.status, Headers(headers))
