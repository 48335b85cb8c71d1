"""The rules about what only some messages have; see `carried`."""

from __future__ import annotations

from typing import Final

from imserver.store.tools.judging import Rule

CARRIED_RULES: Final = (
    Rule(
        "replies",
        "answers are in the conversation and the thread of what they answer",
        """
        SELECT r.seq, r.reply_to FROM reply r
        WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.seq = r.seq AND m.cid = r.cid)
           OR r.root < 1 OR r.root > r.reply_to OR r.reply_to >= r.seq
           OR EXISTS (SELECT 1 FROM message m
                      WHERE m.seq IN (r.reply_to, r.root) AND m.cid <> r.cid)
           OR EXISTS (SELECT 1 FROM reply p WHERE p.seq = r.root)
           OR r.root <> ifnull((SELECT p.root FROM reply p WHERE p.seq = r.reply_to),
                               iif(EXISTS (SELECT 1 FROM message m WHERE m.seq = r.reply_to),
                                   r.reply_to, r.root))
        """,
        "message {0} answers {1} and is not",
    ),
    Rule(
        "mentions",
        "mentions are those of a message of their conversation",
        """
        SELECT n.seq FROM mention n
        WHERE n.ordinal < 0
           OR NOT EXISTS (SELECT 1 FROM message m WHERE m.seq = n.seq AND m.cid = n.cid)
        """,
        "those of message {0} are not",
    ),
    Rule(
        "forwards",
        "whose words a message repeats is said of a message, and is a user",
        """
        SELECT f.seq FROM forward f
        WHERE f.sender_uid = 0 OR NOT EXISTS (SELECT 1 FROM message m WHERE m.seq = f.seq)
        """,
        "that of message {0} is not",
    ),
)
