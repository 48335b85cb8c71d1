"""The client: calls, events and the connection behind them, which comes back by itself.

Laws:

- A program that reads the events sees each message that is its user's to see once and in the
  server's order, however often the connection or the server dies: see `inbox`. What the program
  sends is the result of `send` instead, unless it asks for events of that too.
- A call waits as long as its caller lets it (`trio.fail_after`): while there is no connection it
  waits for one, and what was sent without an answer is sent again; see `calls`.
- Nothing here grows without bound, whatever the program and the server do.
- Everything runs in the nursery of `open_client`, and ends with it.
"""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

import httpx
import msgspec
import trio

from imserver.client.account_calls import AccountCalls
from imserver.client.client_errors import ClientClosed, Unreachable, Unread
from imserver.client.connection import Patience
from imserver.client.conversation_calls import ConversationCalls
from imserver.client.group_calls import GroupCalls
from imserver.client.history_calls import HistoryCalls
from imserver.client.inbox import Inbox, SyncPage
from imserver.client.lifeline import Lifeline
from imserver.client.route import Route
from imserver.client.search_calls import SearchCalls
from imserver.domain import answered, requested
from imserver.domain.model import Message, parse_message_id

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from imserver.client.client_events import Event

T = TypeVar("T")


@asynccontextmanager
async def open_client(
    url: str,
    user_id: str,
    *,
    token: str | Callable[[], Awaitable[str]] | None = None,
    platform: str = "python",
    cursor: str | None = None,
    own: bool = False,
    events: bool = True,
    buffer: int = 256,
    patience: Patience | None = None,
    tls: ssl.SSLContext | None = None,
    proxy: str | None = None,
) -> AsyncIterator[Client]:
    """A client that is logged in as `user_id` while the context lasts.

    Args:
        url: where the server is, `http://127.0.0.1:8080`; `https`, `ws` and `wss` do as well.
        user_id: the user.
        token: for servers that want one: the token, or a function that is asked for one at every
            login, so that a client whose token has expired comes back with a fresh one. What it
            raises ends the client.
        platform: told to the server.
        cursor: the id of the last message dealt with, as `Client.cursor` gave it: everything
            after it comes as events. Without one: everything not acknowledged, then what is new.
        own: whether what this client sends comes as events as well.
        events: whether the program reads events. With False nothing is kept for it; a program
            that only sends should say so, or `send` fails once too much is waiting.
        buffer: how many events may wait for the program, 1 or more; beyond that they are left
            on the server, and asked for later.
        patience: how long to wait for what.
        tls: for `https` and `wss`; the default trusts what the system trusts.
        proxy: an HTTP proxy, `http://proxy:3128`, for everything that this client does; the
            environment (`HTTP_PROXY` and others) is not read.

    Raises:
        ValueError: the url, proxy, cursor or buffer cannot be used.
        Unreachable: there is no such server now.
        Refused: the login was refused.
    """
    route = Route(url, tls, proxy)
    position = None
    if cursor is not None:
        position = parse_message_id(cursor)
        if position is None:
            raise ValueError(f"{cursor!r} is not a message id")
    if buffer < 1:
        raise ValueError("buffer must be 1 or more")
    inbox = Inbox(user_id, cursor=position, own=own, most=buffer) if events else None

    async def login() -> requested.Login:
        shown = await token() if callable(token) else token
        return requested.Login(user_id, shown, platform)

    patience = patience or Patience()
    line = Lifeline(route, login, inbox, patience)
    lone: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(line.run)
            try:
                yield Client(user_id, route, line, inbox, patience)
            finally:
                line.fail(ClientClosed("the client is closed"))
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # The nursery is ours: what the program raised leaves as the program raised it.
        if len(group.exceptions) > 1:
            raise
        lone = group.exceptions[0]
    if lone is not None:
        raise lone


class Client(GroupCalls, AccountCalls, SearchCalls, HistoryCalls, ConversationCalls):
    """One user's connection to a server; made by `open_client` alone.

    Iterating gives the events; one task at a time may do so. Cancelling it, or stopping, loses
    nothing: the next iteration goes on from there.

    Every method raises `Refused` where the server refuses, with its `code`. `rate_limited` is
    waited out instead, and so is `unavailable` from a server that is shutting down. After a
    final failure (a login refused on reconnecting) every method and the iteration raise that.
    """

    def __init__(
        self,
        user_id: str,
        route: Route,
        line: Lifeline,
        inbox: Inbox | None,
        patience: Patience,
    ) -> None:
        super().__init__(line)
        self.user_id = user_id
        self._route = route
        self._inbox = inbox
        self._patience = patience
        self._reading = False  # somebody iterates

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._line.connected

    @property
    def cursor(self) -> str | None:
        """The id of the last message that was handed to the program; None before there is one.

        Given to `open_client` later, everything after it comes. A program that must not miss
        what it was working on when it died keeps it only when it is done with the event.
        """
        return None if self._inbox is None else self._inbox.cursor

    # -- calls --------------------------------------------------------------------------------

    async def send(
        self,
        content: str,
        *,
        to: str | None = None,
        group: str | None = None,
        type: str = "text",
        client_msg_id: str | None = None,
        attachments: Sequence[str] = (),
        reply_to: str | None = None,
        mentions: Sequence[str] = (),
        mention_all: bool = False,
        forward_of: str | None = None,
    ) -> Message:
        """Send a message to a user or a group; it is on the server's disk when this returns.

        `attachments` are ids of one's own files, at most 20. `content` may be "" only with some.
        `reply_to` is a message of the conversation. `mentions` are users in it; `mention_all`
        means everyone in a group. `forward_of` repeats a message with its files: leave `content`
        empty.

        Safe to repeat with the same `client_msg_id`, 1-128 characters: the server stores it once
        for ever. Without one, a fresh one is used, and repeats after a reconnect are the client's
        own affair. If the caller is cancelled while waiting, the message may have been stored;
        then it comes as an event.

        Raises:
            ValueError: not exactly one of `to` and `group`.
            Unread: far too many events wait to be read.
            Refused: among others `forbidden`, `not_found`, `too_large`; `conflict` for a
                `client_msg_id` that was used for another message.
        """
        if (not to) == (not group):
            raise ValueError("give either to= or group=")
        if self._inbox is not None and self._inbox.crowded:
            raise Unread("read the events, or open the client with events=False")
        client_msg_id = client_msg_id or str(uuid.uuid4())
        request = requested.SendMessage(
            content,
            to,
            group,
            type,
            client_msg_id,
            [*attachments] or None,
            reply_to,
            [*mentions] or None,
            mention_all or None,
            forward_of,
        )
        sent: answered.Sent = await self._line.ask("send_message", request, answered.Sent)
        return sent.message

    async def ack(
        self,
        message_id: str,
        status: Literal["delivered", "read"] = "read",
        *,
        cumulative: bool = False,
    ) -> None:
        """Tell how far a message has come; `cumulative`: all before it in its conversation too."""
        await self._line.ask("ack", requested.Ack(message_id, status, cumulative), answered.Success)

    async def sync(
        self,
        after: str | None = None,
        *,
        limit: int = requested.DEFAULT_LIMIT,
        own: bool = False,
    ) -> SyncPage:
        """A page of messages after `after`, or of all not acknowledged; `limit` is 1-200.

        For looking back: the events and the cursor are not touched by it.
        """
        return await self._line.ask(
            "sync_offline", requested.SyncOffline(after, limit, own), SyncPage
        )

    async def get_message(self, message_id: str) -> Message:
        """One message, with its status as it is now."""
        answer = await self._line.ask(
            "get_message", requested.GetMessage(message_id), answered.OneMessage
        )
        return answer.message

    async def heartbeat(self) -> int:
        """The server's time, in milliseconds since the epoch."""
        answer = await self._line.ask("heartbeat", requested.Heartbeat(), answered.HeartbeatAnswer)
        return answer.timestamp

    async def health(self) -> answered.Health:
        """Whether the server serves and can store, asked over REST.

        Raises:
            Unreachable: no answer.
        """
        return await self._get("/health", answered.Health)

    async def stats(self) -> answered.Stats:
        """Who is connected, asked over REST.

        Raises:
            Unreachable: no answer.
        """
        return await self._get("/api/v1/stats", answered.Stats)

    # -- events -------------------------------------------------------------------------------

    def __aiter__(self) -> Client:
        return self

    async def __anext__(self) -> Event:
        if self._inbox is None:
            raise ValueError("the client was opened with events=False")
        if self._reading:
            raise trio.BusyResourceError("another task reads the events")
        self._reading = True
        try:
            await trio.lowlevel.checkpoint()
            # From here on nothing waits between taking an event and returning it: a cancelled
            # iteration has taken none.
            while True:
                event = self._next_event(self._inbox)
                if event is not None:
                    return event
                self._line.check()
                await self._line.changed.wait()
        finally:
            self._reading = False

    def _next_event(self, inbox: Inbox) -> Event | None:
        event = inbox.next()
        if inbox.behind and inbox.has_room:
            self._line.wake()  # the feeder
        return event

    async def _get(self, path: str, answer: type[T]) -> T:
        try:
            async with self._route.http(self._patience.answer) as http:
                response = await http.get(path)
            return msgspec.json.decode(response.content, type=answer)
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            raise Unreachable(f"{path}: {error}") from None
