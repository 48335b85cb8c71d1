"""Every statement that runs after start, by name.

Names of parameters are those of the columns; `after` and `upto` bound a range of `seq`.
"""

from __future__ import annotations

from typing import Final

from imserver.domain.model import MAX_SEQ
from imserver.store import message_rows, runs

BEGIN: Final = "BEGIN IMMEDIATE"
COMMIT: Final = "COMMIT"
ROLLBACK: Final = "ROLLBACK"

# -- what concerns the whole order ------------------------------------------------------------

SEQ_FLOOR: Final = "seq_floor"
AUDIT_FLOOR: Final = "audit_floor"
LOST_AFTER: Final = "lost_after:"  # and a `seq`, in 20 digits; the value is the last that is lost
SET_META: Final = (
    "INSERT INTO meta (key, value) VALUES (?1, ?2)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
TRY_OUT: Final = "try_out"  # a key that is there within one transaction only
DROP_META: Final = "DELETE FROM meta WHERE key = ?"
IS_LOST: Final = """
    SELECT 1 FROM meta
    WHERE key >= 'lost_after:' AND key < 'lost_after;'
      AND CAST(substr(key, 12) AS INTEGER) < ?1 AND value >= ?1
"""

# -- users ------------------------------------------------------------------------------------

FIND_USER: Final = "SELECT uid FROM user WHERE user_id = ?"
ADD_USER: Final = "INSERT INTO user (user_id, created_ms) VALUES (?, ?) RETURNING uid"
USER_NAME: Final = "SELECT user_id FROM user WHERE uid = ?"

# -- conversations and groups -----------------------------------------------------------------

FIND_DIRECT: Final = "SELECT cid FROM conversation WHERE low_uid = ? AND high_uid = ?"
ADD_CONVERSATION: Final = "INSERT INTO conversation (low_uid, high_uid) VALUES (?, ?) RETURNING cid"
ADD_GROUP: Final = (
    'INSERT INTO "group"'
    " (cid, group_id, name, description, private, keep_ms, created_ms, updated_ms)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)"
)
TOUCH_GROUP: Final = 'UPDATE "group" SET updated_ms = ?2, closed = ?3 WHERE cid = ?1'
CHANGE_GROUP: Final = (
    'UPDATE "group" SET name = ?2, description = ?3, private = ?4, keep_ms = ?5, updated_ms = ?6'
    " WHERE cid = ?1"
)
GROUPS_OF: Final = """
    SELECT g.group_id, i.from_seq FROM membership i JOIN "group" g ON g.cid = i.cid
    WHERE i.uid = ?1 AND i.to_seq IS NULL AND i.from_seq > ?2
    ORDER BY i.from_seq LIMIT ?3
"""
FIND_GROUP: Final = (
    "SELECT cid, group_id, name, description, private, keep_ms, created_ms, updated_ms, closed"
    ' FROM "group" WHERE group_id = ?'
)
GROUP_MEMBERS: Final = """
    SELECT u.user_id, m.uid, m.role, m.joined_ms
    FROM member m JOIN user u ON u.uid = m.uid
    WHERE m.cid = ? AND m.active
    ORDER BY m.joined_seq, m.ordinal
"""
MEMBERS_AFTER: Final = """
    SELECT u.user_id, m.uid, m.role, m.joined_ms, m.joined_seq, m.ordinal
    FROM member m JOIN user u ON u.uid = m.uid
    WHERE m.cid = ?1 AND m.active AND (m.joined_seq, m.ordinal) > (?2, ?3)
    ORDER BY m.joined_seq, m.ordinal LIMIT ?4
"""

# -- members ----------------------------------------------------------------------------------

ADD_MEMBER: Final = """
    INSERT INTO member (cid, uid, active, role, joined_ms, joined_seq, ordinal,
                        delivered_seq, read_seq)
    VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?5 - 1, ?5 - 1)
    ON CONFLICT (cid, uid) DO UPDATE
    SET active = 1, role = excluded.role, joined_ms = excluded.joined_ms,
        joined_seq = excluded.joined_seq, ordinal = excluded.ordinal
"""
FIND_MEMBER: Final = (
    "SELECT active, role, delivered_seq, read_seq FROM member WHERE cid = ? AND uid = ?"
)
END_MEMBER: Final = "UPDATE member SET active = 0, role = 0 WHERE cid = ? AND uid = ?"
SET_ROLE: Final = "UPDATE member SET role = ?3 WHERE cid = ?1 AND uid = ?2"
HEIR: Final = """
    SELECT m.uid, u.user_id FROM member m JOIN user u ON u.uid = m.uid
    WHERE m.cid = ? AND m.active
    ORDER BY m.role DESC, m.joined_seq, m.ordinal LIMIT 1
"""
END_ALL_MEMBERS: Final = "UPDATE member SET active = 0, role = 0 WHERE cid = ?"
END_ALL_MEMBERSHIPS: Final = """
    UPDATE membership SET to_seq = ?2
    WHERE cid = ?1 AND to_seq IS NULL AND uid IN (SELECT uid FROM member WHERE cid = ?1)
"""
PUT_INVITATION: Final = """
    INSERT INTO invitation (uid, cid, by_uid, invited_ms) VALUES (?, ?, ?, ?)
    ON CONFLICT (uid, cid) DO UPDATE
    SET by_uid = excluded.by_uid, invited_ms = excluded.invited_ms
    WHERE NOT EXISTS (SELECT 1 FROM member m
                      WHERE m.cid = invitation.cid AND m.uid = invitation.by_uid
                        AND m.active AND m.role > 0)
    RETURNING 1
"""
# An invitation holds as long as whoever gave it may give one.
FIND_INVITATION: Final = """
    SELECT 1 FROM invitation v
    JOIN member m ON m.cid = v.cid AND m.uid = v.by_uid AND m.active AND m.role > 0
    WHERE v.uid = ? AND v.cid = ?
"""
TAKE_INVITATION: Final = "DELETE FROM invitation WHERE uid = ? AND cid = ? RETURNING 1"
INVITATIONS_OF: Final = """
    SELECT g.group_id, g.name, u.user_id, v.invited_ms, v.cid
    FROM invitation v JOIN "group" g ON g.cid = v.cid JOIN user u ON u.uid = v.by_uid
    JOIN member m ON m.cid = v.cid AND m.uid = v.by_uid AND m.active AND m.role > 0
    WHERE v.uid = ?1 AND NOT g.closed AND (v.invited_ms, v.cid) > (?2, ?3)
    ORDER BY v.invited_ms, v.cid LIMIT ?4
"""
BEGIN_MEMBERSHIP: Final = "INSERT INTO membership (uid, cid, from_seq) VALUES (?, ?, ?)"
END_MEMBERSHIP: Final = (
    "UPDATE membership SET to_seq = ?3 WHERE uid = ?1 AND cid = ?2 AND to_seq IS NULL"
)
# Intervals of one member do not overlap. So the last that begins at or before a place decides, and
# it is found by one look at the index, however many there are.
COVERED: Final = """
    {seq} <= (SELECT ifnull(i.to_seq, {seq}) FROM membership i
              WHERE i.uid = {uid} AND i.cid = {cid} AND i.from_seq <= {seq}
              ORDER BY i.from_seq DESC LIMIT 1)
"""
COVERS: Final = """
    SELECT 1 FROM membership
    WHERE uid = ?1 AND cid = ?2 AND (to_seq IS NULL OR to_seq >= ?3)
      AND from_seq = (SELECT from_seq FROM membership
                      WHERE uid = ?1 AND cid = ?2 AND from_seq <= ?3
                      ORDER BY from_seq DESC LIMIT 1)
"""

# -- messages ---------------------------------------------------------------------------------

NEWEST_SEQ: Final = """
    SELECT max(ifnull((SELECT max(seq) FROM message), 0),
               ifnull((SELECT value FROM meta WHERE key = 'seq_floor'), 0))
"""
FIND_CLIENT_MESSAGE: Final = (
    "SELECT digest, seq, sent_ms FROM client_message WHERE uid = ? AND client_msg_id = ?"
)
ADD_CLIENT_MESSAGE: Final = (
    "INSERT INTO client_message (uid, client_msg_id, digest, seq, sent_ms) VALUES (?, ?, ?, ?, ?)"
)


# What belongs on a page of sync: own messages only where asked for, or in notes to oneself;
# without a cursor, nothing that was acknowledged out of order.
_WANTED: Final = "(:own OR m.sender_uid <> :uid OR c.low_uid = c.high_uid)"
_NOT_ACKED: Final = (
    "NOT EXISTS (SELECT 1 FROM selective_ack a"
    " WHERE a.cid = m.cid AND a.uid = :uid AND a.seq = m.seq)"
)


def _first(start: str, wanted: str) -> str:
    # In the conversation of `i`, the place of the first message behind `start` that is wanted. If
    # there are long runs of the user's own to be stepped over, it is where to look, and 1 beside.
    return f"""CASE
        WHEN NOT :own AND {runs.ANY} THEN max({start} + 1, i.from_seq)
        ELSE (SELECT m.seq FROM message m
              WHERE m.cid = i.cid AND m.seq > max({start}, i.from_seq - 1) AND {wanted}
              ORDER BY m.seq LIMIT 1)
        END AS first, i.cid, i.to_seq, NOT :own AND {runs.ANY}"""


# One row a membership interval with something wanted beyond the cursor: the first of it.
HEADS_AFTER: Final = f"""
    SELECT {_first(":after", _WANTED)}
    FROM membership i JOIN conversation c ON c.cid = i.cid
    WHERE i.uid = :uid AND (i.to_seq IS NULL OR i.to_seq > :after)
      AND first <= ifnull(i.to_seq, first)
"""
# The same, beginning behind what the user has acknowledged without a hole.
HEADS_UNACKED: Final = f"""
    SELECT {_first("w.delivered_seq", f"{_WANTED} AND {_NOT_ACKED}")}
    FROM membership i
    JOIN conversation c ON c.cid = i.cid
    JOIN member w ON w.cid = i.cid AND w.uid = i.uid
    WHERE i.uid = :uid AND (i.to_seq IS NULL OR i.to_seq > w.delivered_seq)
      AND first <= ifnull(i.to_seq, first)
"""
# A piece of one conversation, from a head on.
_PIECE: Final = (
    f"{message_rows.SELECT} WHERE m.cid = :cid AND m.seq >= :first AND m.seq <= :upto AND {_WANTED}"
)
PIECE_AFTER: Final = f"{_PIECE} ORDER BY m.seq LIMIT :limit"
PIECE_UNACKED: Final = f"{_PIECE} AND {_NOT_ACKED} ORDER BY m.seq LIMIT :limit"
# A piece of a conversation's history, within one membership interval.
_HISTORY: Final = (
    f"{message_rows.SELECT} WHERE m.cid = :cid AND m.seq >= :first AND m.seq <= :upto"
    " AND (:type IS NULL OR m.type = :type)"
)
HISTORY_BACK: Final = f"{_HISTORY} ORDER BY m.seq DESC LIMIT :limit"
HISTORY_ON: Final = f"{_HISTORY} ORDER BY m.seq LIMIT :limit"
_INTERVAL: Final = f"SELECT from_seq, ifnull(to_seq, {MAX_SEQ}) FROM membership"
INTERVAL_AT_OR_BEFORE: Final = (
    f"{_INTERVAL} WHERE uid = ? AND cid = ? AND from_seq <= ? ORDER BY from_seq DESC LIMIT 1"
)
INTERVAL_AFTER: Final = (
    f"{_INTERVAL} WHERE uid = ? AND cid = ? AND from_seq > ? ORDER BY from_seq LIMIT 1"
)

# -- the list of conversations ----------------------------------------------------------------

CONVERSATION_OF: Final = "SELECT cid FROM message WHERE seq = ?"
# Each conversation that the user is in: where it stands in the list, and up to where it is read.
NEWEST_IN_EACH: Final = """
    SELECT max(i.from_seq, c.removed_seq,
               ifnull((SELECT m.seq FROM message m WHERE m.cid = i.cid
                       ORDER BY m.seq DESC LIMIT 1), 0)), i.cid, w.read_seq
    FROM membership i
    JOIN conversation c ON c.cid = i.cid
    JOIN member w ON w.cid = i.cid AND w.uid = i.uid
    WHERE i.uid = :uid AND i.to_seq IS NULL
"""
UNREAD: Final = f"""
    SELECT count(*) FROM (
        SELECT 1 FROM membership i CROSS JOIN message m
        WHERE i.uid = :uid AND i.cid = :cid AND i.from_seq <= :upto
          AND i.from_seq >= ifnull((SELECT from_seq FROM membership
                                    WHERE uid = :uid AND cid = :cid AND from_seq <= :after
                                    ORDER BY from_seq DESC LIMIT 1), 0)
          AND m.cid = :cid AND m.seq > max(:after, i.from_seq - 1)
          AND m.seq <= min(:upto, ifnull(i.to_seq, :upto))
          AND m.sender_uid <> :uid AND m.type <> {message_rows.TYPE_NUMBERS["system"]}
          AND NOT EXISTS (SELECT 1 FROM selective_ack a
                          WHERE a.cid = :cid AND a.uid = :uid AND a.seq = m.seq AND a.level = 2)
        LIMIT :limit)
"""
CONVERSATION: Final = """
    SELECT g.group_id, g.name, c.low_uid + c.high_uid - ?2, u.user_id
    FROM conversation c
    LEFT JOIN "group" g ON g.cid = c.cid
    LEFT JOIN user u ON u.uid = c.low_uid + c.high_uid - ?2
    WHERE c.cid = ?1
"""
COUNT_MEMBERS: Final = "SELECT count(*) FROM member WHERE cid = ? AND active"

# -- acknowledgements -------------------------------------------------------------------------

SET_WATERMARKS: Final = (
    "UPDATE member SET delivered_seq = ?3, read_seq = ?4 WHERE cid = ?1 AND uid = ?2"
)
FIND_SELECTIVE: Final = "SELECT level FROM selective_ack WHERE cid = ? AND uid = ? AND seq = ?"
HAS_SELECTIVE: Final = "SELECT 1 FROM selective_ack WHERE cid = ? AND uid = ? LIMIT 1"
PUT_SELECTIVE: Final = """
    INSERT INTO selective_ack (cid, uid, seq, level) VALUES (?, ?, ?, ?)
    ON CONFLICT (cid, uid, seq) DO UPDATE SET level = max(level, excluded.level)
"""
# The highest selective ack of a level below a hole: where the watermark may move to.
LAST_SELECTIVE_BELOW: Final = """
    SELECT max(seq) FROM selective_ack
    WHERE cid = ?1 AND uid = ?2 AND level >= ?3 AND (?4 IS NULL OR seq < ?4)
"""
FOLD_SELECTIVE: Final = """
    DELETE FROM selective_ack
    WHERE cid = ?1 AND uid = ?2
      AND (seq <= min(?3, ?4) OR (seq <= ?3 AND level = 1))
"""
# The first message beyond a watermark that is the member's to acknowledge and is not yet. The
# intervals are looked at in order, from the one that the watermark is in, up to the first with one.
FIRST_HOLE: Final = """
    SELECT (SELECT m.seq FROM message m
            WHERE m.cid = i.cid AND m.seq > max(:after, i.from_seq - 1)
              AND m.seq <= min(:upto, ifnull(i.to_seq, :upto))
              AND (m.sender_uid <> :uid OR :self)
              AND NOT EXISTS (SELECT 1 FROM selective_ack a
                              WHERE a.cid = m.cid AND a.uid = :uid AND a.seq = m.seq
                                AND a.level >= :level)
            ORDER BY m.seq LIMIT 1) AS hole
    FROM membership i
    WHERE i.uid = :uid AND i.cid = :cid AND i.from_seq <= :upto
      AND i.from_seq >= ifnull((SELECT from_seq FROM membership
                                WHERE uid = :uid AND cid = :cid AND from_seq <= :after
                                ORDER BY from_seq DESC LIMIT 1), 0)
      AND hole IS NOT NULL
    ORDER BY i.from_seq LIMIT 1
"""
# A cumulative ack tells each sender of their own highest message that it newly covers.
NEWLY_COVERED: Final = f"""
    SELECT s.user_id, max(m.seq)
    FROM message m LEFT JOIN user s ON s.uid = m.sender_uid
    WHERE m.cid = :cid AND m.seq > :after AND m.seq <= :upto
      AND (m.sender_uid <> :uid OR :self)
      AND {COVERED.format(uid=":uid", cid=":cid", seq="m.seq")}
      AND NOT EXISTS (SELECT 1 FROM selective_ack a
                      WHERE a.cid = m.cid AND a.uid = :uid AND a.seq = m.seq
                        AND a.level >= :level)
    GROUP BY m.sender_uid
"""
# In a group a message has reached what all others have who were there for it and still are.
LOWEST_OF_OTHERS: Final = """
    SELECT count(*), min(delivered_seq), min(read_seq)
    FROM member WHERE cid = ? AND uid <> ? AND active
"""
_WAS_THERE: Final = COVERED.format(uid="w.uid", cid="w.cid", seq="?3")
PRESENT_OTHERS: Final = f"""
    SELECT 1 FROM member w
    WHERE w.cid = ?1 AND w.uid <> ?2 AND w.active AND {_WAS_THERE}
    LIMIT 1
"""
# One who has not; asked with `only`, whether it is that one.
_LAGGARD: Final = f"""
    SELECT w.uid FROM member w
    WHERE w.cid = ?1 AND w.uid <> ?2 AND w.active AND w.{{watermark}} < ?3 {{only}}
      AND {_WAS_THERE}
      AND NOT EXISTS (SELECT 1 FROM selective_ack a
                      WHERE a.cid = w.cid AND a.uid = w.uid AND a.seq = ?3 AND a.level >= {{level}})
    LIMIT 1
"""
_ONLY: Final = "AND w.uid = ?4"
NOT_DELIVERED_TO: Final = _LAGGARD.format(watermark="delivered_seq", level=1, only="")
NOT_READ_BY: Final = _LAGGARD.format(watermark="read_seq", level=2, only="")
STILL_NOT_DELIVERED_TO: Final = _LAGGARD.format(watermark="delivered_seq", level=1, only=_ONLY)
STILL_NOT_READ_BY: Final = _LAGGARD.format(watermark="read_seq", level=2, only=_ONLY)
