"""One open WebSocket: the sans-I/O core of `websockets`, and a socket read when it is ready.

The codec is the library's: RFC 6455 in full, masking in C. The I/O is ours: the pump reads the
socket when it is readable, and answers leave in one non-blocking send (see `live.outbox`).

`Connection` owns the end of a connection. Where it stands, and what moves it on:

| stage | what happens | what moves it on |
|---|---|---|
| open | frames are taken; answers and pushes leave | we say goodbye: leaving |
| | | the client closed and has its answers: over |
| leaving | what waits is sent, then our close frame | the client closed: over |
| | | `LINGER` seconds: the connection is reset |
| | what a client sends that came too early too often (4029) is dropped unread | |
| over | `run` returns, and the socket is closed | |

A client that closes first still gets the answers to what it asked before (`_finish_when_answered`,
`_answer_the_rest`), and only then the codec's own close frame.
"""

from __future__ import annotations

import socket
from collections.abc import Coroutine
from contextlib import suppress
from enum import Enum
from time import perf_counter
from typing import TYPE_CHECKING, Final

import trio
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, State

from imserver.domain.errors import CLOSE_REASONS, CloseCode
from imserver.transport.dispatch import Dispatcher
from imserver.transport.framing import FrameCutter
from imserver.transport.sockets import READ_BYTES, send

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from imserver.domain.model import Peer
    from imserver.service.engine import Engine
    from imserver.transport.pump import Pump

_FRAGMENTS: Final = 1024  # of one message, and one more for so many bytes:
_FRAGMENT_BYTES: Final = 64
_SLICE: Final = 0.001  # seconds of work on what came, before others get their turn
_SLICE_UNKNOWN: Final = 0.00025  # while nobody has logged in
# Bound here: to read a member from its enum class takes 0.1 us, for every frame.
_OPEN: Final = State.OPEN
_TOO_EARLY: Final = CloseCode.RATE_LIMITED
LINGER: Final = 5.0  # seconds for a client to take our goodbye before the connection is reset


class LinkStage(Enum):
    """Where a connection stands; see the table above."""

    OPEN = "open"
    LEAVING = "leaving"
    OVER = "over"


class Connection:
    """One open WebSocket: the `Link` of its session. The lane owns the socket."""

    __slots__ = (
        "_called",
        "_cutter",
        "_dispatcher",
        "_failure",
        "_fragment_count",
        "_fragments",
        "_goodbye",
        "_hub",
        "_nursery",
        "_pause",
        "_protocol",
        "_pump",
        "_sock",
        "_texts",
        "session",
        "stage",
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
        self._fragments = bytearray()  # of a message that is not yet complete
        self._fragment_count = 0
        self._pump = pump
        self._called = trio.Event()  # the pump has something for this connection's own task
        self._pause: Awaitable[None] | None = None  # to be awaited before the next message
        self._texts: Iterator[bytes | None] = iter(())  # messages that wait behind it
        self._failure: Exception | None = None
        self._goodbye = b""  # what the codec wants said last
        self.stage = LinkStage.OPEN

    async def run(self, early: bytes) -> None:
        """Take frames until the connection ends; `early` is what was read of them already."""
        if early:
            self._take(early)
            self._hub.flush()
        while self.stage is not LinkStage.OVER:
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
                data = self._sock.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data and self.session.outbox.goodbye is _TOO_EARLY:
                return  # it must cost us nothing more
            if data:
                self.session.heard = self._hub.tick
                self._take(data)
            elif self._dispatcher.busy:
                self._pause = self._answer_the_rest()
            else:
                self.stage = LinkStage.OVER
        except Exception as failure:  # ours: it ends this connection, not the pump
            self._failure = failure
        if self.stage is LinkStage.OVER or self._failure is not None or self._pause is not None:
            self._pump.leave(self._sock)
            self._called.set()

    def _take(self, data: bytes) -> None:
        self._texts = self._read_texts(data)
        self._take_texts()

    def _take_texts(self) -> None:
        """Give the session its messages, up to one that must be waited for."""
        for text in self._texts:
            if text is None:
                self._pause = self._pump.turn()
                return
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

    def _read_texts(self, data: bytes) -> Iterator[bytes | None]:
        """The messages that `data` completes; closes on what is not text.

        None stands between them where others should get their turn.
        """
        protocol = self._protocol
        outbox = self.session.outbox
        slice_seconds = _SLICE if self.session.user_id else _SLICE_UNKNOWN
        until = perf_counter() + slice_seconds
        for piece, plain in self._cutter.cut(data):
            if perf_counter() > until:
                yield None
                until = perf_counter() + slice_seconds
            if outbox.goodbye is _TOO_EARLY:
                return
            if plain:
                if protocol.state is not _OPEN:
                    continue  # we have said goodbye
                if protocol.current_size is not None:
                    protocol.fail(CloseCode.PROTOCOL_ERROR, "expected a continuation frame")
                elif piece.isascii() or self._is_utf8(piece):
                    yield piece
            else:
                self._dispatcher.charge_frame(len(piece))
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
            if self._protocol.state is _OPEN:
                self._protocol.fail(CloseCode.INVALID_DATA, "text is not UTF-8")
            return False
        return True

    def _text(self, frame: Frame) -> bytes | None:
        """The message that a frame completes, if it does; closes on what is not text."""
        opcode = frame.opcode
        data = bytes(frame.data)
        if opcode is Opcode.TEXT and frame.fin:
            pass
        elif opcode in (Opcode.TEXT, Opcode.CONT) and self._protocol.state is _OPEN:
            self._fragments += data
            self._fragment_count += bool(data)  # those of nothing keep nothing
            most = _FRAGMENTS + len(self._fragments) // _FRAGMENT_BYTES
            if self._fragment_count > most:
                self._protocol.fail(CloseCode.POLICY_VIOLATION, "too many fragments")
                return None
            if not frame.fin:
                return None
            data = bytes(self._fragments)
            self._fragments.clear()
            self._fragment_count = 0
        elif opcode is Opcode.BINARY and self._protocol.state is _OPEN:
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
        if self._protocol.state is _OPEN:  # pongs
            for data in said:
                outbox.put(data)
            outbox.flush()
        elif self._protocol.close_rcvd_then_sent is False:
            self.stage = (
                LinkStage.OVER
            )  # ours was said before; what the peer does now is its own affair
        else:
            self._goodbye += b"".join(said)
            if self._dispatcher.busy:
                self._pause = self._finish_when_answered()
            else:
                self._finish()

    async def _answer_the_rest(self) -> None:
        """The client has said all, and is owed its answers."""
        with trio.move_on_after(LINGER):
            await self._dispatcher.wait_answered()
            await self.session.outbox.wait_below(0)
        self.stage = LinkStage.OVER

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
        await send(self._sock, data)

    def ping(self) -> None:
        """See `Link`."""
        if self._protocol.state is _OPEN:
            self._protocol.send_ping(b"")
            self._say_what_the_codec_wants()

    def expire(self) -> None:
        """See `Link`."""
        if self.stage is LinkStage.OPEN:
            self.stage = LinkStage.LEAVING
        self._nursery.cancel_scope.deadline = trio.current_time() + LINGER

    def close(self, code: CloseCode) -> None:
        """See `Link`."""
        if self._protocol.state is _OPEN:
            self._protocol.send_close(code, CLOSE_REASONS[code])
        self._goodbye += b"".join(self._protocol.data_to_send())
        with suppress(OSError):  # full or gone: the reset says it
            self._sock.send(self._goodbye)
            self._sock.shutdown(socket.SHUT_WR)
        if self._protocol.close_rcvd is not None:  # RFC 6455 section 7.1.1: the server closes first
            self.stage = LinkStage.OVER
            self._called.set()

    def spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        """See `Link`."""
        self._nursery.start_soon(task)
