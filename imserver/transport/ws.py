"""The WebSocket lane: the sans-I/O core of `websockets`, and sockets read when they are ready.

The codec is the library's: RFC 6455 in full, masking in C. The I/O is ours: one task a connection
that waits for the socket to become readable, and answers that leave in one non-blocking send
(see `live.outbox`).
"""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

import trio
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from imserver import log
from imserver.domain.errors import CLOSE_REASONS, ApiError, CloseCode, Code
from imserver.domain.frames import error_body
from imserver.transport.dispatch import Dispatcher
from imserver.transport.framing import FrameCutter
from imserver.transport.hosts import STRANGE_HOST
from imserver.transport.proxies import FORWARDED_FOR
from imserver.transport.pump import Pump

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from websockets.datastructures import Headers

    from imserver.domain.model import Peer
    from imserver.live.hub import Session
    from imserver.service.engine import Engine
    from imserver.transport.gate import Gate
    from imserver.transport.hosts import Hosts
    from imserver.transport.origins import Origins
    from imserver.transport.proxies import Proxies

logger = logging.getLogger(__name__)
access = logging.getLogger(log.ACCESS)
# The codec reports what it sees at levels meant for debugging it; failures come as close codes.
_codec_logger = logging.getLogger("imserver.websocket")
_codec_logger.setLevel(logging.ERROR)

PATH: Final = b"/ws"
_READ_BYTES: Final = 16 * 1024
_LINGER: Final = 5.0  # seconds for a client to take our goodbye before the connection is reset


def reset(sock: socket.socket) -> None:
    """Make the coming close drop what the kernel holds for a peer that does not take it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        logger.debug("the socket is gone already")


class _Opening(NamedTuple):
    """What a handshake has left."""

    early: bytes  # what came behind it
    peer: Peer  # whose session it begins
    claim: str  # whom the request names, where that counts


class WebSocketLane:
    """Serves WebSocket connections that `edge` recognised by their first line."""

    def __init__(
        self,
        engine: Engine,
        hosts: Hosts,
        origins: Origins,
        proxies: Proxies,
        gate: Gate | None,
        *,
        frame_bytes: int,
        header_bytes: int,
        handshake_timeout: float,
        access_log: bool = False,
    ) -> None:
        self._hosts = hosts
        self._origins = origins
        self._proxies = proxies
        self._gate = gate  # what one client of a proxy may have and do
        self._engine = engine
        self._pump = Pump(engine.hub.flush)
        self._frame_bytes = frame_bytes  # of one message, its fragments together
        self._header_bytes = header_bytes  # of the request that asks for the upgrade
        self._handshake_timeout = handshake_timeout  # seconds
        self._access_log = access_log  # whether the end of each session is logged
        self._greetings: set[trio.CancelScope] = set()  # of those whose handshake is under way
        self._retired = False

    async def run(self) -> None:
        """Read from all connections until cancelled; `serve` needs it running."""
        await self._pump.run()

    def retire(self) -> None:
        """Let those go who have not opened their session yet; nobody opens one from now on."""
        self._retired = True
        for greeting in self._greetings:
            greeting.cancel()

    async def serve(self, sock: socket.socket, head: bytes, peer: Peer) -> None:
        """Speak WebSocket with `peer`, of whom `head` was read already, until the connection ends.

        The caller closes the socket.
        """
        opening: _Opening | None = None
        with trio.move_on_after(self._handshake_timeout) as greeting:
            self._greetings.add(greeting)
            try:
                if not self._retired:
                    opening = await self._shake_hands(sock, head, peer)
            finally:
                self._greetings.discard(greeting)
        if greeting.cancelled_caught and not self._retired:
            with trio.move_on_after(_LINGER):
                await self._refuse(sock, 408, ApiError(Code.TOO_SLOW))
        if opening is None:
            return
        try:
            await self._run(sock, opening)
        finally:
            self._leave(peer, opening.peer)

    async def _run(self, sock: socket.socket, opening: _Opening) -> None:
        async with trio.open_nursery() as nursery:
            protocol = Protocol(
                Side.SERVER, state=State.OPEN, max_size=self._frame_bytes, logger=_codec_logger
            )
            connection = _Connection(
                self._engine, self._pump, sock, opening.peer, protocol, nursery, self._frame_bytes
            )
            connection.session.claim = opening.claim
            log.about(connection_id=connection.session.number)
            begun = trio.current_time()
            try:
                await connection.run(opening.early)
            finally:
                self._pump.leave(sock)
                connection.end()
                if self._access_log:
                    _log_end(connection.session, trio.current_time() - begun)
                nursery.cancel_scope.cancel()
        if connection.expired and not connection.ended:
            reset(sock)

    async def _shake_hands(self, sock: socket.socket, head: bytes, peer: Peer) -> _Opening | None:
        """Read the rest of the request and answer it.

        Returns None if no session begins; else the client was let in by the gate.
        """
        while b"\r\n\r\n" not in head:
            if len(head) > self._header_bytes:
                await self._refuse(sock, 431, ApiError(Code.TOO_LARGE, "The head is too large"))
                return None
            data = await receive(sock)
            if not data:
                return None
            head += data
        head, _, early = head.partition(b"\r\n\r\n")
        handshake = ServerProtocol(logger=_codec_logger)
        handshake.receive_data(head + b"\r\n\r\n")
        requests = handshake.events_received()
        if not requests:
            await self._refuse(sock, 400, ApiError(Code.INVALID_REQUEST))
            return None
        request = requests[0]
        assert isinstance(request, Request)
        response = handshake.accept(request)
        if response.status_code == 426:
            await self._refuse(sock, 426, ApiError(Code.UPGRADE_REQUIRED))
            return None
        if response.status_code != 101:
            await self._refuse(sock, 400, ApiError(Code.INVALID_REQUEST))
            return None
        # Twice the same header is as good as a strange one.
        origin, host = (", ".join(request.headers.get_all(name)) for name in ("Origin", "Host"))
        if peer.address and not self._hosts.admits(host):  # else it came by a Unix socket
            await self._refuse(sock, 403, ApiError(Code.FORBIDDEN, STRANGE_HOST))
            return None
        if not self._origins.admits(origin or None, host):
            await self._refuse(sock, 403, ApiError(Code.FORBIDDEN, "This origin may not connect"))
            return None
        try:
            claim = self._engine.identity.of_handshake(peer, partial(_given, request.headers))
        except ApiError as error:
            await self._refuse(sock, error.status, error)
            return None
        client = self._proxies.client(peer, request.headers.get_all(FORWARDED_FOR))
        if (refusal := self._enter(peer, client)) is not None:
            await self._refuse(sock, refusal.status, refusal)
            return None
        try:
            handshake.send_response(response)
            await _send(sock, b"".join(handshake.data_to_send()))
        except BaseException:
            self._leave(peer, client)
            raise
        return _Opening(early, client, claim)

    # Who comes through a proxy passed no gate when the proxy's connection was accepted.

    def _enter(self, peer: Peer, client: Peer) -> ApiError | None:
        if self._gate is None or client is peer:
            return None
        return self._gate.enter(client.address)

    def _leave(self, peer: Peer, client: Peer) -> None:
        if self._gate is not None and client is not peer:
            self._gate.leave(client.address)

    async def _refuse(self, sock: socket.socket, status: int, error: ApiError) -> None:
        self._engine.refusals.count("websocket", error)
        await _refuse(sock, status, error)


async def _refuse(sock: socket.socket, status: int, error: ApiError) -> None:
    body = error_body(error)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    )
    if status == 426:
        head += "Upgrade: websocket\r\n"
    if error.retry_after_ms is not None:
        head += f"Retry-After: {-(-error.retry_after_ms // 1000)}\r\n"
    await _send(sock, head.encode() + b"\r\n" + body)


def _given(headers: Headers, name: str) -> list[bytes]:
    # The codec reads header bytes as Latin-1 or, in its older versions, as escaped ASCII.
    return [value.encode("latin-1", "surrogateescape") for value in headers.get_all(name)]


def _log_end(session: Session, seconds: float) -> None:
    goodbye = session.outbox.goodbye
    access.info(
        "websocket closed by %s",
        "the client" if goodbye is None else f"us: {goodbye.value}",
        extra={
            "user_id": session.user_id,
            "address": session.peer.address,
            "duration_ms": round(seconds * 1000, 3),
        },
    )


async def receive(sock: socket.socket) -> bytes:
    """The next bytes, or none when the peer has closed or is gone."""
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            return sock.recv(_READ_BYTES)
        except BlockingIOError:
            continue
        except OSError:
            return b""


async def _send(sock: socket.socket, data: bytes) -> None:
    view = memoryview(data)
    while view:
        await trio.lowlevel.wait_writable(sock)
        with suppress(BlockingIOError):
            view = view[sock.send(view) :]


class _Connection:
    """One open WebSocket: the `Link` of its session. The lane owns the socket."""

    __slots__ = (
        "_called",
        "_cutter",
        "_dispatcher",
        "_failure",
        "_fragments",
        "_goodbye",
        "_hub",
        "_nursery",
        "_pause",
        "_protocol",
        "_pump",
        "_sock",
        "_texts",
        "ended",
        "expired",
        "session",
    )

    def __init__(
        self,
        engine: Engine,
        pump: Pump,
        sock: socket.socket,
        peer: Peer,
        protocol: Protocol,
        nursery: trio.Nursery,
        frame_bytes: int,
    ) -> None:
        self._cutter = FrameCutter(frame_bytes)
        self._sock = sock
        self._protocol = protocol
        self._nursery = nursery
        self._hub = engine.hub
        self.session = engine.hub.open(self, peer)
        self._dispatcher = Dispatcher(engine, self.session)
        self._fragments: list[bytes] = []  # of a message that is not yet complete
        self._pump = pump
        self._called = trio.Event()  # the pump has something for this connection's own task
        self._pause: Awaitable[None] | None = None  # to be awaited before the next message
        self._texts: Iterator[bytes] = iter(())  # messages that wait behind it
        self._failure: Exception | None = None
        self._goodbye = b""  # what the codec wants said last
        self.ended = False  # the peer has closed
        self.expired = False  # we have said that we let go

    async def run(self, early: bytes) -> None:
        """Take frames until the connection ends; `early` is what was read of them already."""
        if early:
            self._take(early)
            self._hub.flush()
        while not self.ended:
            if self._pause is None:
                self._pump.watch(self._sock, self._readable)
                await self._called.wait()
            self._called = trio.Event()
            if self._failure is not None:
                raise self._failure
            pause, self._pause = self._pause, None
            if pause is not None:
                self._hub.flush()
                await pause
                self._take_texts()
                self._hub.flush()

    def _readable(self) -> None:
        """Take what has come; called by the pump, which goes on when this returns."""
        try:
            try:
                data = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self.session.heard = self._hub.tick
                self._take(data)
            else:
                self.ended = True
        except Exception as failure:  # ours: it ends this connection, not the pump
            self._failure = failure
        if self.ended or self._failure is not None or self._pause is not None:
            self._pump.leave(self._sock)
            self._called.set()

    def _take(self, data: bytes) -> None:
        self._texts = self._read_texts(data)
        self._take_texts()

    def _take_texts(self) -> None:
        """Give the session its messages, up to one that must be waited for."""
        for text in self._texts:
            if self.session.outbox.closed:  # nobody would learn what became of it
                break
            self._pause = self._dispatcher.receive(text)
            if self._pause is not None:
                return
        if self._protocol.writes:
            self._say_what_the_codec_wants()

    def end(self) -> None:
        """Forget the session; nothing more is sent."""
        if isinstance(self._pause, Coroutine):  # nobody will await it any more
            self._pause.close()
        self._hub.close(self.session)

    def _read_texts(self, data: bytes) -> Iterator[bytes]:
        """The messages that `data` completes; closes on what is not text."""
        protocol = self._protocol
        for piece, plain in self._cutter.cut(data):
            if plain:
                if protocol.state is not State.OPEN:
                    continue  # we have said goodbye
                if protocol.current_size is not None:
                    protocol.fail(CloseCode.PROTOCOL_ERROR, "expected a continuation frame")
                elif piece.isascii() or self._is_utf8(piece):
                    yield piece
            else:
                protocol.receive_data(piece)
                for frame in protocol.events_received():
                    assert isinstance(frame, Frame)
                    whole = self._text(frame)
                    if whole is not None:
                        yield whole

    def _is_utf8(self, text: bytes) -> bool:
        try:
            text.decode()
        except UnicodeDecodeError:
            if self._protocol.state is State.OPEN:
                self._protocol.fail(CloseCode.INVALID_DATA, "text is not UTF-8")
            return False
        return True

    def _text(self, frame: Frame) -> bytes | None:
        """The message that a frame completes, if it does; closes on what is not text."""
        opcode = frame.opcode
        data = bytes(frame.data)
        if opcode is Opcode.TEXT and frame.fin:
            pass
        elif opcode in (Opcode.TEXT, Opcode.CONT) and self._protocol.state is State.OPEN:
            if data:  # an endless message of nothing must not add up
                self._fragments.append(data)
            if not frame.fin:
                return None
            data = b"".join(self._fragments)
            self._fragments.clear()
        elif opcode is Opcode.BINARY and self._protocol.state is State.OPEN:
            self._protocol.fail(CloseCode.UNSUPPORTED_DATA, "text frames only")
            return None
        else:
            return None
        return data if self._is_utf8(data) else None

    def _say_what_the_codec_wants(self) -> None:
        said = self._protocol.data_to_send()
        if not said:
            return
        outbox = self.session.outbox
        if self._protocol.state is State.OPEN:  # pongs
            for data in said:
                outbox.put(data)
            outbox.flush()
        elif self._protocol.close_rcvd_then_sent is False:
            self.ended = True  # ours was said before; what the peer does now is its own affair
        else:
            self._goodbye += b"".join(said)
            if self._dispatcher.busy:
                self._pause = self._finish_when_answered()
            else:
                self._finish()

    async def _finish_when_answered(self) -> None:
        await self._dispatcher.wait_answered()
        self._finish()

    def _finish(self) -> None:
        # The code is for nobody: the codec has said its own already.
        outbox = self.session.outbox
        if outbox.closed:
            return
        outbox.finish(CloseCode.PROTOCOL_ERROR)
        said = self._protocol.close_sent
        if said is None or self._protocol.close_rcvd_then_sent:
            outbox.goodbye = None  # the end was the client's wish
        else:
            outbox.goodbye = CloseCode(said.code)

    # -- Link ---------------------------------------------------------------------------------

    def send_now(self, data: bytes) -> int:
        """See `Link`."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    async def send(self, data: bytes) -> None:
        """See `Link`."""
        await _send(self._sock, data)

    def ping(self) -> None:
        """See `Link`."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._say_what_the_codec_wants()

    def expire(self) -> None:
        """See `Link`."""
        self.expired = True
        self._nursery.cancel_scope.deadline = trio.current_time() + _LINGER

    def close(self, code: CloseCode) -> None:
        """See `Link`."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, CLOSE_REASONS[code])
        self._goodbye += b"".join(self._protocol.data_to_send())
        with suppress(OSError):  # full or gone: the reset says it
            self._sock.send(self._goodbye)
            self._sock.shutdown(socket.SHUT_WR)
        if self._protocol.close_rcvd is not None:  # RFC 6455 section 7.1.1: the server closes first
            self.ended = True
            self._called.set()

    def spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        """See `Link`."""
        self._nursery.start_soon(task)
