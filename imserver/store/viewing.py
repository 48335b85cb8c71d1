"""Messages as their viewers see them: whether they may, and with which status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imserver.domain.frames import encode_json
from imserver.domain.model import Level
from imserver.store import carried, queries
from imserver.store.message_rows import BY_SEQ, NOTHING, Row
from imserver.store.reading import covers, find_uid, one

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from imserver.domain.model import Message

# Who has not got a message, and whether it still is a certain one.
_LAGGARDS: Final = {
    Level.DELIVERED: (queries.NOT_DELIVERED_TO, queries.STILL_NOT_DELIVERED_TO),
    Level.READ: (queries.NOT_READ_BY, queries.STILL_NOT_READ_BY),
}


def find_row(db: apsw.Connection, seq: int) -> Row | None:
    """The message at a place in the order, whoever asks."""
    row = one(db, BY_SEQ, seq)
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


def views(db: apsw.Connection, uid: int, rows: Sequence[Row]) -> list[Message]:
    """Messages with the status that user `uid` is to see.

    To a recipient it is their own, to the sender of a direct message the other's, to the sender
    in a group what all others have reached who were there for it and still are.
    """
    statuses = _Statuses(db)
    more = carried.by_place(db, uid, rows)
    if not more:
        return [row.message(statuses.seen_by(uid, row)) for row in rows]
    return [row.message(statuses.seen_by(uid, row), more.get(row.seq, NOTHING)) for row in rows]


def views_within(
    db: apsw.Connection, uid: int, rows: Sequence[Row], max_bytes: int
) -> list[Message]:
    """The same, up to the first that makes them too large because of what messages carry.

    At least one. Their contents were counted before.
    """
    found = views(db, uid, rows)
    size = 0
    for count, message in enumerate(found):
        size += weight(message)
        if count and size > max_bytes:
            return found[:count]
    return found


def weight(message: Message) -> int:
    """Bytes of what a message carries beside its content, roughly; most carry nothing."""
    if not message.attachments and not message.mentions:
        return 0
    return len(encode_json((message.attachments, message.mentions)))


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
