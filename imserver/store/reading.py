"""Questions to the database of the simplest kind; the same for readers and the writer.

All functions are synchronous and run in a worker thread, each on one connection and inside one
transaction, so that what they say is true at one moment. So are those of `viewing`, `syncing` and
`group_views`, whose answers clients see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imserver.domain.errors import ApiError, Code
from imserver.store import queries

if TYPE_CHECKING:
    import apsw


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


def is_in(db: apsw.Connection, uid: int, cid: int, seq: int) -> bool:
    """Whether a place is that of a message of a conversation, which the user may see."""
    row = one(db, queries.CONVERSATION_OF, seq)
    return row is not None and row[0] == cid and covers(db, uid, cid, seq)


def find_conversation(
    db: apsw.Connection, uid: int | None, user_id: str | None, group_id: str | None
) -> tuple[int, int]:
    """The caller's number, and that of their conversation with a user or in a group.

    Raises:
        ApiError: `not_found` unless the caller is in it or was.
    """
    row = None
    if group_id:
        row = one(db, queries.FIND_GROUP, group_id)
    elif user_id and uid is not None:
        other = find_uid(db, user_id)
        if other is not None:
            row = one(db, queries.FIND_DIRECT, min(uid, other), max(uid, other))
    if row is None or uid is None or one(db, queries.FIND_MEMBER, row[0], uid) is None:
        raise ApiError(Code.NOT_FOUND, "You have no such conversation")
    return uid, int(row[0])
