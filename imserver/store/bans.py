"""Users who may not join a group: they were removed from it, or banned beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from imserver.domain.groups import Ban
from imserver.domain.model import rfc3339

if TYPE_CHECKING:
    import apsw

    from imserver.store.transaction import Transaction

_PUT: Final = (
    "INSERT INTO ban (cid, uid, by_uid, banned_ms) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (cid, uid) DO NOTHING"
)
_LIFT: Final = "DELETE FROM ban WHERE cid = ? AND uid = ?"
_FIND: Final = "SELECT 1 FROM ban WHERE cid = ? AND uid = ?"
LIST: Final = """
    SELECT u.user_id, b.user_id, n.banned_ms
    FROM ban n JOIN user u ON u.uid = n.uid JOIN user b ON b.uid = n.by_uid
    WHERE n.cid = ?1 AND n.uid > ifnull((SELECT uid FROM user WHERE user_id = ?2), 0)
    ORDER BY n.uid LIMIT ?3
"""


def ban(tx: Transaction, cid: int, uid: int, by_uid: int) -> None:
    """Let a user join a group no more. If they are banned already, nothing changes."""
    tx.db.execute(_PUT, (cid, uid, by_uid, tx.now_ms))


def lift(tx: Transaction, cid: int, uid: int) -> None:
    """Let a user join a group again. If they are not banned, nothing changes."""
    tx.db.execute(_LIFT, (cid, uid))


def is_banned(tx: Transaction, cid: int, uid: int) -> bool:
    """Whether a user may not join a group."""
    return tx.db.execute(_FIND, (cid, uid)).fetchone() is not None


def of_group(db: apsw.Connection, cid: int, after: str | None, limit: int) -> list[Ban]:
    """The banned users of a group, in the order in which the server first heard of them."""
    rows: list[Any] = db.execute(LIST, (cid, after, limit)).fetchall()
    return [Ban(user, by, rfc3339(banned_ms)) for user, by, banned_ms in rows]
