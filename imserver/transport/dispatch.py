"""One session's requests and answers, whatever carries its frames.

Laws:

- Each request frame gets exactly one answer, in the order in which the requests came.
- Writes are pipelined: the next frame is looked at while a write waits for its commit. What is
  answered at once or read from the store waits until every write before it is answered, so a
  client sees its own writes.
- A client's own requests never overflow its own outbox: the next one is not looked at before
  the answers to those before it have left.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Union

import msgspec
import trio

from imserver.domain import frames
from imserver.domain.errors import ApiError, CloseCode, Code
from imserver.service.callers import admit, charge, settle
from imserver.service.engine import (
    Caller,
    Change,
    Engine,
    Immediate,
    Operation,
    Procedure,
    Read,
    Write,
)
from imserver.service.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from imserver.live.hub import Session

logger = logging.getLogger(__name__)

_MOST_IGNORED: Final = 100  # answers with `rate_limited` in a row before a session is let go
_MOST_IGNORED_UNKNOWN: Final = 10  # ... while nobody has logged in on it
_LONG_FRAME: Final = 1024  # bytes: no more costly than the text frame that they are part of
_MOST_PENDING: Final = 256  # requests of one session under way
# Shares of what the outbox holds: a write may come back twice, as its answer and as a push, and
# the pushes of others need their room too.
_PENDING_SHARE: Final = 8  # requests under way, whose answers will be about as long
_WAITING_SHARE: Final = 16  # answers that wait when the next request is looked at

_BY_TYPE: Final[dict[str, Operation]] = {
    operation.ws: operation for operation in OPERATIONS if operation.ws is not None
}
# One decoder for all frames: envelope and payload in one pass, the type choosing the payload.
_FRAMES: Final = {
    frames.request_frame(kind, operation.request): operation for kind, operation in _BY_TYPE.items()
}
_decode: Final = msgspec.json.Decoder(Union[tuple(_FRAMES)]).decode  # noqa: UP007
_payload_decoders: Final = {
    kind: msgspec.json.Decoder(operation.request) for kind, operation in _BY_TYPE.items()
}


class _Slot:
    """The place of one request's answer in the order of answers."""

    __slots__ = ("answer", "correlation", "dispatcher", "kind", "length")

    def __init__(
        self, dispatcher: Dispatcher, kind: str, correlation: str | None, length: int
    ) -> None:
        self.dispatcher = dispatcher
        self.kind = kind
        self.correlation = correlation
        self.length = length  # bytes of the request, to tell what its answer may need
        self.answer: bytes | None = None

    def resolve(self, answer: bytes | ApiError) -> None:
        self.answer = self.dispatcher.refuse(answer) if isinstance(answer, ApiError) else answer
        self.dispatcher.release()


class Dispatcher:
    """Owner of one session's requests under way."""

    __slots__ = ("_caller", "_engine", "_idle", "_ignored", "_most_bytes", "_most_waiting",
                 "_pending", "_pending_bytes", "_session")  # fmt: skip

    def __init__(self, engine: Engine, session: Session) -> None:
        self._engine = engine
        self._session = session
        self._caller = Caller("", session, peer=session.peer)
        self._ignored = 0  # refusals with `rate_limited` since a request was admitted
        self._pending: list[_Slot] = []
        self._pending_bytes = 0  # of the requests in it
        self._most_bytes = session.outbox.most // _PENDING_SHARE
        self._most_waiting = session.outbox.most // _WAITING_SHARE
        self._idle: trio.Event | None = None  # set when fewer requests are under way

    def receive(self, text: bytes) -> Awaitable[None] | None:
        """Take one frame's text. What is returned, if anything, is to be awaited before the next.

        In the common case, a write with room for more, nothing is returned.
        """
        try:
            frame = _decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return self._receive_odd(text)
        return self._perform(_FRAMES[type(frame)], frame.data, frame.message_id, len(text))

    def _receive_odd(self, text: bytes) -> Awaitable[None] | None:
        """Find out what is wrong with a frame, if anything is: `data` may be null or absent."""
        try:
            envelope = frames.decode_envelope(text)
        except ApiError as error:
            return self._turn_down(error, frames.ERROR_TYPE, None)
        kind, correlation = envelope.type, envelope.message_id
        operation = _BY_TYPE.get(kind)
        if operation is None:
            return self._turn_down(ApiError(Code.UNKNOWN_TYPE), frames.ERROR_TYPE, correlation)
        try:
            request = frames.decode_payload(_payload_decoders[kind], envelope.data)
        except ApiError as error:
            return self._turn_down(error, kind, correlation, operation)
        return self._perform(operation, request, correlation, len(text))

    def _turn_down(
        self,
        error: ApiError,
        kind: str,
        correlation: str | None,
        operation: Operation | None = None,
    ) -> Awaitable[None] | None:
        """Refuse what cannot be read or is of no known type; it costs as much as a request."""
        try:
            admit(self._engine, operation, self._caller)
        except ApiError as refused:
            return self._keep_out(kind, refused, correlation)
        return self._later(kind, error, correlation)

    def charge_frame(self, size: int) -> None:
        """Charge a frame that is no request as much as one; long fragments cost by their bytes."""
        if size >= _LONG_FRAME or self._session.outbox.closed:
            return
        try:
            admit(self._engine, None, self._caller)
        except ApiError:
            self._ignored += 1
            self._end_if_ignored()

    def _perform(
        self, operation: Operation, request: Any, correlation: str | None, length: int
    ) -> Awaitable[None] | None:
        kind = operation.ws
        assert kind is not None
        try:
            admit(self._engine, operation, self._caller)
            charge(self._engine, operation, self._caller, request)
        except ApiError as error:
            return self._keep_out(kind, error, correlation)
        self._ignored = 0
        if isinstance(operation, Immediate) and not self._pending:
            self._send(kind, self._answer_now(operation, request), correlation)
            return self._make_room() if self._session.outbox.size > self._most_waiting else None
        if not isinstance(operation, Write):
            return self._ask(operation, request, kind, correlation)
        try:
            change = operation.handle(self._engine, self._caller, request)
            if change.is_large:
                return self._write_alone(operation, change, kind, correlation)
            slot = _Slot(self, kind, correlation, length)
            self._engine.submit(change, slot.resolve)
        except ApiError as error:
            return self._later(kind, error, correlation)
        except Exception:
            self._log_defect(operation)
            return self._later(kind, ApiError(Code.INTERNAL), correlation)
        return self._queue(slot)

    def _keep_out(
        self, kind: str, error: ApiError, correlation: str | None
    ) -> Awaitable[None] | None:
        """Refuse a caller; a client that keeps coming too early is let go."""
        if error.code is Code.NOT_LOGGED_IN:
            kind = frames.ERROR_TYPE
        if error.code is not Code.RATE_LIMITED:
            return self._later(kind, error, correlation)
        self._ignored += 1
        pause = self._later(kind, error, correlation)
        self._end_if_ignored()
        return pause

    def _end_if_ignored(self) -> None:
        most = _MOST_IGNORED if self._caller.user_id else _MOST_IGNORED_UNKNOWN
        if self._ignored >= most:
            self._session.outbox.finish(CloseCode.RATE_LIMITED)

    def _queue(self, slot: _Slot) -> Awaitable[None] | None:
        self._pending.append(slot)
        self._pending_bytes += slot.length
        if (
            len(self._pending) < _MOST_PENDING
            and self._pending_bytes < self._most_bytes
            and not self._engine.writer.full
        ):
            return None
        return self._make_room()

    @property
    def busy(self) -> bool:
        """Whether requests wait for their answers."""
        return bool(self._pending)

    async def wait_answered(self) -> None:
        """Wait until every request taken so far has its answer."""
        await self._wait_pending(0, 0)

    def refuse(self, error: ApiError, words: Callable[[ApiError], bytes] = frames.refusal) -> bytes:
        """Put a refusal into words, and count it."""
        self._engine.refusals.count("websocket", error)
        return words(error)

    def release(self) -> None:
        """Send every answer whose turn has come."""
        pending = self._pending
        while pending and (data := pending[0].answer) is not None:
            slot = pending.pop(0)
            self._pending_bytes -= slot.length
            self._send(slot.kind, data, slot.correlation)
        if self._idle is not None:
            self._idle.set()

    def _send(self, kind: str, data: bytes, correlation: str | None) -> None:
        engine = self._engine
        payload = frames.frame(kind, data, engine.clock(), correlation)
        engine.hub.send(self._session, payload)

    def _later(self, kind: str, error: ApiError, correlation: str | None) -> Awaitable[None] | None:
        """Refuse, now or when the writes before are answered."""
        data = self.refuse(
            error, frames.error_body if kind == frames.ERROR_TYPE else frames.refusal
        )
        if self._pending:
            slot = _Slot(self, kind, correlation, len(data))
            slot.answer = data
            return self._queue(slot)
        self._send(kind, data, correlation)
        if self._session.outbox.size > self._most_waiting:
            return self._make_room()
        return None

    async def _make_room(self) -> None:
        await self._wait_pending(_MOST_PENDING // 2, self._most_bytes // 2)
        await self._engine.writer.wait_room()
        await self._session.outbox.wait_below(self._most_waiting)

    async def _wait_pending(self, most: int, most_bytes: int) -> None:
        while len(self._pending) > most or self._pending_bytes > most_bytes:
            self._idle = trio.Event()
            await self._idle.wait()
        self._idle = None

    def _answer_now(self, operation: Immediate, request: Any) -> bytes:
        try:
            data = operation.handle(self._engine, self._caller, request)
        except ApiError as error:
            return self.refuse(error)
        except Exception:
            return self._defect(operation)
        session = self._session
        grant = session.grant
        if grant is not None and grant is not self._caller.grant:
            self._caller = Caller(grant.user_id, session, grant, session.peer)
        return data

    async def _find_out(
        self, operation: Read | Procedure | Write, ask: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        self._session.asking = True
        try:
            answer = await ask()
            settle(self._engine, operation, self._caller, answer)
            return answer
        except ApiError as error:
            return self.refuse(error)
        except Exception:
            return self._defect(operation)
        finally:
            self._session.asking = False

    def _defect(self, operation: Operation) -> bytes:
        self._log_defect(operation)
        return self.refuse(ApiError(Code.INTERNAL))

    def _log_defect(self, operation: Operation) -> None:
        # Said here: the task that reads works for many connections.
        about = {"connection_id": self._session.number, "user_id": self._caller.user_id}
        logger.exception("%s failed", operation.name, extra=about)

    async def _ask(
        self,
        operation: Immediate | Read | Procedure,
        request: Any,
        kind: str,
        correlation: str | None,
    ) -> None:
        await self._wait_pending(0, 0)
        if isinstance(operation, Immediate):
            data = self._answer_now(operation, request)
        else:
            ask = partial(operation.handle, self._engine, self._caller, request)
            data = await self._find_out(operation, ask)
        await self._answer(kind, data, correlation)

    async def _write_alone(
        self, operation: Write, change: Change[Any, bytes], kind: str, correlation: str | None
    ) -> None:
        """Do a large change. What the client asks next waits, as others' changes go first."""
        await self._wait_pending(0, 0)
        data = await self._find_out(operation, partial(self._engine.write, change))
        await self._answer(kind, data, correlation)

    async def _answer(self, kind: str, data: bytes, correlation: str | None) -> None:
        self._send(kind, data, correlation)
        self._engine.hub.flush()
        if self._session.farewell is not None:
            self._session.outbox.finish(self._session.farewell)
        await self._session.outbox.wait_below(self._most_waiting)
