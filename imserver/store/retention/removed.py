"""What is known of messages that were removed; for readers and the writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imserver.domain.model import MAX_SEQ
from imserver.store.retention import removal_queries as queries

if TYPE_CHECKING:
    import apsw


def highest(db: apsw.Connection) -> int | None:
    """The highest place of all that was removed; None: nothing ever was, as on most servers."""
    found: Any = db.execute(queries.FLOOR).fetchone()
    return None if found is None else found[0]


def is_missed(db: apsw.Connection, uid: int, after: int | None, *, own: bool) -> bool:
    """Whether something was removed that a user would get: after a cursor, or not acknowledged.

    Without a cursor it is said until the user has acknowledged something behind it. After a
    user's data was erased it may be said although only what came before the cursor is missing.
    """
    args = {"uid": uid, "own": own, "after": after}
    missed = queries.MISSED_UNACKED if after is None else queries.MISSED_AFTER
    return db.execute(missed, args).fetchone() is not None


def oldest_left(db: apsw.Connection, uid: int) -> int | None:
    """The oldest message that a user can see, or None."""
    found: Any = db.execute(queries.OLDEST_LEFT, (uid,)).fetchone()
    return None if found is None else found[0]


def failures(db: apsw.Connection, uid: int, after: int | None, last: int | None) -> list[int]:
    """Messages of a user that nobody had got when they were removed.

    Those removed since the newest message was the one at `after` (None: all), up to when it was
    the one before `last` (None: till now). So each belongs to one of the pages that follow a
    cursor; where several share a place, a client may be told again, but never not at all.
    """
    upto = MAX_SEQ if last is None else last
    rows: list[Any] = db.execute(queries.FAILURES, (uid, after or 0, upto)).fetchall()
    return [seq for (seq,) in rows]


def has_failed(db: apsw.Connection, uid: int, seq: int) -> bool:
    """Whether nobody had got a removed message."""
    return db.execute(queries.HAS_FAILED, (uid, seq)).fetchone() is not None
