"""The algebra of acknowledgements: what a member has of a conversation, and how it grows.

A member has all up to a watermark, one for each level, and what is noted apart beyond a hole.
Laws:

- A watermark moves up only, and never over a message that is the member's to acknowledge and
  is not acknowledged.
- What is noted apart lies beyond a watermark: where a watermark reaches it, the note goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imserver.domain.model import MAX_SEQ, Level
from imserver.store import queries, reading, runs

if TYPE_CHECKING:
    import apsw

    from imserver.store.transaction import Transaction


class Watermarks(NamedTuple):
    """All up to here a member has, and has read."""

    delivered: int
    read: int


def acknowledge(
    tx: Transaction, cid: int, uid: int, seq: int, level: Level, *, to_self: bool
) -> bool:
    """Record that a member has one message; says whether that is news.

    Where the hole before it closes, the watermark moves; else the message is noted apart.
    """
    marks = _watermarks(tx, cid, uid)
    reached = _level(tx, marks, cid, uid, seq)
    if reached >= level:
        return False
    sparse = reading.one(tx.db, queries.HAS_SELECTIVE, cid, uid) is not None
    delivered, read = marks
    moved = []
    for mark, step in ((delivered, Level.DELIVERED), (read, Level.READ)):
        if step > level or seq <= mark:
            moved.append(mark)
            continue
        hole = first_hole(tx.db, cid, uid, mark, step, to_self=to_self)
        if hole is not None and hole < seq:
            moved.append(mark)
        else:
            moved.append(_fold(tx, cid, uid, seq, step, to_self) if sparse else seq)
    if (level is Level.READ and moved[1] < seq) or moved[0] < seq:
        tx.db.execute(queries.PUT_SELECTIVE, (cid, uid, seq, int(level)))
        sparse = True
    _set_watermarks(tx, cid, uid, marks, Watermarks(*moved), sparse)
    return True


def acknowledge_all(
    tx: Transaction, cid: int, uid: int, seq: int, level: Level, *, to_self: bool
) -> list[tuple[str | None, int]]:
    """Record that a member has everything up to a message.

    Returns each sender to whom that is news (None: the server itself), with their own
    highest message that it covers.
    """
    marks = _watermarks(tx, cid, uid)
    news = reading.every(
        tx.db,
        queries.NEWLY_COVERED,
        {
            "cid": cid,
            "uid": uid,
            "after": marks[level - 1],
            "upto": seq,
            "level": int(level),
            "self": to_self,
        },
    )
    sparse = reading.one(tx.db, queries.HAS_SELECTIVE, cid, uid) is not None
    moved = [
        mark
        if step > level or seq <= mark
        else (_fold(tx, cid, uid, seq, step, to_self) if sparse else seq)
        for mark, step in zip(marks, (Level.DELIVERED, Level.READ), strict=True)
    ]
    _set_watermarks(tx, cid, uid, marks, Watermarks(*moved), sparse)
    return news


def _watermarks(tx: Transaction, cid: int, uid: int) -> Watermarks:
    _, _, delivered, read = reading.one(tx.db, queries.FIND_MEMBER, cid, uid)
    return Watermarks(delivered, read)


def _level(tx: Transaction, marks: Watermarks, cid: int, uid: int, seq: int) -> Level:
    if seq <= marks.read:
        return Level.READ
    noted = reading.one(tx.db, queries.FIND_SELECTIVE, cid, uid, seq)
    level = Level.DELIVERED if seq <= marks.delivered else Level.SENT
    return level if noted is None else max(level, Level(noted[0]))


def _fold(tx: Transaction, cid: int, uid: int, seq: int, level: Level, to_self: bool) -> int:
    """Where a watermark that reaches `seq` comes to, over what was noted beyond it."""
    hole = first_hole(tx.db, cid, uid, seq, level, to_self=to_self)
    row = reading.one(tx.db, queries.LAST_SELECTIVE_BELOW, cid, uid, int(level), hole)
    return max(seq, row[0] or 0)


def _set_watermarks(
    tx: Transaction, cid: int, uid: int, before: Watermarks, after: Watermarks, sparse: bool
) -> None:
    if after != before:
        tx.db.execute(queries.SET_WATERMARKS, (cid, uid, *after))
        if sparse:
            tx.db.execute(queries.FOLD_SELECTIVE, (cid, uid, *after))


def first_hole(
    db: apsw.Connection, cid: int, uid: int, after: int, level: Level, *, to_self: bool
) -> int | None:
    """The first message behind a place that a member could see and has not at a level, or None."""
    args = {"cid": cid, "uid": uid, "level": int(level), "self": to_self}
    for first, upto in runs.stretches(db, cid, uid, after + 1, MAX_SEQ):
        bounds = {"after": first - 1, "upto": upto}
        hole = db.execute(queries.FIRST_HOLE, args | bounds).fetchone()
        if hole is not None:
            return int(hole[0])
    return None
