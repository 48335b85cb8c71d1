"""Keeping one user's connection up: reconnecting, repeating, catching up."""

from __future__ import annotations

import logging
import random
from copy import copy
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import trio

from imserver.client.calls import Calls
from imserver.client.client_errors import ClientError, ConnectionLost, Refused, Unreachable
from imserver.client.client_events import Disconnected
from imserver.client.connection import ServerConnection
from imserver.client.inbox import SyncPage
from imserver.domain import answered, frames, requested
from imserver.domain.errors import CloseCode, Code
from imserver.domain.model import Invitation, Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from imserver.client.calls import Call
    from imserver.client.connection import Ended, Patience
    from imserver.client.inbox import Inbox
    from imserver.client.route import Route

logger = logging.getLogger(__name__)

T = TypeVar("T")

_message_decoder: Final = msgspec.json.Decoder(Message)
_status_decoder: Final = msgspec.json.Decoder(answered.StatusChange)
_invitation_decoder: Final = msgspec.json.Decoder(Invitation)
# Refusals that pass; any other refusal of a login, or of a page of sync, is final.
_PASSING: Final = (Code.RATE_LIMITED, Code.UNAVAILABLE, Code.INTERNAL)
_DEFAULT_PAUSE: Final = 1.0  # seconds, where a refusal passes and does not say when
_STABLE: Final = 5.0  # seconds that a connection must last for its loss not to be one of a series


class Lifeline:
    """Owner of the calls and of whatever connection there is; feeds the inbox."""

    def __init__(
        self,
        route: Route,
        login: Callable[[], Awaitable[requested.Login]],
        inbox: Inbox | None,
        patience: Patience,
    ) -> None:
        self._route = route
        self._login = login
        self._inbox = inbox
        self._patience = patience
        self._calls = Calls()
        self._scope = trio.CancelScope()  # of everything that runs
        self._failure: ClientError | None = None  # why there will be no connection any more
        self._losses = 0  # connections that ended
        self._started = False
        self._begin: Callable[[], None] = lambda: None
        self.connected = False
        self.changed = trio.Event()  # set, and replaced, when there may be something new

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Keep a connection, until cancelled or refused for good.

        It has started when the program may begin: when there is a login, and it is known from
        where on messages are new. A failure before that is raised; later ones are for `check`.

        Raises:
            Unreachable, Refused: there is no such server now, or it does not want this user.
        """
        self._begin = task_status.started
        delays = Delays(self._patience.first_delay, self._patience.most_delay)
        with self._scope:
            while True:
                login = await self._login()
                began = trio.current_time()
                connection = ServerConnection(
                    self._route, self._patience, self._calls, self._receive
                )
                delay = 0.0
                try:
                    ended = await connection.run(login, self._open, self._feed)
                except ClientError as error:
                    if not self._started:
                        raise
                    delay = self._consider(error)
                else:
                    if not self._started:
                        raise Unreachable(ended.reason)
                    self._disconnect(ended)
                    if trio.current_time() - began >= _STABLE:
                        delays.reset()
                    if ended.code == CloseCode.RATE_LIMITED:
                        delay = _DEFAULT_PAUSE
                await trio.sleep(delay + delays.next())
        if not self._started:
            self.check()

    async def ask(
        self, kind: str, request: msgspec.Struct, answer: type[T], *, repeatable: bool = True
    ) -> T:
        """One request and its answer, however many connections it takes.

        Raises:
            ClientError: there will be no answer, or it is a refusal.
        """
        while True:
            self.check()
            losses = self._losses
            call = self._calls.make(kind, request, answer, repeatable=repeatable)
            try:
                await call.done.wait()
            except BaseException:
                self._calls.abandon(call)
                raise
            if call.error is None:
                result: T = call.answer
                return result
            match call.error:
                case Refused(code=Code.RATE_LIMITED):
                    await trio.sleep(_pause(call.error))
                case Refused(code=Code.UNAVAILABLE) if await self._is_lost_since(losses):
                    pass  # the server was shutting down, and has stored nothing
                case _:
                    raise call.error

    def check(self) -> None:
        """Raise what there is no way back from, if it has happened.

        Raises:
            ClientError: that.
        """
        if self._failure is not None:
            raise copy(self._failure)

    def fail(self, error: ClientError) -> None:
        """Stop for good; whoever waits for an answer is told `error`."""
        if self._failure is None:
            self._failure = error
        self._calls.fail(self._failure)
        self._scope.cancel()
        self.wake()

    def wake(self) -> None:
        """Let the iteration and the feeder look again."""
        self.changed.set()
        self.changed = trio.Event()

    async def _is_lost_since(self, losses: int) -> bool:
        """Whether the connection has ended, or does so before long."""
        with trio.move_on_after(_DEFAULT_PAUSE):
            while self._losses == losses and self._failure is None:
                await self.changed.wait()
        return self._losses > losses

    def _open(self) -> None:
        """Somebody is logged in."""
        self.connected = True
        if self._started and self._inbox is not None:
            self._inbox.reconnect()
        self._start()
        self.wake()

    def _start(self) -> None:
        if not self._started and (self._inbox is None or self._inbox.anchored):
            self._started = True
            self._begin()

    def _consider(self, error: ClientError) -> float:
        """What to do about a failure to reconnect: give up, or wait so many seconds at least."""
        logger.info("cannot reconnect: %s", error)
        if not isinstance(error, Refused):
            return 0.0
        if error.code not in _PASSING:
            self.fail(error)
        return _pause(error)

    def _disconnect(self, ended: Ended) -> None:
        logger.info("disconnected: %s", ended.reason)
        self.connected = False
        self._losses += 1
        self._calls.disconnect(ended.code)
        if self._inbox is not None:
            self._inbox.disconnect(Disconnected(ended.reason, ended.code))
        self.wake()

    def _receive(self, envelope: frames.Envelope) -> None:
        """Take one frame.

        Raises:
            msgspec.MsgspecError, ValueError: it is not what it should be.
        """
        call = self._calls.answer(envelope)
        if call is not None:
            self._take_answer(call)
            return
        if self._inbox is None:
            return
        match envelope.type:
            case frames.NEW_MESSAGE | frames.NEW_GROUP_MESSAGE:
                self._inbox.push(_message_decoder.decode(envelope.data))
            case frames.MESSAGE_STATUS:
                self._inbox.push(_status_decoder.decode(envelope.data))
            case frames.INVITATION:
                self._inbox.push(_invitation_decoder.decode(envelope.data))
            case _:
                return  # an answer that nobody waits for, or a push of a newer server
        self.wake()

    def _take_answer(self, call: Call) -> None:
        if self._inbox is not None and isinstance(call.answer, answered.Sent):
            self._inbox.send(call.answer.message, returned=not call.abandoned)
            self.wake()

    async def _feed(self) -> None:
        """Fetch pages while the inbox is behind and has room, as long as the connection lasts."""
        inbox = self._inbox
        if inbox is None:
            return
        while True:
            if not inbox.behind or not inbox.has_room:
                await self.changed.wait()
                continue
            try:
                page = await self._fetch(inbox.ask())
            except ConnectionLost:
                return  # the next connection asks again, behind what is repeated on it
            except Refused as error:
                if error.code == Code.CURSOR_AHEAD:
                    inbox.restart()
                    continue
                if error.code not in _PASSING:
                    self.fail(error)
                    return
                await trio.sleep(_pause(error))
                continue
            inbox.take(page)
            self._start()
            self.wake()

    async def _fetch(self, request: requested.SyncOffline) -> SyncPage:
        # Not to be repeated on another connection: the answers to repeated sends must come
        # before the page that may hold what they stored.
        call = self._calls.make("sync_offline", request, SyncPage, repeatable=False)
        try:
            await call.done.wait()
        except BaseException:
            self._calls.abandon(call)
            raise
        if call.error is not None:
            raise call.error
        page: Any = call.answer
        assert isinstance(page, SyncPage)
        return page


class Delays:
    """Delays that double up to a limit, each drawn evenly from zero up ("full jitter")."""

    def __init__(self, first: float, most: float) -> None:
        self._first = first  # seconds
        self._most = most
        self._limit = first

    def next(self) -> float:
        """The next delay, in seconds."""
        limit = self._limit
        self._limit = min(self._most, limit * 2)
        return random.uniform(0, limit)

    def reset(self) -> None:
        """Begin again with the first delay."""
        self._limit = self._first


def _pause(error: Refused) -> float:
    """How long to wait before trying again, in seconds."""
    return _DEFAULT_PAUSE if error.retry_after_ms is None else error.retry_after_ms / 1000
