"""Removing messages, in pieces that nobody has to wait for.

Laws:

- From each conversation the oldest go first: what is left of it has no holes. (Erasing a user
  makes some; then a client may be told of a gap too often, never too seldom.)
- A message is too old only if all before it are: a clock that was wrong for a while makes
  messages stay too long, and none go too early that stands between others.
- What is known afterwards of what was removed is bounded: see `schema` and `MOST_FAILED`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

from imserver.domain.model import DAY_MS, MAX_SEQ
from imserver.store import carried, reading, runs
from imserver.store import queries as common
from imserver.store.retention import removal_queries as queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

    from imserver.store.transaction import Transaction

MOST: Final = 200  # messages removed in one transaction
MOST_SECONDS: Final = 0.002  # that a piece takes, but for the last conversation of it
MOST_FAILED: Final = 1000  # remembered for each sender, the newest of them
FAILED_DAYS: Final = 30  # remembered so long


class Old(NamedTuple):
    """A message that may go."""

    seq: int
    cid: int
    sender_uid: int  # 0: the server itself
    sent_ms: int


class Piece(NamedTuple):
    """What was removed in one transaction."""

    messages: int
    failed: list[tuple[str, int]]  # sender and place of those that nobody had got
    more: bool  # whether there may be more to remove


def remove_older(
    tx: Transaction, before_ms: int, cid: int | None = None, *, most: int = MOST
) -> Piece:
    """Remove a piece of the messages sent before a time, of one conversation or of all."""
    oldest = _oldest(tx.db, most) if cid is None else _oldest_of(tx.db, cid, most)
    old = []
    for message in oldest:
        if message.sent_ms >= before_ms:
            break
        old.append(message)
    return _remove(tx, old, len(old) == most)


def remove_above(tx: Transaction, most_bytes: int, *, most: int = MOST) -> Piece:
    """Remove a piece of the oldest messages if the database holds more than so much."""
    excess = used_bytes(tx.db) - most_bytes
    old = []
    for *message, size in reading.every(tx.db, queries.OLDEST_SIZES, (most,)):
        if excess <= 0:
            break
        old.append(Old(*message))
        excess -= size
    return _remove(tx, old, bool(old))


def forget_failed(tx: Transaction, *, most: int = MOST) -> Piece:
    """Drop a piece of what is remembered of failed messages for too long."""
    tx.db.execute(queries.DROP_FAILED, (tx.now_ms - FAILED_DAYS * DAY_MS, most))
    return Piece(0, [], tx.db.changes() == most)


def is_limited(db: apsw.Connection) -> bool:
    """Whether a group has a limit of its own, or something failed is remembered."""
    keeper = db.execute(queries.KEEPERS).fetchone()
    return (keeper or db.execute(queries.ANY_FAILED, (MAX_SEQ,)).fetchone()) is not None


class Due(NamedTuple):
    """What there is to do."""

    old: bool  # messages older than the server keeps them
    groups: list[tuple[int, int]]  # where there are messages older than that, and how long: in ms
    large: bool
    failed: bool  # failures that are remembered for too long


def what_is_due(db: apsw.Connection, now_ms: int, keep_ms: int, most_bytes: int) -> Due:
    """Look whether there is anything to remove; a limit of 0 is none."""
    oldest = db.execute(queries.OLDEST, (1,)).fetchone()
    groups = []
    for cid, group_keep_ms in reading.every(db, queries.KEEPERS, ()):
        first = db.execute(queries.OLDEST_OF, (cid, 1)).fetchone()
        if first is not None and Old(*first).sent_ms < now_ms - group_keep_ms:
            groups.append((cid, group_keep_ms))
    return Due(
        bool(keep_ms) and oldest is not None and Old(*oldest).sent_ms < now_ms - keep_ms,
        groups,
        bool(most_bytes) and used_bytes(db) > most_bytes,
        db.execute(queries.ANY_FAILED, (now_ms - FAILED_DAYS * DAY_MS,)).fetchone() is not None,
    )


def used_bytes(db: apsw.Connection) -> int:
    """The size of the database without what is free in it to be used again."""
    pages, free, size = (
        reading.one(db, f"PRAGMA {name}")[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    used: int = (pages - free) * size
    return used


def _oldest(db: apsw.Connection, most: int) -> list[Old]:
    return [Old(*row) for row in reading.every(db, queries.OLDEST, (most,))]


def _oldest_of(db: apsw.Connection, cid: int, most: int) -> list[Old]:
    return [Old(*row) for row in reading.every(db, queries.OLDEST_OF, (cid, most))]


def _remove(tx: Transaction, old: Sequence[Old], more: bool) -> Piece:
    begun = perf_counter()
    by_conversation: dict[int, list[Old]] = {}
    for message in old:
        by_conversation.setdefault(message.cid, []).append(message)
    count = 0
    failed: list[Old] = []
    for cid, messages in by_conversation.items():
        if count and perf_counter() - begun > MOST_SECONDS:
            more = True
            break
        failed += _undelivered(tx.db, cid, messages)
        tx.before_change(message.seq for message in messages)
        take_away(tx.db, cid, messages)
        count += len(messages)
    return Piece(count, _note(tx, failed), more)


def take_away(db: apsw.Connection, cid: int, messages: Sequence[Old]) -> None:
    """Remove messages of one conversation, in order of `seq`."""
    _, _, top, top_uid, other = reading.one(db, queries.FIND_CONVERSATION, cid)
    carried.drop(db, [message.seq for message in messages])
    db.executemany(queries.DROP_MESSAGE, ((message.seq,) for message in messages))
    highest = messages[-1].seq
    db.execute(queries.DROP_ACKS, (cid, highest))
    runs.drop_empty(db, cid, highest)
    db.execute(queries.SET_REMOVED, (cid, *_reaches(top, top_uid, other, messages)))
    floor = db.execute(queries.FLOOR).fetchone()
    if floor is None or floor[0] < highest:
        db.execute(common.SET_META, (common.SEQ_FLOOR, highest))


def _reaches(top: int, top_uid: int, other: int, messages: Iterable[Old]) -> tuple[int, int, int]:
    """How far what was removed reaches, with these too: see the laws of `schema`."""
    for message in messages:
        if message.seq > top:
            if message.sender_uid != top_uid:
                other = top
            top, top_uid = message.seq, message.sender_uid
        elif message.sender_uid != top_uid:
            other = max(other, message.seq)
    return top, top_uid, other


def _undelivered(db: apsw.Connection, cid: int, messages: Sequence[Old]) -> list[Old]:
    """Those that were for somebody, and that nobody but their sender had got."""
    low, high, *_ = reading.one(db, queries.FIND_CONVERSATION, cid)
    left = [message for message in messages if message.sender_uid]  # not the server's own
    if not left or (low is not None and low == high):
        return []
    lowest, highest = left[0].seq, left[-1].seq
    for uid, first, last in db.execute(queries.REACHED, (cid, lowest)):
        begin = bisect_left(left, first, key=_place)
        end = bisect_right(left, last, key=_place)
        left[begin:end] = [message for message in left[begin:end] if message.sender_uid == uid]
        if not left:
            return []
    apart = db.execute(queries.REACHED_APART, (cid, lowest, highest)).fetchall()
    got = {seq for _, seq in apart}  # nobody acknowledges their own
    return [
        message
        for message in left
        if message.seq not in got
        and reading.one(db, queries.OTHERS, cid, message.sender_uid, message.seq) is not None
    ]


def _place(message: Old) -> int:
    return message.seq


def _note(tx: Transaction, failed: Sequence[Old]) -> list[tuple[str, int]]:
    """Keep in mind for their senders which messages failed."""
    noted = tx.next_seq - 1
    for message in failed:
        tx.db.execute(queries.PUT_FAILED, (message.sender_uid, message.seq, noted, tx.now_ms))
    names = {}
    for uid in {message.sender_uid for message in failed}:
        tx.db.execute(queries.TRIM_FAILED, (uid, MOST_FAILED))
        names[uid] = reading.one(tx.db, common.USER_NAME, uid)[0]
    return [(names[message.sender_uid], message.seq) for message in failed]
