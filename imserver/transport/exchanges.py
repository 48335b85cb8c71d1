"""One HTTP/1.1 connection: requests in, answers out, in order.

Laws:

- One request is under way at a time; what comes meanwhile is parsed when its turn comes. So a
  client's requests see what those before them did, and its answers come in order.
- `_work` never waits. What may is put into `_pause`, and the connection's own task awaits it.
- Bytes are read only while there is use for them: what a client sends ahead is bounded.
- Every answer leaves the connection in a state that both sides agree on, or closes it: a body that
  was not read, a fault, an answer that ended early.

Where a connection stands, and what ends it:

| state | it waits for | deadline | then |
|---|---|---|---|
| idle | a request | `idle` | closed |
| in a head | its rest | `head` | 408, closed |
| in a body | its rest | `body` | 408, closed |
| at work | the writer, a reader, a route | none | |
| answering | the client, to take it | 20 s for each 64 KiB | closed |
| over | nothing | | `run` returns |
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from imserver import log
from imserver.domain.errors import ApiError, Code
from imserver.transport import answers
from imserver.transport.deadline import Deadline, Stage
from imserver.transport.intake import Intake
from imserver.transport.outgoing import AnswerBytes
from imserver.transport.raw_body import RawBody
from imserver.transport.rest import body_too_large, body_too_slow

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from imserver.domain.model import Peer
    from imserver.transport.deadline import Times
    from imserver.transport.http1_reader import IncomingRequest
    from imserver.transport.pump import Pump
    from imserver.transport.rest import RestCall, RestRules
    from imserver.transport.routes import Answer

logger = logging.getLogger(__name__)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOO_SLOW: Final = ApiError(Code.TOO_SLOW)


class Exchanges:
    """Owner of what one client asked and has not been answered yet."""

    __slots__ = ("_busy", "_call", "_called", "_failure", "_intake", "_out", "_over", "_pause",
                 "_peer", "_raw", "_reader", "_retired", "_rules", "_working", "deadline",
                 "unread", "upgrade")  # fmt: skip

    def __init__(
        self,
        rules: RestRules,
        pump: Pump,
        sock: socket.socket,
        peer: Peer,
        times: Times,
        header_bytes: int,
    ) -> None:
        self._rules = rules
        self._peer = peer
        self._intake = Intake(sock, pump, header_bytes, self._take)
        self._reader = self._intake.reader
        self._call: RestCall | None = None  # of the first request
        self._busy = False  # its answer is being made
        self._raw: RawBody | None = None  # its body, if a raw route reads it
        self._out = AnswerBytes(sock)
        self._pause: Callable[[], Awaitable[None]] | None = None  # for the connection's own task
        self._called = trio.Event()  # it has something to do
        self._working = False  # `_work` is under way
        self._retired = False
        self._over = False  # nothing more is taken or said
        self._failure: Exception | None = None  # ours
        self.deadline = Deadline(times)
        self.unread = False  # the client may still be sending
        self.upgrade = b""  # the head of a request for a WebSocket, and what came behind it

    async def run(self, head: bytes, flush: Callable[[], None]) -> None:
        """Answer until the connection is over; `head` is what was read of it already."""
        self._reader.feed(head)
        self._work()
        while True:
            if self._pause is not None:
                await self._pause()
                self._pause = None
                self._work()
                flush()
            elif self._over:
                return
            else:
                await self._called.wait()
                self._called = trio.Event()
                if self._failure is not None:
                    raise self._failure

    def end(self) -> None:
        """Let go of everything; whatever is still answered is answered to nobody."""
        self._over = True
        self._intake.leave()
        call, self._call = self._call, None
        if call is not None:
            self._rules.requests.end(call.request)
        self._reader.close()

    def retire(self) -> None:
        """Let go at once of a client that has asked nothing, else after its answer."""
        self._retired = True
        if self._intake.empty and not self._working:
            self._finish()

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline.stand(Stage.NONE)
        if self._raw is not None:
            self._raw.expire()
            return
        if self._call is not None:
            self._refuse_rest(body_too_slow())
            return
        if self._reader.begun:
            self._say_fault(408, _TOO_SLOW)
        self._finish()
        self._work()

    # -- in ---------------------------------------------------------------------------------------

    def _resolve(self, answer: Answer) -> None:
        """`_answered`, for the writer, which goes on when this returns."""
        try:
            self._answered(answer)
        except Exception as failure:
            self._fail(failure)

    def _take(self) -> None:
        """Go on with what has come; called by the pump, which goes on when this returns."""
        try:
            if self._raw is not None:
                self._raw.wake()
            self._work()
        except Exception as failure:
            self._fail(failure)

    def _fail(self, failure: Exception) -> None:
        """A defect of ours: it ends this connection, and not whoever called."""
        self._failure = failure
        self._intake.leave()
        self._called.set()

    def _settle(self) -> None:
        """Read on, or not, and say until when."""
        if self._over:
            self._intake.leave()
            self._called.set()
            return
        if self._pause is not None:
            self._called.set()
        self._intake.settle()
        if self._raw is None:  # else it has its own
            self.deadline.stand(self._stage)

    @property
    def _stage(self) -> Stage:
        if self._pause is not None or self._busy:
            return Stage.WORK
        if self._reader.requests:
            return Stage.BODY
        return Stage.HEAD if self._reader.begun else Stage.IDLE

    # -- at work ----------------------------------------------------------------------------------

    def _work(self) -> None:
        """Go on with what has come, as far as nobody has to wait."""
        self._working = True
        try:
            while not (self._over or self._busy or self._pause is not None or self._out.left):
                if not self._go_on():
                    break
        finally:
            self._working = False
        self._out.flush()
        if self._out.broken:
            self._over = True
        elif self._out.left and self._pause is None:
            self._pause = self._out.drain
        self._settle()

    def _go_on(self) -> bool:
        """One step; false if more has to come first."""
        reader = self._reader
        if not reader.requests:
            if reader.fault is not None:
                self._say_fault(reader.fault.status, reader.fault.error)
                self._finish()
            elif self._intake.take_ahead():
                return True
            elif self._intake.ended:
                self._finish()
            return False
        incoming = reader.requests[0]
        if incoming.discarded:
            return self._discard(incoming)
        if self._call is None:
            self._begin(incoming)
            return True
        return self._go_on_with(incoming, self._call)

    def _begin(self, incoming: IncomingRequest) -> None:
        head = incoming.head
        framed = incoming.upgrade and "websocket" in (head.text("Upgrade") or "").lower()
        if framed and head.path == "/ws" and head.method == "GET":
            self._hand_over(incoming)
            return
        self._call = call = self._rules.begin(head, self._peer)
        if framed:  # it would go on with frames, whatever it is told
            elsewhere = ApiError(Code.INVALID_REQUEST, "The WebSocket is at /ws")
            call.answer = self._rules.refusal(elsewhere, closing=True)
        if self._reader.fault is not None and not incoming.complete:
            call.answer = self._rules.refusal(self._reader.fault.error, closing=True)
        if call.answer is None and incoming.expects and call.raw is None and not incoming.complete:
            if (incoming.length or 0) <= self._rules.body_bytes:
                self._out.put(_CONTINUE)
            incoming.expects = False

    def _hand_over(self, incoming: IncomingRequest) -> None:
        self.upgrade = incoming.head.lines(incoming.minor) + self._intake.give_up()
        self._over = True

    def _go_on_with(self, incoming: IncomingRequest, call: RestCall) -> bool:
        if call.answer is not None:
            self._answered(call.answer)
            return True
        if call.raw is not None:
            self._raw = RawBody(self, incoming, call.raw.most_bytes)
            self._intake.bitwise = True
            self._pause = partial(self._serve_raw, call, self._raw)
            return False
        most = self._rules.body_bytes
        if incoming.taken > most or (incoming.length or 0) > most:
            self._refuse_rest(body_too_large())
            return False
        if not incoming.complete:
            if self._reader.fault is not None:
                self._refuse_rest(self._reader.fault.error)
            elif self._intake.take_ahead():
                return True
            elif self._intake.ended:
                self._finish()
            return False
        self._busy = True
        log.about(**call.request.about())
        waiting = self._rules.start(call, bytes(incoming.body), self._resolve)
        log.about_nothing()
        if waiting is not None:
            self._pause = partial(self._wait, waiting)
        return True

    def _discard(self, incoming: IncomingRequest) -> bool:
        """Skip the body of a request that was answered without it."""
        if incoming.complete:
            self._reader.requests.popleft()
            return True
        if (
            self._reader.fault is not None
            or incoming.taken > self._rules.body_bytes
            or self._intake.ended
        ):
            self.unread = not self._intake.ended
            self._finish()
        return self._intake.take_ahead()

    async def _wait(self, waiting: Callable[[], Awaitable[Answer]]) -> None:
        await self._delay(await waiting())

    async def _delay(self, answer: Answer) -> None:
        if answer.wait:
            await trio.sleep(answer.wait)
        self._answered(answer._replace(wait=0.0))

    async def _serve_raw(self, call: RestCall, body: RawBody) -> None:
        self._busy = True
        answer = await self._rules.serve(call, body)
        self._raw, self._intake.bitwise = None, False
        if answer is None:
            self._finish()
        elif isinstance(answer.body, bytes):
            await self._delay(answer)
        else:
            await self._stream(answer)

    # -- out --------------------------------------------------------------------------------------

    def _answered(self, answer: Answer) -> None:
        """The first request has its answer; called at once or by the writer."""
        call = self._call
        if self._over or call is None:
            return
        if answer.wait:
            self._busy = True
            self._pause = partial(self._delay, answer)
            self._called.set()
            return
        answer = self._rules.finish(call, answer)
        incoming, closing = self._conclude(answer)
        self._out.say(answer, call.request.id, incoming, closing=closing)
        self._end_call(call, closing=closing)
        if not self._working and self._pause is None:
            self._work()

    def _conclude(self, answer: Answer) -> tuple[IncomingRequest, bool]:
        """The request that is being answered, and whether the connection ends with that."""
        incoming = self._reader.requests[0]
        closing = answer.closing or self._retired or not incoming.keep_alive
        if not incoming.complete:
            rest = (incoming.length or 0) - incoming.taken
            closing = closing or incoming.expects or rest > self._rules.body_bytes
        return incoming, closing

    def _end_call(self, call: RestCall, *, closing: bool) -> None:
        self._rules.requests.end(call.request)
        self._call = None
        self._busy = False
        self.deadline.stand(Stage.NONE)
        incoming = self._reader.requests[0]
        if closing:
            self.unread = not self._intake.ended
            self._finish()
        elif incoming.complete:
            self._reader.requests.popleft()
        else:
            incoming.discarded = True
            incoming.body.clear()

    async def _stream(self, answer: Answer) -> None:
        """Send an answer piece by piece, as the client takes it."""
        call = self._call
        assert call is not None
        answer = self._rules.finish(call, answer)
        incoming, closing = self._conclude(answer)
        closing = closing or (answer.length is None and not incoming.minor)
        try:
            await self._out.stream(answer, call.request.id, incoming, closing=closing)
        except Exception:
            logger.exception("an answer broke off", extra=call.request.about())
            self._finish()
        else:
            self._end_call(call, closing=closing)

    def _refuse_rest(self, error: ApiError) -> None:
        """Refuse the first request, whose body is not waited for any longer."""
        self._answered(self._rules.refusal(error, closing=True))

    def _say_fault(self, status: int, error: ApiError) -> None:
        """Refuse what is no request."""
        requests = self._rules.requests
        request = requests.unreadable(error, self._peer.address)
        request.status = status
        self._out.say(answers.refusal(error)._replace(status=status), request.id, closing=True)
        requests.end(request)
        self.unread = not self._intake.ended

    def _finish(self) -> None:
        """Nothing more is taken; what was put is still sent."""
        self._over = True
        self._called.set()

    # -- for the body of a raw route --------------------------------------------------------------

    async def begin_body(self, incoming: IncomingRequest) -> None:
        """See `raw_body`."""
        incoming.expects = False
        await self._out.send(_CONTINUE)

    def read_on(self) -> bool:
        """See `raw_body`."""
        if self._intake.take_ahead():
            return True
        if self._reader.fault is not None:
            raise self._reader.fault.error
        if self._intake.ended:
            raise trio.BrokenResourceError("the body broke off")
        self._settle()
        self.deadline.stand(Stage.NONE)
        self.deadline.stand(Stage.BODY)
        return False
