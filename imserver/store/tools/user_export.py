"""What concerns one user, as lines of an export; see `export`.

Not to be imported: it names users and conversations of which it holds nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imserver.store import message_rows
from imserver.store.tools import group_records, records
from imserver.store.tools.account_records import AccountLine, AuditLine
from imserver.store.tools.carried_records import Forward, Mention, Reply
from imserver.store.tools.file_records import Attachment, File

if TYPE_CHECKING:
    from imserver.store.lines import Record

# The rows of each kind, as its `SELECT` gives them. `:uid` and `:user` say whose.
SELECT_OF_USER: Final[dict[type[Record], str]] = {
    records.UserLine: "SELECT uid, user_id, created_ms FROM user WHERE uid = :uid",
    # Without the password's hash: it is nobody's to take away.
    AccountLine: """
        SELECT :user, NULL, administrator, disabled, must_change, created_ms, password_ms
        FROM account WHERE uid = :uid
    """,
    group_records.Direct: f"""
        SELECT c.cid, l.user_id, h.user_id, {group_records.REMOVED}
        FROM member m JOIN conversation c ON c.cid = m.cid
        JOIN user l ON l.uid = c.low_uid JOIN user h ON h.uid = c.high_uid
        WHERE m.uid = :uid ORDER BY c.cid
    """,
    group_records.GroupLine: f"""
        SELECT g.cid, g.group_id, g.name, g.description, g.created_ms, g.updated_ms, g.closed,
               g.private, g.keep_ms, {group_records.REMOVED}
        FROM member m JOIN "group" g ON g.cid = m.cid JOIN conversation c ON c.cid = g.cid
        WHERE m.uid = :uid ORDER BY g.cid
    """,
    group_records.InvitationLine: """
        SELECT v.cid, u.user_id, b.user_id, v.invited_ms
        FROM invitation v JOIN user u ON u.uid = v.uid JOIN user b ON b.uid = v.by_uid
        WHERE v.uid = :uid OR v.by_uid = :uid ORDER BY v.uid, v.cid
    """,
    group_records.Barred: """
        SELECT n.cid, u.user_id, b.user_id, n.banned_ms
        FROM ban n JOIN user u ON u.uid = n.uid JOIN user b ON b.uid = n.by_uid
        WHERE n.uid = :uid OR n.by_uid = :uid ORDER BY n.cid, n.uid
    """,
    group_records.MemberLine: """
        SELECT m.cid, :user, m.role, m.joined_ms, m.ordinal, m.delivered_seq, m.read_seq,
               (SELECT json_group_array(json_array(i.from_seq, i.to_seq))
                FROM (SELECT from_seq, to_seq FROM membership
                      WHERE uid = m.uid AND cid = m.cid ORDER BY from_seq) i)
        FROM member m WHERE m.uid = :uid ORDER BY m.cid
    """,
    message_rows.MessageLine: f"""
        SELECT {message_rows.LINE_COLUMNS}
        FROM membership i
        JOIN message m ON m.cid = i.cid AND m.seq >= i.from_seq
                      AND m.seq <= ifnull(i.to_seq, m.seq)
        LEFT JOIN user u ON u.uid = m.sender_uid
        WHERE i.uid = :uid ORDER BY i.cid, i.from_seq, m.seq
    """,
    File: """
        SELECT file_id, :user, digest, name, size, type, width, height, shown,
               created_ms, unused_ms
        FROM file WHERE uid = :uid ORDER BY file_id
    """,
    Attachment: """
        SELECT a.seq, a.ordinal, a.file_id
        FROM membership i
        JOIN message m ON m.cid = i.cid AND m.seq >= i.from_seq
                      AND m.seq <= ifnull(i.to_seq, m.seq)
        JOIN attachment a ON a.seq = m.seq
        WHERE i.uid = :uid ORDER BY i.cid, i.from_seq, a.seq, a.ordinal
    """,
    Reply: """
        SELECT a.seq, a.cid, a.reply_to, a.root
        FROM membership i
        JOIN message m ON m.cid = i.cid AND m.seq >= i.from_seq
                      AND m.seq <= ifnull(i.to_seq, m.seq)
        JOIN reply a ON a.seq = m.seq
        WHERE i.uid = :uid ORDER BY i.cid, i.from_seq, a.seq
    """,
    Mention: """
        SELECT a.seq, a.ordinal, a.cid, u.user_id
        FROM membership i
        JOIN message m ON m.cid = i.cid AND m.seq >= i.from_seq
                      AND m.seq <= ifnull(i.to_seq, m.seq)
        JOIN mention a ON a.seq = m.seq
        LEFT JOIN user u ON u.uid = a.uid
        WHERE i.uid = :uid ORDER BY i.cid, i.from_seq, a.seq, a.ordinal
    """,
    Forward: """
        SELECT a.seq, u.user_id, a.sent_ms
        FROM membership i
        JOIN message m ON m.cid = i.cid AND m.seq >= i.from_seq
                      AND m.seq <= ifnull(i.to_seq, m.seq)
        JOIN forward a ON a.seq = m.seq
        JOIN user u ON u.uid = a.sender_uid
        WHERE i.uid = :uid ORDER BY i.cid, i.from_seq, a.seq
    """,
    records.ClientMessage: """
        SELECT :user, client_msg_id, digest, seq, sent_ms
        FROM client_message WHERE uid = :uid ORDER BY client_msg_id
    """,
    records.SelectiveAck: """
        SELECT a.cid, :user, a.seq, a.level
        FROM member m JOIN selective_ack a ON a.cid = m.cid AND a.uid = m.uid
        WHERE m.uid = :uid ORDER BY a.cid, a.seq
    """,
    records.Failed: """
        SELECT :user, seq, noted_seq, removed_ms FROM failed WHERE uid = :uid ORDER BY seq
    """,
    # Where others were when they did something to them is the others' affair.
    AuditLine: """
        SELECT entry, at_ms, actor, action, subject, iif(actor IS :user, address, ''), detail
        FROM audit WHERE actor = :user OR subject = :user ORDER BY entry
    """,
}
