"""The statements about removing messages, and about what was removed, by name; see `queries`."""

from __future__ import annotations

from typing import Final

from imserver.store.queries import COVERED

# -- what goes --------------------------------------------------------------------------------

OLDEST: Final = "SELECT seq, cid, sender_uid, sent_ms FROM message ORDER BY seq LIMIT ?"
OLDEST_SIZES: Final = """
    SELECT seq, cid, sender_uid, sent_ms, octet_length(content) FROM message ORDER BY seq LIMIT ?
"""
OLDEST_OF: Final = """
    SELECT seq, cid, sender_uid, sent_ms FROM message WHERE cid = ? ORDER BY seq LIMIT ?
"""
SENT_BY: Final = """
    SELECT seq, cid, sender_uid, sent_ms FROM message
    WHERE cid = ? AND seq > ? AND sender_uid = ? ORDER BY seq LIMIT ?
"""
KEEPERS: Final = 'SELECT cid, keep_ms FROM "group" WHERE keep_ms IS NOT NULL'
FIND_CONVERSATION: Final = """
    SELECT low_uid, high_uid, removed_seq, removed_uid, removed_other_seq
    FROM conversation WHERE cid = ?
"""
# What a member got without a hole: one row for each of their intervals in which there is something.
REACHED: Final = """
    SELECT w.uid, i.from_seq, min(w.delivered_seq, ifnull(i.to_seq, w.delivered_seq))
    FROM member w JOIN membership i ON i.uid = w.uid AND i.cid = w.cid
    WHERE w.cid = ?1 AND w.delivered_seq >= ?2 AND w.delivered_seq >= i.from_seq
"""
REACHED_APART: Final = "SELECT uid, seq FROM selective_ack WHERE cid = ?1 AND seq BETWEEN ?2 AND ?3"
OTHERS: Final = f"""
    SELECT 1 FROM member w
    WHERE w.cid = ?1 AND w.uid <> ?2 AND {COVERED.format(uid="w.uid", cid="w.cid", seq="?3")}
    LIMIT 1
"""
DROP_MESSAGE: Final = "DELETE FROM message WHERE seq = ?"
DROP_ACKS: Final = """
    DELETE FROM selective_ack
    WHERE cid = ?1 AND seq <= ?2
      AND NOT EXISTS (SELECT 1 FROM message m WHERE m.seq = selective_ack.seq)
"""
SET_REMOVED: Final = """
    UPDATE conversation SET removed_seq = ?2, removed_uid = ?3, removed_other_seq = ?4
    WHERE cid = ?1
"""

# -- what went --------------------------------------------------------------------------------

FLOOR: Final = "SELECT value FROM meta WHERE key = 'seq_floor'"
# The highest place of what was removed from a conversation and would have been on a page.
_WANTED: Final = """
    CASE WHEN :own OR c.removed_uid <> :uid OR c.low_uid = c.high_uid
         THEN c.removed_seq ELSE c.removed_other_seq END
"""
MISSED_AFTER: Final = f"""
    SELECT 1 FROM membership i JOIN conversation c ON c.cid = i.cid
    WHERE i.uid = :uid AND (i.to_seq IS NULL OR i.to_seq > :after)
      AND max(:after, i.from_seq - 1) < {_WANTED}
    LIMIT 1
"""
MISSED_UNACKED: Final = f"""
    SELECT 1 FROM membership i
    JOIN conversation c ON c.cid = i.cid
    JOIN member w ON w.cid = i.cid AND w.uid = i.uid
    WHERE i.uid = :uid AND (i.to_seq IS NULL OR i.to_seq > w.delivered_seq)
      AND max(w.delivered_seq, i.from_seq - 1) < {_WANTED}
    LIMIT 1
"""
OLDEST_LEFT: Final = """
    SELECT min(first) FROM (
        SELECT (SELECT m.seq FROM message m
                WHERE m.cid = i.cid AND m.seq >= i.from_seq AND m.seq <= ifnull(i.to_seq, m.seq)
                ORDER BY m.seq LIMIT 1) AS first
        FROM membership i WHERE i.uid = ?
    )
"""
PUT_FAILED: Final = "INSERT INTO failed (uid, seq, noted_seq, removed_ms) VALUES (?, ?, ?, ?)"
TRIM_FAILED: Final = """
    DELETE FROM failed
    WHERE uid = ?1
      AND seq <= (SELECT seq FROM failed WHERE uid = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)
"""
DROP_FAILED: Final = """
    DELETE FROM failed WHERE (uid, seq) IN (
        SELECT uid, seq FROM failed WHERE removed_ms < ? ORDER BY removed_ms LIMIT ?
    )
"""
ANY_FAILED: Final = "SELECT 1 FROM failed WHERE removed_ms < ? LIMIT 1"
HAS_FAILED: Final = "SELECT 1 FROM failed WHERE uid = ? AND seq = ?"
FAILURES: Final = """
    SELECT seq FROM failed WHERE uid = ?1 AND noted_seq >= ?2 AND noted_seq < ?3 ORDER BY seq
"""
