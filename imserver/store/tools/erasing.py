"""Taking one user out of a database that no server has open.

What is left of them is a row of `user` with a name that nobody can have, so that what others
wrote to them keeps its place, and so that their number is never somebody else's.

Laws:

- It is one transaction: they are erased, or nothing has happened.
- Afterwards the file is written afresh, so that what they wrote is not in a corner of it either.
  Where that is cut short, `meta.rewrite_due` says so, and whoever erases next does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import apsw
from msgspec import json, structs

from imserver.domain.model import Event
from imserver.domain.sentences import sentence
from imserver.store import message_rows, queries, reading, runs
from imserver.store.database import StoreError
from imserver.store.retention import removal
from imserver.store.retention import removal_queries as removing
from imserver.store.tools import whole_files as files
from imserver.store.tools.backup import reporting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imserver.store.tools.whole_files import Progress
    from imserver.store.transaction import Transaction

REWRITE_DUE: Final = "rewrite_due"  # a key of `meta`
_PIECE: Final = 1000  # messages

_RENAME: Final = "UPDATE user SET user_id = ?2, created_ms = 0 WHERE uid = ?1"
_CONVERSATIONS: Final = """
    SELECT m.cid, c.low_uid, c.high_uid
    FROM member m JOIN conversation c ON c.cid = m.cid WHERE m.uid = ?
"""
_DROP_OF_CONVERSATION: Final = ("DELETE FROM selective_ack WHERE cid = ?1 AND uid = ?2",)
_DROP_MEMBER: Final = (
    "DELETE FROM membership WHERE cid = ?1 AND uid = ?2",
    "DELETE FROM member WHERE cid = ?1 AND uid = ?2",
)
_DROP_CONVERSATION: Final = "DELETE FROM conversation WHERE cid = ?"
_DROP: Final = (
    "DELETE FROM client_message WHERE uid = ?",
    "DELETE FROM invitation WHERE uid = ?1 OR by_uid = ?1",
    "DELETE FROM ban WHERE uid = ?",
    "DELETE FROM failed WHERE uid = ?",
    "DELETE FROM file WHERE uid = ? AND unused_ms IS NOT NULL",  # the server deletes the contents
    "DELETE FROM token WHERE uid = ?",
    "DELETE FROM account WHERE uid = ?",
)
_TRIGGERS: Final = (
    "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit'"
)
_HIDE_IN_AUDIT: Final = """
    UPDATE audit
    SET actor = iif(actor = ?1, ?2, actor), subject = iif(subject = ?1, ?2, subject),
        address = iif(actor = ?1, '', address), detail = '{}'
    WHERE actor = ?1 OR subject = ?1
"""


class Erased(NamedTuple):
    """What was done."""

    name: str  # that what is left of them has now
    messages: int  # removed
    groups: int  # left


def rename(tx: Transaction, uid: int) -> str:
    """Give a user a name that nobody can have: those have no spaces."""
    name = f"erased user {uid}"
    tx.db.execute(_RENAME, (uid, name))
    tx.forget_users()
    return name


def open_groups(tx: Transaction, uid: int) -> list[str]:
    """The groups that a user is in."""
    return [group_id for group_id, _ in reading.every(tx.db, queries.GROUPS_OF, (uid, -1, -1))]


def strip(tx: Transaction, uid: int, old: str, new: str, progress: Progress) -> int:
    """Remove what a user wrote and what is known of them, once they are in no group.

    Returns how many messages were removed.
    """
    messages = 0
    tx.flush()
    for cid, low, high in reading.every(tx.db, _CONVERSATIONS, (uid,)):
        for piece in _written(tx.db, cid, uid):
            removal.take_away(tx.db, cid, piece)
            messages += len(piece)
            progress("removing messages", messages, 0)
        runs.drop_of(tx.db, cid, uid)
        for statement in _DROP_OF_CONVERSATION:
            tx.db.execute(statement, (cid, uid))
        if low is None:
            _rewrite_notices(tx.db, cid, old, new)
        if low is None or low == high:
            for statement in _DROP_MEMBER:
                tx.db.execute(statement, (cid, uid))
        if low is not None and low == high:  # notes to themselves
            tx.db.execute(_DROP_CONVERSATION, (cid,))
    for statement in _DROP:
        tx.db.execute(statement, (uid,))
    _hide_in_audit(tx.db, old, new)
    tx.db.execute(queries.SET_META, (REWRITE_DUE, 1))
    return messages


def _written(db: apsw.Connection, cid: int, uid: int) -> Iterator[list[removal.Old]]:
    after = 0
    while rows := reading.every(db, removing.SENT_BY, (cid, after, uid, _PIECE)):
        piece = [removal.Old(*row) for row in rows]
        after = piece[-1].seq
        yield piece


def _rewrite_notices(db: apsw.Connection, cid: int, old: str, new: str) -> None:
    """Give the user their new name in what the server said of them in a group."""
    after = 0
    while rows := reading.every(db, message_rows.NOTICES, (cid, after, old, _PIECE)):
        for seq, text in rows:
            event = json.decode(text, type=Event)
            renamed = structs.replace(
                event,
                user_id=new if event.user_id == old else event.user_id,
                by=new if event.by == old else event.by,
                user_ids=event.user_ids
                and [new if user == old else user for user in event.user_ids],
            )
            rewritten = (seq, sentence(renamed), json.encode(renamed).decode())
            db.execute(message_rows.REWRITE_NOTICE, rewritten)
        after = rows[-1][0]


def _hide_in_audit(db: apsw.Connection, old: str, new: str) -> None:
    """Give the user their new name in the audit log, the one change that there is to it."""
    triggers = reading.every(db, _TRIGGERS, ())
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    db.execute(_HIDE_IN_AUDIT, (old, new))
    for _, sql in triggers:
        db.execute(sql)


def rewrite(db: apsw.Connection, progress: Progress = files.no_progress) -> bool:
    """Write the file afresh if that is due; says whether it was.

    Raises:
        StoreError: there is no room for it; whoever erases next tries again.
    """
    if reading.one(db, "SELECT 1 FROM meta WHERE key = ?", REWRITE_DUE) is None:
        return False
    try:
        with reporting(db, "writing the file afresh", progress):
            db.execute("VACUUM")
        db.execute(queries.DROP_META, (REWRITE_DUE,))
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.Error as error:
        raise StoreError(
            f"what was erased may still be in the file, which cannot be written afresh: {error}; "
            "make room, and run the command again"
        ) from error
    return True


def must_exist(tx: Transaction, user_id: str) -> int:
    """A user's number.

    Raises:
        StoreError: there is no such user.
    """
    uid: Any = tx.find_user(user_id)
    if uid is None:
        raise StoreError(f"there is no user {user_id!r}")
    return int(uid)
