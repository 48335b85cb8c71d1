"""What only some messages have: it stands in tables of its own.

Laws:

- Most messages have nothing of this, and pay nothing for it: one look a page says so.
- `by_place` gives it as fields of `Message`.
- What a message has goes with it (`drop`). What others say of it stays: answers keep their
  thread when its first message is removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from imserver.domain.model import Forwarded, message_id
from imserver.store.files import uploaded
from imserver.store.reading import every, one

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

    from imserver.store.message_rows import Row

MOST_REPLIES: Final = 1000  # that are counted; it means that or more

_ANY: Final = """
    SELECT EXISTS (SELECT 1 FROM attachment WHERE seq BETWEEN ?1 AND ?2),
           EXISTS (SELECT 1 FROM reply WHERE seq BETWEEN ?1 AND ?2),
           EXISTS (SELECT 1 FROM reply WHERE root BETWEEN ?1 AND ?2),
           EXISTS (SELECT 1 FROM mention WHERE seq BETWEEN ?1 AND ?2),
           EXISTS (SELECT 1 FROM forward WHERE seq BETWEEN ?1 AND ?2)
"""
_NONE: Final = (0, 0, 0, 0, 0)
_REPLIES: Final = """
    SELECT r.seq, r.reply_to, r.root FROM json_each(?) j JOIN reply r ON r.seq = j.value
"""
_ROOTS: Final = """
    SELECT j.value FROM json_each(?) j
    WHERE EXISTS (SELECT 1 FROM reply r WHERE r.root = j.value)
"""
_COUNT_REPLIES: Final = f"""
    SELECT count(*) FROM (
        SELECT 1 FROM membership i
        JOIN reply r ON r.root = ?3 AND r.seq >= i.from_seq AND r.seq <= ifnull(i.to_seq, r.seq)
        WHERE i.uid = ?1 AND i.cid = ?2 LIMIT {MOST_REPLIES}
    )
"""
_MENTIONS: Final = """
    SELECT n.seq, u.user_id FROM json_each(?) j JOIN mention n ON n.seq = j.value
    LEFT JOIN user u ON u.uid = n.uid
    ORDER BY n.seq, n.ordinal
"""
_FORWARDS: Final = """
    SELECT f.seq, u.user_id, f.sent_ms FROM json_each(?) j JOIN forward f ON f.seq = j.value
    JOIN user u ON u.uid = f.sender_uid
"""
_ROOT_OF: Final = "SELECT root FROM reply WHERE seq = ?"
_ORIGIN_OF: Final = """
    SELECT f.sender_uid, u.user_id, f.sent_ms
    FROM forward f JOIN user u ON u.uid = f.sender_uid WHERE f.seq = ?
"""
_ADD_REPLY: Final = "INSERT INTO reply (seq, cid, reply_to, root) VALUES (?, ?, ?, ?)"
_ADD_MENTION: Final = "INSERT INTO mention (seq, ordinal, cid, uid) VALUES (?, ?, ?, ?)"
_ADD_FORWARD: Final = "INSERT INTO forward (seq, sender_uid, sent_ms) VALUES (?, ?, ?)"
_DROP: Final = (
    "DELETE FROM reply WHERE seq = ?",
    "DELETE FROM mention WHERE seq = ?",
    "DELETE FROM forward WHERE seq = ?",
)


class Origin(NamedTuple):
    """Who wrote what was forwarded, and when."""

    uid: int
    user_id: str
    sent_ms: int


def by_place(db: apsw.Connection, uid: int, rows: Sequence[Row]) -> dict[int, dict[str, Any]]:
    """The fields that some of these messages have, as a user sees them, by the places of those."""
    if not rows:
        return {}
    places = [row.seq for row in rows]
    some = one(db, _ANY, min(places), max(places))
    if some == _NONE:
        return {}
    files, replies, roots, mentions, forwards = some
    found: dict[int, dict[str, Any]] = {seq: {} for seq in places}
    seqs = msgspec.json.encode(places).decode()
    if files:
        for seq, attachments in uploaded.of_messages(db, seqs).items():
            found[seq]["attachments"] = tuple(attachments)
    if replies:
        for seq, reply_to, root in every(db, _REPLIES, (seqs,)):
            found[seq].update(reply_to=message_id(reply_to), thread_id=message_id(root))
    if roots:
        conversations = {row.seq: row.cid for row in rows}
        for (seq,) in every(db, _ROOTS, (seqs,)):
            (found[seq]["replies"],) = one(db, _COUNT_REPLIES, uid, conversations[seq], seq)
    if mentions:
        for seq, user_id in every(db, _MENTIONS, (seqs,)):
            if user_id is None:
                found[seq]["mention_all"] = True
            else:
                found[seq]["mentions"] = (*found[seq].get("mentions", ()), user_id)
    if forwards:
        for seq, user_id, sent_ms in every(db, _FORWARDS, (seqs,)):
            found[seq]["forwarded"] = Forwarded(user_id, sent_ms)
    return found


def root_of(db: apsw.Connection, seq: int) -> int:
    """The first message of the thread that a message belongs to, or begins."""
    row = one(db, _ROOT_OF, seq)
    return seq if row is None else int(row[0])


def origin_of(db: apsw.Connection, row: Row) -> Origin:
    """Who wrote what a message says, which may have been forwarded to it, and when."""
    found = one(db, _ORIGIN_OF, row.seq)
    if found is not None:
        return Origin(*found)
    assert row.sender is not None, "what the server says is not forwarded"
    return Origin(row.sender_uid, row.sender, row.sent_ms)


def add_reply(db: apsw.Connection, seq: int, cid: int, reply_to: int, root: int) -> None:
    """Let a message answer another one."""
    db.execute(_ADD_REPLY, (seq, cid, reply_to, root))


def add_mentions(db: apsw.Connection, seq: int, cid: int, uids: Iterable[int | None]) -> None:
    """Let a message mention users; None: everyone."""
    for ordinal, uid in enumerate(uids):
        db.execute(_ADD_MENTION, (seq, ordinal, cid, uid))


def add_forward(db: apsw.Connection, seq: int, origin: Origin) -> None:
    """Let a message say whose words it repeats."""
    db.execute(_ADD_FORWARD, (seq, origin.uid, origin.sent_ms))


def drop(db: apsw.Connection, seqs: Sequence[int]) -> None:
    """Messages are removed: what they have goes with them."""
    uploaded.detach(db, seqs)
    for statement in _DROP:
        db.executemany(statement, ((seq,) for seq in seqs))
