"""What reaches the program: each message once, in the server's order. No I/O.

Laws:

- `_position` only grows, and everything the user may see up to it is in `_ready` or was handed
  out. So a message is taken exactly when its place is beyond `_position`.
- A push may be taken only when nothing before it can be missing. After a connection begins, or
  after a push found no room, that is not so: `behind` is true, pushes wait in `_live`, and pages
  of sync are taken until one says that it is the last. Pushes that waited then follow it.
- Both queues are bounded, by `most` and a page. A push without room in `_ready` puts the inbox
  behind; one without room in `_live` empties it, and the page asked for next will hold what was
  dropped.
- What this client sends is returned to its sender, not told: its place is passed silently.
  Places of own messages that the stream has not reached yet are remembered in `_own`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from imserver.client.client_events import Disconnected, Event, Gap, Reconnected
from imserver.domain.answered import StatusChange
from imserver.domain.model import FAILED, SYSTEM_USER, Message, message_id, parse_message_id
from imserver.domain.requested import MAX_LIMIT, SyncOffline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imserver.domain.model import Invitation

MOST_OWN: Final = 10_000  # own messages remembered while the program reads no events
_NOWHERE: Final = -1  # before the first place: no cursor

# A number stands for places passed silently: everything up to it is dealt with.
_Item = Event | int


class SyncPage(Struct, frozen=True):
    """A page of sync, as a client reads it; servers may say more or less."""

    messages: list[Message]
    has_more: bool = False
    newest_message_id: str | None = None
    gap: bool = False
    oldest_message_id: str | None = None
    failed: list[str] = []  # own messages that were removed before anybody had them


def place(message: Message) -> int:
    """The place of a message in the server's order.

    Raises:
        ValueError: its id is not a message id.
    """
    seq = parse_message_id(message.id)
    if seq is None:
        raise ValueError(f"{message.id!r} is not a message id")
    return seq


class Inbox:
    """Owner of the events that wait for the program, and of the cursor."""

    def __init__(self, user_id: str, *, cursor: int | None, own: bool, most: int) -> None:
        self._user_id = user_id
        self._tell_own = own  # whether what this client sends is told as well
        self._most = most  # events in each queue, more or less
        self._page = min(MAX_LIMIT, most)
        self._ready: deque[_Item] = deque()
        self._live: deque[_Item] = deque()
        self._overflowed = False  # something was dropped from _live since the last page request
        self._own: set[int] = set()
        self._cursor = _NOWHERE if cursor is None else cursor
        self._position = self._cursor
        # Up to here only what is not acknowledged is wanted: the start without a cursor.
        self._anchor = _NOWHERE
        self.behind = True  # pages must be fetched
        self._gap_told = False  # since it is behind

    @property
    def cursor(self) -> str | None:
        """The last message dealt with; None before there is one."""
        return None if self._cursor == _NOWHERE else message_id(self._cursor)

    @property
    def anchored(self) -> bool:
        """Whether it is known what is new: there was a cursor, or the first page has come."""
        return self._position != _NOWHERE

    @property
    def has_room(self) -> bool:
        """Whether another page may be asked for."""
        return len(self._ready) <= self._most // 2

    @property
    def crowded(self) -> bool:
        """Whether too many own messages wait for the program to read what came before them."""
        return len(self._own) >= MOST_OWN

    # -- from the connection ------------------------------------------------------------------

    def disconnect(self, event: Disconnected) -> None:
        """The stream of pushes is broken: what follows must be fetched."""
        self._live.clear()
        self._overflowed = self._gap_told = False
        self.behind = True
        if self._ready and isinstance(self._ready[-1], Reconnected):
            self._ready.pop()  # it had not been noticed: the program knows of the loss before
        else:
            self._ready.append(event)

    def reconnect(self) -> None:
        """There is a connection again, and nothing has come over it yet."""
        self._ready.append(Reconnected())

    def push(self, item: Message | StatusChange | Invitation) -> None:
        """Take what the server pushed.

        Raises:
            ValueError: a message without a place.
        """
        if self.behind:
            self._wait(item)
        elif not isinstance(item, Message):
            if len(self._ready) < self._most:
                self._ready.append(item)
        elif (seq := place(item)) > self._position:
            if len(self._ready) >= self._most:
                self.behind = True
                self._wait(item)
            else:
                self._position = seq
                self._ready.append(item)

    def send(self, message: Message, *, returned: bool) -> None:
        """Take the answer to a send of this client; `returned`: somebody waits for it.

        Raises:
            ValueError: a message without a place.
        """
        if self._tell_own or not returned:
            self.push(message)
            return
        seq = place(message)
        if self.behind:
            if seq > self._cursor:
                self._own.add(seq)
            self._wait(seq)
        elif seq > self._position:
            self._pass(seq)
        elif seq > self._cursor:
            # Sent from elsewhere under the same client_msg_id, and not read yet.
            self._own.add(seq)

    # -- to the program -----------------------------------------------------------------------

    def next(self) -> Event | None:
        """The next event, if there is one; it counts as dealt with."""
        while self._ready:
            item = self._ready.popleft()
            match item:
                case int():
                    self._cursor = item
                    continue
                case Message():
                    self._cursor = seq = place(item)
                    if seq in self._own:
                        self._own.discard(seq)
                        continue
                case Gap(restored=True):
                    self._cursor = _NOWHERE
            return item
        if not self.behind:
            self._own.clear()  # the stream has passed them all
        return None

    # -- to and from sync ---------------------------------------------------------------------

    def ask(self) -> SyncOffline:
        """The request for the next page; to be called right before it is sent."""
        self._overflowed = False
        if not self.anchored:
            return SyncOffline(limit=self._page, include_newest=True)
        return SyncOffline(message_id(self._position), self._page, include_own=True)

    def take(self, page: SyncPage) -> None:
        """Take the answer to the last `ask`.

        Raises:
            ValueError: a message without a place.
        """
        if page.gap and not self._gap_told:
            self._gap_told = True  # the other pages say it of themselves as well
            self._ready.append(Gap(page.oldest_message_id))
        for failed in page.failed:
            self._ready.append(StatusChange(failed, FAILED, SYSTEM_USER, 0))
        if not self.anchored:
            self._anchor = parse_message_id(page.newest_message_id or "") or 0
        self._take_in_order(page.messages)
        if page.has_more:
            return
        if self._anchor > self._position:
            self._pass(self._anchor)
        if self._overflowed:
            return
        self._take_in_order(self._live)
        self._live.clear()
        self.behind = self._gap_told = False

    def restart(self) -> None:
        """The cursor is beyond everything: the server was restored from an older copy."""
        self._position = self._anchor = _NOWHERE
        self._own.clear()
        self._ready.append(Gap(restored=True))

    def _take_in_order(self, items: Iterable[_Item]) -> None:
        for item in items:
            match item:
                case int():
                    if item > self._position:
                        self._pass(item)
                case Message():
                    seq = place(item)
                    if seq <= self._position:
                        continue
                    if seq in self._own or (seq <= self._anchor and not self._unacked(item)):
                        self._own.discard(seq)
                        self._pass(seq)
                    else:
                        self._position = seq
                        self._ready.append(item)
                case _:
                    self._ready.append(item)

    def _unacked(self, message: Message) -> bool:
        to_self = message.receiver_id == self._user_id
        return message.status == "sent" and (message.sender_id != self._user_id or to_self)

    def _pass(self, seq: int) -> None:
        self._position = seq
        if not self._ready:
            self._cursor = seq
        else:
            _mark(self._ready, seq)

    def _wait(self, item: _Item) -> None:
        if self._overflowed:
            return
        if len(self._live) >= self._most:
            self._live.clear()
            self._overflowed = True
        elif isinstance(item, int):
            _mark(self._live, item)
        else:
            self._live.append(item)


def _mark(queue: deque[_Item], seq: int) -> None:
    """Note that places up to `seq` are passed; marks that follow each other become one."""
    if queue and isinstance(queue[-1], int):
        queue[-1] = max(seq, queue[-1])
    else:
        queue.append(seq)
