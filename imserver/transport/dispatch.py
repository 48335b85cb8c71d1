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
from collections import deque
from typing import TYPE_CHECKING, Any, Final, assert_never

import msgspec
import trio

from imserver.domain import frames
from imserver.domain.errors import ApiError, Code
from imserver.service.engine import Caller, Engine, Immediate, Operation, Query, Who, Write
from imserver.service.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from imserver.live.hub import Session

logger = logging.getLogger(__name__)

_MOST_PENDING: Final = 256  # requests of one session under way
_ANSWERS_WAITING: Final = 64 * 1024  # bytes in the outbox before the next request is looked at

_BY_TYPE: Final[dict[str, tuple[Operation, msgspec.json.Decoder[Any]]]] = {
    operation.ws: (operation, msgspec.json.Decoder(operation.request))
    for operation in OPERATIONS
    if operation.ws is not None
}


class _Slot:
    """The place of one request's answer in the order of answers."""

    __slots__ = ("answer", "correlation", "dispatcher", "kind")

    def __init__(self, dispatcher: Dispatcher, kind: str, correlation: str | None) -> None:
        self.dispatcher = dispatcher
        self.kind = kind
        self.correlation = correlation
        self.answer: bytes | None = None

    def resolve(self, answer: bytes | ApiError) -> None:
        data = frames.refusal(answer) if isinstance(answer, ApiError) else answer
        self.answer = data
        self.dispatcher.release()


class Dispatcher:
    """Owner of one session's requests under way."""

    __slots__ = ("_caller", "_engine", "_idle", "_pending", "_session")

    def __init__(self, engine: Engine, session: Session) -> None:
        self._engine = engine
        self._session = session
        self._caller = Caller("", session)
        self._pending: deque[_Slot] = deque()
        self._idle: trio.Event | None = None  # set when fewer requests are under way

    def receive(self, text: bytes | bytearray) -> Awaitable[None] | None:
        """Take one frame's text. What is returned, if anything, is to be awaited before the next.

        In the common case, a write with room for more, nothing is returned.
        """
        try:
            envelope = frames.decode_envelope(text)
        except ApiError as error:
            return self._later(frames.ERROR_TYPE, error, None)
        kind = envelope.type
        correlation = envelope.message_id
        found = _BY_TYPE.get(kind)
        if found is None:
            return self._later(frames.ERROR_TYPE, ApiError(Code.UNKNOWN_TYPE), correlation)
        operation, decoder = found
        if operation.who is not Who.ANYONE and not self._caller.user_id:
            return self._later(frames.ERROR_TYPE, ApiError(Code.NOT_LOGGED_IN), correlation)
        try:
            request = frames.decode_payload(decoder, envelope.data)
            if isinstance(operation, Write):
                command = operation.handle(self._engine, self._caller, request)
                slot = _Slot(self, kind, correlation)
                self._engine.submit(command, slot.resolve)
                self._pending.append(slot)
                if len(self._pending) < _MOST_PENDING and not self._engine.writer.full:
                    return None
                return self._make_room()
        except ApiError as error:
            return self._later(kind, error, correlation)
        except Exception:
            logger.exception("%s failed", operation.name)
            return self._later(kind, ApiError(Code.INTERNAL), correlation)
        return self._ask(operation, request, kind, correlation)

    def release(self) -> None:
        """Send every answer whose turn has come."""
        pending = self._pending
        while pending and (data := pending[0].answer) is not None:
            slot = pending.popleft()
            self._send(slot.kind, data, slot.correlation)
        if self._idle is not None:
            self._idle.set()

    def _send(self, kind: str, data: bytes, correlation: str | None) -> None:
        engine = self._engine
        payload = frames.frame(kind, data, engine.clock(), correlation)
        engine.hub.send(self._session, payload)

    def _later(self, kind: str, error: ApiError, correlation: str | None) -> Awaitable[None] | None:
        """Refuse, now or when the writes before are answered."""
        data = frames.error_body(error) if kind == frames.ERROR_TYPE else frames.refusal(error)
        if self._pending:
            slot = _Slot(self, kind, correlation)
            slot.answer = data
            self._pending.append(slot)
            return self._make_room() if len(self._pending) >= _MOST_PENDING else None
        self._send(kind, data, correlation)
        if self._session.outbox.size > _ANSWERS_WAITING:
            return self._make_room()
        return None

    async def _make_room(self) -> None:
        await self._wait_pending(_MOST_PENDING // 2)
        await self._engine.writer.wait_room()
        await self._session.outbox.wait_below(_ANSWERS_WAITING)

    async def _wait_pending(self, most: int) -> None:
        while len(self._pending) > most:
            self._idle = trio.Event()
            await self._idle.wait()
        self._idle = None

    async def _ask(
        self, operation: Immediate | Query, request: Any, kind: str, correlation: str | None
    ) -> None:
        await self._wait_pending(0)
        try:
            match operation:
                case Immediate():
                    data = operation.handle(self._engine, self._caller, request)
                case Query():
                    data = await operation.handle(self._engine, self._caller, request)
                case _:
                    assert_never(operation)
        except ApiError as error:
            data = frames.refusal(error)
        except Exception:
            logger.exception("%s failed", operation.name)
            data = frames.refusal(ApiError(Code.INTERNAL))
        user_id = self._session.user_id
        if user_id is not None and not self._caller.user_id:
            self._caller = Caller(user_id, self._session)
        self._send(kind, data, correlation)
        self._engine.hub.flush()
        await self._session.outbox.wait_below(_ANSWERS_WAITING)
