"""The rules that `check` judges a database by: SQLite's, and ours (see `schema`).

A rule is a query for what breaks it. Its columns fill the braces of a sentence.
"""

from __future__ import annotations

from typing import Final

from imserver.domain.model import MAX_USER_ID, MESSAGE_TYPES, SYSTEM_USER, Role
from imserver.store import queries
from imserver.store.tools.carried_rules import CARRIED_RULES
from imserver.store.tools.judging import Rule

_NEWEST: Final = f"({queries.NEWEST_SEQ})"
_FLOOR: Final = "ifnull((SELECT value FROM meta WHERE key = 'seq_floor'), 0)"
_AUDIT_FLOOR: Final = "ifnull((SELECT value FROM meta WHERE key = 'audit_floor'), 0)"
_SYSTEM_TYPE: Final = MESSAGE_TYPES.index("system")
_COVERED: Final = """
    EXISTS (SELECT 1 FROM membership i
            WHERE i.uid = {uid} AND i.cid = {table}.cid AND i.from_seq <= {table}.seq
              AND (i.to_seq IS NULL OR i.to_seq >= {table}.seq))
"""


RULES: Final = (
    Rule(
        "names",
        "the database's file has one name",
        "",
        "{0}",
    ),
    Rule(
        "file",
        "SQLite finds the file sound",
        "PRAGMA integrity_check",
        "{0}",
    ),
    Rule(
        "schema",
        "tables, indexes and triggers are those that the server makes",
        "",
        "{0} is not",
    ),
    Rule(
        "references",
        "what a row refers to is there",
        "PRAGMA foreign_key_check",
        "a row of {0} refers to a row of {2} that is not there",
    ),
    # -- the one order ------------------------------------------------------------------------
    Rule(
        "meta",
        "what is kept about the order as a whole makes sense",
        f"""
        SELECT key, value FROM meta
        WHERE (key IN ('seq_floor', 'audit_floor') AND (typeof(value) <> 'integer' OR value < 0))
           OR (key >= 'lost_after:' AND key < 'lost_after;'
               AND (typeof(value) <> 'integer' OR value <= CAST(substr(key, 12) AS INTEGER)
                    OR value >= {_FLOOR}))
        """,
        "meta holds {1!r} as {0}",
    ),
    Rule(
        "order",
        "above the highest place ever taken away, each place in the order is taken",
        f"""
        SELECT m.seq FROM message m
        WHERE m.seq > {_FLOOR} + 1 AND NOT EXISTS (SELECT 1 FROM message p WHERE p.seq = m.seq - 1)
        """,
        "there is nothing right before message {0}",
    ),
    Rule(
        "lost",
        "no message has a place that was taken away",
        f"""
        SELECT seq FROM message WHERE seq = {_FLOOR}
        UNION ALL
        SELECT m.seq FROM meta r
        JOIN message m ON m.seq > CAST(substr(r.key, 12) AS INTEGER) AND m.seq <= r.value
        WHERE r.key >= 'lost_after:' AND r.key < 'lost_after;'
        """,
        "message {0} has a place that was taken away",
    ),
    # -- users and conversations --------------------------------------------------------------
    Rule(
        "users",
        "users are called as they may be",
        f"""
        SELECT user_id FROM user
        WHERE length(user_id) NOT BETWEEN 1 AND {MAX_USER_ID} OR user_id = '{SYSTEM_USER}'
        """,
        "a user is called {0!r}",
    ),
    Rule(
        "accounts",
        "accounts are as they may be, and their passwords are hashed",
        """
        SELECT uid FROM account
        WHERE max(administrator, disabled, must_change) > 1
           OR min(administrator, disabled, must_change) < 0
           OR password NOT LIKE '$argon2id$%'
        """,
        "the account of user {0} is not",
    ),
    Rule(
        "tokens",
        "tokens are there as hashes only, and the account that they let in is not disabled",
        """
        SELECT t.token_id FROM token t LEFT JOIN account a ON a.uid = t.uid
        WHERE length(t.digest) <> 32 OR a.disabled IS NOT 0
           OR t.used_ms < t.created_ms OR t.expires_ms < t.used_ms
        """,
        "{0} is not",
    ),
    Rule(
        "audit",
        "the audit log has every entry since the first, or since those that retention removed",
        f"""
        SELECT entry FROM audit
        WHERE (entry > {_AUDIT_FLOOR} + 1 AND entry - 1 NOT IN (SELECT entry FROM audit))
           OR NOT json_valid(detail)
        """,
        "entry {0} is damaged, or there is none right before it",
    ),
    Rule(
        "conversations",
        "a conversation is a pair of users or a group",
        """
        SELECT c.cid FROM conversation c LEFT JOIN "group" g ON g.cid = c.cid
        WHERE (c.low_uid IS NULL) <> (c.high_uid IS NULL) OR c.low_uid > c.high_uid
           OR (c.low_uid IS NULL) <> (g.cid IS NOT NULL)
        """,
        "conversation {0} is neither, or both",
    ),
    Rule(
        "pairs",
        "a direct conversation has its two users in it, from the first message on and for ever",
        """
        SELECT c.cid FROM conversation c
        WHERE c.low_uid IS NOT NULL
          AND ((SELECT count(*) FROM member m
                WHERE m.cid = c.cid AND m.uid IN (c.low_uid, c.high_uid) AND m.active
                  AND m.role = 0) <> 2 - (c.low_uid = c.high_uid)
            OR (SELECT count(*) FROM member m WHERE m.cid = c.cid)
               <> 2 - (c.low_uid = c.high_uid)
            OR EXISTS (SELECT 1 FROM member m JOIN membership i ON i.uid = m.uid AND i.cid = m.cid
                       WHERE m.cid = c.cid AND (i.from_seq <> 1 OR i.to_seq IS NOT NULL)))
        """,
        "direct conversation {0} has others in it, or not both",
    ),
    Rule(
        "owners",
        "an open group has exactly one owner, and a closed one nobody in it",
        f"""
        SELECT g.group_id, count(*) FILTER (WHERE m.role = {Role.OWNER:d}), count(m.uid)
        FROM "group" g LEFT JOIN member m ON m.cid = g.cid AND m.active
        GROUP BY g.cid
        HAVING CASE g.closed
            WHEN 0 THEN count(*) FILTER (WHERE m.role = {Role.OWNER:d}) <> 1
            WHEN 1 THEN count(m.uid) > 0
            ELSE TRUE END
        """,
        "{0} has {1} owners and {2} members",
    ),
    # -- who belonged when --------------------------------------------------------------------
    Rule(
        "members",
        "whoever belongs to a conversation, and they alone, is in it since they came last",
        f"""
        SELECT m.uid, m.cid FROM member m
        WHERE m.active NOT IN (0, 1) OR m.role NOT BETWEEN {min(Role):d} AND {max(Role):d}
           OR (NOT m.active AND m.role <> {Role.MEMBER:d})
           OR m.active <> (SELECT count(*) FROM membership i
                           WHERE i.uid = m.uid AND i.cid = m.cid AND i.to_seq IS NULL)
           OR m.joined_seq IS NOT (SELECT max(i.from_seq) FROM membership i
                                   WHERE i.uid = m.uid AND i.cid = m.cid)
        """,
        "the membership of user {0} in conversation {1} and its intervals disagree",
    ),
    Rule(
        "intervals",
        "intervals of membership lie in the order, and have a member",
        f"""
        SELECT i.uid, i.cid, i.from_seq, i.to_seq FROM membership i
        WHERE i.from_seq < 1 OR i.to_seq < i.from_seq OR max(i.from_seq, ifnull(i.to_seq, 0))
                                                         > {_NEWEST}
           OR NOT EXISTS (SELECT 1 FROM member m WHERE m.cid = i.cid AND m.uid = i.uid)
        """,
        "user {0} was in conversation {1} from {2} to {3}",
    ),
    Rule(
        "overlaps",
        "intervals of one membership do not overlap",
        """
        SELECT uid, cid, from_seq FROM (
            SELECT uid, cid, from_seq,
                   lag(from_seq) OVER earlier AS begin, lag(to_seq) OVER earlier AS end
            FROM membership
            WINDOW earlier AS (PARTITION BY uid, cid ORDER BY from_seq)
        ) WHERE begin IS NOT NULL AND (end IS NULL OR end >= from_seq)
        """,
        "user {0} came into conversation {1} at {2} without having left",
    ),
    Rule(
        "invitations",
        "whoever is invited is invited by somebody to a group, and is not in it",
        """
        SELECT v.uid, v.cid, v.by_uid FROM invitation v
        WHERE NOT EXISTS (SELECT 1 FROM "group" g WHERE g.cid = v.cid)
           OR NOT EXISTS (SELECT 1 FROM user u WHERE u.uid = v.by_uid)
           OR EXISTS (SELECT 1 FROM member m WHERE m.cid = v.cid AND m.uid = v.uid AND m.active)
        """,
        "user {0} is invited to conversation {1} by user {2}",
    ),
    Rule(
        "bans",
        "whoever is banned is banned by somebody from a group, and is not in it",
        """
        SELECT n.uid, n.cid, n.by_uid FROM ban n
        WHERE NOT EXISTS (SELECT 1 FROM "group" g WHERE g.cid = n.cid)
           OR NOT EXISTS (SELECT 1 FROM user u WHERE u.uid = n.by_uid)
           OR EXISTS (SELECT 1 FROM member m WHERE m.cid = n.cid AND m.uid = n.uid AND m.active)
        """,
        "user {0} is banned from conversation {1} by user {2}",
    ),
    # -- messages -----------------------------------------------------------------------------
    Rule(
        "messages",
        "messages have a place and a type, and only the server's own are of type system",
        f"""
        SELECT seq FROM message
        WHERE seq < 1 OR type NOT BETWEEN 0 AND {len(MESSAGE_TYPES) - 1}
           OR (type = {_SYSTEM_TYPE}) <> (sender_uid = 0)
           OR (event IS NOT NULL AND NOT json_valid(event))
        """,
        "message {0} does not",
    ),
    Rule(
        "senders",
        "whoever sent a message belonged to its conversation",
        f"""
        SELECT m.seq, m.sender_uid FROM message m
        WHERE m.sender_uid <> 0 AND NOT {_COVERED.format(uid="m.sender_uid", table="m")}
        """,
        "message {0} is from user {1}, who was not there",
    ),
    Rule(
        "sends",
        "a client_msg_id names its sender's message, or one that was taken away",
        f"""
        SELECT c.uid, c.client_msg_id, c.seq
        FROM client_message c LEFT JOIN message m ON m.seq = c.seq
        WHERE (m.seq IS NULL AND c.seq NOT BETWEEN 1 AND {_FLOOR})
           OR m.sender_uid <> c.uid OR m.sent_ms <> c.sent_ms OR length(c.digest) <> 16
        """,
        "client_msg_id {1!r} of user {0} names message {2}",
    ),
    Rule(
        "runs",
        "what is noted as one sender's in a row is, and is not in notes to oneself",
        """
        SELECT r.cid, r.uid, r.from_seq, r.to_seq
        FROM run r LEFT JOIN conversation c ON c.cid = r.cid
        WHERE c.cid IS NULL OR c.low_uid = c.high_uid OR r.to_seq < r.from_seq
           OR EXISTS (SELECT 1 FROM message m
                      WHERE m.cid = r.cid AND m.seq BETWEEN r.from_seq AND r.to_seq
                        AND m.sender_uid <> r.uid)
        """,
        "conversation {0} has others than user {1} between messages {2} and {3}",
    ),
    # -- what was removed ---------------------------------------------------------------------
    Rule(
        "removed",
        "what is known of removed messages is about removed messages",
        f"""
        SELECT c.cid, c.removed_seq FROM conversation c
        WHERE c.removed_seq NOT BETWEEN 0 AND {_FLOOR}
           OR c.removed_other_seq NOT BETWEEN 0 AND max(c.removed_seq - 1, 0)
           OR EXISTS (SELECT 1 FROM message m
                      WHERE m.seq IN (c.removed_seq, c.removed_other_seq))
        """,
        "conversation {0} has not lost all that it says, up to {1}",
    ),
    Rule(
        "failed",
        "what failed was removed, and has a sender",
        f"""
        SELECT f.uid, f.seq FROM failed f
        WHERE f.seq NOT BETWEEN 1 AND {_FLOOR} OR f.noted_seq NOT BETWEEN f.seq AND {_NEWEST}
           OR NOT EXISTS (SELECT 1 FROM user u WHERE u.uid = f.uid)
           OR EXISTS (SELECT 1 FROM message m WHERE m.seq = f.seq)
        """,
        "message {1} of user {0} did not",
    ),
    # -- files --------------------------------------------------------------------------------
    Rule(
        "files",
        "a file says rightly since when no message carries it",
        """
        SELECT f.file_id FROM file f
        WHERE length(f.digest) <> 64 OR f.size < 0
           OR (f.unused_ms IS NULL) <> EXISTS (SELECT 1 FROM attachment a
                                               WHERE a.file_id = f.file_id)
        """,
        "{0} does not",
    ),
    Rule(
        "attachments",
        "what is carried is carried by a message, each thing in its place",
        """
        SELECT a.seq, a.file_id FROM attachment a
        WHERE a.ordinal < 0 OR NOT EXISTS (SELECT 1 FROM message m WHERE m.seq = a.seq)
           OR (a.ordinal > 0 AND NOT EXISTS (SELECT 1 FROM attachment b
                                             WHERE b.seq = a.seq AND b.ordinal = a.ordinal - 1))
        """,
        "{1} is carried by message {0}, which is not there or lacks another",
    ),
    Rule(
        "contents",
        "each file's content is on the disk as it was uploaded, and nothing else is there",
        "",
        "{0} {1}",
    ),
    *CARRIED_RULES,
    # -- acknowledgements ---------------------------------------------------------------------
    Rule(
        "watermarks",
        "nobody has acknowledged more than there was for them, or read what they have not got",
        f"""
        SELECT m.uid, m.cid, m.delivered_seq, m.read_seq FROM member m
        WHERE m.read_seq < 0 OR m.read_seq > m.delivered_seq
           OR m.delivered_seq > {_NEWEST}
           OR m.delivered_seq > max(
                (SELECT min(i.from_seq) - 1 FROM membership i
                 WHERE i.uid = m.uid AND i.cid = m.cid),
                {_FLOOR},
                ifnull((SELECT max(t.seq) FROM message t WHERE t.cid = m.cid), 0))
           OR (NOT m.active
               AND m.delivered_seq > (SELECT max(i.to_seq) FROM membership i
                                      WHERE i.uid = m.uid AND i.cid = m.cid))
        """,
        "user {0} has conversation {1} delivered up to {2}, and read up to {3}",
    ),
    Rule(
        "acks",
        "what is acknowledged apart lies beyond the watermarks, and is theirs to acknowledge",
        f"""
        SELECT a.uid, a.cid, a.seq, a.level
        FROM selective_ack a
        LEFT JOIN member w ON w.cid = a.cid AND w.uid = a.uid
        LEFT JOIN message m ON m.seq = a.seq
        LEFT JOIN conversation c ON c.cid = a.cid
        WHERE w.uid IS NULL OR a.level NOT IN (1, 2)
           OR a.seq <= min(w.delivered_seq, w.read_seq)
           OR (a.seq <= w.delivered_seq AND a.level = 1)
           OR (m.seq IS NULL AND a.seq NOT BETWEEN 1 AND {_FLOOR})
           OR m.cid <> a.cid
           OR (m.sender_uid = a.uid AND c.low_uid IS NOT c.high_uid)
           OR NOT {_COVERED.format(uid="a.uid", table="a")}
        """,
        "user {0} has acknowledged message {2} of conversation {1} with level {3}",
    ),
)
