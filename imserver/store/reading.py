"""Questions to the database whose answers clients see; the same for readers and the writer.

All functions are synchronous and run in a worker thread, each on one connection and inside one
transaction, so that what they say is true at one moment.
"""

from __future__ import annotations

from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import (
    DAY_MS,
    MAX_SEQ,
    MESSAGE_TYPES,
    SYSTEM_USER,
    Event,
    Group,
    Level,
    Member,
    Message,
    Role,
    message_id,
    parse_message_id,
    rfc3339,
)
from imserver.store import queries
from imserver.store.retention import removed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

_FIRST_PIECE: Final = 8  # messages of a conversation that sync reads at once; it doubles
_ENVELOPE_BYTES: Final = 300  # what a message weighs on a page beside its content, roughly
# Who has not got a message, and whether it still is a certain one.
_LAGGARDS: Final = {
    Level.DELIVERED: (queries.NOT_DELIVERED_TO, queries.STILL_NOT_DELIVERED_TO),
    Level.READ: (queries.NOT_READ_BY, queries.STILL_NOT_READ_BY),
}


class Row(NamedTuple):
    """A message as `queries._ROW` gives it, without any viewer's status."""

    seq: int
    cid: int
    sender_uid: int
    sender: str | None  # None: the server itself
    low_uid: int | None  # None: a group
    high_uid: int | None
    receiver: str | None
    group_id: str | None
    type: int
    content: str
    sent_ms: int
    event: str | None

    def message(self, status: Level) -> Message:
        """The message as a client sees it, with that client's status."""
        return Message(
            id=message_id(self.seq),
            sender_id=self.sender or SYSTEM_USER,
            receiver_id=self.receiver,
            group_id=self.group_id,
            type=MESSAGE_TYPES[self.type],
            content=self.content,
            status=status.label,
            timestamp=self.sent_ms,
            event=None if self.event is None else msgspec.json.decode(self.event, type=Event),
        )


class GroupRow(NamedTuple):
    """A row of `group`."""

    cid: int
    group_id: str
    name: str
    description: str
    private: int
    keep_ms: int | None
    created_ms: int
    updated_ms: int
    closed: int


def one(db: apsw.Connection, sql: str, *args: Any) -> Any:
    """The first row of a query, or None."""
    return db.execute(sql, args).fetchone()


def every(db: apsw.Connection, sql: str, args: Any) -> list[Any]:
    """All rows of a query."""
    return db.execute(sql, args).fetchall()


def find_uid(db: apsw.Connection, user_id: str) -> int | None:
    """The number of a user, or None if nobody has named them yet."""
    row = one(db, queries.FIND_USER, user_id)
    return None if row is None else row[0]


def newest_seq(db: apsw.Connection) -> int:
    """The highest `seq` ever given out; 0 on an empty server."""
    newest: int = one(db, queries.NEWEST_SEQ)[0]
    return newest


def is_lost(db: apsw.Connection, seq: int) -> bool:
    """Whether a message had this place, and a restore took it away."""
    return one(db, queries.IS_LOST, seq) is not None


def covers(db: apsw.Connection, uid: int, cid: int, seq: int) -> bool:
    """Whether a message is the user's to see."""
    return one(db, queries.COVERS, uid, cid, seq) is not None


def find_row(db: apsw.Connection, seq: int) -> Row | None:
    """The message at a place in the order, whoever asks."""
    row = one(db, queries.MESSAGE_BY_SEQ, seq)
    return None if row is None else Row(*row)


def find_message(db: apsw.Connection, seq: int, viewer: str) -> Message | None:
    """One message as `viewer` sees it; None if there is none that is theirs to see."""
    uid = find_uid(db, viewer)
    if uid is None:
        return None
    row = find_row(db, seq)
    if row is None or not covers(db, uid, row.cid, seq):
        return None
    return views(db, uid, [row])[0]


def views(db: apsw.Connection, uid: int, rows: Iterable[Row]) -> list[Message]:
    """Messages with the status that user `uid` is to see.

    To a recipient it is their own, to the sender of a direct message the other's, to the sender
    in a group what all others have reached who were there for it and still are.
    """
    statuses = _Statuses(db)
    return [row.message(statuses.seen_by(uid, row)) for row in rows]


class _Statuses:
    """Derives statuses, asking for each member's watermarks once a page."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._watermarks: dict[tuple[int, int], tuple[int, int, bool]] = {}
        self._lowest: dict[tuple[int, int], tuple[int, int, int]] = {}
        self._laggards: dict[tuple[int, int, Level], int] = {}

    def seen_by(self, uid: int, row: Row) -> Level:
        if row.sender_uid != uid or row.low_uid == row.high_uid is not None:
            return self._of_member(row.cid, uid, row.seq)
        if row.low_uid is not None and row.high_uid is not None:
            return self._of_member(row.cid, row.low_uid + row.high_uid - uid, row.seq)
        return self._of_others(row.cid, uid, row.seq)

    def _of_member(self, cid: int, uid: int, seq: int) -> Level:
        known = self._watermarks.get((cid, uid))
        if known is None:
            _, _, delivered, read = one(self._db, queries.FIND_MEMBER, cid, uid)
            sparse = one(self._db, queries.HAS_SELECTIVE, cid, uid) is not None
            known = self._watermarks[cid, uid] = (delivered, read, sparse)
        delivered, read, sparse = known
        level = Level.READ if seq <= read else Level.DELIVERED if seq <= delivered else Level.SENT
        if sparse and level is not Level.READ:
            found = one(self._db, queries.FIND_SELECTIVE, cid, uid, seq)
            if found is not None:
                level = max(level, Level(found[0]))
        return level

    def _of_others(self, cid: int, uid: int, seq: int) -> Level:
        lowest = self._lowest.get((cid, uid))
        if lowest is None:
            count, delivered, read = one(self._db, queries.LOWEST_OF_OTHERS, cid, uid)
            lowest = self._lowest[cid, uid] = (count, delivered or 0, read or 0)
        count, delivered, read = lowest
        if not count or one(self._db, queries.PRESENT_OTHERS, cid, uid, seq) is None:
            return Level.SENT
        if seq <= read or not self._someone_lacks(cid, uid, seq, Level.READ):
            return Level.READ
        if seq <= delivered or not self._someone_lacks(cid, uid, seq, Level.DELIVERED):
            return Level.DELIVERED
        return Level.SENT

    def _someone_lacks(self, cid: int, uid: int, seq: int, level: Level) -> bool:
        # Who lags at one message of a page mostly lags at the next: they are asked first, for to
        # find the only one in a large group means to look at everyone.
        anyone, still = _LAGGARDS[level]
        known = self._laggards.get((cid, uid, level))
        if known is not None and one(self._db, still, cid, uid, seq, known) is not None:
            return True
        found = one(self._db, anyone, cid, uid, seq)
        if found is None:
            return False
        self._laggards[cid, uid, level] = found[0]
        return True


class SyncPage(NamedTuple):
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
) -> SyncPage:
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
        return SyncPage([], False)
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
) -> SyncPage:
    heads_sql, piece_sql = (
        (queries.HEADS_UNACKED, queries.PIECE_UNACKED)
        if after is None
        else (queries.HEADS_AFTER, queries.PIECE_AFTER)
    )
    args: dict[str, Any] = {"uid": uid, "own": own}
    heads = []
    for first, cid, end in every(db, heads_sql, args | {"after": after}):
        upto = MAX_SEQ if end is None else end
        ahead = _Ahead(db, piece_sql, args | {"cid": cid}, first, upto)
        head = first if first > 0 else ahead.following(limit + 1)
        if head is not None:
            heads.append((head, ahead))
    heapify(heads)
    rows: list[Row] = []
    size = 0
    while heads:
        _, conversation = heads[0]
        row = conversation.take(limit - len(rows) + 1)
        # As JSON: escaping makes some contents six times as long, and a page too long for a
        # client's frame limit could never be got past.
        size += len(msgspec.json.encode(row.content)) + _ENVELOPE_BYTES
        if len(rows) == limit or (rows and size > max_bytes):
            return SyncPage(views(db, uid, rows), True)
        rows.append(row)
        following = conversation.following(limit - len(rows) + 1)
        if following is None:
            heappop(heads)
        else:
            heapreplace(heads, (following, conversation))
    return SyncPage(views(db, uid, rows), False)


def first_hole(
    db: apsw.Connection, cid: int, uid: int, after: int, level: Level, *, to_self: bool
) -> int | None:
    """The first message behind a place that a member could see and has not at a level, or None."""
    args = {"cid": cid, "uid": uid, "level": int(level), "self": to_self}
    while True:
        run = one(db, queries.NEXT_RUN, cid, uid, after + 1)
        upto = MAX_SEQ if run is None else run[0] - 1
        holes = every(db, queries.FIRST_HOLE, args | {"after": after, "upto": upto})
        if holes:
            return int(holes[0][0])
        if run is None:
            return None
        after = run[1]


class _Ahead:
    """One conversation's wanted messages, from the first of them on.

    With a negative `first` it is looked for from there, between the long runs of the user's own.
    """

    __slots__ = ("_args", "_db", "_end", "_first", "_piece", "_rows", "_runs", "_sql")

    def __init__(
        self, db: apsw.Connection, sql: str, args: dict[str, Any], first: int, end: int
    ) -> None:
        self._db = db
        self._sql = sql
        self._args = args
        self._first: int | None = abs(first)  # where to read on; None: there is nothing more
        self._runs = first < 0
        self._end = end
        self._piece = _FIRST_PIECE
        self._rows: list[Row] = []  # read already, the next one last

    def take(self, room: int) -> Row:
        """The next message, of which there must be one; `room` is how many could be used."""
        self._read(room)
        return self._rows.pop()

    def following(self, room: int) -> int | None:
        """The place of the next message, or None."""
        self._read(room)
        return self._rows[-1].seq if self._rows else None

    def _read(self, room: int) -> None:
        while not self._rows and self._first is not None:
            upto, behind = self._upto(self._first)
            wanted = min(self._piece, room)
            bounds = {"first": self._first, "upto": upto, "limit": wanted}
            found = every(self._db, self._sql, self._args | bounds)
            self._rows = [Row(*row) for row in reversed(found)]
            self._first = self._rows[0].seq + 1 if len(found) == wanted else behind
            self._piece *= 2

    def _upto(self, first: int) -> tuple[int, int | None]:
        """How far to read from a place on, and where to read on from there."""
        if self._runs:
            run = one(self._db, queries.NEXT_RUN, self._args["cid"], self._args["uid"], first)
            if run is not None and run[0] <= self._end:
                return run[0] - 1, run[1] + 1
        return self._end, None


class GroupView(NamedTuple):
    """A group and all its members, in the order in which they came."""

    group: GroupRow
    members: list[tuple[str, int, int, int]]  # user_id, uid, role, joined_ms

    def describe(self) -> Group:
        """The group as clients see it."""
        owner = next(user for user, _, role, _ in self.members if role == Role.OWNER)
        return Group(
            id=self.group.group_id,
            name=self.group.name,
            description=self.group.description,
            owner_id=owner,
            members=[user for user, _, role, _ in self.members if role != Role.OWNER],
            created_at=rfc3339(self.group.created_ms),
            updated_at=rfc3339(self.group.updated_ms),
            private=bool(self.group.private),
            retention_days=_days(self.group.keep_ms),
        )


def member(group_id: str, cid: int, user_id: str, uid: int, role: int, joined_ms: int) -> Member:
    """One member as clients see it."""
    return Member(
        id=f"member_{cid}_{uid}",
        group_id=group_id,
        user_id=user_id,
        role=Role(role).label,
        joined_at=rfc3339(joined_ms),
    )


def _days(keep_ms: int | None) -> float:
    days, rest = divmod(keep_ms or 0, DAY_MS)
    return days + rest / DAY_MS if rest else days


def find_group(db: apsw.Connection, group_id: str) -> GroupView | None:
    """A group that is open, or None; whether the caller may see it is for the caller to check."""
    row = one(db, queries.FIND_GROUP, group_id)
    if row is None or row[-1]:
        return None
    group = GroupRow(*row)
    return GroupView(group, every(db, queries.GROUP_MEMBERS, (group.cid,)))
