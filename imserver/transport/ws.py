"""The WebSocket lane: the sans-I/O core of `websockets`, and sockets read when they are ready.

The codec is the library's: RFC 6455 in full, masking in C. The I/O is ours: one task a connection
that waits for the socket to become readable, and answers that leave in one non-blocking send
(see `live.outbox`).
"""

from __future__ import annotations

import logging
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from imserver.domain.errors import CLOSE_REASONS, ApiError, CloseCode, Code
from imserver.domain.frames import error_body
from imserver.transport.dispatch import Dispatcher
from imserver.transport.framing import FrameCutter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from imserver.service.engine import Engine

logger = logging.getLogger(__name__)
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


class WebSocketLane:
    """Serves WebSocket connections that `edge` recognised by their first line."""

    def __init__(self, engine: Engine, *, frame_bytes: int, handshake_timeout: float) -> None:
        self._engine = engine
        self._frame_bytes = frame_bytes  # of one message, its fragments together
        self._handshake_timeout = handshake_timeout  # seconds

    async def serve(self, sock: socket.socket, head: bytes) -> None:
        """Speak WebSocket on `sock`, of which `head` was read already, until it ends.

        The caller closes the socket.
        """
        protocol = ServerProtocol(max_size=self._frame_bytes, logger=_codec_logger)
        opened = False
        with trio.move_on_after(self._handshake_timeout):
            opened = await _shake_hands(sock, protocol, head)
        if not opened:
            return
        async with trio.open_nursery() as nursery:
            connection = _Connection(self._engine, sock, protocol, nursery, self._frame_bytes)
            try:
                await connection.run()
            finally:
                connection.end()
                nursery.cancel_scope.cancel()
        if connection.expired and not connection.ended:
            reset(sock)


async def _shake_hands(sock: socket.socket, protocol: ServerProtocol, head: bytes) -> bool:
    """Read the rest of the request and answer it; says whether a session begins."""
    data = head
    while True:
        protocol.receive_data(data)
        events = protocol.events_received()
        if events:
            break
        if protocol.handshake_exc is not None:
            return await _refuse(sock, 400, Code.INVALID_REQUEST)
        received = await receive(sock)
        if not received:
            return False
        data = received
    request = events[0]
    assert isinstance(request, Request)
    response = protocol.accept(request)
    if response.status_code == 426:
        return await _refuse(sock, 426, Code.UPGRADE_REQUIRED)
    if response.status_code != 101:
        return await _refuse(sock, 400, Code.INVALID_REQUEST)
    protocol.send_response(response)
    await _send(sock, b"".join(protocol.data_to_send()))
    return True


async def _refuse(sock: socket.socket, status: int, code: Code) -> bool:
    body = error_body(ApiError(code))
    reason = "Upgrade Required" if status == 426 else "Bad Request"
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    )
    if status == 426:
        head += "Upgrade: websocket\r\n"
    await _send(sock, head.encode() + b"\r\n" + body)
    return False


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
        "_cutter",
        "_dispatcher",
        "_fragments",
        "_goodbye",
        "_hub",
        "_nursery",
        "_protocol",
        "_session",
        "_sock",
        "ended",
        "expired",
    )  # fmt: skip

    framed = True

    def __init__(
        self,
        engine: Engine,
        sock: socket.socket,
        protocol: ServerProtocol,
        nursery: trio.Nursery,
        frame_bytes: int,
    ) -> None:
        self._cutter = FrameCutter(frame_bytes)
        self._sock = sock
        self._protocol = protocol
        self._nursery = nursery
        self._hub = engine.hub
        self._session = engine.hub.open(self)
        self._dispatcher = Dispatcher(engine, self._session)
        self._fragments: list[bytes] = []  # of a message that is not yet complete
        self._goodbye = b""  # what the codec wants said last
        self.ended = False  # the peer has closed
        self.expired = False  # we have said that we let go

    async def run(self) -> None:
        """Take frames until the connection ends."""
        protocol = self._protocol
        session = self._session
        dispatcher = self._dispatcher
        while data := await receive(self._sock):
            session.heard = self._hub.tick
            for text in self._texts(data):
                pause = dispatcher.receive(text)
                if pause is not None:
                    self._hub.flush()
                    await pause
            if protocol.writes:
                self._say_what_the_codec_wants()
            self._hub.flush()
        self.ended = True

    def end(self) -> None:
        """Forget the session; nothing more is sent."""
        self._hub.close(self._session)

    def _texts(self, data: bytes) -> Iterator[bytes]:
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
        outbox = self._session.outbox
        if self._protocol.state is State.OPEN:  # pongs
            for data in said:
                outbox.put(data)
            outbox.flush()
        else:
            self._goodbye += b"".join(said)
            outbox.finish(CloseCode.PROTOCOL_ERROR)  # the codec has said its own code already

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

    def spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        """See `Link`."""
        self._nursery.start_soon(task)
