"""Questions of those who look after a group: their role in it, and whom it has invited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from imserver.domain.groups import SentInvitation
from imserver.domain.model import Role, rfc3339

if TYPE_CHECKING:
    import apsw

_CARE: Final = """
    SELECT g.cid, m.role FROM "group" g
    JOIN member m ON m.cid = g.cid AND m.active
    WHERE g.group_id = ?1 AND NOT g.closed
      AND m.uid = (SELECT uid FROM user WHERE user_id = ?2)
"""
SENT_INVITATIONS: Final = """
    SELECT u.user_id, b.user_id, v.invited_ms
    FROM invitation v JOIN user u ON u.uid = v.uid JOIN user b ON b.uid = v.by_uid
    JOIN member m ON m.cid = v.cid AND m.uid = v.by_uid AND m.active AND m.role > 0
    WHERE v.cid = ?1
      AND v.uid > ifnull((SELECT uid FROM user WHERE user_id = ?2), 0)
    ORDER BY v.uid LIMIT ?3
"""


class Care(NamedTuple):
    """A group's conversation, and what a member may do in the group."""

    cid: int
    role: Role


def find_care(db: apsw.Connection, group_id: str, user_id: str) -> Care | None:
    """A user's role in an open group, or None if they are not in it."""
    row: Any = db.execute(_CARE, (group_id, user_id)).fetchone()
    return None if row is None else Care(row[0], Role(row[1]))


def sent_invitations(
    db: apsw.Connection, cid: int, after: str | None, limit: int
) -> list[SentInvitation]:
    """The open invitations of a group, in the order in which the server first heard of the users.

    An invitation is open as long as its user has not taken or declined it, and as long as the
    member who gave it may give one.
    """
    rows: list[Any] = db.execute(SENT_INVITATIONS, (cid, after, limit)).fetchall()
    return [SentInvitation(user, by, rfc3339(invited_ms)) for user, by, invited_ms in rows]
