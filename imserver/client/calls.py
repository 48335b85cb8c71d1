"""Requests that wait for their answers, across connections. No I/O.

Laws:

- Requests leave in the order in which they were made; after a reconnect those without an answer
  leave again, in the same order and before any later one.
- What is not safe to repeat is not repeated: once it may have arrived, it fails with its
  connection.
- An answer is believed by its correlation id, never by its place.
"""

from __future__ import annotations

import time
from copy import copy
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio
from msgspec import Struct

from imserver.client.client_errors import ClientError, ConnectionLost, Refused
from imserver.domain.errors import CloseCode, Code
from imserver.domain.frames import ERROR_TYPE, Envelope, encode_json, frame

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Verdict(Struct, frozen=True):
    """What tells a refusal from any other answer."""

    code: str | None = None
    error: str = ""
    retry_after_ms: int | None = None


_verdict: Final = msgspec.json.Decoder(_Verdict)


class Call:
    """One request. When `done` is set there is an `answer`, or an `error`."""

    __slots__ = ("_type", "abandoned", "answer", "correlation", "done", "error", "frame", "kind",
                 "repeatable", "sent")  # fmt: skip

    def __init__(
        self,
        kind: str,
        request: Struct,
        answer: type[Any],
        correlation: str,
        *,
        repeatable: bool = True,
    ) -> None:
        data = encode_json(request)
        self.kind = kind
        self.frame = frame(kind, data, time.time_ns() // 1_000_000, correlation).decode()
        self.correlation = correlation
        self.repeatable = repeatable  # whether doing it twice does no harm
        self.sent = False  # on the connection that there is
        self.abandoned = False  # nobody waits for it any more
        self.done = trio.Event()
        self.answer: Any = None
        self.error: ClientError | None = None
        self._type = answer

    def take(self, envelope: Envelope) -> None:
        """Take the frame that answers this."""
        try:
            verdict = _verdict.decode(envelope.data)
            if verdict.code is not None or envelope.type == ERROR_TYPE:
                code = verdict.code or Code.INTERNAL
                self.error = Refused(code, verdict.error, verdict.retry_after_ms)
            else:
                self.answer = msgspec.json.decode(envelope.data, type=self._type)
        except msgspec.DecodeError as error:
            self.error = ClientError(f"the answer to {self.kind} cannot be read: {error}")
        self.done.set()

    def fail(self, error: ClientError) -> None:
        """There will be no answer."""
        self.error = error
        self.done.set()


class Calls:
    """Owner of the requests without an answer."""

    def __init__(self) -> None:
        self._pending: dict[str, Call] = {}  # by correlation id, in the order of their making
        self._unsent: dict[str, Call] = {}  # those of them that are to leave, in that order too
        self._count = 0
        self._more = trio.Event()
        self.awaited = 0  # sent on this connection, and not answered

    def make(self, kind: str, request: Struct, answer: type[Any], *, repeatable: bool) -> Call:
        """Queue a request; its answer will be decoded as `answer`.

        Raises:
            UnicodeEncodeError: a text in it has no UTF-8.
        """
        self._count += 1
        call = Call(kind, request, answer, f"c{self._count}", repeatable=repeatable)
        self._pending[call.correlation] = call
        self._unsent[call.correlation] = call
        self._more.set()
        return call

    def abandon(self, call: Call) -> None:
        """Nobody waits for this one any more; it leaves only if it has left already."""
        call.abandoned = True
        if not call.sent:
            self._pending.pop(call.correlation, None)
            self._unsent.pop(call.correlation, None)

    async def unsent(self) -> Call:
        """The next request that is to leave; it counts as sent."""
        while not self._unsent:
            self._more = trio.Event()
            await self._more.wait()
        call = self._unsent.pop(next(iter(self._unsent)))
        call.sent = True
        self.awaited += 1
        return call

    def answer(self, envelope: Envelope) -> Call | None:
        """The request that a frame answers, which is answered now; None: it answers none."""
        call = self._pending.pop(envelope.message_id or "", None)
        if call is None:
            return None
        self.awaited -= 1
        call.take(envelope)
        return call

    def disconnect(self, code: int | None) -> None:
        """The connection is gone: decide what leaves again on the next one."""
        if code == CloseCode.MESSAGE_TOO_BIG:
            self._refuse_largest()
        for call in list(self._pending.values()):
            if call.sent and (call.abandoned or not call.repeatable):
                del self._pending[call.correlation]
                call.fail(ConnectionLost(f"the connection ended before {call.kind} was answered"))
            call.sent = False
        self.awaited = 0
        self._unsent = dict(self._pending)
        self._more.set()

    def fail(self, error: ClientError) -> None:
        """There will be no connection any more."""
        for call in self._pending.values():
            call.fail(copy(error))
        self._pending.clear()
        self._unsent.clear()

    def _refuse_largest(self) -> None:
        # The server does not say which frame it was; if any was too large, the largest was.
        largest = max(self._sent(), key=lambda call: len(call.frame), default=None)
        if largest is not None:
            del self._pending[largest.correlation]
            largest.fail(Refused(Code.TOO_LARGE, "The server takes no frame of this size"))

    def _sent(self) -> Iterator[Call]:
        return (call for call in self._pending.values() if call.sent)
