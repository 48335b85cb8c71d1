"""One WebSocket, from the handshake to its end: login, reading, writing, signs of life."""

from __future__ import annotations

import logging
import math
import os
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import trio
from msgspec import Struct
from trio_websocket import ConnectionClosed, ConnectionRejected, wrap_client_stream
from wsproto.utilities import LocalProtocolError

from imserver.client.calls import Call, Calls
from imserver.client.client_errors import ClientError, Unreachable
from imserver.domain.answered import HeartbeatAnswer, LoggedIn
from imserver.domain.errors import ApiError
from imserver.domain.frames import Envelope, decode_envelope
from imserver.domain.requested import Heartbeat, Login

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_websocket import WebSocketConnection

    from imserver.client.route import Route


logger = logging.getLogger(__name__)

_MOST_FRAME_BYTES: Final = 64 * 1024 * 1024
_READ_BYTES: Final = 64 * 1024
_GOODBYE: Final = 1.0  # seconds for the closing handshake
_ABNORMAL: Final = 1006  # what the library says where no close frame came


class Patience(Struct, frozen=True, kw_only=True):
    """How long the client waits for what, in seconds."""

    connect: float = 10.0  # for a connection to be open, and for the login on it
    heartbeat: float = 25.0  # of silence before the server is asked for a sign of life
    answer: float = 15.0  # without a byte while an answer is due; then the connection is dead
    first_delay: float = 0.5  # the most before the first attempt to reconnect; doubles
    most_delay: float = 30.0  # the most before any later one


class Ended(NamedTuple):
    """How a connection came to its end."""

    reason: str
    code: int | None = None  # of the close frame, if there was one


_SILENT: Final = Ended("the server does not answer")


class _Watched:
    """A stream that reports every sign of life, and its end, which the library may not do."""

    def __init__(
        self, stream: trio.abc.Stream, alive: Callable[[], None], gone: Callable[[], None]
    ) -> None:
        self._stream = stream
        self._alive = alive
        self._gone = gone
        self.send_all = stream.send_all
        self.aclose = stream.aclose

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        except trio.BrokenResourceError:
            self._gone()
            raise
        if data:
            self._alive()
        else:
            self._gone()
        return data


class ServerConnection:
    """One connection; `run` is called once."""

    def __init__(
        self,
        route: Route,
        patience: Patience,
        calls: Calls,
        receive: Callable[[Envelope], None],
    ) -> None:
        self._route = route
        self._patience = patience
        self._calls = calls
        self._receive = receive  # takes each frame
        self._heard = 0.0  # when the last byte came
        self._scope = trio.CancelScope()  # its deadline: when an answer is overdue
        self._is_open = False  # somebody is, or was, logged in on it
        self._failure: ClientError | None = None  # why not
        self._ended = Ended("the connection broke")

    async def run(
        self, login: Login, opened: Callable[[], None], task: Callable[[], Awaitable[None]]
    ) -> Ended:
        """Connect, log in, and serve the calls until the connection ends.

        `opened` is called when the login has succeeded; `task` runs from then on beside it.

        Raises:
            Unreachable: there was no connection, or no login on it.
            Refused: the login was.
        """
        deadline = trio.current_time() + self._patience.connect
        stream = await self._connect(deadline)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    await self._converse(nursery, stream, deadline, login, opened, task)
        except* ConnectionRejected as group:
            status = _status(group)
            self._failure = Unreachable(f"the server answers {status}, which is no WebSocket")
        except* ConnectionClosed:
            self._failure = self._failure or Unreachable("the connection broke")
        finally:
            await trio.aclose_forcefully(stream)
        if not self._is_open:
            raise self._failure or Unreachable("the connection broke")
        return _SILENT if self._scope.cancelled_caught else self._ended

    async def _converse(
        self,
        nursery: trio.Nursery,
        stream: trio.abc.Stream,
        deadline: float,
        login: Login,
        opened: Callable[[], None],
        task: Callable[[], Awaitable[None]],
    ) -> None:
        done = trio.Event()
        library: trio.Nursery = await nursery.start(_shelter, done)
        try:
            socket = await self._shake_hands(library, stream, deadline)
            await self._log_in(socket, login, deadline)
            self._is_open = True
            opened()
            await self._serve(socket, task)
        except ClientError as error:
            self._failure = error
        finally:
            done.set()

    async def _connect(self, deadline: float) -> trio.abc.Stream:
        with trio.move_on_at(deadline):
            try:
                return await self._route.stream()
            except trio.BrokenResourceError as error:
                raise Unreachable(f"no TLS with the server: {error.__cause__ or error}") from None
            except OSError as error:
                raise Unreachable(_sentence(error)) from None
        raise Unreachable("the server does not answer")

    async def _shake_hands(
        self, nursery: trio.Nursery, stream: trio.abc.Stream, deadline: float
    ) -> WebSocketConnection:
        with trio.move_on_at(deadline) as scope:
            watched = _Watched(stream, self._hear, scope.cancel)
            return await wrap_client_stream(
                nursery,
                watched,  # type: ignore[arg-type]
                self._route.address.host_header,
                self._route.address.path,
                max_message_size=_MOST_FRAME_BYTES,
                receive_buffer_size=_READ_BYTES,
            )
        if trio.current_time() >= deadline:
            raise Unreachable("the server does not answer")
        raise Unreachable("the server closed the connection at once")

    async def _log_in(self, socket: WebSocketConnection, login: Login, deadline: float) -> None:
        call = Call("login", login, LoggedIn, "login")
        with trio.move_on_at(deadline):
            try:
                await socket.send_message(call.frame)
                while not call.done.is_set():
                    envelope = decode_envelope(_bytes(await socket.get_message()))
                    if envelope.message_id == call.correlation:
                        call.take(envelope)
            except ConnectionClosed as closed:
                raise Unreachable(
                    f"the server hung up at login: {_end_of(closed).reason}"
                ) from None
            except ApiError:
                raise Unreachable("what answers there is no imserver") from None
            if call.error is not None:
                raise call.error
            return
        raise Unreachable("the server does not answer the login")

    async def _serve(
        self, socket: WebSocketConnection, task: Callable[[], Awaitable[None]]
    ) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, socket)
                nursery.start_soon(self._keep_alive)
                nursery.start_soon(task)
                await self._read(socket)
                nursery.cancel_scope.cancel()
        finally:
            if not self._scope.cancel_called:  # somebody is there to say goodbye to
                with trio.move_on_after(_GOODBYE, shield=True):
                    await socket.aclose()

    async def _read(self, socket: WebSocketConnection) -> None:
        try:
            while True:
                self._receive(decode_envelope(_bytes(await socket.get_message())))
                if not self._calls.awaited:
                    self._scope.deadline = math.inf
        except ConnectionClosed as closed:
            self._ended = _end_of(closed)
        except (ApiError, msgspec.MsgspecError, ValueError) as error:
            logger.warning("a frame of the server cannot be read: %s", error)
            self._ended = Ended("the server sent what cannot be read")

    async def _write(self, socket: WebSocketConnection) -> None:
        try:
            while True:
                call = await self._calls.unsent()
                if self._scope.deadline == math.inf:
                    self._scope.deadline = trio.current_time() + self._patience.answer
                await socket.send_message(call.frame)
        except (ConnectionClosed, LocalProtocolError):
            return  # the reader learns why

    async def _keep_alive(self) -> None:
        while True:
            silence = trio.current_time() - self._heard
            if silence < self._patience.heartbeat:
                await trio.sleep(self._patience.heartbeat - silence)
                continue
            call = self._calls.make("heartbeat", Heartbeat(), HeartbeatAnswer, repeatable=False)
            try:
                await call.done.wait()
            finally:
                self._calls.abandon(call)

    def _hear(self) -> None:
        self._heard = trio.current_time()
        awaited = self._calls.awaited
        self._scope.deadline = self._heard + self._patience.answer if awaited else math.inf


async def _shelter(done: trio.Event, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """A nursery for the library's reader, out of reach of cancellation until `done`.

    Without its reader a socket cannot be closed as the protocol wants it. What follows a
    cancellation until `done` has a deadline: the goodbye.
    """
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.shield = True
        task_status.started(nursery)
        await done.wait()
        nursery.cancel_scope.cancel()


def _bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def _end_of(closed: ConnectionClosed) -> Ended:
    close = closed.reason
    if close is None or close.code == _ABNORMAL:
        return Ended("the connection broke")
    return Ended(close.reason or f"closed with {close.code}", close.code)


def _status(error: BaseException) -> int:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConnectionRejected)
    return error.status_code


def _sentence(error: BaseException) -> str:
    """The operating system's message, without the layers around it."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    cause = cause or error
    text = str(cause)
    if isinstance(cause, OSError):
        number = cause.errno or 0
        # Name resolvers have numbers of their own, below zero.
        text = os.strerror(number) if number > 0 else cause.strerror or text
    return text[:1].lower() + text[1:]
