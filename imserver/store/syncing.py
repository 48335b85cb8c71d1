"""Sync: a user's messages in the one order, a page at a time."""

from __future__ import annotations

from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import MAX_SEQ, parse_message_id
from imserver.store import queries, runs
from imserver.store.message_rows import ENVELOPE_BYTES, Row
from imserver.store.reading import every, find_uid, is_lost, newest_seq
from imserver.store.retention import removed
from imserver.store.viewing import views_within

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

    from imserver.domain.model import Message

_FIRST_PIECE: Final = 8  # messages of a conversation that sync reads at once; it doubles


class Synced(NamedTuple):
    """A page of sync; `has_more` is exact."""

    messages: list[Message]
    has_more: bool
    gap: bool = False  # something that would have come after the cursor was removed
    oldest_seq: int | None = None  # with `gap`: the oldest that the user can still see
    failed: Sequence[int] = ()  # of the user's messages that nobody got; see `removed.failures`


def sync_page(
    db: apsw.Connection,
    user_id: str,
    *,
    after: int | None,
    limit: int,
    own: bool,
    max_bytes: int,
) -> Synced:
    """The user's messages in order of `seq`: after a cursor, or all that are not acknowledged.

    A merge of conversations, each read ahead in growing pieces. So the work is one look at each
    of the user's conversations and a short read of those that are on the page, whatever else is
    stored.

    Raises:
        ApiError: `cursor_ahead`, for a cursor beyond the newest message, or among those that a
            restore took away.
    """
    if after is not None and (after > newest_seq(db) or is_lost(db, after)):
        raise ApiError(Code.CURSOR_AHEAD)
    uid = find_uid(db, user_id)
    if uid is None:
        return Synced([], False)
    page = _merge(db, uid, after, limit, own, max_bytes)
    highest = removed.highest(db)
    if highest is None:
        return page
    last = parse_message_id(page.messages[-1].id) if page.has_more else None
    failed = removed.failures(db, uid, after, last)
    behind = after is None or after < highest
    if not behind or not removed.is_missed(db, uid, after, own=own):
        return page._replace(failed=failed)
    return page._replace(gap=True, oldest_seq=removed.oldest_left(db, uid), failed=failed)


def _merge(
    db: apsw.Connection, uid: int, after: int | None, limit: int, own: bool, max_bytes: int
) -> Synced:
    heads_sql, piece_sql = (
        (queries.HEADS_UNACKED, queries.PIECE_UNACKED)
        if after is None
        else (queries.HEADS_AFTER, queries.PIECE_AFTER)
    )
    args: dict[str, Any] = {"uid": uid, "own": own}
    heads = []
    for first, cid, end, steps in every(db, heads_sql, args | {"after": after}):
        upto = MAX_SEQ if end is None else end
        parts = runs.stretches(db, cid, uid, first, upto) if steps else iter([(first, upto)])
        cursor = _MessageCursor(db, piece_sql, args | {"cid": cid}, parts)
        head = cursor.following(limit + 1) if steps else first
        if head is not None:
            heads.append((head, cursor))
    heapify(heads)
    rows: list[Row] = []
    size = 0
    while heads:
        _, conversation = heads[0]
        row = conversation.take(limit - len(rows) + 1)
        # As JSON: escaping makes some contents six times as long, and a page too long for a
        # client's frame limit could never be got past.
        size += len(msgspec.json.encode(row.content)) + ENVELOPE_BYTES
        if len(rows) == limit or (rows and size > max_bytes):
            return Synced(views_within(db, uid, rows, max_bytes), True)
        rows.append(row)
        following = conversation.following(limit - len(rows) + 1)
        if following is None:
            heappop(heads)
        else:
            heapreplace(heads, (following, conversation))
    messages = views_within(db, uid, rows, max_bytes)
    return Synced(messages, len(messages) < len(rows))


class _MessageCursor:
    """Reads one conversation's messages in order, in growing pieces, from stretches of it."""

    __slots__ = ("_args", "_db", "_first", "_piece", "_rows", "_sql", "_stretches", "_upto")

    def __init__(
        self,
        db: apsw.Connection,
        sql: str,
        args: dict[str, Any],
        stretches: Iterator[tuple[int, int]],
    ) -> None:
        self._db = db
        self._sql = sql
        self._args = args
        self._stretches = stretches
        self._first, self._upto = 1, 0  # what is left of the stretch under way
        self._piece = _FIRST_PIECE
        self._rows: list[Row] = []  # read ahead; the next one is last

    def take(self, room: int) -> Row:
        """The next message, of which there must be one; `room` is how many could be used."""
        self._read(room)
        return self._rows.pop()

    def following(self, room: int) -> int | None:
        """The place of the next message, or None."""
        self._read(room)
        return self._rows[-1].seq if self._rows else None

    def _read(self, room: int) -> None:
        while not self._rows:
            if self._first > self._upto:
                stretch = next(self._stretches, None)
                if stretch is None:
                    return
                self._first, self._upto = stretch
            wanted = min(self._piece, room)
            bounds = {"first": self._first, "upto": self._upto, "limit": wanted}
            found = every(self._db, self._sql, self._args | bounds)
            self._rows = [Row(*row) for row in reversed(found)]
            self._first = (self._rows[0].seq if len(found) == wanted else self._upto) + 1
            self._piece *= 2
